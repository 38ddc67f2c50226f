//! Request bodies: one JSON object, read strictly, with every fault in it reported at once.
//!
//! Numbers stay the text they were sent as. Unknown members are ignored but must be sound:
//! duplicate keys, lone surrogates, invalid UTF-8 and depths past 128 are refused anywhere.

use std::{fmt::Display, str::FromStr};

use axum::{
    body::Bytes,
    extract::{FromRequest, Request},
};
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde_json::value::RawValue;

use super::{
    error::{Error, FieldFault, Result},
    faults::{self, FaultCode},
    middleware::body::{WholeBody, is_declared_as_json},
    openapi::{Described, schema},
    strict::{self, Members},
};
use crate::domain::{id::NotAnId, money::Amount, text::TextFault};
use crate::service::auth::NewPassword;

/// A request body of one endpoint.
pub(super) trait FromFields: Sized {
    /// Reads each field; a fault is noted by the field's reader, and the result is then none.
    ///
    /// Each is read whether or not those before it were good: so that all faults are told at once, and
    /// so that the document knows them all, which reads nothing to see what is read.
    fn from_fields(fields: &mut Fields<'_>) -> Option<Self>;
}

/// The extractor of a request body.
pub(super) struct Json<T>(pub(super) T);

impl<S: Sync, T: FromFields> FromRequest<S> for Json<T> {
    type Rejection = Error;

    async fn from_request(request: Request, _: &S) -> Result<Self> {
        read_json(request).map(|(body, _)| Self(body))
    }
}

/// Reads a body; gives its bytes as well.
pub(super) fn read_json<T: FromFields>(mut request: Request) -> Result<(T, Bytes)> {
    let declared = is_declared_as_json(request.headers());
    let bytes = request.extensions_mut().remove().map_or_else(|| Ok(Bytes::new()), |WholeBody(whole)| whole)?;
    match declared {
        Some(true) => {}
        None if bytes.is_empty() => {}
        Some(false) | None => return Err(Error::UnsupportedMediaType),
    }
    let text = std::str::from_utf8(&bytes).map_err(|_| Error::InvalidJson("The body is not UTF-8.".to_owned()))?;
    let mut fields = Fields::parse(text)?;
    match T::from_fields(&mut fields) {
        Some(body) if fields.faults.is_empty() => Ok((body, bytes)),
        _ => Err(Error::Validation(fields.faults)),
    }
}

/// The members of a body, and the faults found in them so far.
pub(super) struct Fields<'a> {
    members: Vec<(String, &'a RawValue)>,
    faults: Vec<FieldFault>,
    described: Option<Described>,
}

impl<'a> Fields<'a> {
    /// The schema of a body: whatever is read of it.
    pub(super) fn describe<T: FromFields>(generator: &mut SchemaGenerator) -> Schema {
        let mut fields = Self { members: Vec::new(), faults: Vec::new(), described: Some(Described::with(std::mem::take(generator))) };
        let _nothing_was_sent = T::from_fields(&mut fields);
        fields.described.unwrap_or_default().into_schema(generator)
    }

    fn note(&mut self, field: &'static str, schema: impl FnOnce(&mut SchemaGenerator) -> Schema) {
        if let Some(described) = &mut self.described {
            described.field(field, schema);
        }
    }

    fn parse(text: &'a str) -> Result<Self> {
        let invalid = |detail: String| Error::InvalidJson(detail);
        if text.trim_ascii().is_empty() {
            return Err(invalid("The body is empty; it must be a JSON object.".to_owned()));
        }
        let Members(members) = strict::members(text).map_err(invalid)?;
        Ok(Self { members, faults: Vec::new(), described: None })
    }

    fn fault(&mut self, field: &'static str, code: FaultCode, what: impl Display) {
        self.faults.push(faults::fault(field, code, what));
    }

    fn required(&mut self, field: &'static str) -> Option<&'a RawValue> {
        let value = self.members.iter().find(|(name, _)| name == field).map(|(_, value)| *value);
        if value.is_none_or(|value| value.get() == "null") {
            self.fault(field, FaultCode::Required, "is required");
            return None;
        }
        value
    }

    /// A required string, as it was sent.
    fn string(&mut self, field: &'static str) -> Option<String> {
        let value = self.required(field)?;
        let Ok(text) = serde_json::from_str::<String>(value.get()) else {
            self.fault(field, FaultCode::WrongType, "must be a string");
            return None;
        };
        if text.chars().any(char::is_control) {
            self.faults.push(faults::text(field, TextFault::ControlCharacter));
            return None;
        }
        Some(text)
    }

    /// A required string of at most `max` characters, as it was sent: neither trimmed nor otherwise changed.
    pub(super) fn verbatim(&mut self, field: &'static str, max: usize) -> Option<String> {
        self.note(field, |_| schema::verbatim(max));
        let text = self.string(field)?;
        if text.is_empty() {
            self.faults.push(faults::text(field, TextFault::Blank));
            return None;
        }
        if text.chars().count() > max {
            self.faults.push(faults::text(field, TextFault::TooLong { max }));
            return None;
        }
        Some(text)
    }

    /// A required password that somebody may choose.
    pub(super) fn new_password(&mut self, field: &'static str) -> Option<NewPassword> {
        self.note(field, SchemaGenerator::subschema_for::<NewPassword>);
        let text = self.required(field)?;
        let Ok(text) = serde_json::from_str::<String>(text.get()) else {
            self.fault(field, FaultCode::WrongType, "must be a string");
            return None;
        };
        NewPassword::new(text.into()).map_err(|fault| self.faults.push(faults::password(field, fault))).ok()
    }

    /// A required text of a kind of its own.
    pub(super) fn text<T: FromStr<Err = TextFault> + JsonSchema>(&mut self, field: &'static str) -> Option<T> {
        self.note(field, SchemaGenerator::subschema_for::<T>);
        let text = self.string(field)?;
        text.parse().map_err(|fault| self.faults.push(faults::text(field, fault))).ok()
    }

    /// A required id. One that is no id of its kind is read as none: it names nothing, which is for
    /// the service to say.
    #[expect(
        clippy::option_option,
        reason = "the outer one is the field's fault, as with every reader here; the inner one is the caller's"
    )]
    pub(super) fn id<T: FromStr<Err = NotAnId> + JsonSchema>(&mut self, field: &'static str) -> Option<Option<T>> {
        self.note(field, SchemaGenerator::subschema_for::<T>);
        self.string(field).map(|text| text.parse().ok())
    }

    /// A required word out of a few.
    pub(super) fn word<T: FromStr + JsonSchema>(&mut self, field: &'static str, words: &[&str]) -> Option<T> {
        self.note(field, SchemaGenerator::subschema_for::<T>);
        let text = self.string(field)?;
        text.parse().map_err(|_| self.faults.push(faults::word(field, &text, words))).ok()
    }

    /// Which of some fields are there, of which at least one must be.
    pub(super) fn some_of<const N: usize>(&mut self, names: [&'static str; N]) -> [bool; N] {
        if let Some(described) = &mut self.described {
            described.at_least_one_of(&names);
            return [true; N];
        }
        let there = names.map(|name| self.members.iter().any(|(member, _)| member == name));
        if let ([first, others @ ..], false) = (names.as_slice(), there.contains(&true)) {
            self.fault(first, FaultCode::Required, format_args!("is required, unless one of these is there: {}", others.join(", ")));
        }
        there
    }

    /// A required truth value.
    pub(super) fn bool(&mut self, field: &'static str) -> Option<bool> {
        self.note(field, SchemaGenerator::subschema_for::<bool>);
        let value = self.required(field)?;
        let truth = serde_json::from_str(value.get()).ok();
        if truth.is_none() {
            self.fault(field, FaultCode::WrongType, "must be true or false");
        }
        truth
    }

    /// A required sum above zero.
    pub(super) fn amount(&mut self, field: &'static str) -> Option<Amount> {
        self.note(field, SchemaGenerator::subschema_for::<Amount>);
        let value = self.required(field)?;
        Amount::from_json(value.get()).map_err(|fault| self.faults.push(faults::money(field, fault))).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(body: &str) -> bool {
        matches!(Fields::parse(body), Err(Error::InvalidJson(_)))
    }

    #[test]
    fn one_sound_object_and_nothing_else() {
        for body in ["{}", " {\"a\":1}\n", "{\"a\":{\"b\":[1,\"\\ud83d\\ude00\",null]}}", "{\"a\":1e400}"] {
            assert!(!refused(body), "{body}");
        }
        let deep = format!("{{\"a\":{}{}}}", "[".repeat(200), "]".repeat(200));
        for body in [
            "",
            " ",
            "1",
            "null",
            "[]",
            "\"a\"",
            "{",
            "{\"a\":1",
            "{\"a\":1}}",
            "{\"a\":1,}",
            "{a:1}",
            "{'a':1}",
            "{\"a\":01}",
            "{\"a\":NaN}",
            "{\"a\":1,\"a\":2}",
            "{\"a\":1,\"\\u0061\":2}",
            "{\"x\":{\"b\":1,\"b\":1}}",
            "{\"a\":\"\\ud800\"}",
            "{\"a\":[\"\\udc00x\"]}",
            "{\"a\":\"\n\"}",
            "\u{feff}{}",
            "{} {}",
            deep.as_str(),
        ] {
            assert!(refused(body), "{body}");
        }
    }

    #[test]
    fn numbers_stay_as_they_were_written() {
        let Ok(mut fields) = Fields::parse("{\"amount\":12345678901234.56}") else { panic!("sound") };
        assert_eq!(fields.amount("amount").map(|amount| amount.money().minor()), Some(1_234_567_890_123_456));
    }
}
