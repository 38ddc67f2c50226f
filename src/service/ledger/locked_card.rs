//! A card that a transaction has locked. Holds that are due expire first, so that whatever follows is decided without them.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use sqlx::PgConnection;

use super::{
    CardKey,
    author::Author,
    authorization::Authorization,
    card_rules::CardRules,
    card_write::{CardWrite, Remarks},
    rows::Rows,
    store::{self, Written},
};
use crate::domain::{actor::Actor, authorization::Step, error::Refusal, id::AuthorizationId};
use crate::service::{
    cards,
    error::{Error, Result},
    spending,
    unit::ReadConnection,
};
use crate::telemetry::metrics;

/// The most holds that expire in one statement.
const EXPIRED_AT_ONCE: i64 = 1_000;

/// A locked card, with what is to be written to it.
pub(super) struct LockedCard {
    pub(super) write: CardWrite,
    /// The database's clock when the lock was there. Everything is written at this time.
    pub(super) at: DateTime<Utc>,
    /// Whether the database is distributed by account.
    sharded: bool,
    /// How many holds have expired.
    pub(super) expired: usize,
}

impl LockedCard {
    /// Waits for the lock of a card.
    ///
    /// # Errors
    /// [`Refusal::CardNotFound`].
    pub(super) async fn lock(connection: &mut PgConnection, card: CardKey) -> Result<Self> {
        let position = store::lock(connection, card.0, card.1).await?.ok_or(Refusal::CardNotFound)?;
        let (mut at, sharded) = store::now_and_layout(ReadConnection::within(connection)).await?;
        if sharded {
            at = store::now_at_card(ReadConnection::within(connection), card).await?;
        }
        let mut locked = Self { write: CardWrite::new(card, position), at, sharded, expired: 0 };
        if position.rules_version > 0 {
            let rules = spending::rules_of(connection, &[(card.0, card.1, position.customer, position.currency)]).await?;
            locked.write.rules = rules.values().next().map(|rules| Box::new(CardRules::from(rules)));
        }
        if position.holds_due_at.is_some_and(|due| due <= at) {
            locked.expire(connection).await?;
        }
        Ok(locked)
    }

    /// Lets every hold expire that is due: what follows is decided on what is left. Only the last page waits for what follows,
    /// to be written with it.
    async fn expire(&mut self, connection: &mut PgConnection) -> Result<()> {
        loop {
            let due = store::lock_due(connection, self.write.card, self.at, EXPIRED_AT_ONCE).await?;
            let is_last = i64::try_from(due.len()).is_ok_and(|count| count < EXPIRED_AT_ONCE);
            self.expired += due.len();
            for authorization in due {
                self.know_excess(connection, &authorization).await?;
                let taken = authorization.standing()?.take(Step::Expire)?;
                self.write.step((self.at, &Author::default()), authorization, taken, Remarks::default())?;
            }
            if is_last {
                self.write.to.holds_due_at = store::next_due(connection, self.write.card, self.at).await?;
                return Ok(());
            }
            // What comes back to limits is written last, in the order of its rows.
            let rest = CardWrite { rules: self.write.rules.take(), ..CardWrite::new(self.write.card, self.write.to) };
            write(connection, &[&std::mem::replace(&mut self.write, rest)], self.at, self.sharded).await?;
        }
    }

    /// An authorisation of the card, as it is by now.
    ///
    /// # Errors
    /// [`Refusal::AuthorizationNotFound`].
    pub(super) async fn authorization(&mut self, connection: &mut PgConnection, id: AuthorizationId) -> Result<Authorization> {
        if let Some(changed) = self.write.take_changed(id) {
            return Ok(changed);
        }
        let found = store::lock_authorization(connection, self.write.card, id).await?;
        let found = found.ok_or(Refusal::AuthorizationNotFound)?;
        self.know_excess(connection, &found).await?;
        Ok(found)
    }

    async fn know_excess(&mut self, connection: &mut PgConnection, authorization: &Authorization) -> Result<()> {
        if let Some(rules) = self.write.rules.as_mut().filter(|rules| rules.needs_excess(authorization)) {
            rules.learn_excess(authorization.id, store::excess_of(connection, authorization).await?);
        }
        Ok(())
    }

    /// Reads what was spent of the limits in their windows of a moment, and locks it: what is decided on it is exact. The
    /// windows that are written without being read are locked with them, so that all transactions lock in one order.
    pub(super) async fn lock_usage(&mut self, connection: &mut PgConnection, of: DateTime<Utc>) -> Result<()> {
        let Some(rules) = &mut self.write.rules else { return Ok(()) };
        let windows = rules.windows(of);
        if !windows.is_empty() {
            let used = store::lock_usage(connection, self.write.card.0, &windows).await?;
            rules.learn(&windows, |window| used.get(window).copied());
        }
        Ok(())
    }

    /// Writes everything to two cards.
    ///
    /// # Errors
    /// The database is unavailable.
    pub(super) async fn write_both(&self, connection: &mut PgConnection, other: &Self) -> Result<()> {
        let writes: Vec<&CardWrite> = [&self.write, &other.write].into_iter().filter(|write| !write.is_empty()).collect();
        if writes.is_empty() { Ok(()) } else { write(connection, &writes, self.at.max(other.at), self.sharded).await }
    }

    /// Writes everything. `payer` makes the payments, if there are any.
    ///
    /// # Errors
    /// [`Refusal::DuplicateNetworkTransaction`].
    pub(super) async fn write(self, connection: &mut PgConnection, payer: Option<&Actor>) -> Result<()> {
        write(connection, &[&self.write], self.at, self.sharded).await?;
        let Some(rules) = self.write.rules.filter(|rules| rules.controls_change()) else { return Ok(()) };
        store::use_controls(connection, self.write.card, &rules.controls_use).await?;
        match payer {
            Some(payer) if rules.is_used_up() => {
                cards::cancel_used_up(connection, payer, self.write.card.1, self.write.to.status, self.sharded).await
            }
            _ => Ok(()),
        }
    }
}

/// Writes everything to locked cards.
async fn write(connection: &mut PgConnection, cards: &[&CardWrite], at: DateTime<Utc>, sharded: bool) -> Result<()> {
    match store::write_locked(connection, &Rows::of_cards(cards, at), sharded).await? {
        Written::Outcomes(outcomes) if outcomes.are_applied(cards.len()) => {}
        Written::Outcomes(outcomes) if outcomes.is_used() => return Err(Refusal::DuplicateNetworkTransaction.into()),
        // The next try sees what the other transaction wrote.
        Written::LostRace(error) => return Err(Error::DatabaseUnavailable(Arc::new(error))),
        Written::Outcomes(_) => return Err(Error::internal("writing a locked card", "the card has another position")),
    }
    for kind in cards.iter().flat_map(|card| card.step_kinds()) {
        metrics::authorization_step(kind.name());
    }
    Ok(())
}
