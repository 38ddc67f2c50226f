//! What the statement that writes cards answers.

use std::collections::HashMap;

use chrono::{DateTime, Utc};

use super::{
    super::{card_update::CardOutcome, position_cache::CachedPosition},
    PositionRow,
};
use crate::domain::{card::CardStatus, currency::Currency, id::CustomerId, money::Money, word::Word};

/// What the statement came to.
pub(in super::super) enum Written {
    /// Each update was applied, or is a conflict.
    Outcomes(Outcomes),
    /// Another transaction stored a response under a key, or an authorisation with a network transaction id, after the
    /// statement began. Nothing was written, and its transaction is over.
    LostRace(sqlx::Error),
}

/// The outcomes of the updates of a batch.
#[derive(Default)]
pub(in super::super) struct Outcomes {
    /// By the number of the update, from 1.
    pub(in super::super) by_number: HashMap<i64, CardOutcome>,
    /// The database's clock after reading every position.
    pub(in super::super) now: Option<DateTime<Utc>>,
}

impl Outcomes {
    pub(super) fn of(rows: Vec<Row>) -> Self {
        let mut outcomes = Self::default();
        for row in rows {
            outcomes.now = Some(row.now);
            outcomes.by_number.extend(row.applied.iter().flatten().map(|number| (*number, CardOutcome::Applied)));
            if let Some(number) = row.conflict {
                let used = row.used.clone().unwrap_or_default();
                outcomes.by_number.insert(number, CardOutcome::Conflict { known: row.known(), used });
            }
        }
        outcomes
    }

    /// Whether all of this many updates were applied.
    pub(in super::super) fn are_applied(&self, updates: usize) -> bool {
        self.by_number.len() == updates && self.by_number.values().all(|outcome| matches!(outcome, CardOutcome::Applied))
    }

    /// Whether an update has a key or an id that is used already.
    pub(in super::super) fn is_used(&self) -> bool {
        self.by_number.values().any(|outcome| matches!(outcome, CardOutcome::Conflict { used, .. } if !used.is_empty()))
    }
}

/// A row of the answer: the numbers of the updates that were applied, or a conflict.
pub(super) struct Row {
    pub(super) now: DateTime<Utc>,
    pub(super) applied: Option<Vec<i64>>,
    pub(super) conflict: Option<i64>,
    pub(super) customer_id: Option<CustomerId>,
    pub(super) status: Option<Word<CardStatus>>,
    pub(super) currency: Option<Word<Currency>>,
    pub(super) balance: Option<Money>,
    pub(super) held: Option<Money>,
    pub(super) seq: Option<i64>,
    pub(super) event_seq: Option<i64>,
    pub(super) holds_due_at: Option<DateTime<Utc>>,
    pub(super) rules_version: Option<i64>,
    pub(super) used: Option<Vec<String>>,
}

impl Row {
    /// The position of a card in conflict, unless it does not exist or has a word of a later version.
    fn known(self) -> Option<CachedPosition> {
        let position = PositionRow {
            customer_id: self.customer_id,
            status: self.status?,
            currency: self.currency?,
            balance: self.balance?,
            held: self.held?,
            seq: self.seq?,
            event_seq: self.event_seq?,
            holds_due_at: self.holds_due_at,
            rules_version: self.rules_version?,
        };
        Some(CachedPosition { position: position.try_into().ok()?, as_of: self.now })
    }
}
