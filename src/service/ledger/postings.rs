//! The postings of the network that are no step of an authorisation: captures without one, refunds, and the reversals of
//! both. Each is one transaction under the lock of the card's row, which comes before the lock of the authorisation's.

use sqlx::PgConnection;

use super::{
    CardKey, Ledger, Movement,
    author::Author,
    authorization::{Authorization, CardBalance, Stepped},
    card_rules::Spent,
    card_write::{Link, Remarks},
    locked_card::LockedCard,
    merchant_json::{merchant_json, merchant_of},
    store,
};
use crate::domain::{
    actor::Actor,
    authorization::{Standing, Step},
    error::Refusal,
    id::{AccountId, AuthorizationId, CardId, MovementId},
    merchant::{Merchant, NetworkTransactionId},
    money::{Amount, Money},
    posting::MovementKind,
    text::Description,
};
use crate::service::{
    error::{Error, Result},
    idempotency::{IdempotentRequest, Outcome},
    unit::Unit,
};
use crate::telemetry::metrics;

/// A capture that no authorisation preceded, or perhaps one that is found by the network's id.
#[derive(Clone, Debug)]
pub struct ForcePost {
    /// The card. None if the request's id is malformed, so that no card can have it.
    pub card: Option<CardId>,
    /// How much.
    pub amount: Amount,
    /// The description of the movement.
    pub description: Description,
    /// The merchant.
    pub merchant: Merchant,
    /// The network's id of the transaction.
    pub network_transaction_id: Option<NetworkTransactionId>,
}

/// What a refund returns the money of.
#[derive(Clone, Debug)]
pub enum Original {
    /// Of nothing that is known.
    None,
    /// Of an authorisation. None if the request's id is malformed.
    Authorization(Option<AuthorizationId>),
    /// Of a capture or a purchase. None if the request's id is malformed.
    Movement(Option<MovementId>),
    /// Of the authorisation with the network's id, if there is one.
    NetworkTransaction(NetworkTransactionId),
}

/// A refund of the network.
#[derive(Clone, Debug)]
pub struct NetworkRefund {
    /// The card. None if the request's id is malformed, so that no card can have it.
    pub card: Option<CardId>,
    /// How much.
    pub amount: Amount,
    /// The description of the movement.
    pub description: Description,
    /// The merchant.
    pub merchant: Merchant,
    /// What it returns the money of.
    pub original: Original,
}

/// A posting of the network that was written.
#[derive(Clone, Debug)]
pub struct Linked {
    /// The movement.
    pub movement: Movement,
    /// The authorisation that it belongs to, after it.
    pub authorization: Option<Authorization>,
    /// The card's money after it.
    pub balance: CardBalance,
}

impl Ledger {
    /// Captures money that no hold covers. If it has the network's id of an authorisation of the card, it is that one's capture.
    ///
    /// # Errors
    /// The card does not exist, or its balance would leave its bounds.
    pub async fn force_post(
        &self,
        actor: &Actor,
        request: ForcePost,
        idempotent: Option<&IdempotentRequest<Linked>>,
    ) -> Result<Outcome<Linked>> {
        let outcome = self.once(idempotent, &PostCapture { actor, request: &request }).await?;
        Ok(self.posted(actor.account, outcome))
    }

    /// Returns money to a card, for a merchant.
    ///
    /// # Errors
    /// The card, or what the refund names, does not exist. More would be refunded than is left of it. The card's balance would
    /// leave its bounds.
    pub async fn refund(
        &self,
        actor: &Actor,
        request: NetworkRefund,
        idempotent: Option<&IdempotentRequest<Linked>>,
    ) -> Result<Outcome<Linked>> {
        let outcome = self.once(idempotent, &Refund { actor, request: &request }).await?;
        Ok(self.posted(actor.account, outcome))
    }

    /// Takes a movement back, or a part of it: a capture or a purchase if `kind` is a capture's reversal, a refund if it is a
    /// refund's. The id is None if the request's id is malformed.
    ///
    /// # Errors
    /// The movement does not exist, less is left of it, or the card's balance would leave its bounds.
    pub async fn reverse(
        &self,
        actor: &Actor,
        movement: Option<MovementId>,
        kind: ReversalKind,
        amount: Option<Amount>,
        idempotent: Option<&IdempotentRequest<Linked>>,
    ) -> Result<Outcome<Linked>> {
        let outcome = self.once(idempotent, &Reverse { actor, movement, kind, amount }).await?;
        Ok(self.posted(actor.account, outcome))
    }

    fn posted(&self, account: AccountId, outcome: Outcome<Linked>) -> Outcome<Linked> {
        if let Some(Linked { movement, balance, .. }) = outcome.done() {
            self.forget((account, balance.card));
            metrics::posting_written(movement.kind.known().map_or("unknown", MovementKind::name));
        }
        outcome
    }
}

/// Which movements are taken back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReversalKind {
    /// Captures and purchases.
    Capture,
    /// Refunds.
    Refund,
}

impl ReversalKind {
    const fn of(self, original: MovementKind) -> Option<MovementKind> {
        match (self, original) {
            (Self::Capture, MovementKind::Capture | MovementKind::Purchase) => Some(MovementKind::CaptureReversal),
            (Self::Refund, MovementKind::Refund) => Some(MovementKind::RefundReversal),
            _ => None,
        }
    }
}

struct PostCapture<'a> {
    actor: &'a Actor,
    request: &'a ForcePost,
}

impl Unit for PostCapture<'_> {
    type Output = Linked;

    async fn run(&self, connection: &mut PgConnection) -> Result<Linked> {
        let ForcePost { card, amount, description, merchant, network_transaction_id } = self.request;
        let (account, by) = (self.actor.account, Author::from(self.actor));
        let card = card.ok_or(Refusal::CardNotFound)?;
        let mut locked = LockedCard::lock(connection, (account, card)).await?;
        if let Some(found) = network_authorization(connection, (account, card), network_transaction_id.as_ref()).await? {
            let authorization = locked.authorization(connection, found).await?;
            // What was declined has no hold that could be captured: its clearing stands by itself.
            if let Ok(taken) = authorization.standing()?.take(Step::Capture { amount: Some(*amount), is_final: true }) {
                let remarks = Remarks { posts: Some((MovementKind::Capture, description.clone())), ..Remarks::default() };
                let Stepped { authorization, movement, balance, .. } =
                    locked.write.step((locked.at, &by), authorization, taken, remarks)?;
                locked.write(connection, Some(self.actor)).await?;
                let movement = movement.ok_or_else(|| Error::internal("capturing", "a capture posts a movement"))?;
                return Ok(Linked { movement, authorization: Some(authorization), balance });
            }
        }
        let link = Link { merchant: merchant_json(merchant), ..Link::default() };
        if let Some(rules) = &mut locked.write.rules {
            rules.follow_movement(merchant, None, Spent::new(locked.at, amount.money()));
        }
        let (movement, _) = locked.write.post_linked((locked.at, &by), (MovementKind::Capture, *amount), description, link, None)?;
        let balance = locked.write.balance();
        locked.write(connection, Some(self.actor)).await?;
        Ok(Linked { movement, authorization: None, balance })
    }
}

/// The authorisation of a card with the network's id.
async fn network_authorization(
    connection: &mut PgConnection,
    (account, card): CardKey,
    id: Option<&NetworkTransactionId>,
) -> Result<Option<AuthorizationId>> {
    let Some(id) = id else { return Ok(None) };
    let found = store::by_network_transaction(connection, account, id).await?;
    Ok(found.filter(|(_, of)| *of == card).map(|(authorization, _)| authorization))
}

struct Refund<'a> {
    actor: &'a Actor,
    request: &'a NetworkRefund,
}

impl Unit for Refund<'_> {
    type Output = Linked;

    async fn run(&self, connection: &mut PgConnection) -> Result<Linked> {
        let NetworkRefund { card, amount, description, merchant, original } = self.request;
        let account = self.actor.account;
        let card = card.ok_or(Refusal::CardNotFound)?;
        let mut locked = LockedCard::lock(connection, (account, card)).await?;
        let mut link = Link { merchant: merchant_json(merchant), ..Link::default() };
        match original {
            Original::None => {}
            Original::Authorization(id) => link.authorization = Some(id.ok_or(Refusal::AuthorizationNotFound)?),
            Original::NetworkTransaction(id) => link.authorization = network_authorization(connection, (account, card), Some(id)).await?,
            Original::Movement(id) => {
                let id = id.ok_or(Refusal::MovementNotFound)?;
                let movement = store::find_original(connection, account, id).await?.filter(|movement| movement.card_id == card);
                let movement = movement.ok_or(Refusal::MovementNotFound)?;
                ReversalKind::Capture.of(movement.kind.known()?).ok_or(Refusal::MovementNotFound)?;
                if movement.authorization_id.is_none() {
                    let before = spent_of(connection, (account, card), &movement).await?;
                    if amount.money() > before.left() {
                        return Err(Refusal::RefundExceedsCapture(before.left()).into());
                    }
                    if let Some(rules) = &mut locked.write.rules {
                        let after = Spent { refunded: before.refunded.less(amount.money().negated()), ..before };
                        rules.follow_movement(&merchant_of(movement.merchant.as_deref()), Some(before), after);
                    }
                }
                link.authorization = movement.authorization_id;
                link.related = Some((movement.seq, id));
                link.merchant = link.merchant.or(movement.merchant);
            }
        }
        let authorization = match link.authorization {
            Some(id) => {
                let authorization = locked.authorization(connection, id).await?;
                let standing = authorization.standing()?.refund(*amount)?;
                link.merchant = link.merchant.or_else(|| merchant_json(&authorization.merchant()));
                Some((authorization, standing))
            }
            None => None,
        };
        post(connection, self.actor, locked, (MovementKind::Refund, *amount), description, link, authorization).await
    }
}

/// What a movement of a locked card has moved, and what reversals and refunds that name it have given back.
async fn spent_of(connection: &mut PgConnection, card: CardKey, original: &store::Original) -> Result<Spent> {
    let store::GivenBack { reversed, refunded } = store::given_back(connection, card, original.seq).await?;
    let amount = if original.amount < Money::ZERO { original.amount.negated() } else { original.amount };
    Ok(Spent { created_at: original.created_at, amount, reversed, refunded })
}

/// Writes a movement of the network, with the authorisation that it belongs to.
async fn post(
    connection: &mut PgConnection,
    actor: &Actor,
    mut locked: LockedCard,
    posting: (MovementKind, Amount),
    description: &Description,
    link: Link,
    authorization: Option<(Authorization, Standing)>,
) -> Result<Linked> {
    let by = Author::from(actor);
    let (movement, authorization) = locked.write.post_linked((locked.at, &by), posting, description, link, authorization)?;
    let balance = locked.write.balance();
    locked.write(connection, Some(actor)).await?;
    Ok(Linked { movement, authorization, balance })
}

struct Reverse<'a> {
    actor: &'a Actor,
    movement: Option<MovementId>,
    kind: ReversalKind,
    amount: Option<Amount>,
}

impl Unit for Reverse<'_> {
    type Output = Linked;

    async fn run(&self, connection: &mut PgConnection) -> Result<Linked> {
        let account = self.actor.account;
        let id = self.movement.ok_or(Refusal::MovementNotFound)?;
        let original = store::find_original(connection, account, id).await?.ok_or(Refusal::MovementNotFound)?;
        let kind = self.kind.of(original.kind.known()?).ok_or(Refusal::MovementNotFound)?;
        let card = (account, original.card_id);
        let mut locked = LockedCard::lock(connection, card).await?;
        let before = spent_of(connection, card, &original).await?;
        let mut left = before.left();
        let authorization = match original.authorization_id {
            Some(id) => Some(locked.authorization(connection, id).await?),
            None => None,
        };
        if let (Some(authorization), ReversalKind::Capture) = (&authorization, self.kind) {
            // Refunds may name the authorisation and not this capture.
            left = left.min(authorization.standing()?.returnable());
        }
        let amount = self.amount.or_else(|| Amount::new(left)).filter(|amount| amount.money() <= left);
        let amount = amount.ok_or(Refusal::ReversalExceedsOriginal(left))?;
        let authorization = if let Some(authorization) = authorization {
            let standing = authorization.standing()?;
            let standing = match self.kind {
                ReversalKind::Capture => standing.reverse_capture(amount)?,
                ReversalKind::Refund => standing.reverse_refund(amount)?,
            };
            Some((authorization, standing))
        } else {
            self.follow(connection, &mut locked, &original, (before, amount)).await?;
            None
        };
        let description: Description = original.description.parse().unwrap_or_else(|_| Description::of_a_payment());
        let link = Link {
            authorization: original.authorization_id,
            related: Some((original.seq, id)),
            merchant: original.merchant,
            ..Link::default()
        };
        post(connection, self.actor, locked, (kind, amount), &description, link, authorization).await
    }
}

impl Reverse<'_> {
    /// Follows what a movement without an authorisation has spent of limits: the one that is reversed, or the one that a
    /// reversed refund has returned the money of.
    async fn follow(
        &self,
        connection: &mut PgConnection,
        locked: &mut LockedCard,
        original: &store::Original,
        (before, amount): (Spent, Amount),
    ) -> Result<()> {
        let Some(rules) = &mut locked.write.rules else { return Ok(()) };
        match (self.kind, original.related_seq) {
            (ReversalKind::Capture, _) => {
                let after = Spent { reversed: before.reversed.less(amount.money().negated()), ..before };
                rules.follow_movement(&merchant_of(original.merchant.as_deref()), Some(before), after);
            }
            (ReversalKind::Refund, Some(seq)) => {
                let refunded = store::original_at(connection, locked.write.card, seq).await?;
                let before = spent_of(connection, locked.write.card, &refunded).await?;
                let after = Spent { refunded: before.refunded.less(amount.money()), ..before };
                rules.follow_movement(&merchant_of(refunded.merchant.as_deref()), Some(before), after);
            }
            (ReversalKind::Refund, None) => {}
        }
        Ok(())
    }
}
