//! Statements of cards.

use core_api::domain::role::Role;
use serde_json::{Value, json};

use crate::{
    limit_windows::{set_clock, with_a_clock},
    support::{Actor, World, payments::cents},
};

async fn statement(actor: &Actor, card: &str, query: &str) -> Value {
    let statement = actor.get(&format!("/cards/{card}/statement?{query}")).await.ok();
    assert_adds_up(&statement);
    statement
}

/// Asserts that the opening balance and the movements come to the closing balance and to the totals.
fn assert_adds_up(statement: &Value) {
    let mut balance = cents(&statement["openingBalance"]);
    let mut totals: std::collections::BTreeMap<&str, (i64, i64)> = std::collections::BTreeMap::new();
    for movement in statement["movements"].as_array().expect("movements") {
        balance += cents(&movement["amount"]);
        assert_eq!(cents(&movement["balanceAfter"]), balance, "{movement}");
        let total = totals.entry(movement["type"].as_str().expect("a type")).or_default();
        *total = (total.0 + 1, total.1 + cents(&movement["amount"]));
    }
    assert_eq!(cents(&statement["closingBalance"]), balance);
    let told = statement["totals"].as_object().expect("totals").iter();
    let told = told.map(|(kind, total)| (kind.as_str(), (total["count"].as_i64().expect("a count"), cents(&total["amount"]))));
    assert_eq!(told.collect::<std::collections::BTreeMap<_, _>>(), totals);
}

/// A card with this many movements, which are written without the service.
async fn given_long_history(world: &World, admin: &Actor, movements: i64) -> String {
    let card = admin.given_card_in(core_api::domain::card::CardStatus::Active).await;
    world
        .database
        .execute(&format!(
            "set session_replication_role = replica;
             insert into movements (account_id, card_id, seq, id, kind, amount, balance_after, description, created_at)
             select account_id, id, n, gen_random_uuid(), 'top_up', 100, 100 * n, 'Balance top-up', created_at + n * interval '1 microsecond'
             from cards, generate_series(1, {movements}) n
             where cards.number = (select max(number) from cards where account_id = (select account_id from accounts where name = 'Test account'))
                and account_id = (select account_id from accounts where name = 'Test account');
             update cards set seq = {movements}, balance = 100 * {movements}, event_seq = event_seq + {movements}
             where (account_id, id) = (select account_id, card_id from movements limit 1);
             set session_replication_role = origin"
        ))
        .await;
    card
}

#[tokio::test]
async fn a_statement_has_the_movements_of_its_period_between_two_balances() {
    let (world, admin) = with_a_clock().await;
    set_clock(&world, &admin, "2027-01-31T23:00:00Z").await;
    let card = admin.given_card_with(json!(100)).await;
    set_clock(&world, &admin, "2027-02-10T12:00:00Z").await;
    admin.purchase(&card, json!(20)).await.ok();
    admin.purchase(&card, json!(0.5)).await.ok();
    admin.add(&card, json!(50)).await.ok();
    set_clock(&world, &admin, "2027-03-01T00:00:00Z").await;
    admin.withdraw(&card, json!(29.5)).await.ok();

    let text = admin.get(&format!("/cards/{card}/statement?from=2027-02-01&to=2027-03-01")).await.text;
    let head = format!(
        r#"{{"cardId":"{card}","currency":"USD","from":"2027-02-01T00:00:00.000Z","to":"2027-03-01T00:00:00.000Z","openingBalance":100,"closingBalance":129.50,"totals":{{"top_up":{{"count":1,"amount":50}},"purchase":{{"count":2,"amount":-20.50}}}},"movements":["#
    );
    assert!(text.starts_with(&head), "{text}");
    let february = statement(&admin, &card, "from=2027-02-01&to=2027-03-01").await;
    let mut listed = admin.get(&format!("/cards/{card}/movements?from=2027-02-01&to=2027-03-01")).await.ok()["movements"].clone();
    listed.as_array_mut().expect("a list").reverse();
    assert_eq!((listed.as_array().map(Vec::len), &february["movements"]), (Some(3), &listed));

    let january = statement(&admin, &card, "from=2027-01-01&to=2027-02-01").await;
    assert_eq!((&january["openingBalance"], &january["closingBalance"]), (&json!(0), &json!(100)));
    // The end may lie ahead: the statement says how far the card has come.
    let march = statement(&admin, &card, "from=2027-03-01&to=2027-04-01T00:00:00%2B02:00").await;
    assert_eq!(march["to"], "2027-03-31T22:00:00.000Z");
    assert_eq!((&march["openingBalance"], &march["closingBalance"]), (&json!(129.5), &json!(100)));
    assert_eq!(march["totals"], json!({"withdrawal": {"count": 1, "amount": -29.5}}));
    let earlier = statement(&admin, &card, "from=2019-12-31&to=2020-01-01").await;
    assert_eq!((&earlier["openingBalance"], &earlier["closingBalance"]), (&json!(0), &json!(0)));
    assert_eq!((&earlier["totals"], &earlier["movements"]), (&json!({}), &json!([])));
}

#[tokio::test]
async fn a_day_begins_in_the_time_zone() {
    let (world, admin) = with_a_clock().await;
    set_clock(&world, &admin, "2027-02-02T04:59:30Z").await;
    let card = admin.given_card_with(json!(100)).await;
    set_clock(&world, &admin, "2027-02-02T05:00:00Z").await;
    admin.purchase(&card, json!(30)).await.ok();
    for (zone, day, opening, closing) in [("America/Bogota", 1, 0, 100), ("America/Bogota", 2, 100, 70), ("UTC", 2, 0, 70)] {
        let found = statement(&admin, &card, &format!("from=2027-02-0{day}&to=2027-02-0{}&timeZone={zone}", day + 1)).await;
        assert_eq!((&found["openingBalance"], &found["closingBalance"]), (&json!(opening), &json!(closing)), "{zone} {day}");
    }
    for (zone, day, next, from, to) in [
        // A day of 23 hours and one of 25.
        ("Europe/Madrid", "2026-03-29", "2026-03-30", "2026-03-28T23:00:00.000Z", "2026-03-29T22:00:00.000Z"),
        ("Europe/Madrid", "2026-10-25", "2026-10-26", "2026-10-24T22:00:00.000Z", "2026-10-25T23:00:00.000Z"),
        // Days that begin at one o'clock.
        ("America/Santiago", "2025-09-07", "2025-09-08", "2025-09-07T04:00:00.000Z", "2025-09-08T03:00:00.000Z"),
        ("Africa/Cairo", "2025-04-25", "2025-04-26", "2025-04-24T22:00:00.000Z", "2025-04-25T21:00:00.000Z"),
        ("Etc/GMT+5", "2026-01-01", "2026-01-02", "2026-01-01T05:00:00.000Z", "2026-01-02T05:00:00.000Z"),
        ("Asia/Kolkata", "2026-01-01", "2026-01-01T12:00:00Z", "2025-12-31T18:30:00.000Z", "2026-01-01T12:00:00.000Z"),
    ] {
        let found = statement(&admin, &card, &format!("from={day}&to={next}&timeZone={zone}")).await;
        assert_eq!((&found["from"], &found["to"]), (&json!(from), &json!(to)), "{zone} {day}");
    }
}

#[tokio::test]
async fn every_fault_of_the_period_is_named() {
    let (_world, admin) = World::with_admin().await;
    let card = admin.given_card().await;
    for (query, faults) in [
        ("", &["from: required", "to: required"][..]),
        ("from=2025-01-01", &["to: required"]),
        ("from=2025-01-02&to=2025-01-01", &["to: out_of_range"]),
        ("from=2025-01-01&to=2025-01-01", &["to: out_of_range"]),
        ("from=2025-01-01T00:00:00Z&to=2025-01-01T02:00:00%2B02:00", &["to: out_of_range"]),
        ("from=2025-02-30&to=1.3.2025", &["from: invalid_date", "to: invalid_date"]),
        ("from=2025-01-01&to=2025-02-01&timeZone=Bogota", &["timeZone: invalid_format"]),
        ("from=2025-01-01&to=2025-02-01&timeZone=", &["timeZone: invalid_format"]),
        ("from=2025-01-01&to=2025-02-01&from=2025-01-01", &["from: duplicate"]),
        ("from=2025-01-01&to=2025-02-01&time_zone=UTC", &["time_zone: unknown_parameter"]),
        ("from=2025-01-01&to=2025-02-01&limit=5", &["limit: unknown_parameter"]),
        ("from=0000-01-01&to=0000-01-02&timeZone=Asia/Tokyo", &["from: out_of_range"]),
        ("from=9999-12-30&to=9999-12-31", &["from: out_of_range"]),
    ] {
        assert_eq!(admin.get(&format!("/cards/{card}/statement?{query}")).await.field_errors(), faults, "{query}");
        let unknown = if faults == ["from: out_of_range"] && query.contains("9999") { 404 } else { 400 };
        assert_eq!(admin.get(&format!("/cards/card_001/statement?{query}")).await.status, unknown, "{query}");
    }
    let misspelt = admin.get(&format!("/cards/{card}/statement?from=2025-01-01&to=2025-02-01&timezone=UTC")).await;
    assert!(misspelt.text.contains("did you mean timeZone?"), "{}", misspelt.text);
}

#[tokio::test]
async fn readers_of_the_account_read_statements_and_gateways_do_not() {
    let (world, admin, other) = World::with_two_accounts().await;
    let card = admin.given_card_with(json!(100)).await;
    let path = format!("/cards/{card}/statement?from=2025-01-01&to=2125-01-01");
    let (_, viewer) = world.new_user(&admin, "viewer@example.com", Role::Viewer).await;
    assert_eq!(viewer.get(&path).await.ok()["closingBalance"], 100);
    let (_, gateway) = admin.given_api_key(Role::Network).await;
    gateway.get(&path).await.problem(403, "insufficient_permissions");
    let foreign = other.get(&path).await;
    let unknown = other.get(&path.replace(&card, "card_001")).await;
    assert_eq!(foreign.without_request_id(), unknown.without_request_id());
    foreign.problem(404, "card_not_found");
}

#[tokio::test]
async fn a_statement_adds_up_while_money_moves_and_its_reader_is_slow() {
    let (world, admin) = World::with_admin().await;
    // More than the buffers between the server and a client that does not read.
    let card = given_long_history(&world, &admin, 80_000).await;
    let path = format!("/cards/{card}/statement?from=2025-01-01&to=2125-01-01");
    let writer = {
        let (admin, card) = (admin.clone(), card.clone());
        tokio::spawn(async move {
            for _ in 0..200 {
                admin.purchase(&card, json!(0.5)).await.ok();
            }
        })
    };
    let mut response = admin.request(reqwest::Method::GET, &path).send().await.expect("an answer");
    let mut text = response.chunk().await.expect("a chunk").expect("a beginning").to_vec();
    writer.await.expect("written");
    let busy = "select count(*) from pg_stat_activity where datname = current_database() and backend_type = 'client backend'
        and state <> 'idle' and pid <> pg_backend_pid()";
    world.database.wait_for(0, busy).await;
    while let Some(chunk) = response.chunk().await.expect("a chunk") {
        text.extend_from_slice(&chunk);
    }
    let read: Value = serde_json::from_slice(&text).expect("complete JSON");
    assert_adds_up(&read);
    let movements = read["movements"].as_array().expect("movements");
    assert_eq!(movements.last().expect("a movement")["balanceAfter"], read["closingBalance"]);
    assert!((80_000..80_200).contains(&movements.len()), "{} movements, of which the last came later", movements.len());
    let all = statement(&admin, &card, "from=2025-01-01&to=2125-01-01").await;
    assert_eq!((&all["closingBalance"], &all["totals"]["purchase"]), (&json!(79_900), &json!({"count": 200, "amount": -100})));
}

#[tokio::test]
async fn totals_add_up_beyond_what_one_statement_reads_and_beyond_any_balance() {
    let (world, admin) = World::with_admin().await;
    let card = given_long_history(&world, &admin, 150_000).await;
    // Money that goes in and out again counts each time.
    world
        .database
        .execute(
            "set session_replication_role = replica;
             update movements set kind = case seq % 2 when 0 then 'withdrawal' else 'top_up' end,
                amount = case seq % 2 when 0 then -1 else 1 end * 9007199254740991,
                balance_after = case seq % 2 when 0 then 0 else 9007199254740991 end;
             update cards set balance = 0 where seq > 0",
        )
        .await;
    let text = admin.get(&format!("/cards/{card}/statement?from=2025-01-01&to=2125-01-01")).await.text;
    let totals =
        r#""totals":{"top_up":{"count":75000,"amount":6755399441055743250},"withdrawal":{"count":75000,"amount":-6755399441055743250}}"#;
    assert!(text.contains(totals), "{}", &text[..600]);
}
