//! Admission: identifies the caller of a request, and enforces the quota of the account: an exact number of requests in
//! a clock hour, over all replicas.
//!
//! The database checks the session and counts the request, in one round trip for all requests that wait together.
//! `local_quota` refuses requests of a full hour without a query.

mod local_quota;
mod store;

use std::{collections::HashMap, fmt, num::NonZeroU32, sync::Arc, time::Instant};

use chrono::TimeDelta;

use crate::database::{Pool, Pools};
use crate::domain::{
    actor::{Actor, Origin, Principal},
    audit_event::Event,
    id::AccountId,
    quota::QuotaSnapshot,
    role::Role,
    word::Word,
};

use self::{
    local_quota::{LocalQuota, Usage},
    store::{Row, SessionRequests},
};
use crate::telemetry::metrics;

use super::{
    audit,
    auth::{Caller, Claims},
    batch::{self, Batcher, Call, Config},
    error::{Error, Result},
    unit,
};

/// How many batches may be in flight if they stall. Each uses a connection. The requests of an account are in one of
/// them at a time.
pub(super) const MAX_IN_FLIGHT: u32 = 2;

/// The database's result for a request whose session is live.
struct Admitted {
    role: Role,
    /// An error if the hour is full.
    quota: std::result::Result<QuotaSnapshot, QuotaSnapshot>,
}

/// The service of admission.
#[derive(Clone)]
pub struct Admission {
    pool: Pool,
    local: Arc<LocalQuota>,
    batcher: Batcher<AccountId, Claims, Admitted>,
}

impl fmt::Debug for Admission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Admission").finish_non_exhaustive()
    }
}

impl Admission {
    pub(super) fn new(pools: Pools, per_hour: NonZeroU32) -> Self {
        let local = Arc::new(LocalQuota::default());
        let (pool, local_quota) = (pools.batches, Arc::clone(&local));
        let on_dropped = || Error::internal("admitting a request", "the request was dropped");
        let batcher = Batcher::new(Config { name: "admission", max_in_flight: MAX_IN_FLIGHT, on_dropped }, move |calls, batch| {
            let (pool, local) = (pool.clone(), Arc::clone(&local_quota));
            async move {
                execute(&pool, &local, per_hour, calls).await;
                drop(batch);
            }
        });
        Self { pool: pools.requests, local, batcher }
    }

    /// Finds the caller of a verified token, and counts the request. It asks the database each time, so that a logout at
    /// any replica takes effect at once. Returns the caller, and the quota with the request counted.
    ///
    /// A request that bypasses the quota is admitted when the hour is full, and is not counted then.
    ///
    /// # Errors
    /// [`Error::Unauthenticated`] if the session is over or the user is disabled. [`Error::QuotaExceeded`] if the hour is
    /// full.
    pub async fn admit(&self, claims: &Claims, origin: Origin, bypass_quota: bool) -> Result<(Caller, QuotaSnapshot)> {
        let account = claims.account;
        let local = self.local.take(account, Instant::now());
        if !bypass_quota {
            local.inspect_err(|_| metrics::quota_checked(false)).map_err(Error::QuotaExceeded)?;
        }
        let admitted = self.batcher.call([account], *claims).await.inspect_err(|_| self.local.give_back(account))?;
        metrics::quota_checked(admitted.quota.is_ok());
        let quota = match admitted.quota {
            Err(full) if !bypass_quota => return Err(Error::QuotaExceeded(full)),
            Ok(quota) | Err(quota) => quota,
        };
        let principal = Principal::User { user: claims.user, session: claims.session, origin };
        Ok((Caller { account, role: admitted.role, principal }, quota))
    }

    /// Records in the audit log that an hour is full. Each replica records it once an hour, because it refuses later
    /// requests without a query.
    ///
    /// # Errors
    /// The database is unavailable.
    pub async fn report_exhausted(&self, actor: &Actor, quota: &QuotaSnapshot) -> Result<()> {
        let account = actor.account;
        if !self.local.should_report(account) {
            return Ok(());
        }
        tracing::warn!(event = "quota_exhausted", account = %account, limit = quota.limit);
        let event = Event::QuotaExhausted { account, limit: quota.limit };
        unit::write(&self.pool, &audit::Record { actor, event }).await
    }
}

/// Queries all calls together, once for each session.
async fn execute(pool: &Pool, local: &LocalQuota, per_hour: NonZeroU32, calls: Vec<Call<Claims, Admitted>>) {
    let (sessions, numbers) = by_session(calls.iter().map(|call| &call.request));
    let limit = i32::try_from(per_hour.get()).unwrap_or(i32::MAX);
    let since = Instant::now();
    match unit::single_statement(pool, move |connection| Box::pin(async move { store::admit(connection, &sessions, limit).await })).await {
        Ok(rows) => settle(local, per_hour, since, calls.into_iter().zip(numbers), &rows),
        Err(error) => batch::reply_to_all(calls, &error),
    }
}

/// The distinct sessions, and for each of the claims the number of its session, from 1.
fn by_session<'a>(claims: impl Iterator<Item = &'a Claims>) -> (Vec<SessionRequests>, Vec<i64>) {
    let (mut sessions, mut indices): (Vec<SessionRequests>, HashMap<_, usize>) = Default::default();
    let numbers = claims.map(|Claims { account, user, session, .. }| {
        let index = *indices.entry((*account, *user, *session)).or_insert(sessions.len());
        match sessions.get_mut(index) {
            Some(session) => session.requests += 1,
            None => sessions.push(SessionRequests { account: *account, session: *session, user: *user, requests: 1 }),
        }
        i64::try_from(index + 1).unwrap_or(i64::MAX)
    });
    let numbers = numbers.collect();
    (sessions, numbers)
}

/// Replies to each call. If an account's hour has room for some of its calls, the first to arrive are admitted.
fn settle(
    local: &LocalQuota,
    per_hour: NonZeroU32,
    since: Instant,
    calls: impl Iterator<Item = (Call<Claims, Admitted>, i64)>,
    rows: &[Row],
) {
    let rows: HashMap<i64, &Row> = rows.iter().map(|row| (row.number, row)).collect();
    let mut replied: HashMap<AccountId, i32> = HashMap::new();
    for (call, number) in calls {
        let Some((row, role)) = rows.get(&number).and_then(|row| row.role.as_ref().map(|role| (row, role))) else {
            call.reply(Err(Error::Unauthenticated));
            continue;
        };
        let Word::Known(role) = *role else {
            call.reply(Err(Error::UnknownRole));
            continue;
        };
        let account = call.request.account;
        let nth = replied.entry(account).or_default();
        *nth += 1;
        let requests_per_hour = row.requests_per_hour.and_then(|limit| u32::try_from(limit).ok());
        let limit = requests_per_hour.and_then(NonZeroU32::new).unwrap_or(per_hour);
        let reset = row.window_start + TimeDelta::hours(1);
        let retry_after = (reset - row.now).to_std().unwrap_or_default();
        // Includes this call, but not those that are admitted after it.
        let used = row.used.filter(|_| *nth <= row.admitted).map(|used| used - row.admitted + *nth);
        let used = used.and_then(|used| u32::try_from(used).ok());
        // Measured from before the statement, so that a full hour ends early rather than late here.
        local.update(account, Usage { reset: reset.timestamp(), ends: since + retry_after, limit, used }, since);
        let snapshot = |remaining| QuotaSnapshot { limit: limit.get(), remaining, reset: reset.timestamp(), retry_after };
        let quota = used.map_or_else(|| Err(snapshot(0)), |used| Ok(snapshot(limit.get().saturating_sub(used))));
        call.reply(Ok(Admitted { role, quota }));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::id::{SessionId, UserId};

    #[test]
    fn each_session_is_looked_up_once_for_all_of_its_requests() {
        let (account, user) = (AccountId::new(), UserId::new());
        let claims = |session| Claims { account, user, session, issued_at: 0, expires_at: 1 };
        let (one, other) = (claims(SessionId::new()), claims(SessionId::new()));
        // A token that names another user of the same session is looked up by itself.
        let forged = Claims { user: UserId::new(), ..one };
        let (sessions, numbers) = by_session([&one, &other, &one, &forged, &one].into_iter());
        assert_eq!(numbers, [1, 2, 1, 3, 1]);
        let sessions: Vec<_> = sessions.iter().map(|session| (session.session, session.user, session.requests)).collect();
        assert_eq!(sessions, [(one.session, user, 3), (other.session, user, 1), (one.session, forged.user, 1)]);
    }
}
