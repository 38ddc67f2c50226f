//! Limits of cards and of customers: how they are created and listed, what they cannot be, and what they leave. `limit_changes`
//! has their changes, and `limits_used` what was spent of them.

use chrono::{DateTime, Datelike as _, Days, Months, NaiveDate, SecondsFormat, TimeDelta, Utc};
use core_api::domain::card::CardStatus;
use serde_json::{Value, json};

use crate::support::{
    World,
    payments::with,
    spending::{limit_id, limit_with, moment},
};

/// The window of an interval that a moment lies in, in a zone that is so many hours from UTC.
fn window(interval: &str, week_start: &str, at: DateTime<Utc>, hours: i64) -> [Value; 2] {
    let day = (at + TimeDelta::hours(hours)).date_naive();
    let first_of = |year: i32, month: u32| NaiveDate::from_ymd_opt(year, month, 1).expect("a day");
    let [first, next] = match interval {
        "day" => [day, day + Days::new(1)],
        "week" => {
            let passed = if week_start == "sunday" { day.weekday().number_from_sunday() } else { day.weekday().number_from_monday() } - 1;
            let first = day - Days::new(passed.into());
            [first, first + Days::new(7)]
        }
        "month" => [first_of(day.year(), day.month()), first_of(day.year(), day.month()) + Months::new(1)],
        "year" => [first_of(day.year(), 1), first_of(day.year() + 1, 1)],
        _ => return [Value::Null, Value::Null],
    };
    [first, next].map(|day| {
        let midnight = day.and_hms_opt(0, 0, 0).expect("midnight").and_utc() - TimeDelta::hours(hours);
        json!(midnight.to_rfc3339_opts(SecondsFormat::Millis, true))
    })
}

#[tokio::test]
async fn a_limit_has_the_members_of_its_request_and_defaults_for_the_others() {
    let (_world, admin) = World::with_admin().await;
    let card = admin.given_card().await;
    let created = admin.limit_card(&card, json!({"interval": "month", "amount": 300})).await.ok();
    let [start, end] = window("month", "monday", moment(&created["createdAt"]), 0);
    let mut expected = json!({
        "limitId": created["limitId"], "scope": "card", "cardId": card, "customerId": null, "name": null, "currency": "USD",
        "interval": "month", "timeZone": "UTC", "weekStart": "monday", "amount": 300, "count": null, "categories": null,
        "countries": null, "merchants": null, "restoreOnRefund": false, "status": "active", "windowStart": start, "windowEnd": end,
        "used": 0, "usedCount": 0, "remaining": 300, "remainingCount": null, "resetsAt": end, "createdAt": created["createdAt"],
        "updatedAt": created["createdAt"],
    });
    assert!(limit_id(&created).starts_with("lim_"));
    assert_eq!(created, expected);
    assert_eq!(admin.card_limits(&card).await["limits"], json!([expected]));

    let members = json!({
        "name": "  Travel ", "timeZone": "America/Bogota", "weekStart": "sunday", "amount": 0.01, "count": 0, "categories": ["4511", "7011"],
        "countries": ["CO"], "merchants": ["M1", "M2"], "restoreOnRefund": true, "status": "paused",
    });
    let created = admin.limit_card(&card, limit_with(members.clone())).await.ok();
    expected = with(expected, members);
    let [start, end] = window("month", "sunday", moment(&created["createdAt"]), -5);
    let rest = json!({
        "limitId": created["limitId"], "name": "Travel", "remaining": 0.01, "remainingCount": 0, "windowStart": start, "windowEnd": end,
        "resetsAt": end, "createdAt": created["createdAt"], "updatedAt": created["createdAt"],
    });
    assert_eq!(created, with(expected, rest));

    // Null and an empty list are a member left out.
    let nulls = json!({
        "name": null, "timeZone": null, "weekStart": null, "count": null, "categories": null, "countries": [], "merchants": [],
        "restoreOnRefund": null, "status": null,
    });
    let created = admin.limit_card(&card, limit_with(nulls)).await.ok();
    let values = ["name", "timeZone", "weekStart", "categories", "countries", "merchants", "restoreOnRefund", "status"];
    let values: Vec<&Value> = values.iter().map(|name| &created[*name]).collect();
    assert_eq!(json!(values), json!([null, "UTC", "monday", null, null, null, false, "active"]));
}

#[tokio::test]
async fn a_customer_s_limit_names_its_currency_and_applies_to_its_cards_in_that_currency() {
    let (_world, admin) = World::with_admin().await;
    let (customer, stranger) = (admin.given_customer().await, admin.given_customer().await);
    let [dollars, euros] = [json!("USD"), json!("EUR")];
    let mut cards = Vec::new();
    for currency in [&dollars, &euros] {
        let card = admin.post("/cards", json!({"currency": currency})).await.ok()["cardId"].as_str().expect("an id").to_owned();
        admin.assign(&card, &customer).await.ok();
        cards.push(card);
    }
    let own = admin.limit_card(&cards[0], limit_with(json!({}))).await.ok();
    let mut limits = Vec::new();
    for currency in [&euros, &dollars] {
        let created = admin.limit_customer(&customer, limit_with(json!({"currency": currency}))).await.ok();
        let named = ["scope", "cardId", "customerId", "currency"].map(|name| created[name].clone());
        assert_eq!(named, [json!("customer"), Value::Null, json!(customer), currency.clone()]);
        limits.push(created);
    }
    admin.limit_customer(&stranger, limit_with(json!({}))).await.ok();
    assert_eq!(admin.customer_limits(&customer).await, limits);
    // The card's own come first, though they are older or newer.
    let newer = admin.limit_card(&cards[0], limit_with(json!({}))).await.ok();
    assert_eq!(admin.card_limits(&cards[0]).await["limits"], json!([own, newer, limits[1]]));
    assert_eq!(admin.card_limits(&cards[1]).await["limits"], json!([limits[0]]));
    assert_eq!(admin.card_limits(&cards[1]).await["currency"], "EUR");
    let unassigned = admin.given_card().await;
    assert_eq!(admin.card_limits(&unassigned).await["limits"], json!([]));
}

#[tokio::test]
async fn windows_are_calendar_days_weeks_months_and_years_in_the_limit_s_zone() {
    let (_world, admin) = World::with_admin().await;
    let card = admin.given_card().await;
    for (interval, week_start) in [("day", "monday"), ("week", "monday"), ("week", "sunday"), ("month", "monday"), ("year", "monday")] {
        // None of these zones changes its clocks.
        for (zone, hours) in [("UTC", 0), ("America/Bogota", -5), ("Asia/Tokyo", 9), ("Pacific/Kiritimati", 14)] {
            let members = json!({"interval": interval, "timeZone": zone, "weekStart": week_start});
            let limit = admin.limit_card(&card, limit_with(members)).await.ok();
            let [start, end] = window(interval, week_start, moment(&limit["createdAt"]), hours);
            assert_eq!([&limit["windowStart"], &limit["windowEnd"], &limit["resetsAt"]], [&start, &end, &end], "{interval} {zone}");
            admin.delete(&format!("/limits/{}", limit_id(&limit))).await.ok();
        }
    }
    let limit = admin.limit_card(&card, limit_with(json!({"interval": "lifetime", "count": 2}))).await.ok();
    let window = ["windowStart", "windowEnd", "resetsAt", "used", "usedCount", "remaining", "remainingCount"];
    assert_eq!(json!(window.map(|name| limit[name].clone())), json!([null, null, null, 0, 0, 300, 2]));
    let limit = admin.limit_card(&card, limit_with(json!({"interval": "transaction"}))).await.ok();
    assert_eq!(json!(window.map(|name| limit[name].clone())), json!([null, null, null, null, null, null, null]));
    assert_eq!(limit["amount"], 300);
}

/// Members that no limit can have, each with its fault.
fn wrong_members() -> Vec<(Value, &'static str)> {
    vec![
        (json!({"interval": null}), "interval: required"),
        (json!({"interval": "hour"}), "interval: unknown_value"),
        (json!({"interval": "Month"}), "interval: unknown_value"),
        (json!({"interval": 30}), "interval: wrong_type"),
        (json!({"timeZone": "Bogota"}), "timeZone: invalid_format"),
        (json!({"timeZone": "America/Bogotá"}), "timeZone: invalid_format"),
        (json!({"timeZone": "-05:00"}), "timeZone: invalid_format"),
        (json!({"timeZone": " "}), "timeZone: blank"),
        (json!({"timeZone": "x".repeat(65)}), "timeZone: too_long"),
        (json!({"timeZone": 5}), "timeZone: wrong_type"),
        (json!({"weekStart": "tuesday"}), "weekStart: unknown_value"),
        (json!({"weekStart": 0}), "weekStart: wrong_type"),
        (json!({"restoreOnRefund": "yes"}), "restoreOnRefund: wrong_type"),
        (json!({"categories": ["541"]}), "categories: invalid_format"),
        (json!({"categories": "5411"}), "categories: wrong_type"),
        (json!({"categories": Value::Array(vec![json!("5411"); 251])}), "categories: too_many"),
        (json!({"countries": ["XX"]}), "countries: unknown_value"),
        (json!({"merchants": ["x".repeat(17)]}), "merchants: too_long"),
        (json!({"merchants": [5]}), "merchants: wrong_type"),
        (json!({"amount": null}), "amount: required"),
        (json!({"interval": "transaction", "count": 1}), "count: excluded"),
        (json!({"interval": "transaction", "amount": null, "count": 1}), "count: excluded"),
    ]
}

/// Members that a change can have as well.
fn wrong_members_of_changes() -> Vec<(Value, &'static str)> {
    vec![
        (json!({"name": " "}), "name: blank"),
        (json!({"name": "x".repeat(201)}), "name: too_long"),
        (json!({"name": "a\u{0}"}), "name: control_character"),
        (json!({"name": 5}), "name: wrong_type"),
        (json!({"amount": -0.01}), "amount: out_of_range"),
        (json!({"amount": 90_071_992_547_409.92_f64}), "amount: out_of_range"),
        (json!({"amount": 1.005}), "amount: too_many_decimals"),
        (json!({"amount": "300"}), "amount: wrong_type"),
        (json!({"count": -1}), "count: out_of_range"),
        (json!({"count": 1_000_001}), "count: out_of_range"),
        (json!({"count": 1.5}), "count: out_of_range"),
        (json!({"count": "1"}), "count: wrong_type"),
        (json!({"status": "off"}), "status: unknown_value"),
        (json!({"status": false}), "status: wrong_type"),
    ]
}

#[tokio::test]
async fn a_wrong_member_is_named_and_nothing_is_created_or_changed() {
    let (world, admin) = World::with_admin().await;
    let (card, customer) = (admin.given_card().await, admin.given_customer().await);
    for (members, fault) in wrong_members().into_iter().chain(wrong_members_of_changes()) {
        assert_eq!(admin.limit_card(&card, limit_with(members.clone())).await.field_errors(), [fault], "{members}");
        assert_eq!(admin.limit_customer(&customer, limit_with(members.clone())).await.field_errors(), [fault], "{members}");
    }
    // A card has a currency, and a customer none.
    assert_eq!(admin.limit_card(&card, limit_with(json!({"currency": "USD"}))).await.field_errors(), ["currency: excluded"]);
    for (currency, fault) in
        [(Value::Null, "required"), (json!("GBP"), "unknown_value"), (json!("usd"), "unknown_value"), (json!(5), "wrong_type")]
    {
        let reply = admin.limit_customer(&customer, limit_with(json!({"currency": currency}))).await;
        assert_eq!(reply.field_errors(), [format!("currency: {fault}")]);
    }
    let many = json!({"currency": "", "interval": "", "amount": "", "count": "", "timeZone": "x", "categories": 1, "status": ""});
    let expected = [
        "currency: unknown_value",
        "interval: unknown_value",
        "timeZone: invalid_format",
        "amount: wrong_type",
        "count: wrong_type",
        "categories: wrong_type",
        "status: unknown_value",
    ];
    assert_eq!(admin.limit_customer(&customer, many).await.field_errors(), expected);
    assert_eq!(world.database.number("select count(*) from limits").await, 0);

    let limit = admin.given_limit(&card, limit_with(json!({}))).await;
    let before = admin.card_limits(&card).await;
    for (members, fault) in wrong_members_of_changes() {
        assert_eq!(admin.change_limit(&limit, members.clone()).await.field_errors(), [fault], "{members}");
    }
    for (name, value) in [
        ("scope", json!("card")),
        ("cardId", json!(card)),
        ("customerId", json!(customer)),
        ("currency", json!("USD")),
        ("interval", json!("month")),
        ("timeZone", json!("UTC")),
        ("weekStart", json!("monday")),
        ("categories", json!([])),
        ("countries", json!(["CO"])),
        ("merchants", json!(["M1"])),
        ("restoreOnRefund", json!(false)),
    ] {
        let refused = admin.change_limit(&limit, json!({"amount": 1, name: value})).await.problem(400, "validation_failed");
        let detail = format!("{name} cannot be changed; create another limit instead.");
        assert_eq!(refused["errors"], json!([{"field": name, "code": "excluded", "detail": detail}]));
    }
    assert_eq!(admin.card_limits(&card).await, before);
    // The bounds themselves are permitted.
    for members in [json!({"amount": 0, "count": 0}), json!({"amount": 90_071_992_547_409.9_f64, "count": 1_000_000})] {
        let created = admin.limit_card(&card, limit_with(members.clone())).await.ok();
        assert_eq!(created, with(created.clone(), members));
    }
}

#[tokio::test]
async fn an_unknown_card_customer_or_limit_is_404_and_a_cancelled_card_gets_no_limit() {
    let (_world, admin) = World::with_admin().await;
    for id in ["card_001", "card_01h455vb4pex5vsknk084sn02q"] {
        admin.get(&format!("/cards/{id}/limits")).await.problem(404, "card_not_found");
        admin.limit_card(id, limit_with(json!({}))).await.problem(404, "card_not_found");
    }
    for id in ["cus_001", "cus_01h455vb4pex5vsknk084sn02q"] {
        admin.get(&format!("/customers/{id}/limits")).await.problem(404, "customer_not_found");
        admin.limit_customer(id, limit_with(json!({}))).await.problem(404, "customer_not_found");
    }
    for id in ["lim_001", "lim_01h455vb4pex5vsknk084sn02q"] {
        admin.change_limit(id, json!({"amount": 5})).await.problem(404, "limit_not_found");
        admin.delete(&format!("/limits/{id}")).await.problem(404, "limit_not_found");
    }
    for status in CardStatus::ALL {
        let card = admin.given_card_in(status).await;
        let reply = admin.limit_card(&card, limit_with(json!({}))).await;
        if status == CardStatus::Cancelled {
            reply.problem(409, "card_cancelled");
        } else {
            // The limits that a card has can be changed and deleted even when it is cancelled.
            let limit = limit_id(&reply.ok());
            if status != CardStatus::Blocked {
                admin.set_status(&card, "cancelled").await.ok();
            }
            admin.change_limit(&limit, json!({"amount": 5})).await.ok();
            admin.delete(&format!("/limits/{limit}")).await.ok();
        }
    }
}

#[tokio::test]
async fn the_answer_to_a_new_or_changed_limit_tells_what_was_spent_and_is_left() {
    let (_world, admin) = World::with_admin().await;
    let card = admin.given_card_with(json!(1000)).await;
    admin.given_hold(&card, json!(287.5)).await;
    let created = admin.limit_card(&card, json!({"interval": "month", "amount": 300, "count": 1})).await.ok();
    let left = |limit: &Value| ["used", "usedCount", "remaining", "remainingCount"].map(|name| limit[name].to_string()).join(" ");
    assert_eq!(left(&created), "287.5 1 12.5 0");
    let limit = created["limitId"].as_str().expect("an id");
    let change = async |members: Value| left(&admin.change_limit(limit, members).await.ok());
    assert_eq!(change(json!({"amount": 200, "count": 5})).await, "287.5 1 0 4", "less than nothing is not left");
    assert_eq!(change(json!({"amount": null})).await, "287.5 1 null 4");
    assert_eq!(change(json!({"amount": 1000, "status": "paused"})).await, "287.5 1 712.5 4");
    admin.given_hold(&card, json!(12.5)).await;
    assert_eq!(left(&admin.card_limits(&card).await["limits"][0]), "300 2 700 3", "a paused limit counts");
}

#[tokio::test]
async fn what_a_card_can_spend_at_once_is_the_least_of_what_is_available_and_left() {
    let (world, admin) = World::with_admin().await;
    let (card, customer) = (admin.given_card_with(json!(100)).await, admin.given_customer().await);
    admin.assign(&card, &customer).await.ok();
    let spendable = async || {
        let limits = admin.card_limits(&card).await;
        assert_eq!((&limits["cardId"], &limits["currency"]), (&json!(card), &json!("USD")));
        format!("{} {}", limits["available"], limits["spendableNow"])
    };
    assert_eq!(spendable().await, "100 100");
    let due = admin.given_hold(&card, json!(30)).await;
    assert_eq!(spendable().await, "70 70");
    let limits = async |of_card: bool, members: Value| {
        if of_card { admin.given_limit(&card, members).await } else { admin.given_customer_limit(&customer, members).await }
    };
    let single = limits(true, json!({"interval": "transaction", "amount": 60})).await;
    assert_eq!(spendable().await, "70 60");
    limits(false, json!({"interval": "month", "amount": 85})).await;
    assert_eq!(spendable().await, "70 55");
    // A limit on some payments, or that is paused, or on a number that is not reached, does not say.
    limits(true, json!({"interval": "month", "amount": 1, "categories": ["5411"]})).await;
    limits(true, json!({"interval": "day", "count": 2})).await;
    let paused = limits(true, json!({"interval": "day", "amount": 0, "count": 0, "status": "paused"})).await;
    assert_eq!(spendable().await, "70 55");
    admin.change_limit(&single, json!({"amount": 20.5})).await.ok();
    assert_eq!(spendable().await, "70 20.5");
    // What is due has ended, though nobody has seen it yet; it is still counted until then.
    world.make_due(&due).await;
    let limits = admin.card_limits(&card).await;
    assert_eq!((&limits["available"], &limits["spendableNow"]), (&json!(100), &json!(20.5)));
    admin.given_hold(&card, json!(1)).await;
    admin.given_hold(&card, json!(1)).await;
    assert_eq!(spendable().await, "98 0", "the number of payments is reached");
    admin.delete(&format!("/limits/{paused}")).await.ok();
    for limit in admin.card_limits(&card).await["limits"].as_array().expect("a list") {
        admin.delete(&format!("/limits/{}", limit["limitId"].as_str().expect("an id"))).await.ok();
    }
    assert_eq!(spendable().await, "98 98");
    admin.force_post(&card, json!(200)).await.ok();
    assert_eq!(spendable().await, "-102 0");
    admin.add(&card, json!(200)).await.ok();
    admin.set_status(&card, "blocked").await.ok();
    assert_eq!(spendable().await, "98 0", "the card is not active");
}
