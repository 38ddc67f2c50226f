//! The currencies a card can have.

use std::str::FromStr;

use serde::Serialize;

use strum::EnumCount;

/// A card's currency (ISO 4217), two minor digits each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, sqlx::Type, EnumCount)]
#[serde(rename_all = "UPPERCASE")]
#[sqlx(type_name = "text", rename_all = "UPPERCASE")]
pub enum Currency {
    /// United States dollar.
    Usd,
    /// Euro.
    Eur,
    /// Colombian peso.
    Cop,
}

/// The text is not the code of a supported currency.
#[derive(Debug, PartialEq, Eq)]
pub struct UnknownCurrency;

impl Currency {
    /// Every supported currency.
    pub const ALL: [Self; Self::COUNT] = [Self::Usd, Self::Eur, Self::Cop];

    /// The ISO code, in JSON and in the database.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::Usd => "USD",
            Self::Eur => "EUR",
            Self::Cop => "COP",
        }
    }
}

impl FromStr for Currency {
    type Err = UnknownCurrency;

    fn from_str(text: &str) -> Result<Self, UnknownCurrency> {
        Self::ALL.into_iter().find(|currency| currency.code() == text).ok_or(UnknownCurrency)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_exact_code_is_a_currency() {
        for currency in Currency::ALL {
            assert_eq!(currency.code().parse(), Ok(currency));
        }
        for text in ["", "usd", "Usd", "USD ", "GBP", "US"] {
            assert_eq!(text.parse::<Currency>(), Err(UnknownCurrency), "{text:?}");
        }
    }
}
