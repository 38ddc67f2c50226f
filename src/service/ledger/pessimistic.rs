//! One posting in a transaction of its own, under the lock of its card's row. Postings that are refused take this path,
//! replays of stored responses, and postings to a card that others keep changing.

use sqlx::PgConnection;

use super::{Posted, Posting, store};
use crate::database::Pool;
use crate::domain::{actor::Actor, error::Refusal, posting};
use crate::service::{
    error::Result,
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
        let position = store::lock(connection, self.actor.account, card).await?.ok_or(Refusal::CardNotFound)?;
        let entry = posting::post(position, *kind, *amount)?;
        let movement = store::write(connection, self.actor, card, *kind, entry, description).await?;
        Ok(Posted { card, movement })
    }
}
