//! Metadata: what a caller keeps beside a thing. The service stores it and shows it, and does nothing else with it.

use serde::{Serialize, Serializer, ser::SerializeMap as _};

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
}
