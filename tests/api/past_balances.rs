//! The money that a card had at a moment in the past.

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use serde_json::{Value, json};

use crate::{
    limit_windows::{set_clock, with_a_clock},
    support::{Actor, World, payments::position},
};

/// What a card had at a moment.
async fn at(actor: &Actor, card: &str, moment: &str) -> String {
    let past = actor.get(&format!("/balances/{card}?at={moment}")).await.ok();
    assert_eq!(past["at"].as_str().and_then(|at| at.parse::<DateTime<Utc>>().ok()), moment.parse().ok(), "{past}");
    assert_eq!((&past["cardId"], &past["currency"]), (&json!(card), &json!("USD")));
    position(&past)
}

/// A moment a little before or after another one.
fn near(moment: &Value, milliseconds: i64) -> String {
    let moment: DateTime<Utc> = moment.as_str().expect("a moment").parse().expect("a moment");
    (moment + TimeDelta::milliseconds(milliseconds)).to_rfc3339_opts(SecondsFormat::Millis, true)
}

/// The database's clock.
async fn clock(world: &World) -> String {
    let epoch = world.database.number("select ceil(extract(epoch from clock_timestamp()) * 1000)::bigint").await;
    DateTime::from_timestamp_millis(epoch).expect("a moment").to_rfc3339_opts(SecondsFormat::Millis, true)
}

#[tokio::test]
async fn a_balance_is_that_of_the_newest_movement_at_the_moment_or_before() {
    let (_world, admin) = World::with_admin().await;
    let card = admin.given_card_with(json!(100)).await;
    admin.purchase(&card, json!(20.5)).await.ok();
    tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    admin.refund(&card, json!(0.5)).await.ok();
    let movements = admin.movements(&card).await;
    let [refund, purchase, top_up] = [0, 1, 2].map(|place: usize| movements[place]["date"].clone());
    assert_eq!(at(&admin, &card, &near(&refund, 0)).await, "80 0 80", "the time of a movement includes it");
    assert_eq!(at(&admin, &card, &near(&refund, -1)).await, "79.5 0 79.5");
    assert_eq!(at(&admin, &card, &near(&purchase, 0)).await, "79.5 0 79.5");
    assert_eq!(at(&admin, &card, &near(&top_up, -1)).await, "0 0 0");
    let created = admin.card(&card).await["createdAt"].clone();
    assert_eq!(at(&admin, &card, &near(&created, 0)).await, "0 0 0");
    for before in [near(&created, -1), "2020-02-29".to_owned(), "0000-01-01T00:00:00Z".to_owned()] {
        admin.get(&format!("/balances/{card}?at={before}")).await.problem(404, "card_not_found");
    }
    let now = admin.get(&format!("/balances/{card}")).await;
    assert_eq!(now.text, format!(r#"{{"cardId":"{card}","balance":80,"currency":"USD","held":0,"available":80}}"#));
}

#[tokio::test]
async fn a_moment_is_a_time_that_has_come() {
    let (world, admin, other) = World::with_two_accounts().await;
    let card = admin.given_card_with(json!(100)).await;
    let future = near(&json!(clock(&world).await), 60_000);
    for (query, fault) in [
        (format!("at={future}"), "at: out_of_range"),
        ("at=9999-12-31T23:59:59.999Z".to_owned(), "at: out_of_range"),
        ("at=yesterday".to_owned(), "at: invalid_date"),
        ("at=".to_owned(), "at: invalid_date"),
        ("at=2025-01-01&at=2025-01-02".to_owned(), "at: duplicate"),
        ("to=2025-01-01".to_owned(), "to: unknown_parameter"),
    ] {
        assert_eq!(admin.get(&format!("/balances/{card}?{query}")).await.field_errors(), [fault], "{query}");
    }
    let past = near(&json!(clock(&world).await), -1);
    other.get(&format!("/balances/{card}?at={past}")).await.problem(404, "card_not_found");
    // A plus sign of an offset need not be encoded.
    let local = past.parse::<DateTime<Utc>>().expect("a moment") + TimeDelta::hours(2);
    let local = local.to_rfc3339_opts(SecondsFormat::Millis, true).replace('Z', "+02:00");
    assert_eq!(admin.get(&format!("/balances/{card}?at={local}")).await.ok()["at"], past);
}

#[tokio::test]
async fn holds_count_from_their_approval_until_they_are_captured_or_due() {
    let (world, admin) = with_a_clock().await;
    set_clock(&world, &admin, "2027-02-01T10:00:00Z").await;
    let card = admin.given_card_with(json!(500)).await;
    set_clock(&world, &admin, "2027-02-01T10:05:00Z").await;
    let captured = admin.given_hold(&card, json!(100)).await;
    set_clock(&world, &admin, "2027-02-01T10:10:00Z").await;
    let due = json!({"expiresAt": "2027-02-01T10:20:00Z"});
    admin.authorize_with(&card, json!(30), due.clone()).await.ok();
    admin.authorize_with(&card, json!(7), due).await.ok();
    set_clock(&world, &admin, "2027-02-01T10:15:00Z").await;
    // What the capture leaves of its hold is released.
    admin.capture(&captured, json!(60)).await.ok();
    let ended = admin.given_hold(&card, json!(4)).await;
    set_clock(&world, &admin, "2027-02-01T10:30:00Z").await;
    let story = [
        ("2027-02-01T09:59:59.999Z", "0 0 0"),
        ("2027-02-01T10:04:59.999Z", "500 0 500"),
        ("2027-02-01T10:09:59.999Z", "500 100 400"),
        ("2027-02-01T10:14:59.999Z", "500 137 363"),
        ("2027-02-01T10:19:59.999Z", "440 41 399"),
        ("2027-02-01T10:20:00.000Z", "440 4 436"),
        ("2027-02-01T10:29:59.999Z", "440 4 436"),
    ];
    let expiries = "select count(*) from authorization_entries where kind = 'expiry'";
    assert_eq!(world.database.number(expiries).await, 0, "no expiry is written yet");
    for (moment, money) in story {
        assert_eq!(at(&admin, &card, moment).await, money, "{moment}, before the expiry is written");
    }
    // The first step after a hold is due writes its expiry. This hold ends before it is due.
    admin.expire(&ended).await.ok();
    set_clock(&world, &admin, "2027-02-01T10:40:00Z").await;
    admin.given_hold(&card, json!(1)).await;
    assert_eq!(world.database.number(expiries).await, 3);
    for (moment, money) in story.into_iter().chain([("2027-02-01T10:39:59.999Z", "440 0 440")]) {
        assert_eq!(at(&admin, &card, moment).await, money, "{moment}, once the expiry is written");
    }
    world.assert_ledger_is_clean().await;
}

#[tokio::test]
async fn a_past_balance_is_what_was_answered_at_the_time() {
    let (world, admin) = World::with_admin().await;
    let card = admin.given_card_with(json!(1_000)).await;
    let mut told = Vec::new();
    let mut tell = async || {
        told.push((admin.position(&card).await, clock(&world).await));
        // What comes next is in another millisecond.
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    };
    for round in 1..=6 {
        let (kept, taken) = (admin.given_hold(&card, json!(round)).await, admin.given_hold(&card, json!(10)).await);
        tell().await;
        admin.capture(&taken, json!(12)).await.ok();
        tell().await;
        match round % 3 {
            0 => drop(admin.expire(&kept).await.ok()),
            1 => drop(admin.step(&kept, "reversals", json!({})).await.ok()),
            _ => drop(admin.add(&card, json!(0.25)).await.ok()),
        }
        tell().await;
    }
    for (money, moment) in told {
        assert_eq!(at(&admin, &card, &moment).await, money, "{moment}");
    }
}
