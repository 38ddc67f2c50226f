//! The statements that write cards of one account where the database is distributed: a statement for each table, since a node
//! takes no statement that inserts into one table what another part of it has written. All cards are locked, and the transaction
//! is on the node that has the account.
//!
//! What the cards point at is written before the cards are: the guards check each card as it is written, and before the commit
//! that nothing is ahead of its card.

mod authorizations;
mod events;

use std::collections::{HashMap, HashSet};

use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use uuid::Uuid;

use self::{
    authorizations::{insert_authorizations, insert_entries, update_authorizations, used_network_ids},
    events::{Events, insert_block, insert_events},
};
use super::super::{
    super::{card_update::CardOutcome, rows::Rows},
    outcome::Outcomes,
};

type Result<T> = std::result::Result<T, sqlx::Error>;

/// Writes all rows of the cards of one account. Returns what became of the cards. Unless every card was applied, the transaction has
/// to be rolled back: a card that is missing has moved on, and a conflict names the keys or ids that are used already.
pub(super) async fn write(connection: &mut PgConnection, rows: &Rows) -> Result<Outcomes> {
    let Some(account) = rows.updates.account_id.first().copied() else { return Ok(Outcomes::default()) };
    let used = find_used_ids(connection, account, rows).await?;
    if !used.is_empty() {
        return Ok(conflicts(rows, used));
    }
    let used = insert_keys(connection, account, rows).await?;
    if !used.is_empty() {
        return Ok(conflicts(rows, used));
    }
    if !rows.movements.id.is_empty() {
        insert_movements(connection, account, rows).await?;
    }
    if !rows.entries.id.is_empty() {
        insert_entries(connection, account, rows).await?;
    }
    if !rows.created.id.is_empty() {
        insert_authorizations(connection, account, rows).await?;
    }
    if !rows.changed.id.is_empty() {
        update_authorizations(connection, account, rows).await?;
    }
    if !rows.usage.limit_id.is_empty() {
        add_usage(connection, account, rows).await?;
    }
    let applied = update_cards(connection, account, rows).await?;
    if let Some(block) = insert_block(connection, account, rows.at).await? {
        insert_events(connection, account, block, &Events::of(rows), rows.at).await?;
    }
    Ok(Outcomes { by_number: applied.into_iter().map(|number| (number, CardOutcome::Applied)).collect(), ..Outcomes::default() })
}

/// The conflicts of those cards for which a key or a network transaction id is used already, by the number of the card.
fn conflicts(rows: &Rows, mut used: HashMap<Uuid, Vec<String>>) -> Outcomes {
    let numbered = (1..).zip(&rows.updates.card_id);
    let conflicts = numbered.filter_map(|(number, card)| Some((number, CardOutcome::Conflict { known: None, used: used.remove(card)? })));
    Outcomes { by_number: conflicts.collect(), ..Outcomes::default() }
}

/// The network transaction ids that are used already, by card.
async fn find_used_ids(connection: &mut PgConnection, account: Uuid, Rows { created, .. }: &Rows) -> Result<HashMap<Uuid, Vec<String>>> {
    let named = created.card_id.iter().zip(&created.network_transaction_id).filter_map(|(card, id)| Some((*card, id.as_ref()?)));
    let ids: Vec<String> = named.clone().map(|(_, id)| id.clone()).collect();
    if ids.is_empty() {
        return Ok(HashMap::new());
    }
    let used: HashSet<String> = used_network_ids(connection, account, &ids).await?.into_iter().collect();
    Ok(by_card(named.filter(|(_, id)| used.contains(*id))))
}

/// Inserts the stored responses, and returns the keys that are used already, by card.
async fn insert_keys(connection: &mut PgConnection, account: Uuid, rows: &Rows) -> Result<HashMap<Uuid, Vec<String>>> {
    let keys = &rows.keys;
    if keys.key.is_empty() {
        return Ok(HashMap::new());
    }
    let mut inserted: HashSet<String> = insert_unused_keys(connection, account, rows).await?.into_iter().collect();
    let named = keys.card_id.iter().copied().zip(&keys.key);
    // Of a key that is there twice, only one is inserted.
    Ok(by_card(named.filter(|(_, key)| !inserted.remove(*key))))
}

fn by_card<'a>(used: impl Iterator<Item = (Uuid, &'a String)>) -> HashMap<Uuid, Vec<String>> {
    let mut cards: HashMap<Uuid, Vec<String>> = HashMap::new();
    for (card, name) in used {
        cards.entry(card).or_default().push(name.clone());
    }
    cards
}

async fn insert_movements(connection: &mut PgConnection, account: Uuid, Rows { at, movements, .. }: &Rows) -> Result<()> {
    sqlx::query!(
        "
        insert into movements (
            account_id, card_id, seq, id, kind, amount, balance_after, description, created_at, authorization_id, related_seq,
            merchant, user_id, api_key_id, request_id, transfer_id
        )
        select
            cards.account_id, cards.id, movement.seq, movement.id, movement.kind, movement.amount, movement.balance_after,
            movement.description, $2, movement.authorization_id, movement.related_seq, movement.merchant, movement.user_id,
            movement.api_key_id, movement.request_id, movement.transfer_id
        from cards
        join unnest(
            $3::uuid[], $4::bigint[], $5::uuid[], $6::text[], $7::bigint[], $8::bigint[], $9::text[], $10::uuid[], $11::bigint[],
            $12::text[], $13::uuid[], $14::uuid[], $15::text[], $16::uuid[]
        ) as movement (
            card_id, seq, id, kind, amount, balance_after, description, authorization_id, related_seq, merchant, user_id,
            api_key_id, request_id, transfer_id
        ) on movement.card_id = cards.id
        where cards.account_id = $1
        ",
        account,
        *at,
        &movements.card_id,
        &movements.seq,
        &movements.id,
        &movements.kind as &[&str],
        &movements.amount,
        &movements.balance_after,
        &movements.description,
        &movements.authorization_id as &[Option<Uuid>],
        &movements.related_seq as &[Option<i64>],
        &movements.merchant as &[Option<String>],
        &movements.user_id as &[Option<Uuid>],
        &movements.api_key_id as &[Option<Uuid>],
        &movements.request_id as &[Option<String>],
        &movements.transfer_id as &[Option<Uuid>],
    )
    .execute(connection)
    .await
    .map(drop)
}

async fn insert_unused_keys(connection: &mut PgConnection, account: Uuid, Rows { at, keys, .. }: &Rows) -> Result<Vec<String>> {
    sqlx::query_scalar!(
        "
        insert into idempotency_keys (account_id, key, fingerprint, status, body, created_at)
        select cards.account_id, key.key, key.fingerprint, 200, key.body, $2
        from cards
        join unnest($3::uuid[], $4::text[], $5::bytea[], $6::bytea[]) as key (card_id, key, fingerprint, body)
            on key.card_id = cards.id
        where cards.account_id = $1
        order by key.key
        on conflict (account_id, key) do nothing
        returning key
        ",
        account,
        *at,
        &keys.card_id,
        &keys.key,
        &keys.fingerprint,
        &keys.body,
    )
    .fetch_all(connection)
    .await
}

async fn add_usage(connection: &mut PgConnection, account: Uuid, Rows { usage, .. }: &Rows) -> Result<()> {
    sqlx::query!(
        "
        insert into limit_usage (account_id, limit_id, window_start, amount, count)
        select
            accounts.account_id, usage.limit_id, usage.window_start, sum(usage.amount)::bigint, sum(usage.count)::bigint
        from accounts
        cross join unnest($2::uuid[], $3::timestamptz[], $4::bigint[], $5::bigint[])
            as usage (limit_id, window_start, amount, count)
        where accounts.account_id = $1
        group by accounts.account_id, usage.limit_id, usage.window_start
        order by usage.limit_id, usage.window_start
        on conflict (account_id, limit_id, window_start) do update
        set amount = limit_usage.amount + excluded.amount, count = limit_usage.count + excluded.count
        ",
        account,
        &usage.limit_id,
        &usage.window_start,
        &usage.amount,
        &usage.count,
    )
    .execute(connection)
    .await
    .map(drop)
}

/// Moves those of the cards that are where they were decided on. Returns their numbers.
async fn update_cards(connection: &mut PgConnection, account: Uuid, Rows { updates, .. }: &Rows) -> Result<Vec<i64>> {
    sqlx::query_scalar!(
        r#"
        update cards
        set
            balance = next.balance,
            held = next.held,
            seq = next.seq,
            event_seq = next.event_seq,
            holds_due_at = next.holds_due_at
        from unnest(
            $2::uuid[], $3::bigint[], $4::bigint[], $5::bigint[], $6::bigint[], $7::bigint[], $8::bigint[], $9::bigint[],
            $10::timestamptz[]
        ) with ordinality as next (
            card_id, old_seq, old_event_seq, old_rules_version, balance, held, seq, event_seq, holds_due_at, number
        )
        where cards.account_id = $1
            and cards.id = next.card_id
            and cards.seq = next.old_seq
            and cards.event_seq = next.old_event_seq
            and cards.rules_version = next.old_rules_version
        returning next.number as "number!"
        "#,
        account,
        &updates.card_id,
        &updates.seq,
        &updates.event_seq,
        &updates.rules_version,
        &updates.next_balance,
        &updates.next_held,
        &updates.next_seq,
        &updates.next_event_seq,
        &updates.next_holds_due_at as &[Option<DateTime<Utc>>],
    )
    .fetch_all(connection)
    .await
}
