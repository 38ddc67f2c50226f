//! Which request a client sends next.

use rand::seq::IndexedRandom;
use record::{Form, Kind};

use crate::{
    book::{Payment, Payments},
    request::{Draft, Operation, short_hold},
};

/// The kinds and how often each is sent, in a thousand. Income and spending are about equal, so that some approvals find
/// insufficient funds.
const SHARES: [(Kind, u32); 18] = [
    (Kind::TopUp, 290),
    (Kind::Withdrawal, 20),
    (Kind::Purchase, 75),
    (Kind::Refund, 20),
    (Kind::Read, 60),
    (Kind::ReadAuthorization, 20),
    (Kind::Authorize, 180),
    (Kind::NetworkPurchase, 50),
    (Kind::Increment, 35),
    (Kind::Adjust, 20),
    (Kind::Reverse, 45),
    (Kind::Capture, 95),
    (Kind::ForcePost, 10),
    (Kind::CaptureReversal, 15),
    (Kind::NetworkRefund, 25),
    (Kind::RefundReversal, 10),
    (Kind::Release, 10),
    (Kind::Expire, 20),
];

/// The next operation on a card. What needs a payment is replaced by an authorisation while there is none.
pub fn next(card: &str, payments: &mut Payments) -> Operation {
    let kind = SHARES.choose_weighted(&mut rand::rng(), |(_, share)| *share).map_or(Kind::Read, |(kind, _)| *kind);
    if kind == Kind::Read {
        return Draft::new(card, kind, None).build(None);
    }
    let draft = match kind {
        Kind::TopUp => Some(plain(card, kind, 12_000)),
        Kind::Withdrawal => Some(plain(card, kind, 8_000)),
        Kind::Purchase => Some(plain(card, kind, 20_000)),
        Kind::Refund => Some(plain(card, kind, 5_000)),
        Kind::NetworkPurchase => Some(approval(card, kind, payments)),
        _ => step(card, kind, payments),
    };
    if let Some(draft) = draft {
        return draft.build(None);
    }
    // Most holds end within a short soak, even if all clients forget them.
    let hold = rand::random_bool(0.9).then(short_hold);
    approval(card, Kind::Authorize, payments).build(hold)
}

/// A posting by the account, sometimes without a key.
fn plain(card: &str, kind: Kind, most: i64) -> Draft {
    let draft = Draft::new(card, kind, rand::random_range(1..=most));
    if rand::random_bool(0.3) { draft.without_key() } else { draft }
}

/// An authorisation, or a purchase of the network.
fn approval(card: &str, kind: Kind, payments: &Payments) -> Draft {
    let form = match rand::random_range(0..100) {
        0..15 => Form::Partial,
        15..19 => Form::StandIn,
        _ => Form::Plain,
    };
    let draft = Draft::new(card, kind, rand::random_range(1..=15_000)).form(form);
    // A network that mistakes a new authorisation for an old one.
    let repeated = rand::random_bool(0.01).then(|| payments.open.any()).flatten();
    let id = repeated.map_or_else(|| format!("{:032x}", rand::random::<u128>()), |payment: Payment| payment.network_transaction);
    draft.of_network_transaction(id)
}

/// A step of a payment that the clients know, if they know one.
fn step(card: &str, kind: Kind, payments: &mut Payments) -> Option<Draft> {
    let chance = |probability| rand::random_bool(probability);
    let some = |most| rand::random_range(1..=most);
    let new = |cents: Option<i64>| Draft::new(card, kind, cents);
    match kind {
        Kind::ReadAuthorization => Some(new(None).on(if chance(0.5) { payments.open.any()? } else { payments.closed.any()? }.id)),
        Kind::Increment => Some(new(Some(some(4_000))).on(payments.open.any()?.id)),
        Kind::Adjust => Some(new(Some(if chance(0.1) { 0 } else { some(12_000) })).on(payments.open.any()?.id)),
        Kind::Reverse | Kind::Capture => {
            // Some come late, some in part, some beyond the hold, and some at the same time as another step.
            let late = chance(0.12);
            let ends = !late && chance(0.65);
            let payment = match (late, ends) {
                (true, _) => payments.closed.any()?,
                (false, true) => close(payments)?,
                (false, false) => payments.open.any()?,
            };
            let cents = if !late && chance(if ends { 0.7 } else { 0.1 }) { None } else { Some(some(6_000)) };
            let form = if kind == Kind::Capture && !ends { Form::NotFinal } else { Form::Plain };
            Some(new(cents).on(payment.id).form(form))
        }
        Kind::Release | Kind::Expire => Some(new(None).on(if chance(0.1) { payments.closed.any()? } else { close(payments)? }.id)),
        Kind::ForcePost if chance(0.5) => Some(new(Some(some(3_000)))),
        Kind::ForcePost => {
            let payment = if chance(0.5) { payments.closed.any()? } else { close(payments)? };
            Some(new(Some(some(6_000))).of_network_transaction(payment.network_transaction))
        }
        Kind::CaptureReversal => Some(new(chance(0.5).then(|| some(6_000))).on(payments.captures.any()?)),
        Kind::NetworkRefund => {
            let draft = new(Some(some(4_000)));
            match rand::random_range(0..4) {
                0 => Some(draft),
                1 => Some(draft.on(payments.captures.any()?)),
                2 => Some(draft.of_network_transaction(payments.closed.any()?.network_transaction)),
                _ => Some(draft.on(payments.closed.any()?.id)),
            }
        }
        Kind::RefundReversal => Some(new(chance(0.5).then(|| some(3_000))).on(payments.refunds.any()?)),
        _ => None,
    }
}

/// Takes a payment that the next step is meant to end.
fn close(payments: &mut Payments) -> Option<Payment> {
    let payment = payments.open.take()?;
    payments.closed.add(payment.clone());
    Some(payment)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_kind_is_sent_once_there_are_payments() {
        let mut payments = Payments::default();
        let mut sent = HashSet::new();
        for number in 0..5_000 {
            let payment = Payment { id: format!("auth_{number}"), network_transaction: number.to_string() };
            payments.open.add(payment);
            payments.captures.add(format!("mov_{number}"));
            payments.refunds.add(format!("mov_{number}"));
            sent.insert(next("card_1", &mut payments).request.kind);
        }
        assert_eq!(sent, SHARES.iter().map(|(kind, _)| *kind).collect());
        assert_eq!(SHARES.iter().map(|(_, share)| share).sum::<u32>(), 1000);
    }

    #[test]
    fn only_what_may_be_sent_without_a_key_is() {
        let mut payments = Payments::default();
        for _ in 0..2_000 {
            let request = next("card_1", &mut payments).request;
            assert!(request.keyed || !request.kind.is_of_network(), "{request:?}");
        }
    }
}
