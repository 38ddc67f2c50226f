//! The SQL of feeds. `purge` has that of the end of events.

mod purge;

use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use uuid::Uuid;

pub(super) use self::purge::delete_older_than;
use super::{Place, Pointer, Reference};
use crate::domain::id::{AccountId, CardId, MessageId};
use crate::service::{batch::only_account, error::Result, unit::ReadConnection};

/// An event as it is stored.
pub(super) struct Row {
    pub(super) place: Place,
    pub(super) id: MessageId,
    pub(super) event_type: String,
    pub(super) card: Option<Reference>,
    pub(super) movement_seq: Option<i64>,
    pub(super) state: Option<String>,
    pub(super) created_at: DateTime<Utc>,
}

impl Row {
    /// What it points at. None if it says everything itself.
    pub(super) fn pointer(&self) -> Option<Pointer> {
        let is_of_ledger = self.movement_seq.is_some() || self.event_type.starts_with("authorization.");
        Some(Pointer { at: self.card.filter(|_| is_of_ledger)?, movement_seq: self.movement_seq, state: self.state.clone() })
    }
}

/// How far a feed has come.
pub(super) struct Head {
    /// The position of its newest block.
    pub(super) position: i64,
    /// Whether blocks wait for a position.
    pub(super) is_behind: bool,
}

pub(super) async fn is_enabled(mut connection: ReadConnection<'_>, account: AccountId) -> Result<bool> {
    let enabled = sqlx::query_scalar!("select enabled from event_feeds where account_id = $1", account as AccountId)
        .fetch_optional(connection.executor())
        .await?;
    Ok(enabled.unwrap_or(false))
}

/// Makes sure that an account has a feed, which may be off.
pub(super) async fn insert_feed(connection: &mut PgConnection, account: AccountId) -> Result<()> {
    sqlx::query!(
        "
        insert into event_feeds (account_id, enabled)
        values ($1, false)
        on conflict on constraint event_feeds_pkey do nothing
        ",
        account as AccountId,
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Turns a feed on or off, and returns what it was before.
pub(super) async fn set_enabled(connection: &mut PgConnection, account: AccountId, enabled: bool) -> Result<bool> {
    let before = sqlx::query_scalar!(
        r#"
        with before as (
            select enabled
            from event_feeds
            where account_id = $1
            for no key update
        )
        update event_feeds
        set enabled = $2
        from before
        where event_feeds.account_id = $1
        returning before.enabled as "before!"
        "#,
        account as AccountId,
        enabled,
    )
    .fetch_one(connection)
    .await?;
    Ok(before)
}

pub(super) async fn head(mut connection: ReadConnection<'_>, account: AccountId) -> Result<Option<Head>> {
    let head = sqlx::query_as!(
        Head,
        r#"
        select
            position,
            exists (select from event_blocks where account_id = $1 and position is null) as "is_behind!"
        from event_feeds
        where account_id = $1
        "#,
        account as AccountId,
    )
    .fetch_optional(connection.executor())
    .await?;
    Ok(head)
}

/// The heads of the feeds of some accounts.
pub(super) async fn heads(mut connection: ReadConnection<'_>, accounts: &[AccountId]) -> Result<Vec<(AccountId, Head)>> {
    let accounts: Vec<Uuid> = accounts.iter().map(|account| (*account).into()).collect();
    let rows = sqlx::query!(
        r#"
        select
            feeds.account_id as "account_id: AccountId",
            feeds.position,
            exists (
                select
                from event_blocks
                where account_id = feeds.account_id and position is null and ($2::uuid is null or account_id = $2)
            ) as "is_behind!"
        from unnest($1::uuid[]) as wanted (account_id)
        join event_feeds feeds on feeds.account_id = wanted.account_id
        where $2::uuid is null or feeds.account_id = $2
        "#,
        &accounts,
        only_account(&accounts),
    )
    .fetch_all(connection.executor())
    .await?;
    Ok(rows.into_iter().map(|row| (row.account_id, Head { position: row.position, is_behind: row.is_behind })).collect())
}

/// Locks a feed and returns the position of its newest block.
pub(super) async fn lock_feed(connection: &mut PgConnection, account: AccountId) -> Result<i64> {
    let position = sqlx::query_scalar!("select position from event_feeds where account_id = $1 for no key update", account as AccountId)
        .fetch_optional(connection)
        .await?;
    Ok(position.unwrap_or(0))
}

/// Gives the blocks of a locked feed that have no position the next ones, and returns the newest.
pub(super) async fn place_blocks(connection: &mut PgConnection, account: AccountId, position: i64) -> Result<i64> {
    let newest = sqlx::query_scalar!(
        r#"
        with placed as (
            update event_blocks
            set position = $2 + to_place.rank
            from (
                select number, row_number() over (order by number) as rank
                from event_blocks
                where account_id = $1 and position is null
            ) to_place
            where event_blocks.account_id = $1 and event_blocks.number = to_place.number
            returning event_blocks.position
        )
        update event_feeds
        set position = greatest(position, (select max(position) from placed))
        where account_id = $1
        returning position
        "#,
        account as AccountId,
        position,
    )
    .fetch_optional(connection)
    .await?;
    Ok(newest.unwrap_or(position))
}

/// What a page found.
#[derive(Default)]
pub(super) struct Found {
    /// The events that pass.
    pub(super) rows: Vec<Row>,
    /// The place of the last event that was looked at.
    pub(super) end: Option<Place>,
    /// How many were looked at.
    pub(super) scanned: i64,
}

impl Found {
    /// Whether as many pass as were asked for.
    pub(super) fn is_full(&self, limit: i64) -> bool {
        i64::try_from(self.rows.len()).is_ok_and(|count| count >= limit)
    }

    /// Where the next page begins. None: where this one did.
    pub(super) fn end_of_page(&self, limit: i64) -> Option<Place> {
        if self.is_full(limit) { self.rows.last().map(|row| row.place) } else { self.end }
    }
}

/// Reads a page. Its first literal selects, as `scanned`, the events that are looked at.
macro_rules! select_events {
    ($scanned:literal, $connection:expr, $($parameters:expr),*) => {{
        let rows = sqlx::query!(
            "with scanned as materialized ("
                + $scanned
                + r#"
            ), last as (
                select position, ordinal, count(*) over () as scanned
                from scanned
                order by position desc, ordinal desc
                limit 1
            )
            select
                last.position as "last_position!",
                last.ordinal as "last_ordinal!",
                last.scanned as "scanned!",
                page.position as "position?",
                page.ordinal as "ordinal?",
                page.id as "id?: MessageId",
                page.type as "event_type?",
                page.card_id as "card_id?: CardId",
                page.sequence as "sequence?",
                page.movement_seq as "movement_seq?",
                page.state as "state?",
                page.created_at as "created_at?"
            from last
            left join (
                select *
                from scanned
                where $4::text[] is null or type = any($4)
                order by position, ordinal
                limit $5
            ) page on true
            order by page.position, page.ordinal
            "#,
            $($parameters),*
        )
        .fetch_all($connection)
        .await?;
        let end = rows.first().map(|row| Place { position: row.last_position, ordinal: row.last_ordinal });
        let scanned = rows.first().map_or(0, |row| row.scanned);
        let rows = rows.into_iter().filter_map(|row| {
            Some(Row {
                place: Place { position: row.position?, ordinal: row.ordinal? },
                id: row.id?,
                event_type: row.event_type?,
                card: row.card_id.zip(row.sequence).map(|(card, sequence)| Reference { card, sequence }),
                movement_seq: row.movement_seq,
                state: row.state,
                created_at: row.created_at?,
            })
        });
        Found { rows: rows.collect(), end, scanned }
    }};
}

/// Events after a place, of these types or any, oldest first: at most `limit`, of the next `scanned`.
pub(super) async fn page(
    connection: &mut PgConnection,
    account: AccountId,
    types: Option<&[String]>,
    after: Place,
    (limit, scanned): (i64, i64),
) -> Result<Found> {
    Ok(select_events!(
        "
                select blocks.position, told.*
                from event_blocks blocks
                cross join lateral (
                    select ordinal, id, type, card_id, sequence, movement_seq, state, created_at
                    from events
                    where events.account_id = $1
                        and events.block = blocks.number
                        and events.ordinal > case when blocks.position = $2 then $3::integer else 0 end
                    order by ordinal
                    limit $6
                ) told
                where blocks.account_id = $1 and blocks.position >= $2
                order by blocks.position, told.ordinal
                limit $6
        ",
        connection,
        account as AccountId,
        after.position,
        after.ordinal,
        types,
        limit,
        scanned
    ))
}

/// The same of the events of one card.
pub(super) async fn page_of_card(
    connection: &mut PgConnection,
    (account, card): (AccountId, CardId),
    types: Option<&[String]>,
    after: Place,
    (limit, scanned): (i64, i64),
) -> Result<Found> {
    Ok(select_events!(
        "
                select
                    blocks.position, told.ordinal, told.id, told.type, told.card_id, told.sequence, told.movement_seq,
                    told.state, told.created_at
                from (
                    select *
                    from events
                    where account_id = $1
                        and card_id = $7
                        and sequence > coalesce((
                            select earlier.sequence
                            from event_blocks blocks
                            join events earlier on earlier.account_id = $1 and earlier.block = blocks.number
                            where blocks.account_id = $1
                                and blocks.position = $2
                                and earlier.ordinal <= $3::integer
                                and earlier.card_id = $7
                            order by earlier.ordinal desc
                            limit 1
                        ), 0)
                    order by sequence
                ) told
                join event_blocks blocks on blocks.account_id = $1 and blocks.number = told.block
                where (blocks.position, told.ordinal) > ($2, $3::integer)
                order by told.sequence
                limit $6
        ",
        connection,
        account as AccountId,
        after.position,
        after.ordinal,
        types,
        limit,
        scanned,
        card as CardId
    ))
}

/// Those of the events that exist and have a place in the feed.
pub(super) async fn with_ids(connection: &mut PgConnection, account: AccountId, ids: &[MessageId]) -> Result<Vec<Row>> {
    let ids: Vec<Uuid> = ids.iter().map(|id| (*id).into()).collect();
    let rows = sqlx::query!(
        r#"
        select
            blocks.position as "position!",
            events.ordinal,
            events.id as "id: MessageId",
            events.type as event_type,
            events.card_id as "card_id: CardId",
            events.sequence,
            events.movement_seq,
            events.state,
            events.created_at
        from events
        join event_blocks blocks on blocks.account_id = $1 and blocks.number = events.block
        where events.account_id = $1 and events.id = any($2) and blocks.position is not null
        "#,
        account as AccountId,
        &ids,
    )
    .fetch_all(connection)
    .await?;
    let rows = rows.into_iter().map(|row| Row {
        place: Place { position: row.position, ordinal: row.ordinal },
        id: row.id,
        event_type: row.event_type,
        card: row.card_id.zip(row.sequence).map(|(card, sequence)| Reference { card, sequence }),
        movement_seq: row.movement_seq,
        state: row.state,
        created_at: row.created_at,
    });
    Ok(rows.collect())
}
