//! What the receivers of webhooks got.

use record::{Event, Message};

use super::*;
use crate::{feed::Row, messages::check};

/// Three events of a card and one of another, and the messages that tell two endpoints of them.
fn world() -> (Vec<Row>, Vec<Message>) {
    let (mut rows, mut messages) = (Vec::new(), Vec::new());
    for (number, (card, sequence)) in [("card_1", 1), ("card_1", 2), ("card_2", 1), ("card_1", 3)].into_iter().enumerate() {
        let at = (10 + number as u64) * SECOND;
        let event =
            Event { id: format!("msg_{number}"), kind: "card.created".to_owned(), card: Some(card.to_owned()), sequence: Some(sequence) };
        rows.push(Row { event: event.clone(), position: Some(1), ordinal: 1, at });
        for endpoint in 0..2 {
            messages.push(Message {
                endpoint,
                ordered: endpoint == 0,
                webhook_id: event.id.clone(),
                signed: true,
                hash: number as u64,
                event: event.clone(),
                arrived: at,
                accepted: Some(at + 1),
            });
        }
    }
    (rows, messages)
}

fn findings(rows: &[Row], messages: Vec<Message>) -> usize {
    let mut verdict = Verdict::default();
    check(rows, messages, (60 * SECOND, 1), &mut verdict);
    assert!(verdict.kept.iter().all(|finding| finding.rule == Rule::Message));
    verdict.findings
}

#[test]
fn messages_that_came_once_have_no_findings() {
    let (rows, messages) = world();
    assert_eq!(findings(&rows, messages), 0);
}

#[test]
fn a_message_that_is_missing_or_was_never_accepted_is_found() {
    let (mut rows, mut messages) = world();
    messages[7].accepted = None;
    assert_eq!(findings(&rows, messages.clone()), 1);
    messages.pop();
    assert_eq!(findings(&rows, messages.clone()), 1);
    // It happened too late to be there at the end.
    rows[3].at = 60 * SECOND;
    messages[6].arrived = rows[3].at;
    assert_eq!(findings(&rows, messages), 0);
    assert_eq!(findings(&[], Vec::new()), 1);
}

#[test]
fn a_message_that_is_no_event_or_another_one_is_found() {
    let changes: [fn(&mut Message); 6] = [
        |message| message.signed = false,
        |message| message.hash += 1,
        |message| message.event.id = "msg_9".to_owned(),
        |message| message.event.sequence = Some(9),
        |message| message.event.kind = "card.blocked".to_owned(),
        |message| message.arrived = 11 * SECOND,
    ];
    for (number, change) in changes.into_iter().enumerate() {
        let (rows, mut messages) = world();
        change(&mut messages[7]);
        assert_eq!(findings(&rows, messages), 1, "{number}");
    }
    let (rows, mut messages) = world();
    let rolled_back = Event { id: "msg_9".to_owned(), ..Event::default() };
    messages.push(Message { webhook_id: "msg_9".to_owned(), event: rolled_back, ..messages[1].clone() });
    assert_eq!(findings(&rows, messages), 1);
}

#[test]
fn a_message_before_the_one_before_was_accepted_is_found() {
    let (rows, mut messages) = world();
    // The second of a card comes while the first was not accepted, which is only then.
    let first = Message { arrived: 12 * SECOND, accepted: Some(12 * SECOND), ..messages[0].clone() };
    messages[0].accepted = None;
    messages.push(first);
    assert_eq!(findings(&rows, messages.clone()), 1);
    // That endpoint was promised nothing.
    for message in &mut messages {
        message.ordered = false;
    }
    assert_eq!(findings(&rows, messages), 0);
}

#[test]
fn more_messages_that_come_again_than_faults_explain_are_found() {
    let (rows, mut messages) = world();
    for expected in [0, 1] {
        messages.push(Message { arrived: 20 * SECOND, accepted: None, ..messages[1].clone() });
        assert_eq!(findings(&rows, messages.clone()), expected);
    }
}
