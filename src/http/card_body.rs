//! A card in JSON.

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::value::RawValue;

use super::{authorization_body::stored, openapi::payment_schema::MetadataSchema, time::Timestamp};
use crate::{
    domain::{
        card::CardStatus,
        currency::Currency,
        id::{CardId, CustomerId},
        money::Money,
        word::Word,
    },
    service::cards::Card,
};

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "Card")]
pub(super) struct CardBody {
    card_id: CardId,
    status: Word<CardStatus>,
    currency: Word<Currency>,
    balance: Money,
    /// What is held for authorizations that were not captured yet.
    held: Money,
    /// What can be spent: `balance` less `held`.
    available: Money,
    customer_id: Option<CustomerId>,
    created_at: Timestamp,
    /// What people call the card.
    label: Option<String>,
    /// Your own name for the card.
    external_id: Option<String>,
    #[schemars(with = "MetadataSchema")]
    metadata: Option<Box<RawValue>>,
    /// The card that it replaces.
    replaces: Option<CardId>,
    /// The card that replaces it.
    replaced_by: Option<CardId>,
}

impl From<&Card> for CardBody {
    fn from(card: &Card) -> Self {
        Self {
            card_id: card.id,
            status: card.status.clone(),
            currency: card.currency.clone(),
            balance: card.balance,
            held: card.held,
            available: card.balance.less(card.held),
            customer_id: card.customer_id,
            created_at: Timestamp(card.created_at),
            label: card.label.clone(),
            external_id: card.external_id.clone(),
            metadata: stored(card.metadata.as_deref().unwrap_or("{}")),
            replaces: card.replaces,
            replaced_by: card.replaced_by,
        }
    }
}
