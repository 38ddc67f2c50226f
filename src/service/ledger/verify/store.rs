//! The SQL of the verification.

use futures_util::{StreamExt as _, stream::BoxStream};
use sqlx::PgConnection;

use super::{HistoryRow, MovementRow};
use crate::domain::id::{AccountId, CardId};
use crate::service::error::Result;

/// Every card with each of its movements, in order of seq. A card without movements has one row.
pub(super) fn histories(connection: &mut PgConnection) -> BoxStream<'_, Result<HistoryRow>> {
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
            (Some(seq), Some(amount), Some(balance_after)) => Some(MovementRow { seq, amount, balance_after }),
            _ => None,
        };
        Ok(HistoryRow { account: row.account_id, card: row.card_id, balance: row.balance, last_seq: row.last_seq, movement })
    })
    .boxed()
}

/// The cards of movements that do not exist.
pub(super) fn orphans(connection: &mut PgConnection) -> BoxStream<'_, Result<(AccountId, CardId)>> {
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
    .fetch(connection);
    rows.map(|row| row.map(|row| (row.account_id, row.card_id)).map_err(Into::into)).boxed()
}
