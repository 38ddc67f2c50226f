//! The SQL of customers.

use sqlx::PgConnection;

use super::Customer;
use crate::domain::{
    id::{AccountId, CustomerId},
    text::{Email, Name},
};
use crate::service::{error::Result, unit::ReadConnection};

/// Inserts a customer. None if the account already has a customer with this email; a number may then stay unused.
///
/// Updating the counter locks the account's row until the commit, so that numbers follow commit order.
pub(super) async fn insert(
    connection: &mut PgConnection,
    account: AccountId,
    id: CustomerId,
    name: &Name,
    email: &Email,
) -> Result<Option<Customer>> {
    let customer = sqlx::query_as!(
        Customer,
        r#"
        with counted as (
            update accounts
            set customers_created = customers_created + 1
            where account_id = $1
            returning customers_created
        )
        insert into customers (account_id, id, number, name, email, email_key)
        select $1, $2, customers_created, $3, $4, $5
        from counted
        on conflict on constraint customers_email_unique do nothing
        returning id as "id: CustomerId", number, name, email
        "#,
        account as AccountId,
        id as CustomerId,
        name.as_str(),
        email.as_str(),
        email.key(),
    )
    .fetch_optional(connection)
    .await?;
    Ok(customer)
}

pub(super) async fn find(mut connection: ReadConnection<'_>, account: AccountId, id: CustomerId) -> Result<Option<Customer>> {
    let customer = sqlx::query_as!(
        Customer,
        r#"
        select id as "id: CustomerId", number, name, email
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

pub(super) async fn page(
    mut connection: ReadConnection<'_>,
    account: AccountId,
    email_key: Option<&str>,
    after: i64,
    limit: i64,
) -> Result<Vec<Customer>> {
    let customers = sqlx::query_as!(
        Customer,
        r#"
        select id as "id: CustomerId", number, name, email
        from customers
        where account_id = $1 and number > $2 and ($4::text is null or email_key = $4)
        order by number
        limit $3
        "#,
        account as AccountId,
        after,
        limit,
        email_key,
    )
    .fetch_all(connection.executor())
    .await?;
    Ok(customers)
}

pub(super) async fn exists(connection: &mut PgConnection, account: AccountId, id: CustomerId) -> Result<bool> {
    let exists = sqlx::query_scalar!(
        r#"
        select exists (
            select from customers
            where account_id = $1 and id = $2
        ) as "exists!"
        "#,
        account as AccountId,
        id as CustomerId,
    )
    .fetch_one(connection)
    .await?;
    Ok(exists)
}
