//! Controls and limits: what a card may be used for, and how much it, or all cards of a customer, may spend. The ledger
//! decides payments on them and writes what was spent.
//!
//! They change under the locks of all cards that they apply to: of a card's row, or of the customer's row and then of the
//! rows of its cards.

mod changes;
mod store;

use chrono::{DateTime, Utc};

use self::changes::{ChangeControls, ChangeLimit, CreateLimit, DeleteLimit};
pub(super) use self::{
    changes::{bring_usage, pass_on},
    store::{StoredRules, limit_to_verify, limits_to_verify, lock_chain, rules_of, spent_and_said, windows_of},
};
use super::{
    error::Result,
    idempotency::{self, IdempotentRequest, Outcome},
    unit,
};
use crate::database::Pool;
use crate::domain::{
    actor::Actor,
    currency::Currency,
    error::Refusal,
    id::{AccountId, CardId, CustomerId, LimitId},
    money::Money,
    spending::{
        controls::{Controls, ControlsPatch},
        limit::{LimitFilter, LimitPatch, LimitStatus, LimitUse},
        window::Calendar,
    },
    text::Name,
};

/// The controls of a card.
#[derive(Clone, Debug)]
pub struct CardControls {
    /// The card.
    pub card: CardId,
    /// Its controls.
    pub controls: Controls,
    /// How many payments it has made, if the controls say how many it may make.
    pub payments: u32,
    /// How often they were changed; 0 if they never were.
    pub version: i64,
    /// When they were changed last.
    pub updated_at: Option<DateTime<Utc>>,
}

/// A limit, with what was spent in its window of this moment.
#[derive(Clone, Debug)]
pub struct StoredLimit {
    /// The limit with its use.
    pub of: LimitUse,
    /// When it was created, by the database's clock.
    pub created_at: DateTime<Utc>,
    /// When it was changed last.
    pub updated_at: DateTime<Utc>,
}

/// Whom a limit is created for. The id is None if the request's id is malformed.
#[derive(Clone, Copy, Debug)]
pub enum LimitTarget {
    /// A card.
    Card(Option<CardId>),
    /// All cards of a customer in a currency.
    Customer(Option<CustomerId>, Currency),
}

/// A limit to create.
#[derive(Clone, Debug)]
pub struct NewLimit {
    /// For whom.
    pub target: LimitTarget,
    /// Its name.
    pub name: Option<Name>,
    /// Its windows.
    pub calendar: Calendar,
    /// The most that may be spent in a window.
    pub amount: Option<Money>,
    /// The most payments in a window.
    pub count: Option<u32>,
    /// Which payments it counts.
    pub filter: LimitFilter,
    /// Whether refunds come back to it.
    pub restore_on_refund: bool,
    /// Whether it refuses.
    pub status: LimitStatus,
}

/// The service of controls and limits.
#[derive(Clone, Debug)]
pub struct Spending {
    pool: Pool,
}

impl Spending {
    pub(super) const fn new(pool: Pool) -> Self {
        Self { pool }
    }

    /// The controls of a card.
    ///
    /// # Errors
    /// [`Refusal::CardNotFound`].
    pub async fn controls(&self, account: AccountId, card: CardId) -> Result<CardControls> {
        let found = unit::read(&self.pool, move |connection| Box::pin(store::find_controls(connection, account, card))).await?;
        Ok(found.ok_or(Refusal::CardNotFound)?)
    }

    /// Changes the controls of a card. A change to what they are already changes nothing.
    ///
    /// # Errors
    /// The card does not exist or is cancelled, or its controls have another version than the caller names.
    pub async fn change_controls(
        &self,
        actor: &Actor,
        card: Option<CardId>,
        (patch, version): (&ControlsPatch, Option<i64>),
        idempotent: Option<&IdempotentRequest<CardControls>>,
    ) -> Result<Outcome<CardControls>> {
        idempotency::write_once(&self.pool, idempotent, &ChangeControls { actor, card, patch, version }).await
    }

    /// The limits that apply to a card: its own, and those of its customer.
    ///
    /// # Errors
    /// [`Refusal::CardNotFound`].
    pub async fn card_limits(&self, account: AccountId, card: CardId) -> Result<Vec<StoredLimit>> {
        let found = unit::read(&self.pool, move |connection| Box::pin(store::limits_of_card(connection, account, card))).await?;
        Ok(found.ok_or(Refusal::CardNotFound)?)
    }

    /// The limits of a customer.
    ///
    /// # Errors
    /// [`Refusal::CustomerNotFound`].
    pub async fn customer_limits(&self, account: AccountId, customer: CustomerId) -> Result<Vec<StoredLimit>> {
        let found = unit::read(&self.pool, move |connection| Box::pin(store::limits_of_customer(connection, account, customer))).await?;
        Ok(found.ok_or(Refusal::CustomerNotFound)?)
    }

    /// Creates a limit. It counts what was spent in its window before.
    ///
    /// # Errors
    /// The card or the customer does not exist, or has as many limits as it may have. The card is cancelled.
    pub async fn create_limit(
        &self,
        actor: &Actor,
        new: &NewLimit,
        idempotent: Option<&IdempotentRequest<StoredLimit>>,
    ) -> Result<Outcome<StoredLimit>> {
        idempotency::write_once(&self.pool, idempotent, &CreateLimit { actor, new }).await
    }

    /// Changes a limit. The id is None if the request's id is malformed.
    ///
    /// # Errors
    /// The limit does not exist, or would limit nothing.
    pub async fn change_limit(
        &self,
        actor: &Actor,
        id: Option<LimitId>,
        patch: &LimitPatch,
        idempotent: Option<&IdempotentRequest<StoredLimit>>,
    ) -> Result<Outcome<StoredLimit>> {
        idempotency::write_once(&self.pool, idempotent, &ChangeLimit { actor, id, patch }).await
    }

    /// Deletes a limit, with what was spent of it.
    ///
    /// # Errors
    /// [`Refusal::LimitNotFound`].
    pub async fn delete_limit(&self, actor: &Actor, id: LimitId) -> Result<()> {
        unit::write(&self.pool, &DeleteLimit { actor, id }).await
    }
}
