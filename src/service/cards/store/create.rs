//! The SQL of new cards. A worker of a distributed database takes one statement for each table; elsewhere one statement saves
//! the round trips, during which the account's row is locked.

use sqlx::PgConnection;

use super::super::Card;
use crate::domain::{
    actor::Actor,
    card::CardStatus,
    card_details::NewCard,
    currency::Currency,
    id::{AccountId, ApiKeyId, CardId, CustomerId, EventId, UserId},
    metadata::Metadata,
    money::Money,
    text::{ExternalId, Label},
    word::Word,
};
use crate::service::error::Result;

/// The id of a new card, and that of the event of its creation.
type Ids = (CardId, EventId);

/// Inserts a card, whose creation is the first event of its history, and the first entry of the history of its status. None if
/// another card of the account has this external id; its number is free again once the transaction is rolled back.
///
/// Updating the counter locks the account's row until the commit, so that numbers follow commit order.
pub(in super::super) async fn insert(
    connection: &mut PgConnection,
    actor: &Actor,
    ids: Ids,
    new: &NewCard,
    sharded: bool,
) -> Result<Option<Card>> {
    if sharded { insert_on_shard(connection, actor, ids, new).await } else { insert_at_once(connection, actor, ids, new).await }
}

async fn insert_at_once(connection: &mut PgConnection, actor: &Actor, (id, event): Ids, new: &NewCard) -> Result<Option<Card>> {
    let card = sqlx::query_as!(
        Card,
        r#"
        with counted as (
            update accounts
            set cards_created = cards_created + 1
            where account_id = $1
            returning cards_created
        ), created as (
            insert into cards (account_id, id, number, currency, event_seq, label, metadata, external_id)
            select $1, $2, cards_created, $3, 1, $4, $5, $6
            from counted
            on conflict do nothing
            returning
                id, number, customer_id, status, currency, balance, held, created_at, label, metadata, external_id, replaces, replaced_by
        ), recorded as (
            insert into card_status_changes (
                account_id, card_id, sequence, from_status, to_status, audit_event_id, user_id, api_key_id, request_id,
                created_at
            )
            select $1, $2, 1, null, status, $7, $8, $9, $10, created_at
            from created
        )
        select
            id as "id: CardId",
            number,
            customer_id as "customer_id: CustomerId",
            status as "status: Word<CardStatus>",
            currency as "currency: Word<Currency>",
            balance as "balance: Money",
            held as "held!: Money",
            created_at,
            label,
            metadata,
            external_id,
            replaces as "replaces: CardId",
            replaced_by as "replaced_by: CardId"
        from created
        "#,
        actor.account as AccountId,
        id as CardId,
        new.currency as Currency,
        new.label.as_ref().map(Label::as_str),
        new.metadata.as_ref().and_then(Metadata::to_column),
        new.external_id.as_ref().map(ExternalId::as_str),
        event as EventId,
        actor.user() as Option<UserId>,
        actor.api_key() as Option<ApiKeyId>,
        actor.origin().map(|origin| &*origin.request_id),
    )
    .fetch_optional(connection)
    .await?;
    Ok(card)
}

async fn insert_on_shard(connection: &mut PgConnection, actor: &Actor, (id, event): Ids, new: &NewCard) -> Result<Option<Card>> {
    let Some(number) = next_number(connection, actor.account).await? else { return Ok(None) };
    let created = insert_row(connection, actor.account, (id, number), new).await?;
    if let Some(card) = &created {
        insert_first_status(connection, actor, event, card).await?;
    }
    Ok(created)
}

/// The number of an account's next card.
async fn next_number(connection: &mut PgConnection, account: AccountId) -> Result<Option<i64>> {
    let number = sqlx::query_scalar!(
        "update accounts set cards_created = cards_created + 1 where account_id = $1 returning cards_created",
        account as AccountId,
    );
    Ok(number.fetch_optional(connection).await?)
}

async fn insert_row(connection: &mut PgConnection, account: AccountId, (id, number): (CardId, i64), new: &NewCard) -> Result<Option<Card>> {
    let card = sqlx::query_as!(
        Card,
        r#"
        insert into cards (account_id, id, number, currency, event_seq, label, metadata, external_id)
        values ($1, $2, $3, $4, 1, $5, $6, $7)
        on conflict do nothing
        returning
            id as "id: CardId",
            number,
            customer_id as "customer_id: CustomerId",
            status as "status: Word<CardStatus>",
            currency as "currency: Word<Currency>",
            balance as "balance: Money",
            held as "held!: Money",
            created_at,
            label,
            metadata,
            external_id,
            replaces as "replaces: CardId",
            replaced_by as "replaced_by: CardId"
        "#,
        account as AccountId,
        id as CardId,
        number,
        new.currency as Currency,
        new.label.as_ref().map(Label::as_str),
        new.metadata.as_ref().and_then(Metadata::to_column),
        new.external_id.as_ref().map(ExternalId::as_str),
    )
    .fetch_optional(connection)
    .await?;
    Ok(card)
}

/// Records the status of a card that was created by this transaction.
async fn insert_first_status(connection: &mut PgConnection, actor: &Actor, event: EventId, card: &Card) -> Result<()> {
    sqlx::query!(
        "
        insert into card_status_changes (
            account_id, card_id, sequence, from_status, to_status, audit_event_id, user_id, api_key_id, request_id,
            created_at
        )
        values ($1, $2, 1, null, $3, $4, $5, $6, $7, $8)
        ",
        actor.account as AccountId,
        card.id as CardId,
        card.status.known()?.name(),
        event as EventId,
        actor.user() as Option<UserId>,
        actor.api_key() as Option<ApiKeyId>,
        actor.origin().map(|origin| &*origin.request_id),
        card.created_at,
    )
    .execute(connection)
    .await?;
    Ok(())
}
