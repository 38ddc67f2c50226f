//! The SQL of transfers.

use super::super::transfers::Transferred;
use crate::domain::{
    currency::Currency,
    id::{AccountId, CardId, TransferId},
    money::Money,
    word::Word,
};
use crate::service::{error::Result, unit::ReadConnection};

/// A transfer, from its two movements.
pub(in super::super) async fn find_transfer(
    mut connection: ReadConnection<'_>,
    account: AccountId,
    id: TransferId,
) -> Result<Option<Transferred>> {
    let found = sqlx::query_as!(
        Transferred,
        r#"
        select
            taken.transfer_id as "id!: TransferId",
            taken.card_id as "from: CardId",
            given.card_id as "to: CardId",
            given.amount as "amount: Money",
            cards.currency as "currency: Word<Currency>",
            taken.balance_after as "from_balance: Money",
            given.balance_after as "to_balance: Money",
            given.created_at
        from movements taken
        join movements given
            on given.account_id = $1 and given.transfer_id = taken.transfer_id and given.kind = 'transfer_in'
        join cards on cards.account_id = $1 and cards.id = given.card_id
        where taken.account_id = $1 and taken.transfer_id = $2 and taken.kind = 'transfer_out'
        "#,
        account as AccountId,
        id as TransferId,
    )
    .fetch_optional(connection.executor())
    .await?;
    Ok(found)
}
