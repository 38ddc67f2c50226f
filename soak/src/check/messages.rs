//! What the receivers of webhooks got: every event of the account at least once, nothing else, and where it was promised in the
//! order of each card.

use std::collections::{BTreeMap, HashMap};

use record::Message;

use crate::{
    feed::Row,
    timeline::CLOCK_TOLERANCE,
    verdict::{Rule, Verdict},
};

/// One event at one endpoint.
#[derive(Debug)]
struct Arrivals {
    /// The first one.
    arrived: u64,
    /// The first one that was accepted.
    accepted: Option<u64>,
}

/// Checks the messages against the events of the account. What happened before `settled` must have been accepted everywhere.
pub fn check(rows: &[Row], mut messages: Vec<Message>, (settled, max_doubles): (u64, usize), verdict: &mut Verdict) {
    // They were written down when they were answered.
    messages.sort_by_key(|message| message.arrived);
    let by_id: HashMap<&str, &Row> = rows.iter().map(|row| (row.event.id.as_str(), row)).collect();
    let mut endpoints: BTreeMap<usize, (bool, HashMap<&str, Arrivals>)> = BTreeMap::new();
    let mut hashes = HashMap::new();
    let mut again = 0;
    for message in &messages {
        verdict.messages += 1;
        verdict.withheld += usize::from(message.accepted.is_none());
        check_message(message, by_id.get(message.webhook_id.as_str()).copied(), verdict);
        if *hashes.entry(message.webhook_id.as_str()).or_insert(message.hash) != message.hash {
            verdict.found(Rule::Message, format!("the bodies of {} differ", message.webhook_id));
        }
        let (_, arrivals) = endpoints.entry(message.endpoint).or_insert_with(|| (message.ordered, HashMap::new()));
        let known = arrivals.entry(&message.webhook_id).or_insert(Arrivals { arrived: message.arrived, accepted: None });
        again += usize::from(known.accepted.is_some_and(|accepted| accepted < message.arrived));
        known.accepted = [known.accepted, message.accepted].into_iter().flatten().min();
    }
    verdict.messages_again += again;
    if again > max_doubles {
        verdict.found(Rule::Message, format!("{again} messages came again after they were accepted, and faults explain {max_doubles}"));
    }
    if endpoints.is_empty() {
        verdict.found(Rule::Message, "no message came".to_owned());
    }
    for (endpoint, (ordered, arrivals)) in &endpoints {
        for row in rows.iter().filter(|row| row.at.saturating_add(CLOCK_TOLERANCE) < settled) {
            if arrivals.get(row.event.id.as_str()).is_none_or(|known| known.accepted.is_none()) {
                verdict.found(Rule::Message, format!("endpoint {endpoint} never accepted {row:?}"));
            }
        }
        if *ordered {
            check_order(*endpoint, rows, arrivals, verdict);
        }
    }
}

/// A message is signed, and is an event of the feed that had happened when it came.
fn check_message(message: &Message, row: Option<&Row>, verdict: &mut Verdict) {
    if !message.signed {
        verdict.found(Rule::Message, format!("the signature of {} is wrong", message.webhook_id));
    }
    match row {
        None => verdict.found(Rule::Message, format!("{} is no event: {message:?}", message.webhook_id)),
        Some(row) if row.event != message.event => {
            verdict.found(Rule::Message, format!("{} came with {:?}, and is {row:?}", message.webhook_id, message.event));
        }
        Some(row) if row.at > message.arrived.saturating_add(CLOCK_TOLERANCE) => {
            verdict.found(Rule::Message, format!("{} came before it happened", message.webhook_id));
        }
        Some(_) => {}
    }
}

/// Of each card, a message comes only after the one before it was accepted.
fn check_order(endpoint: usize, rows: &[Row], arrivals: &HashMap<&str, Arrivals>, verdict: &mut Verdict) {
    let of_cards = rows.iter().filter_map(|row| Some((row.event.card.as_deref()?, row.event.sequence?, row)));
    let mut by_place: Vec<_> = of_cards.map(|(card, sequence, row)| (card, sequence, arrivals.get(row.event.id.as_str()))).collect();
    by_place.sort_unstable_by_key(|(card, sequence, _)| (*card, *sequence));
    for pair in by_place.windows(2) {
        let [(card, _, earlier), (card_of_later, sequence, later)] = pair else { continue };
        let Some(later) = later.filter(|_| card == card_of_later) else { continue };
        let accepted = earlier.and_then(|earlier| earlier.accepted);
        if accepted.is_none_or(|accepted| accepted > later.arrived) {
            verdict.found(Rule::Message, format!("endpoint {endpoint} got event {sequence} of {card} before it accepted the one before"));
        }
    }
}
