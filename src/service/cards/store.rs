//! The SQL of cards. Decides nothing, begins and commits nothing.

use sqlx::PgConnection;

use super::{Card, CardFilter, CardStatus, Currency};
use crate::service::{
    error::Result,
    id::{AccountId, CardId, CustomerId},
    money::Money,
};

/// What rules about a card are decided on, read under its row lock.
pub(super) struct LockedCard {
    pub(super) status: CardStatus,
    pub(super) customer_id: Option<CustomerId>,
}

/// Counting first locks the account's row until the commit: positions are given in the order of commits.
pub(super) async fn insert(connection: &mut PgConnection, account: AccountId, id: CardId, currency: Currency) -> Result<Card> {
    let card = sqlx::query_as!(
        Card,
        r#"
        with counted as (
            update accounts
            set cards_created = cards_created + 1
            where account_id = $1
            returning cards_created
        )
        insert into cards (account_id, id, number, currency)
        select $1, $2, cards_created, $3
        from counted
        returning
            id as "id: CardId",
            number,
            customer_id as "customer_id: CustomerId",
            status as "status: CardStatus",
            currency as "currency: Currency",
            balance as "balance: Money",
            created_at
        "#,
        account as AccountId,
        id as CardId,
        currency as Currency,
    )
    .fetch_one(connection)
    .await?;
    Ok(card)
}

pub(super) async fn find(connection: &mut PgConnection, account: AccountId, id: CardId) -> Result<Option<Card>> {
    let card = sqlx::query_as!(
        Card,
        r#"
        select
            id as "id: CardId",
            number,
            customer_id as "customer_id: CustomerId",
            status as "status: CardStatus",
            currency as "currency: Currency",
            balance as "balance: Money",
            created_at
        from cards
        where account_id = $1 and id = $2
        "#,
        account as AccountId,
        id as CardId,
    )
    .fetch_optional(connection)
    .await?;
    Ok(card)
}

pub(super) async fn page(
    connection: &mut PgConnection,
    account: AccountId,
    filter: CardFilter,
    after: i64,
    limit: i64,
) -> Result<Vec<Card>> {
    let cards = sqlx::query_as!(
        Card,
        r#"
        select
            id as "id: CardId",
            number,
            customer_id as "customer_id: CustomerId",
            status as "status: CardStatus",
            currency as "currency: Currency",
            balance as "balance: Money",
            created_at
        from cards
        where account_id = $1
            and number > $2
            and ($3::uuid is null or customer_id = $3)
            and ($4::text is null or status = $4)
            and ($5::text is null or currency = $5)
        order by number
        limit $6
        "#,
        account as AccountId,
        after,
        filter.customer_id as Option<CustomerId>,
        filter.status.map(CardStatus::name),
        filter.currency.map(Currency::code),
        limit,
    )
    .fetch_all(connection)
    .await?;
    Ok(cards)
}

pub(super) async fn lock(connection: &mut PgConnection, account: AccountId, id: CardId) -> Result<Option<LockedCard>> {
    let card = sqlx::query_as!(
        LockedCard,
        r#"
        select
            status as "status: CardStatus",
            customer_id as "customer_id: CustomerId"
        from cards
        where account_id = $1 and id = $2
        for no key update
        "#,
        account as AccountId,
        id as CardId,
    )
    .fetch_optional(connection)
    .await?;
    Ok(card)
}

pub(super) async fn set_customer(connection: &mut PgConnection, account: AccountId, id: CardId, customer: CustomerId) -> Result<()> {
    sqlx::query!(
        "
        update cards
        set customer_id = $3
        where account_id = $1 and id = $2
        ",
        account as AccountId,
        id as CardId,
        customer as CustomerId,
    )
    .execute(connection)
    .await?;
    Ok(())
}

pub(super) async fn set_status(connection: &mut PgConnection, account: AccountId, id: CardId, status: CardStatus) -> Result<()> {
    sqlx::query!(
        "
        update cards
        set status = $3
        where account_id = $1 and id = $2
        ",
        account as AccountId,
        id as CardId,
        status.name(),
    )
    .execute(connection)
    .await?;
    Ok(())
}
