//! The SQL of new customers. A worker of a distributed database takes one statement for each table; elsewhere one statement saves
//! the round trips, during which the account's row is locked.

use sqlx::PgConnection;

use super::{super::Customer, insert_words};
use crate::domain::{
    customer::NewCustomer,
    id::{AccountId, CustomerId},
    metadata::Metadata,
    text::ExternalId,
};
use crate::service::error::Result;

/// Inserts a customer with the words by which they are found. None if the account already has a customer with this email or this
/// external id; its number is free again once the transaction is rolled back.
///
/// Updating the counter locks the account's row until the commit, so that numbers follow commit order.
pub(in super::super) async fn insert(
    connection: &mut PgConnection,
    account: AccountId,
    id: CustomerId,
    new: &NewCustomer,
    words: Vec<String>,
    sharded: bool,
) -> Result<Option<Customer>> {
    if sharded {
        insert_on_shard(connection, account, id, new, words).await
    } else {
        insert_at_once(connection, account, id, new, &words).await
    }
}

async fn insert_at_once(
    connection: &mut PgConnection,
    account: AccountId,
    id: CustomerId,
    new: &NewCustomer,
    words: &[String],
) -> Result<Option<Customer>> {
    let customer = sqlx::query_as!(
        Customer,
        r#"
        with counted as (
            update accounts
            set customers_created = customers_created + 1
            where account_id = $1
            returning customers_created
        ), created as (
            insert into customers (account_id, id, number, name, email, email_key, metadata, external_id, has_words)
            select $1, $2, customers_created, $3, $4, $5, $6, $7, true
            from counted
            on conflict do nothing
            returning id, number, name, email, metadata, external_id, erased_at
        ), found_by as (
            insert into customer_words (account_id, customer_id, word, number)
            select $1, $2, word, created.number
            from created, unnest($8::text[]) as word
        )
        select id as "id: CustomerId", number, name, email, metadata, external_id, erased_at
        from created
        "#,
        account as AccountId,
        id as CustomerId,
        new.name.as_str(),
        new.email.as_str(),
        new.email.key(),
        new.metadata.as_ref().and_then(Metadata::to_column),
        new.external_id.as_ref().map(ExternalId::as_str),
        words,
    )
    .fetch_optional(connection)
    .await?;
    Ok(customer)
}

async fn insert_on_shard(
    connection: &mut PgConnection,
    account: AccountId,
    id: CustomerId,
    new: &NewCustomer,
    words: Vec<String>,
) -> Result<Option<Customer>> {
    let Some(number) = next_number(connection, account).await? else { return Ok(None) };
    let created = insert_row(connection, account, (id, number), new).await?;
    if created.is_some() {
        let rows: Vec<_> = words.into_iter().map(|word| (id, number, word)).collect();
        insert_words(connection, account, &rows).await?;
    }
    Ok(created)
}

/// The number of an account's next customer.
async fn next_number(connection: &mut PgConnection, account: AccountId) -> Result<Option<i64>> {
    let number = sqlx::query_scalar!(
        "update accounts set customers_created = customers_created + 1 where account_id = $1 returning customers_created",
        account as AccountId,
    );
    Ok(number.fetch_optional(connection).await?)
}

async fn insert_row(
    connection: &mut PgConnection,
    account: AccountId,
    (id, number): (CustomerId, i64),
    new: &NewCustomer,
) -> Result<Option<Customer>> {
    let customer = sqlx::query_as!(
        Customer,
        r#"
        insert into customers (account_id, id, number, name, email, email_key, metadata, external_id, has_words)
        values ($1, $2, $3, $4, $5, $6, $7, $8, true)
        on conflict do nothing
        returning id as "id: CustomerId", number, name, email, metadata, external_id, erased_at
        "#,
        account as AccountId,
        id as CustomerId,
        number,
        new.name.as_str(),
        new.email.as_str(),
        new.email.key(),
        new.metadata.as_ref().and_then(Metadata::to_column),
        new.external_id.as_ref().map(ExternalId::as_str),
    )
    .fetch_optional(connection)
    .await?;
    Ok(customer)
}
