//! The currencies a card can have.

use std::{fmt, str::FromStr};

use serde::{Serialize, Serializer};

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

/// The code of any currency (ISO 4217): three capital letters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CurrencyCode([u8; 3]);

/// The text is not three capital letters.
#[derive(Debug, PartialEq, Eq)]
pub struct NotACurrencyCode;

impl CurrencyCode {
    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        // Always ASCII.
        str::from_utf8(&self.0).unwrap_or_default()
    }

    /// Whether it is the code of this currency.
    #[must_use]
    pub fn is(self, currency: Currency) -> bool {
        self.as_str() == currency.code()
    }
}

impl FromStr for CurrencyCode {
    type Err = NotACurrencyCode;

    fn from_str(text: &str) -> Result<Self, NotACurrencyCode> {
        let code = <[u8; 3]>::try_from(text.as_bytes()).map_err(|_| NotACurrencyCode)?;
        if code.iter().all(u8::is_ascii_uppercase) { Ok(Self(code)) } else { Err(NotACurrencyCode) }
    }
}

impl fmt::Display for CurrencyCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for CurrencyCode {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
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

    #[test]
    fn a_currency_code_is_three_capital_letters() {
        assert!("USD".parse::<CurrencyCode>().is_ok_and(|code| code.is(Currency::Usd) && !code.is(Currency::Eur)));
        for text in ["", "US", "USDX", "usd", "U$D", "ÜSD"] {
            assert_eq!(text.parse::<CurrencyCode>(), Err(NotACurrencyCode), "{text:?}");
        }
    }
}
