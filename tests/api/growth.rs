//! How fast the tables grow: bytes per 1,000 requests of each kind, with their indexes, on a real Postgres.
//! `cargo test --test api growth -- --ignored --nocapture` prints the table of docs/operations.md.

use std::{
    collections::BTreeMap,
    sync::{
        Mutex,
        atomic::{AtomicU32, Ordering},
    },
};

use reqwest::Method;
use serde_json::{Value, json};
use sqlx::{Executor, Row};

use crate::support::{Actor, Database, PASSWORD, World, without_quota};

const REQUESTS: usize = 1_000;

/// The size of every table with its indexes, without what is kept per table anyway.
async fn sizes(database: &Database) -> BTreeMap<String, i64> {
    let mut connection = database.connect().await;
    let sizes = "select relname::text, pg_total_relation_size(oid) from pg_class
        where relkind = 'r' and relnamespace = 'public'::regnamespace";
    let rows = connection.fetch_all(sizes).await.expect("sizes");
    rows.iter().map(|row| (row.get(0), row.get(1))).collect()
}

/// Sends the requests, and prints what each table grew by.
#[expect(clippy::print_stdout, reason = "the measurement is what the test is for")]
async fn measure<Sent: Future<Output = ()>>(world: &World, name: &str, send: impl Fn(usize) -> Sent) {
    let before = sizes(&world.database).await;
    for number in 0..REQUESTS {
        send(number).await;
    }
    let after = sizes(&world.database).await;
    let grown = after.iter().filter_map(|(table, size)| Some((table, size - before.get(table)?)).filter(|(_, grown)| *grown > 0));
    let grown: Vec<String> = grown.map(|(table, bytes)| format!("`{table}` {}", (bytes + 512) / 1024)).collect();
    println!("| {name} | {} |", grown.join(", "));
}

#[tokio::test]
#[ignore = "measures for minutes, and asserts nothing"]
async fn tables_grow_by_this_much() {
    let world = World::with(|settings| {
        without_quota(settings);
        settings.rate_limit.refreshes_per_session = 1_000_000.try_into().expect("above zero");
        for limit in [&mut settings.rate_limit.failed_logins_per_minute, &mut settings.rate_limit.failed_logins_per_email_and_address] {
            *limit = 1_000_000.try_into().expect("above zero");
        }
        for limit in [&mut settings.rate_limit.failed_logins_per_email, &mut settings.rate_limit.failed_logins_per_address] {
            *limit = 1_000_000.try_into().expect("above zero");
        }
    })
    .await;
    let admin = world.admin().await;
    let (_, viewer) = world.new_user(&admin, "viewer@example.com", core_api::domain::role::Role::Viewer).await;
    let (admin, viewer, anonymous): (&Actor, &Actor, &Actor) = (&admin, &viewer, &world.anonymous());
    let card = &admin.given_card().await;
    let sent = AtomicU32::new(0);
    let login = |email: String, password: &'static str| async move {
        drop(anonymous.post("/auth/login", json!({"email": email, "password": password})).await);
    };
    measure(&world, "`GET`, any", |_| async { drop(admin.get("/customers").await) }).await;
    measure(&world, "`POST /customers`", |number| async move {
        admin.post("/customers", json!({"name": "Juan Perez", "email": format!("juan.perez.{number}@example.com")})).await.ok();
    })
    .await;
    measure(&world, "`POST /cards`", |_| async { drop(admin.post("/cards", json!({"currency": "USD"})).await.ok()) }).await;
    measure(&world, "`PATCH /cards/status`", |number| async move {
        admin.set_status(card, if number % 2 == 0 { "active" } else { "blocked" }).await.ok();
    })
    .await;
    admin.set_status(card, "active").await.ok();
    measure(&world, "`POST /balances/add`", |_| async { drop(admin.add(card, json!(1)).await.ok()) }).await;
    measure(&world, "`POST /balances/add` with an `Idempotency-Key`", |number| async move {
        let body = json!({"cardId": card, "amount": 1});
        admin.keyed(&format!("a-key-of-36-characters-as-a-uuid-{number:04}"), Method::POST, "/balances/add", &body).await.ok();
    })
    .await;
    admin.add(card, json!(1_000_000)).await.ok();
    let keyed = async |path: String, body: Value| {
        let key = format!("a-key-of-36-characters-as-a-uuid-{:08}", sent.fetch_add(1, Ordering::Relaxed));
        admin.keyed(&key, Method::POST, &path, &body).await.ok()["authorization"]["id"].as_str().expect("an id").to_owned()
    };
    let authorizations = Mutex::new(Vec::new());
    measure(&world, "`POST /network/authorizations`", |_| async {
        let merchant = json!({"id": "445291006", "name": "HOTEL MIRADOR", "mcc": "7011", "city": "Bogota", "country": "CO"});
        let id = keyed("/network/authorizations".to_owned(), json!({"cardId": card, "amount": 1, "merchant": merchant})).await;
        authorizations.lock().expect("unpoisoned").push(id);
    })
    .await;
    measure(&world, "its capture", |_| async {
        let id = authorizations.lock().expect("unpoisoned").pop().expect("an authorisation");
        keyed(format!("/network/authorizations/{id}/captures"), json!({})).await;
    })
    .await;
    measure(&world, "an authorisation that is declined", |_| async {
        keyed("/network/authorizations".to_owned(), json!({"cardId": card, "amount": 10_000_000})).await;
    })
    .await;
    measure(&world, "a refused permission (403)", |_| async { drop(viewer.post("/cards", json!({"currency": "USD"})).await) }).await;
    measure(&world, "`POST /auth/refresh`", |_| async {
        drop(anonymous.post("/auth/refresh", json!({"refreshToken": viewer.refresh_token})).await.ok());
    })
    .await;
    measure(&world, "`POST /auth/login`", |_| login("viewer@example.com".to_owned(), PASSWORD)).await;
    measure(&world, "a failed login of a user", |_| login("viewer@example.com".to_owned(), "a wrong password")).await;
    measure(&world, "a failed login of nobody, each with another email", |number| login(format!("nobody.{number}@example.com"), "x")).await;
}
