//! The JSON form of a card's money.

use schemars::JsonSchema;
use serde::Serialize;

use crate::domain::{currency::Currency, id::CardId, money::Money, word::Word};
use crate::service::{
    cards::Card,
    ledger::{CardBalance, Content},
};

/// A card's money.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Balance {
    card_id: CardId,
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
        Self { card_id, balance, currency: currency.into(), held, available }
    }
}

impl From<&Content> for Balance {
    fn from(content: &Content) -> Self {
        let Content { card: card_id, balance, held, .. } = *content;
        Self { card_id, balance, currency: content.currency.clone(), held, available: balance.less(held) }
    }
}

impl From<&Card> for Balance {
    fn from(card: &Card) -> Self {
        let available = card.balance.less(card.held);
        Self { card_id: card.id, balance: card.balance, currency: card.currency.clone(), held: card.held, available }
    }
}
