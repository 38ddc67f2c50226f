//! The SQL of the ledger.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use uuid::Uuid;

use super::{CardKey, Movement, MovementFilter, card_update::CardOutcome, position_cache::CachedPosition, rows::Rows};
use crate::domain::{
    actor::Actor,
    card::CardStatus,
    id::{AccountId, CardId, MovementId, UserId},
    money::Money,
    posting::{Entry, MovementKind, Position},
    text::Description,
    word::{UnknownWord, Word},
};
use crate::service::{error::Result, unit::ReadConnection};

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
            holds_due_at
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
        })
    }
}

/// Writes one movement and the balance. Its time is the statement's: the transaction began before it had the lock.
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
            kind as "kind: Word<MovementKind>",
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
        actor.user() as Option<UserId>,
        actor.origin().map(|origin| &*origin.request_id),
    )
    .fetch_one(connection)
    .await?;
    Ok(movement)
}

/// The database's clock.
pub(super) async fn now(mut connection: ReadConnection<'_>) -> Result<DateTime<Utc>> {
    Ok(sqlx::query_scalar!(r#"select clock_timestamp() as "now!""#).fetch_one(connection.executor()).await?)
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
            clock_timestamp() as "now!"
        from unnest($1::uuid[], $2::uuid[]) as asked (account_id, id)
        join cards on cards.account_id = asked.account_id and cards.id = asked.id
        "#,
        &accounts,
        &ids,
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
            };
            Some(((row.account_id, row.id), CachedPosition { position: position.try_into().ok()?, as_of: row.now }))
        })
        .collect())
}

/// What the statement of a batch came to.
pub(super) enum Written {
    /// Each update was applied, or is a conflict.
    Outcomes(Outcomes),
    /// Another transaction stored a response under a key of the batch after the statement began. Nothing was written.
    LostRace,
}

/// The outcomes of the updates of a batch.
#[derive(Default)]
pub(super) struct Outcomes {
    /// By the number of the update, from 1.
    pub(super) by_number: HashMap<i64, CardOutcome>,
    /// The database's clock after reading every position.
    pub(super) now: Option<DateTime<Utc>>,
}

/// Applies each update whose card still has the position that the update was decided on: writes the card, its postings
/// and their stored responses. Skips all other updates. Returns the outcome of each.
///
/// One atomic statement. It never waits for the lock of a card.
///
/// It locks no key. The primary key of the stored responses decides between two requests under one key: the second
/// transaction waits for the first to commit, which is the last thing that the first does. A lock for each key would
/// fill the lock table, which all sessions share. Keys are inserted in order, so that no two batches wait for each other.
#[expect(clippy::too_many_lines, reason = "one statement and its parameters")]
pub(super) async fn write_updates(
    connection: &mut PgConnection,
    Rows { at, updates, postings }: &Rows,
) -> std::result::Result<Written, sqlx::Error> {
    let result = sqlx::query!(
        r#"
        with postings as materialized (
            select *
            from unnest(
                $1::uuid[], $2::uuid[], $3::bigint[], $4::uuid[], $5::text[], $6::bigint[], $7::bigint[], $8::text[],
                $9::uuid[], $10::text[], $11::text[], $12::bytea[], $13::bytea[]
            ) as posting (
                account_id, card_id, seq, id, kind, amount, balance_after, description,
                user_id, request_id, key, fingerprint, body
            )
        ), updates as materialized (
            select *
            from unnest($14::uuid[], $15::uuid[], $16::text[], $17::bigint[], $18::bigint[], $19::bigint[], $20::bigint[])
                with ordinality as card_update (account_id, card_id, status, balance, seq, next_balance, next_seq, number)
        ), duplicates as materialized (
            select postings.account_id, postings.card_id, array_agg(postings.key) as keys
            from postings
            join idempotency_keys stored on stored.account_id = postings.account_id and stored.key = postings.key
            group by postings.account_id, postings.card_id
        ), locked as materialized (
            select cards.account_id, cards.id, updates.next_balance, updates.next_seq, updates.number
            from updates
            join cards on cards.account_id = updates.account_id and cards.id = updates.card_id
            where cards.status = updates.status
                and cards.balance = updates.balance
                and cards.seq = updates.seq
                and not exists (
                    select from duplicates
                    where duplicates.account_id = updates.account_id and duplicates.card_id = updates.card_id
                )
            order by cards.account_id, cards.id
            for no key update of cards skip locked
        ), applied as (
            update cards
            set balance = locked.next_balance, seq = locked.next_seq
            from locked
            where cards.account_id = locked.account_id and cards.id = locked.id
            returning cards.account_id, cards.id as card_id, locked.number
        ), written as (
            insert into movements (
                account_id, card_id, seq, id, kind, amount, balance_after, description, created_at, user_id, request_id
            )
            select
                postings.account_id, postings.card_id, postings.seq, postings.id, postings.kind, postings.amount,
                postings.balance_after, postings.description, coalesce($21, statement_timestamp()), postings.user_id,
                postings.request_id
            from applied
            join postings on postings.account_id = applied.account_id and postings.card_id = applied.card_id
        ), stored as (
            insert into idempotency_keys (account_id, key, fingerprint, status, body)
            select postings.account_id, postings.key, postings.fingerprint, 200, postings.body
            from applied
            join postings on postings.account_id = applied.account_id and postings.card_id = applied.card_id
            where postings.key is not null
            order by postings.account_id, postings.key
        ), conflicts as materialized (
            select number, account_id, card_id
            from updates
            where number not in (select number from applied)
        )
        select
            coalesce($21, statement_timestamp()) as "at!",
            clock_timestamp() as "now!",
            (select array_agg(number) from applied) as "applied?",
            null::bigint as "conflict?",
            null::text as "status?: Word<CardStatus>",
            null::bigint as "balance?: Money",
            null::bigint as "seq?",
            null::text[] as "duplicate_keys?"
        union all
        select
            coalesce($21, statement_timestamp()), clock_timestamp(), null,
            conflicts.number, cards.status, cards.balance, cards.seq, duplicates.keys
        from conflicts
        left join cards on cards.account_id = conflicts.account_id and cards.id = conflicts.card_id
        left join duplicates on duplicates.account_id = conflicts.account_id and duplicates.card_id = conflicts.card_id
        "#,
        &postings.account_id,
        &postings.card_id,
        &postings.seq,
        &postings.id,
        &postings.kind as &[&str],
        &postings.amount,
        &postings.balance_after,
        &postings.description,
        &postings.user_id as &[Option<Uuid>],
        &postings.request_id as &[Option<String>],
        &postings.key as &[Option<String>],
        &postings.fingerprint as &[Option<Vec<u8>>],
        &postings.body as &[Option<Vec<u8>>],
        &updates.account_id,
        &updates.card_id,
        &updates.status as &[&str],
        &updates.balance,
        &updates.seq,
        &updates.next_balance,
        &updates.next_seq,
        *at,
    )
    .fetch_all(connection)
    .await;
    let rows = match result {
        Err(sqlx::Error::Database(refused)) if refused.constraint() == Some("idempotency_keys_pkey") => return Ok(Written::LostRace),
        other => other?,
    };
    let mut outcomes = Outcomes::default();
    for row in rows {
        outcomes.now = Some(row.now);
        outcomes.by_number.extend(row.applied.unwrap_or_default().into_iter().map(|number| (number, CardOutcome::Applied { at: row.at })));
        if let Some(number) = row.conflict {
            let position =
                row.status.zip(row.balance).zip(row.seq).and_then(|((status, balance), seq)| position(&status, balance, seq).ok());
            let known = position.map(|position| CachedPosition { position, as_of: row.now });
            let conflict = CardOutcome::Conflict { known, duplicate_keys: row.duplicate_keys.unwrap_or_default() };
            outcomes.by_number.insert(number, conflict);
        }
    }
    Ok(Written::Outcomes(outcomes))
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
            created_at
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
