//! The events of a card, and what a reader of the feed got of them.

use record::Event;

use super::{payments::world, *};
use crate::{
    feed::{Comparison, Row},
    timeline::CLOCK_TOLERANCE,
};

#[test]
fn an_event_that_is_missing_doubled_or_of_another_type_is_found() {
    let changes: [fn(&mut Card); 12] = [
        |card| drop(card.told.remove(4)),
        |card| drop(card.told.pop()),
        |card| card.told.insert(4, card.told[4].clone()),
        |card| card.event_seq += 1,
        |card| card.told[2].movement_seq = Some(2),
        |card| card.told[2].movement_seq = None,
        |card| card.told[3].kind = "authorization.declined".to_owned(),
        |card| card.told[5].movement_seq = None,
        |card| card.told[0].kind = "card.assigned".to_owned(),
        |card| card.told[1].kind = "card.blocked".to_owned(),
        |card| card.told.swap(5, 6),
        |card| card.told.push(Told { sequence: 15, kind: "card.created".to_owned(), movement_seq: None }),
    ];
    for (number, change) in changes.into_iter().enumerate() {
        let mut world = world();
        change(&mut world.card);
        assert!(world.rules().contains(&Rule::Event), "{number}");
    }
}

#[test]
fn an_event_of_what_was_rolled_back_is_found() {
    for (kind, movement_seq) in [("movement.created", Some(9)), ("authorization.approved", None), ("card.overdrawn", Some(1))] {
        let mut world = world();
        world.tell(kind, movement_seq);
        assert_eq!(world.rules(), [Rule::Event], "{kind}");
    }
}

#[test]
fn an_overdraft_has_an_event_of_its_own() {
    let mut world = world();
    world.undo("o", (Kind::ForcePost, "capture"), -80, ("", None, None), super::payments::unchanged);
    world.assert_sound();
    world.undo("p", (Kind::ForcePost, "capture"), -80, ("", None, None), super::payments::unchanged);
    world.assert_sound();
    let overdrawn = world.card.told.iter().position(|told| told.kind == "card.overdrawn").expect("one overdraft");
    world.card.told[overdrawn].kind = "movement.created".to_owned();
    assert_eq!(world.rules(), [Rule::Event]);
}

fn row(number: i64, at: u64) -> Row {
    let event = Event { id: format!("msg_{number}"), kind: "card.created".to_owned(), ..Event::default() };
    Row { event, position: Some(number), ordinal: 1, at }
}

/// How many events a reader got of a feed that has these numbers, and how many findings there are.
fn read(feed: &[i64], got: &[i64]) -> (usize, usize) {
    let (mut verdict, mut reader) = (Verdict::default(), Comparison::default());
    let mut got = got.iter().map(|number| row(*number, 0).event).peekable();
    for number in feed {
        // The last one happened too late.
        let at = if *number == 9 { 100 * SECOND - CLOCK_TOLERANCE } else { 0 };
        if reader.takes(&row(*number, at), got.peek(), 100 * SECOND, &mut verdict) {
            got.next();
        }
    }
    (reader.count, verdict.findings + got.count())
}

#[test]
fn a_reader_that_skips_doubles_or_reorders_is_found() {
    assert_eq!(read(&[1, 2, 3, 9], &[1, 2, 3, 9]), (4, 0));
    assert_eq!(read(&[1, 2, 3, 9], &[1, 2, 3]), (3, 0));
    for got in [vec![1, 3, 9], vec![1, 2, 2, 3, 9], vec![1, 3, 2, 9], vec![1, 2], vec![], vec![1, 2, 3, 9, 9], vec![1, 2, 3, 4, 9]] {
        assert!(read(&[1, 2, 3, 9], &got).1 > 0, "{got:?}");
    }
}
