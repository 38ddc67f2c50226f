//! What can go wrong, in the words of the domain. Facts, no prose, no HTTP.

use std::{sync::Arc, time::Duration};

use crate::telemetry::metrics;

use super::{
    admission::Standing,
    auth::Role,
    cards::{CardStatus, TargetStatus},
};

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
    QuotaExceeded(Standing),
    /// Too many failures: from one address, of one email, or of both together.
    #[error("too many failed attempts")]
    TooManyAttempts {
        /// How long until the next one is heard.
        retry_after: Duration,
    },

    /// The account has no such customer.
    #[error("no such customer")]
    CustomerNotFound,
    /// The account has no such card.
    #[error("no such card")]
    CardNotFound,
    /// The account has a customer with this email.
    #[error("email taken")]
    DuplicateEmail,
    /// The deployment has a user with this email.
    #[error("user email taken")]
    DuplicateUser,
    /// There is no such account.
    #[error("no such account")]
    AccountNotFound,
    /// The account has no such user.
    #[error("no such user")]
    UserNotFound,
    /// The user has no such session that lives.
    #[error("no such session")]
    SessionNotFound,
    /// Nobody would be left to manage the account.
    #[error("the account's last admin")]
    LastAdmin,
    /// The card belongs to another customer.
    #[error("card assigned to another customer")]
    CardAlreadyAssigned,
    /// The state machine has no such step.
    #[error("card may not go from {from:?} to {to:?}")]
    CardTransition {
        /// The status the card has.
        from: CardStatus,
        /// The status it was asked to take.
        to: TargetStatus,
    },
    /// Money cannot be added to a blocked card.
    #[error("card blocked")]
    CardBlocked,
    /// Nothing can be done with a cancelled card.
    #[error("card cancelled")]
    CardCancelled,
    /// Only active cards can pay.
    #[error("card not active but {0:?}")]
    CardNotActive(CardStatus),
    /// The card has less than the purchase costs.
    #[error("insufficient funds")]
    InsufficientFunds,
    /// The balance would pass the most a card can hold.
    #[error("balance limit exceeded")]
    BalanceLimitExceeded,

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

    /// Whether the state of things was the reason: the same request gets the same refusal under its
    /// Idempotency-Key, even once the state is another.
    pub(super) const fn is_decided_by_state(&self) -> bool {
        match self {
            Self::CustomerNotFound
            | Self::CardNotFound
            | Self::AccountNotFound
            | Self::UserNotFound
            | Self::SessionNotFound
            | Self::LastAdmin
            | Self::DuplicateEmail
            | Self::DuplicateUser
            | Self::CardAlreadyAssigned
            | Self::CardTransition { .. }
            | Self::CardBlocked
            | Self::CardCancelled
            | Self::CardNotActive(_)
            | Self::InsufficientFunds
            | Self::BalanceLimitExceeded => true,
            Self::Unauthenticated
            | Self::TokenExpired
            | Self::InsufficientPermissions(_)
            | Self::InvalidCredentials
            | Self::InvalidRefreshToken
            | Self::QuotaExceeded(_)
            | Self::TooManyAttempts { .. }
            | Self::IdempotencyKeyReused
            | Self::IdempotencyKeyInUse
            | Self::Overloaded
            | Self::DatabaseUnavailable(_)
            | Self::OutcomeUnknown(_)
            | Self::Internal { .. } => false,
        }
    }

    /// Whether the database rolled a transaction back for the sake of another: nothing was done, and
    /// at once it may be.
    pub(super) fn asks_for_another_try(&self) -> bool {
        match self {
            Self::DatabaseUnavailable(error) => error
                .as_database_error()
                .and_then(sqlx::error::DatabaseError::code)
                .is_some_and(|state| matches!(&*state, "40001" | "40P01")),
            _ => false,
        }
    }

    /// The same again for somebody else whom it struck as well.
    pub(super) fn for_another(&self) -> Self {
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
