//! What one transaction writes to a card: its movements, its authorisations with their entries, and the position that all
//! of them lead to. Pure: no clock, no database.

use chrono::{DateTime, Utc};
use rand::RngExt as _;

use super::{
    CardKey, Movement, Posted, Posting,
    author::Author,
    authorization::{Authorization, AuthorizationEntry, CardBalance, NewAuthorization, Stepped, describe},
    card_rules::{CardRules, Spent},
    merchant_json::merchant_json,
    told,
};
use crate::domain::{
    authorization::{EntryKind, Standing, Step, Taken},
    decision::{self, Decision, Verdict},
    error::Refusal,
    feed_event::FeedEventType,
    hold_time::HoldTimes,
    id::{AuthorizationId, CustomerId, EntryId, MessageId, MovementId},
    merchant::{EntryMode, Merchant, MerchantAmount, MerchantCategory},
    metadata::Metadata,
    money::{Amount, Money},
    posting::{self, Entry, MovementKind, Position},
    spending::Payment,
    text::Description,
};
use crate::service::error as service;

/// A movement with the columns that it does not show.
pub(super) struct MovementRow {
    pub(super) movement: Movement,
    /// Its position in the card's history.
    pub(super) sequence: i64,
    /// The id of the event that tells that it overdrew the card. The event has the next position.
    pub(super) overdrawn: Option<MessageId>,
    pub(super) related_seq: Option<i64>,
    pub(super) by: Author,
}

/// An entry with the columns that it does not show.
pub(super) struct EntryRow {
    pub(super) authorization: AuthorizationId,
    pub(super) entry: AuthorizationEntry,
    pub(super) previous_sequence: Option<i64>,
    pub(super) card_balance: Money,
    pub(super) card_held: Money,
    pub(super) movement_seq: Option<i64>,
    /// The type of the event that tells of it, and what the event keeps.
    pub(super) event_type: FeedEventType,
    pub(super) state: String,
    pub(super) by: Author,
}

/// Everything that is written to one card at once.
pub(super) struct CardWrite {
    pub(super) card: CardKey,
    /// The position that it was decided on.
    pub(super) from: Position,
    /// The position that it leads to.
    pub(super) to: Position,
    pub(super) movements: Vec<MovementRow>,
    pub(super) created: Vec<Authorization>,
    pub(super) changed: Vec<Authorization>,
    pub(super) entries: Vec<EntryRow>,
    /// The controls and limits that apply to the card, if there are any, with what is spent of them.
    pub(super) rules: Option<Box<CardRules>>,
}

/// What a movement belongs to.
#[derive(Clone, Debug, Default)]
pub(super) struct Link {
    pub(super) authorization: Option<AuthorizationId>,
    /// The movement of the same card that it reverses or refunds.
    pub(super) related: Option<(i64, MovementId)>,
    /// As a JSON object.
    pub(super) merchant: Option<String>,
}

/// What an entry says beside the sums.
#[derive(Default)]
pub(super) struct Remarks {
    pub(super) decision: Option<Decision>,
    pub(super) reason: Option<String>,
    pub(super) posts: Option<(MovementKind, Description)>,
}

impl CardWrite {
    pub(super) const fn new(card: CardKey, from: Position) -> Self {
        Self { card, from, to: from, movements: Vec::new(), created: Vec::new(), changed: Vec::new(), entries: Vec::new(), rules: None }
    }

    /// The customer whose limits the card shares with other cards.
    pub(super) fn shares_limits_with(&self) -> Option<CustomerId> {
        self.from.customer.filter(|_| self.rules.as_ref().is_some_and(|rules| rules.has_customer_limits()))
    }

    /// Does this, or leaves everything as it was.
    ///
    /// # Errors
    /// Those of `add`.
    pub(super) fn try_to<T, E>(&mut self, add: impl FnOnce(&mut Self) -> Result<T, E>) -> Result<T, E> {
        let (to, movements, created, changed, entries) =
            (self.to, self.movements.len(), self.created.len(), self.changed.len(), self.entries.len());
        let rules = self.rules.clone();
        add(self).inspect_err(|_| {
            self.to = to;
            self.movements.truncate(movements);
            self.created.truncate(created);
            self.changed.truncate(changed);
            self.entries.truncate(entries);
            self.rules = rules;
        })
    }

    /// Adds a permitted movement.
    pub(super) fn post(
        &mut self,
        (at, by): (DateTime<Utc>, &Author),
        kind: MovementKind,
        entry: Entry,
        description: &Description,
        link: Link,
    ) -> Movement {
        let sequence = self.to.sequence + 1;
        self.to = self.to.after(entry);
        let movement = Movement {
            id: MovementId::new(),
            seq: entry.seq,
            kind: kind.into(),
            amount: entry.amount,
            balance_after: entry.balance_after,
            description: description.as_str().to_owned(),
            created_at: at,
            authorization_id: link.authorization,
            related_id: link.related.map(|(_, id)| id),
            merchant: link.merchant,
        };
        let related_seq = link.related.map(|(seq, _)| seq);
        let overdrawn = entry.overdraws().then(MessageId::new);
        self.movements.push(MovementRow { movement: movement.clone(), sequence, overdrawn, related_seq, by: by.clone() });
        movement
    }

    /// Decides a movement that is asked for, and adds it. A purchase of a single message does not say where it is made.
    ///
    /// # Errors
    /// The card's status, its controls and limits, its available money or the balance limit forbids the movement, or what was
    /// spent of its limits was not read.
    pub(super) fn take_posting(&mut self, (at, by): (DateTime<Utc>, &Author), posting: &Posting) -> service::Result<Posted> {
        let Posting { kind, amount, description, .. } = posting;
        let entry = posting::post(self.to, *kind, *amount);
        if let (MovementKind::Purchase, Ok(_) | Err(Refusal::InsufficientFunds(_)), Some(rules)) = (kind, &entry, &mut self.rules) {
            let merchant = Merchant::default();
            let payment = Payment { merchant: &merchant, entry_mode: EntryMode::default(), card_present: None };
            let decision = rules.decide(at, payment, |rules| decision::decide_purchase(*amount, rules))?;
            if decision.verdict.decline().is_some() {
                return Err(Refusal::PaymentDeclined(Box::new(decision)).into());
            }
            rules.follow_movement(&merchant, None, Spent::new(at, amount.money()));
        }
        let movement = self.post((at, by), *kind, entry?, description, Link::default());
        Ok(Posted { movement, balance: self.balance() })
    }

    /// Decides an authorisation, and adds it.
    ///
    /// # Errors
    /// The card would hold more, or owe more, than it can, or what was spent of its limits was not read. Nothing may be written
    /// then.
    pub(super) fn authorize(
        &mut self,
        (at, by): (DateTime<Utc>, &Author),
        new: &NewAuthorization,
        hold_times: &HoldTimes,
    ) -> service::Result<Stepped> {
        let decision = self.decide(at, new)?;
        let verdict = decision.verdict.clone();
        let standing = verdict.standing();
        let expires_at = (standing.held > Money::ZERO && !new.is_purchase).then(|| {
            new.expires_at
                .unwrap_or_else(|| at + hold_times.of(new.asked.kind, new.details.merchant.category.as_ref().map(MerchantCategory::as_str)))
        });
        let mut authorization = self.new_authorization(at, new, &verdict);
        authorization.expires_at = expires_at;
        if verdict.decline().is_some() || matches!(verdict, Verdict::StandIn(_)) {
            authorization.checks = Some(to_json(&decision.checks));
        }
        let amount = verdict.decline().map_or(standing.authorized, |_| new.asked.amount);
        let taken = Taken { standing, kind: verdict.entry_kind(), amount, captures: None };
        let (entry, _) = self.enter((at, by), &mut authorization, taken, Remarks::default())?;
        let (mut entries, mut movement) = (vec![entry], None);
        if new.is_purchase && standing.held > Money::ZERO {
            let taken = standing.take(Step::Capture { amount: None, is_final: true })?;
            let description = describe(&new.details.merchant);
            let remarks = Remarks { posts: Some((MovementKind::Purchase, description)), ..Remarks::default() };
            let (entry, posted) = self.enter((at, by), &mut authorization, taken, remarks)?;
            entries.push(entry);
            movement = posted;
        }
        self.created.push(authorization.clone());
        Ok(Stepped { authorization, entries, movement, balance: self.balance() })
    }

    fn decide(&self, at: DateTime<Utc>, NewAuthorization { asked, details, .. }: &NewAuthorization) -> service::Result<Decision> {
        let Some(rules) = &self.rules else { return Ok(decision::decide(&self.to, asked, None)) };
        let payment = Payment { merchant: &details.merchant, entry_mode: details.entry_mode, card_present: details.card_present };
        Ok(rules.decide(at, payment, |rules| decision::decide(&self.to, asked, Some(rules)))?)
    }

    fn new_authorization(&self, at: DateTime<Utc>, new: &NewAuthorization, verdict: &Verdict) -> Authorization {
        let NewAuthorization { asked, details, .. } = new;
        let Merchant { id, name, category, city, country } = details.merchant.clone();
        let decline = verdict.decline();
        Authorization {
            account_id: self.card.0,
            id: AuthorizationId::new(),
            card_id: self.card.1,
            customer_id: self.to.customer,
            currency: self.to.currency.into(),
            status: Standing::DECLINED.status.into(),
            kind: asked.kind.into(),
            requested: asked.amount,
            authorized: Money::ZERO,
            held: Money::ZERO,
            captured: Money::ZERO,
            excess: Money::ZERO,
            reversed: Money::ZERO,
            expired: Money::ZERO,
            released: Money::ZERO,
            capture_reversed: Money::ZERO,
            refunded: Money::ZERO,
            refund_reversed: Money::ZERO,
            merchant_amount: details.merchant_amount.map(MerchantAmount::minor),
            merchant_currency: details.merchant_amount.map(|amount| amount.currency().code().to_owned()),
            merchant_id: id,
            merchant_name: name,
            merchant_category: category,
            merchant_city: city,
            merchant_country: country,
            entry_mode: details.entry_mode.into(),
            card_present: details.card_present,
            network_transaction_id: details.network_transaction_id.clone(),
            metadata: details.metadata.as_ref().map(Metadata::to_json),
            approval_code: decline.is_none().then(|| format!("{:06}", rand::rng().random_range(0..1_000_000))),
            response_code: verdict.response_code().to_owned(),
            decided_by: verdict.decided_by().into(),
            decline_code: decline.map(|decline| decline.code.into()),
            decline_message: decline.map(|decline| decline.message.clone()),
            checks: None,
            last_ordinal: 0,
            entry_sequence: 0,
            sequence: 0,
            card_sequence: self.to.sequence,
            created_at: at,
            expires_at: None,
            updated_at: at,
        }
    }

    /// Adds a step that an authorisation of the card has taken.
    ///
    /// # Errors
    /// The card would hold more, or owe more, than it can. Nothing may be written then.
    pub(super) fn enter(
        &mut self,
        (at, by): (DateTime<Utc>, &Author),
        authorization: &mut Authorization,
        taken: Taken,
        remarks: Remarks,
    ) -> Result<(AuthorizationEntry, Option<Movement>), Refusal> {
        let Taken { standing, kind, amount, captures } = taken;
        let held_before = authorization.held;
        let held = self.to.held.less(held_before).plus(standing.held).ok_or(Refusal::BalanceLimitExceeded)?;
        if let Some(rules) = &mut self.rules {
            // A declined one is nothing before, and nothing after.
            let before = (authorization.last_ordinal > 0).then(|| authorization.standing_as(standing.status));
            rules.follow(authorization, before.as_ref(), &standing, at);
        }
        authorization.stand(standing);
        self.to.sequence += 1;
        let sequence = self.to.sequence;
        let movement = if let (Some(captured), Some((movement_kind, description))) = (captures, remarks.posts) {
            let posted = posting::post_unconditionally(self.to, movement_kind, captured)?;
            let link = Link { authorization: Some(authorization.id), related: None, merchant: merchant_json(&authorization.merchant()) };
            Some(self.post((at, by), movement_kind, posted, &description, link))
        } else {
            None
        };
        if let Some(due) = authorization.expires_at.filter(|_| standing.held > Money::ZERO) {
            self.to.add_hold_due(due, at);
        }
        self.to.held = held;
        let (decline, checks) = match remarks.decision {
            Some(decision) => (decision.verdict.decline().cloned(), Some(to_json(&decision.checks))),
            None => (None, None),
        };
        let entry = AuthorizationEntry {
            id: EntryId::new(),
            ordinal: authorization.last_ordinal + 1,
            kind: kind.into(),
            amount,
            held_before,
            held_after: standing.held,
            movement_id: movement.as_ref().map(|movement| movement.id),
            sequence,
            decline_code: decline.as_ref().map(|decline| decline.code.into()),
            decline_message: decline.map(|decline| decline.message),
            checks,
            reason: remarks.reason,
            created_at: at,
        };
        self.entries.push(EntryRow {
            authorization: authorization.id,
            entry: entry.clone(),
            previous_sequence: (authorization.last_ordinal > 0).then_some(authorization.entry_sequence),
            card_balance: self.to.balance,
            card_held: self.to.held,
            movement_seq: movement.as_ref().map(|movement| movement.seq),
            event_type: FeedEventType::of_entry(kind, standing.status),
            state: told::state_of(authorization),
            by: by.clone(),
        });
        authorization.last_ordinal = entry.ordinal;
        authorization.entry_sequence = entry.sequence;
        authorization.sequence = entry.sequence;
        authorization.updated_at = at;
        Ok((entry, movement))
    }

    /// Takes back an authorisation that changes, to change it once more: each is written once.
    pub(super) fn take_changed(&mut self, id: AuthorizationId) -> Option<Authorization> {
        let index = self.changed.iter().position(|changed| changed.id == id)?;
        Some(self.changed.swap_remove(index))
    }

    /// Adds a step that an authorisation of the card has taken, and the authorisation after it.
    ///
    /// # Errors
    /// Those of [`Self::enter`].
    pub(super) fn step(
        &mut self,
        at_by: (DateTime<Utc>, &Author),
        mut authorization: Authorization,
        taken: Taken,
        remarks: Remarks,
    ) -> Result<Stepped, Refusal> {
        let (entry, movement) = self.enter(at_by, &mut authorization, taken, remarks)?;
        // Each is written once.
        self.changed.retain(|changed| changed.id != authorization.id);
        self.changed.push(authorization.clone());
        Ok(Stepped { authorization, entries: vec![entry], movement, balance: self.balance() })
    }

    /// Adds a movement of the network that changes no hold, and the authorisation that it belongs to.
    ///
    /// # Errors
    /// The card would hold more, or owe more, than it can. Nothing may be written then.
    pub(super) fn post_linked(
        &mut self,
        (at, by): (DateTime<Utc>, &Author),
        (kind, amount): (MovementKind, Amount),
        description: &Description,
        link: Link,
        authorization: Option<(Authorization, Standing)>,
    ) -> Result<(Movement, Option<Authorization>), Refusal> {
        let entry = posting::post_unconditionally(self.to, kind, amount)?;
        let sequence = self.to.sequence + 1;
        let movement = self.post((at, by), kind, entry, description, link);
        let authorization = authorization.map(|(mut authorization, standing)| {
            if let Some(rules) = &mut self.rules {
                rules.follow(&authorization, Some(&authorization.standing_as(standing.status)), &standing, at);
            }
            authorization.stand(standing);
            authorization.sequence = sequence;
            authorization.updated_at = at;
            self.changed.push(authorization.clone());
            authorization
        });
        Ok((movement, authorization))
    }

    /// The card's money, as far as it is written.
    pub(super) const fn balance(&self) -> CardBalance {
        CardBalance::of(self.card.1, &self.to)
    }

    /// The kinds of the steps that authorisations took after they were decided.
    pub(super) fn step_kinds(&self) -> impl Iterator<Item = EntryKind> + '_ {
        self.entries.iter().filter(|row| row.entry.ordinal > 1).filter_map(|row| row.entry.kind.known().ok())
    }
}

/// Serialising these types to memory cannot fail.
pub(super) fn to_json(value: &impl serde::Serialize) -> String {
    serde_json::to_string(value).unwrap_or_default()
}
