//! The SQL of the short road. Decides nothing.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use uuid::Uuid;

use crate::domain::{
    card::CardStatus,
    id::{AccountId, CardId},
};
use crate::service::ledger::{
    CardKey,
    plan::Step,
    store::{Draft, Stand},
};

/// Moves the card with its draft, if it stands where its step begins and nobody holds it. One statement,
/// done or not done as a whole, which waits for nobody. Where else the card stands, it does not say.
pub(super) async fn write(connection: &mut PgConnection, draft: &Draft, step: &Step) -> std::result::Result<(CardKey, Stand), sqlx::Error> {
    let at: Option<DateTime<Utc>> = sqlx::query_scalar!(
        r#"
        with locked as materialized (
            select account_id, id
            from cards
            where account_id = $1 and id = $2 and status = $3 and balance = $4 and seq = $5
            for no key update skip locked
        ), moved as (
            update cards
            set balance = $6, seq = $7
            from locked
            where cards.account_id = locked.account_id and cards.id = locked.id
            returning cards.account_id, cards.id
        )
        insert into movements (
            account_id, card_id, seq, id, kind, amount, balance_after, description, created_at, user_id, request_id
        )
        select account_id, id, $7, $8, $9, $10, $6, $11, statement_timestamp(), $12, $13
        from moved
        returning created_at
        "#,
        step.card.0 as AccountId,
        step.card.1 as CardId,
        step.from.status as CardStatus,
        step.from.balance.minor(),
        step.from.seq,
        step.to.balance.minor(),
        step.to.seq,
        Uuid::from(draft.id),
        draft.kind.name(),
        draft.entry.amount.minor(),
        draft.description.as_str(),
        draft.actor.user().map(Uuid::from),
        draft.actor.origin().map(|origin| origin.request_id.to_string()),
    )
    .fetch_optional(connection)
    .await?;
    let stand = at.map_or_else(|| Stand::Elsewhere { position: None, repeated: Vec::new() }, |at| Stand::Moved { at });
    Ok((step.card, stand))
}
