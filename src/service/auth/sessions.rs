//! The sessions of a user, and what a live one entitles to.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;

use super::{Auth, Caller, store};
use crate::domain::{
    actor::{Actor, Principal},
    audit_event::Event,
    error::Refusal,
    id::{AccountId, SessionId, UserId},
    role::Permission,
};
use crate::service::{audit, error::Result, unit};

/// A login that lives.
#[derive(Clone, Debug)]
pub struct Session {
    /// Its id.
    pub id: SessionId,
    /// Its position in the list.
    pub number: i64,
    /// Where the login came from, if that was kept.
    pub address: Option<String>,
    /// When it began, by the database's clock.
    pub created_at: DateTime<Utc>,
    /// When it ends, however often it is refreshed.
    pub expires_at: DateTime<Utc>,
}

impl Auth {
    /// Ends the caller's session.
    ///
    /// # Errors
    /// The database is away.
    pub async fn logout(&self, caller: &Caller) -> Result<()> {
        let actor = caller.actor();
        let (account, user, session) = (caller.account, caller.user, caller.session);
        unit::write(&self.pool, move |unit| {
            let actor = actor.clone();
            Box::pin(async move {
                // Of several logouts at once one ends it.
                if store::end_session(unit, account, user, session).await? {
                    audit::record_in(unit, &actor, Event::Logout { session }).await?;
                }
                Ok(())
            })
        })
        .await?;
        tracing::info!(event = "logout", account = %account, user = %user, session = %session);
        Ok(())
    }

    /// The caller's sessions that live, at most `limit` after position `after`, oldest first.
    ///
    /// # Errors
    /// The database is away.
    pub async fn sessions(&self, account: AccountId, user: UserId, after: i64, limit: i64) -> Result<Vec<Session>> {
        unit::read(&self.pool, move |unit| Box::pin(store::sessions(unit, account, user, after, limit))).await
    }

    /// Ends one of the caller's sessions, on every replica at once.
    ///
    /// # Errors
    /// [`Refusal::SessionNotFound`]: it is over, or not the caller's.
    pub async fn end_session(&self, caller: &Caller, session: SessionId) -> Result<()> {
        let actor = caller.actor();
        let (account, user) = (caller.account, caller.user);
        unit::write(&self.pool, move |unit| {
            let actor = actor.clone();
            Box::pin(async move {
                if !store::end_session(unit, account, user, session).await? {
                    return Err(Refusal::SessionNotFound.into());
                }
                audit::record_in(unit, &actor, Event::SessionEnded { session }).await
            })
        })
        .await?;
        tracing::info!(event = "session_ended", account = %account, user = %user, session = %session);
        Ok(())
    }
}

/// Checks again, in the transaction that writes, that the actor's session lives and that their role permits managing
/// users. The rows stay locked until the commit, so neither can change before it.
pub(in crate::service) async fn may_manage_in(connection: &mut PgConnection, actor: &Actor) -> Result<()> {
    let role = match actor.principal {
        Principal::User { user, session, .. } => store::hold_role(connection, actor.account, user, session).await?,
        Principal::CommandLine | Principal::Anonymous(_) => None,
    };
    Ok(actor.principal.check(Permission::Manage, role)?)
}

/// Ends every session of a user, within the transaction that is the reason.
pub(in crate::service) async fn end_sessions_in(connection: &mut PgConnection, account: AccountId, user: UserId) -> Result<()> {
    store::end_sessions(connection, account, user, None).await
}
