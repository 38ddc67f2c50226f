//! The SQL of replacements.

use sqlx::PgConnection;

use crate::domain::id::{AccountId, CardId};
use crate::service::error::Result;

/// Makes a card the newest of those that a locked one is the newest of until now. All of them are locked.
pub(super) async fn set_newest(connection: &mut PgConnection, account: AccountId, old: CardId, new: CardId) -> Result<()> {
    sqlx::query!(
        "
        update cards
        set newest_id = $3, replaces = case when id = $3 then $2 else replaces end
        where account_id = $1 and (newest_id = $2 or id = $3)
        ",
        account as AccountId,
        old as CardId,
        new as CardId,
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Makes known that a locked card was replaced. Returns the position of this in its history.
pub(super) async fn set_replaced(connection: &mut PgConnection, account: AccountId, old: CardId, new: CardId) -> Result<i64> {
    let sequence = sqlx::query_scalar!(
        "
        update cards
        set replaced_by = $3, newest_id = $3, event_seq = event_seq + 1
        where account_id = $1 and id = $2
        returning event_seq
        ",
        account as AccountId,
        old as CardId,
        new as CardId,
    )
    .fetch_one(connection)
    .await?;
    Ok(sequence)
}
