//! The errors of the services: facts, without messages for callers and without HTTP.

use std::{sync::Arc, time::Duration};

use crate::telemetry::metrics;

use crate::domain::{actor::Forbidden, error::Refusal, id::AccountId, quota::QuotaSnapshot, role::Role, word::UnknownWord};

/// The result of everything a service does.
pub type Result<T> = std::result::Result<T, Error>;

/// Every way in which a request to a service can fail.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no token, it is not from this deployment, or its session is over.
    #[error("no valid token")]
    Unauthenticated,
    /// The token has expired.
    #[error("token expired")]
    TokenExpired,
    /// The caller's role does not permit the request.
    #[error("role {0:?} may not do this")]
    InsufficientPermissions(Role),
    /// The request is about the caller's own session or password, and an API key has neither.
    #[error("an API key has no session")]
    SessionRequired,
    /// The caller's role is one of a later version, so it permits nothing here.
    #[error("a role of a later version")]
    UnknownRole,
    /// The email is unknown, the password is wrong or the user is disabled. The caller is not told which.
    #[error("login refused")]
    InvalidCredentials,
    /// The email and the password are those of users of these accounts. The caller has to name one.
    #[error("several accounts")]
    AccountRequired(Vec<AccountId>),
    /// The caller's current password is another one.
    #[error("wrong current password")]
    WrongPassword,
    /// A hold would end sooner or later than holds may.
    #[error("hold end out of range")]
    HoldEndOutOfRange,
    /// The past was asked for, and the moment lies ahead, by the database's clock.
    #[error("moment in the future")]
    InFuture,
    /// The refresh token is unknown, expired or used, or its session is over.
    #[error("refresh refused")]
    InvalidRefreshToken,
    /// The quota of the hour is used up.
    #[error("quota used up")]
    QuotaExceeded(QuotaSnapshot),
    /// The requests per second of a gateway's API key are used up.
    #[error("gateway limit reached")]
    GatewayLimitExceeded {
        /// How long until the next request fits.
        retry_after: Duration,
    },
    /// Too many logins failed: from one address, for one email, or for both together.
    #[error("too many failed attempts")]
    TooManyAttempts {
        /// How long until the next login is allowed.
        retry_after: Duration,
    },

    /// The session was refreshed too often in this clock hour.
    #[error("too many refreshes")]
    TooManyRefreshes {
        /// How long until the next refresh is allowed.
        retry_after: Duration,
    },

    /// A rule, or the account's state, forbids the request.
    #[error(transparent)]
    Refused(#[from] Refusal),

    /// The idempotency key belongs to another request.
    #[error("idempotency key reused")]
    IdempotencyKeyReused,
    /// The first request under the idempotency key is still running.
    #[error("idempotency key in use")]
    IdempotencyKeyInUse,

    /// Too many requests are in flight. Nothing was done.
    #[error("overloaded")]
    Overloaded,
    /// What the request is about was written by a later version. Nothing was done.
    #[error(transparent)]
    LaterVersion(#[from] UnknownWord),
    /// The database is unavailable, or gave up. Nothing was done.
    #[error("database unavailable")]
    DatabaseUnavailable(#[source] Arc<sqlx::Error>),
    /// The connection was lost during the commit: the request may or may not have been done.
    #[error("outcome unknown")]
    OutcomeUnknown(#[source] Arc<sqlx::Error>),
    /// A bug.
    #[error("{doing}")]
    Internal {
        /// What failed.
        doing: &'static str,
        /// How it failed.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

impl Error {
    /// A bug, with what failed and how.
    pub fn internal(doing: &'static str, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::Internal { doing, source: source.into() }
    }

    /// The error of a statement that sets a unique value which was free a moment ago. If it is taken by now, the transaction is
    /// worth another try.
    pub(super) fn lost_race(error: sqlx::Error) -> Self {
        if error.as_database_error().is_some_and(sqlx::error::DatabaseError::is_unique_violation) {
            Self::DatabaseUnavailable(Arc::new(error))
        } else {
            error.into()
        }
    }

    /// Whether the database rolled the transaction back in favour of another: nothing was done, and the same work may
    /// succeed at once.
    pub(super) fn is_retryable(&self) -> bool {
        // A store that loses a race for a unique value returns the violation (23505) as this error.
        self.has_state(&["40001", "40P01", "23505"])
    }

    /// Whether the statement gave up waiting for a lock: nothing was done.
    pub(super) fn is_lock_timeout(&self) -> bool {
        self.has_state(&["55P03"])
    }

    fn has_state(&self, states: &[&str]) -> bool {
        let Self::DatabaseUnavailable(error) = self else { return false };
        let state = error.as_database_error().and_then(sqlx::error::DatabaseError::code);
        state.is_some_and(|state| states.contains(&&*state))
    }

    /// A copy for another call of the same batch.
    pub(super) fn shared_copy(&self) -> Self {
        match self {
            Self::Overloaded => Self::Overloaded,
            Self::DatabaseUnavailable(error) => Self::DatabaseUnavailable(Arc::clone(error)),
            Self::OutcomeUnknown(error) => Self::OutcomeUnknown(Arc::clone(error)),
            other => Self::internal("a batch", other.to_string()),
        }
    }
}

/// An error and all of its causes, on one line for a log. Many errors of libraries repeat their cause, so a cause that the
/// line already ends with is left out.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut line = error.to_string();
    for cause in std::iter::successors(error.source(), |error| error.source()).map(ToString::to_string) {
        if !line.ends_with(&cause) {
            line = format!("{line}: {cause}");
        }
    }
    line
}

impl From<Forbidden> for Error {
    fn from(forbidden: Forbidden) -> Self {
        match forbidden {
            Forbidden::Unauthenticated => Self::Unauthenticated,
            Forbidden::Role(role) => Self::InsufficientPermissions(role),
        }
    }
}

/// Errors of statements before the commit, unless a store maps them itself.
impl From<sqlx::Error> for Error {
    fn from(error: sqlx::Error) -> Self {
        metrics::database_failed(&error);
        if is_database_unavailable(&error) {
            Self::DatabaseUnavailable(Arc::new(error))
        } else {
            Self::internal("a database statement", error)
        }
    }
}

/// Whether a later try can succeed: the connection, the server or its capacity failed, not the statement.
fn is_database_unavailable(error: &sqlx::Error) -> bool {
    match error {
        // A server that crashes closes the connection or sends invalid data, which is `Io` or `Protocol`.
        sqlx::Error::Io(_)
        | sqlx::Error::Protocol(_)
        | sqlx::Error::Tls(_)
        | sqlx::Error::PoolTimedOut
        | sqlx::Error::PoolClosed
        | sqlx::Error::WorkerCrashed => true,
        sqlx::Error::Database(answer) => answer.code().is_some_and(|state| is_transient(&state, answer.message())),
        _ => false,
    }
}

/// What Citus says, as an internal error, if the server crashes while it waits for a worker.
const CRASH_OF_COORDINATOR: &str = "postmaster was shut down";

/// Whether the same statement may succeed later: by the SQLSTATE (PostgreSQL, appendix A), and by the message where the SQLSTATE
/// says nothing.
fn is_transient(state: &str, message: &str) -> bool {
    if message.starts_with(CRASH_OF_COORDINATOR) {
        return true;
    }
    matches!(
        state,
        "40001" | "40P01"             // serialisation failure, deadlock: rolled back, safe to repeat
        | "55P03" | "57014"           // lock timeout, statement timeout
        | "25P03"                     // a transaction that was idle for too long
        | "25006"                     // read only: the primary has become a standby
        | "55000" | "3D000" // not accepting connections, database gone
    ) || ["08", "28", "53", "57P", "58"].iter().any(|class| state.starts_with(class))
    // the connection, its authorisation, resources, the operator, the system
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unavailable_database_is_not_a_bug() {
        let lost = [sqlx::Error::Io(std::io::ErrorKind::ConnectionReset.into()), sqlx::Error::PoolTimedOut, sqlx::Error::PoolClosed];
        for error in lost {
            assert!(matches!(Error::from(error), Error::DatabaseUnavailable(_)));
        }
        for error in [sqlx::Error::RowNotFound, sqlx::Error::ColumnNotFound("x".into())] {
            assert!(matches!(Error::from(error), Error::Internal { .. }));
        }
    }

    #[test]
    fn a_chain_says_each_cause_once() {
        let refused = || sqlx::Error::Io(std::io::Error::other("connection refused"));
        let once = "a statement: error communicating with database: connection refused";
        assert_eq!(chain(&Error::internal("a statement", refused())), once);
        assert_eq!(chain(&Error::DatabaseUnavailable(Arc::new(sqlx::Error::PoolClosed))).matches("closed pool").count(), 1);
        assert_eq!(chain(&Error::Overloaded), "overloaded");
    }

    #[test]
    fn only_transient_states_make_a_later_try_worthwhile() {
        for state in [
            "40001", "40P01", "55P03", "57014", "57P01", "57P02", "57P03", "57P05", "25P03", "25006", "53300", "08006", "08P01", "28P01",
            "58030",
        ] {
            assert!(is_transient(state, ""), "{state}");
        }
        assert!(is_transient("XX000", "postmaster was shut down, exiting"));
        for state in ["23505", "23514", "22021", "25P02", "42601", "XX000"] {
            assert!(!is_transient(state, "could not commit transaction on at least one node"), "{state}");
        }
    }
}
