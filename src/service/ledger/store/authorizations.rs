//! The SQL that reads authorisations.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use uuid::Uuid;

use super::super::{
    CardKey,
    authorization::{Authorization, AuthorizationEntry, AuthorizationFilter, AuthorizationPage, ListPath},
};
use super::entries::entries;
use crate::domain::{
    authorization::{AuthorizationKind, AuthorizationStatus, DecidedBy},
    currency::Currency,
    decision::DeclineCode,
    id::{AccountId, AuthorizationId, CardId, CustomerId},
    merchant::{EntryMode, MerchantCategory, MerchantCity, MerchantCountry, MerchantId, MerchantName, NetworkTransactionId},
    money::Money,
    word::Word,
};
use crate::service::{batch::only_account, error::Result, unit::ReadConnection};

/// The most authorisations that a page is looked for in: no list reads more of a large account at a time.
const SCANNED: i64 = 10_000;

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
            on wanted.account_id = authorizations.account_id and wanted.id = authorizations.id
         where ($3::uuid is null or authorizations.account_id = $3) and ($3::uuid is null or cards.account_id = $3)",
        &accounts,
        &ids,
        only_account(&accounts)
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

/// Authorisations that pass the filter, before `before` or the newest, newest first: at most `limit`, and of the first
/// [`SCANNED`] that the filter's index leads to.
///
/// Their status may change between the two statements. Then one is left out that no longer passes, and the page goes on
/// after it.
pub(in super::super) async fn authorizations_page(
    mut connection: ReadConnection<'_>,
    account: AccountId,
    filter: &AuthorizationFilter,
    before: Option<AuthorizationId>,
    limit: i64,
) -> Result<AuthorizationPage> {
    let connection = connection.executor();
    let (ids, end) = scan(connection, account, filter, before, limit).await?;
    let is_full = i64::try_from(ids.len()).is_ok_and(|count| count >= limit);
    let stopped_at = if is_full { ids.last().copied().map(AuthorizationId::from) } else { end };
    let rows = with_ids(connection, account, &ids, filter.status).await?;
    Ok(AuthorizationPage { rows, stopped_at })
}

/// Those of the authorisations that have this status, or any if it is None, newest first.
pub(in super::super) async fn with_ids(
    connection: &mut PgConnection,
    account: AccountId,
    ids: &[Uuid],
    status: Option<AuthorizationStatus>,
) -> Result<Vec<Authorization>> {
    let rows = select_authorizations!(
        "where authorizations.account_id = $1
            and cards.account_id = $1
            and authorizations.id = any($2::uuid[])
            and ($3::text is null or authorizations.status = $3)
         order by authorizations.id desc",
        account as AccountId,
        ids,
        status.map(AuthorizationStatus::name)
    )
    .fetch_all(connection)
    .await?;
    Ok(rows)
}

/// The ids of the page, and the last id that was looked at. None: it looked at all.
///
/// One of the branches runs: a plan that is kept would otherwise use one index for every filter. Ids begin with the time at
/// which they were made, so a period is found by them.
async fn scan(
    connection: &mut PgConnection,
    account: AccountId,
    filter: &AuthorizationFilter,
    before: Option<AuthorizationId>,
    limit: i64,
) -> Result<(Vec<Uuid>, Option<AuthorizationId>)> {
    let (lowest, highest) = filter.ids(before);
    let path = filter.path();
    let found = sqlx::query!(
        r#"
        with scanned as materialized (
            (
                select id, card_id, status, decline_code, merchant_id, created_at
                from authorizations
                where $4 = 'account' and account_id = $1 and id between $2 and $3
                order by id desc
                limit $5
            )
            union all
            (
                select id, card_id, status, decline_code, merchant_id, created_at
                from authorizations
                where $4 = 'card' and account_id = $1 and card_id = $6 and id between $2 and $3
                order by id desc
                limit $5
            )
            union all
            (
                select id, card_id, status, decline_code, merchant_id, created_at
                from authorizations
                where $4 = 'pending' and account_id = $1 and card_id = $6 and status = 'pending' and id between $2 and $3
                order by id desc
                limit $5
            )
            union all
            (
                select of_card.*
                from cards owned
                cross join lateral (
                    select id, card_id, status, decline_code, merchant_id, created_at
                    from authorizations
                    where account_id = $1 and card_id = owned.id and id between $2 and $3
                    order by id desc
                    limit $5
                ) of_card
                where owned.account_id = $1 and owned.customer_id = $15
                order by of_card.id desc
                limit $5
            )
            union all
            (
                select id, card_id, status, decline_code, merchant_id, created_at
                from authorizations
                where $4 = 'decline' and account_id = $1 and decline_code = $8 and id between $2 and $3
                order by id desc
                limit $5
            )
            union all
            (
                select id, card_id, status, decline_code, merchant_id, created_at
                from authorizations
                where $4 = 'network' and account_id = $1 and network_transaction_id = $9 and id between $2 and $3
            )
        )
        select
            array(
                select id
                from scanned
                where ($6::uuid is null or card_id = $6)
                    and ($7::uuid is null or exists (
                        select from cards owner where owner.account_id = $1 and owner.id = card_id and owner.customer_id = $7
                    ))
                    and ($8::text is null or decline_code = $8)
                    and ($10::text is null or status = $10)
                    and ($11::text is null or merchant_id = $11)
                    and ($12::timestamptz is null or created_at >= $12)
                    and ($13::timestamptz is null or created_at < $13)
                order by id desc
                limit $14
            ) as "ids!",
            (select id from scanned order by id desc offset $5 - 1 limit 1) as "end: AuthorizationId"
        "#,
        account as AccountId,
        lowest,
        highest,
        path.name(),
        SCANNED,
        filter.card as Option<CardId>,
        filter.customer as Option<CustomerId>,
        filter.decline_code.map(DeclineCode::name),
        filter.network_transaction.as_deref(),
        filter.status.map(AuthorizationStatus::name),
        filter.merchant.as_deref(),
        filter.from,
        filter.to,
        limit,
        // Null but on this path: with a constant that is false, a plan would reach every shard of the cards.
        filter.customer.filter(|_| path == ListPath::Customer) as Option<CustomerId>,
    )
    .fetch_one(connection)
    .await?;
    Ok((found.ids, found.end))
}
