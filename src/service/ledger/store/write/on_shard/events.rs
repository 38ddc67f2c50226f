//! The statements that write the events of an account's cards.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use uuid::Uuid;

use super::{super::super::super::rows::Rows, Result};

/// Begins a block of events, unless the account has no feed. Returns its number, which its trigger draws.
pub(super) async fn insert_block(connection: &mut PgConnection, account: Uuid, at: DateTime<Utc>) -> Result<Option<i64>> {
    sqlx::query_scalar!(
        "
        insert into event_blocks (account_id, number, created_at)
        select account_id, 0, $2
        from event_feeds
        where account_id = $1 and enabled
        returning number
        ",
        account,
        at,
    )
    .fetch_optional(connection)
    .await
}

/// The events of what is written, in the order of each card's history.
#[derive(Default)]
pub(super) struct Events<'a> {
    card_id: Vec<Uuid>,
    sequence: Vec<i64>,
    id: Vec<Uuid>,
    kind: Vec<&'static str>,
    movement_seq: Vec<Option<i64>>,
    state: Vec<Option<&'a str>>,
}

impl<'a> Events<'a> {
    pub(super) fn of(Rows { movements, entries, .. }: &'a Rows) -> Self {
        let mut all = Vec::new();
        let cards = movements.card_id.iter().zip(&movements.sequence).zip(&movements.seq);
        for (((card, sequence), seq), (id, overdrawn)) in cards.zip(movements.id.iter().zip(&movements.overdrawn_id)) {
            all.push((*card, *sequence, *id, "movement.created", Some(*seq), None));
            all.extend(overdrawn.map(|id| (*card, sequence + 1, id, "card.overdrawn", Some(*seq), None)));
        }
        let cards = entries.card_id.iter().zip(&entries.sequence).zip(&entries.movement_seq);
        for (((card, sequence), seq), ((id, kind), state)) in cards.zip(entries.id.iter().zip(&entries.event_type).zip(&entries.state)) {
            all.push((*card, *sequence, *id, kind, *seq, Some(state.as_str())));
        }
        all.sort_unstable_by_key(|(card, sequence, ..)| (*card, *sequence));
        let mut events = Self::default();
        for (card, sequence, id, kind, movement_seq, state) in all {
            events.card_id.push(card);
            events.sequence.push(sequence);
            events.id.push(id);
            events.kind.push(kind);
            events.movement_seq.push(movement_seq);
            events.state.push(state);
        }
        events
    }
}

pub(super) async fn insert_events(
    connection: &mut PgConnection,
    account: Uuid,
    block: i64,
    events: &Events<'_>,
    at: DateTime<Utc>,
) -> Result<()> {
    sqlx::query!(
        "
        insert into events (account_id, block, ordinal, id, type, card_id, sequence, movement_seq, state, created_at)
        select
            cards.account_id, $2, event.ordinal::integer, event.id, event.type, cards.id, event.sequence, event.movement_seq,
            event.state, $3
        from cards
        join unnest($4::uuid[], $5::bigint[], $6::uuid[], $7::text[], $8::bigint[], $9::text[]) with ordinality
            as event (card_id, sequence, id, type, movement_seq, state, ordinal) on event.card_id = cards.id
        where cards.account_id = $1
        ",
        account,
        block,
        at,
        &events.card_id,
        &events.sequence,
        &events.id,
        &events.kind as &[&str],
        &events.movement_seq as &[Option<i64>],
        &events.state as &[Option<&str>],
    )
    .execute(connection)
    .await
    .map(drop)
}
