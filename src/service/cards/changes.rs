//! The units of work that write cards.

use sqlx::PgConnection;

use super::{
    Assigned, Card, StatusSet,
    store::{self, LockedCard, SetStatus},
};
use crate::domain::{
    actor::Actor,
    assignment::{self, Assignment},
    audit_event::Event,
    card::{CardStatus, StatusChange, TargetStatus},
    card_details::{CardPatch, NewCard},
    error::Refusal,
    id::{AccountId, CardId, CustomerId, EventId},
    text::Reason,
};
use crate::service::{
    audit, customers,
    error::Result,
    spending,
    unit::{ReadConnection, Unit},
};

/// The position of its creation in a card's history.
const FIRST_EVENT: i64 = 1;

/// Why the service cancels a card.
const USED_UP: &str = "The card has made its last payment";

pub(super) struct Create<'a> {
    pub(super) actor: &'a Actor,
    pub(super) new: NewCard,
    pub(super) sharded: bool,
}

impl Unit for Create<'_> {
    type Output = Card;

    async fn run(&self, connection: &mut PgConnection) -> Result<Card> {
        let (card, created) = insert_in(connection, self.actor, &self.new, self.sharded).await?;
        created.record_in(connection, self.actor).await?;
        Ok(card)
    }
}

pub(super) struct Change<'a> {
    pub(super) actor: &'a Actor,
    pub(super) card: Option<CardId>,
    pub(super) patch: &'a CardPatch,
}

impl Unit for Change<'_> {
    type Output = Card;

    async fn run(&self, connection: &mut PgConnection) -> Result<Card> {
        let account = self.actor.account;
        let (id, _) = lock(connection, account, self.card).await?;
        let before = store::details(connection, account, id).await?;
        let after = before.patched(self.patch).map_err(|_| Refusal::TooMuchMetadata)?;
        if after != before {
            if let Some(Some(external_id)) = &self.patch.external_id
                && store::external_id_owner(connection, account, external_id).await?.is_some_and(|owner| owner != id)
            {
                return Err(Refusal::DuplicateExternalId.into());
            }
            let sequence = store::set_details(connection, account, id, &after).await?;
            let fields = before.changes(&after);
            audit::record_in(connection, self.actor, Event::CardChanged { card: id, fields, sequence }).await?;
        }
        find_in(connection, account, id).await
    }
}

pub(super) struct Assign<'a> {
    pub(super) actor: &'a Actor,
    pub(super) card: Option<CardId>,
    pub(super) customer: Option<CustomerId>,
}

impl Unit for Assign<'_> {
    type Output = Assigned;

    async fn run(&self, connection: &mut PgConnection) -> Result<Assigned> {
        let account = self.actor.account;
        let (id, card) = lock(connection, account, self.card).await?;
        let customer = self.customer.ok_or(Refusal::CustomerNotFound)?;
        // Its own customer exists, also if they were erased: to ask for what is so already changes nothing, and waits for nobody.
        if card.customer_id != Some(customer) {
            customers::exists_in(connection, account, customer).await?;
        }
        match assignment::assign(card.status.known()?, card.customer_id, customer)? {
            Assignment::Unchanged => {}
            Assignment::New => {
                let assigned = assign_in(connection, account, id, customer).await?;
                audit::record_in(connection, self.actor, assigned).await?;
            }
        }
        Ok(Assigned { id, customer })
    }
}

pub(super) struct ChangeStatus<'a> {
    pub(super) actor: &'a Actor,
    pub(super) card: Option<CardId>,
    pub(super) target: TargetStatus,
    pub(super) reason: Option<&'a Reason>,
    pub(super) sharded: bool,
}

impl Unit for ChangeStatus<'_> {
    type Output = StatusSet;

    async fn run(&self, connection: &mut PgConnection) -> Result<StatusSet> {
        let (id, card) = lock(connection, self.actor.account, self.card).await?;
        let from = card.status.known()?;
        match from.change(self.target)? {
            StatusChange::Unchanged => {}
            StatusChange::To(to) => {
                let reason = self.reason.map(Reason::as_str);
                take_status(connection, self.actor, SetStatus { card: id, from, to, reason }, self.sharded).await?;
            }
        }
        Ok(StatusSet { id, status: self.target.status() })
    }
}

/// The event of a card's creation, which is to be recorded.
#[must_use]
pub(in crate::service) struct Created {
    id: EventId,
    event: Event,
}

impl Created {
    /// Records the event.
    pub(in crate::service) async fn record_in(self, connection: &mut PgConnection, actor: &Actor) -> Result<()> {
        audit::record_as(connection, actor, self.id, self.event).await
    }
}

/// Creates a card, within a transaction that records the event once it has locked all else. `sharded`: the database is distributed
/// by account.
///
/// # Errors
/// [`Refusal::DuplicateExternalId`].
pub(in crate::service) async fn insert_in(
    connection: &mut PgConnection,
    actor: &Actor,
    new: &NewCard,
    sharded: bool,
) -> Result<(Card, Created)> {
    let event = EventId::new();
    let card = store::insert(connection, actor, (CardId::new(), event), new, sharded).await?;
    let card = card.ok_or(Refusal::DuplicateExternalId)?;
    let created = Event::CardCreated { card: card.id, currency: new.currency, sequence: FIRST_EVENT };
    Ok((card, Created { id: event, event: created }))
}

/// Assigns a locked card to a customer, with what it has spent so far. Returns the event, which is to be recorded once all else is
/// locked.
pub(in crate::service) async fn assign_in(
    connection: &mut PgConnection,
    account: AccountId,
    card: CardId,
    customer: CustomerId,
) -> Result<Event> {
    let sequence = store::set_customer(connection, account, card, customer).await?;
    spending::bring_usage(connection, account, card, customer).await?;
    Ok(Event::CardAssigned { card, customer, sequence })
}

/// A card as a transaction sees it.
///
/// # Errors
/// [`Refusal::CardNotFound`].
pub(in crate::service) async fn find_in(connection: &mut PgConnection, account: AccountId, card: CardId) -> Result<Card> {
    let found = store::find_all(ReadConnection::within(connection), &[(account, card)]).await?;
    Ok(found.into_iter().flatten().next().ok_or(Refusal::CardNotFound)?)
}

/// Sets the status of a locked card. `sharded`: the database is distributed by account.
pub(in crate::service) async fn take_status(connection: &mut PgConnection, actor: &Actor, set: SetStatus<'_>, sharded: bool) -> Result<()> {
    let event = EventId::new();
    let sequence = store::set_status(connection, actor, event, &set, sharded).await?;
    let SetStatus { card, from, to, .. } = set;
    audit::record_as(connection, actor, event, Event::CardStatusChanged { card, from, to, sequence }).await
}

/// Locks a card's row until the transaction ends. The id is None if the request's id is malformed.
async fn lock(connection: &mut PgConnection, account: AccountId, id: Option<CardId>) -> Result<(CardId, LockedCard)> {
    let id = id.ok_or(Refusal::CardNotFound)?;
    let card = store::lock(connection, account, id).await?.ok_or(Refusal::CardNotFound)?;
    Ok((id, card))
}

/// Cancels a locked card that has made its last payment.
pub(in crate::service) async fn cancel_used_up(
    connection: &mut PgConnection,
    actor: &Actor,
    card: CardId,
    from: CardStatus,
    sharded: bool,
) -> Result<()> {
    if let Ok(StatusChange::To(to)) = from.change(TargetStatus::Cancelled) {
        take_status(connection, actor, SetStatus { card, from, to, reason: Some(USED_UP) }, sharded).await?;
    }
    Ok(())
}
