//! Tests of what batches plan.

use std::collections::BTreeMap;

use super::*;
use crate::domain::{
    actor::Actor,
    authorization::{AuthorizationKind, AuthorizationStatus},
    card::CardStatus,
    currency::Currency,
    decision::{Asked, DeclineCode},
    id::{CardId, LimitId},
    money::{Amount, Money},
    posting::{MovementKind, Position},
    spending::{
        limit::{Limit, LimitFilter, LimitScope, LimitStatus, Used},
        window::{Calendar, Interval, WeekStart},
    },
    text::Description,
};
use crate::service::{
    batch::Call,
    ledger::{Details, LedgerRequest, NewAuthorization, NewTransfer, Posting},
    spending::StoredRules,
};

fn money(minor: i64) -> Money {
    Money::from_minor(minor).expect("within bounds")
}

fn call((account, card): CardKey, kind: MovementKind, minor: i64) -> LedgerCall {
    let amount = Amount::new(money(minor)).expect("above zero");
    let posting = Posting { card: Some(card), kind, amount, description: "test".parse().expect("a description") };
    Call::new(LedgerRequest {
        actor: Actor::command_line(account),
        target: Target::Card(card),
        work: Work::Post { posting, idempotent: None },
    })
    .0
}

fn authorize((account, card): CardKey, minor: i64, transaction: Option<&str>) -> LedgerCall {
    let asked = Asked {
        amount: money(minor),
        kind: AuthorizationKind::Purchase,
        currency: None,
        partial_approval: false,
        stand_in: false,
        forced: None,
    };
    let network_transaction_id = transaction.map(|id| id.parse().expect("an id"));
    let details = Details { network_transaction_id, ..Details::default() };
    let new = Box::new(NewAuthorization { card: Some(card), asked, details, expires_at: None, is_purchase: false });
    Call::new(LedgerRequest {
        actor: Actor::command_line(account),
        target: Target::Card(card),
        work: Work::Authorize { new, idempotent: None },
    })
    .0
}

fn hold_times() -> HoldTimes {
    HoldTimes { purchase: 7, preauthorization: 30, cash: 3, by_category: BTreeMap::new() }
}

/// The plan at noon of calls to cards with these positions.
fn plan_at_noon(calls: Vec<LedgerCall>, known: impl Fn(&CardKey) -> Option<Position>) -> (Vec<CardUpdate>, Vec<LedgerCall>) {
    let mut positions = HashMap::new();
    for call in &calls {
        let Target::Card(card) = call.request.target else { panic!("a card") };
        let card = (call.request.actor.account, card);
        positions.extend(known(&card).map(|position| (card, CachedPosition { position, as_of: DateTime::UNIX_EPOCH })));
    }
    plan(calls, &Known { positions, ..Known::default() }, noon(), &hold_times())
}

fn noon() -> DateTime<Utc> {
    DateTime::UNIX_EPOCH + TimeDelta::hours(12)
}

fn active(balance: i64, seq: i64) -> Position {
    Position {
        customer: None,
        status: CardStatus::Active,
        currency: Currency::Usd,
        balance: money(balance),
        held: Money::ZERO,
        seq,
        sequence: seq,
        holds_due_at: None,
        rules_version: 0,
    }
}

fn card() -> CardKey {
    (AccountId::new(), CardId::new())
}

/// The numbers of an update's movements and the balances after them.
fn movements(update: &CardUpdate) -> Vec<(i64, i64)> {
    update.write.movements.iter().map(|row| (row.movement.seq, row.movement.balance_after.minor())).collect()
}

#[test]
fn the_postings_to_a_card_follow_one_another() {
    let (one, two) = (card(), card());
    let calls = vec![
        call(one, MovementKind::TopUp, 500),
        call(two, MovementKind::TopUp, 1),
        call(one, MovementKind::Purchase, 200),
        call(one, MovementKind::Refund, 50),
    ];
    let (updates, left_over) = plan_at_noon(calls, |card| Some(if *card == one { active(100, 7) } else { active(0, 0) }));
    assert!(left_over.is_empty());
    let [first, second] = &*updates else { panic!("{} updates", updates.len()) };
    assert_eq!((first.write.card, first.write.from, first.write.to), (one, active(100, 7), active(450, 10)));
    assert_eq!(movements(first), [(8, 600), (9, 400), (10, 450)]);
    assert_eq!((second.write.card, second.write.from, second.write.to), (two, active(0, 0), active(1, 1)));
    assert_eq!(movements(second), [(1, 1)]);
}

#[test]
fn a_posting_that_would_be_refused_is_left_over_with_every_later_one_to_its_card() {
    let (one, two) = (card(), card());
    let calls = vec![
        call(one, MovementKind::Purchase, 60),
        call(one, MovementKind::Purchase, 61),
        call(one, MovementKind::TopUp, 500),
        call(two, MovementKind::TopUp, 1),
    ];
    let (updates, left_over) = plan_at_noon(calls, |_| Some(active(100, 0)));
    let applied: Vec<_> = updates.iter().map(|update| (update.write.card, update.write.to)).collect();
    assert_eq!(applied, [(one, active(40, 1)), (two, active(101, 1))]);
    let left_over: Vec<_> = left_over.iter().map(|call| call.request.target).collect();
    assert_eq!(left_over, [Target::Card(one.1), Target::Card(one.1)]);
}

#[test]
fn a_posting_to_a_card_of_unknown_position_is_left_over() {
    let (updates, left_over) = plan_at_noon(vec![call(card(), MovementKind::TopUp, 1)], |_| None);
    assert!(updates.is_empty());
    assert_eq!(left_over.len(), 1);
}

#[test]
fn authorisations_and_postings_of_a_card_see_one_another_and_a_decline_is_written() {
    let one = card();
    let calls = vec![
        authorize(one, 60, None),
        authorize(one, 41, None),
        call(one, MovementKind::TopUp, 1),
        authorize(one, 41, None),
        call(one, MovementKind::Purchase, 1),
    ];
    let (updates, left_over) = plan_at_noon(calls, |_| Some(active(100, 0)));
    assert_eq!(left_over.len(), 1, "the purchase would spend held money");
    let [CardUpdate { write, calls, .. }] = &*updates else { panic!("{} updates", updates.len()) };
    assert_eq!(calls.len(), 4);
    let due = noon() + TimeDelta::days(7);
    assert_eq!(write.to, Position { held: money(101), sequence: 4, holds_due_at: Some(due), ..active(101, 1) });
    let created: Vec<_> = write.created.iter().map(|new| (new.status.clone(), new.held.minor(), new.sequence)).collect();
    let (pending, declined) = (AuthorizationStatus::Pending.into(), AuthorizationStatus::Declined.into());
    assert_eq!(created, [(pending, 60, 1), (declined, 0, 2), (AuthorizationStatus::Pending.into(), 41, 4)]);
    assert_eq!(write.created[1].decline_code, Some(DeclineCode::InsufficientFunds.into()));
    let held: Vec<_> = write.entries.iter().map(|row| (row.card_held.minor(), row.card_balance.minor())).collect();
    assert_eq!(held, [(60, 100), (60, 100), (101, 101)]);
}

fn transfer((account, from): CardKey, to: CardKey, minor: i64) -> LedgerCall {
    let amount = Amount::new(money(minor)).expect("above zero");
    let transfer = NewTransfer { from: Some(from), to: Some(to.1), amount, description: Description::of_a_transfer() };
    let work = Work::Transfer { to: to.1, transfer, idempotent: None };
    Call::new(LedgerRequest { actor: Actor::command_line(account), target: Target::Card(from), work }).0
}

#[test]
fn cards_that_transfers_connect_are_written_together() {
    let account = AccountId::new();
    let cards = [(); 6].map(|()| (account, CardId::new()));
    let [one, two, three, four, five, six] = cards;
    let calls = vec![
        call(six, MovementKind::TopUp, 5),
        transfer(one, two, 60),
        transfer(three, four, 10),
        // Only after the first one does it have so much.
        transfer(two, three, 150),
        transfer(five, six, 101),
        call(six, MovementKind::TopUp, 5),
    ];
    let mut positions = HashMap::new();
    for card in cards {
        positions.insert(card, CachedPosition { position: active(100, 0), as_of: DateTime::UNIX_EPOCH });
    }
    let known = Known { positions, ..Known::default() };
    let (updates, left_over) = plan(calls, &known, noon(), &hold_times());
    assert_eq!(left_over.len(), 2, "the transfer of too much, and what comes after it to one of its cards");
    let planned: Vec<_> = updates.iter().map(|update| (update.write.card, update.write.to.balance.minor(), update.calls.len())).collect();
    assert_eq!(planned, [(six, 105, 1), (one, 40, 1), (two, 10, 1), (three, 240, 1), (four, 110, 0)]);
    let groups: Vec<_> = updates.iter().map(|update| update.group).collect();
    assert!(groups[1..].iter().all(|group| *group == groups[1]), "{groups:?}");
    assert_ne!(groups[0], groups[1], "{groups:?}");
}

#[test]
fn the_cards_of_a_customer_see_what_the_others_spend_of_its_limits() {
    let account = AccountId::new();
    let ([one, two, third], (customer, other)) = ([(); 3].map(|()| (account, CardId::new())), (CustomerId::new(), CustomerId::new()));
    let customer_of = |card: CardKey| if card == third { other } else { customer };
    let limit = |customer| Limit {
        id: LimitId::new(),
        scope: LimitScope::Customer(customer),
        currency: Currency::Usd,
        name: None,
        calendar: Calendar { interval: Interval::Lifetime, time_zone: "UTC".parse().expect("a zone"), week_start: WeekStart::Monday },
        amount: Some(money(100)),
        count: None,
        filter: LimitFilter::default(),
        restore_on_refund: false,
        status: LimitStatus::Active,
        counted_from: DateTime::UNIX_EPOCH,
    };
    let limits = [(customer, limit(customer)), (other, limit(other))];
    let mut known = Known::default();
    for card in [one, two, third] {
        let position = Position { customer: Some(customer_of(card)), rules_version: 1, ..active(1_000, 0) };
        known.positions.insert(card, CachedPosition { position, as_of: DateTime::UNIX_EPOCH });
        let limits = limits.iter().filter(|(customer, _)| *customer == customer_of(card)).map(|(_, limit)| limit.clone()).collect();
        let mut rules = CardRules::from(&StoredRules { limits, shares_limits: true, ..StoredRules::default() });
        let windows = rules.windows(noon());
        // Both customers have spent 30 before.
        rules.learn(&windows, |_| Some(Used { amount: money(30), count: 1 }));
        known.rules.insert(card, rules);
    }
    let calls = vec![
        authorize(one, 40, None),
        authorize(two, 31, None),
        call(two, MovementKind::Purchase, 31),
        authorize(third, 70, None),
        authorize(one, 20, None),
        call(one, MovementKind::Purchase, 10),
    ];
    let (updates, left_over) = plan(calls, &known, noon(), &hold_times());
    assert_eq!(left_over.len(), 1, "the purchase of the second card");
    let decided: Vec<Vec<_>> = updates
        .iter()
        .map(|update| update.write.created.iter().map(|new| (new.held.minor(), new.decline_code.clone())).collect())
        .collect();
    let declined = (0, Some(DeclineCode::LimitAmountExceeded.into()));
    assert_eq!(decided, [vec![(40, None), (20, None)], vec![declined], vec![(70, None)]]);
    let spent: Vec<Vec<_>> = updates
        .iter()
        .map(|CardUpdate { write, .. }| {
            write.rules.iter().flat_map(|rules| rules.usage.iter()).map(|(.., used)| used.amount.minor()).collect()
        })
        .collect();
    assert_eq!(spent, [vec![70], vec![], vec![70]], "each card writes what it spends itself");
}

#[test]
fn a_second_authorisation_with_a_network_transaction_id_is_left_over() {
    let (one, two) = (card(), card());
    let other = (one.0, two.1);
    let (updates, left_over) =
        plan_at_noon(vec![authorize(one, 1, Some("x")), authorize(other, 1, Some("x")), authorize(two, 1, Some("x"))], |_| {
            Some(active(9, 0))
        });
    let planned: Vec<_> = updates.iter().map(|update| update.write.card).collect();
    assert_eq!(planned, [one, two], "another account has its own ids");
    assert_eq!(left_over.len(), 1);
}

#[test]
fn a_card_with_a_hold_that_may_be_due_is_left_over() {
    for (held, due, is_left_over) in [
        (5, Some(noon() - TimeDelta::days(1)), true),
        (5, Some(noon() + TimeDelta::milliseconds(999)), true),
        (5, Some(noon() + TimeDelta::seconds(2)), false),
        (0, Some(noon() - TimeDelta::days(1)), false),
    ] {
        let position = Position { held: money(held), holds_due_at: due, ..active(100, 0) };
        let (updates, left_over) = plan_at_noon(vec![authorize(card(), 1, None)], |_| Some(position));
        assert_eq!((updates.is_empty(), left_over.len()), (is_left_over, usize::from(is_left_over)), "{held} {due:?}");
    }
}

#[test]
fn the_moment_of_a_hold_that_has_ended_is_kept_while_it_lies_ahead() {
    let due = noon() + TimeDelta::days(7);
    for (held, earlier, expected) in [
        (0, None, due),
        (0, Some(noon() + TimeDelta::days(2)), noon() + TimeDelta::days(2)),
        (0, Some(noon() - TimeDelta::days(2)), due),
        (0, Some(noon() + TimeDelta::days(9)), due),
        (5, Some(noon() + TimeDelta::days(2)), noon() + TimeDelta::days(2)),
    ] {
        let position = Position { held: money(held), holds_due_at: earlier, ..active(100, 0) };
        let (updates, _) = plan_at_noon(vec![authorize(card(), 1, None)], |_| Some(position));
        assert_eq!(updates[0].write.to.holds_due_at, Some(expected), "{held} {earlier:?}");
    }
}
