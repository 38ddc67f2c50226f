//! The statements that write the authorisations of an account and their entries.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use uuid::Uuid;

use super::{super::super::super::rows::Rows, Result};

/// Those of the network transaction ids that an authorisation has.
pub(super) async fn used_network_ids(connection: &mut PgConnection, account: Uuid, ids: &[String]) -> Result<Vec<String>> {
    sqlx::query_scalar!(
        r#"
        select network_transaction_id as "id!"
        from authorizations
        where account_id = $1 and network_transaction_id = any($2)
        "#,
        account,
        ids,
    )
    .fetch_all(connection)
    .await
}

pub(super) async fn insert_entries(connection: &mut PgConnection, account: Uuid, Rows { at, entries, .. }: &Rows) -> Result<()> {
    sqlx::query!(
        "
        insert into authorization_entries (
            account_id, card_id, sequence, id, authorization_id, ordinal, previous_sequence, kind, amount, held_before, held_after,
            card_balance, card_held, movement_seq, decline_code, decline_message, checks, reason, user_id, api_key_id, request_id,
            created_at
        )
        select cards.account_id, entry.*, $2
        from cards
        join unnest(
            $3::uuid[], $4::bigint[], $5::uuid[], $6::uuid[], $7::integer[], $8::bigint[], $9::text[], $10::bigint[], $11::bigint[],
            $12::bigint[], $13::bigint[], $14::bigint[], $15::bigint[], $16::text[], $17::text[], $18::text[], $19::text[],
            $20::uuid[], $21::uuid[], $22::text[]
        ) as entry (
            card_id, sequence, id, authorization_id, ordinal, previous_sequence, kind, amount, held_before, held_after,
            card_balance, card_held, movement_seq, decline_code, decline_message, checks, reason, user_id, api_key_id, request_id
        ) on entry.card_id = cards.id
        where cards.account_id = $1
        ",
        account,
        *at,
        &entries.card_id,
        &entries.sequence,
        &entries.id,
        &entries.authorization_id,
        &entries.ordinal,
        &entries.previous_sequence as &[Option<i64>],
        &entries.kind as &[&str],
        &entries.amount,
        &entries.held_before,
        &entries.held_after,
        &entries.card_balance,
        &entries.card_held,
        &entries.movement_seq as &[Option<i64>],
        &entries.decline_code as &[Option<&str>],
        &entries.decline_message as &[Option<String>],
        &entries.checks as &[Option<String>],
        &entries.reason as &[Option<String>],
        &entries.user_id as &[Option<Uuid>],
        &entries.api_key_id as &[Option<Uuid>],
        &entries.request_id as &[Option<String>],
    )
    .execute(connection)
    .await
    .map(drop)
}

pub(super) async fn insert_authorizations(connection: &mut PgConnection, account: Uuid, Rows { at, created, .. }: &Rows) -> Result<()> {
    sqlx::query!(
        "
        insert into authorizations (
            account_id, card_id, id, status, kind, requested, authorized, held, captured, merchant_amount, merchant_currency,
            merchant_id, merchant_name, merchant_category, merchant_city, merchant_country, entry_mode, card_present,
            network_transaction_id, metadata, approval_code, response_code, decided_by, decline_code, decline_message, checks,
            last_ordinal, entry_sequence, sequence, expires_at, created_at, updated_at
        )
        select cards.account_id, created.*, $2, $2
        from cards
        join unnest(
            $3::uuid[], $4::uuid[], $5::text[], $6::text[], $7::bigint[], $8::bigint[], $9::bigint[], $10::bigint[], $11::bigint[],
            $12::text[], $13::text[], $14::text[], $15::text[], $16::text[], $17::text[], $18::text[], $19::boolean[], $20::text[],
            $21::text[], $22::text[], $23::text[], $24::text[], $25::text[], $26::text[], $27::text[], $28::integer[], $29::bigint[],
            $30::bigint[], $31::timestamptz[]
        ) as created (
            card_id, id, status, kind, requested, authorized, held, captured, merchant_amount, merchant_currency, merchant_id,
            merchant_name, merchant_category, merchant_city, merchant_country, entry_mode, card_present, network_transaction_id,
            metadata, approval_code, response_code, decided_by, decline_code, decline_message, checks, last_ordinal,
            entry_sequence, sequence, expires_at
        ) on created.card_id = cards.id
        where cards.account_id = $1
        order by created.network_transaction_id
        ",
        account,
        *at,
        &created.card_id,
        &created.id,
        &created.status as &[&str],
        &created.kind as &[&str],
        &created.requested,
        &created.authorized,
        &created.held,
        &created.captured,
        &created.merchant_amount as &[Option<i64>],
        &created.merchant_currency as &[Option<String>],
        &created.merchant_id as &[Option<String>],
        &created.merchant_name as &[Option<String>],
        &created.merchant_category as &[Option<String>],
        &created.merchant_city as &[Option<String>],
        &created.merchant_country as &[Option<String>],
        &created.entry_mode as &[&str],
        &created.card_present as &[Option<bool>],
        &created.network_transaction_id as &[Option<String>],
        &created.metadata as &[Option<String>],
        &created.approval_code as &[Option<String>],
        &created.response_code,
        &created.decided_by as &[&str],
        &created.decline_code as &[Option<&str>],
        &created.decline_message as &[Option<String>],
        &created.checks as &[Option<String>],
        &created.last_ordinal,
        &created.entry_sequence,
        &created.sequence,
        &created.expires_at as &[Option<DateTime<Utc>>],
    )
    .execute(connection)
    .await
    .map(drop)
}

pub(super) async fn update_authorizations(connection: &mut PgConnection, account: Uuid, Rows { at, changed, .. }: &Rows) -> Result<()> {
    sqlx::query!(
        "
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
            updated_at = $2
        from unnest(
            $3::uuid[], $4::uuid[], $5::text[], $6::bigint[], $7::bigint[], $8::bigint[], $9::bigint[], $10::bigint[],
            $11::bigint[], $12::bigint[], $13::bigint[], $14::bigint[], $15::bigint[], $16::integer[], $17::bigint[],
            $18::bigint[], $19::timestamptz[]
        ) as changed (
            card_id, id, status, authorized, held, captured, excess, reversed, expired, released, capture_reversed, refunded,
            refund_reversed, last_ordinal, entry_sequence, sequence, expires_at
        )
        where authorizations.account_id = $1 and authorizations.card_id = changed.card_id and authorizations.id = changed.id
        ",
        account,
        *at,
        &changed.card_id,
        &changed.id,
        &changed.status as &[&str],
        &changed.authorized,
        &changed.held,
        &changed.captured,
        &changed.excess,
        &changed.reversed,
        &changed.expired,
        &changed.released,
        &changed.capture_reversed,
        &changed.refunded,
        &changed.refund_reversed,
        &changed.last_ordinal,
        &changed.entry_sequence,
        &changed.sequence,
        &changed.expires_at as &[Option<DateTime<Utc>>],
    )
    .execute(connection)
    .await
    .map(drop)
}
