//! An authorisation, replayed from its entries and movements. The arithmetic is written here once more: the checker shares
//! none with the service.

use record::Sums;

use crate::ledger::Entry;

/// The amounts and the status of an authorisation at some time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    pub status: &'static str,
    pub sums: Sums,
    /// The number of its entries so far.
    ordinal: i64,
    /// The sequence number of its newest entry.
    newest_entry: i64,
    /// The sequence number of its newest entry or movement.
    pub sequence: i64,
}

impl Standing {
    /// The authorisation after its first entry.
    pub fn begin(entry: &Entry) -> Result<Self, String> {
        let status = match entry.kind.as_str() {
            "authorization" | "partial_authorization" if entry.amount > 0 => "pending",
            "declined" => "declined",
            kind => return Err(format!("it begins with the {kind} of {}", entry.amount)),
        };
        let amount = if status == "pending" { entry.amount } else { 0 };
        let sums = Sums { authorized: amount, held: amount, ..Sums::default() };
        let begun = Self { status, sums, ordinal: 0, newest_entry: 0, sequence: 0 };
        begun.with(entry, 0)
    }

    /// What was captured and not given back, by reversals or by refunds.
    pub const fn returnable(&self) -> i64 {
        let Sums { captured, capture_reversed, refunded, refund_reversed, .. } = self.sums;
        captured - capture_reversed - (refunded - refund_reversed)
    }

    /// The authorisation after one more entry, which captures what it names, if it captures.
    pub fn step(&self, entry: &Entry) -> Result<Self, String> {
        let mut next = self.clone();
        let Sums { authorized, held, captured, excess, reversed, expired, released, .. } = &mut next.sums;
        let (amount, before) = (entry.amount, *held);
        let is_pending = self.status == "pending";
        let ended_as = match entry.kind.as_str() {
            "increment" if is_pending && amount > 0 => {
                *authorized += amount;
                *held += amount;
                "pending"
            }
            "increment_declined" if amount > 0 => self.status,
            "adjustment" if is_pending && before + amount >= 0 => {
                *authorized += amount.max(0);
                *reversed += (-amount).max(0);
                *held += amount;
                "reversed"
            }
            "reversal" if (0..=before).contains(&amount) => {
                *reversed += amount;
                *held -= amount;
                "reversed"
            }
            "capture" | "late_capture" if amount > 0 && is_pending == (entry.kind == "capture") && self.status != "declined" => {
                *captured += amount;
                *excess += (amount - before).max(0);
                let rest = (before - amount).max(0);
                // Whether the capture was final is compared with its request.
                *held = if entry.held_after == 0 { 0 } else { rest };
                *released += rest - *held;
                "captured"
            }
            "expiry" | "release" if is_pending && amount == before => {
                *expired += amount;
                *held = 0;
                "expired"
            }
            kind => return Err(format!("a {kind} of {amount} on one that is {} and holds {before}", self.status)),
        };
        if entry.kind == "late_capture" {
            next.status = "captured";
        } else if is_pending && next.sums.held == 0 {
            next.status = if next.sums.captured > 0 { "captured" } else { ended_as };
        }
        next.with(entry, before)
    }

    /// The authorisation after a movement that names it and is not a capture of it.
    pub fn posted(&self, kind: &str, amount: i64, sequence: i64) -> Self {
        let mut next = Self { sequence, ..self.clone() };
        match kind {
            "capture_reversal" => next.sums.capture_reversed += amount,
            "refund" => next.sums.refunded += amount,
            "refund_reversal" => next.sums.refund_reversed -= amount,
            _ => {}
        }
        next
    }

    fn with(self, entry: &Entry, before: i64) -> Result<Self, String> {
        let Sums { authorized, held, captured, excess, reversed, expired, released, .. } = self.sums;
        let previous = (self.ordinal > 0).then_some(self.newest_entry);
        if (entry.held_before, entry.held_after) != (before, held) {
            return Err(format!("a {} from {before} to {held}, not from {} to {}", entry.kind, entry.held_before, entry.held_after));
        }
        if (entry.ordinal, entry.previous) != (self.ordinal + 1, previous) {
            return Err(format!("entry {} after {:?} follows entry {} at {previous:?}", entry.ordinal, entry.previous, self.ordinal));
        }
        if authorized != held + reversed + expired + released + captured - excess {
            return Err(format!("{:?} does not add up", self.sums));
        }
        Ok(Self { ordinal: entry.ordinal, newest_entry: entry.sequence, sequence: entry.sequence, ..self })
    }
}
