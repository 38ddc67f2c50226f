//! Request bodies: one JSON object, parsed strictly. All faults are reported together.
//!
//! Numbers keep their original text. Unknown members are ignored but must be well-formed: duplicate
//! keys, lone surrogates, invalid UTF-8 and more than 128 levels are refused everywhere.

use std::{fmt::Display, str::FromStr};

use axum::{
    body::Bytes,
    extract::{FromRequest, Request},
};
use chrono::{DateTime, Utc};
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde_json::value::RawValue;

use super::{
    error::{Error, FieldFault, Result},
    faults::{self, FaultCode},
    header_fields::is_declared_as_json,
    middleware::body::WholeBody,
    openapi::{BodySchema, payment_schema, schema},
    query::Query,
    strict::{self, Members},
    time::Moment,
};
use crate::domain::{
    currency::CurrencyCode,
    id::NotAnId,
    merchant::MerchantCurrency,
    metadata::Metadata,
    money::{Amount, Money},
    text::TextFault,
};
use crate::service::auth::NewPassword;

/// The request body of an endpoint.
pub(super) trait FromFields: Sized {
    /// Reads every field. If one is not valid, its reader records a fault and the result is `None`.
    ///
    /// It must read every field even after a fault, so that all faults are reported together. The OpenAPI
    /// document also depends on it: it calls this function without a body to learn the fields.
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

/// Reads a body. Also returns its bytes. A request with a body takes no query parameters.
pub(super) fn read_json<T: FromFields>(mut request: Request) -> Result<(T, Bytes)> {
    let query = Query::parse(request.uri().query().unwrap_or_default());
    let declared = is_declared_as_json(request.headers());
    let bytes = request.extensions_mut().remove().map_or_else(|| Ok(Bytes::new()), |WholeBody(whole)| whole)?;
    match declared {
        Some(true) => {}
        None if bytes.is_empty() => {}
        Some(false) | None => return Err(Error::UnsupportedMediaType),
    }
    let text = std::str::from_utf8(&bytes).map_err(|_| Error::InvalidJson("The body is not UTF-8.".to_owned()))?;
    // RFC 8259 lets a reader skip a byte order mark, which some editors and libraries write.
    let mut fields = Fields::parse(text.strip_prefix('\u{feff}').unwrap_or(text))?;
    fields.faults = query.into_faults();
    match T::from_fields(&mut fields) {
        Some(body) if fields.faults.is_empty() => Ok((body, bytes)),
        _ => Err(Error::Validation(fields.faults)),
    }
}

/// The members of a body, and the faults found in them so far.
pub(super) struct Fields<'a> {
    members: Vec<(String, &'a RawValue)>,
    faults: Vec<FieldFault>,
    body_schema: Option<BodySchema>,
}

impl<'a> Fields<'a> {
    /// The schema of a body, from the fields that [`FromFields::from_fields`] reads.
    pub(super) fn describe<T: FromFields>(generator: &mut SchemaGenerator) -> Schema {
        let mut fields = Self { members: Vec::new(), faults: Vec::new(), body_schema: Some(BodySchema::with(std::mem::take(generator))) };
        let _no_body = T::from_fields(&mut fields);
        fields.body_schema.unwrap_or_default().into_schema(generator)
    }

    fn note(&mut self, field: &'static str, schema: impl FnOnce(&mut SchemaGenerator) -> Schema) {
        if let Some(body) = &mut self.body_schema {
            body.field(field, schema);
        }
    }

    fn parse(text: &'a str) -> Result<Self> {
        let invalid = |detail: String| Error::InvalidJson(detail);
        if text.trim_ascii().is_empty() {
            return Err(invalid("The body is empty; it must be a JSON object.".to_owned()));
        }
        let Members(members) = strict::members(text).map_err(invalid)?;
        Ok(Self { members, faults: Vec::new(), body_schema: None })
    }

    pub(super) fn fault(&mut self, field: &'static str, code: FaultCode, what: impl Display) {
        self.faults.push(faults::fault(field, code, what));
    }

    /// Records a fault of a field that was read.
    pub(super) fn refuse(&mut self, fault: FieldFault) {
        self.faults.push(fault);
    }

    fn required(&mut self, field: &'static str) -> Option<&'a RawValue> {
        if !self.has(field) {
            self.fault(field, FaultCode::Required, "is required");
            return None;
        }
        self.members.iter().find(|(name, _)| name == field).map(|(_, value)| *value)
    }

    /// A required string, unchanged and unchecked.
    fn any_string(&mut self, field: &'static str) -> Option<String> {
        let value = self.required(field)?.get();
        serde_json::from_str(value).map_err(|_| self.faults.push(faults::wrong_type(field, "a string", value))).ok()
    }

    /// A required string without control characters, unchanged.
    fn string(&mut self, field: &'static str) -> Option<String> {
        let text = self.any_string(field)?;
        self.without_control_characters(field, text)
    }

    fn without_control_characters(&mut self, field: &'static str, text: String) -> Option<String> {
        if text.chars().any(char::is_control) {
            self.faults.push(faults::text(field, TextFault::ControlCharacter));
            return None;
        }
        Some(text)
    }

    /// A required string of 1 to `max` characters, unchanged: not even trimmed.
    pub(super) fn verbatim(&mut self, field: &'static str, max: usize) -> Option<String> {
        self.note(field, |_| schema::verbatim(max));
        let text = self.string(field)?;
        self.bounded(field, text, max)
    }

    /// A required string of 1 to `max` characters, without the white space around it and otherwise unchanged.
    pub(super) fn trimmed(&mut self, field: &'static str, max: usize) -> Option<String> {
        self.note(field, |_| schema::trimmed(max));
        self.trimmed_text(field, max)
    }

    fn trimmed_text(&mut self, field: &'static str, max: usize) -> Option<String> {
        let text = self.any_string(field)?.trim().to_owned();
        let text = self.without_control_characters(field, text)?;
        self.bounded(field, text, max)
    }

    fn bounded(&mut self, field: &'static str, text: String, max: usize) -> Option<String> {
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

    /// A required password that is strong enough for a new one.
    pub(super) fn new_password(&mut self, field: &'static str) -> Option<NewPassword> {
        self.note(field, SchemaGenerator::subschema_for::<NewPassword>);
        let text = self.any_string(field)?;
        NewPassword::new(text.into()).map_err(|fault| self.faults.push(faults::password(field, fault))).ok()
    }

    /// A required text that `T` validates.
    pub(super) fn text<T: FromStr<Err = TextFault> + JsonSchema>(&mut self, field: &'static str) -> Option<T> {
        self.note(field, SchemaGenerator::subschema_for::<T>);
        // The type checks the characters: white space around the text may be a tab.
        let text = self.any_string(field)?;
        text.parse().map_err(|fault| self.faults.push(faults::text(field, fault))).ok()
    }

    /// A required id. The inner `None` is text that is not an id of this kind: the service answers it
    /// like an id that does not exist.
    #[expect(
        clippy::option_option,
        reason = "the outer `None` is a recorded fault, as in every reader; the inner one is a value that names nothing"
    )]
    pub(super) fn id<T: FromStr<Err = NotAnId> + JsonSchema>(&mut self, field: &'static str) -> Option<Option<T>> {
        self.note(field, schema::requested_id::<T>);
        self.string(field).map(|text| text.parse().ok())
    }

    /// An id that may be left out. Text that is not an id of this kind is read as one that names nothing.
    pub(super) fn optional_id<T: FromStr<Err = NotAnId> + JsonSchema>(&mut self, field: &'static str, nothing: fn() -> T) -> Option<T> {
        self.optional(field, Self::id).map(|id| id.unwrap_or_else(nothing))
    }

    /// A field that may be left out, by the reader of a required one. Also `None` if it is not valid, with a fault.
    pub(super) fn optional<T>(&mut self, field: &'static str, read: impl FnOnce(&mut Self, &'static str) -> Option<T>) -> Option<T> {
        if let Some(body) = &mut self.body_schema {
            body.optional(field);
        } else if !self.has(field) {
            return None;
        }
        read(self, field)
    }

    /// A required object with fields of its own. `name` is that of its schema. Faults name its fields as `field.inner`.
    pub(super) fn object<T: FromFields>(&mut self, field: &'static str, name: &'static str) -> Option<T> {
        self.note(field, |generator| {
            let schema = Fields::describe::<T>(generator).into();
            generator.definitions_mut().insert(name.to_owned(), schema);
            schema::reference(name)
        });
        let value = self.required(field)?.get();
        let Ok(Members(members)) = serde_json::from_str(value) else {
            self.faults.push(faults::wrong_type(field, "an object", value));
            return None;
        };
        let mut inner = Fields { members, faults: Vec::new(), body_schema: None };
        let object = T::from_fields(&mut inner);
        self.faults.extend(inner.faults.iter().map(|fault| faults::inside(field, fault)));
        object
    }

    /// A required object of strings that the service keeps for the caller. A member that is null is left out.
    pub(super) fn metadata(&mut self, field: &'static str) -> Option<Metadata> {
        self.note(field, |_| payment_schema::requested_metadata());
        let strings = self.members_of(field)?.into_iter().filter_map(|(key, value)| Some((key, value?)));
        let metadata = Metadata::new(strings.collect()).map_err(|fault| faults::metadata(field, fault));
        metadata.map_err(|fault| self.faults.push(fault)).ok()
    }

    /// A required point in time.
    pub(super) fn moment(&mut self, field: &'static str) -> Option<DateTime<Utc>> {
        self.note(field, SchemaGenerator::subschema_for::<Moment>);
        let text = self.any_string(field)?;
        text.parse().map(|Moment(moment)| moment).map_err(|_| self.faults.push(faults::moment(field))).ok()
    }

    /// Whether the body has a field. Null is the field left out.
    fn has(&self, field: &str) -> bool {
        self.members.iter().any(|(name, value)| name == field && value.get() != "null")
    }

    /// A required word from a list.
    pub(super) fn word<T: FromStr + JsonSchema>(&mut self, field: &'static str, words: &[&str]) -> Option<T> {
        self.note(field, SchemaGenerator::subschema_for::<T>);
        let text = self.string(field)?;
        text.parse().map_err(|_| self.faults.push(faults::word(field, &text, words))).ok()
    }

    /// Which of two fields are present: both, or neither.
    pub(super) fn together(&mut self, names: [&'static str; 2]) -> [bool; 2] {
        if let Some(body) = &mut self.body_schema {
            for name in &names {
                body.optional(name);
            }
            return [true; 2];
        }
        let present = names.map(|name| self.has(name));
        match present {
            [true, false] => self.fault(names[1], FaultCode::Required, format_args!("is required with {}", names[0])),
            [false, true] => self.fault(names[0], FaultCode::Required, format_args!("is required with {}", names[1])),
            [true, true] | [false, false] => {}
        }
        present
    }

    /// A required code of a currency that may be any.
    pub(super) fn currency_code(&mut self, field: &'static str) -> Option<CurrencyCode> {
        self.note(field, SchemaGenerator::subschema_for::<CurrencyCode>);
        let text = self.string(field)?;
        text.parse().map_err(|_| self.faults.push(faults::currency(field))).ok()
    }

    /// A required code of a currency whose amounts are known to have some number of decimals.
    pub(super) fn merchant_currency(&mut self, field: &'static str) -> Option<MerchantCurrency> {
        self.note(field, SchemaGenerator::subschema_for::<MerchantCurrency>);
        let text = self.string(field)?;
        text.parse().map_err(|_| self.faults.push(faults::currency(field))).ok()
    }

    /// None of the named fields is present. `what` says why not.
    pub(super) fn excluded(&mut self, names: &[&'static str], what: &str) {
        for name in names {
            if self.has(name) {
                self.fault(name, FaultCode::Excluded, what);
            }
        }
    }

    /// At most one of the named fields is present.
    pub(super) fn at_most_one_of(&mut self, names: &[&'static str]) {
        let mut present = names.iter().filter(|name| self.has(name));
        if let (Some(_), Some(second)) = (present.next(), present.next()) {
            let others: Vec<&str> = names.iter().copied().filter(|name| name != second).collect();
            self.fault(second, FaultCode::Excluded, format_args!("must be left out if one of these is present: {}", others.join(", ")));
        }
    }

    /// Which of the named fields are present. At least one must be.
    pub(super) fn at_least_one_of<const N: usize>(&mut self, names: [&'static str; N]) -> [bool; N] {
        if let Some(body) = &mut self.body_schema {
            body.at_least_one_of(&names);
            return [true; N];
        }
        let present = names.map(|name| self.has(name));
        if let ([first, others @ ..], false) = (names.as_slice(), present.contains(&true)) {
            self.fault(first, FaultCode::Required, format_args!("is required unless one of these is present: {}", others.join(", ")));
        }
        present
    }

    /// A required boolean.
    pub(super) fn bool(&mut self, field: &'static str) -> Option<bool> {
        self.note(field, SchemaGenerator::subschema_for::<bool>);
        let value = self.required(field)?.get();
        serde_json::from_str(value).map_err(|_| self.faults.push(faults::wrong_type(field, "true or false", value))).ok()
    }

    /// A required sum that is at least zero.
    pub(super) fn sum(&mut self, field: &'static str) -> Option<Money> {
        self.note(field, |_| payment_schema::sum());
        let value = self.required(field)?.get();
        let sum = Money::from_json(value).map_err(|fault| faults::money(field, fault, value));
        let sum = sum.and_then(|sum| if sum < Money::ZERO { Err(faults::negative(field)) } else { Ok(sum) });
        sum.map_err(|fault| self.faults.push(fault)).ok()
    }

    /// A required number that `read` understands. It may be a number of another kind than a sum of the card's currency.
    pub(super) fn number<T>(
        &mut self,
        field: &'static str,
        schema: fn() -> Schema,
        read: impl FnOnce(&str) -> std::result::Result<T, FieldFault>,
    ) -> Option<T> {
        self.note(field, |_| schema());
        let value = self.required(field)?.get();
        read(value).map_err(|fault| self.faults.push(fault)).ok()
    }

    /// A required sum above zero.
    pub(super) fn amount(&mut self, field: &'static str) -> Option<Amount> {
        self.note(field, SchemaGenerator::subschema_for::<Amount>);
        let value = self.required(field)?.get();
        Amount::from_json(value).map_err(|fault| self.faults.push(faults::money(field, fault, value))).ok()
    }
}

mod lists;

#[cfg(test)]
mod tests;
