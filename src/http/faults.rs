//! Messages for invalid fields of bodies and queries. Each names the field and what it accepts.

use std::fmt::Display;

use schemars::JsonSchema;
use serde::Serialize;

use super::error::FieldFault;
use crate::domain::{money::MoneyFault, text::TextFault};
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
    InvalidEmail,
    WeakPassword,
    UnknownValue,
    TooManyDecimals,
    OutOfRange,
    NotPositive,
    Duplicate,
    InvalidCursor,
    InvalidDate,
    InvalidKey,
}

/// A fault; `what` continues the sentence that starts with the field's name.
pub(super) fn fault(field: &'static str, code: FaultCode, what: impl Display) -> FieldFault {
    FieldFault { field, code, detail: format!("{field} {what}.") }
}

/// A text that its field does not accept.
pub(super) fn text(field: &'static str, what: TextFault) -> FieldFault {
    let code = match what {
        TextFault::Blank => FaultCode::Blank,
        TextFault::TooLong { .. } => FaultCode::TooLong,
        TextFault::ControlCharacter => FaultCode::ControlCharacter,
        TextFault::NotAnEmail => FaultCode::InvalidEmail,
    };
    fault(field, code, what)
}

/// A password that is too weak.
pub(super) fn password(field: &'static str, what: WeakPassword) -> FieldFault {
    fault(field, FaultCode::WeakPassword, what)
}

/// A number that is not a sum of money.
pub(super) fn money(field: &'static str, what: MoneyFault) -> FieldFault {
    let (code, words) = match what {
        MoneyFault::NotANumber => (FaultCode::WrongType, "must be a JSON number, not a string"),
        MoneyFault::TooManyDecimals => (FaultCode::TooManyDecimals, "takes at most 2 decimals"),
        MoneyFault::OutOfRange => (FaultCode::OutOfRange, "takes at most 90071992547409.91"),
        MoneyFault::NotPositive => (FaultCode::NotPositive, "must be above 0"),
    };
    fault(field, code, words)
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
