//! JSON that says one thing only: each key once, text that is text, nesting with an end.

use std::{collections::HashSet, fmt};

use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

/// The members of the one object that a text is, each value as it is written.
///
/// # Errors
/// It is not one object, or something in it is unsound; in words for the caller.
pub(super) fn members(text: &str) -> Result<Members<'_>, String> {
    let object: Members<'_> = serde_json::from_str(text).map_err(|error| format!("Not a JSON object: {error}."))?;
    for (name, value) in &object.0 {
        // Scalars that are not text cannot hide anything, and a number must stay as it is written.
        if value.get().starts_with(['{', '[', '"']) {
            serde_json::from_str::<Sound>(value.get()).map_err(|error| format!("Not sound JSON within {name:?}: {error}."))?;
        }
    }
    Ok(object)
}

/// A JSON object's members in their order, each key once.
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
                        return Err(A::Error::custom(format_args!("duplicate key {name:?}")));
                    }
                    members.push((name, map.next_value()?));
                }
                Ok(Members(members))
            }
        }

        deserializer.deserialize_map(Object)
    }
}

/// Any JSON value that says one thing only: no duplicate keys, no lone surrogates, not too deep.
struct Sound;

impl<'de> Deserialize<'de> for Sound {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        struct Anything;

        impl<'de> Visitor<'de> for Anything {
            type Value = Sound;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a JSON value")
            }

            fn visit_bool<E>(self, _: bool) -> std::result::Result<Sound, E> {
                Ok(Sound)
            }

            fn visit_i64<E>(self, _: i64) -> std::result::Result<Sound, E> {
                Ok(Sound)
            }

            fn visit_u64<E>(self, _: u64) -> std::result::Result<Sound, E> {
                Ok(Sound)
            }

            fn visit_f64<E>(self, _: f64) -> std::result::Result<Sound, E> {
                Ok(Sound)
            }

            fn visit_str<E>(self, _: &str) -> std::result::Result<Sound, E> {
                Ok(Sound)
            }

            fn visit_unit<E>(self) -> std::result::Result<Sound, E> {
                Ok(Sound)
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> std::result::Result<Sound, A::Error> {
                while seq.next_element::<Sound>()?.is_some() {}
                Ok(Sound)
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> std::result::Result<Sound, A::Error> {
                let mut seen = HashSet::new();
                while let Some(name) = map.next_key::<String>()? {
                    if !seen.insert(name) {
                        return Err(A::Error::custom("duplicate key"));
                    }
                    map.next_value::<Sound>()?;
                }
                Ok(Sound)
            }
        }

        deserializer.deserialize_any(Anything)
    }
}
