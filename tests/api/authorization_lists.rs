//! `GET /authorizations`: filters, pages and what they refuse.

use chrono::{DateTime, FixedOffset, SecondsFormat, TimeDelta};
use serde_json::{Value, json};

use crate::support::{
    Actor, World,
    payments::{id, without_entries},
};

/// The requested amounts of a list, which tell the authorisations of these tests apart.
async fn amounts(admin: &Actor, query: &str) -> Vec<i64> {
    let list = admin.authorizations(query).await;
    list.iter().map(|item| item["requestedAmount"].as_i64().expect("whole")).collect()
}

/// Two cards of one customer and one of nobody, with an authorisation in every status: of 1, 2, 3 .. in this order.
async fn given_authorizations(admin: &Actor) -> [String; 3] {
    let customer = admin.given_customer().await;
    let (first, second, third) =
        (admin.given_card_with(json!(500)).await, admin.given_card_with(json!(500)).await, admin.given_card_with(json!(500)).await);
    admin.assign(&first, &customer).await.ok();
    admin.assign(&second, &customer).await.ok();
    let shop = json!({"merchant": {"id": "shop", "name": "Shop"}});
    let hold =
        async |card: &str, amount: i64, members: Value| id(&admin.authorize_with(card, json!(amount), members).await.ok()["authorization"]);
    hold(&first, 1, shop.clone()).await;
    let captured = hold(&second, 2, json!({"networkTransactionId": "captured"})).await;
    admin.step(&captured, "captures", json!({})).await.ok();
    let reversed = hold(&third, 3, json!({})).await;
    admin.step(&reversed, "reversals", json!({})).await.ok();
    let expired = hold(&first, 4, shop.clone()).await;
    admin.expire(&expired).await.ok();
    hold(&first, 5, json!({"kind": "verification"})).await;
    hold(&second, 501, shop).await;
    let verification = hold(&third, 0, json!({"kind": "verification"})).await;
    assert_eq!(admin.authorization(&verification).await["status"], "verified");
    hold(&third, 8, json!({"currency": "EUR", "networkTransactionId": "declined"})).await;
    [first, second, customer]
}

#[tokio::test]
async fn a_list_is_newest_first_and_each_filter_narrows_it() {
    let (_world, admin) = World::with_admin().await;
    assert_eq!(admin.get("/authorizations").await.ok(), json!({"authorizations": []}));
    let [first, second, customer] = given_authorizations(&admin).await;
    for (query, expected) in [
        (String::new(), &[8, 0, 501, 5, 4, 3, 2, 1][..]),
        (format!("?cardId={first}"), &[5, 4, 1]),
        (format!("?cardId={second}"), &[501, 2]),
        (format!("?customerId={customer}"), &[501, 5, 4, 2, 1]),
        (format!("?customerId={customer}&cardId={first}"), &[5, 4, 1]),
        ("?status=pending".to_owned(), &[1]),
        ("?status=captured".to_owned(), &[2]),
        ("?status=reversed".to_owned(), &[3]),
        ("?status=expired".to_owned(), &[4]),
        ("?status=declined".to_owned(), &[8, 501, 5]),
        ("?status=verified".to_owned(), &[0]),
        ("?declineCode=insufficient_funds".to_owned(), &[501]),
        ("?declineCode=amount_invalid&status=declined".to_owned(), &[5]),
        ("?declineCode=currency_mismatch".to_owned(), &[8]),
        ("?declineCode=card_blocked".to_owned(), &[]),
        ("?declineCode=insufficient_funds&status=pending".to_owned(), &[]),
        ("?merchantId=shop".to_owned(), &[501, 4, 1]),
        ("?merchantId=shop&status=declined".to_owned(), &[501]),
        ("?merchantId=Shop".to_owned(), &[]),
        ("?networkTransactionId=captured".to_owned(), &[2]),
        ("?networkTransactionId=declined".to_owned(), &[8]),
        ("?networkTransactionId=none".to_owned(), &[]),
        ("?from=2000-01-01&to=2000-01-02".to_owned(), &[]),
        ("?from=2000-01-01".to_owned(), &[8, 0, 501, 5, 4, 3, 2, 1]),
        ("?from=2999-01-01".to_owned(), &[]),
        ("?to=2999-01-01&status=pending".to_owned(), &[1]),
    ] {
        assert_eq!(amounts(&admin, &query).await, expected, "{query}");
    }
    for item in admin.authorizations("").await {
        assert_eq!(item.get("entries"), None, "{item}");
        assert_eq!(without_entries(&admin.authorization(&id(&item)).await), item);
    }
}

#[tokio::test]
async fn from_is_inclusive_and_to_is_exclusive() {
    let (world, admin) = World::with_admin().await;
    let card = admin.given_card_with(json!(500)).await;
    for amount in 1..=3 {
        admin.given_hold(&card, json!(amount)).await;
    }
    let seconds = world.database.number("select extract(epoch from now())::bigint - 60").await;
    let dated = format!(
        "update authorizations set created_at = to_timestamp({seconds}) where requested = 200;
         update authorizations set created_at = to_timestamp({seconds}) - interval '1 microsecond' where requested = 100"
    );
    world.database.execute(&dated).await;
    let moment = DateTime::from_timestamp(seconds, 0).expect("a time");
    let (utc, elsewhere) =
        (moment.to_rfc3339_opts(SecondsFormat::Secs, true), moment.with_timezone(&FixedOffset::east_opt(3600).expect("an offset")));
    assert_eq!(amounts(&admin, &format!("?from={utc}")).await, [3, 2]);
    assert_eq!(amounts(&admin, &format!("?to={utc}")).await, [1]);
    let elsewhere = elsewhere.to_rfc3339_opts(SecondsFormat::Secs, true).replace('+', "%2B");
    assert_eq!(amounts(&admin, &format!("?from={elsewhere}&status=pending")).await, [3, 2]);
    let next = (moment + TimeDelta::seconds(1)).to_rfc3339_opts(SecondsFormat::Secs, true);
    assert_eq!(amounts(&admin, &format!("?from={utc}&to={next}")).await, [2]);
}

#[tokio::test]
async fn the_pages_together_are_the_list_also_while_it_grows() {
    let (_world, admin) = World::with_admin().await;
    let card = admin.given_card_with(json!(500)).await;
    for amount in 1..=7 {
        admin.given_hold(&card, json!(amount)).await;
    }
    for limit in [1, 2, 3, 7, 100] {
        for filter in ["", "&status=pending", &format!("&cardId={card}")] {
            let (mut listed, mut after, mut pages) = (Vec::new(), String::new(), 0);
            loop {
                let page = admin.get(&format!("/authorizations?limit={limit}{filter}{after}")).await.ok();
                listed.extend(page["authorizations"].as_array().expect("a list").clone());
                pages += 1;
                match &page["nextCursor"] {
                    Value::Null => break,
                    cursor => after = format!("&after={}", cursor.as_str().expect("a string")),
                }
            }
            assert_eq!(pages, 7_usize.div_ceil(limit), "{limit}");
            assert_eq!(listed, admin.authorizations("").await, "{limit}{filter}");
        }
    }
    // What comes meanwhile is newer than every page but the first.
    let first = admin.get("/authorizations?limit=3").await.ok();
    let cursor = first["nextCursor"].as_str().expect("a next page");
    admin.given_hold(&card, json!(8)).await;
    assert_eq!(amounts(&admin, &format!("?limit=3&after={cursor}")).await, [4, 3, 2]);
    assert_eq!(amounts(&admin, "?limit=2").await, [8, 7]);
}

/// Adds this many authorisations, between the one that is there and those that follow: past the API, which would need a
/// minute, and without entries.
async fn given_many(world: &World, count: usize) {
    let sql = format!(
        "alter table authorizations disable trigger user;
         insert into authorizations (account_id, id, card_id, status, kind, requested, authorized, held, entry_mode, response_code,
             decided_by, decline_code, last_ordinal, entry_sequence, sequence, created_at, updated_at)
         select account_id, gen_random_uuid(), card_id, 'declined', kind, 777, 0, 0, entry_mode, '51', decided_by,
             'insufficient_funds', 1, 1, 1, created_at, created_at
         from authorizations, generate_series(1, {count});
         -- A millisecond after the first.
         update authorizations many
         set id = (
             lpad(to_hex(('x' || replace(substr(one.id::text, 1, 13), '-', ''))::bit(48)::bigint + 1), 12, '0')
             || replace(substr(many.id::text, 15), '-', '')
         )::uuid
         from authorizations one where many.requested = 777 and one.requested = 100;
         alter table authorizations enable trigger user"
    );
    world.database.execute(&sql).await;
}

#[tokio::test]
async fn a_page_reads_a_bounded_part_of_a_large_account_and_its_cursor_continues() {
    let (world, admin) = World::with_admin().await;
    let customer = admin.given_customer().await;
    let (card, other) = (admin.given_card_with(json!(500)).await, admin.given_card_with(json!(500)).await);
    admin.assign(&card, &customer).await.ok();
    let shop = json!({"merchant": {"id": "shop", "name": "Shop"}});
    admin.authorize_with(&card, json!(1), shop.clone()).await.ok();
    given_many(&world, 25_000).await;
    admin.authorize_with(&other, json!(2), shop).await.ok();
    // Each page looks at ten thousand.
    for (filter, sizes) in [
        ("merchantId=shop", &[1, 0, 1][..]),
        ("status=pending", &[1, 0, 1]),
        (&format!("cardId={card}&merchantId=shop"), &[0, 0, 1]),
        (&format!("customerId={customer}&status=pending"), &[0, 0, 1]),
        ("declineCode=insufficient_funds&merchantId=shop", &[0, 0, 0]),
        // An index leads to these.
        (&format!("cardId={card}&status=pending"), &[1]),
        (&format!("cardId={other}&merchantId=shop"), &[1]),
        ("declineCode=card_blocked", &[0]),
        ("networkTransactionId=none&merchantId=shop", &[0]),
    ] {
        let (mut found, mut after) = (Vec::new(), String::new());
        loop {
            let page = admin.get(&format!("/authorizations?limit=5&{filter}{after}")).await.ok();
            found.push(page["authorizations"].as_array().expect("a list").len());
            match &page["nextCursor"] {
                Value::Null => break,
                cursor => after = format!("&after={}", cursor.as_str().expect("a string")),
            }
        }
        assert_eq!(found, sizes, "{filter}");
        // Without a limit the list goes on by itself.
        assert_eq!(admin.authorizations(&format!("?{filter}")).await.len(), sizes.iter().sum::<usize>(), "{filter}");
    }
    // Nothing is left out, and nothing comes twice.
    let (mut ids, mut after) = (Vec::new(), String::new());
    loop {
        let page = admin.get(&format!("/authorizations?customerId={customer}{after}&limit=100")).await.ok();
        ids.extend(page["authorizations"].as_array().expect("a list").iter().map(id));
        match &page["nextCursor"] {
            Value::Null => break,
            cursor if ids.len() < 1_000 => after = format!("&after={}", cursor.as_str().expect("a string")),
            _ => break,
        }
    }
    assert_eq!(ids.len(), 1_000);
    assert!(ids.is_sorted_by(|newer, older| newer > older));
}

#[tokio::test]
async fn a_cursor_carries_its_filters_and_refuses_others() {
    let (_world, admin, other) = World::with_two_accounts().await;
    let card = admin.given_card_with(json!(500)).await;
    for amount in 1..=4 {
        admin.given_hold(&card, json!(amount)).await;
    }
    let first = admin.get(&format!("/authorizations?limit=2&status=pending&cardId={card}")).await.ok();
    let cursor = first["nextCursor"].as_str().expect("a next page");
    for carried in ["", &format!("&cardId={card}&status=pending")] {
        assert_eq!(amounts(&admin, &format!("?limit=2{carried}&after={cursor}")).await, [2, 1], "{carried}");
    }
    for list in
        ["/authorizations?status=declined", "/authorizations?declineCode=card_blocked", "/authorizations?merchantId=shop", "/cards?limit=1"]
    {
        assert_eq!(admin.get(&format!("{list}&after={cursor}")).await.field_errors(), ["after: invalid_cursor"], "{list}");
    }
    // Another account's cursor reveals nothing: its card is not there, and without a card its list is empty.
    other.get(&format!("/authorizations?after={cursor}")).await.problem(404, "card_not_found");
    let first = admin.get("/authorizations?limit=2").await.ok();
    let cursor = first["nextCursor"].as_str().expect("a next page");
    assert_eq!(other.get(&format!("/authorizations?limit=2&after={cursor}")).await.ok(), json!({"authorizations": [], "nextCursor": null}));
}

#[tokio::test]
async fn a_filter_that_means_nothing_is_refused() {
    let (_world, admin) = World::with_admin().await;
    for (query, fault) in [
        ("limit=0", "limit: out_of_range"),
        ("limit=101", "limit: out_of_range"),
        ("after=x", "after: invalid_cursor"),
        ("status=open", "status: unknown_value"),
        ("status=Pending", "status: unknown_value"),
        ("declineCode=because", "declineCode: unknown_value"),
        ("from=yesterday", "from: invalid_date"),
        ("to=2025-13-01", "to: invalid_date"),
        ("declinecode=card_blocked", "declinecode: unknown_parameter"),
        ("card=1", "card: unknown_parameter"),
    ] {
        let reply = admin.get(&format!("/authorizations?{query}")).await;
        assert_eq!(reply.field_errors(), [fault], "{query}");
    }
    let problem = admin.get("/authorizations?declinecode=card_blocked").await.problem(400, "validation_failed");
    assert!(problem["errors"][0]["detail"].as_str().is_some_and(|detail| detail.contains("declineCode")), "{problem}");
    for unknown in ["card_001", "card_01h455vb4pex5vsknk084sn02q"] {
        admin.get(&format!("/authorizations?cardId={unknown}")).await.problem(404, "card_not_found");
    }
    for unknown in ["cus_001", "cus_01h455vb4pex5vsknk084sn02q"] {
        admin.get(&format!("/authorizations?customerId={unknown}")).await.problem(404, "customer_not_found");
    }
    for unknown in ["auth_001", "auth_01h455vb4pex5vsknk084sn02q", "%F0%9F%92%B3"] {
        admin.get(&format!("/authorizations/{unknown}")).await.problem(404, "authorization_not_found");
    }
}
