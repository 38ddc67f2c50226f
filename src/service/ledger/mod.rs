//! The ledger. Every change of a balance is a movement, written with the balance in one transaction.
//!
//! `domain::posting` decides on a posting, `store` writes it, and `verify` checks the result.
//!
//! Postings that arrive while others are being written share a batch (`batched`). Each has its own response. Those to cards
//! that share limits are decided together, under locks (`limited`). A posting that a batch cannot write takes the pessimistic
//! path: its own transaction (`pessimistic`).

mod author;
mod authorization;
mod batched;
mod card_decisions;
mod card_rules;
mod card_update;
mod card_write;
mod limited;
mod loading;
mod locked_card;
mod merchant_json;
mod pessimistic;
mod position_cache;
mod postings;
mod preview;
mod rows;
mod statement;
mod steps;
mod store;
mod sweep;
mod told;
mod transfers;
mod verify;

use std::sync::Arc;

use chrono::{DateTime, Utc};

pub use self::{
    authorization::{
        Authorization, AuthorizationEntry, AuthorizationFilter, AuthorizationPage, CardBalance, Details, NewAuthorization, Stepped,
    },
    postings::{ForcePost, Linked, NetworkRefund, Original, ReversalKind},
    preview::Previewed,
    statement::{KindTotal, PastBalance, Statement},
    steps::StepRequest,
    told::{Content, Reference},
    transfers::{NewTransfer, Transferred},
    verify::{Checkpoint, Drift, Fault, Progress, verify},
};
use self::{batched::Executor, position_cache::PositionCache};
pub(super) use self::{
    told::{Pointer, tell},
    transfers::{expire_due, move_available},
};
use crate::database::{Pool, Pools};
use crate::telemetry::metrics;

use super::{
    batch::{Batch, Batcher, Call, Config},
    error::{Error, Result},
    idempotency::{IdempotentRequest, InFlightKeys, Key, Outcome},
    unit,
};
use crate::domain::{
    actor::Actor,
    decision::DeclineCode,
    error::Refusal,
    hold_time::HoldTimes,
    id::{AccountId, AuthorizationId, CardId, MovementId, TransferId},
    merchant::NetworkTransactionId,
    money::{Amount, Money},
    posting::MovementKind,
    text::Description,
    word::Word,
};

/// How many batches may be in flight if they stall. Each uses a connection. Together they write less than one full
/// batch does, so they serve only the few calls that arrive alone.
pub(super) const MAX_IN_FLIGHT: u32 = 4;

/// One entry of a card's history.
#[derive(Clone, Debug)]
pub struct Movement {
    /// Its id.
    pub id: MovementId,
    /// Its position in the card's history, from 1 without gaps.
    pub seq: i64,
    /// Its kind.
    pub kind: Word<MovementKind>,
    /// The change of the balance: negative for a purchase.
    pub amount: Money,
    /// The balance after it.
    pub balance_after: Money,
    /// Its description.
    pub description: String,
    /// When it was written, by the database's clock.
    pub created_at: DateTime<Utc>,
    /// The authorisation that it belongs to.
    pub authorization_id: Option<AuthorizationId>,
    /// The transfer that it is a half of.
    pub transfer_id: Option<TransferId>,
    /// The movement that it reverses or refunds.
    pub related_id: Option<MovementId>,
    /// The merchant, as a JSON object.
    pub merchant: Option<String>,
}

/// A movement to write.
#[derive(Clone, Debug)]
pub struct Posting {
    /// The card. None if the request's id is malformed, so that no card can have it.
    pub card: Option<CardId>,
    /// Its kind.
    pub kind: MovementKind,
    /// Its amount.
    pub amount: Amount,
    /// Its description.
    pub description: Description,
}

/// A posting that was written.
#[derive(Clone, Debug)]
pub struct Posted {
    /// Its movement.
    pub movement: Movement,
    /// The card's money after it.
    pub balance: CardBalance,
}

/// A filter of a card's history.
#[derive(Clone, Copy, Debug, Default)]
pub struct MovementFilter {
    /// Only of this kind.
    pub kind: Option<MovementKind>,
    /// Only from this moment on.
    pub from: Option<DateTime<Utc>>,
    /// Only before this moment.
    pub to: Option<DateTime<Utc>>,
}

/// A card of an account.
type CardKey = (AccountId, CardId);

/// What a batch is asked to do.
struct LedgerRequest {
    actor: Actor,
    target: Target,
    work: Work,
}

/// What a request names. A batch finds the card of an authorisation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Target {
    Card(CardId),
    Authorization(AuthorizationId),
}

/// What no two batches work on at a time.
type TargetKey = (AccountId, Target);

enum Work {
    Post {
        posting: Posting,
        idempotent: Option<IdempotentRequest<Posted>>,
    },
    /// The target is the card that the money is taken from.
    Transfer {
        to: CardId,
        transfer: NewTransfer,
        idempotent: Option<IdempotentRequest<Transferred>>,
    },
    Authorize {
        new: Box<NewAuthorization>,
        idempotent: Option<IdempotentRequest<Stepped>>,
    },
    Step {
        request: StepRequest,
        idempotent: Option<IdempotentRequest<Stepped>>,
    },
}

/// What it did.
enum Done {
    Posted(Box<Outcome<Posted>>),
    Transferred(Box<Outcome<Transferred>>),
    Stepped(Box<Outcome<Stepped>>),
}

impl LedgerRequest {
    const fn target_key(&self) -> TargetKey {
        (self.actor.account, self.target)
    }

    /// What no two batches may work on at a time because of it.
    fn target_keys(&self) -> Vec<TargetKey> {
        let other = match &self.work {
            Work::Transfer { to, .. } => Some((self.actor.account, Target::Card(*to))),
            Work::Post { .. } | Work::Authorize { .. } | Work::Step { .. } => None,
        };
        [Some(self.target_key()), other].into_iter().flatten().collect()
    }

    /// The cards that it names.
    fn cards(&self) -> impl Iterator<Item = CardKey> {
        self.target_keys().into_iter().filter_map(|(account, target)| match target {
            Target::Card(card) => Some((account, card)),
            Target::Authorization(_) => None,
        })
    }

    /// Whether the controls and limits of its card matter.
    const fn spends(&self) -> bool {
        match &self.work {
            Work::Post { posting, .. } => matches!(posting.kind, MovementKind::Purchase),
            Work::Transfer { .. } => false,
            Work::Authorize { .. } | Work::Step { .. } => true,
        }
    }

    /// The idempotency key and the fingerprint.
    fn key(&self) -> Option<(&Key, &[u8; 32])> {
        match &self.work {
            Work::Post { idempotent, .. } => idempotent.as_ref().map(|request| (&request.key, &request.fingerprint)),
            Work::Transfer { idempotent, .. } => idempotent.as_ref().map(|request| (&request.key, &request.fingerprint)),
            Work::Authorize { idempotent, .. } | Work::Step { idempotent, .. } => {
                idempotent.as_ref().map(|request| (&request.key, &request.fingerprint))
            }
        }
    }

    fn network_transaction(&self) -> Option<&str> {
        match &self.work {
            Work::Post { .. } | Work::Transfer { .. } | Work::Step { .. } => None,
            Work::Authorize { new, .. } => new.details.network_transaction_id.as_ref().map(NetworkTransactionId::as_str),
        }
    }
}

type LedgerCall = Call<LedgerRequest, Done>;
type LedgerBatch = Batch<TargetKey, LedgerRequest, Done>;

/// The service of money.
#[derive(Clone, Debug)]
pub struct Ledger {
    pool: Pool,
    batcher: Batcher<TargetKey, LedgerRequest, Done>,
    in_flight: Arc<InFlightKeys>,
    cache: Arc<PositionCache>,
    hold_times: Arc<HoldTimes>,
}

impl Ledger {
    pub(super) fn new(pools: Pools, hold_times: HoldTimes) -> Self {
        let (cache, hold_times) = (Arc::new(PositionCache::default()), Arc::new(hold_times));
        let executor = Arc::new(Executor { pools: pools.clone(), cache: Arc::clone(&cache), hold_times: Arc::clone(&hold_times) });
        let on_dropped = || Error::OutcomeUnknown(Arc::new(sqlx::Error::WorkerCrashed));
        let batcher = Batcher::new(Config { name: "ledger", max_in_flight: MAX_IN_FLIGHT, on_dropped }, move |calls, batch| {
            let executor = Arc::clone(&executor);
            async move { executor.run(calls, batch).await }
        });
        Self { pool: pools.requests, batcher, in_flight: Arc::default(), cache, hold_times }
    }

    /// Posts one movement to a card.
    ///
    /// # Errors
    /// The card does not exist. Its status, its available money or the balance limit forbids the movement.
    pub async fn post(&self, actor: &Actor, posting: Posting, idempotent: Option<IdempotentRequest<Posted>>) -> Result<Outcome<Posted>> {
        let kind = posting.kind.name();
        let _key = idempotent.as_ref().map(|request| InFlightKeys::enter(&self.in_flight, request)).transpose()?;
        let outcome = match posting.card {
            Some(card) => {
                let work = Work::Post { posting, idempotent };
                let Done::Posted(outcome) = self.call(actor, Target::Card(card), work).await? else { return Err(confused()) };
                *outcome
            }
            None => Box::pin(pessimistic::post(&self.pool, actor, &posting, idempotent.as_ref())).await?,
        };
        if outcome.done().is_some() {
            metrics::posting_written(kind);
        }
        Ok(outcome)
    }

    /// Decides an authorisation, and holds what it approves. A decline is recorded, and is a success.
    ///
    /// # Errors
    /// The card does not exist. Another authorisation of the account has its network transaction id.
    pub async fn authorize(
        &self,
        actor: &Actor,
        new: NewAuthorization,
        idempotent: Option<IdempotentRequest<Stepped>>,
    ) -> Result<Outcome<Stepped>> {
        let _key = idempotent.as_ref().map(|request| InFlightKeys::enter(&self.in_flight, request)).transpose()?;
        let outcome = match new.card {
            Some(card) => {
                let work = Work::Authorize { new: Box::new(new), idempotent };
                let Done::Stepped(outcome) = self.call(actor, Target::Card(card), work).await? else { return Err(confused()) };
                *outcome
            }
            None => Box::pin(pessimistic::authorize(&self.pool, actor, &new, &self.hold_times, idempotent.as_ref())).await?,
        };
        if let Some(Stepped { authorization, movement, .. }) = outcome.done() {
            metrics::authorization_decided(
                authorization.outcome(),
                authorization.decline_code.as_ref().map_or("none", |code| code.known().map_or("unknown", DeclineCode::name)),
            );
            if movement.is_some() {
                metrics::posting_written(MovementKind::Purchase.name());
            }
        }
        Ok(outcome)
    }

    async fn call(&self, actor: &Actor, target: Target, work: Work) -> Result<Done> {
        let request = LedgerRequest { actor: actor.clone(), target, work };
        self.batcher.call(request.target_keys(), request).await
    }

    /// At most `limit` movements of a card that pass the filter, before position `before` or the newest, newest first.
    ///
    /// # Errors
    /// The database is unavailable. The history of a card that does not exist is empty, and no error.
    pub async fn page(
        &self,
        account: AccountId,
        card: CardId,
        filter: MovementFilter,
        before: Option<i64>,
        limit: i64,
    ) -> Result<Vec<Movement>> {
        let before = before.unwrap_or(i64::MAX);
        unit::read(&self.pool, move |connection| Box::pin(store::page(connection, (account, card), filter, before, limit))).await
    }

    /// One authorisation, with its entries.
    ///
    /// # Errors
    /// [`Refusal::AuthorizationNotFound`].
    pub async fn authorization(&self, account: AccountId, id: AuthorizationId) -> Result<(Authorization, Vec<AuthorizationEntry>)> {
        let found = unit::read(&self.pool, move |connection| Box::pin(store::find_with_entries(connection, account, id))).await?;
        Ok(found.ok_or(Refusal::AuthorizationNotFound)?)
    }

    /// At most `limit` authorisations that pass the filter, before `before` or the newest, newest first. A filter that little
    /// passes is tried on a part of the account at a time.
    ///
    /// # Errors
    /// The database is unavailable.
    pub async fn authorizations(
        &self,
        account: AccountId,
        filter: AuthorizationFilter,
        before: Option<AuthorizationId>,
        limit: i64,
    ) -> Result<AuthorizationPage> {
        let page = unit::read(&self.pool, move |connection| {
            Box::pin(async move { store::authorizations_page(connection, account, &filter, before, limit).await })
        });
        page.await
    }
}

/// The reply to a call of another kind.
fn confused() -> Error {
    Error::internal("replying to a call", "the reply is to another kind of call")
}
