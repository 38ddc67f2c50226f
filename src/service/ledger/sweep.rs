//! The sweep of holds that are due. Readers and decisions do not wait for it: they leave out what is due. It writes the entries,
//! which tell that the holds have ended, for cards that nothing else happens to.

use std::{collections::BTreeMap, time::Duration};

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use sqlx::PgConnection;

use super::{CardKey, Ledger, locked_card::LockedCard, store};
use crate::domain::{
    currency::Currency,
    id::{AccountId, CardId},
};
use crate::service::{
    error::Result,
    unit::{self, Unit},
};
use crate::telemetry::metrics;

/// How many cards are looked for at a time.
const CARDS: i64 = 100;

/// How many cards that hold nothing are taken off the list of those with due holds at a time.
const IDLE_CARDS: i64 = 1_000;

/// How many cards are swept side by side.
const SIDE_BY_SIDE: usize = 4;

struct Sweep {
    card: CardKey,
}

impl Unit for Sweep {
    /// How many holds expired, if the card was written.
    type Output = Option<usize>;

    async fn run(&self, connection: &mut PgConnection) -> Result<Option<usize>> {
        // Another transaction that holds the card's lock sees to the holds that are due.
        if !store::try_lock_card(connection, self.card).await? {
            return Ok(None);
        }
        let locked = LockedCard::lock(connection, self.card).await?;
        if locked.write.to == locked.write.from {
            return Ok(None);
        }
        let expired = locked.expired;
        locked.write(connection, None).await?;
        Ok(Some(expired))
    }
}

impl Ledger {
    /// Lets holds expire that are due, on some cards of any account. Returns whether there may be more.
    ///
    /// # Errors
    /// The database is unavailable.
    pub async fn expire_due_holds(&self) -> Result<bool> {
        let idle = self.forget_idle().await?;
        let due = unit::read(&self.pool, |connection| Box::pin(store::cards_due(connection, CARDS))).await?;
        metrics::holds_overdue(due.first().map_or(Duration::ZERO, |(_, overdue)| *overdue));
        let is_all = i64::try_from(due.len()).is_ok_and(|count| count < CARDS);
        let swept = stream::iter(due).map(|(card, _)| async move {
            let expired = unit::write(&self.pool, &Sweep { card }).await?;
            if let Some(expired) = expired {
                self.cache.invalidate(&card);
                metrics::holds_expired(expired as u64);
            }
            Ok::<_, crate::service::error::Error>(expired)
        });
        let swept: Vec<_> = swept.buffer_unordered(SIDE_BY_SIDE).collect().await;
        let swept = swept.into_iter().collect::<Result<Vec<_>>>()?;
        // If others hold all the locks, there is no hurry.
        Ok(idle == IDLE_CARDS.unsigned_abs() || !is_all && swept.iter().any(Option::is_some))
    }

    /// Takes cards off the list of those with due holds that hold nothing. Returns how many.
    ///
    /// A payment that was captured in time leaves its card due with nothing to expire. These are most, and one statement takes
    /// many of an account off the list, so that a hold that is due does not wait behind them.
    async fn forget_idle(&self) -> Result<u64> {
        let mut idle: BTreeMap<AccountId, Vec<CardId>> = BTreeMap::new();
        for (account, card) in unit::read(&self.pool, |connection| Box::pin(store::idle_due(connection, IDLE_CARDS))).await? {
            idle.entry(account).or_default().push(card);
        }
        let forgotten = stream::iter(idle).map(|(account, cards)| {
            unit::autocommit(&self.pool, move |connection| {
                Box::pin(async move { store::forget_idle_due(connection, account, &cards).await })
            })
        });
        forgotten.buffer_unordered(SIDE_BY_SIDE).try_fold(0, |sum, count| async move { Ok(sum + count) }).await
    }

    /// Reports what is held, by currency.
    ///
    /// # Errors
    /// The database is unavailable.
    pub async fn report_held_money(&self) -> Result<()> {
        let held = unit::read(&self.pool, |connection| Box::pin(store::held_money(connection))).await?;
        // A currency of which nothing is held is in no row.
        for currency in Currency::ALL {
            let minor_units = held.iter().find(|(of, _)| *of == currency).map_or(0, |(_, held)| *held);
            metrics::money_held(currency.code(), minor_units);
        }
        Ok(())
    }
}
