//! What an account keeps of a customer, and how that changes. Pure.

use super::{
    metadata::{Metadata, MetadataFault, MetadataPatch},
    text::{Email, ExternalId, Name},
};

/// What is known of a new customer.
#[derive(Clone, Debug)]
pub struct NewCustomer {
    /// Their full name.
    pub name: Name,
    /// Their email.
    pub email: Email,
    /// What the account keeps beside them.
    pub metadata: Option<Metadata>,
    /// The account's own name for them.
    pub external_id: Option<ExternalId>,
}

/// What an account keeps of a customer. It is stored text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Profile {
    /// Their full name.
    pub name: String,
    /// Their email, as it was given.
    pub email: String,
    /// What the account keeps beside them.
    pub metadata: Metadata,
    /// The account's own name for them.
    pub external_id: Option<String>,
}

/// A change of a customer. A member that is None stays.
#[derive(Clone, Debug, Default)]
pub struct CustomerPatch {
    /// Another name.
    pub name: Option<Name>,
    /// Another email.
    pub email: Option<Email>,
    /// Members that are set or taken away.
    pub metadata: Option<MetadataPatch>,
    /// Another external id, or none.
    pub external_id: Option<Option<ExternalId>>,
}

/// Which members a change has changed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is a member")]
pub struct CustomerChanges {
    /// The name.
    pub name: bool,
    /// The email.
    pub email: bool,
    /// The metadata.
    pub metadata: bool,
    /// The external id.
    pub external_id: bool,
}

impl CustomerChanges {
    /// The names of the members, as in requests. None of their values: the audit log and the feed keep what they are told.
    #[must_use]
    pub fn names(self) -> Vec<&'static str> {
        let all = [("name", self.name), ("email", self.email), ("metadata", self.metadata), ("externalId", self.external_id)];
        all.into_iter().filter_map(|(name, changed)| changed.then_some(name)).collect()
    }
}

impl Profile {
    /// The profile after a change.
    ///
    /// # Errors
    /// There would be too much metadata.
    pub fn patched(&self, patch: &CustomerPatch) -> Result<Self, MetadataFault> {
        Ok(Self {
            name: patch.name.as_ref().map_or_else(|| self.name.clone(), |name| name.as_str().to_owned()),
            email: patch.email.as_ref().map_or_else(|| self.email.clone(), |email| email.as_str().to_owned()),
            metadata: self.metadata.patched(patch.metadata.as_ref())?,
            external_id: patch.external_id.as_ref().map_or_else(|| self.external_id.clone(), |id| id.as_ref().map(ExternalId::to_string)),
        })
    }

    /// Which members differ.
    #[must_use]
    pub fn changes(&self, after: &Self) -> CustomerChanges {
        CustomerChanges {
            name: self.name != after.name,
            email: self.email != after.email,
            metadata: self.metadata != after.metadata,
            external_id: self.external_id != after.external_id,
        }
    }
}
