//! The SQL of the ledger. Decides nothing, begins and commits nothing.

use sqlx::{PgConnection, PgPool};

use super::{
    Movement,
    posting::{Entry, MovementKind, Position},
};
use crate::service::{
    cards::CardStatus,
    error::Result,
    id::{AccountId, CardId, MovementId},
    money::Money,
    text::Description,
};

pub(super) async fn lock(connection: &mut PgConnection, account: AccountId, card: CardId) -> Result<Option<Position>> {
    let position = sqlx::query_as!(
        Position,
        r#"
        select
            status as "status: CardStatus",
            balance as "balance: Money",
            seq
        from cards
        where account_id = $1 and id = $2
        for no key update
        "#,
        account as AccountId,
        card as CardId,
    )
    .fetch_optional(connection)
    .await?;
    Ok(position)
}

/// The time is the statement's, not the transaction's: that one began before the lock was had.
pub(super) async fn write(
    connection: &mut PgConnection,
    account: AccountId,
    card: CardId,
    kind: MovementKind,
    entry: Entry,
    description: &Description,
) -> Result<Movement> {
    let movement = sqlx::query_as!(
        Movement,
        r#"
        with moved as (
            update cards
            set balance = $6, seq = $3
            where account_id = $1 and id = $2
            returning account_id, id
        )
        insert into movements (account_id, card_id, seq, id, kind, amount, balance_after, description, created_at)
        select account_id, id, $3, $4, $5, $7, $6, $8, statement_timestamp()
        from moved
        returning
            id as "id: MovementId",
            seq,
            kind as "kind: MovementKind",
            amount as "amount: Money",
            balance_after as "balance_after: Money",
            description,
            created_at
        "#,
        account as AccountId,
        card as CardId,
        entry.seq,
        MovementId::new() as MovementId,
        kind as MovementKind,
        entry.balance_after as Money,
        entry.amount as Money,
        description.as_str(),
    )
    .fetch_one(connection)
    .await?;
    Ok(movement)
}

pub(super) async fn page(pool: &PgPool, account: AccountId, card: CardId, before: i64, limit: i64) -> Result<Vec<Movement>> {
    let movements = sqlx::query_as!(
        Movement,
        r#"
        select
            id as "id: MovementId",
            seq,
            kind as "kind: MovementKind",
            amount as "amount: Money",
            balance_after as "balance_after: Money",
            description,
            created_at
        from movements
        where account_id = $1 and card_id = $2 and seq < $3
        order by seq desc
        limit $4
        "#,
        account as AccountId,
        card as CardId,
        before,
        limit,
    )
    .fetch_all(pool)
    .await?;
    Ok(movements)
}
