//! One posting or authorisation in a transaction of its own, under the lock of its card's row. Postings that are refused
//! take this path, replays of stored responses, calls to a card with holds that are due, and calls to a card that others
//! keep changing.

use sqlx::PgConnection;

use super::{
    Posted, Posting,
    author::Author,
    authorization::{NewAuthorization, Stepped},
    locked_card::LockedCard,
};
use crate::database::Pool;
use crate::domain::{
    actor::Actor,
    error::Refusal,
    hold_time::{self, HoldTimes},
    posting::MovementKind,
};
use crate::service::{
    error::{Error, Result},
    idempotency::{self, IdempotentRequest, Outcome},
    unit::Unit,
};

struct Post<'a> {
    actor: &'a Actor,
    posting: &'a Posting,
}

pub(super) async fn post(
    pool: &Pool,
    actor: &Actor,
    posting: &Posting,
    idempotent: Option<&IdempotentRequest<Posted>>,
) -> Result<Outcome<Posted>> {
    idempotency::write_once(pool, idempotent, &Post { actor, posting }).await
}

impl Unit for Post<'_> {
    type Output = Posted;

    async fn run(&self, connection: &mut PgConnection) -> Result<Posted> {
        let card = self.posting.card.ok_or(Refusal::CardNotFound)?;
        let mut locked = LockedCard::lock(connection, (self.actor.account, card)).await?;
        if self.posting.kind == MovementKind::Purchase {
            locked.lock_usage(connection, locked.at).await?;
        }
        let posted = locked.write.take_posting((locked.at, &Author::from(self.actor)), self.posting)?;
        locked.write(connection, Some(self.actor)).await?;
        Ok(posted)
    }
}

struct Authorize<'a> {
    actor: &'a Actor,
    new: &'a NewAuthorization,
    hold_times: &'a HoldTimes,
}

pub(super) async fn authorize(
    pool: &Pool,
    actor: &Actor,
    new: &NewAuthorization,
    hold_times: &HoldTimes,
    idempotent: Option<&IdempotentRequest<Stepped>>,
) -> Result<Outcome<Stepped>> {
    idempotency::write_once(pool, idempotent, &Authorize { actor, new, hold_times }).await
}

impl Unit for Authorize<'_> {
    type Output = Stepped;

    async fn run(&self, connection: &mut PgConnection) -> Result<Stepped> {
        let card = self.new.card.ok_or(Refusal::CardNotFound)?;
        let mut locked = LockedCard::lock(connection, (self.actor.account, card)).await?;
        if self.new.expires_at.is_some_and(|end| !hold_time::may_end(locked.at, end)) {
            return Err(Error::HoldEndOutOfRange);
        }
        locked.lock_usage(connection, locked.at).await?;
        let stepped = locked.write.authorize((locked.at, &Author::from(self.actor)), self.new, self.hold_times)?;
        locked.write(connection, Some(self.actor)).await?;
        Ok(stepped)
    }
}
