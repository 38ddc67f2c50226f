//! The ledger: every change of a balance is a movement, written with it in one transaction
//! under the card's row lock. `posting` decides, `store` writes.

mod posting;
mod store;

use chrono::{DateTime, Utc};
use sqlx::PgPool;

pub use self::posting::MovementKind;
use super::{
    error::{Error, Result},
    id::{AccountId, CardId, MovementId},
    money::{Amount, Money},
    text::Description,
    unit,
};

/// One entry of a card's history.
#[derive(Clone, Debug)]
pub struct Movement {
    /// Its id.
    pub id: MovementId,
    /// Its place in the card's history, from 1 without a gap.
    pub seq: i64,
    /// What it is.
    pub kind: MovementKind,
    /// What it changed: below zero for a purchase.
    pub amount: Money,
    /// The balance it left.
    pub balance_after: Money,
    /// What it was for.
    pub description: String,
    /// When it was written, by the database's clock.
    pub created_at: DateTime<Utc>,
}

/// The service of money.
#[derive(Clone, Debug)]
pub struct Ledger {
    pool: PgPool,
}

impl Ledger {
    pub(super) const fn new(pool: PgPool) -> Self {
        Self { pool }
    }

    /// Posts one movement to a card.
    ///
    /// # Errors
    /// No such card; its status, its balance or the bound forbids the movement.
    pub async fn post(
        &self,
        account: AccountId,
        card: CardId,
        kind: MovementKind,
        amount: Amount,
        description: &Description,
    ) -> Result<Movement> {
        let mut unit = unit::begin(&self.pool).await?;
        let position = store::lock(&mut unit, account, card).await?.ok_or(Error::CardNotFound)?;
        let entry = posting::post(position, kind, amount)?;
        let movement = store::write(&mut unit, account, card, kind, entry, description).await?;
        unit::commit(unit).await?;
        Ok(movement)
    }

    /// At most `limit` movements of a card before `before` (its newest, when none), newest first.
    ///
    /// # Errors
    /// The database is away. A card the account has not is an empty history: ask for the card first.
    pub async fn page(&self, account: AccountId, card: CardId, before: Option<i64>, limit: i64) -> Result<Vec<Movement>> {
        store::page(&self.pool, account, card, before.unwrap_or(i64::MAX), limit).await
    }
}
