//! The windows of limits, with a database clock that the tests set: midnight in Bogota, a change of clocks in Madrid, and
//! payments that go on in a later window.

use core_api::domain::role::Role;
use serde_json::{Value, json};

use crate::support::{Actor, World, payments::id, without_quota};

/// A world whose database has a clock that can be set. It shadows the built-in function, and only goes forward.
pub async fn with_a_clock() -> (World, Actor) {
    let world = World::with(without_quota).await;
    let name = world.database.options.get_database().expect("a name").to_owned();
    let clock = format!(
        "create table clock_shift (by interval not null);
         insert into clock_shift values ('0');
         create function clock_timestamp() returns timestamptz language sql volatile
             as 'select pg_catalog.clock_timestamp() + (select by from public.clock_shift)';
         grant select on clock_shift to public;
         alter database {name} set search_path = public, pg_catalog"
    );
    world.database.execute_on_each_node(&clock).await;
    // Its connections are made after the search path was set.
    let world = world.fresh_replica().await;
    let admin = world.admin().await;
    // A key does not expire when the clock goes on.
    let (_, key) = admin.given_api_key(Role::Admin).await;
    (world, key)
}

pub async fn set_clock(world: &World, admin: &Actor, to: &str) {
    let shift = format!("update clock_shift set by = timestamptz '{to}' - pg_catalog.clock_timestamp()");
    world.database.execute_on_each_node(&shift).await;
    // A replica follows the clock by itself for a while after it was told of it.
    admin.given_card_with(json!(1)).await;
}

async fn limits(actor: &Actor, card: &str) -> Vec<Value> {
    actor.get(&format!("/cards/{card}/limits")).await.ok()["limits"].as_array().expect("a list").clone()
}

/// The window and the use of a card's only limit.
async fn window(actor: &Actor, card: &str) -> (String, String, Value, Value) {
    let limits = limits(actor, card).await;
    let [limit] = limits.as_slice() else { panic!("{limits:?} is not one limit") };
    let text = |name: &str| limit[name].as_str().expect("a moment").to_owned();
    (text("windowStart"), text("windowEnd"), limit["used"].clone(), limit["remaining"].clone())
}

fn of(start: &str, end: &str, used: Value, remaining: Value) -> (String, String, Value, Value) {
    (format!("{start}.000Z"), format!("{end}.000Z"), used, remaining)
}

#[tokio::test]
async fn at_midnight_in_bogota_a_day_begins_anew_and_what_expires_then_stays_with_the_day_before() {
    let (world, admin) = with_a_clock().await;
    set_clock(&world, &admin, "2027-02-02T04:59:30Z").await;
    let card = admin.given_card_with(json!(1_000)).await;
    admin.post(&format!("/cards/{card}/limits"), json!({"interval": "day", "timeZone": "America/Bogota", "amount": 100})).await.ok();
    let hold = admin.given_hold(&card, json!(90)).await;
    assert_eq!(window(&admin, &card).await, of("2027-02-01T05:00:00", "2027-02-02T05:00:00", json!(90), json!(10)));
    assert_eq!(admin.authorize(&card, json!(11)).await.ok()["authorization"]["decline"]["code"], "limit_amount_exceeded");

    set_clock(&world, &admin, "2027-02-02T05:00:00Z").await;
    assert_eq!(window(&admin, &card).await, of("2027-02-02T05:00:00", "2027-02-03T05:00:00", json!(0), json!(100)));
    let second = admin.given_hold(&card, json!(95)).await;
    // The first belongs to the day before, with all of its steps.
    let raised = admin.step(&hold, "increments", json!({"amount": 11})).await.ok();
    let check = raised["entry"]["checks"].as_array().and_then(|checks| checks.iter().find(|check| check["check"] == "limit")).cloned();
    assert_eq!(raised["entry"]["decline"]["code"], "limit_amount_exceeded", "{raised}");
    assert_eq!(check.expect("a check")["windowStart"], "2027-02-01T05:00:00.000Z");
    admin.step(&hold, "increments", json!({"amount": 10})).await.ok();
    admin.step(&hold, "reversals", json!({"amount": 60})).await.ok();
    admin.expire(&hold).await.ok();
    assert_eq!(window(&admin, &card).await.2, json!(95), "what comes back of yesterday does not enlarge today");
    // A late capture is spent when it is posted, and can exceed.
    admin.capture(&hold, json!(30)).await.ok();
    assert_eq!(window(&admin, &card).await, of("2027-02-02T05:00:00", "2027-02-03T05:00:00", json!(125), json!(0)));
    admin.step(&second, "reversals", json!({})).await.ok();
    assert_eq!(window(&admin, &card).await.2, json!(30));
}

#[tokio::test]
async fn days_in_madrid_have_23_and_25_hours_when_the_clocks_change() {
    let (world, admin) = with_a_clock().await;
    let card = admin.given_card_with(json!(1_000)).await;
    set_clock(&world, &admin, "2027-03-27T22:30:00Z").await;
    admin.post(&format!("/cards/{card}/limits"), json!({"interval": "day", "timeZone": "Europe/Madrid", "count": 1})).await.ok();
    for (clock, start, end) in [
        ("2027-03-27T22:59:59Z", "2027-03-26T23:00:00.000Z", "2027-03-27T23:00:00.000Z"),
        ("2027-03-27T23:00:00Z", "2027-03-27T23:00:00.000Z", "2027-03-28T22:00:00.000Z"),
        ("2027-03-28T22:00:00Z", "2027-03-28T22:00:00.000Z", "2027-03-29T22:00:00.000Z"),
        ("2027-10-30T22:00:00Z", "2027-10-30T22:00:00.000Z", "2027-10-31T23:00:00.000Z"),
        ("2027-10-31T22:59:00Z", "2027-10-30T22:00:00.000Z", "2027-10-31T23:00:00.000Z"),
        ("2027-10-31T23:00:00Z", "2027-10-31T23:00:00.000Z", "2027-11-01T23:00:00.000Z"),
    ] {
        set_clock(&world, &admin, clock).await;
        let first = admin.authorize(&card, json!(1)).await.ok()["authorization"].clone();
        let limit = limits(&admin, &card).await[0].clone();
        assert_eq!((&limit["windowStart"], &limit["resetsAt"]), (&json!(start), &json!(end)), "{clock}");
        // The day of 25 hours is one window, an hour before its end too.
        let expected = if clock == "2027-10-31T22:59:00Z" { "declined" } else { "pending" };
        assert_eq!(first["status"], expected, "{clock}");
        assert_eq!(admin.authorize(&card, json!(1)).await.ok()["authorization"]["decline"]["code"], "limit_count_exceeded", "{clock}");
    }
}

#[tokio::test]
async fn what_a_payment_spends_in_two_months_comes_back_to_each() {
    let (world, admin) = with_a_clock().await;
    let card = admin.given_card_with(json!(10_000)).await;
    let limit = json!({"interval": "month", "amount": 1_000, "restoreOnRefund": true});
    admin.post(&format!("/cards/{card}/limits"), limit).await.ok();
    set_clock(&world, &admin, "2027-01-31T23:00:00Z").await;
    let hold = admin.given_hold(&card, json!(100)).await;
    set_clock(&world, &admin, "2027-02-03T12:00:00Z").await;
    let captured = admin.capture(&hold, json!(150)).await.ok();
    let january = "select amount from limit_usage where window_start = '2027-01-01'";
    assert_eq!((window(&admin, &card).await.2, world.database.number(january).await), (json!(50), 10_000));
    // What the hold covered comes back first, and what was beyond afterwards.
    let movement = id(&captured["movement"]);
    admin.network(&format!("captures/{movement}/reversals"), json!({"amount": 40})).await.ok();
    assert_eq!((window(&admin, &card).await.2, world.database.number(january).await), (json!(50), 6_000));
    let refund = admin.network_refund(&card, json!(80), json!({"authorizationId": hold})).await.ok();
    assert_eq!((window(&admin, &card).await.2, world.database.number(january).await), (json!(30), 0));
    set_clock(&world, &admin, "2027-03-01T00:00:00Z").await;
    admin.network(&format!("refunds/{}/reversals", id(&refund["movement"])), json!({})).await.ok();
    let february = "select amount from limit_usage where window_start = '2027-02-01'";
    assert_eq!((world.database.number(february).await, world.database.number(january).await), (5_000, 6_000));
    assert_eq!(window(&admin, &card).await.2, json!(0));
}
