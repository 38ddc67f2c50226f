//! Who calls, and whether the account's hour has room for it: so many requests per account and clock
//! hour, exactly, over all replicas.
//!
//! The database looks at the session and counts, in one round trip for all requests that wait together;
//! `front` keeps what is hopeless away from it.

mod front;
mod store;

use std::{collections::HashMap, fmt, num::NonZeroU32, sync::Arc, time::Instant};

use crate::database::{Pool, Pools};
use crate::domain::{
    actor::{Actor, Origin},
    audit_event::Event,
    id::AccountId,
    quota::QuotaSnapshot,
    role::Role,
};
use chrono::TimeDelta;
use tokio::sync::oneshot;

use self::{
    front::{Front, Seen},
    store::{Asked, Row},
};
use crate::telemetry::metrics;

use super::{
    audit,
    auth::{Caller, Claims},
    batch::Batches,
    error::{Error, Result},
    unit,
};

/// Round trips at once, each with a connection. One account's requests are in one of them at a time.
pub(super) const FLIGHTS: u32 = 2;

/// A request that waits to be admitted.
struct Job {
    claims: Claims,
    answer: oneshot::Sender<Result<Admitted>>,
}

/// What the database said of a request whose session lives.
struct Admitted {
    role: Role,
    requests_per_hour: Option<u32>,
    /// Err: the hour was full without it.
    standing: std::result::Result<QuotaSnapshot, QuotaSnapshot>,
}

/// The service of admission.
#[derive(Clone)]
pub struct Admission {
    pool: Pool,
    front: Arc<Front>,
    batches: Batches<AccountId, Job>,
}

impl fmt::Debug for Admission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Admission").finish_non_exhaustive()
    }
}

impl Admission {
    pub(super) fn new(pools: Pools, per_hour: NonZeroU32) -> Self {
        let front = Arc::new(Front::default());
        let (asked, learning) = (pools.batches, Arc::clone(&front));
        let batches = Batches::new("admission", FLIGHTS, move |jobs, flight| {
            let (pool, front) = (asked.clone(), Arc::clone(&learning));
            async move {
                carry(&pool, &front, per_hour, jobs).await;
                drop(flight);
            }
        });
        Self { pool: pools.requests, front, batches }
    }

    /// Says whom a verified token stands for, asked of the database each time so that a logout on any replica
    /// counts at once, and counts the request. The second is where the account stands then: an error if its
    /// hour was full, and the request is not counted.
    ///
    /// # Errors
    /// [`Error::Unauthenticated`] when the session is over or the user disabled; [`Error::QuotaExceeded`]
    /// when memory alone knows that the hour is full, unless it is to be admitted `whatever_the_quota`.
    pub async fn admit(&self, claims: &Claims, origin: Origin, whatever_the_quota: bool) -> Result<(Caller, QuotaSnapshot)> {
        let account = claims.account;
        let entered = self.front.take(account, Instant::now());
        if !whatever_the_quota {
            entered.inspect_err(|_| metrics::met_quota(false)).map_err(Error::QuotaExceeded)?;
        }
        let (answer, answered) = oneshot::channel();
        self.batches.submit(account, Job { claims: *claims, answer }).await;
        let answered = answered.await.unwrap_or_else(|error| Err(Error::internal("admitting a request", error)));
        let admitted = answered.inspect_err(|_| self.front.give_back(account))?;
        metrics::met_quota(admitted.standing.is_ok());
        let standing = match admitted.standing {
            Err(standing) if !whatever_the_quota => return Err(Error::QuotaExceeded(standing)),
            Ok(standing) | Err(standing) => standing,
        };
        let Admitted { role, requests_per_hour, .. } = admitted;
        Ok((Caller { account, user: claims.user, session: claims.session, role, requests_per_hour, origin }, standing))
    }

    /// Records that an hour is used up: once an hour and replica, since what comes after is refused without the database.
    ///
    /// # Errors
    /// The database is away.
    pub async fn tell(&self, actor: &Actor, standing: &QuotaSnapshot) -> Result<()> {
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

/// Asks the database for all of them together, for each session once, and gives each its answer.
async fn carry(pool: &Pool, front: &Front, per_hour: NonZeroU32, jobs: Vec<Job>) {
    let (asked, places) = by_session(jobs.iter().map(|job| &job.claims));
    let most = i32::try_from(per_hour.get()).unwrap_or(i32::MAX);
    let since = Instant::now();
    match unit::read(pool, move |unit| Box::pin(async move { store::admit(unit, &asked, most).await })).await {
        Ok(rows) => settle(front, per_hour, since, jobs.into_iter().zip(places), &rows),
        Err(error) => {
            for job in jobs {
                drop(job.answer.send(Err(error.shared_copy())));
            }
        }
    }
}

/// The sessions, each once, and for each of the claims the place of its session, from 1.
fn by_session<'a>(claims: impl Iterator<Item = &'a Claims>) -> (Vec<Asked>, Vec<i64>) {
    let (mut asked, mut places): (Vec<Asked>, HashMap<_, usize>) = Default::default();
    let numbers = claims.map(|Claims { account, user, session, .. }| {
        let place = *places.entry((*account, *user, *session)).or_insert(asked.len());
        match asked.get_mut(place) {
            Some(asked) => asked.requests += 1,
            None => asked.push(Asked { account: *account, session: *session, user: *user, requests: 1 }),
        }
        i64::try_from(place + 1).unwrap_or(i64::MAX)
    });
    let numbers = numbers.collect();
    (asked, numbers)
}

/// Of an account's requests those that came first are the ones that were let in.
fn settle(front: &Front, per_hour: NonZeroU32, asked: Instant, jobs: impl Iterator<Item = (Job, i64)>, rows: &[Row]) {
    let rows: HashMap<i64, &Row> = rows.iter().map(|row| (row.number, row)).collect();
    let mut heard: HashMap<AccountId, i32> = HashMap::new();
    for (job, number) in jobs {
        let Some((row, role)) = rows.get(&number).and_then(|row| row.role.map(|role| (row, role))) else {
            drop(job.answer.send(Err(Error::Unauthenticated)));
            continue;
        };
        let nth = heard.entry(job.claims.account).or_default();
        *nth += 1;
        let own = row.requests_per_hour.and_then(|limit| u32::try_from(limit).ok());
        let limit = own.and_then(NonZeroU32::new).unwrap_or(per_hour);
        let reset = row.window_start + TimeDelta::hours(1);
        let retry_after = (reset - row.now).to_std().unwrap_or_default();
        // With this one in it, and without those that were let in after it.
        let used = row.used.filter(|_| *nth <= row.admitted).map(|used| used - row.admitted + *nth);
        let used = used.and_then(|used| u32::try_from(used).ok());
        // Measured from before the question, so that the front forgets a full hour early rather than late.
        front.learn(job.claims.account, Seen { reset: reset.timestamp(), ends: asked + retry_after, limit, used }, asked);
        let standing = |remaining| QuotaSnapshot { limit: limit.get(), remaining, reset: reset.timestamp(), retry_after };
        let standing = used.map_or_else(|| Err(standing(0)), |used| Ok(standing(limit.get().saturating_sub(used))));
        drop(job.answer.send(Ok(Admitted { role, requests_per_hour: own, standing })));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::id::{SessionId, UserId};

    #[test]
    fn each_session_is_asked_for_once_and_each_request_finds_its_own() {
        let (account, user) = (AccountId::new(), UserId::new());
        let claims = |session| Claims { account, user, session, issued_at: 0, expires_at: 1 };
        let (one, other) = (claims(SessionId::new()), claims(SessionId::new()));
        // A token that says another user of the same session is another question.
        let forged = Claims { user: UserId::new(), ..one };
        let (asked, places) = by_session([&one, &other, &one, &forged, &one].into_iter());
        assert_eq!(places, [1, 2, 1, 3, 1]);
        let asked: Vec<_> = asked.iter().map(|asked| (asked.session, asked.user, asked.requests)).collect();
        assert_eq!(asked, [(one.session, user, 3), (other.session, user, 1), (one.session, forged.user, 1)]);
    }
}
