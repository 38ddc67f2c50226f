//! Messages for invalid fields of bodies and queries. Each names the field and what it accepts.

use std::{borrow::Cow, fmt::Display};

use schemars::JsonSchema;
use serde::Serialize;

use super::{error::FieldFault, strict::type_of};
use crate::domain::{metadata::MetadataFault, money::MoneyFault, text::TextFault};
use crate::service::auth::WeakPassword;

/// What is wrong with a field, for programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum FaultCode {
    Required,
    WrongType,
    Blank,
    TooLong,
    ControlCharacter,
    BidirectionalControl,
    BlockedAddress,
    InvalidEmail,
    InvalidFormat,
    WeakPassword,
    WrongPassword,
    UnknownValue,
    TooManyDecimals,
    OutOfRange,
    NotPositive,
    TooMany,
    Excluded,
    Duplicate,
    InvalidCursor,
    InvalidDate,
    InvalidKey,
    UnknownParameter,
}

/// A fault; `what` continues the sentence that starts with the field's name.
pub(super) fn fault(field: &'static str, code: FaultCode, what: impl Display) -> FieldFault {
    FieldFault { field: field.into(), code, detail: format!("{field} {what}.") }
}

/// The fault of a field inside the object of another.
pub(super) fn inside(object: &'static str, inner: &FieldFault) -> FieldFault {
    // Every detail starts with the field's name.
    FieldFault { field: format!("{object}.{}", inner.field).into(), code: inner.code, detail: format!("{object}.{}", inner.detail) }
}

/// The longest name of a caller's that a message repeats.
const MAX_PRESENTABLE: usize = 40;

/// A name that a caller chose, if a message may repeat it. A long or unusual one may be a secret in the wrong place.
pub(super) fn presentable(name: &str) -> Option<&str> {
    let is_plain = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.'));
    ((1..=MAX_PRESENTABLE).contains(&name.len()) && is_plain).then_some(name)
}

/// A query parameter that the request does not take. The message suggests the nearest known one.
pub(super) fn unknown_parameter(name: &str, known: &[&str]) -> FieldFault {
    let takes = if known.is_empty() { "it takes none".to_owned() } else { format!("it takes: {}", known.join(", ")) };
    let (field, detail) = match presentable(name) {
        Some(name) => {
            let question = nearest(name, known).map_or_else(String::new, |meant| format!(" (did you mean {meant}?)"));
            (Cow::Owned(name.to_owned()), format!("{name} is not a query parameter of this request{question}; {takes}."))
        }
        None => (Cow::Borrowed("query"), format!("The query has a parameter that this request does not take; {takes}.")),
    };
    FieldFault { field, code: FaultCode::UnknownParameter, detail }
}

/// The known name that another was probably meant to be: at most a third of it differs, apart from case and separators.
fn nearest<'a>(name: &str, known: &[&'a str]) -> Option<&'a str> {
    let plain = |name: &str| name.to_ascii_lowercase().replace(['_', '-', '.'], "");
    let given = plain(name);
    let distance = |candidate: &str| strsim::damerau_levenshtein(&plain(candidate), &given);
    known
        .iter()
        .copied()
        .filter(|candidate| distance(candidate) <= candidate.len().max(given.len()) / 3)
        .min_by_key(|candidate| distance(candidate))
}

/// A text that its field does not accept.
pub(super) fn text(field: &'static str, what: TextFault) -> FieldFault {
    let code = match what {
        TextFault::Blank | TextFault::Invisible => FaultCode::Blank,
        TextFault::TooLong { .. } => FaultCode::TooLong,
        TextFault::ControlCharacter => FaultCode::ControlCharacter,
        TextFault::BidirectionalControl => FaultCode::BidirectionalControl,
        TextFault::NotAnEmail => FaultCode::InvalidEmail,
        TextFault::NotPrintable | TextFault::NotACategory => FaultCode::InvalidFormat,
        TextFault::NotACountry => FaultCode::UnknownValue,
    };
    fault(field, code, what)
}

/// A password that is too weak.
pub(super) fn password(field: &'static str, what: WeakPassword) -> FieldFault {
    fault(field, FaultCode::WeakPassword, what)
}

/// A JSON value of another type than its field accepts. The message shows the type that was sent and not the value.
pub(super) fn wrong_type(field: &'static str, wanted: &str, sent: &str) -> FieldFault {
    fault(field, FaultCode::WrongType, format_args!("must be {wanted}, not {}", type_of(sent)))
}

/// A JSON value that is not a sum of money.
pub(super) fn money(field: &'static str, what: MoneyFault, sent: &str) -> FieldFault {
    match what {
        MoneyFault::NotANumber => wrong_type(field, "a JSON number", sent),
        MoneyFault::TooManyDecimals => fault(field, FaultCode::TooManyDecimals, "takes at most 2 decimals"),
        MoneyFault::OutOfRange => fault(field, FaultCode::OutOfRange, "takes at most 90071992547409.91"),
        MoneyFault::NotPositive => fault(field, FaultCode::NotPositive, "must be above 0"),
    }
}

/// A JSON value that is not an amount of 0 or more in a currency with this many decimals.
pub(super) fn merchant_money(field: &'static str, what: MoneyFault, sent: &str, digits: u32) -> FieldFault {
    match what {
        MoneyFault::NotANumber => wrong_type(field, "a JSON number", sent),
        MoneyFault::TooManyDecimals => {
            fault(field, FaultCode::TooManyDecimals, format_args!("takes at most {digits} decimals in its currency"))
        }
        MoneyFault::OutOfRange | MoneyFault::NotPositive => {
            fault(field, FaultCode::OutOfRange, "must be 0 or more, and at most 9007199254740991 of the smallest units of its currency")
        }
    }
}

/// A text that is not the code of a currency.
pub(super) fn currency(field: &'static str) -> FieldFault {
    fault(field, FaultCode::UnknownValue, "must be a currency's code of three capital letters (ISO 4217), such as USD")
}

/// A sum below zero, where none can be.
pub(super) fn negative(field: &'static str) -> FieldFault {
    fault(field, FaultCode::OutOfRange, "must be 0 or more")
}

/// A text that is not a point in time.
pub(super) fn moment(field: &'static str) -> FieldFault {
    fault(field, FaultCode::InvalidDate, "must be a date such as 2025-02-10, or a moment such as 2025-02-10T12:00:00Z")
}

/// A moment that lies ahead, of which nothing is known.
pub(super) fn future(field: &'static str) -> FieldFault {
    fault(field, FaultCode::OutOfRange, "must not be in the future")
}

/// A text that names no time zone.
pub(super) fn time_zone(field: &'static str) -> FieldFault {
    fault(field, FaultCode::InvalidFormat, NO_TIME_ZONE)
}

/// What a text that names no time zone must be.
pub(super) const NO_TIME_ZONE: &str = "must be a time zone of the IANA database, such as America/Bogota";

/// A JSON object whose members are not metadata.
pub(super) fn metadata(field: &'static str, what: MetadataFault) -> FieldFault {
    let code = match what {
        MetadataFault::TooMany => FaultCode::TooMany,
        MetadataFault::Key | MetadataFault::Value => FaultCode::TooLong,
        MetadataFault::ControlCharacter => FaultCode::ControlCharacter,
        MetadataFault::BidirectionalControl => FaultCode::BidirectionalControl,
    };
    fault(field, code, what)
}

/// A word that its field does not accept. The message suggests an accepted word that is one typo away.
pub(super) fn word(field: &'static str, given: &str, words: &[&str]) -> FieldFault {
    let typos = |word: &str| strsim::damerau_levenshtein(&word.to_lowercase(), &given.to_lowercase());
    // A much longer text cannot be one typo away, and comparing it would be slow.
    let meant = words.iter().find(|word| given.len() <= word.len() + 1 && typos(word) <= 1);
    let question = meant.map_or_else(String::new, |word| format!(" (did you mean {word}?)"));
    fault(field, FaultCode::UnknownValue, format_args!("must be one of: {}{question}", words.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_parameter_gets_the_nearest_known_name() {
        let known = ["after", "customerId", "status", "currency", "limit", "from", "to"];
        for (given, meant) in [
            ("customer_id", "customerId"),
            ("customerid", "customerId"),
            ("customer", "customerId"),
            ("Limit", "limit"),
            ("limt", "limit"),
            ("state", "status"),
            ("form", "from"),
            ("currencies", "currency"),
        ] {
            let fault = unknown_parameter(given, &known);
            let takes = "it takes: after, customerId, status, currency, limit, from, to";
            assert_eq!(fault.detail, format!("{given} is not a query parameter of this request (did you mean {meant}?); {takes}."));
            assert_eq!(fault.field, given);
        }
        for given in ["id", "page", "sort", "offset", "x", "cursor"] {
            assert!(!unknown_parameter(given, &known).detail.contains("did you mean"), "{given}");
        }
        assert_eq!(unknown_parameter("limit", &[]).detail, "limit is not a query parameter of this request; it takes none.");
    }

    #[test]
    fn a_long_or_unusual_name_is_not_repeated() {
        for given in ["", "a b", "a$b", "pass:word", "é", "a\nb", &"x".repeat(41)] {
            let fault = unknown_parameter(given, &["limit"]);
            assert_eq!(fault.field, "query", "{given}");
            assert_eq!(fault.detail, "The query has a parameter that this request does not take; it takes: limit.");
        }
        assert_eq!(unknown_parameter(&"x".repeat(40), &[]).field, "x".repeat(40));
    }

    #[test]
    fn a_word_with_one_typo_gets_a_suggestion() {
        let currencies = ["USD", "EUR", "COP"];
        let statuses = ["active", "blocked", "cancelled"];
        for (given, words, meant) in
            [("usd", currencies, "USD"), ("EURO", currencies, "EUR"), ("actve", statuses, "active"), ("canceled", statuses, "cancelled")]
        {
            let detail = word("field", given, &words).detail;
            assert_eq!(detail, format!("field must be one of: {} (did you mean {meant}?).", words.join(", ")));
        }
        for given in ["", "pending", "inactive", "GBP", "💳", &"x".repeat(10_000)] {
            assert!(!word("field", given, &statuses).detail.contains("did you mean"), "{given}");
        }
    }
}
