//! The SQL of the ledger.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use uuid::Uuid;

use super::{
    CardKey, Movement, MovementFilter,
    card_update::{CardOutcome, CardUpdate, Outcomes, PendingPosting, Written},
    position_cache::CachedPosition,
};
use crate::domain::{
    actor::Actor,
    card::CardStatus,
    id::{AccountId, CardId, MovementId, UserId},
    money::Money,
    posting::{Entry, MovementKind, Position},
    text::Description,
};
use crate::service::{error::Result, unit::ReadConnection};

pub(super) async fn lock(connection: &mut PgConnection, account: AccountId, card: CardId) -> Result<Option<Position>> {
    let position = sqlx::query_as!(
        Position,
        r#"
        select
            status as "status: CardStatus",
            balance as "balance: Money",
            seq
        from cards
        where account_id = $1 and id = $2
        for no key update
        "#,
        account as AccountId,
        card as CardId,
    )
    .fetch_optional(connection)
    .await?;
    Ok(position)
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
            kind as "kind: MovementKind",
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

/// The positions of those of the cards that exist, and the database's clock after reading them.
pub(super) async fn positions(mut connection: ReadConnection<'_>, cards: &[CardKey]) -> Result<Vec<(CardKey, CachedPosition)>> {
    let accounts: Vec<Uuid> = cards.iter().map(|(account, _)| (*account).into()).collect();
    let ids: Vec<Uuid> = cards.iter().map(|(_, card)| (*card).into()).collect();
    let rows = sqlx::query!(
        r#"
        select
            cards.account_id as "account_id: AccountId",
            cards.id as "id: CardId",
            cards.status as "status: CardStatus",
            cards.balance as "balance: Money",
            cards.seq,
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
        .map(|row| {
            let position = Position { status: row.status, balance: row.balance, seq: row.seq };
            ((row.account_id, row.id), CachedPosition { position, as_of: row.now })
        })
        .collect())
}

/// The rows of a batch, as the column arrays that its statement takes.
#[derive(Default)]
pub(super) struct Rows {
    at: Option<DateTime<Utc>>,
    updates: UpdateColumns,
    postings: PostingColumns,
}

/// One element for each card.
#[derive(Default)]
struct UpdateColumns {
    account_id: Vec<Uuid>,
    card_id: Vec<Uuid>,
    status: Vec<&'static str>,
    balance: Vec<i64>,
    seq: Vec<i64>,
    next_balance: Vec<i64>,
    next_seq: Vec<i64>,
}

/// One element for each posting.
#[derive(Default)]
struct PostingColumns {
    account_id: Vec<Uuid>,
    card_id: Vec<Uuid>,
    seq: Vec<i64>,
    id: Vec<Uuid>,
    kind: Vec<&'static str>,
    amount: Vec<i64>,
    balance_after: Vec<i64>,
    description: Vec<String>,
    user_id: Vec<Option<Uuid>>,
    request_id: Vec<Option<String>>,
    key: Vec<Option<String>>,
    fingerprint: Vec<Option<Vec<u8>>>,
    body: Vec<Option<Vec<u8>>>,
}

impl Rows {
    /// The rows of updates, written at the time `at` or else of the statement. Postings with an idempotency key need `at`.
    pub(super) fn new(updates: &[CardUpdate], at: Option<DateTime<Utc>>) -> Self {
        let mut rows = Self { at, ..Self::default() };
        for update in updates {
            rows.updates.push(update);
            for posting in &update.postings {
                rows.postings.push(update.card, posting, at);
            }
        }
        rows
    }
}

impl UpdateColumns {
    fn push(&mut self, CardUpdate { card: (account, card), from, to, .. }: &CardUpdate) {
        self.account_id.push((*account).into());
        self.card_id.push((*card).into());
        self.status.push(from.status.name());
        self.balance.push(from.balance.minor());
        self.seq.push(from.seq);
        self.next_balance.push(to.balance.minor());
        self.next_seq.push(to.seq);
    }
}

impl PostingColumns {
    fn push(&mut self, (account, card): CardKey, posting: &PendingPosting, at: Option<DateTime<Utc>>) {
        let request = &posting.call.request;
        let idempotent = request.idempotent.as_ref();
        self.account_id.push(account.into());
        self.card_id.push(card.into());
        self.seq.push(posting.entry.seq);
        self.id.push(posting.id.into());
        self.kind.push(request.posting.kind.name());
        self.amount.push(posting.entry.amount.minor());
        self.balance_after.push(posting.entry.balance_after.minor());
        self.description.push(request.posting.description.as_str().to_owned());
        self.user_id.push(request.actor.user().map(Uuid::from));
        self.request_id.push(request.actor.origin().map(|origin| origin.request_id.to_string()));
        self.key.push(idempotent.map(|request| request.key.as_str().to_owned()));
        self.fingerprint.push(idempotent.map(|request| request.fingerprint.to_vec()));
        self.body.push(at.and_then(|at| posting.stored_body(at)));
    }
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
            null::text as "status?: CardStatus",
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
            let position = row.status.zip(row.balance).zip(row.seq).map(|((status, balance), seq)| Position { status, balance, seq });
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
            kind as "kind: MovementKind",
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
