//! Ids: in JSON a `TypeID` 0.3 (`card_` and 26 characters of base32 `UUIDv7`), in the database a `uuid`.
//!
//! Each kind of id has its own type, so that a customer's id cannot be used as a card's.

use std::{borrow::Cow, fmt, str::FromStr};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Serialize, Serializer};
use type_safe_id::{DynamicType, TypeSafeId};
use uuid::Uuid;

/// The text is not an id of the expected kind. Callers treat it like an id that does not exist.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("not an id of this kind")]
pub struct NotAnId;

/// The text of an id whose kind this version does not know. Empty if the prefix is not one.
pub fn untyped(prefix: &str, id: Uuid) -> String {
    DynamicType::new(prefix).map(|prefix| TypeSafeId::from_type_and_uuid(prefix, id).to_string()).unwrap_or_default()
}

macro_rules! typed_id {
    ($name:ident, $prefix:literal, $doc:literal) => {
        #[doc = $doc]
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, sqlx::Type)]
        #[sqlx(transparent)]
        pub struct $name(Uuid);

        impl $name {
            /// The prefix before the underscore.
            pub const PREFIX: &str = $prefix;

            /// A new id, larger than those that this process created in earlier milliseconds.
            #[must_use]
            #[expect(clippy::new_without_default, reason = "an id is created explicitly, never by default")]
            pub fn new() -> Self {
                Self(Uuid::now_v7())
            }
        }

        impl From<$name> for Uuid {
            fn from(id: $name) -> Self {
                id.0
            }
        }

        impl From<Uuid> for $name {
            fn from(uuid: Uuid) -> Self {
                Self(uuid)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let prefix = DynamicType::new(Self::PREFIX).map_err(|_| fmt::Error)?;
                TypeSafeId::from_type_and_uuid(prefix, self.0).fmt(f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl FromStr for $name {
            type Err = NotAnId;

            fn from_str(text: &str) -> Result<Self, NotAnId> {
                let id: TypeSafeId<DynamicType> = text.parse().map_err(|_| NotAnId)?;
                if id.type_prefix() == Self::PREFIX { Ok(Self(id.uuid())) } else { Err(NotAnId) }
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl JsonSchema for $name {
            fn schema_name() -> Cow<'static, str> {
                stringify!($name).into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({
                    "description": concat!("The id of: ", $doc, " `", $prefix, "_` and 26 characters."),
                    "type": "string",
                    "examples": [concat!($prefix, "_01h455vb4pex5vsknk084sn02q")],
                })
            }
        }
    };
}

typed_id!(AccountId, "acc", "A tenant.");
typed_id!(UserId, "usr", "A person who logs in.");
typed_id!(SessionId, "ses", "One login.");
typed_id!(CustomerId, "cus", "A customer of the account.");
typed_id!(CardId, "card", "A virtual card.");
typed_id!(MovementId, "mov", "A movement on a card.");
typed_id!(AuthorizationId, "auth", "An authorisation of a card.");
typed_id!(EntryId, "ent", "One step of an authorisation.");
typed_id!(EventId, "evt", "An entry of the audit log.");
typed_id!(ApiKeyId, "key", "An API key.");
typed_id!(WebhookEndpointId, "whe", "An address that events are sent to.");
typed_id!(MessageId, "msg", "An event of the feed.");
typed_id!(DeliveryId, "dlv", "The delivery of one message to one endpoint.");
typed_id!(AttemptId, "att", "One attempt of a delivery.");
typed_id!(TransferId, "trf", "A transfer of money from one card to another.");
typed_id!(LimitId, "lim", "A limit on what a card or a customer may spend.");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_round_trips_through_text() {
        let id = CardId::new();
        assert_eq!(id.to_string().parse(), Ok(id));
        assert_eq!(id.to_string().len(), "card_".len() + 26);
    }

    #[test]
    fn the_specification_vector_is_parsed() {
        // TypeID 0.3, valid.yml, "valid-uuidv7", with the prefix of a card.
        let id: CardId = "card_01h455vb4pex5vsknk084sn02q".parse().expect("valid");
        assert_eq!(id.0.to_string(), "01890a5d-ac96-774b-bcce-b302099a8057");
    }

    #[test]
    fn malformed_ids_are_refused() {
        let valid = CardId::new().to_string();
        let suffix = &valid["card_".len()..];
        let wrong = [
            String::new(),
            "card_".into(),
            "card_001".into(),
            suffix.into(),
            format!("_{suffix}"),
            format!("cus_{suffix}"),
            format!("CARD_{suffix}"),
            format!("card_{}", suffix.to_uppercase()),
            format!("card-{suffix}"),
            format!(" {valid}"),
            format!("{valid} "),
            format!("{valid}0"),
            format!("card_8{}", &suffix[1..]),
            format!("card_{}u", &suffix[..25]),
            format!("card_{}é", &suffix[..24]),
            "card_\u{0}".into(),
        ];
        for text in wrong {
            assert_eq!(text.parse::<CardId>(), Err(NotAnId), "{text:?}");
        }
    }
}
