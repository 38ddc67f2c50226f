//! The quota: so many requests per account and clock hour, exactly, over all replicas.
//!
//! The database counts; `front` keeps what is hopeless away from it.

mod front;
mod store;

use std::{
    fmt,
    num::NonZeroU32,
    sync::Arc,
    time::{Duration, Instant},
};

use chrono::TimeDelta;
use sqlx::PgPool;

use self::front::{Front, Seen};
use super::{
    audit::{self, Actor, Event},
    auth::Caller,
    error::{Error, Result},
    id::AccountId,
    unit,
};

/// Where an account stands in its hour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// Requests per hour.
    pub limit: u32,
    /// How many are left after this one.
    pub remaining: u32,
    /// Epoch second at which the next hour begins, by the database's clock.
    pub reset: i64,
    /// The time until then.
    pub retry_after: Duration,
}

/// The service of the quota.
#[derive(Clone)]
pub struct Quota {
    pool: PgPool,
    per_hour: NonZeroU32,
    front: Arc<Front>,
}

impl fmt::Debug for Quota {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Quota").field("per_hour", &self.per_hour).finish_non_exhaustive()
    }
}

impl Quota {
    pub(super) fn new(pool: PgPool, per_hour: NonZeroU32) -> Self {
        Self { pool, per_hour, front: Arc::new(Front::default()) }
    }

    /// Asks memory alone whether a request can still be admitted this hour.
    /// After a yes comes [`Quota::count`], or [`Quota::give_back`].
    ///
    /// # Errors
    /// [`Error::QuotaExceeded`].
    pub fn enter(&self, account: AccountId) -> Result<()> {
        self.front.take(account, Instant::now()).map_err(Error::QuotaExceeded)
    }

    /// Takes back an entered request that turned out not to count.
    pub fn give_back(&self, account: AccountId) {
        self.front.give_back(account);
    }

    /// Counts an entered request of an authenticated caller.
    ///
    /// # Errors
    /// [`Error::QuotaExceeded`]; such a request is not counted.
    pub async fn count(&self, caller: &Caller) -> Result<Standing> {
        let limit = caller.requests_per_hour.and_then(NonZeroU32::new).unwrap_or(self.per_hour);
        let asked = Instant::now();
        let (account, most) = (caller.account, i32::try_from(limit.get()).unwrap_or(i32::MAX));
        let count = unit::read(&self.pool, move |unit| Box::pin(store::count(unit, account, most))).await;
        let count = count.inspect_err(|_| self.front.give_back(caller.account))?;
        let reset = count.window_start + TimeDelta::hours(1);
        let retry_after = (reset - count.now).to_std().unwrap_or_default();
        let used = count.used.and_then(|used| u32::try_from(used).ok());
        // Measured from before the question, so that the front forgets a full hour early rather than late.
        let seen = Seen { reset: reset.timestamp(), ends: asked + retry_after, limit, used };
        self.front.learn(caller.account, seen, asked);
        let standing = |remaining| Standing { limit: limit.get(), remaining, reset: reset.timestamp(), retry_after };
        match used {
            Some(used) => Ok(standing(limit.get().saturating_sub(used))),
            None => Err(Error::QuotaExceeded(standing(0))),
        }
    }

    /// Records that an hour is used up: once an hour and replica, since what comes after is refused without the database.
    ///
    /// # Errors
    /// The database is away.
    pub async fn tell(&self, actor: &Actor, standing: &Standing) -> Result<()> {
        let account = actor.account;
        if !self.front.is_news(account) {
            return Ok(());
        }
        tracing::warn!(event = "quota_exhausted", account = %account, limit = standing.limit);
        let (actor, limit) = (actor.clone(), standing.limit);
        unit::write(&self.pool, move |unit| {
            let actor = actor.clone();
            Box::pin(async move { audit::record_in(unit, &actor, Event::QuotaExhausted { account, limit }).await })
        })
        .await
    }
}
