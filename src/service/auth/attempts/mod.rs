//! Guesses at passwords: whether a login is heard at all, before anything is hashed for it.
//!
//! Failures are counted in the database, for all replicas together, and alike whether the email is
//! somebody's or nobody's. Three counters: an email from one source, an email from everywhere its user
//! is not known, a source. `decision.rs` weighs them; `memory.rs` keeps what is hopeless away from the
//! database. A user is known where they have logged in lately, and guesses made elsewhere count nothing there.

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

/// How many rows are forgotten at a time.
const BATCH: i64 = 500;

/// What stands between a login and the hash that it costs.
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

/// An attempt that is heard.
pub(super) struct Attempt {
    /// Whom it names, if there is somebody of that name.
    pub(super) user: Option<StoredUser>,
    /// Where it waits to be hashed.
    pub(super) lane: Lane,
    /// What is left of it.
    pub(super) trace: Trace,
    under_way: Option<UnderWay>,
}

/// Where an attempt is written down.
#[derive(Clone)]
pub(super) struct Trace {
    keys: Keys,
    source: Source,
}

impl Attempts {
    pub(super) fn new(pool: Pool, limits: LoginLimits) -> Self {
        Self { pool, limits, memory: Arc::default() }
    }

    /// Whether a login is heard, by what this replica remembers and then by one look at the database.
    ///
    /// # Errors
    /// [`Error::TooManyAttempts`]; [`Error::Overloaded`] while those under way may be the last that are allowed.
    pub(super) async fn hear(&self, email: &str, source: &Source) -> Result<Attempt> {
        let email_key = text::email_key(email);
        let trace = Trace { keys: Keys::of(&email_key, source), source: source.clone() };
        // The end of a block is measured from before the question: it is forgotten early rather than late.
        let asked = Instant::now();
        if let Some(retry_after) = self.memory.blocked(&trace.keys, asked) {
            return Err(Error::TooManyAttempts { retry_after });
        }
        let looked_for = trace.clone();
        let found = unit::read(&self.pool, move |unit| {
            Box::pin(async move { store::find(unit, &email_key, &looked_for.source, &looked_for.keys).await })
        })
        .await?;
        let may_log_in = found.user.as_ref().is_some_and(|user| !user.disabled);
        let known = may_log_in && found.last_login_at.is_some_and(|last| decision::is_known(found.now, last));
        let (pair, source) = (found.pair, found.source);
        let (verdict, under_way) = self.memory.weigh(trace.keys.strangers, found.strangers, Instant::now(), |strangers, under_way| {
            decision::judge(&Standing { known, pair, strangers, source, under_way }, &self.limits)
        });
        match verdict {
            Verdict::Heard(lane) => Ok(Attempt { user: found.user, lane, trace, under_way }),
            Verdict::TooMany { retry_after, .. } => {
                self.memory.learn(&trace.keys, verdict, asked);
                Err(Error::TooManyAttempts { retry_after })
            }
            Verdict::Undecided => Err(Error::Overloaded),
        }
    }

    /// Counts an attempt that failed. One that could not be counted must not be answered as one that was:
    /// guesses would be free while the database takes no writes.
    ///
    /// # Errors
    /// The database is away.
    pub(super) async fn count(&self, attempt: Attempt) -> Result<()> {
        let Trace { keys, .. } = attempt.trace;
        let mut counters = vec![(keys.pair, PAIR_WINDOW), (keys.source, WINDOW)];
        // First, for this is the counter that is told of. Somebody who mistypes where they are known
        // does not add to what keeps strangers out.
        if attempt.under_way.is_some() {
            counters.insert(0, (keys.strangers, WINDOW));
        }
        let count = unit::read(&self.pool, move |unit| Box::pin(async move { store::count(unit, &counters).await })).await?;
        if let Some(under_way) = attempt.under_way {
            under_way.counted(count, Instant::now());
        }
        Ok(())
    }

    /// Deletes some of the counters that are over and of the sources that are no longer known; tells
    /// whether there may be more. A few at a time, so that nobody waits behind it.
    ///
    /// # Errors
    /// The database is away.
    pub(super) async fn forget_some(&self) -> Result<bool> {
        let counters = unit::write(&self.pool, |unit| Box::pin(store::delete_ended_counters(unit, BATCH))).await?;
        let sources = unit::write(&self.pool, |unit| Box::pin(store::delete_sources_older_than(unit, KNOWN_FOR, BATCH))).await?;
        Ok([counters, sources].contains(&BATCH.unsigned_abs()))
    }
}

/// Remembers where a user has logged in, in the login's own transaction: what was mistyped there before is forgiven.
///
/// # Errors
/// The database is away.
pub(super) async fn succeed_in(connection: &mut PgConnection, account: AccountId, user: UserId, trace: &Trace) -> Result<()> {
    store::remember_source(connection, account, user, &trace.source).await?;
    store::reset(connection, &trace.keys.pair).await
}

/// Forgets everywhere a user is known but for here: whoever had the old password may have logged in from there.
///
/// # Errors
/// The database is away.
pub(super) async fn forget_sources_in(connection: &mut PgConnection, account: AccountId, user: UserId, here: &Trace) -> Result<()> {
    store::delete_sources_but(connection, account, user, &here.source).await
}
