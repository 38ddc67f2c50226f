//! Admission: identifies the caller of a request, and enforces the quota of the account: an exact number of requests in
//! a clock hour, over all replicas. The requests of gateways take from a bucket of their API key instead.
//!
//! The database checks the session or the key and counts the request, in one round trip for all requests that wait together.
//! `local_quota` refuses requests of a full hour without a query, and `known_keys` those of a gateway with an empty bucket.

mod known_keys;
mod local_quota;
mod store;

use std::{collections::HashMap, fmt, num::NonZeroU32, sync::Arc, time::Instant};

use chrono::{TimeDelta, Utc};
use tracing::field::display;

use crate::database::{self, Pool, Pools};
use crate::domain::{
    actor::{Actor, Origin, Principal},
    api_key::PresentedKey,
    audit_event::Event,
    id::AccountId,
    quota::QuotaSnapshot,
    role::{Permission, Role},
    word::Word,
};

use self::{
    known_keys::KnownKeys,
    local_quota::{LocalQuota, Usage},
    store::{Asked, KeyRequests, Row, SessionRequests},
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

/// What a request presents: a verified token, or an API key of this environment.
#[derive(Clone, Copy)]
pub enum Credential {
    /// A token with a valid signature.
    Token(Claims),
    /// A key with a valid checksum.
    Key(PresentedKey),
}

impl Credential {
    /// The account that it names.
    const fn account(&self) -> AccountId {
        match self {
            Self::Token(claims) => claims.account,
            Self::Key(key) => key.account,
        }
    }

    /// The caller, if the credential is what it says.
    fn principal(&self, origin: Origin) -> Principal {
        match self {
            Self::Token(claims) => Principal::User { user: claims.user, session: claims.session, origin },
            Self::Key(key) => Principal::Key { key: key.id, origin },
        }
    }
}

/// The limits of admission.
#[derive(Clone, Copy, Debug)]
pub struct RequestLimits {
    /// The requests of an account in a clock hour, unless the account has its own limit.
    pub per_hour: NonZeroU32,
    /// The requests with one API key of a gateway in a second, in this replica.
    pub per_gateway_and_second: NonZeroU32,
}

/// The database's result for a request whose session or API key is live.
struct Admitted {
    role: Role,
    /// An error if the hour is full. None if the request does not count.
    quota: Option<std::result::Result<QuotaSnapshot, QuotaSnapshot>>,
}

/// The service of admission.
#[derive(Clone)]
pub struct Admission {
    pool: Pool,
    local: Arc<LocalQuota>,
    keys: Arc<KnownKeys>,
    batcher: Batcher<AccountId, Credential, Admitted>,
}

impl fmt::Debug for Admission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Admission").finish_non_exhaustive()
    }
}

impl Admission {
    pub(super) fn new(pools: Pools, limits: RequestLimits) -> Self {
        let local = Arc::new(LocalQuota::default());
        let (pool, local_quota) = (pools.batches, Arc::clone(&local));
        let on_dropped = || Error::internal("admitting a request", "the request was dropped");
        let batcher = Batcher::new(Config { name: "admission", max_in_flight: MAX_IN_FLIGHT, on_dropped }, move |calls, batch| {
            let (pool, local) = (pool.clone(), Arc::clone(&local_quota));
            async move {
                let sharded = database::is_sharded(&pool);
                batch::in_parts(calls, sharded, Credential::account, |calls| execute(&pool, &local, limits.per_hour, calls)).await;
                drop(batch);
            }
        });
        Self { pool: pools.requests, local, keys: Arc::new(KnownKeys::new(limits.per_gateway_and_second)), batcher }
    }

    /// Whether a credential is known to be what it says without a look-up: the signature of a token proves it, and a key was
    /// admitted here before. Anybody can make up any other key.
    #[must_use]
    pub fn is_proven(&self, credential: &Credential) -> bool {
        match credential {
            Credential::Token(_) => true,
            Credential::Key(key) => self.keys.role(key).is_some(),
        }
    }

    /// Finds the caller of a request, and counts it. It asks the database each time, so that a logout or the end of a key at
    /// any replica takes effect at once. Returns the caller, and the quota with the request counted; no quota for a gateway.
    ///
    /// A request that bypasses the quota is admitted when the hour is full, and is not counted then.
    ///
    /// # Errors
    /// [`Error::Unauthenticated`] if the session is over, the user is disabled, or the key is not valid any more or never was.
    /// [`Error::QuotaExceeded`] if the hour is full. [`Error::GatewayLimitExceeded`] if the bucket of the key is empty.
    pub async fn admit(&self, credential: &Credential, origin: Origin, bypass_quota: bool) -> Result<(Caller, Option<QuotaSnapshot>)> {
        let account = credential.account();
        let known = match credential {
            Credential::Token(_) => None,
            Credential::Key(key) => Some((key, self.keys.role(key))),
        };
        let is_counted_here = match known {
            // An unknown key may be made up: its requests must not use up the hour of the account that it names.
            Some((_, None)) => false,
            Some((key, Some(role))) if !role.counts_towards_quota() => self.take_from_bucket(key).map(|()| false)?,
            None | Some((_, Some(_))) => {
                let local = self.local.take(account, Instant::now());
                if !bypass_quota {
                    local.inspect_err(|_| metrics::quota_checked(false)).map_err(Error::QuotaExceeded)?;
                }
                true
            }
        };
        let admitted = self.batcher.call([account], *credential).await.inspect_err(|error| {
            if is_counted_here {
                self.local.give_back(account);
            }
            if let (Some((key, _)), Error::Unauthenticated) = (known, error) {
                self.keys.remove(key);
            }
        })?;
        if let Some((key, None)) = known {
            self.keys.insert(key, admitted.role);
            if !admitted.role.counts_towards_quota() {
                self.take_from_bucket(key)?;
            }
        }
        let caller = |role| Caller { account, role, principal: credential.principal(origin) };
        let Some(quota) = admitted.quota else { return Ok((caller(admitted.role), None)) };
        metrics::quota_checked(quota.is_ok());
        match quota {
            Err(full) if !bypass_quota => Err(Error::QuotaExceeded(full)),
            Ok(quota) | Err(quota) => Ok((caller(admitted.role), Some(quota))),
        }
    }

    fn take_from_bucket(&self, key: &PresentedKey) -> Result<()> {
        let taken = self.keys.take(key.id);
        metrics::gateway_checked(taken.is_ok());
        taken.map_err(|retry_after| Error::GatewayLimitExceeded { retry_after })
    }

    /// Removes what the buckets of gateways no longer need.
    pub fn sweep(&self) {
        self.keys.sweep();
    }

    /// Records in the audit log that a caller may not do something. Of an API key each replica records it once an hour for each
    /// permission: a gateway's calls are not counted in the hour, and would fill the log.
    ///
    /// # Errors
    /// The database is unavailable.
    pub async fn report_refused(&self, caller: &Caller, needed: Permission) -> Result<()> {
        let actor = caller.actor();
        if actor.api_key().is_some_and(|key| !self.keys.note_refusal(key, needed, Utc::now())) {
            return Ok(());
        }
        let (user, api_key) = (actor.user().map(display), actor.api_key().map(display));
        tracing::warn!(event = "permission_refused", account = %caller.account, user, api_key, role = caller.role.name(), ?needed);
        let Some(subject) = actor.principal.subject() else { return Ok(()) };
        let event = Event::PermissionRefused { caller: subject, role: caller.role, needed };
        unit::write(&self.pool, &audit::Record { actor: &actor, event }).await
    }

    /// Records in the audit log that an hour is full. Each replica records it once an hour, because it refuses later
    /// requests without a query.
    ///
    /// # Errors
    /// The database is unavailable.
    pub async fn report_exhausted(&self, credential: &Credential, origin: Origin, quota: &QuotaSnapshot) -> Result<()> {
        let account = credential.account();
        if !self.local.should_report(account) {
            return Ok(());
        }
        tracing::warn!(event = "quota_exhausted", account = %account, limit = quota.limit);
        let event = Event::QuotaExhausted { account, limit: quota.limit };
        let actor = Actor { account, principal: credential.principal(origin) };
        unit::write(&self.pool, &audit::Record { actor: &actor, event }).await
    }
}

/// Queries all calls together, once for each session.
async fn execute(pool: &Pool, local: &LocalQuota, per_hour: NonZeroU32, calls: Vec<Call<Credential, Admitted>>) {
    let (asked, numbers) = grouped(calls.iter().map(|call| &call.request));
    let limit = i32::try_from(per_hour.get()).unwrap_or(i32::MAX);
    let (since, sharded) = (Instant::now(), database::is_sharded(pool));
    match unit::single_statement(pool, move |connection| Box::pin(async move { store::admit(connection, &asked, limit, sharded).await }))
        .await
    {
        Ok(rows) => settle(local, per_hour, since, calls.into_iter().zip(numbers), &rows),
        Err(error) => batch::reply_to_all(calls, &error),
    }
}

/// Where a credential is in the statement.
#[derive(Clone, Copy)]
enum Place {
    Session(usize),
    Key(usize),
}

/// The distinct sessions and keys, and for each of the credentials its number in the statement, from 1: first the sessions,
/// then the keys.
fn grouped<'a>(credentials: impl Iterator<Item = &'a Credential>) -> (Asked, Vec<i64>) {
    let mut asked = Asked::default();
    let (mut by_session, mut by_key): (HashMap<_, usize>, HashMap<_, usize>) = Default::default();
    let places = credentials.map(|credential| match credential {
        Credential::Token(Claims { account, user, session, .. }) => {
            let index = *by_session.entry((*account, *user, *session)).or_insert(asked.sessions.len());
            match asked.sessions.get_mut(index) {
                Some(session) => session.requests += 1,
                None => asked.sessions.push(SessionRequests { account: *account, session: *session, user: *user, requests: 1 }),
            }
            Place::Session(index)
        }
        // By the hash, which covers the whole text: one that is made up is looked up by itself.
        Credential::Key(key) => {
            let index = *by_key.entry(key.hash).or_insert(asked.keys.len());
            match asked.keys.get_mut(index) {
                Some(key) => key.requests += 1,
                None => asked.keys.push(KeyRequests { key: *key, requests: 1 }),
            }
            Place::Key(index)
        }
    });
    let places: Vec<Place> = places.collect();
    let sessions = asked.sessions.len();
    let number = |place| match place {
        Place::Session(index) => index + 1,
        Place::Key(index) => sessions + index + 1,
    };
    let numbers = places.into_iter().map(|place| i64::try_from(number(place)).unwrap_or(i64::MAX)).collect();
    (asked, numbers)
}

/// Replies to each call. If an account's hour has room for some of its calls, the first to arrive are admitted.
fn settle(
    local: &LocalQuota,
    per_hour: NonZeroU32,
    since: Instant,
    calls: impl Iterator<Item = (Call<Credential, Admitted>, i64)>,
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
        if !role.counts_towards_quota() {
            call.reply(Ok(Admitted { role, quota: None }));
            continue;
        }
        let account = call.request.account();
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
        call.reply(Ok(Admitted { role, quota: Some(quota) }));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::id::{ApiKeyId, SessionId, UserId};

    #[test]
    fn each_session_and_each_key_is_looked_up_once_for_all_of_its_requests() {
        let (account, user) = (AccountId::new(), UserId::new());
        let claims = |session| Claims { account, user, session, issued_at: 0, expires_at: 1 };
        let (one, other) = (claims(SessionId::new()), claims(SessionId::new()));
        // A token that names another user of the same session is looked up by itself, and so is another text of the same key.
        let forged = Claims { user: UserId::new(), ..one };
        let key = PresentedKey { account, id: ApiKeyId::new(), hash: [1; 32] };
        let guess = PresentedKey { hash: [2; 32], ..key };
        let credentials = [
            Credential::Key(key),
            Credential::Token(one),
            Credential::Token(other),
            Credential::Key(guess),
            Credential::Token(one),
            Credential::Token(forged),
            Credential::Key(key),
            Credential::Token(one),
        ];
        let (asked, numbers) = grouped(credentials.iter());
        assert_eq!(numbers, [4, 1, 2, 5, 1, 3, 4, 1]);
        let sessions: Vec<_> = asked.sessions.iter().map(|session| (session.session, session.user, session.requests)).collect();
        assert_eq!(sessions, [(one.session, user, 3), (other.session, user, 1), (one.session, forged.user, 1)]);
        let keys: Vec<_> = asked.keys.iter().map(|key| (key.key.hash, key.requests)).collect();
        assert_eq!(keys, [(key.hash, 2), (guess.hash, 1)]);
    }
}
