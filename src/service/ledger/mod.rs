//! The ledger. Every change of a balance is a movement, written with the balance in one transaction.
//!
//! `domain::posting` decides on a posting, `store` writes it, and `verify` checks the result.
//!
//! Postings that arrive while others are being written share a batch (`batched`). Each has its own response. A posting
//! that a batch cannot write takes the pessimistic path: its own transaction (`pessimistic`).

mod batched;
mod card_update;
mod pessimistic;
mod position_cache;
mod rows;
mod store;
mod verify;

use std::sync::Arc;

use chrono::{DateTime, Utc};

use self::position_cache::PositionCache;
pub use self::verify::{Checkpoint, Drift, Fault, Progress, verify};
use crate::database::{Pool, Pools};
use crate::telemetry::metrics;

use super::{
    batch::{Batch, Batcher, Call, Config},
    error::{Error, Result},
    idempotency::{IdempotentRequest, InFlightKeys, Outcome},
    unit,
};
use crate::domain::{
    actor::Actor,
    id::{AccountId, CardId, MovementId},
    money::{Amount, Money},
    posting::MovementKind,
    text::Description,
    word::Word,
};

/// How many batches may be in flight if they stall. Each uses a connection. Together they write less than one full
/// batch does, so they serve only the few calls that arrive alone.
pub(super) const MAX_IN_FLIGHT: u32 = 4;

/// One entry of a card's history.
#[derive(Clone, Debug)]
pub struct Movement {
    /// Its id.
    pub id: MovementId,
    /// Its position in the card's history, from 1 without gaps.
    pub seq: i64,
    /// Its kind.
    pub kind: Word<MovementKind>,
    /// The change of the balance: negative for a purchase.
    pub amount: Money,
    /// The balance after it.
    pub balance_after: Money,
    /// Its description.
    pub description: String,
    /// When it was written, by the database's clock.
    pub created_at: DateTime<Utc>,
}

/// A movement to write.
#[derive(Clone, Debug)]
pub struct Posting {
    /// The card. None if the request's id is malformed, so that no card can have it.
    pub card: Option<CardId>,
    /// Its kind.
    pub kind: MovementKind,
    /// Its amount.
    pub amount: Amount,
    /// Its description.
    pub description: Description,
}

/// A posting that was written.
#[derive(Clone, Debug)]
pub struct Posted {
    /// The card.
    pub card: CardId,
    /// Its movement.
    pub movement: Movement,
}

/// A filter of a card's history.
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

/// A posting as a batch takes it.
struct PostingRequest {
    actor: Actor,
    card: CardId,
    posting: Posting,
    idempotent: Option<IdempotentRequest<Posted>>,
}

impl PostingRequest {
    const fn card_key(&self) -> CardKey {
        (self.actor.account, self.card)
    }
}

type PostingCall = Call<PostingRequest, Outcome<Posted>>;
type PostingBatch = Batch<CardKey, PostingRequest, Outcome<Posted>>;

/// The service of money.
#[derive(Clone, Debug)]
pub struct Ledger {
    pool: Pool,
    batcher: Batcher<CardKey, PostingRequest, Outcome<Posted>>,
    in_flight: Arc<InFlightKeys>,
}

impl Ledger {
    pub(super) fn new(pools: Pools) -> Self {
        let (cache, batched_on) = (Arc::new(PositionCache::default()), pools.clone());
        let on_dropped = || Error::OutcomeUnknown(Arc::new(sqlx::Error::WorkerCrashed));
        let batcher = Batcher::new(Config { name: "ledger", max_in_flight: MAX_IN_FLIGHT, on_dropped }, move |calls, batch| {
            let (pools, cache) = (batched_on.clone(), Arc::clone(&cache));
            async move { batched::execute(&pools, &cache, calls, batch).await }
        });
        Self { pool: pools.requests, batcher, in_flight: Arc::default() }
    }

    /// Posts one movement to a card.
    ///
    /// # Errors
    /// The card does not exist. Its status, its balance or the balance limit forbids the movement.
    pub async fn post(&self, actor: &Actor, posting: Posting, idempotent: Option<IdempotentRequest<Posted>>) -> Result<Outcome<Posted>> {
        let kind = posting.kind.name();
        let _key = idempotent.as_ref().map(|request| InFlightKeys::enter(&self.in_flight, request)).transpose()?;
        let outcome = match posting.card {
            Some(card) => {
                let request = PostingRequest { actor: actor.clone(), card, posting, idempotent };
                self.batcher.call([request.card_key()], request).await?
            }
            None => Box::pin(pessimistic::post(&self.pool, actor, &posting, idempotent.as_ref())).await?,
        };
        if matches!(outcome, Outcome::Fresh(_)) {
            metrics::posting_written(kind);
        }
        Ok(outcome)
    }

    /// At most `limit` movements of a card that pass the filter, before position `before` or the newest, newest first.
    ///
    /// # Errors
    /// The database is unavailable. The history of a card that does not exist is empty, and no error.
    pub async fn page(
        &self,
        account: AccountId,
        card: CardId,
        filter: MovementFilter,
        before: Option<i64>,
        limit: i64,
    ) -> Result<Vec<Movement>> {
        let before = before.unwrap_or(i64::MAX);
        unit::read(&self.pool, move |connection| Box::pin(store::page(connection, (account, card), filter, before, limit))).await
    }
}
