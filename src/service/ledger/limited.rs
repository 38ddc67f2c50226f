//! Calls to cards that share limits: those of a customer with limits, and those that replace one another. They spend of the same
//! limits, so one transaction decides their calls one after the other: it locks the cards, then what was spent, and writes all
//! that it decided, or nothing.
//!
//! Where the database is distributed by account, all calls of an account go this way.

use std::{
    collections::{BTreeSet, HashMap},
    mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use chrono::{DateTime, Utc};
use sqlx::PgConnection;

use super::{
    CardKey, LedgerCall, Target,
    authorization::Authorization,
    batched::Executor,
    card_rules::{CardRules, WindowKey},
    card_update::{self, CardUpdate, Known},
    position_cache::PositionCache,
    rows::Rows,
    store::{self, Outcomes, Written},
};
use crate::database::is_sharded;
use crate::domain::{
    hold_time::HoldTimes,
    id::{AccountId, AuthorizationId, CardId},
};
use crate::service::{
    error::Result,
    spending,
    unit::{ReadConnection, Unit},
};

/// What a transaction decided of its calls.
#[derive(Default)]
pub(super) struct Planned {
    pub(super) updates: Vec<CardUpdate>,
    pub(super) left_over: Vec<LedgerCall>,
}

impl Planned {
    pub(super) fn into_calls(self) -> Vec<LedgerCall> {
        let planned = self.updates.into_iter().flat_map(|update| update.calls).map(|pending| pending.call);
        planned.chain(self.left_over).collect()
    }
}

/// The calls of an account to cards that share limits.
pub(super) struct LimitedCalls<'a> {
    account: AccountId,
    cache: &'a PositionCache,
    hold_times: &'a HoldTimes,
    sharded: bool,
    cards: BTreeSet<CardId>,
    authorizations: BTreeSet<AuthorizationId>,
    planned: Mutex<Planned>,
}

impl<'a> LimitedCalls<'a> {
    pub(super) fn new(account: AccountId, calls: Vec<LedgerCall>, executor: &'a Executor) -> Self {
        let Executor { pools, cache, hold_times } = executor;
        let (mut cards, mut authorizations): (BTreeSet<_>, BTreeSet<_>) = Default::default();
        for call in &calls {
            for (_, target) in call.request.target_keys() {
                match target {
                    Target::Card(card) => drop(cards.insert(card)),
                    Target::Authorization(id) => drop(authorizations.insert(id)),
                }
            }
        }
        let planned = Mutex::new(Planned { left_over: calls, ..Planned::default() });
        Self { account, cache, hold_times, sharded: is_sharded(&pools.requests), cards, authorizations, planned }
    }

    /// The calls, as they were decided last, if they were.
    pub(super) fn planned(&self) -> Planned {
        mem::take(&mut self.lock())
    }

    fn lock(&self) -> MutexGuard<'_, Planned> {
        // Nothing under the lock can panic half way through a change.
        self.planned.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Locks all that the calls are decided on, in the order in which every transaction locks.
    async fn lock_known(&self, connection: &mut PgConnection) -> Result<(Known, DateTime<Utc>)> {
        let authorizations = self.find_authorizations(connection).await?;
        let mut cards = self.cards.clone();
        cards.extend(authorizations.iter().map(|authorization| authorization.card_id));
        let locked = store::lock_cards(connection, self.account, &cards.into_iter().collect::<Vec<_>>()).await?;
        let at = locked.iter().map(|(_, known)| known.as_of).max().unwrap_or_default();
        let mut known = Known::default();
        known.positions.extend(locked.into_iter().map(|(card, position)| ((self.account, card), position)));
        // One that was read before its card changed may have changed, too.
        for authorization in authorizations {
            let position = known.positions.get(&(self.account, authorization.card_id));
            if position.is_some_and(|known| known.position.sequence == authorization.card_sequence) {
                known.authorizations.insert((self.account, authorization.id), authorization);
            }
        }
        known.rules = self.find_rules(connection, &known).await?;
        self.lock_usage(connection, &mut known, at).await?;
        Ok((known, at))
    }

    async fn find_authorizations(&self, connection: &mut PgConnection) -> Result<Vec<Authorization>> {
        if self.authorizations.is_empty() {
            return Ok(Vec::new());
        }
        let wanted: Vec<_> = self.authorizations.iter().map(|id| (self.account, *id)).collect();
        store::find_authorizations(ReadConnection::within(connection), &wanted).await
    }

    /// The rules of the locked cards, but for those that have to be written alone.
    async fn find_rules(&self, connection: &mut PgConnection, known: &Known) -> Result<HashMap<CardKey, CardRules>> {
        let (mut found, mut misses) = (HashMap::new(), Vec::new());
        for (card, position) in known.positions.iter().map(|(card, known)| (card, known.position)) {
            match self.cache.rules(card, position.rules_version) {
                Some(rules) => drop(found.insert(*card, rules)),
                None if position.rules_version == 0 => {}
                None => misses.push((card.0, card.1, position.customer, position.currency)),
            }
        }
        if !misses.is_empty() {
            found.extend(spending::rules_of(connection, &misses).await?.into_iter().map(|(card, rules)| (card, Arc::new(rules))));
        }
        let rules = found.into_iter().map(|(card, rules)| (card, CardRules::from(&*rules)));
        Ok(rules.filter(|(_, rules)| rules.leave_controls()).collect())
    }

    /// Locks what was spent in all windows that the calls look at or change, and tells the cards.
    async fn lock_usage(&self, connection: &mut PgConnection, known: &mut Known, at: DateTime<Utc>) -> Result<()> {
        let mut windows: HashMap<CardKey, BTreeSet<WindowKey>> =
            known.rules.iter().map(|(card, rules)| (*card, rules.windows(at))).collect();
        for authorization in known.authorizations.values() {
            let card = (self.account, authorization.card_id);
            if let (Some(windows), Some(rules)) = (windows.get_mut(&card), known.rules.get(&card)) {
                windows.extend(rules.windows_of(authorization));
            }
        }
        let all: BTreeSet<WindowKey> = windows.values().flatten().copied().collect();
        if all.is_empty() {
            return Ok(());
        }
        let used = store::lock_usage(connection, self.account, &all).await?;
        for (card, rules) in &mut known.rules {
            rules.learn(windows.entry(*card).or_default(), |window| used.get(window).copied());
        }
        Ok(())
    }
}

impl Unit for LimitedCalls<'_> {
    type Output = (Written, DateTime<Utc>);

    async fn run(&self, connection: &mut PgConnection) -> Result<Self::Output> {
        let (known, at) = self.lock_known(connection).await?;
        let rows = {
            let mut planned = self.lock();
            let calls = mem::take(&mut *planned).into_calls();
            let (updates, left_over) = card_update::plan(calls, &known, at, self.hold_times);
            *planned = Planned { updates, left_over };
            Rows::of_batch(&planned.updates, at)
        };
        if rows.updates.card_id.is_empty() {
            return Ok((Written::Outcomes(Outcomes::default()), at));
        }
        Ok((store::write_locked(connection, &rows, self.sharded).await?, at))
    }

    /// A card that was decided on what another one spends is written with it, or not at all.
    fn commits(&self, (written, _): &Self::Output) -> bool {
        matches!(written, Written::Outcomes(outcomes) if outcomes.are_applied(self.lock().updates.len()))
    }
}
