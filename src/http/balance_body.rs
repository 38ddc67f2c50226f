//! The JSON form of a card's money.

use schemars::JsonSchema;
use serde::Serialize;

use super::time::Timestamp;
use crate::domain::{currency::Currency, id::CardId, money::Money, word::Word};
use crate::service::{
    cards::Card,
    ledger::{CardBalance, Content, PastBalance},
};

/// A card's money.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Balance {
    card_id: CardId,
    /// The moment at which the card had this, if it was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    at: Option<Timestamp>,
    /// What was posted to the card.
    balance: Money,
    currency: Word<Currency>,
    /// What is held for authorizations that were not captured yet.
    held: Money,
    /// What can be spent: `balance` less `held`. It is below zero if a network took more than there was.
    available: Money,
}

impl From<&CardBalance> for Balance {
    fn from(card: &CardBalance) -> Self {
        let CardBalance { card: card_id, currency, balance, held, available, .. } = *card;
        Self { card_id, at: None, balance, currency: currency.into(), held, available }
    }
}

impl From<&Content> for Balance {
    fn from(content: &Content) -> Self {
        let Content { card: card_id, balance, held, .. } = *content;
        Self { card_id, at: None, balance, currency: content.currency.clone(), held, available: balance.less(held) }
    }
}

impl From<&PastBalance> for Balance {
    fn from(past: &PastBalance) -> Self {
        let PastBalance { card: card_id, at, balance, held, .. } = *past;
        Self { card_id, at: Some(Timestamp(at)), balance, currency: past.currency.clone(), held, available: balance.less(held) }
    }
}

impl From<&Card> for Balance {
    fn from(card: &Card) -> Self {
        let available = card.balance.less(card.held);
        Self { card_id: card.id, at: None, balance: card.balance, currency: card.currency.clone(), held: card.held, available }
    }
}
