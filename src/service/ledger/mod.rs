//! The ledger: every change of a balance is a movement, written with it in one transaction.
//! `posting` decides, `store` writes, `verify` proves.
//!
//! Postings that come while others are being written are written together (`flight`), each with its own
//! answer; those that cannot be take the `locked` road, one transaction each.

mod flight;
mod known;
mod locked;
mod plan;
mod short;
mod store;
mod verify;

use std::{sync::Arc, time::Instant};

use crate::database::{Pool, Pools};
use chrono::{DateTime, Utc};
use tokio::sync::oneshot;

use self::known::Known;
pub use self::verify::{Drift, Fault, Read, verify};
use crate::telemetry::metrics;

use super::{
    batch::Batches,
    error::{Error, Result},
    idempotency::{Once, Outcome, Running},
    unit,
};
use crate::domain::{
    actor::Actor,
    id::{AccountId, CardId, MovementId},
    money::{Amount, Money},
    posting::MovementKind,
    text::Description,
};

/// Flights at once. Each holds a connection, and all of them together write less than one that is full:
/// this is for the few who come alone.
pub(super) const FLIGHTS: u32 = 4;

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

/// What a card's history is narrowed to.
#[derive(Clone, Copy, Debug, Default)]
pub struct MovementFilter {
    /// Only of this kind.
    pub kind: Option<MovementKind>,
    /// Only from this moment on.
    pub from: Option<DateTime<Utc>>,
    /// Only before this moment.
    pub to: Option<DateTime<Utc>>,
}

/// A card of an account.
type CardKey = (AccountId, CardId);

/// A posting on its way.
struct Job {
    actor: Actor,
    card: CardId,
    posting: Posting,
    once: Option<Once<Posted>>,
    since: Instant,
    answer: oneshot::Sender<Result<Outcome<Posted>>>,
}

impl Job {
    const fn key(&self) -> CardKey {
        (self.actor.account, self.card)
    }

    /// Whoever asked may be gone: what was done is done all the same.
    fn answer(self, answer: Result<Outcome<Posted>>) {
        drop(self.answer.send(answer));
    }
}

/// The service of money.
#[derive(Clone, Debug)]
pub struct Ledger {
    pool: Pool,
    batches: Batches<CardKey, Job>,
    running: Arc<Running>,
}

impl Ledger {
    pub(super) fn new(pools: Pools) -> Self {
        let (known, flying) = (Arc::new(Known::default()), pools.clone());
        let batches = Batches::new("ledger", FLIGHTS, move |jobs, flight| {
            let (pools, known) = (flying.clone(), Arc::clone(&known));
            async move { flight::carry(&pools, &known, jobs, flight).await }
        });
        Self { pool: pools.requests, batches, running: Arc::default() }
    }

    /// Posts one movement to a card.
    ///
    /// # Errors
    /// No such card; its status, its balance or the bound forbids the movement.
    pub async fn post(&self, actor: &Actor, posting: Posting, once: Option<Once<Posted>>) -> Result<Outcome<Posted>> {
        let kind = posting.kind.name();
        let outcome = self.carry(actor, posting, once).await?;
        if matches!(outcome, Outcome::Fresh(_)) {
            metrics::posted(kind);
        }
        Ok(outcome)
    }

    async fn carry(&self, actor: &Actor, posting: Posting, once: Option<Once<Posted>>) -> Result<Outcome<Posted>> {
        let _running = once.as_ref().map(|once| Running::enter(&self.running, once)).transpose()?;
        let Some(card) = posting.card else {
            return Box::pin(locked::post(&self.pool, actor, &posting, once.as_ref())).await;
        };
        let (answer, answered) = oneshot::channel();
        let job = Job { actor: actor.clone(), card, posting, once, since: Instant::now(), answer };
        self.batches.submit(job.key(), job).await;
        // Only a bug drops a job unanswered; what became of it, nobody knows then.
        answered.await.unwrap_or_else(|_| Err(Error::OutcomeUnknown(Arc::new(sqlx::Error::WorkerCrashed))))
    }

    /// At most `limit` movements of a card that pass the filter, before `before` (its newest, when none), newest first.
    ///
    /// # Errors
    /// The database is away. A card the account has not is an empty history: ask for the card first.
    pub async fn page(
        &self,
        account: AccountId,
        card: CardId,
        filter: MovementFilter,
        before: Option<i64>,
        limit: i64,
    ) -> Result<Vec<Movement>> {
        let before = before.unwrap_or(i64::MAX);
        unit::read(&self.pool, move |unit| Box::pin(store::page(unit, (account, card), filter, before, limit))).await
    }
}
