//! One posting in a transaction of its own, under the card's row lock: for a posting that is refused or
//! repeated, and for a card that is being changed elsewhere.

use crate::database::Pool;
use crate::domain::{actor::Actor, error::Refusal, posting};

use super::{Posted, Posting, store};
use crate::service::{
    error::Result,
    idempotency::{self, Once, Outcome},
};

pub(super) async fn post(pool: &Pool, actor: &Actor, posting: &Posting, once: Option<&Once<Posted>>) -> Result<Outcome<Posted>> {
    idempotency::once(pool, once, move |unit| {
        let (actor, posting) = (actor.clone(), posting.clone());
        Box::pin(async move {
            let card = posting.card.ok_or(Refusal::CardNotFound)?;
            let position = store::lock(unit, actor.account, card).await?.ok_or(Refusal::CardNotFound)?;
            let entry = posting::post(position, posting.kind, posting.amount)?;
            let movement = store::write(unit, &actor, card, posting.kind, entry, &posting.description).await?;
            Ok(Posted { card, movement })
        })
    })
    .await
}
