//! The SQL of what is spent of limits, and of what payments change of controls.

use std::collections::{BTreeSet, HashMap};

use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use uuid::Uuid;

use super::{
    super::{
        CardKey,
        authorization::Authorization,
        card_rules::{ControlsUse, WindowKey},
    },
    entries::entries,
};
use crate::domain::{
    authorization::EntryKind,
    id::{AccountId, CardId, LimitId},
    merchant::MerchantId,
    money::Money,
    spending::{limit::Used, usage::Excess},
    word::Word,
};
use crate::service::{batch::only_account, error::Result};

/// What was spent in windows, whose rows are locked in order until the transaction ends. The first payment of a window makes
/// its row.
pub(in super::super) async fn lock_usage(
    connection: &mut PgConnection,
    account: AccountId,
    windows: &BTreeSet<WindowKey>,
) -> Result<HashMap<WindowKey, Used>> {
    let limits: Vec<Uuid> = windows.iter().map(|(limit, _)| (*limit).into()).collect();
    let starts: Vec<DateTime<Utc>> = windows.iter().map(|(_, start)| *start).collect();
    let found = lock_usage_rows(connection, account, &limits, &starts).await?;
    if found.len() == windows.len() {
        return Ok(found);
    }
    add_usage_rows(connection, account, &limits, &starts).await?;
    lock_usage_rows(connection, account, &limits, &starts).await
}

async fn lock_usage_rows(
    connection: &mut PgConnection,
    account: AccountId,
    limits: &[Uuid],
    starts: &[DateTime<Utc>],
) -> Result<HashMap<WindowKey, Used>> {
    let rows = sqlx::query!(
        r#"
        select
            limit_usage.limit_id as "limit_id: LimitId",
            limit_usage.window_start,
            limit_usage.amount as "amount: Money",
            limit_usage.count
        from limit_usage
        join unnest($2::uuid[], $3::timestamptz[]) as wanted (limit_id, window_start)
            on limit_usage.limit_id = wanted.limit_id and limit_usage.window_start = wanted.window_start
        where limit_usage.account_id = $1
        order by limit_usage.limit_id, limit_usage.window_start
        for no key update of limit_usage
        "#,
        account as AccountId,
        limits,
        starts,
    )
    .fetch_all(connection)
    .await?;
    let used = |amount, count: i32| Used { amount, count: count.into() };
    Ok(rows.into_iter().map(|row| ((row.limit_id, row.window_start), used(row.amount, row.count))).collect())
}

/// What was spent in windows of any account, without waiting for anybody.
pub(in super::super) async fn read_usage(
    connection: &mut PgConnection,
    windows: &[(AccountId, WindowKey)],
) -> Result<HashMap<(AccountId, LimitId, DateTime<Utc>), Used>> {
    let accounts: Vec<Uuid> = windows.iter().map(|(account, _)| (*account).into()).collect();
    let limits: Vec<Uuid> = windows.iter().map(|(_, (limit, _))| (*limit).into()).collect();
    let starts: Vec<DateTime<Utc>> = windows.iter().map(|(_, (_, start))| *start).collect();
    let rows = sqlx::query!(
        r#"
        select
            limit_usage.account_id as "account_id: AccountId",
            limit_usage.limit_id as "limit_id: LimitId",
            limit_usage.window_start,
            limit_usage.amount as "amount: Money",
            limit_usage.count
        from unnest($1::uuid[], $2::uuid[], $3::timestamptz[]) as wanted (account_id, limit_id, window_start)
        join limit_usage on limit_usage.account_id = wanted.account_id
            and limit_usage.limit_id = wanted.limit_id
            and limit_usage.window_start = wanted.window_start
        where $4::uuid is null or limit_usage.account_id = $4
        "#,
        &accounts,
        &limits,
        &starts,
        only_account(&accounts),
    )
    .fetch_all(connection)
    .await?;
    let used = |amount, count: i32| Used { amount, count: count.into() };
    Ok(rows.into_iter().map(|row| ((row.account_id, row.limit_id, row.window_start), used(row.amount, row.count))).collect())
}

async fn add_usage_rows(connection: &mut PgConnection, account: AccountId, limits: &[Uuid], starts: &[DateTime<Utc>]) -> Result<()> {
    sqlx::query!(
        "
        insert into limit_usage (account_id, limit_id, window_start)
        select accounts.account_id, wanted.limit_id, wanted.window_start
        from accounts
        cross join unnest($2::uuid[], $3::timestamptz[]) as wanted (limit_id, window_start)
        where accounts.account_id = $1
        order by wanted.limit_id, wanted.window_start
        on conflict (account_id, limit_id, window_start) do nothing
        ",
        account as AccountId,
        limits,
        starts,
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// What an authorisation of a locked card has captured beyond its hold, in the order in which it was posted.
pub(in super::super) async fn excess_of(connection: &mut PgConnection, authorization: &Authorization) -> Result<Vec<Excess>> {
    let entries = entries(connection, authorization.account_id, authorization).await?;
    let excess = entries.into_iter().filter_map(|entry| {
        let is_capture = matches!(entry.kind, Word::Known(EntryKind::Capture | EntryKind::LateCapture));
        (is_capture && entry.amount > entry.held_before)
            .then(|| Excess { at: entry.created_at, amount: entry.amount.less(entry.held_before) })
    });
    Ok(excess.collect())
}

/// Writes what payments of a locked card change of its controls.
pub(in super::super) async fn use_controls(connection: &mut PgConnection, (account, card): CardKey, changes: &ControlsUse) -> Result<()> {
    sqlx::query!(
        "
        update card_controls
        set
            payments = payments + case when max_payments is null then 0 else $3 end,
            merchant_lock = case when $4::text is null then merchant_lock else 'merchant' end,
            locked_merchant = coalesce($4, locked_merchant),
            version = version + case when $4::text is null then 0 else 1 end
        where account_id = $1 and card_id = $2
        ",
        account as AccountId,
        card as CardId,
        i32::try_from(changes.payments).unwrap_or(i32::MAX),
        changes.locks_to.as_ref().map(MerchantId::as_str),
    )
    .execute(connection)
    .await?;
    Ok(())
}
