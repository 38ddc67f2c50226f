//! The ledger: every change of a balance is a movement, written with it in one transaction
//! under the card's row lock. `posting` decides, `store` writes, `verify` proves.

mod gate;
mod posting;
mod store;
mod verify;

use std::sync::Arc;

use chrono::{DateTime, Utc};
use sqlx::PgPool;

use self::gate::Gate;
pub use self::{
    posting::MovementKind,
    verify::{Drift, Fault, Read, verify},
};
use super::{
    audit::Actor,
    error::{Error, Result},
    id::{AccountId, CardId, MovementId},
    idempotency::{Once, Outcome},
    money::{Amount, Money},
    text::Description,
    unit,
};

/// One entry of a card's history.
#[derive(Clone, Debug)]
pub struct Movement {
    /// Its id.
    pub id: MovementId,
    /// Its place in the card's history, from 1 without a gap.
    pub seq: i64,
    /// What it is.
    pub kind: MovementKind,
    /// What it changed: below zero for a purchase.
    pub amount: Money,
    /// The balance it left.
    pub balance_after: Money,
    /// What it was for.
    pub description: String,
    /// When it was written, by the database's clock.
    pub created_at: DateTime<Utc>,
}

/// Money to be moved.
#[derive(Clone, Debug)]
pub struct Posting {
    /// On which card; none for an id that is none.
    pub card: Option<CardId>,
    /// In which way.
    pub kind: MovementKind,
    /// How much.
    pub amount: Amount,
    /// What for.
    pub description: Description,
}

/// Money that was moved.
#[derive(Clone, Debug)]
pub struct Posted {
    /// On which card.
    pub card: CardId,
    /// As what.
    pub movement: Movement,
}

/// The service of money.
#[derive(Clone, Debug)]
pub struct Ledger {
    pool: PgPool,
    gate: Arc<Gate>,
}

impl Ledger {
    pub(super) fn new(pool: PgPool) -> Self {
        Self { pool, gate: Arc::new(Gate::new()) }
    }

    /// Posts one movement to a card.
    ///
    /// # Errors
    /// No such card; its status, its balance or the bound forbids the movement.
    pub async fn post(&self, actor: &Actor, posting: Posting, once: Option<&Once<Posted>>) -> Result<Outcome<Posted>> {
        let _turn = match posting.card {
            Some(card) => Some(self.gate.enter(card).await?),
            None => None,
        };
        let actor = actor.clone();
        unit::once(&self.pool, once, move |unit| {
            let (actor, posting) = (actor.clone(), posting.clone());
            Box::pin(async move {
                let account = actor.account;
                let card = posting.card.ok_or(Error::CardNotFound)?;
                let position = store::lock(unit, account, card).await?.ok_or(Error::CardNotFound)?;
                let entry = posting::post(position, posting.kind, posting.amount)?;
                let movement = store::write(unit, &actor, card, posting.kind, entry, &posting.description).await?;
                Ok(Posted { card, movement })
            })
        })
        .await
    }

    /// At most `limit` movements of a card before `before` (its newest, when none), newest first.
    ///
    /// # Errors
    /// The database is away. A card the account has not is an empty history: ask for the card first.
    pub async fn page(&self, account: AccountId, card: CardId, before: Option<i64>, limit: i64) -> Result<Vec<Movement>> {
        let before = before.unwrap_or(i64::MAX);
        unit::read(&self.pool, move |unit| Box::pin(store::page(unit, account, card, before, limit))).await
    }
}
