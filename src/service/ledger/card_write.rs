//! What one transaction writes to a card: its movements, its authorisations with their entries, and the position that all
//! of them lead to. Pure: no clock, no database.

use chrono::{DateTime, Utc};

use super::{
    CardKey, Movement,
    author::Author,
    authorization::{Authorization, AuthorizationEntry, CardBalance, Stepped},
    card_rules::CardRules,
    merchant_json::merchant_json,
    told,
};
use crate::domain::{
    authorization::{EntryKind, Standing, Taken},
    decision::Decision,
    error::Refusal,
    feed_event::FeedEventType,
    id::{AuthorizationId, CustomerId, EntryId, MessageId, MovementId, TransferId},
    money::{Amount, Money},
    posting::{self, Entry, MovementKind, Position},
    text::Description,
};

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
    pub(super) transfer: Option<TransferId>,
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
    /// Whether it writes anything.
    pub(super) const fn is_empty(&self) -> bool {
        self.movements.is_empty() && self.entries.is_empty() && self.changed.is_empty()
    }

    pub(super) const fn new(card: CardKey, from: Position) -> Self {
        Self { card, from, to: from, movements: Vec::new(), created: Vec::new(), changed: Vec::new(), entries: Vec::new(), rules: None }
    }

    /// The customer, if the card shares limits with other cards of it.
    pub(super) fn shares_limits_with(&self) -> Option<CustomerId> {
        self.from.customer.filter(|_| self.rules.as_ref().is_some_and(|rules| rules.share_limits))
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
            transfer_id: link.transfer,
            related_id: link.related.map(|(_, id)| id),
            merchant: link.merchant,
        };
        let related_seq = link.related.map(|(seq, _)| seq);
        let overdrawn = entry.overdraws().then(MessageId::new);
        self.movements.push(MovementRow { movement: movement.clone(), sequence, overdrawn, related_seq, by: by.clone() });
        movement
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
            let link =
                Link { authorization: Some(authorization.id), merchant: merchant_json(&authorization.merchant()), ..Link::default() };
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
