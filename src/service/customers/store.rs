//! The SQL of customers. `create` has that of new ones, and `erasure` what takes a person's data away.

mod create;
mod erasure;

use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use uuid::Uuid;

pub(super) use self::{create::insert, erasure::*};
use super::Customer;
use crate::domain::{
    customer::Profile,
    id::{AccountId, CustomerId},
    search::{Search, Term},
    text::{ExternalId, email_key},
};
use crate::service::{
    error::{Error, Result},
    unit::ReadConnection,
};

pub(super) async fn find(mut connection: ReadConnection<'_>, account: AccountId, id: CustomerId) -> Result<Option<Customer>> {
    let customer = sqlx::query_as!(
        Customer,
        r#"
        select id as "id: CustomerId", number, name, email, metadata, external_id, erased_at
        from customers
        where account_id = $1 and id = $2
        "#,
        account as AccountId,
        id as CustomerId,
    )
    .fetch_optional(connection.executor())
    .await?;
    Ok(customer)
}

/// A customer, whose row is locked until the transaction ends.
pub(super) async fn lock(connection: &mut PgConnection, account: AccountId, id: CustomerId) -> Result<Option<Customer>> {
    let customer = sqlx::query_as!(
        Customer,
        r#"
        select id as "id: CustomerId", number, name, email, metadata, external_id, erased_at
        from customers
        where account_id = $1 and id = $2
        for no key update
        "#,
        account as AccountId,
        id as CustomerId,
    )
    .fetch_optional(connection)
    .await?;
    Ok(customer)
}

/// Who has an email by now.
pub(super) async fn email_owner(connection: &mut PgConnection, account: AccountId, email_key: &str) -> Result<Option<CustomerId>> {
    let owner = sqlx::query_scalar!(
        r#"select id as "id: CustomerId" from customers where account_id = $1 and email_key = $2"#,
        account as AccountId,
        email_key,
    )
    .fetch_optional(connection)
    .await?;
    Ok(owner)
}

/// Who has an external id by now.
pub(super) async fn external_id_owner(
    connection: &mut PgConnection,
    account: AccountId,
    external_id: &ExternalId,
) -> Result<Option<CustomerId>> {
    let owner = sqlx::query_scalar!(
        r#"select id as "id: CustomerId" from customers where account_id = $1 and external_id = $2"#,
        account as AccountId,
        external_id.as_str(),
    )
    .fetch_optional(connection)
    .await?;
    Ok(owner)
}

/// Changes a locked customer.
///
/// # Errors
/// If another transaction has taken the email or the external id since it was looked up, the unit is to be run again.
pub(super) async fn change(
    connection: &mut PgConnection,
    account: AccountId,
    id: CustomerId,
    after: &Profile,
    metadata: Option<&str>,
) -> Result<()> {
    sqlx::query!(
        "
        update customers
        set name = $3, email = $4, email_key = $5, metadata = $6, external_id = $7, has_words = true,
            updated_at = statement_timestamp()
        where account_id = $1 and id = $2
        ",
        account as AccountId,
        id as CustomerId,
        after.name,
        after.email,
        email_key(&after.email),
        metadata,
        after.external_id,
    )
    .execute(connection)
    .await
    .map_err(Error::lost_race)?;
    Ok(())
}

/// Deletes the words of a locked customer that are not among these.
pub(super) async fn delete_other_words(
    connection: &mut PgConnection,
    account: AccountId,
    customer: CustomerId,
    words: &[String],
) -> Result<()> {
    sqlx::query!(
        "delete from customer_words where account_id = $1 and customer_id = $2 and word <> all($3)",
        account as AccountId,
        customer as CustomerId,
        words,
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Inserts words of locked customers, each with the customer's number. Those that are there stay.
pub(super) async fn insert_words(connection: &mut PgConnection, account: AccountId, rows: &[(CustomerId, i64, String)]) -> Result<()> {
    let customers: Vec<Uuid> = rows.iter().map(|(customer, ..)| (*customer).into()).collect();
    let numbers: Vec<i64> = rows.iter().map(|(_, number, _)| *number).collect();
    let words: Vec<String> = rows.iter().map(|(.., word)| word.clone()).collect();
    sqlx::query!(
        "
        insert into customer_words (account_id, customer_id, number, word)
        select accounts.account_id, found_by.*
        from accounts
        cross join unnest($2::uuid[], $3::bigint[], $4::text[]) as found_by
        where accounts.account_id = $1
        on conflict do nothing
        ",
        account as AccountId,
        &customers,
        &numbers,
        &words,
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// A customer without words.
pub(super) struct Wordless {
    pub(super) id: CustomerId,
    pub(super) number: i64,
    pub(super) name: String,
    pub(super) email: String,
}

/// Some customers of all accounts that have no words. They may get them meanwhile.
pub(super) async fn without_words(connection: &mut PgConnection, limit: i64) -> Result<Vec<(AccountId, CustomerId)>> {
    let customers = sqlx::query!(
        r#"
        select account_id as "account: AccountId", id as "id: CustomerId"
        from customers
        where not has_words
        order by account_id, id
        limit $1
        "#,
        limit,
    )
    .fetch_all(connection)
    .await?;
    Ok(customers.into_iter().map(|row| (row.account, row.id)).collect())
}

/// Locks those of an account's customers that still have no words. Skips those that somebody else has locked.
pub(super) async fn lock_without_words(
    connection: &mut PgConnection,
    account: AccountId,
    customers: &[CustomerId],
) -> Result<Vec<Wordless>> {
    let customers: Vec<Uuid> = customers.iter().map(|customer| (*customer).into()).collect();
    let wordless = sqlx::query_as!(
        Wordless,
        r#"
        select id as "id: CustomerId", number, name, email
        from customers
        where account_id = $1 and id = any($2) and not has_words
        order by id
        for no key update skip locked
        "#,
        account as AccountId,
        &customers,
    )
    .fetch_all(connection)
    .await?;
    Ok(wordless)
}

/// Notes that locked customers have their words.
pub(super) async fn mark_words(connection: &mut PgConnection, account: AccountId, customers: &[CustomerId]) -> Result<()> {
    let customers: Vec<Uuid> = customers.iter().map(|customer| (*customer).into()).collect();
    sqlx::query!("update customers set has_words = true where account_id = $1 and id = any($2)", account as AccountId, &customers)
        .execute(connection)
        .await?;
    Ok(())
}

/// Customers, or the one with an email, an external id, or both.
pub(super) async fn page(
    mut connection: ReadConnection<'_>,
    account: AccountId,
    (email_key, external_id): (Option<&str>, Option<&ExternalId>),
    after: i64,
    limit: i64,
) -> Result<Vec<Customer>> {
    let customers = sqlx::query_as!(
        Customer,
        r#"
        select id as "id: CustomerId", number, name, email, metadata, external_id, erased_at
        from customers
        where account_id = $1
            and number > $2
            and ($4::text is null or email_key = $4)
            and ($5::text is null or external_id = $5)
        order by number
        limit $3
        "#,
        account as AccountId,
        after,
        limit,
        email_key,
        external_id.map(ExternalId::as_str),
    )
    .fetch_all(connection.executor())
    .await?;
    Ok(customers)
}

/// Customers who have a word for each term of a search. The words that begin as the first term are read from their index, and
/// the other terms are looked up for each customer among these.
pub(super) async fn search(
    mut connection: ReadConnection<'_>,
    account: AccountId,
    search: &Search,
    after: i64,
    limit: i64,
) -> Result<Vec<Customer>> {
    let Some((first, others)) = search.terms().split_first() else { return Ok(Vec::new()) };
    let (lows, highs): (Vec<String>, Vec<String>) = others.iter().cloned().map(|Term { low, high }| (low, high)).unzip();
    let customers = sqlx::query_as!(
        Customer,
        r#"
        with found as materialized (
            select distinct number, customer_id
            from customer_words
            where account_id = $1
                and word >= $2
                and word < $3
                and number > $4
                and not exists (
                    select
                    from unnest($5::text[], $6::text[]) as term (low, high)
                    where not exists (
                        select
                        from customer_words other
                        where other.account_id = $1
                            and other.customer_id = customer_words.customer_id
                            and other.word >= term.low
                            and other.word < term.high
                    )
                )
            order by number
            limit $7
        )
        select
            customers.id as "id: CustomerId",
            customers.number,
            customers.name,
            customers.email,
            customers.metadata,
            customers.external_id,
            customers.erased_at
        from found
        join customers on customers.account_id = $1 and customers.id = found.customer_id
        order by customers.number
        "#,
        account as AccountId,
        first.low,
        first.high,
        after,
        &lows,
        &highs,
        limit,
    )
    .fetch_all(connection.executor())
    .await?;
    Ok(customers)
}

/// When a customer was erased, if they were, and they are not until the transaction ends. None if the account has no such customer.
pub(super) async fn erased_at(connection: &mut PgConnection, account: AccountId, id: CustomerId) -> Result<Option<Option<DateTime<Utc>>>> {
    let found = sqlx::query_scalar!(
        "select erased_at from customers where account_id = $1 and id = $2 for key share",
        account as AccountId,
        id as CustomerId
    );
    Ok(found.fetch_optional(connection).await?)
}
