//! Query strings: parameters are read by name, each at most once. All faults are reported together.

use std::str::FromStr;

use chrono::{DateTime, Utc};

use super::{
    error::{Error, FieldFault, Result},
    faults::{self, FaultCode},
    time::Moment,
};
use crate::domain::text::{Email, TextFault};

/// The parameters of a request, and the faults found in them so far.
pub(super) struct Query {
    parameters: Vec<(String, String)>,
    faults: Vec<FieldFault>,
}

impl Query {
    pub(super) fn parse(raw: &str) -> Self {
        Self { parameters: form_urlencoded::parse(raw.as_bytes()).into_owned().collect(), faults: Vec::new() }
    }

    pub(super) fn fault(&mut self, field: &'static str, code: FaultCode, what: &str) {
        self.faults.push(faults::fault(field, code, what));
    }

    /// A parameter's text; `None` if it is absent.
    pub(super) fn text(&mut self, field: &'static str) -> Option<String> {
        let mut given = self.parameters.iter().filter(|(name, _)| name == field).map(|(_, value)| value.clone());
        let text = given.next()?;
        if given.next().is_some() {
            self.fault(field, FaultCode::Duplicate, "must be given once");
            return None;
        }
        // Invalid UTF-8 was decoded to replacement characters.
        if text.chars().any(|character| character.is_control() || character == char::REPLACEMENT_CHARACTER) {
            self.faults.push(faults::text(field, TextFault::ControlCharacter));
            return None;
        }
        Some(text)
    }

    /// A word from a list; `None` if it is absent.
    pub(super) fn word<T: FromStr>(&mut self, field: &'static str, words: &[&str]) -> Option<T> {
        let text = self.text(field)?;
        text.parse().map_err(|_| self.faults.push(faults::word(field, &text, words))).ok()
    }

    /// A point in time; `None` if it is absent.
    pub(super) fn moment(&mut self, field: &'static str) -> Option<DateTime<Utc>> {
        let text = self.text(field)?;
        if let Ok(Moment(moment)) = text.parse() {
            return Some(moment);
        }
        self.fault(field, FaultCode::InvalidDate, "must be a date such as 2025-02-10, or a moment such as 2025-02-10T12:00:00Z");
        None
    }

    /// An email; `None` if it is absent.
    pub(super) fn email(&mut self, field: &'static str) -> Option<Email> {
        let text = self.text(field)?;
        text.parse().map_err(|fault| self.faults.push(faults::text(field, fault))).ok()
    }

    /// Finishes reading.
    ///
    /// # Errors
    /// Any parameter read so far was not valid.
    pub(super) fn done(self) -> Result<()> {
        if self.faults.is_empty() { Ok(()) } else { Err(Error::Validation(self.faults)) }
    }
}
