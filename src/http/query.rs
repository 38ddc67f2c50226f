//! Query strings: parameters are read by name, each at most once, and no others are accepted. All faults are reported
//! together.

use std::{borrow::Cow, fmt::Display, ops::RangeInclusive, str::FromStr};

use chrono::{DateTime, Utc};

use super::{
    error::{Error, FieldFault, Result},
    faults::{self, FaultCode},
    time::{DayOrMoment, Moment},
};
use crate::domain::{
    spending::window::TimeZone,
    text::{Email, TextFault},
};

/// The parameters of a request, and the faults found in them so far.
pub(super) struct Query {
    parameters: Vec<(String, String)>,
    /// The parameters that the endpoint reads.
    known: Vec<&'static str>,
    faults: Vec<FieldFault>,
}

/// The most unknown parameters that one response lists.
const MAX_UNKNOWN: usize = 10;

impl Query {
    pub(super) fn parse(raw: &str) -> Self {
        Self { parameters: form_urlencoded::parse(raw.as_bytes()).into_owned().collect(), known: Vec::new(), faults: Vec::new() }
    }

    pub(super) fn fault(&mut self, field: &'static str, code: FaultCode, what: &str) {
        self.faults.push(faults::fault(field, code, what));
    }

    /// A parameter's text as it was sent; `None` if it is absent.
    fn any_text(&mut self, field: &'static str) -> Option<String> {
        self.known.push(field);
        let mut given = self.parameters.iter().filter(|(name, _)| name == field).map(|(_, value)| value.clone());
        let text = given.next()?;
        if given.next().is_some() {
            self.fault(field, FaultCode::Duplicate, "must be given once");
            return None;
        }
        Some(text)
    }

    /// A parameter's text without control characters; `None` if it is absent.
    pub(super) fn text(&mut self, field: &'static str) -> Option<String> {
        let text = self.any_text(field)?;
        // Invalid UTF-8 was decoded to replacement characters.
        if text.chars().any(|character| character.is_control() || character == char::REPLACEMENT_CHARACTER) {
            self.faults.push(faults::text(field, TextFault::ControlCharacter));
            return None;
        }
        Some(text)
    }

    /// A text that `T` validates; `None` if it is absent.
    pub(super) fn checked<T: FromStr<Err = TextFault>>(&mut self, field: &'static str) -> Option<T> {
        let text = self.text(field)?;
        text.parse().map_err(|fault| self.faults.push(faults::text(field, fault))).ok()
    }

    /// A word from a list; `None` if it is absent.
    pub(super) fn word<T: FromStr>(&mut self, field: &'static str, words: &[&str]) -> Option<T> {
        let text = self.text(field)?;
        text.parse().map_err(|_| self.faults.push(faults::word(field, &text, words))).ok()
    }

    /// A whole number within bounds; `None` if it is absent.
    pub(super) fn number<T: FromStr + PartialOrd + Display>(&mut self, field: &'static str, range: RangeInclusive<T>) -> Option<T> {
        let text = self.text(field)?;
        let digits = text.bytes().all(|byte| byte.is_ascii_digit());
        let number = text.parse().ok().filter(|number| digits && range.contains(number));
        if number.is_none() {
            let what = format!("must be a whole number from {} to {}", range.start(), range.end());
            self.fault(field, FaultCode::OutOfRange, &what);
        }
        number
    }

    /// A point in time; `None` if it is absent.
    pub(super) fn moment(&mut self, field: &'static str) -> Option<DateTime<Utc>> {
        let text = self.text(field)?;
        if let Ok(Moment(moment)) = with_plus_of_offset(&text).parse() {
            return Some(moment);
        }
        self.faults.push(faults::moment(field));
        None
    }

    /// A required day or point in time.
    pub(super) fn day_or_moment(&mut self, field: &'static str) -> Option<DayOrMoment> {
        if !self.parameters.iter().any(|(name, _)| name == field) {
            self.known.push(field);
            self.fault(field, FaultCode::Required, "is required");
            return None;
        }
        let text = self.text(field)?;
        let read = with_plus_of_offset(&text).parse();
        read.map_err(|_| self.faults.push(faults::moment(field))).ok()
    }

    /// A time zone; `None` if it is absent.
    pub(super) fn time_zone(&mut self, field: &'static str) -> Option<TimeZone> {
        let text = self.text(field)?;
        // No name contains a space, so one within it was an unencoded plus sign.
        text.replace(' ', "+").parse().map_err(|_| self.faults.push(faults::time_zone(field))).ok()
    }

    /// An email; `None` if it is absent.
    pub(super) fn email(&mut self, field: &'static str) -> Option<Email> {
        let text = self.any_text(field)?;
        // No email contains a space, so one within it was an unencoded plus sign.
        text.trim().replace(' ', "+").parse().map_err(|fault| self.faults.push(faults::text(field, fault))).ok()
    }

    /// Finishes reading.
    ///
    /// # Errors
    /// Any parameter read so far was not valid, or there are others.
    pub(super) fn done(self) -> Result<()> {
        let faults = self.into_faults();
        if faults.is_empty() { Ok(()) } else { Err(Error::Validation(faults)) }
    }

    /// Finishes reading with what was read. `None` if a fault was found in it.
    ///
    /// # Errors
    /// As for [`Self::done`].
    pub(super) fn done_with<T>(self, read: Option<T>) -> Result<T> {
        match (read, self.into_faults()) {
            (Some(read), faults) if faults.is_empty() => Ok(read),
            (_, faults) => Err(Error::Validation(faults)),
        }
    }

    /// Finishes reading: the faults of the parameters read so far, and one for each other parameter.
    pub(super) fn into_faults(self) -> Vec<FieldFault> {
        let Self { parameters, known, mut faults } = self;
        let mut unknown: Vec<&str> = Vec::new();
        for (name, _) in &parameters {
            if unknown.len() < MAX_UNKNOWN && !known.contains(&name.as_str()) && !unknown.contains(&name.as_str()) {
                unknown.push(name);
                faults.push(faults::unknown_parameter(name, &known));
            }
        }
        faults
    }
}

/// A time with the plus sign of its offset: `+02:00`, unencoded in a query, is decoded to ` 02:00`.
fn with_plus_of_offset(text: &str) -> Cow<'_, str> {
    match text.len().checked_sub("+00:00".len()).and_then(|at| text.split_at_checked(at)) {
        Some((local, offset)) if offset.starts_with(' ') => Cow::Owned(format!("{local}+{}", &offset[1..])),
        _ => Cow::Borrowed(text),
    }
}
