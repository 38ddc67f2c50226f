//! The SQL of the ledger. Decides nothing, begins and commits nothing.

use futures_util::{StreamExt as _, stream::BoxStream};
use sqlx::PgConnection;

use super::{
    Movement,
    posting::{Entry, MovementKind, Position},
    verify::{self, Line},
};
use crate::service::{
    audit::Actor,
    cards::CardStatus,
    error::Result,
    id::{AccountId, CardId, MovementId, UserId},
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
    actor: &Actor,
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
        insert into movements (
            account_id, card_id, seq, id, kind, amount, balance_after, description, created_at, user_id, request_id
        )
        select account_id, id, $3, $4, $5, $7, $6, $8, statement_timestamp(), $9, $10
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
        actor.account as AccountId,
        card as CardId,
        entry.seq,
        MovementId::new() as MovementId,
        kind as MovementKind,
        entry.balance_after as Money,
        entry.amount as Money,
        description.as_str(),
        actor.user as Option<UserId>,
        actor.origin.as_ref().map(|origin| &*origin.request_id),
    )
    .fetch_one(connection)
    .await?;
    Ok(movement)
}

pub(super) async fn page(
    connection: &mut PgConnection,
    account: AccountId,
    card: CardId,
    before: i64,
    limit: i64,
) -> Result<Vec<Movement>> {
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
    .fetch_all(connection)
    .await?;
    Ok(movements)
}

/// Every card with each of its movements, in their order; a card without movements once.
pub(super) fn histories(connection: &mut PgConnection) -> BoxStream<'_, Result<Line>> {
    let rows = sqlx::query!(
        r#"
        select
            cards.account_id as "account_id: AccountId",
            cards.id as "card_id: CardId",
            cards.balance,
            cards.seq as last_seq,
            movements.seq as "seq?",
            movements.amount as "amount?",
            movements.balance_after as "balance_after?"
        from cards
        left join movements on movements.account_id = cards.account_id and movements.card_id = cards.id
        order by cards.account_id, cards.id, movements.seq
        "#,
    )
    .fetch(connection);
    rows.map(|row| {
        let row = row?;
        let movement = match (row.seq, row.amount, row.balance_after) {
            (Some(seq), Some(amount), Some(balance_after)) => Some(verify::Entry { seq, amount, balance_after }),
            _ => None,
        };
        Ok(Line { account: row.account_id, card: row.card_id, balance: row.balance, last_seq: row.last_seq, movement })
    })
    .boxed()
}

/// Cards that are named by movements and are not there.
pub(super) async fn orphans(connection: &mut PgConnection) -> Result<Vec<(AccountId, CardId)>> {
    let rows = sqlx::query!(
        r#"
        select distinct account_id as "account_id: AccountId", card_id as "card_id: CardId"
        from movements
        where not exists (
            select from cards
            where cards.account_id = movements.account_id and cards.id = movements.card_id
        )
        "#,
    )
    .fetch_all(connection)
    .await?;
    Ok(rows.into_iter().map(|row| (row.account_id, row.card_id)).collect())
}
