//! Metadata: what a caller keeps beside a thing. The service stores it and shows it, and does nothing else with it.

use std::fmt;

use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{MapAccess, Visitor},
    ser::SerializeMap as _,
};

use super::text::is_bidirectional_control;

/// The most members.
pub const MAX_MEMBERS: usize = 20;

/// The longest key, in characters.
pub const MAX_KEY: usize = 40;

/// The longest value, in characters.
pub const MAX_VALUE: usize = 500;

/// Names with values, in the caller's order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Metadata(Vec<(String, String)>);

/// A change of metadata, member by member: a value is set, and None takes the member away.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MetadataPatch(Vec<(String, Option<String>)>);

/// Why members are not metadata.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MetadataFault {
    /// More than [`MAX_MEMBERS`].
    #[error("takes at most {MAX_MEMBERS} members")]
    TooMany,
    /// A key that is empty or too long.
    #[error("takes keys of 1 to {MAX_KEY} characters")]
    Key,
    /// A value that is too long.
    #[error("takes values of at most {MAX_VALUE} characters")]
    Value,
    /// A key or a value that contains NUL or another control character.
    #[error("must not have control characters in it")]
    ControlCharacter,
    /// A key or a value that contains a character that changes the direction of writing.
    #[error("must not have characters in it that change the direction of writing")]
    BidirectionalControl,
}

impl Metadata {
    /// Metadata of members with different keys.
    ///
    /// # Errors
    /// There are too many members, or one has a key or a value that breaks a rule.
    pub fn new(members: Vec<(String, String)>) -> Result<Self, MetadataFault> {
        if members.len() > MAX_MEMBERS {
            return Err(MetadataFault::TooMany);
        }
        for (key, value) in &members {
            if key.is_empty() || key.chars().count() > MAX_KEY {
                return Err(MetadataFault::Key);
            }
            if value.chars().count() > MAX_VALUE {
                return Err(MetadataFault::Value);
            }
            if key.chars().chain(value.chars()).any(char::is_control) {
                return Err(MetadataFault::ControlCharacter);
            }
            if key.chars().chain(value.chars()).any(is_bidirectional_control) {
                return Err(MetadataFault::BidirectionalControl);
            }
        }
        Ok(Self(members))
    }

    /// The metadata after a change. Members that stay keep their order, and new ones follow.
    ///
    /// # Errors
    /// There would be too many members.
    pub fn patched(&self, patch: Option<&MetadataPatch>) -> Result<Self, MetadataFault> {
        let mut members = self.0.clone();
        for (key, value) in patch.into_iter().flat_map(|MetadataPatch(changes)| changes) {
            let place = members.iter().position(|(name, _)| name == key);
            match (place.and_then(|place| members.get_mut(place)), value) {
                (Some(member), Some(value)) => member.1.clone_from(value),
                (None, Some(value)) => members.push((key.clone(), value.clone())),
                (_, None) => members.retain(|(name, _)| name != key),
            }
        }
        if members.len() > MAX_MEMBERS { Err(MetadataFault::TooMany) } else { Ok(Self(members)) }
    }

    /// Stored metadata. Text that is none counts as no members.
    #[must_use]
    pub fn stored(json: Option<&str>) -> Self {
        json.and_then(|json| serde_json::from_str(json).ok()).unwrap_or_default()
    }

    /// The JSON object, as the database has it. None if there are no members.
    #[must_use]
    pub fn to_column(&self) -> Option<String> {
        (!self.0.is_empty()).then(|| self.to_json())
    }

    /// The JSON object, as the database has it.
    #[must_use]
    pub fn to_json(&self) -> String {
        // Serialising strings to memory cannot fail.
        serde_json::to_string(self).unwrap_or_default()
    }
}

impl Serialize for Metadata {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (key, value) in &self.0 {
            map.serialize_entry(key, value)?;
        }
        map.end()
    }
}

impl MetadataPatch {
    /// A change of members with different keys.
    ///
    /// # Errors
    /// It sets too many members, or one has a key or a value that breaks a rule.
    pub fn new(members: Vec<(String, Option<String>)>) -> Result<Self, MetadataFault> {
        let set = members.iter().filter_map(|(key, value)| Some((key.clone(), value.clone()?)));
        Metadata::new(set.collect()).map(|_| Self(members))
    }
}

impl<'de> Deserialize<'de> for Metadata {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members;

        impl<'de> Visitor<'de> for Members {
            type Value = Metadata;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of strings")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Metadata, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Metadata(members))
            }
        }

        deserializer.deserialize_map(Members)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn members(count: usize, key: &str, value: &str) -> Result<Metadata, MetadataFault> {
        Metadata::new((0..count).map(|number| (format!("{key}{number}"), value.to_owned())).collect())
    }

    #[test]
    fn metadata_is_bounded() {
        assert!(members(20, &"é".repeat(38), &"é".repeat(500)).is_ok());
        assert!(members(1, "", "").is_ok());
        assert_eq!(members(21, "a", "b"), Err(MetadataFault::TooMany));
        assert_eq!(members(1, &"a".repeat(40), "b"), Err(MetadataFault::Key));
        assert_eq!(Metadata::new(vec![(String::new(), "b".to_owned())]), Err(MetadataFault::Key));
        assert_eq!(members(1, "a", &"b".repeat(501)), Err(MetadataFault::Value));
        assert_eq!(members(1, "a\u{7f}", "b"), Err(MetadataFault::ControlCharacter));
        assert_eq!(members(1, "a", "b\0"), Err(MetadataFault::ControlCharacter));
        assert_eq!(members(1, "a\u{202e}", "b"), Err(MetadataFault::BidirectionalControl));
        assert_eq!(members(1, "a", "\u{2066}b"), Err(MetadataFault::BidirectionalControl));
    }

    #[test]
    fn metadata_keeps_its_order() {
        let metadata = Metadata::new([("z", "1"), ("a", "\"2\"")].map(|(key, value)| (key.to_owned(), value.to_owned())).into());
        assert_eq!(metadata.map(|metadata| metadata.to_json()), Ok(r#"{"z":"1","a":"\"2\""}"#.to_owned()));
    }

    fn of(members: &[(&str, &str)]) -> Metadata {
        Metadata(members.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect())
    }

    fn patch(members: &[(&str, Option<&str>)]) -> MetadataPatch {
        MetadataPatch(members.iter().map(|(key, value)| ((*key).to_owned(), value.map(str::to_owned))).collect())
    }

    #[test]
    fn a_change_is_made_member_by_member() {
        let before = of(&[("z", "1"), ("a", "2"), ("m", "3")]);
        let changed = before.patched(Some(&patch(&[("b", Some("4")), ("a", Some("5")), ("z", None), ("unknown", None)])));
        assert_eq!(changed, Ok(of(&[("a", "5"), ("m", "3"), ("b", "4")])));
        assert_eq!(before.patched(None), Ok(before.clone()));
        let full = members(20, "a", "b").expect("valid");
        assert_eq!(full.patched(Some(&patch(&[("c", Some("d"))]))), Err(MetadataFault::TooMany));
        assert_eq!(full.patched(Some(&patch(&[("c", Some("d")), ("a0", None)]))).map(|changed| changed.0.len()), Ok(20));
    }

    #[test]
    fn stored_metadata_is_read_as_it_was_written() {
        let metadata = of(&[("z", "1"), ("a", "\"é\"")]);
        assert_eq!(Metadata::stored(metadata.to_column().as_deref()), metadata);
        assert_eq!(Metadata::default().to_column(), None);
        for nothing in [None, Some("{}"), Some(""), Some("[]")] {
            assert_eq!(Metadata::stored(nothing), Metadata::default());
        }
    }
}
