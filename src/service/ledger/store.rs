//! The SQL of the ledger. Decides nothing, begins and commits nothing.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use uuid::Uuid;

use super::{CardKey, Movement, MovementFilter, plan::Step};
use crate::domain::{
    actor::Actor,
    card::CardStatus,
    id::{AccountId, CardId, MovementId, UserId},
    money::Money,
    posting::{Entry, MovementKind, Position},
    text::Description,
};
use crate::service::error::Result;

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

/// The time is the statement's, not the transaction's: that one began before the lock was had.
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

/// A movement that may be written, by a guess that is checked.
pub(super) struct Draft {
    pub(super) actor: Actor,
    pub(super) card: CardId,
    pub(super) kind: MovementKind,
    pub(super) description: Description,
    pub(super) id: MovementId,
    pub(super) entry: Entry,
    pub(super) kept: Option<Kept>,
}

/// A success that is kept under a key.
pub(super) struct Kept {
    pub(super) key: String,
    pub(super) fingerprint: [u8; 32],
    pub(super) body: Vec<u8>,
}

/// What became of a card.
pub(super) enum Stand {
    /// It stood where it was thought to, and all of its movements are written.
    Moved { at: DateTime<Utc> },
    /// Nothing of it is written: it stands here, or is locked, or some of its keys are not new.
    Elsewhere { position: Option<Position>, repeated: Vec<String> },
}

/// The database's clock.
pub(super) async fn now(connection: &mut PgConnection) -> Result<DateTime<Utc>> {
    Ok(sqlx::query_scalar!(r#"select statement_timestamp() as "now!""#).fetch_one(connection).await?)
}

/// Where cards stand. One that is none is left out.
pub(super) async fn positions(connection: &mut PgConnection, cards: &[CardKey]) -> Result<Vec<(CardKey, Position)>> {
    let accounts: Vec<Uuid> = cards.iter().map(|(account, _)| (*account).into()).collect();
    let ids: Vec<Uuid> = cards.iter().map(|(_, card)| (*card).into()).collect();
    let rows = sqlx::query!(
        r#"
        select
            cards.account_id as "account_id: AccountId",
            cards.id as "id: CardId",
            cards.status as "status: CardStatus",
            cards.balance as "balance: Money",
            cards.seq
        from unnest($1::uuid[], $2::uuid[]) as asked (account_id, id)
        join cards on cards.account_id = asked.account_id and cards.id = asked.id
        "#,
        &accounts,
        &ids,
    )
    .fetch_all(connection)
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| ((row.account_id, row.id), Position { status: row.status, balance: row.balance, seq: row.seq }))
        .collect())
}

/// Moves each card that stands where its step begins, with all of its drafts, and keeps their answers; leaves
/// out every other card. One statement: it is done or not done as a whole. It waits for no card and no key.
#[expect(clippy::too_many_lines, reason = "one statement and what goes into it, which are read together")]
pub(super) async fn write_all(
    connection: &mut PgConnection,
    drafts: &[Draft],
    steps: &[Step],
    at: Option<DateTime<Utc>>,
) -> std::result::Result<Vec<(CardKey, Stand)>, sqlx::Error> {
    let column = |of: fn(&Draft) -> Uuid| drafts.iter().map(of).collect::<Vec<Uuid>>();
    let number = |of: fn(&Draft) -> i64| drafts.iter().map(of).collect::<Vec<i64>>();
    let stand = |of: fn(&Step) -> i64| steps.iter().map(of).collect::<Vec<i64>>();
    let rows = sqlx::query!(
        r#"
        with lines as materialized (
            select *
            from unnest(
                $1::uuid[], $2::uuid[], $3::bigint[], $4::uuid[], $5::text[], $6::bigint[], $7::bigint[], $8::text[],
                $9::uuid[], $10::text[], $11::text[], $12::bytea[], $13::bytea[]
            ) as line (
                account_id, card_id, seq, id, kind, amount, balance_after, description,
                user_id, request_id, key, fingerprint, body
            )
        ), steps as materialized (
            select *
            from unnest($14::uuid[], $15::uuid[], $16::text[], $17::bigint[], $18::bigint[], $19::bigint[], $20::bigint[])
                as step (account_id, card_id, status, balance, seq, next_balance, next_seq)
        ), repeated as materialized (
            select lines.account_id, lines.card_id, array_agg(lines.key) as keys
            from lines
            left join idempotency_keys kept on kept.account_id = lines.account_id and kept.key = lines.key
            where lines.key is not null
                and (
                    kept.key is not null
                    or not pg_try_advisory_xact_lock(hashtextextended(lines.account_id::text || ' ' || lines.key, 0))
                )
            group by lines.account_id, lines.card_id
        ), locked as materialized (
            select cards.account_id, cards.id, steps.next_balance, steps.next_seq
            from steps
            join cards on cards.account_id = steps.account_id and cards.id = steps.card_id
            where cards.status = steps.status
                and cards.balance = steps.balance
                and cards.seq = steps.seq
                and not exists (
                    select from repeated
                    where repeated.account_id = steps.account_id and repeated.card_id = steps.card_id
                )
            order by cards.account_id, cards.id
            for no key update of cards skip locked
        ), moved as (
            update cards
            set balance = locked.next_balance, seq = locked.next_seq
            from locked
            where cards.account_id = locked.account_id and cards.id = locked.id
            returning cards.account_id, cards.id
        ), written as (
            insert into movements (
                account_id, card_id, seq, id, kind, amount, balance_after, description, created_at, user_id, request_id
            )
            select
                lines.account_id, lines.card_id, lines.seq, lines.id, lines.kind, lines.amount, lines.balance_after,
                lines.description, coalesce($21, statement_timestamp()), lines.user_id, lines.request_id
            from moved
            join lines on lines.account_id = moved.account_id and lines.card_id = moved.id
        ), kept as (
            insert into idempotency_keys (account_id, key, fingerprint, status, body)
            select lines.account_id, lines.key, lines.fingerprint, 200, lines.body
            from moved
            join lines on lines.account_id = moved.account_id and lines.card_id = moved.id
            where lines.key is not null
        ), missed as materialized (
            select account_id, card_id
            from steps
            where (account_id, card_id) not in (select account_id, id from moved)
        )
        select
            coalesce($21, statement_timestamp()) as "at!",
            elsewhere.account_id as "account_id?: AccountId",
            elsewhere.card_id as "card_id?: CardId",
            elsewhere.status as "status?: CardStatus",
            elsewhere.balance as "balance?: Money",
            elsewhere.seq as "seq?",
            elsewhere.keys as "repeated?"
        from (values (true)) as always
        left join (
            select missed.account_id, missed.card_id, cards.status, cards.balance, cards.seq, repeated.keys
            from missed
            left join cards on cards.account_id = missed.account_id and cards.id = missed.card_id
            left join repeated on repeated.account_id = missed.account_id and repeated.card_id = missed.card_id
        ) as elsewhere on true
        "#,
        &column(|draft| draft.actor.account.into()),
        &column(|draft| draft.card.into()),
        &number(|draft| draft.entry.seq),
        &column(|draft| draft.id.into()),
        &drafts.iter().map(|draft| draft.kind.name().to_owned()).collect::<Vec<_>>(),
        &number(|draft| draft.entry.amount.minor()),
        &number(|draft| draft.entry.balance_after.minor()),
        &drafts.iter().map(|draft| draft.description.as_str().to_owned()).collect::<Vec<_>>(),
        &drafts.iter().map(|draft| draft.actor.user().map(Uuid::from)).collect::<Vec<_>>() as &[Option<Uuid>],
        &drafts.iter().map(|draft| draft.actor.origin().map(|origin| origin.request_id.to_string())).collect::<Vec<_>>()
            as &[Option<String>],
        &drafts.iter().map(|draft| draft.kept.as_ref().map(|kept| kept.key.clone())).collect::<Vec<_>>() as &[Option<String>],
        &drafts.iter().map(|draft| draft.kept.as_ref().map(|kept| kept.fingerprint.to_vec())).collect::<Vec<_>>() as &[Option<Vec<u8>>],
        &drafts.iter().map(|draft| draft.kept.as_ref().map(|kept| kept.body.clone())).collect::<Vec<_>>() as &[Option<Vec<u8>>],
        &steps.iter().map(|step| step.card.0.into()).collect::<Vec<Uuid>>(),
        &steps.iter().map(|step| step.card.1.into()).collect::<Vec<Uuid>>(),
        &steps.iter().map(|step| step.from.status.name().to_owned()).collect::<Vec<_>>(),
        &stand(|step| step.from.balance.minor()),
        &stand(|step| step.from.seq),
        &stand(|step| step.to.balance.minor()),
        &stand(|step| step.to.seq),
        at,
    )
    .fetch_all(connection)
    .await?;
    let at = rows.first().map(|row| row.at);
    let mut elsewhere: HashMap<CardKey, Stand> = HashMap::new();
    for row in rows {
        let (Some(account), Some(card)) = (row.account_id, row.card_id) else { continue };
        let position = match (row.status, row.balance, row.seq) {
            (Some(status), Some(balance), Some(seq)) => Some(Position { status, balance, seq }),
            _ => None,
        };
        elsewhere.insert((account, card), Stand::Elsewhere { position, repeated: row.repeated.unwrap_or_default() });
    }
    let stands = steps.iter().filter_map(|Step { card, .. }| {
        let stand = elsewhere.remove(card).or_else(|| at.map(|at| Stand::Moved { at }))?;
        Some((*card, stand))
    });
    Ok(stands.collect())
}

pub(super) async fn page(
    connection: &mut PgConnection,
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
    .fetch_all(connection)
    .await?;
    Ok(movements)
}
