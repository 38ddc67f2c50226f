//! The JSON form of a movement.

use schemars::JsonSchema;
use serde::Serialize;

use serde_json::value::RawValue;

use super::{
    authorization_body::{MerchantSchema, stored},
    time::Timestamp,
};
use crate::domain::{
    id::{AuthorizationId, MovementId, TransferId},
    money::Money,
    posting::MovementKind,
    word::Word,
};
use crate::service::ledger::Movement;

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "Movement")]
pub(super) struct MovementBody {
    id: MovementId,
    amount: Money,
    description: String,
    date: Timestamp,
    r#type: Word<MovementKind>,
    balance_after: Money,
    /// The authorization that it belongs to.
    authorization_id: Option<AuthorizationId>,
    /// The transfer that it belongs to.
    transfer_id: Option<TransferId>,
    /// The movement that it reverses or refunds.
    related_movement_id: Option<MovementId>,
    /// The merchant, as far as the network tells.
    #[schemars(with = "Option<MerchantSchema>")]
    merchant: Option<Box<RawValue>>,
}

impl From<&Movement> for MovementBody {
    fn from(movement: &Movement) -> Self {
        Self {
            id: movement.id,
            amount: movement.amount,
            description: movement.description.clone(),
            date: Timestamp(movement.created_at),
            r#type: movement.kind.clone(),
            balance_after: movement.balance_after,
            authorization_id: movement.authorization_id,
            transfer_id: movement.transfer_id,
            related_movement_id: movement.related_id,
            merchant: movement.merchant.as_deref().and_then(stored),
        }
    }
}
