//! Limits on password guessing: whether a login attempt is allowed, before its password is hashed.
//!
//! Failures are counted in the database, for all replicas together, and in the same way whether or not a user has the
//! email. There are three counters: for an email from one source, for an email from all untrusted sources, and for a
//! source. A source is trusted by a user who has logged in from it lately: guesses from elsewhere do not lock them out
//! there. `decision` compares the counters with the limits, and `memory` keeps attempts away from the database that it
//! would refuse.

mod decision;
mod key;
mod memory;
mod store;

use std::{fmt, sync::Arc, time::Instant};

use sqlx::PgConnection;

use crate::database::Pool;

pub use self::{decision::LoginLimits, key::Source};
use self::{
    decision::{KNOWN_FOR, PAIR_WINDOW, Standing, Verdict, WINDOW},
    key::Keys,
    memory::{Memory, UnderWay},
};
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
    memory: Arc<Memory>,
}

impl fmt::Debug for Attempts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Attempts").field("limits", &self.limits).finish_non_exhaustive()
    }
}

/// An attempt that is allowed.
pub(super) struct Attempt {
    /// The user of its email, if there is one.
    pub(super) user: Option<StoredUser>,
    /// The lane in which its password waits to be hashed.
    pub(super) lane: Lane,
    /// Where it is counted.
    pub(super) trace: Trace,
    under_way: Option<UnderWay>,
}

/// The counters of an attempt.
#[derive(Clone)]
pub(super) struct Trace {
    keys: Keys,
    source: Source,
}

impl Attempts {
    pub(super) fn new(pool: Pool, limits: LoginLimits) -> Self {
        Self { pool, limits, memory: Arc::default() }
    }

    /// Checks whether a login attempt is allowed, first by what this replica remembers and then by one query.
    ///
    /// # Errors
    /// [`Error::TooManyAttempts`]. [`Error::Overloaded`] while attempts in flight may use up what is allowed.
    pub(super) async fn check(&self, email: &str, source: &Source) -> Result<Attempt> {
        let email_key = text::email_key(email);
        let trace = Trace { keys: Keys::of(&email_key, source), source: source.clone() };
        // Measured from before the query, so that this replica forgets a block early rather than late.
        let asked = Instant::now();
        if let Some(retry_after) = self.memory.blocked(&trace.keys, asked) {
            return Err(Error::TooManyAttempts { retry_after });
        }
        let looked_for = trace.clone();
        let found = unit::read(&self.pool, move |connection| {
            Box::pin(async move { store::find(connection, &email_key, &looked_for.source, &looked_for.keys).await })
        })
        .await?;
        let may_log_in = found.user.as_ref().is_some_and(|user| !user.disabled);
        let known = may_log_in && found.last_login_at.is_some_and(|last| decision::is_known(found.now, last));
        let (pair, source) = (found.pair, found.source);
        let (verdict, under_way) = self.memory.weigh(trace.keys.strangers, found.strangers, Instant::now(), |strangers, under_way| {
            decision::judge(&Standing { known, pair, strangers, source, under_way }, &self.limits)
        });
        match verdict {
            Verdict::Allowed(lane) => Ok(Attempt { user: found.user, lane, trace, under_way }),
            Verdict::TooMany { retry_after, .. } => {
                self.memory.learn(&trace.keys, verdict, asked);
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
        let Trace { keys, .. } = attempt.trace;
        let mut counters = vec![(keys.pair, PAIR_WINDOW), (keys.source, WINDOW)];
        // First, because `store::count` returns the first counter. A mistyped password from a trusted source does not count
        // against the untrusted ones.
        if attempt.under_way.is_some() {
            counters.insert(0, (keys.strangers, WINDOW));
        }
        let count =
            unit::single_statement(&self.pool, move |connection| Box::pin(async move { store::count(connection, &counters).await }))
                .await?;
        if let Some(under_way) = attempt.under_way {
            under_way.counted(count, Instant::now());
        }
        Ok(())
    }

    /// Deletes some of the counters and trusted sources that have expired, and returns whether there may be more. It deletes
    /// a few at a time, so that logins do not wait behind it.
    ///
    /// # Errors
    /// The database is unavailable.
    pub(super) async fn purge_expired(&self) -> Result<bool> {
        let counters =
            unit::single_statement(&self.pool, |connection| Box::pin(store::delete_ended_counters(connection, PURGE_BATCH))).await?;
        let sources =
            unit::single_statement(&self.pool, |connection| Box::pin(store::delete_sources_older_than(connection, KNOWN_FOR, PURGE_BATCH)))
                .await?;
        Ok([counters, sources].contains(&PURGE_BATCH.unsigned_abs()))
    }
}

/// Trusts the source of a login, in the login's own transaction, and resets the counter of earlier failures from it.
///
/// # Errors
/// The database is unavailable.
pub(super) async fn succeed_in(connection: &mut PgConnection, account: AccountId, user: UserId, trace: &Trace) -> Result<()> {
    store::remember_source(connection, account, user, &trace.source).await?;
    store::reset(connection, &trace.keys.pair).await
}

/// Stops trusting every other source of a user: somebody who knew the old password may have logged in from there.
///
/// # Errors
/// The database is unavailable.
pub(super) async fn forget_sources_in(connection: &mut PgConnection, account: AccountId, user: UserId, here: &Trace) -> Result<()> {
    store::delete_sources_but(connection, account, user, &here.source).await
}
