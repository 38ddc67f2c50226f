//! The sessions of a user, and the check of their permissions.

use std::time::Duration;

use chrono::{DateTime, Utc};
use sqlx::PgConnection;

use super::{Auth, SessionCaller, store};
use crate::database::Pool;
use crate::domain::{
    actor::{Actor, Principal},
    audit_event::Event,
    environment::Environment,
    error::Refusal,
    id::{AccountId, SessionId, UserId},
    role::Permission,
};
use crate::service::{
    audit,
    error::Result,
    unit::{self, Unit},
};

/// A live session.
#[derive(Clone, Debug)]
pub struct Session {
    /// Its id.
    pub id: SessionId,
    /// Its position in the list.
    pub number: i64,
    /// The address that the login came from, if it is known.
    pub address: Option<String>,
    /// When it began, by the database's clock.
    pub created_at: DateTime<Utc>,
    /// When it expires. Refreshing does not extend it.
    pub expires_at: DateTime<Utc>,
}

impl Auth {
    /// Ends the caller's session.
    ///
    /// # Errors
    /// The database is unavailable.
    pub async fn logout(&self, caller: &SessionCaller) -> Result<()> {
        let SessionCaller { account, user, session, .. } = *caller;
        // If several logouts run at once, one ends the session. The others succeed too.
        unit::write(&self.pool, &EndSession { caller, session, event: Event::Logout { session } }).await?;
        tracing::info!(event = "logout", account = %account, user = %user, session = %session);
        Ok(())
    }

    /// The caller's live sessions, at most `limit` after position `after`, oldest first.
    ///
    /// # Errors
    /// The database is unavailable.
    pub async fn sessions(&self, account: AccountId, user: UserId, after: i64, limit: i64) -> Result<Vec<Session>> {
        unit::read(&self.pool, move |connection| Box::pin(store::sessions(connection, account, user, after, limit))).await
    }

    /// Ends one of the caller's sessions, on every replica at once.
    ///
    /// # Errors
    /// [`Refusal::SessionNotFound`] if it is over or belongs to another user.
    pub async fn end_session(&self, caller: &SessionCaller, session: SessionId) -> Result<()> {
        let SessionCaller { account, user, .. } = *caller;
        if !unit::write(&self.pool, &EndSession { caller, session, event: Event::SessionEnded { session } }).await? {
            return Err(Refusal::SessionNotFound.into());
        }
        tracing::info!(event = "session_ended", account = %account, user = %user, session = %session);
        Ok(())
    }
}

struct EndSession<'a> {
    caller: &'a SessionCaller,
    session: SessionId,
    event: Event,
}

impl Unit for EndSession<'_> {
    type Output = bool;

    /// Whether the session was live.
    async fn run(&self, connection: &mut PgConnection) -> Result<bool> {
        let SessionCaller { account, user, .. } = *self.caller;
        let was_live = store::end_session(connection, account, user, self.session).await?;
        if was_live {
            audit::record_in(connection, &self.caller.actor(), self.event.clone()).await?;
        }
        Ok(was_live)
    }

    fn commits(&self, was_live: &bool) -> bool {
        *was_live
    }
}

/// Checks again, in the writing transaction, that the actor's session or API key is live and that their role permits managing
/// users and keys. The rows stay locked until the commit, so that neither can change before it.
pub(in crate::service) async fn may_manage_in(connection: &mut PgConnection, actor: &Actor) -> Result<()> {
    let role = match actor.principal {
        Principal::User { user, session, .. } => store::lock_role(connection, actor.account, user, session).await?,
        Principal::Key { key, .. } => store::lock_role_of_key(connection, actor.account, key).await?,
        Principal::CommandLine | Principal::Anonymous(_) => None,
    };
    // Who manages does so in every environment.
    Ok(actor.principal.check(Permission::Manage, role, Environment::Production)?)
}

/// How many rows are deleted at a time.
const PURGE_BATCH: i64 = 500;

/// Deletes some of the sessions that have been over for `age`, with their refresh tokens, and returns whether there may be
/// more.
///
/// # Errors
/// The database is unavailable.
pub(super) async fn purge_ended(pool: &Pool, age: Duration) -> Result<bool> {
    let tokens =
        unit::purge(pool, move |connection| Box::pin(store::delete_tokens_of_ended_sessions(connection, age, PURGE_BATCH))).await?;
    let sessions = unit::purge(pool, move |connection| Box::pin(store::delete_ended_sessions(connection, age, PURGE_BATCH))).await?;
    Ok([tokens, sessions].contains(&PURGE_BATCH.unsigned_abs()))
}

/// Ends every session of a user, in the caller's transaction.
pub(in crate::service) async fn end_sessions_in(connection: &mut PgConnection, account: AccountId, user: UserId) -> Result<()> {
    store::end_sessions(connection, account, user, None).await
}
