//! What a network says of a payment beside its amount in the card's currency: the merchant, its own amount, and how the card
//! was read.

use std::str::FromStr;

use iso_currency::Country;
use serde::Serialize;
use strum::{EnumString, IntoStaticStr, VariantArray};

use super::{
    currency::UnknownCurrency,
    money::{MoneyFault, minor_from_json, minor_to_json},
    text::{TextFault, printable, trimmed},
};

/// The longest id of a merchant. ISO 8583 (data element 42) has 15 characters, some processors send 16.
pub const MAX_MERCHANT_ID: usize = 16;

/// The longest name of a merchant or of its city, in characters.
pub const MAX_MERCHANT_TEXT: usize = 40;

/// The longest id that a network gives a transaction, in characters.
pub const MAX_NETWORK_TRANSACTION_ID: usize = 64;

macro_rules! text {
    ($(#[$doc:meta])* $name:ident, $read:expr) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, Serialize, sqlx::Type)]
        #[serde(transparent)]
        #[sqlx(transparent)]
        pub struct $name(String);

        impl $name {
            /// The text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = TextFault;

            fn from_str(text: &str) -> Result<Self, TextFault> {
                let read: fn(&str) -> Result<&str, TextFault> = $read;
                read(text).map(|text| Self(text.to_owned()))
            }
        }
    };
}

text! {
    /// The id that an acquirer gave the merchant: 1 to 16 characters of printable ASCII.
    MerchantId, |text| printable(text, MAX_MERCHANT_ID)
}

text! {
    /// The name of the merchant, as on its receipts: 1 to 40 characters.
    MerchantName, |text| trimmed(text, MAX_MERCHANT_TEXT)
}

text! {
    /// The merchant's category (ISO 18245): 4 digits.
    MerchantCategory, |text| {
        let is_category = text.len() == 4 && text.bytes().all(|byte| byte.is_ascii_digit());
        if is_category { Ok(text) } else { Err(TextFault::NotACategory) }
    }
}

text! {
    /// The city of the merchant: 1 to 40 characters.
    MerchantCity, |text| trimmed(text, MAX_MERCHANT_TEXT)
}

text! {
    /// The merchant's country: its code of two capital letters (ISO 3166-1).
    MerchantCountry, |text| {
        // The list also has an empty code.
        let is_country = text.len() == 2 && text.parse::<Country>().is_ok();
        if is_country { Ok(text) } else { Err(TextFault::NotACountry) }
    }
}

text! {
    /// The id that the network gave the transaction: 1 to 64 characters of printable ASCII.
    NetworkTransactionId, |text| printable(text, MAX_NETWORK_TRANSACTION_ID)
}

/// A merchant, as far as the network tells.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Merchant {
    /// Its id.
    pub id: Option<MerchantId>,
    /// Its name.
    pub name: Option<MerchantName>,
    /// Its category.
    #[serde(rename = "mcc")]
    pub category: Option<MerchantCategory>,
    /// Its city.
    pub city: Option<MerchantCity>,
    /// Its country.
    pub country: Option<MerchantCountry>,
}

/// How the card was read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, sqlx::Type, EnumString, IntoStaticStr, VariantArray)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
#[sqlx(type_name = "text", rename_all = "snake_case")]
pub enum EntryMode {
    /// The customer entered the card's number in a shop on the internet.
    Ecommerce,
    /// The customer told the card's number by mail or phone.
    MailPhone,
    /// The merchant charges a subscription.
    Recurring,
    /// Held to a terminal.
    Contactless,
    /// Put into a terminal.
    Chip,
    /// Swiped.
    Magstripe,
    /// Typed into a terminal.
    Manual,
    /// The merchant had kept the card's number.
    CredentialOnFile,
    /// The network does not tell.
    #[default]
    Unknown,
}

impl EntryMode {
    /// The name in JSON and in the database.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.into()
    }
}

/// Any currency with minor units (ISO 4217).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct MerchantCurrency {
    code: iso_currency::Currency,
    /// How many decimals it has.
    digits: u32,
}

impl MerchantCurrency {
    /// Its code, in JSON and in the database.
    #[must_use]
    pub fn code(self) -> &'static str {
        self.code.code()
    }

    /// How many decimals it has.
    #[must_use]
    pub const fn digits(self) -> u32 {
        self.digits
    }
}

impl FromStr for MerchantCurrency {
    type Err = UnknownCurrency;

    fn from_str(text: &str) -> Result<Self, UnknownCurrency> {
        let code = iso_currency::Currency::from_code(text).ok_or(UnknownCurrency)?;
        let digits = code.exponent().ok_or(UnknownCurrency)?.into();
        Ok(Self { code, digits })
    }
}

/// An amount in the merchant's currency: 0 or more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MerchantAmount {
    minor: i64,
    currency: MerchantCurrency,
}

impl MerchantAmount {
    /// Parses one JSON token.
    ///
    /// # Errors
    /// The token is not a number, has more decimals than the currency, or is out of range. So is every number below 0.
    pub fn from_json(token: &str, currency: MerchantCurrency) -> Result<Self, MoneyFault> {
        let minor = minor_from_json(token, currency.digits)?;
        if minor < 0 { Err(MoneyFault::OutOfRange) } else { Ok(Self { minor, currency }) }
    }

    /// An amount as the database has it; None if this version does not know the currency.
    #[must_use]
    pub fn stored(minor: i64, currency: &str) -> Option<Self> {
        currency.parse().ok().map(|currency| Self { minor, currency })
    }

    /// The amount in minor units of its currency.
    #[must_use]
    pub const fn minor(self) -> i64 {
        self.minor
    }

    /// Its currency.
    #[must_use]
    pub const fn currency(self) -> MerchantCurrency {
        self.currency
    }

    /// The JSON number: without decimals for a whole number of major units, else with all that the currency has.
    #[must_use]
    pub fn to_json(self) -> String {
        minor_to_json(self.minor, self.currency.digits)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_merchant_is_shown_with_all_of_its_members() {
        let amazon = Merchant {
            id: "5665270011000168".parse().ok(),
            name: " AMAZON.COM ".parse().ok(),
            category: "5734".parse().ok(),
            city: "Bogotá".parse().ok(),
            country: "CO".parse().ok(),
        };
        let shown = r#"{"id":"5665270011000168","name":"AMAZON.COM","mcc":"5734","city":"Bogotá","country":"CO"}"#;
        assert_eq!(serde_json::to_string(&amazon).expect("JSON"), shown);
        let unknown = r#"{"id":null,"name":null,"mcc":null,"city":null,"country":null}"#;
        assert_eq!(serde_json::to_string(&Merchant::default()).expect("JSON"), unknown);
    }

    #[test]
    fn ids_are_printable_and_bounded() {
        assert_eq!(" A B~ ".parse::<MerchantId>().map(|id| id.0), Ok("A B~".to_owned()));
        assert!("1".repeat(16).parse::<MerchantId>().is_ok());
        assert_eq!("1".repeat(17).parse::<MerchantId>(), Err(TextFault::TooLong { max: 16 }));
        assert_eq!("é".parse::<MerchantId>(), Err(TextFault::NotPrintable));
        assert_eq!("a\u{0}".parse::<MerchantId>(), Err(TextFault::ControlCharacter));
        assert_eq!(" ".parse::<MerchantId>(), Err(TextFault::Blank));
        assert!("x".repeat(64).parse::<NetworkTransactionId>().is_ok());
        assert_eq!("x".repeat(65).parse::<NetworkTransactionId>(), Err(TextFault::TooLong { max: 64 }));
        assert_eq!("n".repeat(41).parse::<MerchantName>(), Err(TextFault::TooLong { max: 40 }));
        assert_eq!("n".repeat(41).parse::<MerchantCity>(), Err(TextFault::TooLong { max: 40 }));
    }

    #[test]
    fn a_category_is_four_digits() {
        assert!("0742".parse::<MerchantCategory>().is_ok());
        for text in ["", "574", "57345", "573a", " 5734", "５７３４", "-123", "+123"] {
            assert_eq!(text.parse::<MerchantCategory>(), Err(TextFault::NotACategory), "{text}");
        }
    }

    #[test]
    fn a_country_is_one_of_the_list() {
        for text in ["US", "CO", "ES", "SS", "CW"] {
            assert!(text.parse::<MerchantCountry>().is_ok(), "{text}");
        }
        for text in ["", "us", "USA", "UK", "ZZ", "AA", " US", "U"] {
            assert_eq!(text.parse::<MerchantCountry>(), Err(TextFault::NotACountry), "{text}");
        }
    }

    #[test]
    fn entry_modes_have_the_names_of_the_contract() {
        let names: Vec<&str> = EntryMode::VARIANTS.iter().map(|mode| mode.name()).collect();
        let contract = "ecommerce mail_phone recurring contactless chip magstripe manual credential_on_file unknown";
        assert_eq!(names, contract.split(' ').collect::<Vec<_>>());
        for mode in EntryMode::VARIANTS {
            assert_eq!(mode.name().parse(), Ok(*mode));
            assert_eq!(serde_json::to_value(mode).expect("JSON"), mode.name());
        }
        assert!("Chip".parse::<EntryMode>().is_err());
    }

    #[test]
    fn an_amount_has_the_decimals_of_its_currency() {
        let read = |token: &str, currency: &str| MerchantAmount::from_json(token, currency.parse().expect("a currency"));
        for (token, currency, minor, shown) in [
            ("92.5", "EUR", 9_250, "92.50"),
            ("92", "EUR", 9_200, "92"),
            ("1500", "JPY", 1_500, "1500"),
            ("1e3", "JPY", 1_000, "1000"),
            ("1.005", "KWD", 1_005, "1.005"),
            ("1.5", "KWD", 1_500, "1.500"),
            ("0.0001", "CLF", 1, "0.0001"),
            ("0", "USD", 0, "0"),
            ("9007199254740991", "JPY", 9_007_199_254_740_991, "9007199254740991"),
        ] {
            let amount = read(token, currency).expect("an amount");
            assert_eq!((amount.minor(), amount.to_json().as_str()), (minor, shown), "{token} {currency}");
            assert_eq!(MerchantAmount::stored(amount.minor(), amount.currency().code()), Some(amount));
        }
        for (token, currency, fault) in [
            ("92.505", "EUR", MoneyFault::TooManyDecimals),
            ("0.5", "JPY", MoneyFault::TooManyDecimals),
            ("0.0001", "KWD", MoneyFault::TooManyDecimals),
            ("-1", "EUR", MoneyFault::OutOfRange),
            ("9007199254740992", "JPY", MoneyFault::OutOfRange),
            ("\"1\"", "EUR", MoneyFault::NotANumber),
        ] {
            assert_eq!(read(token, currency), Err(fault), "{token} {currency}");
        }
    }

    #[test]
    fn a_currency_has_minor_units() {
        for text in ["", "usd", "ZZZ", "XAU", "XXX", "USD "] {
            assert_eq!(text.parse::<MerchantCurrency>(), Err(UnknownCurrency), "{text}");
        }
        let digits = |text: &str| text.parse().map(MerchantCurrency::digits);
        assert_eq!(["USD", "COP", "JPY", "BHD", "CLF"].map(digits), [Ok(2), Ok(2), Ok(0), Ok(3), Ok(4)]);
    }
}
