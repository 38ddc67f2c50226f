//! Words of a fixed vocabulary, such as a card's status, as the database stores them.
//!
//! While a new version is being installed, replicas of the version before read rows that it has written. A row with a word
//! that is unknown here must not fail the statement that reads it, nor the other rows of the statement. It can be shown as
//! it is; nothing can be decided on it.

use std::{borrow::Cow, str::FromStr};

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Serialize, Serializer};
use sqlx::{
    Decode, Postgres, Type,
    postgres::{PgTypeInfo, PgValueRef},
};

/// A stored word.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Word<T> {
    /// One that this version knows.
    Known(T),
    /// One of a later version.
    Unknown(Box<str>),
}

/// The word is of a later version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a word of a later version")]
pub struct UnknownWord;

impl<T: Copy> Word<T> {
    /// The word, to decide on.
    ///
    /// # Errors
    /// It is of a later version.
    pub const fn known(&self) -> Result<T, UnknownWord> {
        match self {
            Self::Known(word) => Ok(*word),
            Self::Unknown(_) => Err(UnknownWord),
        }
    }
}

impl<T: Copy + Into<&'static str>> Word<T> {
    /// The word as it is stored.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match self {
            Self::Known(word) => (*word).into(),
            Self::Unknown(text) => text,
        }
    }
}

impl<T> From<T> for Word<T> {
    fn from(word: T) -> Self {
        Self::Known(word)
    }
}

impl<T: FromStr> Word<T> {
    /// Reads a stored word.
    pub(crate) fn of(text: &str) -> Self {
        text.parse().map_or_else(|_| Self::Unknown(text.into()), Self::Known)
    }
}

impl<'r, T: FromStr> Decode<'r, Postgres> for Word<T> {
    fn decode(value: PgValueRef<'r>) -> Result<Self, sqlx::error::BoxDynError> {
        Ok(Self::of(<&str as Decode<Postgres>>::decode(value)?))
    }
}

impl<T> Type<Postgres> for Word<T> {
    fn type_info() -> PgTypeInfo {
        <str as Type<Postgres>>::type_info()
    }

    fn compatible(ty: &PgTypeInfo) -> bool {
        <str as Type<Postgres>>::compatible(ty)
    }
}

impl<T: Serialize> Serialize for Word<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Known(word) => word.serialize(serializer),
            Self::Unknown(text) => serializer.serialize_str(text),
        }
    }
}

/// That of the words that this version knows.
impl<T: JsonSchema> JsonSchema for Word<T> {
    fn inline_schema() -> bool {
        T::inline_schema()
    }

    fn schema_name() -> Cow<'static, str> {
        T::schema_name()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        T::json_schema(generator)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::card::CardStatus;

    #[test]
    fn a_word_of_a_later_version_is_shown_but_not_decided_on() {
        let (known, unknown) = (Word::<CardStatus>::of("active"), Word::<CardStatus>::of("frozen"));
        assert_eq!(serde_json::to_string(&[&known, &unknown]).expect("JSON"), r#"["active","frozen"]"#);
        assert_eq!((known.known(), unknown.known()), (Ok(CardStatus::Active), Err(UnknownWord)));
    }
}
