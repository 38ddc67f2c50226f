//! Cards: created inactive, assigned once, moved through their statuses. Their money is the ledger's.

mod assignment;
mod currency;
mod status;
mod store;

use chrono::{DateTime, Utc};
use sqlx::PgPool;

use self::{assignment::Assignment, status::StatusChange};
pub use self::{
    currency::{Currency, UnknownCurrency},
    status::{CardStatus, TargetStatus, UnknownStatus},
};
use super::{
    customers,
    error::{Error, Result},
    id::{AccountId, CardId, CustomerId},
    money::Money,
    unit,
};

/// A card as its account sees it.
#[derive(Clone, Debug)]
pub struct Card {
    /// Its id.
    pub id: CardId,
    /// Its position in the account's list, from 1.
    pub number: i64,
    /// Who holds it, once assigned.
    pub customer_id: Option<CustomerId>,
    /// Where it is in its life.
    pub status: CardStatus,
    /// What its money is in.
    pub currency: Currency,
    /// The money on it.
    pub balance: Money,
    /// When it was created, by the database's clock.
    pub created_at: DateTime<Utc>,
}

/// Which cards a list holds; what is none filters nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CardFilter {
    /// Only this customer's.
    pub customer_id: Option<CustomerId>,
    /// Only in this status.
    pub status: Option<CardStatus>,
    /// Only in this currency.
    pub currency: Option<Currency>,
}

/// The service of cards.
#[derive(Clone, Debug)]
pub struct Cards {
    pool: PgPool,
}

impl Cards {
    pub(super) const fn new(pool: PgPool) -> Self {
        Self { pool }
    }

    /// Creates an inactive card without money or customer.
    ///
    /// # Errors
    /// The database is away.
    pub async fn create(&self, account: AccountId, currency: Currency) -> Result<Card> {
        let mut unit = unit::begin(&self.pool).await?;
        let card = store::insert(&mut unit, account, CardId::new(), currency).await?;
        unit::commit(unit).await?;
        Ok(card)
    }

    /// One card.
    ///
    /// # Errors
    /// [`Error::CardNotFound`].
    pub async fn get(&self, account: AccountId, id: CardId) -> Result<Card> {
        store::find(&self.pool, account, id).await?.ok_or(Error::CardNotFound)
    }

    /// At most `limit` cards after position `after`, in the order they were created.
    ///
    /// # Errors
    /// The database is away.
    pub async fn page(&self, account: AccountId, filter: CardFilter, after: i64, limit: i64) -> Result<Vec<Card>> {
        store::page(&self.pool, account, filter, after, limit).await
    }

    /// Makes a card a customer's. Again for the same customer changes nothing.
    ///
    /// # Errors
    /// No such card or customer; the card is another's or cancelled.
    pub async fn assign(&self, account: AccountId, id: CardId, customer: CustomerId) -> Result<()> {
        let mut unit = unit::begin(&self.pool).await?;
        let card = store::lock(&mut unit, account, id).await?.ok_or(Error::CardNotFound)?;
        customers::exists_in(&mut unit, account, customer).await?;
        match assignment::assign(card.status, card.customer_id, customer)? {
            Assignment::Unchanged => {}
            Assignment::New => store::set_customer(&mut unit, account, id, customer).await?,
        }
        unit::commit(unit).await
    }

    /// Moves a card to a status. To the one it has changes nothing.
    ///
    /// # Errors
    /// No such card; the status machine has no such step.
    pub async fn change_status(&self, account: AccountId, id: CardId, target: TargetStatus) -> Result<CardStatus> {
        let mut unit = unit::begin(&self.pool).await?;
        let card = store::lock(&mut unit, account, id).await?.ok_or(Error::CardNotFound)?;
        match card.status.change(target)? {
            StatusChange::Unchanged => {}
            StatusChange::To(status) => store::set_status(&mut unit, account, id, status).await?,
        }
        unit::commit(unit).await?;
        Ok(target.status())
    }
}
