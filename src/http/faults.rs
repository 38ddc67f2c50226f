//! The words for what is wrong with a field, wherever it stood.

use super::error::FieldFault;
use crate::service::text::TextFault;

/// A text that its field does not take.
pub(super) fn text(field: &'static str, fault: TextFault) -> FieldFault {
    let (code, detail) = match fault {
        TextFault::Blank => ("blank", "This must not be blank.".to_owned()),
        TextFault::TooLong { max } => ("too_long", format!("This takes at most {max} characters.")),
        TextFault::ControlCharacter => ("control_character", "This must not have control characters in it.".to_owned()),
        TextFault::NotAnEmail => ("invalid_email", "This must be an email address such as juan@email.com.".to_owned()),
    };
    FieldFault { field, code, detail }
}

/// A word that is none of those that its field takes.
pub(super) fn word(field: &'static str, words: &[&str]) -> FieldFault {
    FieldFault { field, code: "unknown_value", detail: format!("This must be one of: {}.", words.join(", ")) }
}
