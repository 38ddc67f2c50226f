//! The JSON form of a movement.

use schemars::JsonSchema;
use serde::Serialize;

use super::time::Timestamp;
use crate::domain::{id::MovementId, money::Money, posting::MovementKind, word::Word};
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
        }
    }
}
