//! What can go wrong, in the words of the domain. Facts, no prose, no HTTP.

use std::{sync::Arc, time::Duration};

use crate::telemetry::metrics;

use crate::domain::{actor::Forbidden, error::Refusal, quota::QuotaSnapshot, role::Role};

/// The result of everything a service does.
pub type Result<T> = std::result::Result<T, Error>;

/// Everything that can keep a service from doing what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No token, not one of ours, or its session is over.
    #[error("no valid token")]
    Unauthenticated,
    /// A token that was ours and has expired.
    #[error("token expired")]
    TokenExpired,
    /// The caller's role may not do this.
    #[error("role {0:?} may not do this")]
    InsufficientPermissions(Role),
    /// Unknown email, wrong password or disabled user: the caller is not told which.
    #[error("login refused")]
    InvalidCredentials,
    /// Unknown, expired or used refresh token, or its session is over.
    #[error("refresh refused")]
    InvalidRefreshToken,
    /// The hour's quota is used up.
    #[error("quota used up")]
    QuotaExceeded(QuotaSnapshot),
    /// Too many failures: from one address, of one email, or of both together.
    #[error("too many failed attempts")]
    TooManyAttempts {
        /// How long until the next one is heard.
        retry_after: Duration,
    },

    /// The state of the account forbids it.
    #[error(transparent)]
    Refused(#[from] Refusal),

    /// The Idempotency-Key stands for another request.
    #[error("idempotency key reused")]
    IdempotencyKeyReused,
    /// The first request under the Idempotency-Key is still running.
    #[error("idempotency key in use")]
    IdempotencyKeyInUse,

    /// Too much is under way; nothing was done.
    #[error("overloaded")]
    Overloaded,
    /// The database could not be asked, or gave up; nothing was done.
    #[error("database unavailable")]
    DatabaseUnavailable(#[source] Arc<sqlx::Error>),
    /// The connection was lost while committing: done or not done, nobody here can tell.
    #[error("outcome unknown")]
    OutcomeUnknown(#[source] Arc<sqlx::Error>),
    /// A bug.
    #[error("{doing}")]
    Internal {
        /// What was being done.
        doing: &'static str,
        /// What went wrong with it.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

impl Error {
    /// A bug, with what was being done when it showed.
    pub fn internal(doing: &'static str, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::Internal { doing, source: source.into() }
    }

    /// Whether the same request gets the same refusal under its Idempotency-Key, even after the state has changed.
    pub(super) const fn is_cacheable_refusal(&self) -> bool {
        matches!(self, Self::Refused(_))
    }

    /// Whether the database rolled the transaction back in favour of another: nothing was done, and the same work may
    /// succeed at once.
    pub(super) fn is_retryable(&self) -> bool {
        match self {
            Self::DatabaseUnavailable(error) => error
                .as_database_error()
                .and_then(sqlx::error::DatabaseError::code)
                .is_some_and(|state| matches!(&*state, "40001" | "40P01")),
            _ => false,
        }
    }

    /// A copy for another job of the batch that failed.
    pub(super) fn shared_copy(&self) -> Self {
        match self {
            Self::Overloaded => Self::Overloaded,
            Self::DatabaseUnavailable(error) => Self::DatabaseUnavailable(Arc::clone(error)),
            Self::OutcomeUnknown(error) => Self::OutcomeUnknown(Arc::clone(error)),
            other => Self::internal("a batch", other.to_string()),
        }
    }
}

/// What an error says, and everything that caused it, on one line for a log.
pub fn chain(error: &dyn std::error::Error) -> String {
    std::iter::successors(Some(error), |error| error.source()).map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

/// Every database failure that no store has given a meaning of its own, before a commit was sent.
impl From<Forbidden> for Error {
    fn from(forbidden: Forbidden) -> Self {
        match forbidden {
            Forbidden::Unauthenticated => Self::Unauthenticated,
            Forbidden::Role(role) => Self::InsufficientPermissions(role),
        }
    }
}

impl From<sqlx::Error> for Error {
    fn from(error: sqlx::Error) -> Self {
        metrics::database_failed(&error);
        if is_the_database_away(&error) {
            Self::DatabaseUnavailable(Arc::new(error))
        } else {
            Self::internal("a database statement", error)
        }
    }
}

/// Whether trying again later can help: the connection, the server or its capacity was at fault,
/// not the statement.
pub(super) fn is_the_database_away(error: &sqlx::Error) -> bool {
    match error {
        // A stream that breaks off or makes no sense, as one does whose server is just dying, is `Io` or `Protocol`.
        sqlx::Error::Io(_)
        | sqlx::Error::Protocol(_)
        | sqlx::Error::Tls(_)
        | sqlx::Error::PoolTimedOut
        | sqlx::Error::PoolClosed
        | sqlx::Error::WorkerCrashed => true,
        sqlx::Error::Database(answer) => answer.code().is_some_and(|state| is_transient(&state)),
        _ => false,
    }
}

/// SQLSTATEs (PostgreSQL, appendix A) that say nothing about the statement itself.
fn is_transient(state: &str) -> bool {
    matches!(
        state,
        "40001" | "40P01"             // serialisation failure, deadlock: rolled back, safe to repeat
        | "55P03" | "57014"           // lock timeout, statement timeout
        | "25P03"                     // a transaction that stood still for too long, as a stopped process does
        | "25006"                     // read only: a primary that became a standby
        | "55000" | "3D000" // not accepting connections, database gone
    ) || ["08", "28", "53", "57P", "58"].iter().any(|class| state.starts_with(class))
    // the connection, its authorisation, resources, the operator, the system
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lost_database_is_told_from_a_bug() {
        let lost = [sqlx::Error::Io(std::io::ErrorKind::ConnectionReset.into()), sqlx::Error::PoolTimedOut, sqlx::Error::PoolClosed];
        for error in lost {
            assert!(matches!(Error::from(error), Error::DatabaseUnavailable(_)));
        }
        for error in [sqlx::Error::RowNotFound, sqlx::Error::ColumnNotFound("x".into())] {
            assert!(matches!(Error::from(error), Error::Internal { .. }));
        }
    }

    #[test]
    fn states_that_a_retry_can_mend_are_no_bugs() {
        for state in [
            "40001", "40P01", "55P03", "57014", "57P01", "57P02", "57P03", "57P05", "25P03", "25006", "53300", "08006", "08P01", "28P01",
            "58030",
        ] {
            assert!(is_transient(state), "{state}");
        }
        for state in ["23505", "23514", "22021", "25P02", "42601", "XX000"] {
            assert!(!is_transient(state), "{state}");
        }
    }
}
