//! Limits on password guessing: whether a login attempt is allowed, before its password is hashed.
//!
//! Failures are counted in the database, for all replicas together, and in the same way whether or not a user has the
//! email. There are three counters: for an email from one source, for an email from all untrusted sources, and for a
//! source. A source is trusted by a user who has logged in from it lately: guesses from elsewhere do not lock them out
//! there. `decision` compares the counters with the limits. `local_attempts` refuses blocked attempts without a query.

mod counter_key;
mod decision;
mod local_attempts;
mod store;

use std::{fmt, sync::Arc, time::Instant};

use sqlx::PgConnection;

use crate::database::Pool;

use self::{
    counter_key::CounterKeys,
    decision::{AttemptState, PAIR_WINDOW, TRUSTED_FOR, Verdict, WINDOW},
    local_attempts::{InFlight, LocalAttempts},
    store::FoundUser,
};
pub use self::{counter_key::Source, decision::LoginLimits};
use super::{hashers::Lane, store::StoredUser};
use crate::domain::{
    id::{AccountId, UserId},
    text,
};
use crate::service::{
    error::{Error, Result},
    unit,
};

/// How many rows are deleted at a time.
const PURGE_BATCH: i64 = 500;

/// Decides which login attempts are allowed.
#[derive(Clone)]
pub(super) struct Attempts {
    pool: Pool,
    limits: LoginLimits,
    local: Arc<LocalAttempts>,
}

impl fmt::Debug for Attempts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Attempts").field("limits", &self.limits).finish_non_exhaustive()
    }
}

/// An allowed attempt.
pub(super) struct Attempt {
    /// The users with whose passwords it is compared: those of its email. Once guesses from untrusted sources are used up,
    /// only those who trust its source.
    pub(super) users: Vec<StoredUser>,
    /// The lane in which its password is hashed.
    pub(super) lane: Lane,
    /// Its counters and its source.
    pub(super) keys: AttemptKeys,
    in_flight: Option<InFlight>,
}

/// The counters and the source of an attempt.
#[derive(Clone)]
pub(super) struct AttemptKeys {
    counters: CounterKeys,
    source: Source,
}

impl Attempts {
    pub(super) fn new(pool: Pool, limits: LoginLimits) -> Self {
        Self { pool, limits, local: Arc::default() }
    }

    /// Checks whether a login attempt is allowed, first by the cache of this replica and then by one query. `account` is the
    /// account that it names, if any.
    ///
    /// A user of one account gives nobody more guesses at the password of a user of another who has the same email. So a
    /// source is trusted only by the users who have logged in from it.
    ///
    /// # Errors
    /// [`Error::TooManyAttempts`]. [`Error::Overloaded`] while attempts in flight may use up what is allowed.
    pub(super) async fn check(&self, email: &str, account: Option<AccountId>, source: &Source) -> Result<Attempt> {
        let email_key = text::email_key(email);
        let keys = AttemptKeys { counters: CounterKeys::new(&email_key, source), source: source.clone() };
        // Measured from before the query, so that a cached block ends early rather than late.
        let asked_at = Instant::now();
        if let Some(retry_after) = self.local.blocked_for(&keys.counters, asked_at) {
            return Err(Error::TooManyAttempts { retry_after });
        }
        let query = keys.clone();
        let found = unit::read(&self.pool, move |connection| {
            Box::pin(async move { store::find(connection, &email_key, account, &query.source, &query.counters).await })
        })
        .await?;
        let is_shared = found.users.len() > 1;
        let trusts =
            |user: &FoundUser| !user.stored.disabled && user.last_login_at.is_some_and(|last| decision::is_trusted(found.now, last));
        let is_known_source = found.users.iter().any(trusts);
        let named = found.users.into_iter().filter(|user| account.is_none_or(|account| user.stored.account_id == account));
        let (trusting, mut others): (Vec<_>, Vec<_>) = named.partition(trusts);
        if is_shared && account.is_none() && found.through.failures >= self.limits.per_email.get() {
            // Too many logins of one user were guesses at the others.
            others.clear();
        }
        let (pair, source) = (found.pair, found.source);
        let decide = |trusted| {
            self.local.decide(keys.counters.untrusted, found.untrusted, Instant::now(), |untrusted, in_flight| {
                decision::decide(&AttemptState { trusted, pair, untrusted, source, in_flight }, &self.limits)
            })
        };
        let stored = |users: Vec<FoundUser>| users.into_iter().map(|user| user.stored);
        if !trusting.is_empty() && !others.is_empty() {
            // The users who do not trust the source are left out, once too many guesses at them have failed.
            let (verdict, in_flight) = decide(false);
            if verdict == Verdict::Allowed(Lane::Untrusted) {
                let users = stored(trusting).chain(stored(others)).collect();
                return Ok(Attempt { users, lane: Lane::Trusted, keys, in_flight });
            }
        }
        let trusted = !trusting.is_empty();
        let (verdict, in_flight) = decide(trusted);
        match verdict {
            Verdict::Allowed(lane) => {
                Ok(Attempt { users: stored(if trusted { trusting } else { others }).collect(), lane, keys, in_flight })
            }
            Verdict::TooMany { retry_after, .. } => {
                // A cached block would also block a login of the user who trusts the source.
                if trusted || !is_known_source {
                    self.local.cache_blocks(&keys.counters, verdict, asked_at);
                }
                Err(Error::TooManyAttempts { retry_after })
            }
            Verdict::Deferred => Err(Error::Overloaded),
        }
    }

    /// Counts a failed attempt. If that fails, so does the request: otherwise guesses would be free while the database
    /// accepts no writes.
    ///
    /// # Errors
    /// The database is unavailable.
    pub(super) async fn count(&self, attempt: Attempt) -> Result<()> {
        let keys = attempt.keys.counters;
        let mut counters = vec![(keys.pair, PAIR_WINDOW), (keys.source, WINDOW)];
        // First, because `store::count` returns the first counter. A mistyped password from a trusted source does not count
        // against the untrusted ones.
        if attempt.in_flight.is_some() {
            counters.insert(0, (keys.untrusted, WINDOW));
        }
        let count =
            unit::single_statement(&self.pool, move |connection| Box::pin(async move { store::count(connection, &counters).await }))
                .await?;
        if let Some(in_flight) = attempt.in_flight {
            in_flight.failed(count, Instant::now());
        }
        Ok(())
    }

    /// Counts a login of one user that was a guess at other users of the email. No login is refused because of it: a refusal
    /// would tell whether the email has other users, and would lock out a user whose password is right. Once there are too
    /// many, a login that names no account is compared only with the users who trust its source.
    ///
    /// # Errors
    /// The database is unavailable.
    pub(super) async fn count_guess_through(&self, keys: &AttemptKeys) -> Result<()> {
        let counters = [(keys.counters.through, WINDOW)];
        unit::single_statement(&self.pool, move |connection| Box::pin(async move { store::count(connection, &counters).await }))
            .await
            .map(drop)
    }

    /// Deletes some of the expired counters and trusted sources, and returns whether there may be more. It deletes a few at
    /// a time, so that logins do not wait for it.
    ///
    /// # Errors
    /// The database is unavailable.
    pub(super) async fn purge_expired(&self) -> Result<bool> {
        let counters = unit::purge(&self.pool, |connection| Box::pin(store::delete_ended_counters(connection, PURGE_BATCH))).await?;
        let sources =
            unit::purge(&self.pool, |connection| Box::pin(store::delete_sources_older_than(connection, TRUSTED_FOR, PURGE_BATCH))).await?;
        Ok([counters, sources].contains(&PURGE_BATCH.unsigned_abs()))
    }
}

/// Trusts the source of a login, in the login's own transaction, and resets the counter of earlier failures from it. The
/// counter of the email over all sources stays, so this gives away no guesses at another user of the email.
///
/// # Errors
/// The database is unavailable.
pub(super) async fn record_success_in(connection: &mut PgConnection, account: AccountId, user: UserId, keys: &AttemptKeys) -> Result<()> {
    store::trust_source(connection, account, user, &keys.source).await?;
    store::reset(connection, &keys.counters.pair).await
}

/// Stops trusting all other sources of a user: an attacker who knew the old password may have logged in from there.
///
/// # Errors
/// The database is unavailable.
pub(super) async fn distrust_others_in(connection: &mut PgConnection, account: AccountId, user: UserId, keys: &AttemptKeys) -> Result<()> {
    store::delete_other_sources(connection, account, user, &keys.source).await
}
