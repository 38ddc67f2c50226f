//! The steps of a payment after its authorisation. Steps that arrive together are written together, as postings are. Those
//! that a batch cannot write, and those that are audited, are transactions of their own, under the lock of the card's row,
//! which comes before the lock of the authorisation's.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;

use super::{
    CardKey, Done, Ledger, Target, Work,
    author::Author,
    authorization::{Authorization, Stepped, describe},
    card_write::{CardWrite, Remarks},
    confused,
    locked_card::LockedCard,
    store,
};
use crate::database::Pool;
use crate::domain::{
    actor::Actor,
    audit_event::Event,
    authorization::{AuthorizationStatus, EntryKind, Step, Taken},
    decision::{self, Decision, Verdict},
    error::Refusal,
    hold_time::HoldTimes,
    id::AuthorizationId,
    merchant::MerchantCategory,
    money::{Amount, Money},
    posting::MovementKind,
    spending::Payment,
    text::Description,
};
use crate::service::{
    audit,
    error::Result,
    idempotency::{self, IdempotentRequest, InFlightKeys, Outcome},
    unit::Unit,
};
use crate::telemetry::metrics;

/// A step of an authorisation that a caller asks for.
#[derive(Clone, Debug)]
pub enum StepRequest {
    /// Authorise more. It is decided, and a decline is recorded.
    Increment(Amount),
    /// Hold this much.
    Adjust(Money),
    /// Give back this much of the hold, or all of it.
    Reverse {
        /// How much.
        amount: Option<Amount>,
        /// Why, in the caller's words.
        reason: Option<String>,
    },
    /// Capture this much, or what is held.
    Capture {
        /// How much.
        amount: Option<Amount>,
        /// Whether nothing more is to be captured.
        is_final: bool,
        /// The description of the movement; that of the merchant if there is none.
        description: Option<Description>,
    },
    /// End the hold, as the issuer.
    Release {
        /// Why, in the caller's words.
        reason: String,
    },
    /// End the hold, as if its time were over.
    Expire,
}

impl Ledger {
    /// Takes a step of an authorisation. The id is None if the request's id is malformed.
    ///
    /// # Errors
    /// The authorisation does not exist, its status does not permit the step, or the card's balance would leave its bounds.
    pub async fn step(
        &self,
        actor: &Actor,
        authorization: Option<AuthorizationId>,
        request: StepRequest,
        idempotent: Option<IdempotentRequest<Stepped>>,
    ) -> Result<Outcome<Stepped>> {
        let outcome = match (authorization, &request) {
            // A release is audited. An expiry is the sandbox's, and rare.
            (None, _) | (_, StepRequest::Release { .. } | StepRequest::Expire) => {
                let unit = TakeStep { actor, authorization, request: &request, hold_times: &self.hold_times };
                let outcome = self.once(idempotent.as_ref(), &unit).await?;
                if let Some(Stepped { authorization, .. }) = outcome.done() {
                    self.forget((actor.account, authorization.card_id));
                }
                outcome
            }
            (Some(id), _) => {
                let _key = idempotent.as_ref().map(|request| InFlightKeys::enter(&self.in_flight, request)).transpose()?;
                let work = Work::Step { request, idempotent };
                let Done::Stepped(outcome) = self.call(actor, Target::Authorization(id), work).await? else {
                    return Err(confused());
                };
                *outcome
            }
        };
        if outcome.done().is_some_and(|stepped| stepped.movement.is_some()) {
            metrics::posting_written(MovementKind::Capture.name());
        }
        Ok(outcome)
    }

    pub(super) async fn once<T: Send + Sync, U: Unit<Output = T>>(
        &self,
        idempotent: Option<&IdempotentRequest<T>>,
        unit: &U,
    ) -> Result<Outcome<T>> {
        let _key = idempotent.map(|request| InFlightKeys::enter(&self.in_flight, request)).transpose()?;
        Box::pin(idempotency::write_once(&self.pool, idempotent, unit)).await
    }

    /// Forgets a card that was written. A batch on its former position would be a conflict, and be decided again.
    pub(super) fn forget(&self, card: CardKey) {
        self.cache.invalidate(&card);
    }
}

/// One step in a transaction of its own.
pub(super) async fn take_alone(
    pool: &Pool,
    actor: &Actor,
    authorization: AuthorizationId,
    request: &StepRequest,
    hold_times: &HoldTimes,
    idempotent: Option<&IdempotentRequest<Stepped>>,
) -> Result<Outcome<Stepped>> {
    let unit = TakeStep { actor, authorization: Some(authorization), request, hold_times };
    idempotency::write_once(pool, idempotent, &unit).await
}

struct TakeStep<'a> {
    actor: &'a Actor,
    authorization: Option<AuthorizationId>,
    request: &'a StepRequest,
    hold_times: &'a HoldTimes,
}

impl Unit for TakeStep<'_> {
    type Output = Stepped;

    async fn run(&self, connection: &mut PgConnection) -> Result<Stepped> {
        let account = self.actor.account;
        let id = self.authorization.ok_or(Refusal::AuthorizationNotFound)?;
        let card = store::card_of_authorization(connection, account, id).await?.ok_or(Refusal::AuthorizationNotFound)?;
        let mut locked = LockedCard::lock(connection, (account, card)).await?;
        let authorization = locked.authorization(connection, id).await?;
        if let StepRequest::Increment(_) = self.request {
            locked.lock_usage(connection, authorization.created_at).await?;
        }
        let by = if matches!(self.request, StepRequest::Expire) { Author::default() } else { Author::from(self.actor) };
        let stepped = take(&mut locked.write, (locked.at, &by), authorization, self.request, self.hold_times)?;
        locked.write(connection, Some(self.actor)).await?;
        if let (StepRequest::Release { .. }, Some(entry)) = (self.request, stepped.entries.last()) {
            let event = Event::AuthorizationReleased { authorization: id, amount: entry.amount };
            audit::record_in(connection, self.actor, event).await?;
        }
        Ok(stepped)
    }
}

/// Decides a step of an authorisation, and adds it to what is written to its card.
///
/// # Errors
/// The status does not permit the step, the card would hold or owe more than it can, or the authorisation is of a later
/// version.
pub(super) fn take(
    write: &mut CardWrite,
    (at, by): (DateTime<Utc>, &Author),
    mut authorization: Authorization,
    request: &StepRequest,
    hold_times: &HoldTimes,
) -> Result<Stepped> {
    let (taken, remarks) = decide(write, at, &mut authorization, request, hold_times)?;
    Ok(write.step((at, by), authorization, taken, remarks)?)
}

fn decide(
    write: &CardWrite,
    at: DateTime<Utc>,
    authorization: &mut Authorization,
    request: &StepRequest,
    hold_times: &HoldTimes,
) -> Result<(Taken, Remarks)> {
    let standing = authorization.standing()?;
    let mut remarks = Remarks::default();
    let step = match request {
        StepRequest::Increment(by) => {
            let decision = decide_increment(write, authorization, standing.status, *by)?;
            if let Verdict::Declined(_) = decision.verdict {
                let taken = Taken { standing, kind: EntryKind::IncrementDeclined, amount: by.money(), captures: None };
                return Ok((taken, Remarks { decision: Some(decision), ..remarks }));
            }
            let category = authorization.merchant_category.as_ref().map(MerchantCategory::as_str);
            let until = at + hold_times.of(authorization.kind.known()?, category);
            authorization.expires_at = authorization.expires_at.max(Some(until));
            Step::Increment(*by)
        }
        StepRequest::Adjust(to) => Step::Adjust(*to),
        StepRequest::Reverse { amount, reason } => {
            remarks.reason.clone_from(reason);
            Step::Reverse(*amount)
        }
        StepRequest::Capture { amount, is_final, description } => {
            let description = description.clone().unwrap_or_else(|| describe(&authorization.merchant()));
            remarks.posts = Some((MovementKind::Capture, description));
            Step::Capture { amount: *amount, is_final: *is_final }
        }
        StepRequest::Release { reason } => {
            remarks.reason = Some(reason.clone());
            Step::Release
        }
        StepRequest::Expire => Step::Expire,
    };
    Ok((standing.take(step)?, remarks))
}

/// Decides an increment on the limits as they are in the windows in which the payment was authorised at first.
fn decide_increment(write: &CardWrite, authorization: &Authorization, status: AuthorizationStatus, by: Amount) -> Result<Decision> {
    let Some(rules) = &write.rules else { return Ok(decision::decide_increment(&write.to, status, by, None)) };
    let payment = Payment {
        merchant: &authorization.merchant(),
        entry_mode: authorization.entry_mode.known()?,
        card_present: authorization.card_present,
    };
    Ok(rules.decide(authorization.created_at, payment, |rules| decision::decide_increment(&write.to, status, by, Some(rules)))?)
}
