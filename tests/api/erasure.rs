//! `DELETE /customers/{customerId}`: what names a person is gone everywhere; ids and money stay.

use core_api::domain::role::Role;
use futures_util::future::join_all;
use reqwest::Method;
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, Executor, Row};

use crate::support::{Actor, Database, World};

const NAME: &str = "Zoraida Quintanilla";
const EMAIL: &str = "Zoraida.Quintanilla@example.com";
/// What is searched for. It is in her name, in her email, in her metadata, and in what her cards and limits are called.
const NEEDLE: &str = "zoraida";

/// The tables of which a row has the text in any of its columns, bytes included.
async fn tables_with(database: &Database, needle: &str) -> Vec<String> {
    let mut connection = database.connect().await;
    let tables =
        "select relname::text from pg_class where relkind = 'r' and relnamespace = current_schema()::regnamespace order by relname";
    let mut found = Vec::new();
    for row in connection.fetch_all(tables).await.expect("tables") {
        let table: String = row.get(0);
        let columns = format!(
            "select coalesce(string_agg(case when atttypid = 'bytea'::regtype
                then format('encode(%I, ''escape'')', attname) else format('%I::text', attname) end, ', '), '''''')
             from pg_attribute where attrelid = '{table}'::regclass and attnum > 0 and not attisdropped"
        );
        let columns: String = connection.fetch_one(AssertSqlSafe(columns)).await.expect("columns").get(0);
        let count = format!("select count(*) from {table} where concat_ws(' ', {columns}) ilike '%{needle}%'");
        if connection.fetch_one(AssertSqlSafe(count)).await.expect("a count").get::<i64, _>(0) > 0 {
            found.push(table);
        }
    }
    found
}

async fn person(admin: &Actor) -> String {
    let body = json!({"name": NAME, "email": EMAIL, "metadata": {"nickname": "Zoraida"}, "externalId": "person-1"});
    let created = admin.keyed("create", Method::POST, "/customers", &body).await.ok();
    created["customerId"].as_str().expect("an id").to_owned()
}

async fn erase(admin: &Actor, customer: &str) -> Value {
    admin.delete(&format!("/customers/{customer}")).await.ok()
}

#[tokio::test]
async fn nothing_that_names_the_person_is_left_in_any_table() {
    let (world, admin) = World::with_admin().await;
    admin.put("/events/settings", json!({"enabled": true})).await.ok();
    let customer = person(&admin).await;
    let path = format!("/customers/{customer}");
    let renamed = json!({"name": "Zoraida Q.", "metadata": {"nickname": "Zora", "note": "zoraida@work"}});
    admin.keyed("rename", Method::PATCH, &path, &renamed).await.ok();
    let card = admin.post("/cards", json!({"currency": "USD", "label": "Zoraida's card", "metadata": {"of": "Zoraida"}})).await.ok();
    let card = card["cardId"].as_str().expect("an id").to_owned();
    admin.assign(&card, &customer).await.ok();
    let named = json!({"currency": "USD", "interval": "day", "amount": 5, "name": "Zoraida's budget"});
    admin.post(&format!("{path}/limits"), named).await.ok();
    admin.post(&format!("/cards/{card}/limits"), json!({"interval": "day", "amount": 5, "name": "zoraida"})).await.ok();
    admin.add(&card, json!(5)).await.ok();
    admin.set_status(&card, "active").await.ok();
    let spent = admin.purchase(&card, json!(5)).await.ok();
    admin.set_status(&card, "cancelled").await.ok();
    assert!(!tables_with(&world.database, NEEDLE).await.is_empty(), "the search finds what is there");

    let answer = erase(&admin, &customer).await;
    assert_eq!(tables_with(&world.database, NEEDLE).await, Vec::<String>::new());
    assert_eq!(tables_with(&world.database, "quintanilla").await, Vec::<String>::new());
    let shown = admin.get(&path).await.ok();
    assert_eq!((&shown["customerId"], &shown["name"], &shown["email"]), (&json!(customer), &Value::Null, &Value::Null));
    assert_eq!((&shown["metadata"], &shown["erasedAt"]), (&json!({}), &answer["erasedAt"]));
    assert!(shown["erasedAt"].is_string(), "{shown}");

    // Ids and money stay.
    assert_eq!(shown["externalId"], "person-1");
    assert_eq!(admin.card(&card).await["customerId"], json!(customer));
    assert_eq!(admin.movements(&card).await[0]["id"], spent["movement"]["id"]);
    world.assert_ledger_is_clean().await;
    // Who asks again under the keys is told as much as is left.
    for (key, method, path, body) in [
        (
            "create",
            Method::POST,
            "/customers".to_owned(),
            json!({"name": NAME, "email": EMAIL, "metadata": {"nickname": "Zoraida"}, "externalId": "person-1"}),
        ),
        ("rename", Method::PATCH, path.clone(), renamed),
    ] {
        let replay = admin.keyed(key, method, &path, &body).await;
        assert_eq!(replay.header("idempotent-replayed"), Some("true"));
        let replay = replay.ok();
        assert_eq!((&replay["customerId"], &replay["name"], &replay["email"]), (&json!(customer), &Value::Null, &Value::Null), "{key}");
    }
    let logged = admin.get(&format!("/audit-events?type=customer_data_erased&subjectId={customer}")).await.ok();
    assert_eq!(logged["auditEvents"].as_array().map(Vec::len), Some(1));
    let told = admin.events("types=customer.erased").await;
    assert_eq!(told[0]["data"], json!({"customer": {"customerId": customer}}));
}

#[tokio::test]
async fn a_person_with_cards_in_use_or_money_is_not_erased() {
    let (_world, admin) = World::with_admin().await;
    let customer = person(&admin).await;
    let card = admin.given_card_with(json!(10)).await;
    admin.assign(&card, &customer).await.ok();
    let path = format!("/customers/{customer}");
    admin.delete(&path).await.problem(409, "customer_has_cards");
    let hold = admin.given_hold(&card, json!(4)).await;
    admin.withdraw(&card, json!(6)).await.ok();
    admin.set_status(&card, "cancelled").await.ok();
    // It is cancelled, and holds money.
    admin.delete(&path).await.problem(409, "customer_has_cards");
    admin.step(&hold, "reversals", json!({})).await.ok();
    admin.delete(&path).await.problem(409, "customer_has_cards");
    admin.withdraw(&card, json!(4)).await.ok();
    assert_eq!(admin.get(&path).await.ok()["name"], NAME);
    erase(&admin, &customer).await;
}

#[tokio::test]
async fn the_email_of_an_erased_person_is_free_and_nothing_is_done_to_them_any_more() {
    let (world, admin, other) = World::with_two_accounts().await;
    let customer = person(&admin).await;
    let path = format!("/customers/{customer}");
    let (_, operator) = world.new_user(&admin, "operator@example.com", Role::Operator).await;
    operator.delete(&path).await.problem(403, "insufficient_permissions");
    other.delete(&path).await.problem(404, "customer_not_found");
    admin.delete("/customers/cus_1").await.problem(404, "customer_not_found");
    let own = admin.given_card().await;
    admin.assign(&own, &customer).await.ok();
    admin.set_status(&own, "cancelled").await.ok();
    let first = erase(&admin, &customer).await;
    assert_eq!(first, erase(&admin, &customer).await, "again, it changes nothing");

    let again = admin.post("/customers", json!({"name": NAME, "email": EMAIL})).await.ok();
    assert_ne!(again["customerId"], json!(customer));
    for query in ["q=zora", "email=zoraida.quintanilla@example.com"] {
        let found = admin.get(&format!("/customers?{query}")).await.ok();
        let found: Vec<&Value> = found["customers"].as_array().expect("a list").iter().map(|found| &found["customerId"]).collect();
        assert_eq!(found, [&again["customerId"]], "{query}");
    }
    admin.patch(&path, json!({"name": "Somebody"})).await.problem(409, "customer_erased");
    let card = admin.given_card().await;
    admin.assign(&card, &customer).await.problem(409, "customer_erased");
    admin.assign(&own, &customer).await.ok();
    let limit = json!({"currency": "USD", "interval": "day", "amount": 5, "name": "x"});
    admin.post(&format!("{path}/limits"), limit).await.problem(409, "customer_erased");
    assert_eq!(admin.get(&path).await.ok()["name"], Value::Null);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_card_is_assigned_before_the_erasure_or_not_at_all() {
    let (_world, admin) = World::with_admin().await;
    for _ in 0..10 {
        let body = json!({"name": NAME, "email": format!("{}@example.com", uuid::Uuid::now_v7())});
        let created = admin.post("/customers", body).await.ok();
        let customer = created["customerId"].as_str().expect("an id").to_owned();
        let card = admin.given_card().await;
        let path = format!("/customers/{customer}");
        let (assigned, erased) = tokio::join!(admin.assign(&card, &customer), admin.delete(&path));
        match (assigned.status, erased.status) {
            (200, 409) => drop(erased.problem(409, "customer_has_cards")),
            (409, 200) => drop(assigned.problem(409, "customer_erased")),
            both => panic!("{both:?}"),
        }
    }
}

/// An erasure locks the cards before the audit log, which a change of a card locks behind it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_erasure_and_changes_of_its_cards_do_not_wait_for_each_other_in_a_circle() {
    let (world, admin) = World::with_admin().await;
    for round in 0..10 {
        let body = json!({"name": NAME, "email": format!("{}@example.com", uuid::Uuid::now_v7())});
        let customer = admin.post("/customers", body).await.ok()["customerId"].as_str().expect("an id").to_owned();
        let mut cards = Vec::new();
        for _ in 0..4 {
            let card = admin.given_card().await;
            admin.assign(&card, &customer).await.ok();
            admin.set_status(&card, "cancelled").await.ok();
            cards.push(card);
        }
        let path = format!("/customers/{customer}");
        let changes = join_all(cards.iter().map(async |card| {
            for label in 0..3 {
                admin.patch(&format!("/cards/{card}"), json!({"label": format!("{round} {label}")})).await.ok();
            }
        }));
        let (erased, _) = tokio::join!(admin.delete(&path), changes);
        assert_eq!(erased.ok()["customerId"], json!(customer));
    }
    let deadlocks = "select deadlocks from pg_stat_database where datname = current_database()";
    assert_eq!(world.database.number(deadlocks).await, 0);
}
