//! The SQL that takes the data of a person away. Ids and money stay.

use sqlx::PgConnection;

use super::super::Customer;
use crate::domain::id::{AccountId, CardId, CustomerId, LimitId};
use crate::service::error::Result;

/// Locks a customer so that no card is assigned to them, and no limit made for them, until the transaction ends.
pub(in super::super) async fn lock_whole(connection: &mut PgConnection, account: AccountId, id: CustomerId) -> Result<Option<Customer>> {
    let customer = sqlx::query_as!(
        Customer,
        r#"
        select id as "id: CustomerId", number, name, email, metadata, external_id, erased_at
        from customers
        where account_id = $1 and id = $2
        for update
        "#,
        account as AccountId,
        id as CustomerId,
    )
    .fetch_optional(connection)
    .await?;
    Ok(customer)
}

/// Whether a card of a customer is not cancelled, or holds money.
pub(in super::super) async fn has_cards_in_use(connection: &mut PgConnection, account: AccountId, id: CustomerId) -> Result<bool> {
    let found = sqlx::query_scalar!(
        r#"
        select exists (
            select
            from cards
            where account_id = $1 and customer_id = $2 and (status <> 'cancelled' or balance <> 0 or held <> 0)
        ) as "found!"
        "#,
        account as AccountId,
        id as CustomerId,
    );
    Ok(found.fetch_one(connection).await?)
}

/// Takes the name, the email and the metadata of a locked customer away. What stands in their place is not shown: it only keeps the
/// columns filled, and emails apart.
pub(in super::super) async fn erase_customer(connection: &mut PgConnection, account: AccountId, id: CustomerId) -> Result<Customer> {
    let customer = sqlx::query_as!(
        Customer,
        r#"
        update customers
        set
            name = 'erased',
            email = id::text || '@erased.invalid',
            email_key = id::text || '@erased.invalid',
            metadata = null,
            has_words = true,
            updated_at = statement_timestamp(),
            erased_at = statement_timestamp()
        where account_id = $1 and id = $2
        returning id as "id: CustomerId", number, name, email, metadata, external_id, erased_at
        "#,
        account as AccountId,
        id as CustomerId,
    )
    .fetch_one(connection)
    .await?;
    Ok(customer)
}

/// Locks all cards of a locked customer, in the order of their keys.
pub(in super::super) async fn lock_cards(connection: &mut PgConnection, account: AccountId, id: CustomerId) -> Result<Vec<CardId>> {
    let cards = sqlx::query_scalar!(
        r#"
        select id as "id: CardId"
        from cards
        where account_id = $1 and customer_id = $2
        order by id
        for no key update
        "#,
        account as AccountId,
        id as CustomerId,
    );
    Ok(cards.fetch_all(connection).await?)
}

/// Takes what people called the cards of a customer away. All of them are locked.
pub(in super::super) async fn erase_cards(connection: &mut PgConnection, account: AccountId, id: CustomerId) -> Result<()> {
    sqlx::query!(
        "
        update cards
        set label = null, metadata = null
        where account_id = $1 and customer_id = $2
        ",
        account as AccountId,
        id as CustomerId,
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Takes the names of the limits of a customer and of their cards away. Returns all of these limits.
pub(in super::super) async fn erase_limits(connection: &mut PgConnection, account: AccountId, id: CustomerId) -> Result<Vec<LimitId>> {
    let limits = sqlx::query_scalar!(
        r#"
        update limits
        set name = null
        where account_id = $1
            and (
                customer_id = $2
                or card_id in (select cards.id from cards where cards.account_id = $1 and cards.customer_id = $2)
            )
        returning id as "id: LimitId"
        "#,
        account as AccountId,
        id as CustomerId,
    );
    Ok(limits.fetch_all(connection).await?)
}
