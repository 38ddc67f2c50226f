//! Matches operations with the events that they made, one to one, by the ids in the answers.

use std::collections::HashMap;

use record::{Body, Form, Kind};

use crate::{
    ledger::{Entry, Movement},
    operation::Operation,
    timeline::{CLOCK_TOLERANCE, Event, Timeline},
    verdict::{Rule, Verdict},
};

/// When an event can have happened: after `invoked` and before `acknowledged`.
#[derive(Clone, Copy, Debug)]
pub struct Times {
    pub invoked: u64,
    pub acknowledged: u64,
}

/// The operation behind each event, and its times.
#[derive(Debug)]
pub struct Matched<'a> {
    /// By the index of the event; none behind an expiry.
    pub operations: Vec<Option<&'a Operation>>,
    /// By the index of the event.
    pub times: Vec<Times>,
}

/// Finds events by what an answer names.
struct Index<'a> {
    movements: HashMap<&'a str, usize>,
    entries: HashMap<&'a str, usize>,
    first_entries: HashMap<&'a str, usize>,
}

/// Matches all events of a card.
pub fn match_events<'a>(id: &str, timeline: &Timeline<'_>, operations: &'a [Operation], verdict: &mut Verdict) -> Matched<'a> {
    let events = &timeline.events;
    let index = index(events);
    let mut behind: Vec<Option<&Operation>> = vec![None; events.len()];
    for operation in operations.iter().filter(|operation| operation.request.kind != Kind::Status) {
        let Some(body) = operation.done() else { continue };
        let made = index.made(operation.request.kind, body, events).filter(|made| made.iter().all(|event| behind[*event].is_none()));
        let Some(made) = made else {
            let what = (&body.movement, &body.entry, body.authorization.as_ref().map(|authorization| &authorization.id));
            verdict.found(Rule::Lost, format!("{id}: {} was answered with {what:?}, which is missing or taken", operation.key()));
            continue;
        };
        if !is_made_by(operation, &made, timeline) {
            let made: Vec<_> = made.iter().map(|event| &events[*event]).collect();
            verdict.found(Rule::Lost, format!("{id}: {made:?} is not what {:?} asks for", operation.request));
        }
        for event in made {
            behind[event] = Some(operation);
        }
    }
    match_unanswered(events, operations, &mut behind);
    let mut times = Vec::with_capacity(events.len());
    for (event, operation) in events.iter().zip(&behind) {
        times.push(match (operation, expiry(event, timeline)) {
            (Some(operation), _) => Times { invoked: operation.invoked, acknowledged: operation.acknowledged.unwrap_or(u64::MAX) },
            (None, Some(due)) => {
                verdict.expired += 1;
                Times { invoked: due.saturating_sub(CLOCK_TOLERANCE), acknowledged: u64::MAX }
            }
            (None, None) => {
                verdict.found(Rule::Doubled, format!("{id}: no answer explains {event:?}"));
                Times { invoked: 0, acknowledged: u64::MAX }
            }
        });
    }
    Matched { operations: behind, times }
}

/// When the hold was due, if the event is its expiry and not too early.
fn expiry(event: &Event<'_>, timeline: &Timeline<'_>) -> Option<u64> {
    let entry = event.entry.filter(|entry| entry.kind == "expiry")?;
    timeline.card.authorizations.get(&entry.authorization)?.expires_at.filter(|due| *due <= entry.at)
}

/// Of two events with the same id the second is found, and nothing explains the first.
fn index<'a>(events: &[Event<'a>]) -> Index<'a> {
    let mut index = Index { movements: HashMap::new(), entries: HashMap::new(), first_entries: HashMap::new() };
    for (place, event) in events.iter().enumerate() {
        if let Some(movement) = event.movement {
            index.movements.insert(&movement.id, place);
        }
        if let Some(entry) = event.entry {
            index.entries.insert(&entry.id, place);
            if entry.ordinal == 1 {
                index.first_entries.insert(&entry.authorization, place);
            }
        }
    }
    index
}

impl Index<'_> {
    /// The events that an answer says were made.
    fn made(&self, kind: Kind, body: &Body, events: &[Event<'_>]) -> Option<Vec<usize>> {
        let movement = || body.movement.as_deref().and_then(|movement| self.movements.get(movement).copied());
        match kind {
            Kind::Authorize | Kind::NetworkPurchase => {
                let first = *self.first_entries.get(body.authorization.as_ref()?.id.as_str())?;
                Some(if body.movement.is_some() { vec![first, movement()?] } else { vec![first] })
            }
            Kind::Increment | Kind::Adjust | Kind::Reverse | Kind::Release | Kind::Expire => {
                if let Some(entry) = &body.entry {
                    return Some(vec![*self.entries.get(entry.as_str())?]);
                }
                let authorization = body.authorization.as_ref()?;
                let place = events.binary_search_by_key(&authorization.sequence, |event| event.sequence).ok()?;
                events[place].entry.filter(|entry| entry.authorization == authorization.id).map(|_| vec![place])
            }
            _ => Some(vec![movement()?]),
        }
    }
}

/// An unanswered operation without a key may have made at most one matching movement.
fn match_unanswered<'a>(events: &[Event<'_>], operations: &'a [Operation], behind: &mut [Option<&'a Operation>]) {
    let mut free: HashMap<(&str, i64), Vec<usize>> = HashMap::new();
    for (place, event) in events.iter().enumerate().rev().filter(|(place, _)| behind[*place].is_none()) {
        if let Some(movement) = event.movement.filter(|movement| is_plain(movement)) {
            free.entry((&movement.kind, movement.amount)).or_default().push(place);
        }
    }
    let mut unanswered: Vec<_> = operations
        .iter()
        .filter(|operation| !operation.request.keyed && operation.decisions.is_empty() && operation.may_be_executed)
        .collect();
    unanswered.sort_by_key(|operation| operation.invoked);
    for operation in unanswered {
        let Some(posting) = plain_posting(operation) else { continue };
        if let Some(place) = free.get_mut(&posting).and_then(Vec::pop) {
            behind[place] = Some(operation);
        }
    }
}

/// The kind and the amount of the movement that a posting by the account makes.
fn plain_posting(operation: &Operation) -> Option<(&'static str, i64)> {
    let cents = operation.request.cents?;
    match operation.request.kind {
        Kind::TopUp => Some(("top_up", cents)),
        Kind::Withdrawal => Some(("withdrawal", -cents)),
        Kind::Purchase => Some(("purchase", -cents)),
        Kind::Refund => Some(("refund", cents)),
        _ => None,
    }
}

fn is_plain(movement: &Movement) -> bool {
    movement.authorization.is_none() && movement.related_seq.is_none()
}

/// Whether the events are what the operation asks for.
fn is_made_by(operation: &Operation, made: &[usize], timeline: &Timeline<'_>) -> bool {
    let request = &operation.request;
    let [first, .., last] = made else {
        return made.first().is_some_and(|first| is_one_made_by(operation, *first, timeline));
    };
    // Only a single-message purchase makes two: it authorises, and captures at once all that it authorised.
    let (first_event, last_event) = (&timeline.events[*first], &timeline.events[*last]);
    let captured = last_event.movement.is_some_and(|movement| {
        let entry = first_event.entry;
        movement.kind == "purchase" && entry.is_some_and(|entry| movement.amount == -entry.amount && is_of(movement, &entry.authorization))
    });
    request.kind == Kind::NetworkPurchase && *last == first + 1 && captured && is_one_made_by(operation, *first, timeline)
}

fn is_of(movement: &Movement, authorization: &str) -> bool {
    movement.authorization.as_deref() == Some(authorization)
}

/// Whether one event is what the operation asks for.
fn is_one_made_by(operation: &Operation, place: usize, timeline: &Timeline<'_>) -> bool {
    let request = &operation.request;
    let Event { entry, movement, .. } = &timeline.events[place];
    let target = request.target.as_deref().unwrap_or_default();
    let is = |asked: Option<i64>, default: i64, got: i64| asked.unwrap_or(default) == got;
    let step = |expected: &dyn Fn(&Entry, i64) -> bool| {
        let held = timeline.standing(target, place).map_or(0, |standing| standing.sums.held);
        movement.is_none() && entry.is_some_and(|entry| entry.authorization == target && expected(entry, held))
    };
    // What an operation without an authorisation posts, and an undoing does.
    let posting =
        |kind: &str, amount: i64| entry.is_none() && movement.is_some_and(|got| (got.kind.as_str(), got.amount) == (kind, amount));
    let linked = || request.network_transaction.as_deref().and_then(|id| timeline.of_network_transaction(id));
    match request.kind {
        Kind::TopUp | Kind::Withdrawal | Kind::Purchase | Kind::Refund => {
            plain_posting(operation).is_some_and(|(kind, amount)| posting(kind, amount)) && movement.is_some_and(is_plain)
        }
        Kind::Authorize | Kind::NetworkPurchase => movement.is_none() && entry.is_some_and(|entry| is_approval(operation, entry, timeline)),
        Kind::Increment => {
            step(&|entry, _| matches!(entry.kind.as_str(), "increment" | "increment_declined") && is(request.cents, -1, entry.amount))
        }
        Kind::Adjust => step(&|entry, _| entry.kind == "adjustment" && is(request.cents, -1, entry.held_after)),
        Kind::Reverse => step(&|entry, held| entry.kind == "reversal" && entry.amount == request.cents.unwrap_or(held).min(held)),
        Kind::Release => step(&|entry, held| entry.kind == "release" && entry.amount == held),
        Kind::Expire => step(&|entry, held| entry.kind == "expiry" && entry.amount == held),
        Kind::Capture => is_capture(*entry, *movement, target, request.form == Form::Plain, request.cents, timeline, place),
        Kind::ForcePost => match linked() {
            Some(authorization) => is_capture(*entry, *movement, authorization, true, request.cents, timeline, place),
            None => posting("capture", -request.cents.unwrap_or(0)) && movement.is_some_and(is_plain),
        },
        Kind::NetworkRefund => {
            let related = timeline.movement(target);
            let authorization = match related {
                Some(original) => original.authorization.as_deref(),
                None if !target.is_empty() => Some(target),
                None => linked(),
            };
            posting("refund", request.cents.unwrap_or(0))
                && movement.is_some_and(|got| {
                    got.related_seq == related.map(|original| original.seq) && got.authorization.as_deref() == authorization
                })
        }
        Kind::CaptureReversal | Kind::RefundReversal => timeline.movement(target).is_some_and(|original| {
            let left = timeline.left_to_reverse(original, place);
            let (kind, sign) = if request.kind == Kind::CaptureReversal { ("capture_reversal", 1) } else { ("refund_reversal", -1) };
            posting(kind, sign * request.cents.unwrap_or(left))
                && movement.is_some_and(|got| got.related_seq == Some(original.seq) && got.authorization == original.authorization)
        }),
        Kind::Read | Kind::ReadAuthorization | Kind::Status => false,
    }
}

fn is_approval(operation: &Operation, entry: &Entry, timeline: &Timeline<'_>) -> bool {
    let (request, cents) = (&operation.request, operation.request.cents.unwrap_or(0));
    let Some(row) = timeline.card.authorizations.get(&entry.authorization) else { return false };
    let amount_fits = match (entry.kind.as_str(), request.form) {
        ("authorization", _) => entry.amount == cents,
        ("partial_authorization", form) => form == Form::Partial && (1..cents).contains(&entry.amount),
        ("declined", form) => form != Form::StandIn && entry.amount == cents,
        _ => false,
    };
    amount_fits
        && row.requested == cents
        && row.stand_in == (request.form == Form::StandIn)
        && row.network_transaction == request.network_transaction
}

fn is_capture(
    entry: Option<&Entry>,
    movement: Option<&Movement>,
    authorization: &str,
    is_final: bool,
    cents: Option<i64>,
    timeline: &Timeline<'_>,
    place: usize,
) -> bool {
    let (Some(entry), Some(movement)) = (entry, movement) else { return false };
    let held = timeline.standing(authorization, place).map_or(0, |standing| standing.sums.held);
    let amount = cents.unwrap_or(held);
    let left = if is_final { 0 } else { (held - amount).max(0) };
    (movement.kind.as_str(), movement.amount) == ("capture", -amount)
        && matches!(entry.kind.as_str(), "capture" | "late_capture")
        && is_of(movement, authorization)
        && entry.authorization == authorization
        && entry.held_after == left
}
