//! The SQL that reads what the events of a feed point at.

use sqlx::PgConnection;
use uuid::Uuid;

use super::super::{
    Movement,
    authorization::AuthorizationEntry,
    told::{EntryTold, MovementTold, Reference},
};
use crate::domain::{
    authorization::EntryKind,
    currency::Currency,
    decision::DeclineCode,
    id::{AccountId, AuthorizationId, CardId, EntryId, MovementId, TransferId},
    money::Money,
    posting::MovementKind,
    word::Word,
};
use crate::service::error::Result;

/// The movements with these cards and numbers. What is held after one is what the newest entry up to then leaves.
pub(in super::super) async fn told_movements(
    connection: &mut PgConnection,
    account: AccountId,
    references: &[(Reference, i64)],
) -> Result<Vec<MovementTold>> {
    let cards: Vec<Uuid> = references.iter().map(|(reference, _)| reference.card.into()).collect();
    let sequences: Vec<i64> = references.iter().map(|(reference, _)| reference.sequence).collect();
    let seqs: Vec<i64> = references.iter().map(|(_, seq)| *seq).collect();
    let rows = sqlx::query!(
        r#"
        select
            wanted.card_id as "card!: CardId",
            wanted.sequence as "sequence!",
            cards.currency as "currency: Word<Currency>",
            coalesce((
                select entries.card_held
                from authorization_entries entries
                where entries.account_id = $1 and entries.card_id = wanted.card_id and entries.sequence <= wanted.sequence
                order by entries.sequence desc
                limit 1
            ), 0) as "held!: Money",
            movements.id as "id: MovementId",
            movements.seq,
            movements.kind as "kind: Word<MovementKind>",
            movements.amount as "amount: Money",
            movements.balance_after as "balance_after: Money",
            movements.description,
            movements.created_at,
            movements.authorization_id as "authorization_id: AuthorizationId",
            case when movements.related_seq is not null then (
                select original.id
                from movements original
                where original.account_id = $1
                    and original.card_id = wanted.card_id
                    and original.seq = movements.related_seq
            ) end as "related_id: MovementId",
            movements.transfer_id as "transfer_id: TransferId",
            movements.merchant
        from unnest($2::uuid[], $3::bigint[], $4::bigint[]) as wanted (card_id, sequence, seq)
        join movements on movements.account_id = $1 and movements.card_id = wanted.card_id and movements.seq = wanted.seq
        join cards on cards.account_id = $1 and cards.id = wanted.card_id
        "#,
        account as AccountId,
        &cards,
        &sequences,
        &seqs,
    )
    .fetch_all(connection)
    .await?;
    let told = rows.into_iter().map(|row| MovementTold {
        at: Reference { card: row.card, sequence: row.sequence },
        currency: row.currency,
        held: row.held,
        movement: Movement {
            id: row.id,
            seq: row.seq,
            kind: row.kind,
            amount: row.amount,
            balance_after: row.balance_after,
            description: row.description,
            created_at: row.created_at,
            authorization_id: row.authorization_id,
            transfer_id: row.transfer_id,
            related_id: row.related_id,
            merchant: row.merchant,
        },
    });
    Ok(told.collect())
}

/// The entries with these cards and positions.
pub(in super::super) async fn told_entries(
    connection: &mut PgConnection,
    account: AccountId,
    references: &[Reference],
) -> Result<Vec<EntryTold>> {
    let cards: Vec<Uuid> = references.iter().map(|reference| reference.card.into()).collect();
    let sequences: Vec<i64> = references.iter().map(|reference| reference.sequence).collect();
    let rows = sqlx::query!(
        r#"
        select
            wanted.card_id as "card!: CardId",
            entries.id as "id: EntryId",
            entries.authorization_id as "authorization: AuthorizationId",
            entries.ordinal,
            entries.kind as "kind: Word<EntryKind>",
            entries.amount as "amount: Money",
            entries.held_before as "held_before: Money",
            entries.held_after as "held_after: Money",
            case when entries.movement_seq is not null then (
                select movements.id
                from movements
                where movements.account_id = $1
                    and movements.card_id = wanted.card_id
                    and movements.seq = entries.movement_seq
            ) end as "movement_id: MovementId",
            entries.sequence,
            entries.decline_code as "decline_code: Word<DeclineCode>",
            entries.decline_message,
            entries.checks,
            entries.reason,
            entries.created_at,
            entries.card_balance as "card_balance: Money",
            entries.card_held as "card_held: Money"
        from unnest($2::uuid[], $3::bigint[]) as wanted (card_id, sequence)
        join authorization_entries entries
            on entries.account_id = $1 and entries.card_id = wanted.card_id and entries.sequence = wanted.sequence
        "#,
        account as AccountId,
        &cards,
        &sequences,
    )
    .fetch_all(connection)
    .await?;
    let told = rows.into_iter().map(|row| EntryTold {
        card: row.card,
        authorization: row.authorization,
        balance: row.card_balance,
        held: row.card_held,
        entry: AuthorizationEntry {
            id: row.id,
            ordinal: row.ordinal,
            kind: row.kind,
            amount: row.amount,
            held_before: row.held_before,
            held_after: row.held_after,
            movement_id: row.movement_id,
            sequence: row.sequence,
            decline_code: row.decline_code,
            decline_message: row.decline_message,
            checks: row.checks,
            reason: row.reason,
            created_at: row.created_at,
        },
    });
    Ok(told.collect())
}
