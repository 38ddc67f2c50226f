//! What an account keeps of a card beside its money and its status, and how that changes. Pure.

use super::{
    currency::Currency,
    metadata::{Metadata, MetadataFault, MetadataPatch},
    text::{ExternalId, Label},
};

/// A new card.
#[derive(Clone, Debug)]
pub struct NewCard {
    /// Its currency.
    pub currency: Currency,
    /// What people call it.
    pub label: Option<Label>,
    /// What the account keeps beside it.
    pub metadata: Option<Metadata>,
    /// The account's own name for it.
    pub external_id: Option<ExternalId>,
}

impl From<Currency> for NewCard {
    /// A card of which the account keeps nothing yet.
    fn from(currency: Currency) -> Self {
        Self { currency, label: None, metadata: None, external_id: None }
    }
}

/// What an account keeps of a card. It is stored text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CardDetails {
    /// What people call it.
    pub label: Option<String>,
    /// What the account keeps beside it.
    pub metadata: Metadata,
    /// The account's own name for it.
    pub external_id: Option<String>,
}

/// A change of a card's details. A member that is None stays.
#[derive(Clone, Debug, Default)]
pub struct CardPatch {
    /// Another label, or none.
    pub label: Option<Option<Label>>,
    /// Members that are set or taken away.
    pub metadata: Option<MetadataPatch>,
    /// Another external id, or none.
    pub external_id: Option<Option<ExternalId>>,
}

/// Which members a change has changed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CardChanges {
    /// The label.
    pub label: bool,
    /// The metadata.
    pub metadata: bool,
    /// The external id.
    pub external_id: bool,
}

impl CardChanges {
    /// The names of the members, as in requests. None of their values: the audit log and the feed keep what they are told.
    #[must_use]
    pub fn names(self) -> Vec<&'static str> {
        let all = [("label", self.label), ("metadata", self.metadata), ("externalId", self.external_id)];
        all.into_iter().filter_map(|(name, changed)| changed.then_some(name)).collect()
    }
}

impl CardDetails {
    /// The details after a change.
    ///
    /// # Errors
    /// There would be too much metadata.
    pub fn patched(&self, patch: &CardPatch) -> Result<Self, MetadataFault> {
        Ok(Self {
            label: patch.label.as_ref().map_or_else(|| self.label.clone(), |label| label.as_ref().map(Label::to_string)),
            metadata: self.metadata.patched(patch.metadata.as_ref())?,
            external_id: patch.external_id.as_ref().map_or_else(|| self.external_id.clone(), |id| id.as_ref().map(ExternalId::to_string)),
        })
    }

    /// Which members differ.
    #[must_use]
    pub fn changes(&self, after: &Self) -> CardChanges {
        CardChanges {
            label: self.label != after.label,
            metadata: self.metadata != after.metadata,
            external_id: self.external_id != after.external_id,
        }
    }
}
