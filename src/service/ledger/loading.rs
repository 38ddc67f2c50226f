//! What the calls of a batch are decided on: what is known of their cards, or else read, without a lock.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use chrono::{DateTime, Utc};

use super::{
    CardKey, LedgerCall, Target, authorization::Authorization, batched::Executor, card_rules::CardRules, card_update::Known,
    position_cache::CachedPosition, store,
};
use crate::domain::id::{AccountId, AuthorizationId};
use crate::service::{error::Result, spending, unit};

impl Executor {
    /// What the calls are decided on, and the time to write at. That is an estimate of the database's clock, not before the time
    /// at which any of the positions was written or read. If another transaction writes to a card meanwhile, the card's update
    /// conflicts.
    pub(super) async fn load(&self, calls: &[LedgerCall]) -> Result<(Known, DateTime<Utc>)> {
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
        for card in calls.iter().flat_map(|call| call.request.cards()) {
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
        self.load_rules(&mut known, at).await?;
        Ok((known, at))
    }

    /// The controls and limits of those cards that have any, with what was spent in the windows of this moment.
    async fn load_rules(&self, known: &mut Known, at: DateTime<Utc>) -> Result<()> {
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
        for (card, rules) in found {
            let rules = CardRules::from(&*rules);
            match (rules.leave_controls(), rules.share_limits) {
                (true, true) => drop(known.limited.insert(card)),
                (true, false) => drop(known.rules.insert(card, rules)),
                (false, _) => {}
            }
        }
        let windows = known.rules.iter().flat_map(|(card, rules)| rules.windows(at).into_iter().map(|key| (card.0, key)));
        let windows: Vec<_> = windows.collect();
        if !windows.is_empty() {
            let read = unit::read(&self.pools.batches, move |mut connection| {
                Box::pin(async move { store::read_usage(connection.executor(), &windows).await })
            });
            let used = read.await?;
            for ((account, _), rules) in &mut known.rules {
                let windows = rules.windows(at);
                rules.learn(&windows, |(limit, start)| used.get(&(*account, *limit, *start)).copied());
            }
        }
        Ok(())
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
}
