//! A batch of postings. It is decided on the cached positions of its cards, and written by one statement that skips
//! each card whose position has changed. Postings that were not written are decided again, and those that a batch
//! cannot write take the pessimistic path.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use chrono::{DateTime, Utc};
use futures_util::{StreamExt as _, stream};

use super::{
    CardKey, Done, LedgerBatch, LedgerCall, LedgerRequest, Work,
    card_update::{self, CardOutcome, CardUpdate},
    pessimistic,
    position_cache::{CachedPosition, PositionCache},
    rows::Rows,
    store::{self, Outcomes, Written},
};
use crate::database::Pools;
use crate::domain::hold_time::HoldTimes;
use crate::service::{
    batch,
    error::{Error, Result},
    unit,
};

/// How many times calls are decided in a batch before they take the pessimistic path.
const ATTEMPTS: usize = 3;

/// How many cards of a batch are on the pessimistic path at a time.
const PESSIMISTIC_CARDS: usize = 8;

/// The calls that an attempt did not reply to.
#[derive(Default)]
struct Unanswered {
    /// To be decided again.
    retry: Vec<LedgerCall>,
    /// For the pessimistic path.
    pessimistic: Vec<LedgerCall>,
}

/// Executes batches.
pub(super) struct Executor {
    pub(super) pools: Pools,
    pub(super) cache: Arc<PositionCache>,
    pub(super) hold_times: Arc<HoldTimes>,
}

impl Executor {
    /// Executes a batch: every call gets its own reply.
    pub(super) async fn execute(&self, calls: Vec<LedgerCall>, mut batch: LedgerBatch) {
        let (mut retry, mut pessimistic) = (calls, Vec::new());
        for _ in 0..ATTEMPTS {
            if retry.is_empty() {
                break;
            }
            let unanswered = self.attempt(retry).await;
            retry = unanswered.retry;
            pessimistic.extend(unanswered.pessimistic);
        }
        retry.append(&mut pessimistic);
        if retry.is_empty() {
            return;
        }
        let mut cards: HashMap<CardKey, Vec<LedgerCall>> = HashMap::new();
        for call in retry {
            cards.entry(call.request.card_key()).or_default().push(call);
        }
        batch.release(&cards.keys().copied().collect());
        stream::iter(cards)
            .for_each_concurrent(PESSIMISTIC_CARDS, async |(card, calls)| {
                for call in calls {
                    let reply = if call.since.elapsed() > batch::MAX_WAIT {
                        Err(Error::Overloaded)
                    } else {
                        self.execute_alone(&call.request).await
                    };
                    call.reply(reply);
                }
                self.cache.invalidate(&card);
            })
            .await;
    }

    async fn execute_alone(&self, LedgerRequest { actor, work, .. }: &LedgerRequest) -> Result<Done> {
        let pool = &self.pools.requests;
        match work {
            Work::Post { posting, idempotent } => pessimistic::post(pool, actor, posting, idempotent.as_ref()).await.map(Done::Posted),
            Work::Authorize { new, idempotent } => {
                let outcome = pessimistic::authorize(pool, actor, new, &self.hold_times, idempotent.as_ref()).await?;
                Ok(Done::Authorized(Box::new(outcome)))
            }
        }
    }

    /// Decides calls, writes in one statement what can be written, and replies to it.
    async fn attempt(&self, calls: Vec<LedgerCall>) -> Unanswered {
        let (known, at) = match self.load(&calls).await {
            Ok(loaded) => loaded,
            Err(error) => {
                batch::reply_to_all(calls, &error);
                return Unanswered::default();
            }
        };
        let (updates, left_over) = card_update::plan(calls, |card| known.get(card).copied(), at, &self.hold_times);
        if updates.is_empty() {
            return Unanswered { pessimistic: left_over, ..Unanswered::default() };
        }
        match self.write(&updates, at).await {
            Ok(Written::Outcomes(outcomes)) => self.settle(updates, left_over, outcomes, at),
            Ok(Written::LostRace(_)) => again(updates, left_over),
            Err(error) => self.give_up(updates, left_over, &error),
        }
    }

    /// The positions of the calls' cards, from the cache or else from the database, and the time to write at. That is an
    /// estimate of the database's clock, not before the time at which any of the positions was written or read. If another
    /// transaction writes to a card meanwhile, the card's update conflicts.
    async fn load(&self, calls: &[LedgerCall]) -> Result<(HashMap<CardKey, CachedPosition>, DateTime<Utc>)> {
        let pool = &self.pools.batches;
        let (mut known, mut misses) = (HashMap::new(), HashSet::new());
        for card in calls.iter().map(|call| call.request.card_key()) {
            match self.cache.get(&card) {
                Some(position) => drop(known.insert(card, position)),
                None => drop(misses.insert(card)),
            }
        }
        if !misses.is_empty() {
            let misses: Vec<CardKey> = misses.into_iter().collect();
            let found = unit::read(pool, move |connection| Box::pin(async move { store::positions(connection, &misses).await })).await?;
            for (card, position) in found {
                self.cache.insert(card, position);
                self.cache.observe(position.as_of);
                known.insert(card, position);
            }
        }
        let now = if let Some(now) = self.cache.now() {
            now
        } else {
            let now = unit::read(pool, |connection| Box::pin(store::now(connection))).await?;
            self.cache.observe(now);
            now
        };
        let at = known.values().map(|known| known.as_of).fold(now, DateTime::max);
        Ok((known, at))
    }

    async fn write(&self, updates: &[CardUpdate], at: DateTime<Utc>) -> Result<Written> {
        let rows = Rows::of_batch(updates, at);
        unit::autocommit(&self.pools.batches, move |connection| Box::pin(async move { store::write(connection, &rows).await })).await
    }

    /// Replies to the calls of each applied update, and caches the positions that the statement returned.
    fn settle(&self, updates: Vec<CardUpdate>, left_over: Vec<LedgerCall>, mut outcomes: Outcomes, at: DateTime<Utc>) -> Unanswered {
        let mut unanswered = Unanswered::default();
        for (number, CardUpdate { write, calls }) in (1..).zip(updates) {
            match outcomes.by_number.remove(&number) {
                Some(CardOutcome::Applied) => {
                    self.cache.insert(write.card, CachedPosition { position: write.to, as_of: at });
                    for call in calls {
                        call.confirm();
                    }
                }
                Some(CardOutcome::Conflict { known, used }) => {
                    match known {
                        Some(known) => self.cache.insert(write.card, known),
                        None => self.cache.invalidate(&write.card),
                    }
                    let is_duplicate = |call: &LedgerCall| {
                        let key = call.request.key().map(|(key, _)| key.as_str());
                        used.iter().any(|used| Some(used.as_str()) == key || Some(used.as_str()) == call.request.network_transaction())
                    };
                    let (duplicates, others): (Vec<_>, Vec<_>) = calls.into_iter().map(|pending| pending.call).partition(is_duplicate);
                    unanswered.retry.extend(others);
                    unanswered.pessimistic.extend(duplicates);
                }
                // The statement returns every update. If it did not, its outcome would be unknown, which is what a dropped
                // call is told.
                None => self.cache.invalidate(&write.card),
            }
        }
        if let Some(now) = outcomes.now {
            self.cache.observe(now);
        }
        // After the calls before them on the same card.
        unanswered.retry.extend(left_over);
        unanswered
    }

    /// Replies to the calls whose outcome is unknown, or which the database refused for now.
    fn give_up(&self, updates: Vec<CardUpdate>, left_over: Vec<LedgerCall>, error: &Error) -> Unanswered {
        let mut pessimistic = Vec::new();
        for CardUpdate { write, calls } in updates {
            self.cache.invalidate(&write.card);
            let calls = calls.into_iter().map(|pending| pending.call);
            // The database refused the whole statement because of one call. Each is tried alone, so that none fails because
            // of another.
            if matches!(error, Error::Internal { .. }) || error.is_retryable() || error.is_lock_timeout() {
                pessimistic.extend(calls);
            } else {
                batch::reply_to_all(calls, error);
            }
        }
        pessimistic.extend(left_over);
        Unanswered { pessimistic, ..Unanswered::default() }
    }
}

/// Has all calls decided again. The next statement sees what is stored by now, and skips its card alone.
fn again(updates: Vec<CardUpdate>, left_over: Vec<LedgerCall>) -> Unanswered {
    let calls = updates.into_iter().flat_map(|update| update.calls).map(|pending| pending.call);
    Unanswered { retry: calls.chain(left_over).collect(), ..Unanswered::default() }
}
