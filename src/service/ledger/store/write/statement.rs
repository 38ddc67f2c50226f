//! The text of the statement that writes cards, and its parameters.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use uuid::Uuid;

use super::super::{super::rows::Rows, outcome::Row};
use crate::domain::{card::CardStatus, currency::Currency, id::CustomerId, money::Money, word::Word};

/// The statement, with its parts about authorisations: which network transaction ids are used already, what is written of them,
/// and the events that tell of it. And with those about transfers: the arrays and columns of the movements, and which cards are
/// written together or not at all.
macro_rules! write_statement {
    (
        authorizations: ($used:literal, $authorizations:literal, $events:literal),
        transfers: ($array:literal, $column:literal, $value:literal, $and_whole:literal),
        $rows:expr $(, $more:expr)* $(,)?
    ) => {{
        let Rows { at, updates, movements, keys, .. } = $rows;
        sqlx::query_as!(
            Row,
            "
            with movement as materialized (
                select *
                from unnest(
                    $2::uuid[], $3::uuid[], $4::bigint[], $5::uuid[], $6::text[], $7::bigint[], $8::bigint[], $9::text[],
                    $10::uuid[], $11::bigint[], $12::text[], $13::uuid[], $14::uuid[], $15::text[], $35::bigint[],
                    $36::uuid[]" + $array + "
                ) as movement (
                    account_id, card_id, seq, id, kind, amount, balance_after, description, authorization_id, related_seq,
                    merchant, user_id, api_key_id, request_id, sequence, overdrawn_id" + $column + "
                )
            ), key as materialized (
                select *
                from unnest($16::uuid[], $17::uuid[], $18::text[], $19::bytea[], $20::bytea[])
                    as key (account_id, card_id, key, fingerprint, body)
            ), updates as materialized (
                select *
                from unnest(
                    $21::uuid[], $22::uuid[], $23::uuid[], $24::text[], $25::bigint[], $26::bigint[], $27::bigint[],
                    $28::bigint[], $29::timestamptz[], $30::bigint[], $31::bigint[], $32::bigint[], $33::bigint[],
                    $34::timestamptz[], $37::bigint[]
                ) with ordinality as card_update (
                    account_id, card_id, customer_id, status, balance, held, seq, event_seq, holds_due_at, next_balance,
                    next_seq, next_event_seq, next_held, next_holds_due_at, rules_version, number
                )
            ), used_once as (
                -- A subquery that no plan turns into a join: a plan that was made while the table was small would read all of
                -- it once it is large.
                select key.account_id, key.card_id, key.key as used
                from key
                where (
                    select true
                    from idempotency_keys stored
                    where stored.account_id = key.account_id and stored.key = key.key
                )
            " + $used + "
            ), duplicates as materialized (
                select account_id, card_id, array_agg(used) as used
                from used_once
                group by account_id, card_id
            ), locked as materialized (
                select
                    cards.account_id, cards.id, updates.next_balance, updates.next_held, updates.next_seq,
                    updates.next_event_seq, updates.next_holds_due_at, updates.number
                from updates
                join cards on cards.account_id = updates.account_id and cards.id = updates.card_id
                where cards.status = updates.status
                    and cards.balance = updates.balance
                    and cards.held = updates.held
                    and cards.seq = updates.seq
                    and cards.event_seq = updates.event_seq
                    and cards.rules_version = updates.rules_version
                    and cards.holds_due_at is not distinct from updates.holds_due_at
                    and cards.customer_id is not distinct from updates.customer_id
                    and not exists (
                        select from duplicates
                        where duplicates.account_id = updates.account_id and duplicates.card_id = updates.card_id
                    )
                order by cards.account_id, cards.id
                for no key update of cards skip locked
            ), applied as (
                update cards
                set
                    balance = locked.next_balance,
                    held = locked.next_held,
                    seq = locked.next_seq,
                    event_seq = locked.next_event_seq,
                    holds_due_at = locked.next_holds_due_at
                from locked
                where cards.account_id = locked.account_id and cards.id = locked.id" + $and_whole + "
                returning cards.account_id, cards.id as card_id, locked.number
            ), written as (
                insert into movements (
                    account_id, card_id, seq, id, kind, amount, balance_after, description, created_at, authorization_id,
                    related_seq, merchant, user_id, api_key_id, request_id" + $column + "
                )
                select
                    movement.account_id, movement.card_id, movement.seq, movement.id, movement.kind, movement.amount,
                    movement.balance_after, movement.description, $1, movement.authorization_id, movement.related_seq,
                    movement.merchant, movement.user_id, movement.api_key_id, movement.request_id" + $value + "
                from applied
                join movement on movement.account_id = applied.account_id and movement.card_id = applied.card_id
            ), stored as (
                insert into idempotency_keys (account_id, key, fingerprint, status, body)
                select key.account_id, key.key, key.fingerprint, 200, key.body
                from applied
                join key on key.account_id = applied.account_id and key.card_id = applied.card_id
                order by key.account_id, key.key
            " + $authorizations + "
            ), block as (
                -- The number of a block is drawn once every card of the batch is locked.
                insert into event_blocks (account_id, created_at)
                select touched.account_id, $1
                from (select distinct account_id from applied) touched
                where (select enabled from event_feeds where event_feeds.account_id = touched.account_id)
                returning account_id, number
            ), told as (
                insert into events (account_id, block, ordinal, id, type, card_id, sequence, movement_seq, state, created_at)
                select
                    block.account_id, block.number, row_number() over (partition by block.number order by event.card_id, event.sequence),
                    event.id, event.type, event.card_id, event.sequence, event.movement_seq, event.state, $1
                from block
                join (
                    select account_id, card_id, sequence, id, 'movement.created' as type, seq as movement_seq, null as state
                    from movement
                    union all
                    select account_id, card_id, sequence + 1, overdrawn_id, 'card.overdrawn', seq, null
                    from movement where overdrawn_id is not null
            " + $events + "
                ) event on event.account_id = block.account_id
                join applied on applied.account_id = event.account_id and applied.card_id = event.card_id
            ), conflicts as materialized (
                select number, account_id, card_id
                from updates
                where number not in (select number from applied)
            )
            select
                clock_timestamp() as \"now!\",
                (select array_agg(number) from applied) as \"applied?\",
                null::bigint as \"conflict?\",
                null::uuid as \"customer_id?: CustomerId\",
                null::text as \"status?: Word<CardStatus>\",
                null::text as \"currency?: Word<Currency>\",
                null::bigint as \"balance?: Money\",
                null::bigint as \"held?: Money\",
                null::bigint as \"seq?\",
                null::bigint as \"event_seq?\",
                null::timestamptz as \"holds_due_at?\",
                null::bigint as \"rules_version?\",
                null::text[] as \"used?\"
            union all
            select
                clock_timestamp(), null, conflicts.number, cards.customer_id, cards.status, cards.currency, cards.balance,
                cards.held, cards.seq, cards.event_seq, cards.holds_due_at, cards.rules_version, duplicates.used
            from conflicts
            left join cards on cards.account_id = conflicts.account_id and cards.id = conflicts.card_id
            left join duplicates on duplicates.account_id = conflicts.account_id and duplicates.card_id = conflicts.card_id
            ",
            *at,
            &movements.account_id,
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
            &keys.account_id,
            &keys.card_id,
            &keys.key,
            &keys.fingerprint,
            &keys.body,
            &updates.account_id,
            &updates.card_id,
            &updates.customer_id as &[Option<Uuid>],
            &updates.status as &[&str],
            &updates.balance,
            &updates.held,
            &updates.seq,
            &updates.event_seq,
            &updates.holds_due_at as &[Option<DateTime<Utc>>],
            &updates.next_balance,
            &updates.next_seq,
            &updates.next_event_seq,
            &updates.next_held,
            &updates.next_holds_due_at as &[Option<DateTime<Utc>>],
            &movements.sequence,
            &movements.overdrawn_id as &[Option<Uuid>],
            &updates.rules_version
            $(, $more)*
        )
    }};
}

/// Writes movements alone.
pub(super) async fn write_movements(connection: &mut PgConnection, rows: &Rows) -> std::result::Result<Vec<Row>, sqlx::Error> {
    write_statement!(authorizations: ("", "", ""), transfers: ("", "", "", ""), rows,).fetch_all(connection).await
}

/// Writes movements, some of them of transfers.
pub(super) async fn write_transfers(connection: &mut PgConnection, rows: &Rows) -> std::result::Result<Vec<Row>, sqlx::Error> {
    write_statement!(
        authorizations: ("", "", ""),
        transfers: (
            ", $38::uuid[]",
            ", transfer_id",
            ", movement.transfer_id",
            "
                    and locked.number in (
                        select number
                        from unnest($39::bigint[]) with ordinality as card_group (group_number, number)
                        where group_number not in (
                            select missing.group_number
                            from unnest($39::bigint[]) with ordinality as missing (group_number, number)
                            where missing.number not in (select number from locked)
                        )
                    )
            "
        ),
        rows,
        &rows.movements.transfer_id as &[Option<Uuid>],
        &rows.updates.group_number
    )
    .fetch_all(connection)
    .await
}

/// Writes everything.
#[expect(clippy::too_many_lines, reason = "one statement and its parameters")]
pub(super) async fn write_all(connection: &mut PgConnection, rows: &Rows) -> std::result::Result<Vec<Row>, sqlx::Error> {
    let Rows { created, changed, entries, usage, .. } = rows;
    write_statement!(
        authorizations: (
            "
                    union all
                    select transaction.account_id, transaction.card_id, transaction.id
                    from unnest($38::uuid[], $39::uuid[], $56::text[]) as transaction (account_id, card_id, id)
                    where (
                        select true
                        from authorizations stored
                        where stored.account_id = transaction.account_id and stored.network_transaction_id = transaction.id
                    )
            ",
            "
                ), created as (
                    insert into authorizations (
                        account_id, card_id, id, status, kind, requested, authorized, held, captured, merchant_amount,
                        merchant_currency, merchant_id, merchant_name, merchant_category, merchant_city, merchant_country,
                        entry_mode, card_present, network_transaction_id, metadata, approval_code, response_code, decided_by,
                        decline_code, decline_message, checks, last_ordinal, entry_sequence, sequence, expires_at, created_at,
                        updated_at
                    )
                    select created.*, $1, $1
                    from applied
                    join unnest(
                        $38::uuid[], $39::uuid[], $40::uuid[], $41::text[], $42::text[], $43::bigint[], $44::bigint[],
                        $45::bigint[], $46::bigint[], $47::bigint[], $48::text[], $49::text[], $50::text[], $51::text[],
                        $52::text[], $53::text[], $54::text[], $55::boolean[], $56::text[], $57::text[], $58::text[],
                        $59::text[], $60::text[], $61::text[], $62::text[], $63::text[], $64::integer[], $65::bigint[],
                        $66::bigint[], $67::timestamptz[]
                    ) as created (
                        account_id, card_id, id, status, kind, requested, authorized, held, captured, merchant_amount,
                        merchant_currency, merchant_id, merchant_name, merchant_category, merchant_city, merchant_country,
                        entry_mode, card_present, network_transaction_id, metadata, approval_code, response_code, decided_by,
                        decline_code, decline_message, checks, last_ordinal, entry_sequence, sequence, expires_at
                    ) on created.account_id = applied.account_id and created.card_id = applied.card_id
                    order by created.account_id, created.network_transaction_id
                ), changed as (
                    update authorizations
                    set
                        status = changed.status,
                        authorized = changed.authorized,
                        held = changed.held,
                        captured = changed.captured,
                        excess = changed.excess,
                        reversed = changed.reversed,
                        expired = changed.expired,
                        released = changed.released,
                        capture_reversed = changed.capture_reversed,
                        refunded = changed.refunded,
                        refund_reversed = changed.refund_reversed,
                        last_ordinal = changed.last_ordinal,
                        entry_sequence = changed.entry_sequence,
                        sequence = changed.sequence,
                        expires_at = changed.expires_at,
                        updated_at = $1
                    from applied
                    join unnest(
                        $68::uuid[], $69::uuid[], $70::uuid[], $71::text[], $72::bigint[], $73::bigint[], $74::bigint[],
                        $75::bigint[], $76::bigint[], $77::bigint[], $78::bigint[], $79::bigint[], $80::bigint[], $81::bigint[],
                        $82::integer[], $83::bigint[], $84::bigint[], $85::timestamptz[]
                    ) as changed (
                        account_id, card_id, id, status, authorized, held, captured, excess, reversed, expired, released,
                        capture_reversed, refunded, refund_reversed, last_ordinal, entry_sequence, sequence, expires_at
                    ) on changed.account_id = applied.account_id and changed.card_id = applied.card_id
                    where authorizations.account_id = changed.account_id
                        and authorizations.card_id = changed.card_id
                        and authorizations.id = changed.id
                ), entry as materialized (
                    select *
                    from unnest(
                        $86::uuid[], $87::uuid[], $88::bigint[], $89::uuid[], $90::uuid[], $91::integer[], $92::bigint[],
                        $93::text[], $94::bigint[], $95::bigint[], $96::bigint[], $97::bigint[], $98::bigint[], $99::bigint[],
                        $100::text[], $101::text[], $102::text[], $103::text[], $104::uuid[], $105::uuid[], $106::text[],
                        $107::text[], $108::text[]
                    ) as entry (
                        account_id, card_id, sequence, id, authorization_id, ordinal, previous_sequence, kind, amount,
                        held_before, held_after, card_balance, card_held, movement_seq, decline_code, decline_message, checks,
                        reason, user_id, api_key_id, request_id, event_type, state
                    )
                ), entered as (
                    insert into authorization_entries (
                        account_id, card_id, sequence, id, authorization_id, ordinal, previous_sequence, kind, amount,
                        held_before, held_after, card_balance, card_held, movement_seq, decline_code, decline_message, checks,
                        reason, user_id, api_key_id, request_id, created_at
                    )
                    select
                        entry.account_id, entry.card_id, entry.sequence, entry.id, entry.authorization_id, entry.ordinal,
                        entry.previous_sequence, entry.kind, entry.amount, entry.held_before, entry.held_after,
                        entry.card_balance, entry.card_held, entry.movement_seq, entry.decline_code, entry.decline_message,
                        entry.checks, entry.reason, entry.user_id, entry.api_key_id, entry.request_id, $1
                    from applied
                    join entry on entry.account_id = applied.account_id and entry.card_id = applied.card_id
                ), spent as (
                    insert into limit_usage (account_id, limit_id, window_start, amount, count)
                    select
                        usage.account_id, usage.limit_id, usage.window_start, sum(usage.amount)::bigint, sum(usage.count)::bigint
                    from applied
                    join unnest(
                        $109::uuid[], $110::uuid[], $111::uuid[], $112::timestamptz[], $113::bigint[], $114::bigint[]
                    ) as usage (account_id, card_id, limit_id, window_start, amount, count)
                        on usage.account_id = applied.account_id and usage.card_id = applied.card_id
                    -- Several cards may spend of one limit of their customer.
                    group by usage.account_id, usage.limit_id, usage.window_start
                    order by usage.account_id, usage.limit_id, usage.window_start
                    on conflict (account_id, limit_id, window_start) do update
                    set amount = limit_usage.amount + excluded.amount, count = limit_usage.count + excluded.count
            ",
            "
                        union all
                        select account_id, card_id, sequence, id, event_type, movement_seq, state from entry
            "
        ),
        transfers: (
            ", $115::uuid[]",
            ", transfer_id",
            ", movement.transfer_id",
            "
                    and locked.number in (
                        select number
                        from unnest($116::bigint[]) with ordinality as card_group (group_number, number)
                        where group_number not in (
                            select missing.group_number
                            from unnest($116::bigint[]) with ordinality as missing (group_number, number)
                            where missing.number not in (select number from locked)
                        )
                    )
            "
        ),
        rows,
        &created.account_id, &created.card_id, &created.id, &created.status as &[&str], &created.kind as &[&str], &created.requested,
        &created.authorized, &created.held, &created.captured, &created.merchant_amount as &[Option<i64>],
        &created.merchant_currency as &[Option<String>], &created.merchant_id as &[Option<String>],
        &created.merchant_name as &[Option<String>], &created.merchant_category as &[Option<String>],
        &created.merchant_city as &[Option<String>], &created.merchant_country as &[Option<String>], &created.entry_mode as &[&str],
        &created.card_present as &[Option<bool>], &created.network_transaction_id as &[Option<String>],
        &created.metadata as &[Option<String>], &created.approval_code as &[Option<String>], &created.response_code,
        &created.decided_by as &[&str], &created.decline_code as &[Option<&str>], &created.decline_message as &[Option<String>],
        &created.checks as &[Option<String>], &created.last_ordinal, &created.entry_sequence, &created.sequence,
        &created.expires_at as &[Option<DateTime<Utc>>], &changed.account_id, &changed.card_id, &changed.id, &changed.status as &[&str],
        &changed.authorized, &changed.held, &changed.captured, &changed.excess, &changed.reversed, &changed.expired, &changed.released,
        &changed.capture_reversed, &changed.refunded, &changed.refund_reversed, &changed.last_ordinal, &changed.entry_sequence,
        &changed.sequence, &changed.expires_at as &[Option<DateTime<Utc>>], &entries.account_id, &entries.card_id, &entries.sequence,
        &entries.id, &entries.authorization_id, &entries.ordinal, &entries.previous_sequence as &[Option<i64>], &entries.kind as &[&str],
        &entries.amount, &entries.held_before, &entries.held_after, &entries.card_balance, &entries.card_held,
        &entries.movement_seq as &[Option<i64>], &entries.decline_code as &[Option<&str>], &entries.decline_message as &[Option<String>],
        &entries.checks as &[Option<String>], &entries.reason as &[Option<String>], &entries.user_id as &[Option<Uuid>],
        &entries.api_key_id as &[Option<Uuid>], &entries.request_id as &[Option<String>], &entries.event_type as &[&str], &entries.state,
        &usage.account_id, &usage.card_id, &usage.limit_id, &usage.window_start, &usage.amount, &usage.count,
        &rows.movements.transfer_id as &[Option<Uuid>],
        &rows.updates.group_number
    )
    .fetch_all(connection)
    .await
}
