//! A batch of postings. It is decided on the cached positions of its cards, and written by one statement that skips
//! each card whose position has changed. Postings that were not written are decided again, and those that a batch
//! cannot write take the pessimistic path.

use std::collections::{HashMap, HashSet};

use chrono::{DateTime, Utc};
use futures_util::{StreamExt as _, stream};

use super::{
    CardKey, PostingBatch, PostingCall,
    card_update::{self, CardOutcome, CardUpdate},
    pessimistic,
    position_cache::{CachedPosition, PositionCache},
    rows::Rows,
    store::{self, Outcomes, Written},
};
use crate::database::{Pool, Pools};
use crate::service::{
    batch,
    error::{Error, Result},
    unit,
};

/// How many times postings are decided in a batch before they take the pessimistic path.
const ATTEMPTS: usize = 3;

/// How many cards of a batch are on the pessimistic path at a time.
const PESSIMISTIC_CARDS: usize = 8;

/// The calls that an attempt did not reply to.
#[derive(Default)]
struct Unanswered {
    /// To be decided again.
    retry: Vec<PostingCall>,
    /// For the pessimistic path.
    pessimistic: Vec<PostingCall>,
}

/// Executes a batch: every call gets its own reply.
pub(super) async fn execute(pools: &Pools, cache: &PositionCache, calls: Vec<PostingCall>, mut batch: PostingBatch) {
    let (mut retry, mut pessimistic) = (calls, Vec::new());
    for _ in 0..ATTEMPTS {
        if retry.is_empty() {
            break;
        }
        let unanswered = attempt(&pools.batches, cache, retry).await;
        retry = unanswered.retry;
        pessimistic.extend(unanswered.pessimistic);
    }
    retry.append(&mut pessimistic);
    if retry.is_empty() {
        return;
    }
    let mut cards: HashMap<CardKey, Vec<PostingCall>> = HashMap::new();
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
                    let request = &call.request;
                    pessimistic::post(&pools.requests, &request.actor, &request.posting, request.idempotent.as_ref()).await
                };
                call.reply(reply);
            }
            cache.invalidate(&card);
        })
        .await;
}

/// Decides calls, writes in one statement what can be written, and replies to it.
async fn attempt(pool: &Pool, cache: &PositionCache, calls: Vec<PostingCall>) -> Unanswered {
    if let Err(error) = load_misses(pool, cache, &calls).await {
        batch::reply_to_all(calls, &error);
        return Unanswered::default();
    }
    let (updates, left_over) = card_update::plan(calls, |card| cache.get(card));
    if updates.is_empty() {
        return Unanswered { pessimistic: left_over, ..Unanswered::default() };
    }
    match write(pool, cache, &updates).await {
        Ok(Written::Outcomes(outcomes)) => settle(cache, updates, left_over, outcomes),
        Ok(Written::LostRace) => again(updates, left_over),
        Err(error) => give_up(cache, updates, left_over, &error),
    }
}

/// Caches the positions of the calls' cards that the cache misses.
async fn load_misses(pool: &Pool, cache: &PositionCache, calls: &[PostingCall]) -> Result<()> {
    let misses: HashSet<CardKey> = calls.iter().map(|call| call.request.card_key()).filter(|card| cache.get(card).is_none()).collect();
    if misses.is_empty() {
        return Ok(());
    }
    let misses: Vec<CardKey> = misses.into_iter().collect();
    let found = unit::read(pool, move |connection| Box::pin(async move { store::positions(connection, &misses).await })).await?;
    for (card, known) in found {
        cache.insert(card, known);
        cache.observe(known.as_of);
    }
    Ok(())
}

async fn write(pool: &Pool, cache: &PositionCache, updates: &[CardUpdate]) -> Result<Written> {
    let rows = Rows::new(updates, written_at(pool, cache, updates).await?);
    unit::autocommit(pool, move |connection| Box::pin(async move { store::write_updates(connection, &rows).await })).await
}

/// The time to write at, by the database's clock, if a response is to be stored: it may show the time, and it is
/// written with its movement. None: the statement uses its own time.
async fn written_at(pool: &Pool, cache: &PositionCache, updates: &[CardUpdate]) -> Result<Option<DateTime<Utc>>> {
    let mut postings = updates.iter().flat_map(|update| &update.postings);
    if postings.all(|posting| posting.call.request.idempotent.is_none()) {
        return Ok(None);
    }
    let now = if let Some(now) = cache.now() {
        now
    } else {
        let now = unit::read(pool, |connection| Box::pin(store::now(connection))).await?;
        cache.observe(now);
        now
    };
    Ok(Some(card_update::time(updates, now)))
}

/// Replies to the postings of each applied update, and caches the positions that the statement returned.
fn settle(cache: &PositionCache, updates: Vec<CardUpdate>, left_over: Vec<PostingCall>, mut outcomes: Outcomes) -> Unanswered {
    let mut unanswered = Unanswered::default();
    for (number, CardUpdate { card, to, postings, .. }) in (1..).zip(updates) {
        match outcomes.by_number.remove(&number) {
            Some(CardOutcome::Applied { at }) => {
                cache.insert(card, CachedPosition { position: to, as_of: at });
                for posting in postings {
                    posting.confirm(at);
                }
            }
            Some(CardOutcome::Conflict { known, duplicate_keys }) => {
                match known {
                    Some(known) => cache.insert(card, known),
                    None => cache.invalidate(&card),
                }
                let is_duplicate = |call: &PostingCall| {
                    let request = call.request.idempotent.as_ref();
                    request.is_some_and(|request| duplicate_keys.iter().any(|key| key == request.key.as_str()))
                };
                let (duplicates, others): (Vec<_>, Vec<_>) = postings.into_iter().map(|posting| posting.call).partition(is_duplicate);
                unanswered.retry.extend(others);
                unanswered.pessimistic.extend(duplicates);
            }
            // The statement returns every update. If it did not, its outcome would be unknown, which is what a dropped call
            // is told.
            None => cache.invalidate(&card),
        }
    }
    if let Some(now) = outcomes.now {
        cache.observe(now);
    }
    // After the postings before them on the same card.
    unanswered.retry.extend(left_over);
    unanswered
}

/// Has all postings decided again. The next statement sees the key that is stored by now, and skips its card alone.
fn again(updates: Vec<CardUpdate>, left_over: Vec<PostingCall>) -> Unanswered {
    let calls = updates.into_iter().flat_map(|update| update.postings).map(|posting| posting.call);
    Unanswered { retry: calls.chain(left_over).collect(), ..Unanswered::default() }
}

/// Replies to the postings whose outcome is unknown, or which the database refused for now.
fn give_up(cache: &PositionCache, updates: Vec<CardUpdate>, left_over: Vec<PostingCall>, error: &Error) -> Unanswered {
    let mut pessimistic = Vec::new();
    for CardUpdate { card, postings, .. } in updates {
        cache.invalidate(&card);
        let calls = postings.into_iter().map(|posting| posting.call);
        // The database refused the whole statement because of one posting. Each is tried alone, so that none fails because
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
