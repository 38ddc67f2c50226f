//! A batch of postings. It is decided on the cached positions of its cards, and written by one statement that skips
//! each card whose position has changed. Postings that were not written are decided again, and those that a batch
//! cannot write take the pessimistic path. Those to cards that share limits are `limited`.

use std::{
    collections::{HashMap, HashSet},
    mem,
    pin::pin,
    sync::Arc,
};

use chrono::{DateTime, Utc};
use futures_util::{StreamExt as _, future::join, stream};
use tokio::time::timeout;

use super::{
    Done, LedgerBatch, LedgerCall, LedgerRequest, Target, TargetKey, Work,
    card_update::{self, CardOutcome, CardUpdate, PendingCall},
    confused,
    limited::{LimitedCalls, Planned},
    pessimistic,
    position_cache::{CachedPosition, PositionCache},
    rows::Rows,
    steps,
    store::{self, Outcomes, Written},
    transfers,
};
use crate::database::{Pools, is_sharded};
use crate::domain::{hold_time::HoldTimes, id::AccountId};
use crate::service::{
    batch,
    error::{Error, Result},
    unit,
};
use crate::telemetry::metrics;

/// How many times calls are decided in a batch before they take the pessimistic path.
const ATTEMPTS: usize = 3;

/// How many cards and authorisations of a batch are on the pessimistic path at a time.
const PESSIMISTIC_TARGETS: usize = 8;

/// The calls that an attempt did not reply to.
#[derive(Default)]
pub(super) struct Unanswered {
    /// To be decided again.
    pub(super) retry: Vec<LedgerCall>,
    /// To cards that share limits.
    pub(super) limited: Vec<LedgerCall>,
    /// For the pessimistic path.
    pub(super) pessimistic: Vec<LedgerCall>,
}

impl Unanswered {
    /// Adds the calls of a card that was not written. Those whose key or id is used already are replays, or refused.
    fn add_conflict(&mut self, calls: Vec<PendingCall>, used: &[String]) {
        let is_used = |call: &LedgerCall| {
            let key = call.request.key().map(|(key, _)| key.as_str());
            used.iter().any(|used| Some(used.as_str()) == key || Some(used.as_str()) == call.request.network_transaction())
        };
        let (duplicates, others): (Vec<_>, Vec<_>) = calls.into_iter().map(|pending| pending.call).partition(is_used);
        self.retry.extend(others);
        self.pessimistic.extend(duplicates);
    }

    /// Adds those that a further attempt did not reply to. Returns those to be decided again.
    fn extend(&mut self, attempt: Self) -> Vec<LedgerCall> {
        self.limited.extend(attempt.limited);
        self.pessimistic.extend(attempt.pessimistic);
        attempt.retry
    }
}

/// Executes batches.
pub(super) struct Executor {
    pub(super) pools: Pools,
    pub(super) cache: Arc<PositionCache>,
    pub(super) hold_times: Arc<HoldTimes>,
}

impl Executor {
    /// Executes a batch: every call gets its own reply.
    pub(super) async fn run(&self, calls: Vec<LedgerCall>, mut batch: LedgerBatch) {
        let (mut retry, mut rest) = (calls, Unanswered::default());
        if is_sharded(&self.pools.requests) {
            // A transaction is of one account, and on its shard.
            rest.limited = mem::take(&mut retry);
        }
        for _ in 0..ATTEMPTS {
            if retry.is_empty() {
                break;
            }
            retry = rest.extend(self.attempt(retry).await);
        }
        let Unanswered { limited, mut pessimistic, .. } = rest;
        pessimistic.extend(retry);
        if limited.is_empty() {
            if !pessimistic.is_empty() {
                batch.release(&targets(&pessimistic));
                self.run_each_alone(pessimistic).await;
            }
            return;
        }
        let staying = targets(limited.iter().chain(&pessimistic));
        let mut limited = pin!(self.run_limited(limited));
        // While this is quick, the next batch is better formed after it.
        if let Ok(left_over) = timeout(batch::STALL_AFTER, &mut limited).await {
            pessimistic.extend(left_over);
            batch.release(&targets(&pessimistic));
            self.run_each_alone(pessimistic).await;
        } else {
            batch.release(&staying);
            join(self.run_each_alone(pessimistic), async { self.run_each_alone(limited.await).await }).await;
        }
    }

    /// Runs calls in a transaction each.
    async fn run_each_alone(&self, calls: Vec<LedgerCall>) {
        let mut targets: HashMap<TargetKey, Vec<LedgerCall>> = HashMap::new();
        for call in calls {
            targets.entry(call.request.target_key()).or_default().push(call);
        }
        stream::iter(targets)
            .for_each_concurrent(PESSIMISTIC_TARGETS, async |((account, target), calls)| {
                for call in calls {
                    let reply =
                        if call.since.elapsed() > batch::MAX_WAIT { Err(Error::Overloaded) } else { self.run_alone(&call.request).await };
                    call.reply(reply);
                }
                // The card of a step is known once it is done, and `run_alone` invalidates it.
                if let Target::Card(card) = target {
                    self.cache.invalidate(&(account, card));
                }
            })
            .await;
    }

    /// Runs calls to cards that share limits, those of an account together. Returns those for the pessimistic path.
    async fn run_limited(&self, calls: Vec<LedgerCall>) -> Vec<LedgerCall> {
        let mut accounts: HashMap<AccountId, Vec<LedgerCall>> = HashMap::new();
        for call in calls {
            accounts.entry(call.request.actor.account).or_default().push(call);
        }
        let accounts = accounts.into_iter().map(async |(account, mut retry)| {
            let mut rest = Unanswered::default();
            for _ in 0..ATTEMPTS {
                if retry.is_empty() {
                    break;
                }
                retry = rest.extend(self.attempt_limited(account, retry).await);
            }
            rest.pessimistic.extend(retry);
            rest.pessimistic
        });
        stream::iter(accounts).buffer_unordered(PESSIMISTIC_TARGETS).concat().await
    }

    async fn attempt_limited(&self, account: AccountId, calls: Vec<LedgerCall>) -> Unanswered {
        let limited = LimitedCalls::new(account, calls, self);
        let result = unit::write(&self.pools.requests, &limited).await;
        let Planned { updates, left_over } = limited.planned();
        match result {
            Ok((Written::Outcomes(outcomes), at)) if outcomes.are_applied(updates.len()) => {
                let unanswered = self.settle(updates, Vec::new(), outcomes, at);
                Unanswered { pessimistic: left_over, ..unanswered }
            }
            Ok((Written::Outcomes(outcomes), _)) => without_duplicates(updates, left_over, outcomes),
            Ok((Written::LostRace(_), _)) => again(updates, left_over),
            Err(error) if updates.is_empty() => Unanswered { pessimistic: to_try_alone(left_over, &error), ..Unanswered::default() },
            Err(error) => self.give_up(updates, left_over, &error),
        }
    }

    async fn run_alone(&self, LedgerRequest { actor, target, work }: &LedgerRequest) -> Result<Done> {
        let pool = &self.pools.requests;
        match work {
            Work::Post { posting, idempotent } => {
                pessimistic::post(pool, actor, posting, idempotent.as_ref()).await.map(|outcome| Done::Posted(Box::new(outcome)))
            }
            Work::Transfer { to, transfer, idempotent } => {
                let outcome = transfers::transfer_alone(pool, actor, transfer, idempotent.as_ref()).await;
                self.cache.invalidate(&(actor.account, *to));
                Ok(Done::Transferred(Box::new(outcome?)))
            }
            Work::Authorize { new, idempotent } => {
                let outcome = pessimistic::authorize(pool, actor, new, &self.hold_times, idempotent.as_ref()).await?;
                Ok(Done::Stepped(Box::new(outcome)))
            }
            Work::Step { request, idempotent } => {
                let Target::Authorization(id) = *target else { return Err(confused()) };
                let outcome = steps::take_alone(pool, actor, id, request, &self.hold_times, idempotent.as_ref()).await?;
                if let Some(stepped) = outcome.done() {
                    self.cache.invalidate(&(actor.account, stepped.authorization.card_id));
                }
                Ok(Done::Stepped(Box::new(outcome)))
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
        let (limited, calls) = if known.limited.is_empty() { (Vec::new(), calls) } else { known.partition(calls) };
        let (updates, left_over) = card_update::plan(calls, &known, at, &self.hold_times);
        if updates.is_empty() {
            return Unanswered { limited, pessimistic: left_over, ..Unanswered::default() };
        }
        let unanswered = match self.write(&updates, at).await {
            Ok(Written::Outcomes(outcomes)) => self.settle(updates, left_over, outcomes, at),
            Ok(Written::LostRace(_)) => again(updates, left_over),
            Err(error) => self.give_up(updates, left_over, &error),
        };
        Unanswered { limited, ..unanswered }
    }

    async fn write(&self, updates: &[CardUpdate], at: DateTime<Utc>) -> Result<Written> {
        let rows = Rows::of_batch(updates, at);
        unit::autocommit(&self.pools.batches, move |connection| Box::pin(async move { store::write(connection, &rows).await })).await
    }

    /// Replies to the calls of each applied update, and caches the positions that the statement returned.
    pub(super) fn settle(
        &self,
        updates: Vec<CardUpdate>,
        left_over: Vec<LedgerCall>,
        mut outcomes: Outcomes,
        at: DateTime<Utc>,
    ) -> Unanswered {
        let mut unanswered = Unanswered::default();
        for (number, CardUpdate { write, calls, .. }) in (1..).zip(updates) {
            match outcomes.by_number.remove(&number) {
                Some(CardOutcome::Applied) => {
                    for kind in write.step_kinds() {
                        metrics::authorization_step(kind.name());
                    }
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
                    unanswered.add_conflict(calls, &used);
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
    pub(super) fn give_up(&self, updates: Vec<CardUpdate>, left_over: Vec<LedgerCall>, error: &Error) -> Unanswered {
        let mut pessimistic = Vec::new();
        for CardUpdate { write, calls, .. } in updates {
            self.cache.invalidate(&write.card);
            pessimistic.extend(to_try_alone(calls.into_iter().map(|pending| pending.call).collect(), error));
        }
        pessimistic.extend(left_over);
        Unanswered { pessimistic, ..Unanswered::default() }
    }
}

/// Those of the calls that are not answered with an error of all of them. The database may have refused all because of one:
/// each is tried alone, so that none fails because of another.
fn to_try_alone(calls: Vec<LedgerCall>, error: &Error) -> Vec<LedgerCall> {
    if matches!(error, Error::Internal { .. }) || error.is_retryable() || error.is_lock_timeout() {
        return calls;
    }
    batch::reply_to_all(calls, error);
    Vec::new()
}

/// Has all calls of a transaction that was rolled back decided again, but for those whose key or id is used already.
fn without_duplicates(updates: Vec<CardUpdate>, left_over: Vec<LedgerCall>, mut outcomes: Outcomes) -> Unanswered {
    let mut unanswered = Unanswered::default();
    for (number, CardUpdate { calls, .. }) in (1..).zip(updates) {
        let used = match outcomes.by_number.remove(&number) {
            Some(CardOutcome::Conflict { used, .. }) => used,
            Some(CardOutcome::Applied) | None => Vec::new(),
        };
        unanswered.add_conflict(calls, &used);
    }
    unanswered.retry.extend(left_over);
    unanswered
}

/// The targets of calls.
fn targets<'a>(calls: impl IntoIterator<Item = &'a LedgerCall>) -> HashSet<TargetKey> {
    calls.into_iter().flat_map(|call| call.request.target_keys()).collect()
}

/// Has all calls decided again. The next statement sees what is stored by now, and skips its card alone.
fn again(updates: Vec<CardUpdate>, left_over: Vec<LedgerCall>) -> Unanswered {
    let calls = updates.into_iter().flat_map(|update| update.calls).map(|pending| pending.call);
    Unanswered { retry: calls.chain(left_over).collect(), ..Unanswered::default() }
}
