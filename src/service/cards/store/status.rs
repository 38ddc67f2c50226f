//! The SQL of how cards came by their status.

use sqlx::PgConnection;

use super::super::StatusTaken;
use crate::domain::{
    actor::Actor,
    card::CardStatus,
    id::{AccountId, ApiKeyId, CardId, EventId, UserId},
    word::Word,
};
use crate::service::{error::Result, unit::ReadConnection};

/// A status that a card takes.
pub(in crate::service) struct SetStatus<'a> {
    pub(in crate::service) card: CardId,
    pub(in crate::service) from: CardStatus,
    pub(in crate::service) to: CardStatus,
    pub(in crate::service) reason: Option<&'a str>,
}

/// Sets the status of a locked card, and records who did so and why. Returns the position of the change in the card's history.
///
/// A worker of a distributed database takes one statement for each table.
pub(in super::super) async fn set_status(
    connection: &mut PgConnection,
    actor: &Actor,
    event: EventId,
    set: &SetStatus<'_>,
    sharded: bool,
) -> Result<i64> {
    if !sharded {
        return set_at_once(connection, actor, event, set).await;
    }
    let sequence = set_row(connection, actor.account, set).await?;
    insert_status(connection, actor, event, (set, sequence)).await?;
    Ok(sequence)
}

async fn set_at_once(connection: &mut PgConnection, actor: &Actor, event: EventId, set: &SetStatus<'_>) -> Result<i64> {
    let sequence = sqlx::query_scalar!(
        "
        with changed as (
            update cards
            set status = $4, event_seq = event_seq + 1
            where account_id = $1 and id = $2
            returning event_seq
        )
        insert into card_status_changes (
            account_id, card_id, sequence, from_status, to_status, reason, audit_event_id, user_id, api_key_id, request_id
        )
        select $1, $2, event_seq, $3, $4, $5, $6, $7, $8, $9
        from changed
        returning sequence
        ",
        actor.account as AccountId,
        set.card as CardId,
        set.from.name(),
        set.to.name(),
        set.reason,
        event as EventId,
        actor.user() as Option<UserId>,
        actor.api_key() as Option<ApiKeyId>,
        actor.origin().map(|origin| &*origin.request_id),
    )
    .fetch_one(connection)
    .await?;
    Ok(sequence)
}

async fn set_row(connection: &mut PgConnection, account: AccountId, set: &SetStatus<'_>) -> Result<i64> {
    let sequence = sqlx::query_scalar!(
        "update cards set status = $3, event_seq = event_seq + 1 where account_id = $1 and id = $2 returning event_seq",
        account as AccountId,
        set.card as CardId,
        set.to.name(),
    )
    .fetch_one(connection)
    .await?;
    Ok(sequence)
}

async fn insert_status(connection: &mut PgConnection, actor: &Actor, event: EventId, (set, sequence): (&SetStatus<'_>, i64)) -> Result<()> {
    sqlx::query!(
        "
        insert into card_status_changes (
            account_id, card_id, sequence, from_status, to_status, reason, audit_event_id, user_id, api_key_id, request_id
        )
        values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
        ",
        actor.account as AccountId,
        set.card as CardId,
        sequence,
        set.from.name(),
        set.to.name(),
        set.reason,
        event as EventId,
        actor.user() as Option<UserId>,
        actor.api_key() as Option<ApiKeyId>,
        actor.origin().map(|origin| &*origin.request_id),
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Each status that a card took, oldest first. What it has no record of, the audit log may have.
pub(in super::super) async fn status_history(
    mut connection: ReadConnection<'_>,
    account: AccountId,
    id: CardId,
) -> Result<Vec<StatusTaken>> {
    let history = sqlx::query_as!(
        StatusTaken,
        r#"
        select
            from_status as "from: Word<CardStatus>",
            to_status as "to!: Word<CardStatus>",
            reason,
            user_id as "user: UserId",
            api_key_id as "api_key: ApiKeyId",
            request_id,
            created_at as "at!"
        from (
            select from_status, to_status, reason, user_id, api_key_id, request_id, created_at, sequence
            from card_status_changes
            where account_id = $1 and card_id = $2
            union all
            select before ->> 'status', after ->> 'status', null, user_id, api_key_id, request_id, created_at, number
            from audit_events
            where account_id = $1
                and subject_kind = 'card'
                and subject_id = $2
                and type in ('card_created', 'card_status_changed')
                and after ->> 'status' is not null
                and not exists (
                    select
                    from card_status_changes recorded
                    where recorded.account_id = $1 and recorded.card_id = $2 and recorded.audit_event_id = audit_events.id
                )
        ) history
        order by created_at, sequence
        "#,
        account as AccountId,
        id as CardId,
    )
    .fetch_all(connection.executor())
    .await?;
    Ok(history)
}
