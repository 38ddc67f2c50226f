//! The rules for each card: what happened to it, the operation behind it, its order in real time, and why the rest was
//! refused.

use std::collections::HashMap;

use record::{Body, Form, Kind};

use crate::{
    ledger::Card,
    matching::{self, Matched},
    operation::{Decision, History, Operation, Read},
    order::{Order, Statuses},
    standing::Standing,
    timeline::{Event, Timeline},
    told,
    verdict::{Rule, Verdict},
};

/// Checks the complete history of a card against the database, and the answers that are stored under its keys.
pub fn judge(id: &str, history: &History, card: &Card, stored: &HashMap<String, i16>, verdict: &mut Verdict) {
    verdict.internal_errors += history.internal_errors;
    for what in &history.forbidden {
        verdict.found(Rule::Undecided, what.clone());
    }
    for operation in &history.operations {
        check_answers(operation, verdict);
        check_stored(operation, stored, verdict);
    }
    verdict.movements += card.movements.len();
    verdict.entries += card.entries.len();
    told::check(id, card, verdict);
    let timeline = Timeline::replay(id, card, verdict);
    let matched = matching::match_events(id, &timeline, &history.operations, verdict);
    let order = Order::check(id, &matched.times, verdict);
    let changes: Vec<_> = history.operations.iter().filter(|operation| operation.request.kind == Kind::Status).collect();
    let statuses = Statuses::of(&changes);
    if card.status != statuses.last() {
        verdict.found(Rule::Status, format!("{id} is {}, but was last set to {}", card.status, statuses.last()));
    }
    let judge = Judge { id, timeline: &timeline, matched: &matched, order: &order, statuses: &statuses };
    for place in 0..timeline.events.len() {
        judge.check_event(place, verdict);
    }
    for read in &history.reads {
        judge.check_read(read, verdict);
    }
    for operation in &history.operations {
        judge.check_refusal(operation, verdict);
    }
}

fn check_answers(operation: &Operation, verdict: &mut Verdict) {
    match operation.decisions.as_slice() {
        [Decision::Executed(_)] => {
            verdict.acknowledged += 1;
            verdict.replayed_only += usize::from(!operation.has_original_answer);
            if !operation.has_original_answer && !operation.may_be_executed {
                verdict.found(Rule::Denied, format!("{} was executed, but every answer denied it", operation.key()));
            }
        }
        [Decision::Refused(..)] => verdict.refused += 1,
        // Every later attempt comes too late as well, so that one at the end tells that nothing was done.
        [] if operation.came_too_late => verdict.refused += 1,
        [] if !operation.request.keyed => verdict.unanswered += 1,
        [] => verdict.found(Rule::Undecided, format!("{} has no definitive answer", operation.key())),
        several => verdict.found(Rule::Answers, format!("{} was answered {several:?}", operation.key())),
    }
}

/// What was done is stored under its key. A refusal may be.
fn check_stored(operation: &Operation, stored: &HashMap<String, i16>, verdict: &mut Verdict) {
    if !operation.request.keyed {
        return;
    }
    let stored = stored.get(operation.key()).copied();
    verdict.stored += usize::from(stored.is_some());
    let fits = match operation.decisions.first() {
        Some(Decision::Executed(_)) => stored == Some(200),
        Some(Decision::Refused(status, _)) => stored.is_none_or(|stored| i32::from(stored) == i32::from(*status)),
        None => stored.is_none(),
    };
    if !fits {
        verdict.found(Rule::Stored, format!("{} was answered {:?}, and {stored:?} is stored", operation.key(), operation.decisions));
    }
}

/// A card's history, with the operations and the times of all that happened.
struct Judge<'a> {
    id: &'a str,
    timeline: &'a Timeline<'a>,
    matched: &'a Matched<'a>,
    order: &'a Order,
    statuses: &'a Statuses<'a>,
}

impl Judge<'_> {
    /// Checks an event with the operation behind it: its answer, the card's status, and the reason if it is a decline.
    fn check_event(&self, index: usize, verdict: &mut Verdict) {
        let Some(operation) = self.matched.operations[index] else { return };
        let event = &self.timeline.events[index];
        let (from, to) = (operation.invoked, operation.acknowledged.unwrap_or(u64::MAX));
        let declined = event.entry.filter(|entry| matches!(entry.kind.as_str(), "declined" | "increment_declined"));
        if let Some(entry) = declined {
            verdict.declined += 1;
            let available = self.timeline.available(index) + self.timeline.due(index, entry.at);
            let row = self.timeline.card.authorizations.get(&entry.authorization);
            let code = entry.decline.as_ref().or(row.and_then(|row| row.decline.as_ref())).map_or("no code", String::as_str);
            let justified = match code {
                "insufficient_funds" => entry.amount > available && (operation.request.form != Form::Partial || available <= 0),
                "authorization_not_open" => {
                    self.timeline.standing(&entry.authorization, index).is_some_and(|standing| standing.status != "pending")
                }
                _ => self.is_of_status(code, from, to),
            };
            if !justified {
                let what = format!("{}: {} was declined with {code}; {available} was available", self.id, operation.key());
                verdict.found(Rule::Refusal, what);
            }
        } else {
            verdict.approved += usize::from(event.entry.is_some_and(|entry| entry.ordinal == 1));
            if let Some(permitted) = permitted_statuses(operation, event)
                && !self.statuses.can_be(permitted, from, to)
            {
                let what = format!("{}: {} was executed, though the card was none of {permitted:?}", self.id, operation.key());
                verdict.found(Rule::Status, what);
            }
        }
        // The answer of an operation with two events tells how the second left the card.
        let is_last = self.matched.operations.get(index + 1).copied().flatten().is_none_or(|next| !std::ptr::eq(next, operation));
        if let Some(body) = operation.done().filter(|_| is_last) {
            self.check_body(operation, body, event, index + 1, to, verdict);
        }
    }

    /// Compares an answer with the card and the authorisation after the event.
    fn check_body(&self, operation: &Operation, body: &Body, event: &Event<'_>, place: usize, to: u64, verdict: &mut Verdict) {
        let (balance, _) = self.timeline.money[place];
        let held = body.held.or(body.available.map(|available| balance - available));
        let money = body.balance == Some(balance)
            && held.is_none_or(|held| self.timeline.can_show(held, place, operation.invoked, to))
            && body.held.is_none_or(|held| body.available == Some(balance - held));
        if !money {
            let what = format!("{}: {} was answered with {body:?}, {:?} is left", self.id, operation.key(), self.timeline.money[place]);
            verdict.found(Rule::Answers, what);
        }
        let named = event.entry.map(|entry| entry.authorization.as_str());
        let named = named.or_else(|| event.movement.and_then(|movement| movement.authorization.as_deref()));
        let stands = named.and_then(|named| self.timeline.standing(named, place));
        let agrees = match (&body.authorization, stands) {
            (Some(got), Some(_)) => Some(got.id.as_str()) == named && is_at(got, stands),
            (None, None) => true,
            // The sandbox's answers have only the movement.
            (None, Some(_)) => !operation.request.kind.is_of_network() && event.entry.is_none(),
            (Some(_), None) => false,
        };
        if !agrees {
            let what = format!("{}: {} was answered with {:?}, not {stands:?}", self.id, operation.key(), body.authorization);
            verdict.found(Rule::Answers, what);
        }
    }

    /// A read returns the money, or the authorisation, at a place that it can have met.
    fn check_read(&self, read: &Read, verdict: &mut Verdict) {
        verdict.reads += 1;
        let places = self.order.places(read.invoked, read.ended);
        if let Some(target) = &read.target {
            let stood = |place| self.timeline.standing(target, place);
            let fits = |got: &record::Authorization| got.id == *target && places.clone().any(|place| is_at(got, stood(place)));
            if !read.body.authorization.as_ref().is_some_and(fits) {
                let what = format!("{}: {} read {:?}, as which it stood at none of {places:?}", self.id, read.op, read.body.authorization);
                verdict.found(Rule::Read, what);
            }
            return;
        }
        let Body { balance, held, available, .. } = read.body;
        let fits = places.clone().any(|place| {
            let (balance_then, _) = self.timeline.money[place];
            balance == Some(balance_then)
                && held.is_some_and(|held| {
                    available == Some(balance_then - held) && self.timeline.can_show(held, place, read.invoked, read.ended)
                })
        });
        if !fits {
            let what =
                format!("{}: {} read {balance:?}, {held:?} held, {available:?}, which it had at none of {places:?}", self.id, read.op);
            verdict.found(Rule::Read, what);
        }
    }

    /// A refusal has a reason that held at a place that it can have met.
    fn check_refusal(&self, operation: &Operation, verdict: &mut Verdict) {
        let (Some((status, code)), Some(to)) = (operation.refusal(), operation.refused) else { return };
        // The driver sends no status change that another can make impossible.
        let (request, from) = (&operation.request, operation.invoked);
        let timeline = self.timeline;
        let at_some = |reason: &dyn Fn(usize) -> bool| self.order.places(from, to).any(reason);
        let target = request.target.as_deref().unwrap_or_default();
        let original = timeline.movement(target);
        let asked = |left: i64| request.cents.map_or(left <= 0, |cents| cents > left);
        let justified = match (request.kind, code) {
            (Kind::Purchase | Kind::Withdrawal, "insufficient_funds") => {
                at_some(&|place| asked(timeline.available(place) + timeline.due(place, from)))
            }
            (Kind::Adjust | Kind::Release | Kind::Expire, "authorization_not_open") => {
                at_some(&|place| self.is_closed(target, place, to, &["captured", "reversed", "expired"]))
            }
            // What was reversed or has expired can be reversed once more, to no effect.
            (Kind::Reverse, "authorization_not_open") => at_some(&|place| self.is_closed(target, place, to, &["captured"])),
            // There is nothing left, and the request says no amount.
            (Kind::Capture, "authorization_not_open") => {
                request.cents.is_none() && at_some(&|place| self.is_closed(target, place, to, &["captured", "reversed", "expired"]))
            }
            (Kind::CaptureReversal | Kind::RefundReversal, "reversal_exceeds_original") => {
                original.is_some_and(|original| at_some(&|place| asked(timeline.left_to_reverse(original, place))))
            }
            (Kind::NetworkRefund, "refund_exceeds_capture") => at_some(&|place| {
                let linked = request.network_transaction.as_deref().and_then(|id| timeline.of_network_transaction(id));
                let authorization = original.map_or(linked.or(Some(target)), |original| original.authorization.as_deref());
                match (authorization.and_then(|authorization| timeline.standing(authorization, place)), original) {
                    (Some(standing), _) => asked(standing.returnable()),
                    (None, Some(original)) => {
                        let undone = timeline.undone(original.seq, place);
                        asked(-original.amount - undone.reversed - undone.refunded)
                    }
                    (None, None) => false,
                }
            }),
            (Kind::Authorize | Kind::NetworkPurchase, "duplicate_network_transaction") => self.is_known(operation, to),
            (Kind::TopUp | Kind::Refund | Kind::Purchase, _) => self.is_of_status(code, from, to),
            _ => false,
        };
        if status != 409 || !justified {
            let what = format!("{}: {request:?} was refused with {status} {code}, for which there was no reason", self.id);
            verdict.found(Rule::Refusal, what);
        }
    }

    /// Whether an authorisation has ended in one of these ways, or is due.
    fn is_closed(&self, authorization: &str, place: usize, to: u64, ways: &[&str]) -> bool {
        let standing = self.timeline.standing(authorization, place);
        let has_ended = standing.is_some_and(|standing| ways.contains(&standing.status));
        // A due hold is expired first: captured if something was.
        let ends_as = standing.map_or("none", |standing| if standing.sums.captured > 0 { "captured" } else { "expired" });
        has_ended || (ways.contains(&ends_as) && self.timeline.is_due(authorization, place, to))
    }

    /// Whether another authorisation can have used the `networkTransactionId` before.
    fn is_known(&self, operation: &Operation, to: u64) -> bool {
        let events = self.timeline.events.iter().zip(&self.matched.times);
        let Some(asked) = operation.request.network_transaction.as_deref() else { return false };
        let mut users = events.filter(|(event, _)| {
            event.entry.is_some_and(|entry| {
                let row = self.timeline.card.authorizations.get(&entry.authorization);
                entry.ordinal == 1 && row.and_then(|row| row.network_transaction.as_deref()) == Some(asked)
            })
        });
        users.any(|(_, times)| times.invoked < to)
    }

    /// Whether the card can have had the status that a code names.
    fn is_of_status(&self, code: &str, from: u64, to: u64) -> bool {
        let statuses: &[&str] = match code {
            "card_blocked" => &["blocked"],
            "card_cancelled" => &["cancelled"],
            "card_inactive" => &["inactive"],
            "card_not_active" => &["inactive", "blocked", "cancelled"],
            _ => return false,
        };
        self.statuses.can_be(statuses, from, to)
    }
}

/// Whether an authorisation was answered as it stands.
fn is_at(got: &record::Authorization, stands: Option<&Standing>) -> bool {
    stands.is_some_and(|stands| (got.status.as_str(), got.sequence, got.sums) == (stands.status, stands.sequence, stands.sums))
}

/// The statuses in which a card permits what was done; none if it permits it in any.
fn permitted_statuses(operation: &Operation, event: &Event<'_>) -> Option<&'static [&'static str]> {
    let first = event.entry.is_some_and(|entry| entry.ordinal == 1);
    match operation.request.kind {
        Kind::TopUp => Some(&["inactive", "active"]),
        Kind::Refund => Some(&["inactive", "active", "blocked"]),
        Kind::Purchase | Kind::Increment => Some(&["active"]),
        Kind::Authorize | Kind::NetworkPurchase if first && operation.request.form != Form::StandIn => Some(&["active"]),
        _ => None,
    }
}

#[cfg(test)]
#[path = "tests/mod.rs"]
mod tests;
