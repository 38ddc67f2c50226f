//! The SQL that reads the entries of an authorisation, and finds authorisations by other names.

use sqlx::PgConnection;

use super::super::authorization::{Authorization, AuthorizationEntry};
use crate::domain::{
    authorization::EntryKind,
    decision::DeclineCode,
    id::{AccountId, AuthorizationId, CardId, EntryId, MovementId},
    merchant::NetworkTransactionId,
    money::Money,
    word::Word,
};
use crate::service::error::Result;

/// The entries of an authorisation in their order. Each leads to the one before it.
pub(super) async fn entries(
    connection: &mut PgConnection,
    account: AccountId,
    authorization: &Authorization,
) -> Result<Vec<AuthorizationEntry>> {
    let entries = sqlx::query_as!(
        AuthorizationEntry,
        r#"
        with recursive entry as (
            select *
            from authorization_entries
            where account_id = $1 and card_id = $2 and sequence = $3
            union all
            select earlier.*
            from entry
            join authorization_entries earlier
                on earlier.account_id = $1 and earlier.card_id = $2 and earlier.sequence = entry.previous_sequence
        )
        select
            entry.id as "id!: EntryId",
            entry.ordinal as "ordinal!",
            entry.kind as "kind!: Word<EntryKind>",
            entry.amount as "amount!: Money",
            entry.held_before as "held_before!: Money",
            entry.held_after as "held_after!: Money",
            movements.id as "movement_id?: MovementId",
            entry.sequence as "sequence!",
            entry.decline_code as "decline_code: Word<DeclineCode>",
            entry.decline_message,
            entry.checks,
            entry.reason,
            entry.created_at as "created_at!"
        from entry
        left join movements
            on movements.account_id = $1 and movements.card_id = $2 and movements.seq = entry.movement_seq
        order by entry.ordinal
        "#,
        account as AccountId,
        authorization.card_id as CardId,
        authorization.entry_sequence,
    )
    .fetch_all(connection)
    .await?;
    Ok(entries)
}

/// The card of an authorisation, which never changes.
pub(in super::super) async fn card_of_authorization(
    connection: &mut PgConnection,
    account: AccountId,
    id: AuthorizationId,
) -> Result<Option<CardId>> {
    let card = sqlx::query_scalar!(
        r#"
        select card_id as "card_id: CardId"
        from authorizations
        where account_id = $1 and id = $2
        "#,
        account as AccountId,
        id as AuthorizationId,
    )
    .fetch_optional(connection)
    .await?;
    Ok(card)
}

/// The authorisation of a card that has a network transaction id.
pub(in super::super) async fn by_network_transaction(
    connection: &mut PgConnection,
    account: AccountId,
    id: &NetworkTransactionId,
) -> Result<Option<(AuthorizationId, CardId)>> {
    let row = sqlx::query!(
        r#"
        select id as "id: AuthorizationId", card_id as "card_id: CardId"
        from authorizations
        where account_id = $1 and network_transaction_id = $2
        "#,
        account as AccountId,
        id.as_str(),
    )
    .fetch_optional(connection)
    .await?;
    Ok(row.map(|row| (row.id, row.card_id)))
}
