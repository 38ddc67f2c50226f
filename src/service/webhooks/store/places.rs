//! The SQL of places in the feed.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;

use super::Place;
use crate::domain::id::{AccountId, MessageId, WebhookEndpointId};
use crate::service::error::Result;

/// Sets the place in the feed. What waits of earlier events is skipped.
pub(in super::super) async fn resume_at(
    connection: &mut PgConnection,
    account: AccountId,
    id: WebhookEndpointId,
    place: Place,
) -> Result<()> {
    sqlx::query!(
        "
        with moved as (
            update webhook_endpoints
            set cursor_position = $3, cursor_ordinal = $4
            where account_id = $1 and id = $2
        )
        update webhook_deliveries
        set status = 'cancelled', next_attempt_at = null
        from events
        join event_blocks blocks on blocks.account_id = $1 and blocks.number = events.block
        where webhook_deliveries.account_id = $1
            and webhook_deliveries.webhook_endpoint_id = $2
            and webhook_deliveries.status in ('pending', 'sending')
            and events.account_id = $1
            and events.id = webhook_deliveries.event_id
            and (blocks.position, events.ordinal) <= ($3, $4)
        ",
        account as AccountId,
        id as WebhookEndpointId,
        place.position,
        place.ordinal,
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// The place after everything that is in the feed.
pub(in super::super) async fn end_of_feed(connection: &mut PgConnection, account: AccountId) -> Result<Place> {
    let position = sqlx::query_scalar!("select position from event_feeds where account_id = $1", account as AccountId)
        .fetch_optional(connection)
        .await?;
    Ok(Place { position: position.unwrap_or(0), ordinal: i32::MAX })
}

/// The place of an event.
pub(in super::super) async fn place_of(connection: &mut PgConnection, account: AccountId, event: MessageId) -> Result<Option<Place>> {
    let place = sqlx::query_as!(
        Place,
        r#"
        select blocks.position as "position!", events.ordinal
        from events
        join event_blocks blocks on blocks.account_id = $1 and blocks.number = events.block
        where events.account_id = $1 and events.id = $2 and blocks.position is not null
        "#,
        account as AccountId,
        event as MessageId,
    )
    .fetch_optional(connection)
    .await?;
    Ok(place)
}

/// The place before the first event at or after a time. Times of blocks can be in another order than their positions by a few
/// seconds, so this is the place before the first of those.
pub(in super::super) async fn place_at(connection: &mut PgConnection, account: AccountId, at: DateTime<Utc>) -> Result<Place> {
    let before = sqlx::query_scalar!(
        r#"
        select coalesce(
            (
                select min(position)
                from event_blocks
                where account_id = $1 and position is not null and created_at >= $2
            ) - 1,
            (select position from event_feeds where account_id = $1),
            0
        ) as "before!"
        "#,
        account as AccountId,
        at,
    )
    .fetch_one(connection)
    .await?;
    Ok(Place { position: before, ordinal: i32::MAX })
}
