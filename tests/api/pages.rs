//! Lists, with and without `limit` and `after`.

use core_api::domain::card::CardStatus::{Active, Inactive};
use serde_json::{Value, json};

use crate::support::{Actor, World};

/// Follows the cursors of a list from its beginning, and returns the rows of each page.
async fn follow(actor: &Actor, list: &str, name: &str) -> Vec<Vec<Value>> {
    let mut pages = Vec::new();
    let mut after = String::new();
    loop {
        let page = actor.get(&format!("{list}{after}")).await.ok();
        pages.push(page[name].as_array().expect("a list").clone());
        match &page["nextCursor"] {
            Value::Null => return pages,
            cursor => after = format!("&after={}", cursor.as_str().expect("a string")),
        }
        assert!(pages.len() < 100, "the list does not end");
    }
}

#[tokio::test]
async fn the_pages_together_are_the_whole_list() {
    let (_world, admin) = World::with_admin().await;
    let card = admin.given_card().await;
    for amount in 1..=5 {
        admin.given_customer().await;
        admin.given_card().await;
        admin.add(&card, json!(amount)).await.ok();
    }
    for (list, name, length) in
        [("/customers", "customers", 5), ("/cards", "cards", 6), (&format!("/cards/{card}/movements"), "movements", 5)]
    {
        let whole = admin.get(list).await.ok();
        assert_eq!(whole.get("nextCursor"), None);
        let whole = whole[name].as_array().expect("a list").clone();
        assert_eq!(whole.len(), length);
        for limit in [1, 2, 3, length, 100] {
            let pages = follow(&admin, &format!("{list}?limit={limit}"), name).await;
            assert!(pages.iter().all(|page| page.len() <= limit), "{list} by {limit}");
            assert_eq!(pages.len(), length.div_ceil(limit), "{list} by {limit}");
            assert_eq!(pages.concat(), whole, "{list} by {limit}");
        }
    }
}

#[tokio::test]
async fn a_row_added_between_pages_causes_no_gap_and_no_repeat() {
    let (_world, admin) = World::with_admin().await;
    let card = admin.given_card().await;
    for amount in 1..=4 {
        admin.add(&card, json!(amount)).await.ok();
    }
    let path = format!("/cards/{card}/movements?limit=2");
    let first = admin.get(&path).await.ok();
    admin.add(&card, json!(5)).await.ok();
    let second = admin.get(&format!("{path}&after={}", first["nextCursor"].as_str().expect("a next page"))).await.ok();
    let amounts =
        |page: &Value| page["movements"].as_array().expect("a list").iter().map(|movement| movement["amount"].clone()).collect::<Vec<_>>();
    assert_eq!((amounts(&first), amounts(&second)), (vec![json!(4), json!(3)], vec![json!(2), json!(1)]));

    let first = admin.get("/customers?limit=100").await.ok();
    assert_eq!(first["nextCursor"], Value::Null);
}

#[tokio::test]
async fn a_cursor_carries_its_filters_and_refuses_others() {
    let (_world, admin) = World::with_admin().await;
    for status in [Active, Inactive, Active, Inactive, Active] {
        admin.given_card_in(status).await;
    }
    let first = admin.get("/cards?limit=2&status=active").await.ok();
    let cursor = first["nextCursor"].as_str().expect("a next page");
    for carried in ["", "&status=active"] {
        let rest = admin.get(&format!("/cards?limit=2{carried}&after={cursor}")).await.ok();
        let rest = rest["cards"].as_array().expect("a list").clone();
        assert!(rest.len() == 1 && rest[0]["status"] == "active", "{rest:?}");
    }
    let invalid = ["after: invalid_cursor"];
    for other in ["/cards?status=inactive", "/cards?status=active&currency=USD", "/customers?limit=1"] {
        assert_eq!(admin.get(&format!("{other}&after={cursor}")).await.field_errors(), invalid, "{other}");
    }
    let (one, other) = (admin.given_card_with(json!(1)).await, admin.given_card_with(json!(1)).await);
    admin.add(&one, json!(1)).await.ok();
    let page = admin.get(&format!("/cards/{one}/movements?limit=1")).await.ok();
    let cursor = page["nextCursor"].as_str().expect("a next page");
    assert_eq!(admin.get(&format!("/cards/{other}/movements?limit=1&after={cursor}")).await.field_errors(), invalid);
}

#[tokio::test]
async fn invalid_limits_and_cursors_are_400() {
    let (_world, admin) = World::with_admin().await;
    let card = admin.given_card().await;
    for list in ["/customers", "/cards", &format!("/cards/{card}/movements")] {
        for limit in ["0", "101", "-1", "1.5", "ten", "", "+5", "%2B5", "1e2", "99999999999999999999"] {
            let errors = admin.get(&format!("{list}?limit={limit}")).await.field_errors();
            assert_eq!(errors, ["limit: out_of_range"], "{list} {limit}");
        }
        for cursor in ["", "x", "%00", "%FF", "1", "AAAA"] {
            let errors = admin.get(&format!("{list}?limit=1&after={cursor}")).await.field_errors();
            assert!(errors[0].starts_with("after: "), "{list} {cursor}: {errors:?}");
        }
        let twice = admin.get(&format!("{list}?limit=1&limit=2")).await.field_errors();
        assert_eq!(twice, ["limit: duplicate"]);
        let both = admin.get(&format!("{list}?limit=0&after=x")).await.field_errors();
        assert_eq!(both.len(), 2, "{both:?}");
    }
}

#[tokio::test]
async fn a_list_longer_than_a_chunk_is_complete_and_in_order() {
    let (world, admin) = World::with_admin().await;
    let card = admin.given_card().await;
    let own = "(select account_id from users where email = 'test@example.com')";
    let customers = format!(
        "insert into customers (account_id, id, number, name, email, email_key)
         select {own}, gen_random_uuid(), n, 'Customer ' || n, n || '@email.com', n || '@email.com' from generate_series(1, 2500) n"
    );
    world.database.execute(&customers).await;
    let movements = format!(
        "with moved as (update cards set balance = 2000, seq = 2000 where account_id = {own})
         insert into movements (account_id, card_id, seq, id, kind, amount, balance_after, description, created_at)
         select account_id, id, n, gen_random_uuid(), 'top_up', 1, n, 'Balance top-up', now() from cards, generate_series(1, 2000) n where account_id = {own}"
    );
    world.database.execute(&movements).await;

    let whole = admin.get("/customers").await.ok();
    let whole = whole["customers"].as_array().expect("a list").clone();
    let names: Vec<String> = whole.iter().map(|customer| customer["name"].as_str().expect("a name").to_owned()).collect();
    assert_eq!(names, (1..=2500).map(|number| format!("Customer {number}")).collect::<Vec<_>>());

    let history = admin.movements(&card).await;
    let balances: Vec<_> = history.iter().map(|movement| movement["balanceAfter"].to_string()).collect();
    assert_eq!(balances.len(), 2000);
    assert_eq!((balances[0].as_str(), balances[1999].as_str()), ("20", "0.01"));

    let page = admin.get("/customers?limit=100").await.ok();
    let rest = admin.get(&format!("/customers?after={}", page["nextCursor"].as_str().expect("a next page"))).await.ok();
    assert_eq!((rest["customers"].as_array().map(Vec::len), &rest["nextCursor"]), (Some(2400), &Value::Null));
}

#[tokio::test]
async fn a_customer_is_found_by_email_regardless_of_case() {
    let (_world, admin, other_admin) = World::with_two_accounts().await;
    for (name, email) in [("Ana", "Ana+cards@example.com"), ("Juan", "juan@example.com")] {
        admin.post("/customers", json!({"name": name, "email": email})).await.ok();
    }
    for written in ["ana%2Bcards@example.com", "ANA%2Bcards@EXAMPLE.com&limit=1"] {
        let found = admin.get(&format!("/customers?email={written}")).await.ok();
        assert_eq!((found["customers"].as_array().map(Vec::len), &found["customers"][0]["name"]), (Some(1), &json!("Ana")), "{found}");
    }
    assert_eq!(admin.get("/customers?email=nobody@example.com").await.ok()["customers"], json!([]));
    assert_eq!(other_admin.get("/customers?email=juan@example.com").await.ok()["customers"], json!([]));
    assert_eq!(admin.get("/customers?email=juan").await.field_errors(), ["email: invalid_email"]);
    let cursor = admin.get("/customers?limit=1").await.ok()["nextCursor"].as_str().expect("a next page").to_owned();
    let other = admin.get(&format!("/customers?email=juan@example.com&after={cursor}")).await;
    assert_eq!(other.field_errors(), ["after: invalid_cursor"]);
}

#[tokio::test]
async fn a_history_is_filtered_by_type_and_time_range() {
    let (world, admin) = World::with_admin().await;
    let card = admin.given_card_with(json!(100)).await;
    for amount in 1..=3 {
        admin.post("/sandbox/purchases", json!({"cardId": card, "amount": amount, "description": "Coffee"})).await.ok();
        admin.add(&card, json!(10)).await.ok();
    }
    let path = format!("/cards/{card}/movements");
    let amounts = async |filters: &str| {
        let list = admin.get(&format!("{path}?{filters}")).await.ok();
        list["movements"].as_array().expect("a list").iter().map(|movement| movement["amount"].as_i64().expect("whole")).collect::<Vec<_>>()
    };
    assert_eq!(amounts("type=purchase").await, [-3, -2, -1]);
    assert_eq!(amounts("type=refund").await, Vec::<i64>::new());
    assert_eq!(amounts("from=2000-01-01&to=2000-01-02").await, Vec::<i64>::new());
    assert_eq!(amounts("from=2000-01-01&type=top_up").await, [10, 10, 10, 100]);
    // `from` is inclusive, `to` is exclusive.
    let moment = "2025-02-10T12:00:00Z";
    let edit_times = "alter table movements disable trigger all; update movements set created_at = '2025-02-10T12:00:00Z' where seq = 2;
        update movements set created_at = '2025-02-10T11:59:59.999999Z' where seq = 1; alter table movements enable trigger all";
    world.database.execute(edit_times).await;
    assert_eq!(amounts(&format!("from={moment}&to=2025-02-11")).await, [-1]);
    assert_eq!(amounts(&format!("from=2025-02-10&to={moment}")).await, [100]);
    // A cursor carries its filters and is refused with others.
    let first = admin.get(&format!("{path}?type=purchase&limit=2")).await.ok();
    let cursor = first["nextCursor"].as_str().expect("a next page");
    for carried in ["", "&type=purchase"] {
        assert_eq!(amounts(&format!("limit=2&after={cursor}{carried}")).await, [-1]);
    }
    for other in ["type=top_up", "type=purchase&from=2000-01-01"] {
        assert_eq!(admin.get(&format!("{path}?{other}&after={cursor}")).await.field_errors(), ["after: invalid_cursor"]);
    }
    let errors = admin.get(&format!("{path}?from=yesterday&to=2025-13-01&type=topup")).await.field_errors();
    assert_eq!(errors, ["type: unknown_value", "from: invalid_date", "to: invalid_date"]);
}
