//! The SQL of the ledger: what is read. `write` has what is written, `outcome` what that answers, and
//! `authorizations`, `entries`, `originals`, `spending`, `statements`, `sweep`, `told` and `transfers` have the rest.

mod authorizations;
mod entries;
mod originals;
mod outcome;
mod spending;
mod statements;
mod sweep;
mod told;
mod transfers;
mod write;

use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use uuid::Uuid;

pub(super) use self::{
    authorizations::*, entries::*, originals::*, outcome::*, spending::*, statements::*, sweep::*, told::*, transfers::*, write::*,
};
use super::{CardKey, Movement, MovementFilter, position_cache::CachedPosition};
use crate::domain::{
    card::CardStatus,
    currency::Currency,
    id::{AccountId, AuthorizationId, CardId, CustomerId, MovementId, TransferId},
    money::Money,
    posting::{MovementKind, Position},
    word::{UnknownWord, Word},
};
use crate::service::{batch::only_account, error::Result, unit::ReadConnection};

pub(super) async fn lock(connection: &mut PgConnection, account: AccountId, card: CardId) -> Result<Option<Position>> {
    let row = sqlx::query_as!(
        PositionRow,
        r#"
        select
            customer_id as "customer_id: CustomerId",
            status as "status: Word<CardStatus>",
            currency as "currency: Word<Currency>",
            balance as "balance: Money",
            held as "held: Money",
            seq,
            event_seq,
            holds_due_at,
            rules_version
        from cards
        where account_id = $1 and id = $2
        for no key update
        "#,
        account as AccountId,
        card as CardId,
    )
    .fetch_optional(connection)
    .await?;
    Ok(row.map(Position::try_from).transpose()?)
}

/// Locks those of the cards that exist, in the order of their keys. Returns the positions of those with a known status, and the
/// database's clock once all are locked.
pub(super) async fn lock_cards(
    connection: &mut PgConnection,
    account: AccountId,
    cards: &[CardId],
) -> Result<Vec<(CardId, CachedPosition)>> {
    let ids: Vec<Uuid> = cards.iter().map(|card| (*card).into()).collect();
    let rows = sqlx::query!(
        r#"
        with locked as materialized (
            select *
            from cards
            where account_id = $1 and id = any($2)
            order by id
            for no key update
        )
        select
            id as "id: CardId",
            customer_id as "customer_id: CustomerId",
            status as "status: Word<CardStatus>",
            currency as "currency: Word<Currency>",
            balance as "balance: Money",
            held as "held: Money",
            seq,
            event_seq,
            holds_due_at,
            rules_version,
            clock_timestamp() as "now!"
        from locked
        "#,
        account as AccountId,
        &ids,
    )
    .fetch_all(connection)
    .await?;
    // The clock of the last row was read after the last lock.
    let now = rows.iter().map(|row| row.now).max().unwrap_or_default();
    let positions = rows.into_iter().filter_map(|row| {
        let position = PositionRow {
            customer_id: row.customer_id,
            status: row.status,
            currency: row.currency,
            balance: row.balance,
            held: row.held,
            seq: row.seq,
            event_seq: row.event_seq,
            holds_due_at: row.holds_due_at,
            rules_version: row.rules_version,
        };
        Some((row.id, CachedPosition { position: position.try_into().ok()?, as_of: now }))
    });
    Ok(positions.collect())
}

/// The position of a card without the holds that are due, and the database's clock.
pub(super) async fn position_without_due_holds(
    connection: &mut PgConnection,
    (account, card): CardKey,
) -> Result<Option<(Position, DateTime<Utc>)>> {
    let row = sqlx::query!(
        r#"
        select
            cards.customer_id as "customer_id: CustomerId",
            cards.status as "status: Word<CardStatus>",
            cards.currency as "currency: Word<Currency>",
            cards.balance as "balance: Money",
            cards.held - coalesce((
                select sum(due.held)
                from authorizations due
                where due.account_id = $1 and due.card_id = $2 and due.status = 'pending' and due.expires_at <= clock_timestamp()
            ), 0)::bigint as "held!: Money",
            cards.seq,
            cards.event_seq,
            cards.holds_due_at,
            cards.rules_version,
            clock_timestamp() as "now!"
        from cards
        where cards.account_id = $1 and cards.id = $2
        "#,
        account as AccountId,
        card as CardId,
    )
    .fetch_optional(connection)
    .await?;
    let Some(row) = row else { return Ok(None) };
    let position = PositionRow {
        customer_id: row.customer_id,
        status: row.status,
        currency: row.currency,
        balance: row.balance,
        held: row.held,
        seq: row.seq,
        event_seq: row.event_seq,
        holds_due_at: row.holds_due_at,
        rules_version: row.rules_version,
    };
    Ok(Some((position.try_into()?, row.now)))
}

/// What a card's row says of its position.
struct PositionRow {
    customer_id: Option<CustomerId>,
    status: Word<CardStatus>,
    currency: Word<Currency>,
    balance: Money,
    held: Money,
    seq: i64,
    event_seq: i64,
    holds_due_at: Option<DateTime<Utc>>,
    rules_version: i64,
}

impl TryFrom<PositionRow> for Position {
    type Error = UnknownWord;

    fn try_from(row: PositionRow) -> std::result::Result<Self, UnknownWord> {
        Ok(Self {
            customer: row.customer_id,
            status: row.status.known()?,
            currency: row.currency.known()?,
            balance: row.balance,
            held: row.held,
            seq: row.seq,
            sequence: row.event_seq,
            holds_due_at: row.holds_due_at,
            rules_version: row.rules_version,
        })
    }
}

/// The database's clock.
pub(super) async fn now(mut connection: ReadConnection<'_>) -> Result<DateTime<Utc>> {
    Ok(sqlx::query_scalar!(r#"select clock_timestamp() as "now!""#).fetch_one(connection.executor()).await?)
}

/// The database's clock, and whether the database is distributed by account.
pub(super) async fn now_and_layout(mut connection: ReadConnection<'_>) -> Result<(DateTime<Utc>, bool)> {
    let row = sqlx::query!(
        r#"
        select
            clock_timestamp() as "now!",
            coalesce(current_setting('core_api.sharded', true) = 'on', false) as "sharded!"
        "#
    );
    let row = row.fetch_one(connection.executor()).await?;
    Ok((row.now, row.sharded))
}

/// The clock of the node that has a card. What happens to a card is in the order of one clock.
pub(super) async fn now_at_card(mut connection: ReadConnection<'_>, (account, card): CardKey) -> Result<DateTime<Utc>> {
    let now = sqlx::query_scalar!(
        r#"select clock_timestamp() as "now!" from cards where account_id = $1 and id = $2"#,
        account as AccountId,
        card as CardId,
    );
    Ok(now.fetch_one(connection.executor()).await?)
}

/// The positions of those of the cards that exist and have a known status, and the database's clock after reading them.
pub(super) async fn positions(mut connection: ReadConnection<'_>, cards: &[CardKey]) -> Result<Vec<(CardKey, CachedPosition)>> {
    let accounts: Vec<Uuid> = cards.iter().map(|(account, _)| (*account).into()).collect();
    let ids: Vec<Uuid> = cards.iter().map(|(_, card)| (*card).into()).collect();
    let rows = sqlx::query!(
        r#"
        select
            cards.account_id as "account_id: AccountId",
            cards.id as "id: CardId",
            cards.customer_id as "customer_id: CustomerId",
            cards.status as "status: Word<CardStatus>",
            cards.currency as "currency: Word<Currency>",
            cards.balance as "balance: Money",
            cards.held as "held: Money",
            cards.seq,
            cards.event_seq,
            cards.holds_due_at,
            cards.rules_version,
            clock_timestamp() as "now!"
        from unnest($1::uuid[], $2::uuid[]) as asked (account_id, id)
        join cards on cards.account_id = asked.account_id and cards.id = asked.id
        where $3::uuid is null or cards.account_id = $3
        "#,
        &accounts,
        &ids,
        only_account(&accounts),
    )
    .fetch_all(connection.executor())
    .await?;
    Ok(rows
        .into_iter()
        .filter_map(|row| {
            let position = PositionRow {
                customer_id: row.customer_id,
                status: row.status,
                currency: row.currency,
                balance: row.balance,
                held: row.held,
                seq: row.seq,
                event_seq: row.event_seq,
                holds_due_at: row.holds_due_at,
                rules_version: row.rules_version,
            };
            Some(((row.account_id, row.id), CachedPosition { position: position.try_into().ok()?, as_of: row.now }))
        })
        .collect())
}

pub(super) async fn page(
    mut connection: ReadConnection<'_>,
    (account, card): CardKey,
    filter: MovementFilter,
    before: i64,
    limit: i64,
) -> Result<Vec<Movement>> {
    let movements = sqlx::query_as!(
        Movement,
        r#"
        select
            id as "id: MovementId",
            seq,
            kind as "kind: Word<MovementKind>",
            amount as "amount: Money",
            balance_after as "balance_after: Money",
            description,
            created_at,
            authorization_id as "authorization_id: AuthorizationId",
            case when related_seq is not null then (
                select original.id
                from movements original
                where original.account_id = $1
                    and original.card_id = $2
                    and original.seq = movements.related_seq
            ) end as "related_id: MovementId",
            transfer_id as "transfer_id: TransferId",
            merchant
        from movements
        where account_id = $1
            and card_id = $2
            and seq < $3
            and ($5::text is null or kind = $5)
            and ($6::timestamptz is null or created_at >= $6)
            and ($7::timestamptz is null or created_at < $7)
        order by seq desc
        limit $4
        "#,
        account as AccountId,
        card as CardId,
        before,
        limit,
        filter.kind as Option<MovementKind>,
        filter.from,
        filter.to,
    )
    .fetch_all(connection.executor())
    .await?;
    Ok(movements)
}

#[cfg(test)]
mod tests;
