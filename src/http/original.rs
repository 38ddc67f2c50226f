//! What a refund names as its original.

use super::json::Fields;
use crate::domain::id::{AuthorizationId, MovementId};
use crate::service::ledger::Original;

/// What a refund names by its id.
pub(super) fn linked_original(fields: &mut Fields<'_>) -> Original {
    let authorization: Option<Option<AuthorizationId>> = fields.optional("authorizationId", Fields::id);
    let movement: Option<Option<MovementId>> = fields.optional("movementId", Fields::id);
    match (authorization, movement) {
        (Some(authorization), _) => Original::Authorization(authorization),
        (None, Some(movement)) => Original::Movement(movement),
        (None, None) => Original::None,
    }
}
