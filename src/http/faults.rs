//! The words for what is wrong with a field, wherever it stood.

use super::error::FieldFault;
use crate::service::{auth::WeakPassword, text::TextFault};

/// A text that its field does not take.
pub(super) fn text(field: &'static str, fault: TextFault) -> FieldFault {
    let code = match fault {
        TextFault::Blank => "blank",
        TextFault::TooLong { .. } => "too_long",
        TextFault::ControlCharacter => "control_character",
        TextFault::NotAnEmail => "invalid_email",
    };
    FieldFault { field, code, detail: format!("This {fault}.") }
}

/// A password that nobody should choose.
pub(super) fn password(field: &'static str, fault: WeakPassword) -> FieldFault {
    FieldFault { field, code: "weak_password", detail: format!("This {fault}.") }
}

/// A word that is none of those that its field takes.
pub(super) fn word(field: &'static str, words: &[&str]) -> FieldFault {
    FieldFault { field, code: "unknown_value", detail: format!("This must be one of: {}.", words.join(", ")) }
}
