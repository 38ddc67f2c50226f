//! The unit of work that erases a person.

use sqlx::PgConnection;

use super::{Customer, store};
use crate::domain::{actor::Actor, audit_event::Event, error::Refusal, id::CustomerId};
use crate::service::{audit, error::Result, unit::Unit};

pub(super) struct Erase<'a> {
    pub(super) actor: &'a Actor,
    pub(super) customer: CustomerId,
}

/// An erased person, and the ids of what has their data: of themselves, their cards and their limits.
pub(super) struct Erased {
    pub(super) customer: Customer,
    pub(super) ids: Vec<String>,
}

impl Unit for Erase<'_> {
    type Output = Erased;

    async fn run(&self, connection: &mut PgConnection) -> Result<Erased> {
        let (account, id) = (self.actor.account, self.customer);
        let mut customer = store::lock_whole(connection, account, id).await?.ok_or(Refusal::CustomerNotFound)?;
        let is_new = customer.erased_at.is_none();
        if is_new {
            if store::has_cards_in_use(connection, account, id).await? {
                return Err(Refusal::CustomerHasCards.into());
            }
            customer = store::erase_customer(connection, account, id).await?;
            store::delete_other_words(connection, account, id, &[]).await?;
        }
        // Once more if the person is erased already: the stored responses may have been left.
        let mut ids = vec![id.to_string()];
        let cards = store::lock_cards(connection, account, id).await?;
        store::erase_cards(connection, account, id).await?;
        ids.extend(cards.iter().map(ToString::to_string));
        ids.extend(store::erase_limits(connection, account, id).await?.iter().map(ToString::to_string));
        if is_new {
            audit::record_in(connection, self.actor, Event::CustomerErased { customer: id }).await?;
        }
        Ok(Erased { customer, ids })
    }
}
