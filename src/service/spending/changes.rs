//! The units of work that change controls and limits.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;

use super::{CardControls, LimitTarget, NewLimit, StoredLimit, store};
use crate::domain::{
    actor::Actor,
    audit_event::Event,
    card::CardStatus,
    currency::Currency,
    error::Refusal,
    id::{AccountId, CardId, CustomerId, LimitId},
    spending::{
        controls::ControlsPatch,
        limit::{Limit, LimitPatch, LimitScope, LimitUse, MAX_LIMITS, Used},
    },
};
use crate::service::{audit, error::Result, unit::Unit};

pub(super) struct ChangeControls<'a> {
    pub(super) actor: &'a Actor,
    pub(super) card: Option<CardId>,
    pub(super) patch: &'a ControlsPatch,
    pub(super) version: Option<i64>,
}

impl Unit for ChangeControls<'_> {
    type Output = CardControls;

    async fn run(&self, connection: &mut PgConnection) -> Result<CardControls> {
        let account = self.actor.account;
        let card = self.card.ok_or(Refusal::CardNotFound)?;
        let locked = store::lock_card(connection, account, card).await?.ok_or(Refusal::CardNotFound)?;
        let before = store::controls(connection, account, card).await?;
        if self.version.is_some_and(|version| version != before.version) {
            return Err(Refusal::VersionConflict(before.version).into());
        }
        if locked.status.known()? == CardStatus::Cancelled {
            return Err(Refusal::CardCancelled.into());
        }
        let controls = before.controls.patched(self.patch);
        if controls == before.controls {
            return Ok(before);
        }
        let payments = match (before.controls.max_payments, controls.max_payments) {
            (None, Some(_)) => store::payments(connection, account, card).await?,
            _ => before.payments.into(),
        };
        let after = store::set_controls(connection, account, card, &controls, payments).await?;
        let sequence = store::touch_card(connection, account, card).await?;
        let (before, changed) = (before.controls.to_json(), after.controls.to_json());
        audit::record_in(connection, self.actor, Event::CardControlsChanged { card, before, after: changed, sequence }).await?;
        Ok(after)
    }
}

/// Locks the cards that a limit applies to, so that nothing is spent on them meanwhile.
async fn lock_cards(connection: &mut PgConnection, account: AccountId, scope: LimitScope, currency: Currency) -> Result<Vec<CardId>> {
    match scope {
        LimitScope::Card(card) => {
            let (_, chain) = store::lock_chain(connection, account, card).await?.ok_or(Refusal::CardNotFound)?;
            Ok(chain)
        }
        LimitScope::Customer(customer) => {
            store::lock_customer(connection, account, customer).await?.ok_or(Refusal::CustomerNotFound)?;
            store::lock_cards_of(connection, account, customer, currency).await
        }
    }
}

/// Makes known that the limits of locked cards have changed. Returns the position in the history of the card, if the limit is
/// one card's.
async fn touch(connection: &mut PgConnection, account: AccountId, limit: &Limit, cards: &[CardId]) -> Result<Option<(CardId, i64)>> {
    match limit.scope {
        LimitScope::Card(card) => {
            for replaced in cards.iter().filter(|other| **other != card) {
                store::touch_rules(connection, account, *replaced).await?;
            }
            Ok(Some((card, store::touch_card(connection, account, card).await?)))
        }
        LimitScope::Customer(customer) => {
            store::touch_cards_of(connection, account, customer, limit.currency).await?;
            Ok(None)
        }
    }
}

pub(super) struct CreateLimit<'a> {
    pub(super) actor: &'a Actor,
    pub(super) new: &'a NewLimit,
}

impl CreateLimit<'_> {
    async fn scope(&self, connection: &mut PgConnection) -> Result<(LimitScope, Currency)> {
        match self.new.target {
            LimitTarget::Card(card) => {
                let card = card.ok_or(Refusal::CardNotFound)?;
                let (locked, _) = store::lock_chain(connection, self.actor.account, card).await?.ok_or(Refusal::CardNotFound)?;
                if locked.status.known()? == CardStatus::Cancelled {
                    return Err(Refusal::CardCancelled.into());
                }
                Ok((LimitScope::Card(card), locked.currency.known()?))
            }
            LimitTarget::Customer(customer, currency) => {
                let customer = customer.ok_or(Refusal::CustomerNotFound)?;
                let is_erased = store::lock_customer(connection, self.actor.account, customer).await?.ok_or(Refusal::CustomerNotFound)?;
                if is_erased {
                    return Err(Refusal::CustomerErased.into());
                }
                Ok((LimitScope::Customer(customer), currency))
            }
        }
    }
}

impl Unit for CreateLimit<'_> {
    type Output = StoredLimit;

    async fn run(&self, connection: &mut PgConnection) -> Result<StoredLimit> {
        let account = self.actor.account;
        let (scope, currency) = self.scope(connection).await?;
        let cards = lock_cards(connection, account, scope, currency).await?;
        if store::count_limits(connection, account, scope).await? >= MAX_LIMITS {
            return Err(Refusal::TooManyLimits.into());
        }
        let now = store::now(connection).await?;
        let NewLimit { name, calendar, amount, count, filter, restore_on_refund, status, .. } = self.new.clone();
        let window = calendar.window(now);
        let counted_from = window.map_or(now, |window| window.start);
        let id = LimitId::new();
        let limit = Limit { id, scope, currency, name, calendar, amount, count, filter, restore_on_refund, status, counted_from };
        store::insert_limit(connection, account, &limit, now).await?;
        let used = match window {
            Some(window) => {
                let used = store::spent(connection, account, &cards, &limit, window).await?;
                store::add_usage(connection, account, &[(limit.id, window.start, used)]).await?;
                used
            }
            None => Used::default(),
        };
        let card = touch(connection, account, &limit, &cards).await?;
        audit::record_in(connection, self.actor, Event::LimitCreated { limit: limit.id, card, after: limit.to_json() }).await?;
        Ok(StoredLimit { of: LimitUse { limit, window, used }, created_at: now, updated_at: now })
    }
}

/// Locks a limit with the cards that it applies to. The locks come in the order of all transactions: the cards first.
async fn lock_limit(connection: &mut PgConnection, account: AccountId, id: LimitId) -> Result<(StoredLimit, Vec<CardId>)> {
    let mut found = store::find_limit(connection, account, id).await?.ok_or(Refusal::LimitNotFound)?;
    loop {
        let scope = found.of.limit.scope;
        let cards = lock_cards(connection, account, scope, found.of.limit.currency).await?;
        // It may be gone by now, or be another, or another card's.
        found = store::find_limit(connection, account, id).await?.ok_or(Refusal::LimitNotFound)?;
        if found.of.limit.scope == scope {
            return Ok((found, cards));
        }
    }
}

pub(super) struct ChangeLimit<'a> {
    pub(super) actor: &'a Actor,
    pub(super) id: Option<LimitId>,
    pub(super) patch: &'a LimitPatch,
}

impl Unit for ChangeLimit<'_> {
    type Output = StoredLimit;

    async fn run(&self, connection: &mut PgConnection) -> Result<StoredLimit> {
        let account = self.actor.account;
        let (found, cards) = lock_limit(connection, account, self.id.ok_or(Refusal::LimitNotFound)?).await?;
        let before = &found.of.limit;
        let after = before.patched(self.patch)?;
        if after == *before {
            return Ok(found);
        }
        let updated_at = store::now(connection).await?;
        store::change_limit(connection, account, &after, updated_at).await?;
        let card = touch(connection, account, &after, &cards).await?;
        let event = Event::LimitChanged { limit: after.id, card, before: before.to_json(), after: after.to_json() };
        audit::record_in(connection, self.actor, event).await?;
        Ok(StoredLimit { of: LimitUse { limit: after, ..found.of }, updated_at, ..found })
    }
}

pub(super) struct DeleteLimit<'a> {
    pub(super) actor: &'a Actor,
    pub(super) id: LimitId,
}

impl Unit for DeleteLimit<'_> {
    type Output = ();

    async fn run(&self, connection: &mut PgConnection) -> Result<()> {
        let account = self.actor.account;
        let (found, cards) = lock_limit(connection, account, self.id).await?;
        let limit = found.of.limit;
        store::delete_usage(connection, account, limit.id).await?;
        store::delete_limit(connection, account, limit.id).await?;
        let card = touch(connection, account, &limit, &cards).await?;
        audit::record_in(connection, self.actor, Event::LimitDeleted { limit: limit.id, card, before: limit.to_json() }).await
    }
}

/// Counts what a locked card has spent in the limits of the customer that it is assigned to.
pub(in crate::service) async fn bring_usage(
    connection: &mut PgConnection,
    account: AccountId,
    card: CardId,
    customer: CustomerId,
) -> Result<()> {
    // Whoever creates or changes a limit of the customer waits for this lock, and then sees the card.
    let limits = store::lock_limits_of(connection, account, customer, card).await?;
    if limits.is_empty() {
        return Ok(());
    }
    let (created_at, now) = (store::created_at(connection, account, card).await?, store::now(connection).await?);
    let mut usage = Vec::new();
    for limit in &limits {
        usage.extend(brought(connection, account, (card, created_at), limit, now).await?);
    }
    usage.sort_by_key(|(limit, start, _)| (*limit, *start));
    store::add_usage(connection, account, &usage).await?;
    store::touch_rules(connection, account, card).await
}

/// Gives the controls and limits of a card to the one that replaces it. The card, and all that it replaces, are locked. What they
/// have spent counts on, and what they still spend.
pub(in crate::service) async fn pass_on(
    connection: &mut PgConnection,
    account: AccountId,
    (old, new): (CardId, CardId),
    chain: &[CardId],
) -> Result<()> {
    let has_limits = store::pass_limits_on(connection, account, old, new).await?;
    let controls = store::controls(connection, account, old).await?;
    let has_controls = controls.version > 0;
    if has_controls {
        store::set_controls(connection, account, new, &controls.controls, controls.payments.into()).await?;
    }
    if has_limits {
        for card in chain {
            store::touch_rules(connection, account, *card).await?;
        }
    }
    if has_limits || has_controls {
        store::touch_rules(connection, account, new).await?;
    }
    Ok(())
}

/// What a card has spent in every window that a limit has counted.
async fn brought(
    connection: &mut PgConnection,
    account: AccountId,
    (card, created_at): (CardId, DateTime<Utc>),
    limit: &Limit,
    now: DateTime<Utc>,
) -> Result<Vec<(LimitId, DateTime<Utc>, Used)>> {
    let mut usage = Vec::new();
    let mut at = limit.counted_from.max(created_at);
    while let Some(window) = limit.calendar.window(at) {
        let used = store::spent(connection, account, &[card], limit, window).await?;
        if used != Used::default() {
            usage.push((limit.id, window.start, used));
        }
        match window.end.filter(|end| *end <= now) {
            Some(end) => at = end,
            None => break,
        }
    }
    Ok(usage)
}
