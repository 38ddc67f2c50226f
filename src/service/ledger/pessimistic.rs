//! One posting or authorisation in a transaction of its own, under the lock of its card's row. Postings that are refused
//! take this path, replays of stored responses, calls to a card with holds that are due, and calls to a card that others
//! keep changing.

use sqlx::PgConnection;

use super::{
    Posted, Posting,
    authorization::{NewAuthorization, Stepped},
    card_write::{Author, Link},
    locked_card::LockedCard,
};
use crate::database::Pool;
use crate::domain::{
    actor::Actor,
    error::Refusal,
    hold_time::{self, HoldTimes},
    posting,
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
        let Posting { card, kind, amount, description } = self.posting;
        let card = card.ok_or(Refusal::CardNotFound)?;
        let mut locked = LockedCard::lock(connection, (self.actor.account, card)).await?;
        let entry = posting::post(locked.write.to, *kind, *amount)?;
        let by = Author::from(self.actor);
        let movement = locked.write.post((locked.at, &by), *kind, entry, description, Link::default());
        let balance = locked.write.balance();
        locked.write(connection).await?;
        Ok(Posted { movement, balance })
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
        let stepped = locked.write.authorize((locked.at, &Author::from(self.actor)), self.new, self.hold_times)?;
        locked.write(connection).await?;
        Ok(stepped)
    }
}
