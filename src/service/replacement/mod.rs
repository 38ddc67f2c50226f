//! The replacement of a card by a new one: its customer, its controls, its limits and its money, in one transaction.

mod store;

use sqlx::PgConnection;

use super::{
    accounts, audit,
    cards::{self, Card, SetStatus},
    error::Result,
    idempotency::{self, IdempotentRequest, Outcome},
    ledger, spending,
    unit::Unit,
};
use crate::database::{Pool, is_sharded};
use crate::domain::{
    actor::Actor,
    audit_event::Event,
    card::{CardStatus, ReplacementReason},
    card_details::NewCard,
    error::Refusal,
    id::CardId,
    metadata::Metadata,
};

/// Why the service cancels a card, in the history of its status.
const REPLACED: &str = "The card was replaced";

/// The service of replacements.
#[derive(Clone, Debug)]
pub struct Replacements {
    pool: Pool,
}

impl Replacements {
    pub(super) const fn new(pool: Pool) -> Self {
        Self { pool }
    }

    /// Replaces a card by a new one, which gets its customer, its controls, its limits and what is available on it. The old card is
    /// cancelled, and keeps what is held. Returns the new card. The id is None if the request's id is malformed.
    ///
    /// # Errors
    /// The card does not exist, or is cancelled.
    pub async fn replace(
        &self,
        actor: &Actor,
        card: Option<CardId>,
        reason: ReplacementReason,
        idempotent: Option<&IdempotentRequest<Card>>,
    ) -> Result<Outcome<Card>> {
        idempotency::write_once(&self.pool, idempotent, &Replace { actor, card, reason, sharded: is_sharded(&self.pool) }).await
    }
}

struct Replace<'a> {
    actor: &'a Actor,
    card: Option<CardId>,
    reason: ReplacementReason,
    sharded: bool,
}

impl Unit for Replace<'_> {
    type Output = Card;

    async fn run(&self, connection: &mut PgConnection) -> Result<Card> {
        let (actor, account) = (self.actor, self.actor.account);
        let old = self.card.ok_or(Refusal::CardNotFound)?;
        // The number of the new card locks the account's row, which comes before the rows of cards.
        accounts::lock_in(connection, account).await?;
        let (_, chain) = spending::lock_chain(connection, account, old).await?.ok_or(Refusal::CardNotFound)?;
        let before = cards::find_in(connection, account, old).await?;
        let status = before.status.known()?;
        let new_status = status.of_replacement()?;
        ledger::expire_due(connection, account, old).await?;
        let like_it = NewCard {
            currency: before.currency.known()?,
            label: before.label.and_then(|label| label.parse().ok()),
            metadata: before.metadata.map(|metadata| Metadata::stored(Some(&metadata))),
            external_id: None,
        };
        let (card, created) = cards::insert_in(connection, actor, &like_it, self.sharded).await?;
        let new = card.id;
        let assigned = match before.customer_id {
            Some(customer) => Some(cards::assign_in(connection, account, new, customer).await?),
            None => None,
        };
        spending::pass_on(connection, account, (old, new), &chain).await?;
        // Nothing is locked from here on: whoever records an audit event of the account waits for the end of this transaction.
        created.record_in(connection, actor).await?;
        if let Some(assigned) = assigned {
            audit::record_in(connection, actor, assigned).await?;
        }
        if new_status != CardStatus::Inactive {
            let set = SetStatus { card: new, from: CardStatus::Inactive, to: new_status, reason: None };
            cards::take_status(connection, actor, set, self.sharded).await?;
        }
        let set = SetStatus { card: old, from: status, to: CardStatus::Cancelled, reason: Some(REPLACED) };
        cards::take_status(connection, actor, set, self.sharded).await?;
        store::set_newest(connection, account, old, new).await?;
        let sequence = store::set_replaced(connection, account, old, new).await?;
        let event = Event::CardReplaced { card: old, replacement: new, reason: self.reason, sequence };
        audit::record_in(connection, actor, event).await?;
        ledger::move_available(connection, actor, old, new).await?;
        cards::find_in(connection, account, new).await
    }
}
