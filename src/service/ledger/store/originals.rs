//! The SQL that reads movements which others reverse or refund.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;

use super::super::CardKey;
use crate::domain::{
    id::{AccountId, AuthorizationId, CardId, MovementId},
    money::Money,
    posting::MovementKind,
    word::Word,
};
use crate::service::error::Result;

/// A movement that another one reverses or refunds.
pub(in super::super) struct Original {
    pub(in super::super) card_id: CardId,
    pub(in super::super) seq: i64,
    pub(in super::super) kind: Word<MovementKind>,
    pub(in super::super) amount: Money,
    pub(in super::super) description: String,
    pub(in super::super) authorization_id: Option<AuthorizationId>,
    pub(in super::super) merchant: Option<String>,
    pub(in super::super) created_at: DateTime<Utc>,
    pub(in super::super) related_seq: Option<i64>,
}

/// A movement of any kind but a top-up.
pub(in super::super) async fn find_original(connection: &mut PgConnection, account: AccountId, id: MovementId) -> Result<Option<Original>> {
    let found = sqlx::query_as!(
        Original,
        r#"
        select
            card_id as "card_id: CardId",
            seq,
            kind as "kind: Word<MovementKind>",
            amount as "amount: Money",
            description,
            authorization_id as "authorization_id: AuthorizationId",
            merchant,
            created_at,
            related_seq
        from movements
        where account_id = $1 and id = $2 and kind <> 'top_up'
        "#,
        account as AccountId,
        id as MovementId,
    )
    .fetch_optional(connection)
    .await?;
    Ok(found)
}

/// The movement of a locked card that another one names.
pub(in super::super) async fn original_at(connection: &mut PgConnection, (account, card): CardKey, seq: i64) -> Result<Original> {
    let found = sqlx::query_as!(
        Original,
        r#"
        select
            card_id as "card_id: CardId",
            seq,
            kind as "kind: Word<MovementKind>",
            amount as "amount: Money",
            description,
            authorization_id as "authorization_id: AuthorizationId",
            merchant,
            created_at,
            related_seq
        from movements
        where account_id = $1 and card_id = $2 and seq = $3
        "#,
        account as AccountId,
        card as CardId,
        seq,
    )
    .fetch_one(connection)
    .await?;
    Ok(found)
}

/// What was given back of a movement of a locked card.
pub(in super::super) struct GivenBack {
    pub(in super::super) reversed: Money,
    /// By refunds, less what was taken back of them.
    pub(in super::super) refunded: Money,
}

/// What was given back of a movement of a locked card.
pub(in super::super) async fn given_back(connection: &mut PgConnection, (account, card): CardKey, seq: i64) -> Result<GivenBack> {
    let given = sqlx::query_as!(
        GivenBack,
        r#"
        select
            coalesce(sum(abs(movements.amount)) filter (where movements.kind in ('capture_reversal', 'refund_reversal')), 0)::bigint
                as "reversed!: Money",
            coalesce(
                sum(movements.amount + coalesce((
                    select sum(taken_back.amount)
                    from movements taken_back
                    where taken_back.account_id = $1 and taken_back.card_id = $2 and taken_back.related_seq = movements.seq
                ), 0)) filter (where movements.kind = 'refund'),
                0
            )::bigint as "refunded!: Money"
        from movements
        where movements.account_id = $1 and movements.card_id = $2 and movements.related_seq = $3
        "#,
        account as AccountId,
        card as CardId,
        seq,
    )
    .fetch_one(connection)
    .await?;
    Ok(given)
}
