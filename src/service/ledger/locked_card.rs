//! A card that a transaction has locked. Holds that are due expire first, so that whatever follows is decided without them.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use sqlx::PgConnection;

use super::{
    CardKey,
    authorization::Authorization,
    card_write::{Author, CardWrite, Remarks},
    rows::Rows,
    store::{self, Written},
};
use crate::domain::{authorization::Step, error::Refusal, id::AuthorizationId};
use crate::service::{
    error::{Error, Result},
    unit::ReadConnection,
};
use crate::telemetry::metrics;

/// The most holds that expire in one statement.
const EXPIRED_AT_ONCE: i64 = 1_000;

/// A locked card, with what is to be written to it.
pub(super) struct LockedCard {
    pub(super) write: CardWrite,
    /// The database's clock when the lock was there. Everything is written at this time.
    pub(super) at: DateTime<Utc>,
    /// How many holds have expired.
    pub(super) expired: usize,
}

impl LockedCard {
    /// Waits for the lock of a card.
    ///
    /// # Errors
    /// [`Refusal::CardNotFound`].
    pub(super) async fn lock(connection: &mut PgConnection, card: CardKey) -> Result<Self> {
        let position = store::lock(connection, card.0, card.1).await?.ok_or(Refusal::CardNotFound)?;
        let at = store::now(ReadConnection::within(connection)).await?;
        let mut locked = Self { write: CardWrite::new(card, position), at, expired: 0 };
        if position.holds_due_at.is_some_and(|due| due <= at) {
            locked.expire(connection).await?;
        }
        Ok(locked)
    }

    /// Lets every hold expire that is due: what follows is decided on what is left. Only the last page waits for what follows,
    /// to be written with it.
    async fn expire(&mut self, connection: &mut PgConnection) -> Result<()> {
        loop {
            let due = store::lock_due(connection, self.write.card, self.at, EXPIRED_AT_ONCE).await?;
            let is_last = i64::try_from(due.len()).is_ok_and(|count| count < EXPIRED_AT_ONCE);
            self.expired += due.len();
            for authorization in due {
                let taken = authorization.standing()?.take(Step::Expire)?;
                self.write.step((self.at, &Author::default()), authorization, taken, Remarks::default())?;
            }
            if is_last {
                self.write.to.holds_due_at = store::next_due(connection, self.write.card, self.at).await?;
                return Ok(());
            }
            let rest = CardWrite::new(self.write.card, self.write.to);
            write(connection, &std::mem::replace(&mut self.write, rest), self.at).await?;
        }
    }

    /// An authorisation of the card, as it is by now.
    ///
    /// # Errors
    /// [`Refusal::AuthorizationNotFound`].
    pub(super) async fn authorization(&mut self, connection: &mut PgConnection, id: AuthorizationId) -> Result<Authorization> {
        if let Some(changed) = self.write.take_changed(id) {
            return Ok(changed);
        }
        let found = store::lock_authorization(connection, self.write.card, id).await?;
        Ok(found.ok_or(Refusal::AuthorizationNotFound)?)
    }

    /// Writes everything.
    ///
    /// # Errors
    /// [`Refusal::DuplicateNetworkTransaction`].
    pub(super) async fn write(self, connection: &mut PgConnection) -> Result<()> {
        write(connection, &self.write, self.at).await
    }
}

async fn write(connection: &mut PgConnection, card: &CardWrite, at: DateTime<Utc>) -> Result<()> {
    match store::write(connection, &Rows::of_card(card, at)).await? {
        Written::Outcomes(outcomes) if outcomes.is_applied() => {}
        Written::Outcomes(outcomes) if outcomes.is_used() => return Err(Refusal::DuplicateNetworkTransaction.into()),
        // The next try sees what the other transaction wrote.
        Written::LostRace(error) => return Err(Error::DatabaseUnavailable(Arc::new(error))),
        Written::Outcomes(_) => return Err(Error::internal("writing a locked card", "the card has another position")),
    }
    for kind in card.step_kinds() {
        metrics::authorization_step(kind.name());
    }
    Ok(())
}
