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
    CardKey, Done, LedgerBatch, LedgerCall, LedgerRequest, Target, TargetKey, Work,
    authorization::Authorization,
    card_rules::CardRules,
    card_update::{self, CardOutcome, CardUpdate, Known},
    confused, pessimistic,
    position_cache::{CachedPosition, PositionCache},
    rows::Rows,
    steps,
    store::{self, Outcomes, Written},
};
use crate::database::Pools;
use crate::domain::{
    hold_time::HoldTimes,
    id::{AccountId, AuthorizationId},
};
use crate::service::{
    batch,
    error::{Error, Result},
    spending, unit,
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
    /// For the pessimistic path.
    pub(super) pessimistic: Vec<LedgerCall>,
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
        let mut targets: HashMap<TargetKey, Vec<LedgerCall>> = HashMap::new();
        for call in retry {
            targets.entry(call.request.target_key()).or_default().push(call);
        }
        batch.release(&targets.keys().copied().collect());
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

    async fn run_alone(&self, LedgerRequest { actor, target, work }: &LedgerRequest) -> Result<Done> {
        let pool = &self.pools.requests;
        match work {
            Work::Post { posting, idempotent } => {
                pessimistic::post(pool, actor, posting, idempotent.as_ref()).await.map(|outcome| Done::Posted(Box::new(outcome)))
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
        let (updates, left_over) = card_update::plan(calls, &known, at, &self.hold_times);
        if updates.is_empty() {
            return Unanswered { pessimistic: left_over, ..Unanswered::default() };
        }
        match self.write(&updates, at).await {
            Ok(Written::Outcomes(outcomes)) => self.settle(updates, left_over, outcomes, at),
            Ok(Written::LostRace(_)) => again(updates, left_over),
            Err(error) => self.give_up(updates, left_over, &error),
        }
    }

    /// What the calls are decided on, and the time to write at. That is an estimate of the database's clock, not before the time
    /// at which any of the positions was written or read. If another transaction writes to a card meanwhile, the card's update
    /// conflicts.
    async fn load(&self, calls: &[LedgerCall]) -> Result<(Known, DateTime<Utc>)> {
        let pool = &self.pools.batches;
        let mut known = Known { authorizations: self.load_authorizations(calls).await?, ..Known::default() };
        let mut misses = HashSet::new();
        for authorization in known.authorizations.values() {
            let card = (authorization.account_id, authorization.card_id);
            match self.cache.get(&card).filter(|cached| cached.position.sequence == authorization.card_sequence) {
                Some(position) => drop(known.positions.insert(card, position)),
                None => drop(misses.insert(card)),
            }
        }
        for call in calls {
            let Target::Card(card) = call.request.target else { continue };
            let card = (call.request.actor.account, card);
            if misses.contains(&card) {
                continue;
            }
            match self.cache.get(&card) {
                Some(position) => drop(known.positions.entry(card).or_insert(position)),
                None => drop(misses.insert(card)),
            }
        }
        if !misses.is_empty() {
            let misses: Vec<CardKey> = misses.into_iter().collect();
            let found = unit::read(pool, move |connection| Box::pin(async move { store::positions(connection, &misses).await })).await?;
            for (card, position) in found {
                self.cache.insert(card, position);
                self.cache.observe(position.as_of);
                known.positions.insert(card, position);
            }
        }
        let now = if let Some(now) = self.cache.now() {
            now
        } else {
            let now = unit::read(pool, |connection| Box::pin(store::now(connection))).await?;
            self.cache.observe(now);
            now
        };
        // A change of an authorisation is one of its card: where the card has moved on, the authorisation may have, too.
        let Known { positions, authorizations, .. } = &mut known;
        authorizations.retain(|(account, _), authorization| {
            let position = positions.get(&(*account, authorization.card_id));
            position.is_some_and(|known| known.position.sequence == authorization.card_sequence)
        });
        let at = known.positions.values().map(|known| known.as_of).fold(now, DateTime::max);
        known.rules = self.load_rules(&known, at).await?;
        Ok((known, at))
    }

    /// The controls and limits of those cards that have any, with what was spent in the windows of this moment. Limits of a
    /// customer are left to the pessimistic path, which locks what was spent.
    async fn load_rules(&self, known: &Known, at: DateTime<Utc>) -> Result<HashMap<CardKey, CardRules>> {
        let with_rules = known.positions.iter().filter(|(_, known)| known.position.rules_version > 0);
        let (mut found, mut misses) = (HashMap::new(), Vec::new());
        for (card, CachedPosition { position, .. }) in with_rules {
            match self.cache.rules(card, position.rules_version) {
                Some(rules) => drop(found.insert(*card, rules)),
                None => misses.push((card.0, card.1, position.customer, position.currency)),
            }
        }
        if !misses.is_empty() {
            let read = unit::read(&self.pools.batches, move |mut connection| {
                Box::pin(async move { spending::rules_of(connection.executor(), &misses).await })
            });
            for (card, rules) in read.await? {
                let (version, rules) = (known.positions.get(&card).map_or(0, |known| known.position.rules_version), Arc::new(rules));
                self.cache.insert_rules(card, version, Arc::clone(&rules));
                found.insert(card, rules);
            }
        }
        let suited = found.into_iter().map(|(card, rules)| (card, CardRules::from(&*rules))).filter(|(_, rules)| rules.suit_a_batch());
        let mut suited: HashMap<CardKey, CardRules> = suited.collect();
        let windows: Vec<_> = suited.iter().flat_map(|(card, rules)| rules.windows(at).into_iter().map(|key| (card.0, key))).collect();
        if !windows.is_empty() {
            let read = unit::read(&self.pools.batches, move |mut connection| {
                Box::pin(async move { store::read_usage(connection.executor(), &windows).await })
            });
            let used = read.await?;
            for ((account, _), rules) in &mut suited {
                let windows = rules.windows(at);
                rules.learn(&windows, |(limit, start)| used.get(&(*account, *limit, *start)).copied());
            }
        }
        Ok(suited)
    }

    /// The authorisations that the calls name.
    async fn load_authorizations(&self, calls: &[LedgerCall]) -> Result<HashMap<(AccountId, AuthorizationId), Authorization>> {
        let named = calls.iter().filter_map(|call| match call.request.target {
            Target::Authorization(id) => Some((call.request.actor.account, id)),
            Target::Card(_) => None,
        });
        let named: Vec<_> = named.collect::<HashSet<_>>().into_iter().collect();
        if named.is_empty() {
            return Ok(HashMap::new());
        }
        let found = unit::read(&self.pools.batches, move |connection| {
            Box::pin(async move { store::find_authorizations(connection, &named).await })
        });
        let found = found.await?.into_iter().map(|authorization| ((authorization.account_id, authorization.id), authorization));
        Ok(found.collect())
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
        for (number, CardUpdate { write, calls }) in (1..).zip(updates) {
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
    pub(super) fn give_up(&self, updates: Vec<CardUpdate>, left_over: Vec<LedgerCall>, error: &Error) -> Unanswered {
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
