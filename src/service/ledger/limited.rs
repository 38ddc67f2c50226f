//! Payments of cards whose customers have limits. What all cards of a customer spend is locked, and then the payments that
//! arrived together are decided and written together. A payment that cannot be written so takes the pessimistic path.
//!
//! The lock comes before those of the cards, whose statement never waits for a card.

use std::{
    collections::{BTreeSet, HashMap},
    sync::{Mutex, PoisonError},
};

use chrono::{DateTime, Utc};
use sqlx::PgConnection;

use super::{
    CardKey, LedgerCall, Target, Work,
    batched::{Executor, Unanswered},
    card_rules::{CardRules, WindowKey},
    card_update::{self, CardUpdate, Known},
    position_cache::CachedPosition,
    rows::Rows,
    store::{self, Outcomes, Written},
};
use crate::domain::{hold_time::HoldTimes, id::AccountId, posting::MovementKind};
use crate::service::{
    batch,
    error::{Error, Result},
    unit::{self, ReadConnection, Unit},
};

/// The calls of a transaction. A transaction that the database rolled back in favour of another runs again, so they come back.
#[derive(Default)]
struct Calls {
    undecided: Vec<LedgerCall>,
    updates: Vec<CardUpdate>,
    left_over: Vec<LedgerCall>,
}

struct Limited<'a> {
    rules: HashMap<CardKey, (i64, CardRules)>,
    /// The time whose windows are locked.
    at: DateTime<Utc>,
    hold_times: &'a HoldTimes,
    calls: Mutex<Calls>,
}

impl Limited<'_> {
    fn calls(&self) -> Calls {
        std::mem::take(&mut *self.calls.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn put(&self, calls: Calls) {
        *self.calls.lock().unwrap_or_else(PoisonError::into_inner) = calls;
    }

    /// Locks what was spent in the windows of every card, account by account. A card with a window in which nothing was spent
    /// yet is left out: whoever makes its row has the lock of the card, and so knows that the limit is still there.
    async fn lock_usage(&self, connection: &mut PgConnection) -> Result<HashMap<CardKey, CardRules>> {
        let mut windows: HashMap<AccountId, BTreeSet<WindowKey>> = HashMap::new();
        for (card, (_, rules)) in &self.rules {
            windows.entry(card.0).or_default().extend(rules.windows(self.at));
        }
        let mut accounts: Vec<AccountId> = windows.keys().copied().collect();
        accounts.sort_unstable();
        let mut used = HashMap::new();
        for account in accounts {
            used.insert(account, store::lock_known_usage(connection, account, &windows[&account]).await?);
        }
        let learned = self.rules.iter().filter_map(|(card, (_, rules))| {
            let (mut rules, used) = (rules.clone(), used.get(&card.0)?);
            let windows = rules.windows(self.at);
            if !windows.iter().all(|window| used.contains_key(window)) {
                return None;
            }
            rules.learn(&windows, |window| used.get(window).copied());
            Some((*card, rules))
        });
        Ok(learned.collect())
    }

    async fn known(&self, connection: &mut PgConnection) -> Result<(Known, DateTime<Utc>)> {
        let mut rules = self.lock_usage(connection).await?;
        let cards: Vec<CardKey> = rules.keys().copied().collect();
        let found = store::positions(ReadConnection::within(connection), &cards).await?;
        let has_its_rules = |card: &CardKey, known: &CachedPosition| {
            self.rules.get(card).is_some_and(|(version, _)| *version == known.position.rules_version)
        };
        let positions: HashMap<CardKey, CachedPosition> = found.into_iter().filter(|(card, known)| has_its_rules(card, known)).collect();
        rules.retain(|card, _| positions.contains_key(card));
        let at = positions.values().map(|known| known.as_of).fold(self.at, DateTime::max);
        Ok((Known { positions, rules, ..Known::default() }, at))
    }
}

impl Unit for Limited<'_> {
    /// What the statement came to, and the time at which it wrote.
    type Output = (Outcomes, DateTime<Utc>);

    async fn run(&self, connection: &mut PgConnection) -> Result<Self::Output> {
        let (known, at) = self.known(connection).await?;
        let Calls { mut undecided, updates, left_over } = self.calls();
        undecided.extend(updates.into_iter().flat_map(CardUpdate::into_calls).chain(left_over));
        let (updates, left_over) = card_update::plan(undecided, &known, at, self.hold_times);
        let rows = Rows::of_batch(&updates, at);
        let is_empty = updates.is_empty();
        self.put(Calls { undecided: Vec::new(), updates, left_over });
        if is_empty {
            return Ok((Outcomes::default(), at));
        }
        match store::write(connection, &rows).await? {
            Written::Outcomes(outcomes) => Ok((outcomes, at)),
            Written::LostRace(error) => Err(Error::DatabaseUnavailable(error.into())),
        }
    }
}

impl Executor {
    /// Divides calls into payments of cards whose customers have limits, as far as that is known, and others.
    pub(super) fn divide(&self, calls: Vec<LedgerCall>) -> (Vec<LedgerCall>, Vec<LedgerCall>) {
        calls.into_iter().partition(|call| {
            let is_payment = match &call.request.work {
                Work::Authorize { new, .. } => new.expires_at.is_none(),
                Work::Post { posting, .. } => posting.kind == MovementKind::Purchase,
                Work::Step { .. } => false,
            };
            is_payment && self.limited_rules(call).is_some()
        })
    }

    fn limited_rules(&self, call: &LedgerCall) -> Option<(CardKey, (i64, CardRules))> {
        let Target::Card(card) = call.request.target else { return None };
        let card = (call.request.actor.account, card);
        let version = self.cache.get(&card)?.position.rules_version;
        let rules = CardRules::from(&*self.cache.rules(&card, version)?);
        (rules.leave_controls() && rules.has_customer_limits()).then_some((card, (version, rules)))
    }

    /// Decides and writes payments of cards whose customers have limits, and replies to them. Returns those that are left for
    /// the pessimistic path.
    pub(super) async fn run_limited(&self, calls: Vec<LedgerCall>) -> Vec<LedgerCall> {
        let (late, calls): (Vec<_>, Vec<_>) = calls.into_iter().partition(|call| call.since.elapsed() > batch::MAX_WAIT);
        batch::reply_to_all(late, &Error::Overloaded);
        let Some(at) = self.cache.now() else { return calls };
        let rules = calls.iter().filter_map(|call| self.limited_rules(call)).collect();
        let calls = Mutex::new(Calls { undecided: calls, ..Calls::default() });
        let limited = Limited { rules, at, hold_times: &self.hold_times, calls };
        let written = unit::write(&self.pools.batches, &limited).await;
        let Calls { undecided, updates, left_over } = limited.calls();
        let Unanswered { retry, pessimistic } = match written {
            Ok((outcomes, at)) => self.settle(updates, left_over, outcomes, at),
            Err(error) => self.give_up(updates, left_over, &error),
        };
        undecided.into_iter().chain(retry).chain(pessimistic).collect()
    }
}
