//! Real time: which places of a card's history an operation can have met.

use crate::{
    matching::Times,
    operation::Operation,
    verdict::{Rule, Verdict},
};

/// The places that are possible between two times.
#[derive(Debug)]
pub struct Order {
    /// By place, without 0: the latest time at which an event up to here was sent. It only grows.
    sent: Vec<u64>,
    /// By place, without 0: the earliest time at which an event from here on was acknowledged. It only grows.
    acknowledged: Vec<u64>,
}

impl Order {
    /// Checks that no event was acknowledged before an earlier one was sent.
    pub fn check(id: &str, times: &[Times], verdict: &mut Verdict) -> Self {
        let mut sent = Vec::with_capacity(times.len());
        for Times { invoked, .. } in times {
            sent.push(sent.last().copied().unwrap_or(0).max(*invoked));
        }
        let mut acknowledged = vec![u64::MAX; times.len()];
        let mut first = u64::MAX;
        for (place, Times { invoked, acknowledged: answered }) in times.iter().enumerate().rev() {
            if first < *invoked {
                verdict
                    .found(Rule::Order, format!("{id}: an event after the one at {} was acknowledged before that one was sent", place + 1));
            }
            first = first.min(*answered);
            acknowledged[place] = first;
        }
        Self { sent, acknowledged }
    }

    /// The places at which something that began at one time and had ended at another can have been: not before the last
    /// event that was acknowledged by then, and not after one that was sent later.
    pub fn places(&self, from: u64, to: u64) -> std::ops::RangeInclusive<usize> {
        let oldest = self.acknowledged.partition_point(|acknowledged| *acknowledged < from);
        let newest = self.sent.partition_point(|sent| *sent < to);
        oldest..=newest.max(oldest)
    }
}

/// The statuses that a card can have had. Its status changes are sent one at a time.
#[derive(Debug)]
pub struct Statuses<'a>(Vec<(&'a str, u64, u64)>);

impl<'a> Statuses<'a> {
    /// From the changes, of a card that was active before.
    pub fn of(changes: &[&'a Operation]) -> Self {
        let mut changes: Vec<_> = changes.iter().filter_map(|change| Some((change.request.to.as_deref()?, *change))).collect();
        changes.sort_by_key(|(_, change)| change.invoked);
        let mut statuses: Vec<(&str, u64, u64)> = vec![("active", 0, u64::MAX)];
        for (to, change) in changes.into_iter().filter(|(_, change)| change.acknowledged.is_some() || change.may_be_executed) {
            if let (Some((.., until)), Some(acknowledged)) = (statuses.last_mut(), change.acknowledged) {
                *until = acknowledged;
            }
            statuses.push((to, change.invoked, u64::MAX));
        }
        Self(statuses)
    }

    /// The last status.
    pub fn last(&self) -> &'a str {
        self.0.last().map_or("active", |(status, ..)| status)
    }

    /// Whether the card can have had one of these statuses between two times.
    pub fn can_be(&self, one_of: &[&str], from: u64, to: u64) -> bool {
        self.0.iter().any(|(status, begins, ends)| *begins < to && from <= *ends && one_of.contains(status))
    }
}
