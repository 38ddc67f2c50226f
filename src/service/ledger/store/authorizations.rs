//! The SQL that reads authorisations.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use uuid::Uuid;

use super::super::{
    CardKey,
    authorization::{Authorization, AuthorizationEntry, AuthorizationFilter},
};
use crate::domain::{
    authorization::{AuthorizationKind, AuthorizationStatus, DecidedBy, EntryKind},
    currency::Currency,
    decision::DeclineCode,
    id::{AccountId, AuthorizationId, CardId, CustomerId, EntryId, MovementId},
    merchant::{EntryMode, MerchantCategory, MerchantCity, MerchantCountry, MerchantId, MerchantName, NetworkTransactionId},
    money::Money,
    word::Word,
};
use crate::service::{error::Result, unit::ReadConnection};

/// Reads authorisations with their cards. The literal is the rest of the statement.
macro_rules! select_authorizations {
    ($rest:literal, $($parameters:expr),*) => {
        sqlx::query_as!(
            Authorization,
            r#"
            select
                authorizations.account_id as "account_id: AccountId",
                authorizations.id as "id: AuthorizationId",
                authorizations.card_id as "card_id: CardId",
                cards.customer_id as "customer_id: CustomerId",
                cards.currency as "currency: Word<Currency>",
                authorizations.status as "status: Word<AuthorizationStatus>",
                authorizations.kind as "kind: Word<AuthorizationKind>",
                authorizations.requested as "requested: Money",
                authorizations.authorized as "authorized: Money",
                authorizations.held as "held: Money",
                authorizations.captured as "captured: Money",
                authorizations.excess as "excess: Money",
                authorizations.reversed as "reversed: Money",
                authorizations.expired as "expired: Money",
                authorizations.released as "released: Money",
                authorizations.capture_reversed as "capture_reversed: Money",
                authorizations.refunded as "refunded: Money",
                authorizations.refund_reversed as "refund_reversed: Money",
                authorizations.merchant_amount,
                authorizations.merchant_currency,
                authorizations.merchant_id as "merchant_id: MerchantId",
                authorizations.merchant_name as "merchant_name: MerchantName",
                authorizations.merchant_category as "merchant_category: MerchantCategory",
                authorizations.merchant_city as "merchant_city: MerchantCity",
                authorizations.merchant_country as "merchant_country: MerchantCountry",
                authorizations.entry_mode as "entry_mode: Word<EntryMode>",
                authorizations.card_present,
                authorizations.network_transaction_id as "network_transaction_id: NetworkTransactionId",
                authorizations.metadata,
                authorizations.approval_code,
                authorizations.response_code,
                authorizations.decided_by as "decided_by: Word<DecidedBy>",
                authorizations.decline_code as "decline_code: Word<DeclineCode>",
                authorizations.decline_message,
                authorizations.checks,
                authorizations.last_ordinal,
                authorizations.entry_sequence,
                authorizations.sequence,
                cards.event_seq as card_sequence,
                authorizations.created_at,
                authorizations.expires_at,
                authorizations.updated_at
            from authorizations
            join cards on cards.account_id = authorizations.account_id and cards.id = authorizations.card_id
            "#
                + $rest,
            $($parameters),*
        )
    };
}

/// One authorisation, with its entries. If a step is taken in between, the entries are those before it.
pub(in super::super) async fn find_with_entries(
    mut connection: ReadConnection<'_>,
    account: AccountId,
    id: AuthorizationId,
) -> Result<Option<(Authorization, Vec<AuthorizationEntry>)>> {
    let connection = connection.executor();
    let found = select_authorizations!(
        "where authorizations.account_id = $1 and authorizations.id = $2",
        account as AccountId,
        id as AuthorizationId
    )
    .fetch_optional(&mut *connection)
    .await?;
    let Some(authorization) = found else { return Ok(None) };
    let entries = entries(connection, account, &authorization).await?;
    Ok(Some((authorization, entries)))
}

/// Those of the authorisations that exist.
pub(in super::super) async fn find_authorizations(
    mut connection: ReadConnection<'_>,
    wanted: &[(AccountId, AuthorizationId)],
) -> Result<Vec<Authorization>> {
    let accounts: Vec<Uuid> = wanted.iter().map(|(account, _)| (*account).into()).collect();
    let ids: Vec<Uuid> = wanted.iter().map(|(_, id)| (*id).into()).collect();
    let found = select_authorizations!(
        "join unnest($1::uuid[], $2::uuid[]) as wanted (account_id, id)
            on wanted.account_id = authorizations.account_id and wanted.id = authorizations.id",
        &accounts,
        &ids
    )
    .fetch_all(connection.executor())
    .await?;
    Ok(found)
}

/// One authorisation of a card that is locked, locked too.
pub(in super::super) async fn lock_authorization(
    connection: &mut PgConnection,
    (account, card): CardKey,
    id: AuthorizationId,
) -> Result<Option<Authorization>> {
    let found = select_authorizations!(
        "where authorizations.account_id = $1 and authorizations.id = $2 and authorizations.card_id = $3
         for no key update of authorizations",
        account as AccountId,
        id as AuthorizationId,
        card as CardId
    )
    .fetch_optional(connection)
    .await?;
    Ok(found)
}

/// The first of the authorisations of a locked card whose holds are due, locked too.
pub(in super::super) async fn lock_due(
    connection: &mut PgConnection,
    (account, card): CardKey,
    at: DateTime<Utc>,
    limit: i64,
) -> Result<Vec<Authorization>> {
    let due = select_authorizations!(
        "where authorizations.account_id = $1
            and authorizations.card_id = $2
            and authorizations.status = 'pending'
            and authorizations.expires_at <= $3
         order by authorizations.expires_at, authorizations.id
         limit $4
         for no key update of authorizations",
        account as AccountId,
        card as CardId,
        at,
        limit
    )
    .fetch_all(connection)
    .await?;
    Ok(due)
}

/// When the next hold of a card expires, but for those that are due.
pub(in super::super) async fn next_due(
    connection: &mut PgConnection,
    (account, card): CardKey,
    after: DateTime<Utc>,
) -> Result<Option<DateTime<Utc>>> {
    let next = sqlx::query_scalar!(
        "
        select min(expires_at)
        from authorizations
        where account_id = $1 and card_id = $2 and status = 'pending' and expires_at > $3
        ",
        account as AccountId,
        card as CardId,
        after,
    )
    .fetch_one(connection)
    .await?;
    Ok(next)
}

/// At most `limit` authorisations that pass the filter, before `before` or the newest, newest first.
///
/// Ids begin with the time at which they were made, by the clock of a replica. Those of a period are found by their ids, to
/// the difference of the clocks, which `slack` allows for.
pub(in super::super) async fn authorizations_page(
    mut connection: ReadConnection<'_>,
    account: AccountId,
    filter: &AuthorizationFilter,
    before: Option<AuthorizationId>,
    limit: i64,
) -> Result<Vec<Authorization>> {
    let (lowest, highest) = filter.ids();
    let page = select_authorizations!(
        "where authorizations.account_id = $1
            and ($2::uuid is null or authorizations.id < $2)
            and authorizations.id >= $3
            and authorizations.id <= $4
            and ($5::uuid is null or authorizations.card_id = $5)
            and ($6::uuid is null or cards.customer_id = $6)
            and ($7::text is null or authorizations.status = $7)
            and ($8::text is null or authorizations.decline_code = $8)
            and ($9::text is null or authorizations.merchant_id = $9)
            and ($10::text is null or authorizations.network_transaction_id = $10)
            and ($11::timestamptz is null or authorizations.created_at >= $11)
            and ($12::timestamptz is null or authorizations.created_at < $12)
         order by authorizations.id desc
         limit $13",
        account as AccountId,
        before as Option<AuthorizationId>,
        lowest,
        highest,
        filter.card as Option<CardId>,
        filter.customer as Option<CustomerId>,
        filter.status.map(AuthorizationStatus::name),
        filter.decline_code.map(DeclineCode::name),
        filter.merchant.as_deref(),
        filter.network_transaction.as_deref(),
        filter.from,
        filter.to,
        limit
    )
    .fetch_all(connection.executor())
    .await?;
    Ok(page)
}

/// The entries of an authorisation in their order. Each leads to the one before it.
async fn entries(connection: &mut PgConnection, account: AccountId, authorization: &Authorization) -> Result<Vec<AuthorizationEntry>> {
    let entries = sqlx::query_as!(
        AuthorizationEntry,
        r#"
        with recursive entry as (
            select *
            from authorization_entries
            where account_id = $1 and card_id = $2 and sequence = $3
            union all
            select earlier.*
            from entry
            join authorization_entries earlier
                on earlier.account_id = $1 and earlier.card_id = $2 and earlier.sequence = entry.previous_sequence
        )
        select
            entry.id as "id!: EntryId",
            entry.ordinal as "ordinal!",
            entry.kind as "kind!: Word<EntryKind>",
            entry.amount as "amount!: Money",
            entry.held_before as "held_before!: Money",
            entry.held_after as "held_after!: Money",
            movements.id as "movement_id?: MovementId",
            entry.sequence as "sequence!",
            entry.decline_code as "decline_code: Word<DeclineCode>",
            entry.decline_message,
            entry.checks,
            entry.reason,
            entry.created_at as "created_at!"
        from entry
        left join movements
            on movements.account_id = $1 and movements.card_id = $2 and movements.seq = entry.movement_seq
        order by entry.ordinal
        "#,
        account as AccountId,
        authorization.card_id as CardId,
        authorization.entry_sequence,
    )
    .fetch_all(connection)
    .await?;
    Ok(entries)
}

/// The card of an authorisation, which never changes.
pub(in super::super) async fn card_of_authorization(
    connection: &mut PgConnection,
    account: AccountId,
    id: AuthorizationId,
) -> Result<Option<CardId>> {
    let card = sqlx::query_scalar!(
        r#"
        select card_id as "card_id: CardId"
        from authorizations
        where account_id = $1 and id = $2
        "#,
        account as AccountId,
        id as AuthorizationId,
    )
    .fetch_optional(connection)
    .await?;
    Ok(card)
}

/// The authorisation of a card that has a network transaction id.
pub(in super::super) async fn by_network_transaction(
    connection: &mut PgConnection,
    account: AccountId,
    id: &NetworkTransactionId,
) -> Result<Option<(AuthorizationId, CardId)>> {
    let row = sqlx::query!(
        r#"
        select id as "id: AuthorizationId", card_id as "card_id: CardId"
        from authorizations
        where account_id = $1 and network_transaction_id = $2
        "#,
        account as AccountId,
        id.as_str(),
    )
    .fetch_optional(connection)
    .await?;
    Ok(row.map(|row| (row.id, row.card_id)))
}
