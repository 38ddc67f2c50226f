//! Fields of other forms: lists, whole numbers, and what null takes away.

use std::{ops::RangeInclusive, str::FromStr};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

use serde_json::Value;

use super::Fields;
use crate::{
    domain::{
        feed_event::{TypeFilter, patterns},
        metadata::MetadataPatch,
        spending::controls::MerchantLock,
        text::TextFault,
    },
    http::{
        faults::{self, FaultCode},
        openapi::payment_schema,
        strict::Members,
    },
};

/// The most patterns of a filter.
const MAX_PATTERNS: usize = 50;

impl Fields<'_> {
    /// A field that may be left out, and that null takes away: then the inner `None`.
    #[expect(clippy::option_option, reason = "the outer `None` is a field that is left out, or a recorded fault")]
    pub(in crate::http) fn removable<T>(
        &mut self,
        field: &'static str,
        read: impl FnOnce(&mut Self, &'static str) -> Option<T>,
    ) -> Option<Option<T>> {
        let is_null = self.members.iter().any(|(name, value)| name == field && value.get() == "null");
        if is_null { Some(None) } else { self.optional(field, read).map(Some) }
    }

    /// A required object of strings to set in metadata. A member that is null is taken away.
    pub(in crate::http) fn metadata_patch(&mut self, field: &'static str) -> Option<MetadataPatch> {
        self.note(field, |_| payment_schema::requested_metadata());
        let members = self.members_of(field)?;
        let patch = MetadataPatch::new(members).map_err(|fault| faults::metadata(field, fault));
        patch.map_err(|fault| self.faults.push(fault)).ok()
    }

    /// The members of a required object of strings and nulls.
    pub(super) fn members_of(&mut self, field: &'static str) -> Option<Vec<(String, Option<String>)>> {
        let value = self.required(field)?.get();
        let Ok(Members(members)) = serde_json::from_str(value) else {
            self.faults.push(faults::wrong_type(field, "an object", value));
            return None;
        };
        let strings = members.into_iter().map(|(key, value)| {
            let value = serde_json::from_str(value.get()).map_err(|_| faults::wrong_type(field, "an object of strings", value.get()));
            value.map(|value: Option<String>| (key, value))
        });
        let strings: Result<Vec<_>, _> = strings.collect();
        strings.map_err(|fault| self.faults.push(fault)).ok()
    }

    /// A required whole number within bounds.
    pub(in crate::http) fn whole(&mut self, field: &'static str, about: &'static str, range: RangeInclusive<u64>) -> Option<u64> {
        let (least, most) = (*range.start(), *range.end());
        self.note(field, |_| json_schema!({"description": about, "type": "integer", "minimum": least, "maximum": most}));
        let value = self.required(field)?.get();
        if !value.starts_with(|first: char| first == '-' || first.is_ascii_digit()) {
            self.faults.push(faults::wrong_type(field, "a JSON number", value));
            return None;
        }
        let number = value.parse().ok().filter(|number| range.contains(number));
        if number.is_none() {
            self.fault(field, FaultCode::OutOfRange, format_args!("must be a whole number from {least} to {most}"));
        }
        number
    }

    /// A required list of at most `max` texts that `T` validates.
    pub(in crate::http) fn list<T: FromStr<Err = TextFault> + JsonSchema>(&mut self, field: &'static str, max: usize) -> Option<Vec<T>> {
        self.note(field, |generator| json_schema!({"type": "array", "items": generator.subschema_for::<T>(), "maxItems": max}));
        let value = self.required(field)?.get();
        let Ok(texts) = serde_json::from_str::<Vec<String>>(value) else {
            self.faults.push(faults::wrong_type(field, "a list of strings", value));
            return None;
        };
        if texts.len() > max {
            self.fault(field, FaultCode::TooMany, format_args!("must have at most {max} entries"));
            return None;
        }
        let values: Result<Vec<T>, TextFault> = texts.iter().map(|text| text.parse()).collect();
        values.map_err(|fault| self.faults.push(faults::text(field, fault))).ok()
    }

    /// A required lock to a merchant: `first`, or an object with its id.
    pub(in crate::http) fn merchant_lock(
        &mut self,
        field: &'static str,
        schema: fn(&mut SchemaGenerator) -> Schema,
    ) -> Option<MerchantLock> {
        self.note(field, schema);
        let value = self.required(field)?.get();
        if value == "\"first\"" {
            return Some(MerchantLock::First);
        }
        let merchant: Option<String> =
            serde_json::from_str(value).ok().and_then(|lock: Value| Some(lock.get("merchantId")?.as_str()?.to_owned()));
        let Some(merchant) = merchant else {
            self.fault(field, FaultCode::UnknownValue, "must be \"first\", an object with a merchantId, or null");
            return None;
        };
        merchant.parse().map(MerchantLock::To).map_err(|fault| self.faults.push(faults::text(field, fault))).ok()
    }

    /// A required list of types of events, or of kinds of them.
    pub(in crate::http) fn event_types(&mut self, field: &'static str) -> Option<TypeFilter> {
        self.note(field, |_| event_types_schema());
        let value = self.required(field)?.get();
        let Ok(patterns) = serde_json::from_str::<Vec<String>>(value) else {
            self.faults.push(faults::wrong_type(field, "a list of strings", value));
            return None;
        };
        if patterns.len() > MAX_PATTERNS {
            self.fault(field, FaultCode::TooMany, format_args!("must have at most {MAX_PATTERNS} entries"));
            return None;
        }
        let filter = TypeFilter::new(patterns.iter().map(String::as_str));
        if filter.is_err() {
            self.fault(field, FaultCode::UnknownValue, "must name types such as card.blocked, kinds such as card.*, or *");
        }
        filter.ok()
    }

    /// A required text of at most `max` characters that `read` understands, without the white space around it. Otherwise `read`
    /// says what is wrong.
    pub(in crate::http) fn trimmed_choice<T>(
        &mut self,
        field: &'static str,
        max: usize,
        schema: fn(&mut SchemaGenerator) -> Schema,
        read: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<T> {
        self.note(field, schema);
        let text = self.trimmed_text(field, max)?;
        read(&text).map_err(|what| self.fault(field, FaultCode::InvalidFormat, what)).ok()
    }

    /// A required text that `read` understands, or of which it says what is wrong.
    pub(in crate::http) fn choice<T>(
        &mut self,
        field: &'static str,
        schema: fn(&mut SchemaGenerator) -> Schema,
        read: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<T> {
        self.note(field, schema);
        let text = self.any_string(field)?;
        read(&text).map_err(|what| self.fault(field, FaultCode::InvalidFormat, what)).ok()
    }
}

fn event_types_schema() -> Schema {
    json_schema!({
        "description": "Types of events, kinds of them such as `card.*`, or `*` for all.",
        "type": "array",
        "items": {"type": "string", "enum": patterns()},
        "minItems": 1,
        "maxItems": MAX_PATTERNS,
        "examples": [["card.*", "authorization.declined"]],
    })
}
