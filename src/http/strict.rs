//! Strict JSON: no duplicate keys, no lone surrogates, limited depth. It has only one interpretation.

use std::{collections::HashSet, fmt};

use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::{error::Category, value::RawValue};

use super::faults::presentable;

/// Parses a text as one JSON object, and keeps each value as its original text.
///
/// # Errors
/// The text is not one object, or a value is not well-formed. The message is for the caller and repeats no part of the text
/// but short names of members.
pub(super) fn members(text: &str) -> Result<Members<'_>, String> {
    let object: Members<'_> = serde_json::from_str(text).map_err(|error| match error.classify() {
        Category::Data if !text.trim_ascii_start().starts_with('{') => not_an_object(text),
        _ => format!("The body is not valid JSON: {}.", reason(&error)),
    })?;
    for (name, value) in &object.0 {
        // Other scalars need no check, and a number must keep its original text.
        if value.get().starts_with(['{', '[', '"']) {
            serde_json::from_str::<WellFormed>(value.get()).map_err(|error| {
                let member = presentable(name).map_or_else(|| "a member".to_owned(), |name| format!("the member {name}"));
                format!("The value of {member} is not valid JSON: {}.", reason(&error))
            })?;
        }
    }
    Ok(object)
}

fn not_an_object(text: &str) -> String {
    match type_of(text) {
        "a string" => "The body must be a JSON object, not a string. Was it encoded twice?".to_owned(),
        other => format!("The body must be a JSON object, not {other}."),
    }
}

/// The type of a JSON value, as a message calls it. Messages never show the value.
pub(super) fn type_of(json: &str) -> &'static str {
    match json.trim_ascii_start().bytes().next() {
        Some(b'{') => "an object",
        Some(b'[') => "an array",
        Some(b'"') => "a string",
        Some(b't' | b'f') => "a boolean",
        Some(b'n') => "null",
        _ => "a number",
    }
}

/// Why a text is not well-formed. Every message of the parser about the syntax is a constant with a position; a message of any
/// other category could show a value, so it is replaced.
fn reason(error: &serde_json::Error) -> String {
    match error.classify() {
        Category::Syntax | Category::Eof => error.to_string(),
        Category::Data | Category::Io => format!("an object has the same key twice at line {} column {}", error.line(), error.column()),
    }
}

/// A JSON object's members in order, without duplicate keys.
pub(super) struct Members<'a>(pub(super) Vec<(String, &'a RawValue)>);

impl<'de: 'a, 'a> Deserialize<'de> for Members<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        struct Object;

        impl<'de> Visitor<'de> for Object {
            type Value = Members<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a JSON object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> std::result::Result<Members<'de>, A::Error> {
                let mut members: Vec<(String, &RawValue)> = Vec::new();
                let mut seen = HashSet::new();
                while let Some(name) = map.next_key::<String>()? {
                    if !seen.insert(name.clone()) {
                        return Err(A::Error::custom("duplicate key"));
                    }
                    members.push((name, map.next_value()?));
                }
                Ok(Members(members))
            }
        }

        deserializer.deserialize_map(Object)
    }
}

/// Any well-formed JSON value: no duplicate keys, no lone surrogates, not too deep.
struct WellFormed;

impl<'de> Deserialize<'de> for WellFormed {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        struct AnyValue;

        impl<'de> Visitor<'de> for AnyValue {
            type Value = WellFormed;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a JSON value")
            }

            fn visit_bool<E>(self, _: bool) -> std::result::Result<WellFormed, E> {
                Ok(WellFormed)
            }

            fn visit_i64<E>(self, _: i64) -> std::result::Result<WellFormed, E> {
                Ok(WellFormed)
            }

            fn visit_u64<E>(self, _: u64) -> std::result::Result<WellFormed, E> {
                Ok(WellFormed)
            }

            fn visit_f64<E>(self, _: f64) -> std::result::Result<WellFormed, E> {
                Ok(WellFormed)
            }

            fn visit_str<E>(self, _: &str) -> std::result::Result<WellFormed, E> {
                Ok(WellFormed)
            }

            fn visit_unit<E>(self) -> std::result::Result<WellFormed, E> {
                Ok(WellFormed)
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> std::result::Result<WellFormed, A::Error> {
                while seq.next_element::<WellFormed>()?.is_some() {}
                Ok(WellFormed)
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> std::result::Result<WellFormed, A::Error> {
                let mut seen = HashSet::new();
                while let Some(name) = map.next_key::<String>()? {
                    if !seen.insert(name) {
                        return Err(A::Error::custom("duplicate key"));
                    }
                    map.next_value::<WellFormed>()?;
                }
                Ok(WellFormed)
            }
        }

        deserializer.deserialize_any(AnyValue)
    }
}
