//! The SQL of the controls of a card, as they are changed and shown.

use sqlx::PgConnection;

use super::{
    super::CardControls,
    customer_of,
    rows::{ControlsRow, controls_of},
    texts,
};
use crate::domain::{
    id::{AccountId, CardId},
    merchant::MerchantId,
    spending::controls::{Controls, MerchantLock},
};
use crate::service::{error::Result, unit::ReadConnection};

/// The controls of a card that exists.
pub(in super::super) async fn controls(connection: &mut PgConnection, account: AccountId, card: CardId) -> Result<CardControls> {
    let row = controls_of(connection, &[account.into()], &[card.into()]).await?.into_iter().next();
    let none = CardControls { card, controls: Controls::default(), payments: 0, version: 0, updated_at: None };
    row.map_or(Ok(none), |row| shown(card, row))
}

fn shown(card: CardId, row: ControlsRow) -> Result<CardControls> {
    let (payments, version, updated_at) = (row.payments, row.version, Some(row.updated_at));
    Ok(CardControls { card, controls: row.controls()?, payments: u32::try_from(payments).unwrap_or(0), version, updated_at })
}

/// The controls of a card, if it exists.
pub(in super::super) async fn find_controls(
    mut connection: ReadConnection<'_>,
    account: AccountId,
    card: CardId,
) -> Result<Option<CardControls>> {
    if customer_of(&mut connection, account, card).await?.is_none() {
        return Ok(None);
    }
    controls(connection.executor(), account, card).await.map(Some)
}

/// Writes the controls of a locked card.
pub(in super::super) async fn set_controls(
    connection: &mut PgConnection,
    account: AccountId,
    card: CardId,
    new: &Controls,
    payments: i64,
) -> Result<CardControls> {
    let (lock, merchant) = match &new.merchant_lock {
        None => (None, None),
        Some(MerchantLock::First) => (Some("first"), None),
        Some(MerchantLock::To(merchant)) => (Some("merchant"), Some(merchant.as_str())),
    };
    sqlx::query!(
        "
        insert into card_controls as controls (
            account_id, card_id, allowed_categories, blocked_categories, allowed_countries, blocked_countries, allowed_merchants,
            blocked_merchants, merchant_lock, locked_merchant, card_present, max_payments, payments, updated_at
        )
        values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, clock_timestamp())
        on conflict (account_id, card_id) do update
        set
            allowed_categories = excluded.allowed_categories,
            blocked_categories = excluded.blocked_categories,
            allowed_countries = excluded.allowed_countries,
            blocked_countries = excluded.blocked_countries,
            allowed_merchants = excluded.allowed_merchants,
            blocked_merchants = excluded.blocked_merchants,
            merchant_lock = excluded.merchant_lock,
            locked_merchant = excluded.locked_merchant,
            card_present = excluded.card_present,
            max_payments = excluded.max_payments,
            payments = excluded.payments,
            version = controls.version + 1,
            updated_at = excluded.updated_at
        ",
        account as AccountId,
        card as CardId,
        &texts(&new.allowed_categories, |value| value.as_str()),
        &texts(&new.blocked_categories, |value| value.as_str()),
        &texts(&new.allowed_countries, |value| value.as_str()),
        &texts(&new.blocked_countries, |value| value.as_str()),
        &texts(&new.allowed_merchants, MerchantId::as_str),
        &texts(&new.blocked_merchants, MerchantId::as_str),
        lock,
        merchant,
        new.card_present.name(),
        new.max_payments.map(|max| i32::try_from(max).unwrap_or(i32::MAX)),
        i32::try_from(payments).unwrap_or(i32::MAX),
    )
    .execute(&mut *connection)
    .await?;
    controls(connection, account, card).await
}
