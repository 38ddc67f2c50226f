//! The SQL of cards that replace one another.

use sqlx::PgConnection;

use super::LockedCard;
use crate::domain::{
    card::CardStatus,
    currency::Currency,
    id::{AccountId, CardId},
    word::Word,
};
use crate::service::error::Result;

/// Locks a card, and all that it replaces or that replace it, in the order of their keys. Returns the card, if it exists, and
/// all of them.
pub(in crate::service) async fn lock_chain(
    connection: &mut PgConnection,
    account: AccountId,
    card: CardId,
) -> Result<Option<(LockedCard, Vec<CardId>)>> {
    let newest = newest_of(connection, account, card).await?;
    let rows = sqlx::query!(
        r#"
        select id as "id: CardId", status as "status: Word<CardStatus>", currency as "currency: Word<Currency>"
        from cards
        where account_id = $1 and (id = $2 or newest_id = $3)
        order by id
        for no key update
        "#,
        account as AccountId,
        card as CardId,
        newest as Option<CardId>,
    )
    .fetch_all(connection)
    .await?;
    let all = rows.iter().map(|row| row.id).collect();
    let found = rows.into_iter().find(|row| row.id == card);
    Ok(found.map(|row| (LockedCard { status: row.status, currency: row.currency }, all)))
}

/// The newest of the cards that replace one another, of which this is one. None: it is the only one.
async fn newest_of(connection: &mut PgConnection, account: AccountId, card: CardId) -> Result<Option<CardId>> {
    let newest = sqlx::query_scalar!(
        r#"select newest_id as "id: CardId" from cards where account_id = $1 and id = $2"#,
        account as AccountId,
        card as CardId
    );
    Ok(newest.fetch_optional(connection).await?.flatten())
}

/// Gives the limits of a card to the one that replaces it. Whether there are any.
pub(in super::super) async fn pass_limits_on(connection: &mut PgConnection, account: AccountId, from: CardId, to: CardId) -> Result<bool> {
    let done = sqlx::query!(
        "update limits set card_id = $3 where account_id = $1 and card_id = $2",
        account as AccountId,
        from as CardId,
        to as CardId,
    )
    .execute(connection)
    .await?;
    Ok(done.rows_affected() > 0)
}
