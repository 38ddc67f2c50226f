//! Decisions that are not recorded. They lock nothing.

use chrono::{DateTime, Utc};

use super::{
    CardKey, Ledger,
    authorization::{CardBalance, NewAuthorization},
    card_rules::CardRules,
    store,
};
use crate::domain::{
    decision::{self, Decision},
    error::Refusal,
    id::{AccountId, CardId},
    posting::Position,
    spending::Payment,
};
use crate::service::{
    error::Result,
    spending,
    unit::{self, ReadConnection},
};

/// What would be decided on a payment.
#[derive(Clone, Debug)]
pub struct Previewed {
    /// The decision.
    pub decision: Decision,
    /// The card's money now.
    pub balance: CardBalance,
}

impl Ledger {
    /// Decides an authorisation as [`Ledger::authorize`] would at this moment, and records nothing.
    ///
    /// # Errors
    /// [`Refusal::CardNotFound`].
    pub async fn preview(&self, account: AccountId, card: CardId, new: NewAuthorization) -> Result<Previewed> {
        unit::read(&self.pool, move |connection| Box::pin(async move { preview(connection, (account, card), &new).await })).await
    }
}

async fn preview(mut connection: ReadConnection<'_>, card: CardKey, new: &NewAuthorization) -> Result<Previewed> {
    let (position, at) = store::position_without_due_holds(connection.executor(), card).await?.ok_or(Refusal::CardNotFound)?;
    let decision = match rules(&mut connection, card, &position, at).await? {
        None => decision::decide(&position, &new.asked, None),
        Some(rules) => {
            let details = &new.details;
            let payment = Payment { merchant: &details.merchant, entry_mode: details.entry_mode, card_present: details.card_present };
            rules.decide(at, payment, |rules| decision::decide(&position, &new.asked, Some(rules)))?
        }
    };
    Ok(Previewed { decision, balance: CardBalance::of(card.1, &position) })
}

async fn rules(connection: &mut ReadConnection<'_>, card: CardKey, position: &Position, at: DateTime<Utc>) -> Result<Option<CardRules>> {
    if position.rules_version == 0 {
        return Ok(None);
    }
    let found = spending::rules_of(connection.executor(), &[(card.0, card.1, position.customer, position.currency)]).await?;
    let Some(mut rules) = found.values().next().map(CardRules::from) else { return Ok(None) };
    let windows = rules.windows(at);
    let of_card: Vec<_> = windows.iter().map(|window| (card.0, *window)).collect();
    let used = store::read_usage(connection.executor(), &of_card).await?;
    rules.learn(&windows, |(limit, start)| used.get(&(card.0, *limit, *start)).copied());
    Ok(Some(rules))
}
