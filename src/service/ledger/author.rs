//! Who writes to the ledger.

use uuid::Uuid;

use crate::domain::{
    actor::Actor,
    id::{ApiKeyId, UserId},
};

/// Who writes, and through which request. The default is nobody, as when a hold expires.
#[derive(Clone, Debug, Default)]
pub(super) struct Author {
    pub(super) user: Option<Uuid>,
    pub(super) api_key: Option<Uuid>,
    pub(super) request_id: Option<String>,
}

impl From<&Actor> for Author {
    fn from(actor: &Actor) -> Self {
        Self {
            user: actor.user().map(UserId::into),
            api_key: actor.api_key().map(ApiKeyId::into),
            request_id: actor.origin().map(|origin| origin.request_id.to_string()),
        }
    }
}
