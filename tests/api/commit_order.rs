//! Lists are numbered in the order of commits: a reader that pages never passes a row that commits later.

use serde_json::{Value, json};

use crate::support::{Actor, World, patient};

/// Reads a list page by page, each of one entry, with a pause after the first page. Returns the named member of each entry.
async fn walk(actor: &Actor, path: &str, list: &str, member: &str, pause: impl Future<Output = ()>) -> Vec<Value> {
    let (mut seen, mut after, mut pause) = (Vec::new(), String::new(), Some(pause));
    loop {
        let page = actor.get(&format!("{path}?limit=1{after}")).await.ok();
        seen.extend(page[list].as_array().expect("a list").iter().map(|entry| entry[member].clone()));
        let Some(next) = page["nextCursor"].as_str() else { return seen };
        after = format!("&after={next}");
        if let Some(pause) = pause.take() {
            pause.await;
        }
    }
}

/// An event in a transaction that is held open, and one that commits later. Every reader that has seen the later one has seen
/// the earlier one as well.
#[tokio::test]
async fn an_audit_event_is_never_behind_one_that_has_been_read() {
    let world = World::with(patient).await;
    let admin = world.admin().await;
    let (first, second) = (admin.given_card().await, admin.given_card().await);
    // The first change holds its row, has written its event, and cannot commit: its transaction waits in a trigger that
    // runs at the commit.
    let mut gate = world.database.shard().await;
    gate.execute(
        "create function wait_at_the_commit() returns trigger language plpgsql as $$
             begin perform pg_advisory_xact_lock(4711); return null; end $$;
             create constraint trigger waits after update on cards deferrable initially deferred
                 for each row when (new.status = 'cancelled') execute function wait_at_the_commit()",
    )
    .await
    .expect("the trigger is created");
    gate.execute("select pg_advisory_lock(4711)").await.expect("locked");
    let cancel = {
        let (admin, first) = (admin.clone(), first.clone());
        tokio::spawn(async move { admin.set_status(&first, "cancelled").await })
    };
    world.database.wait_for_lock_waiters(1).await;
    let activate = {
        let (admin, second) = (admin.clone(), second.clone());
        tokio::spawn(async move { admin.set_status(&second, "active").await })
    };
    tokio::time::sleep(std::time::Duration::from_millis(300)).await;

    let read = |events: &[Value]| [&first, &second].map(|card| events.iter().filter(|event| event["subjectId"] == **card).count());
    let page = admin.get("/audit-events?type=card_status_changed&limit=100").await.ok()["auditEvents"].as_array().expect("a list").clone();
    // The later change is not seen before the earlier one.
    assert_eq!(read(&page), [0, 0], "{page:?}");
    gate.execute("select pg_advisory_unlock(4711)").await.expect("unlocked");
    cancel.await.expect("a reply").ok();
    activate.await.expect("a reply").ok();
    let seen = walk(&admin, "/audit-events", "auditEvents", "subjectId", async {}).await;
    for card in [&first, &second] {
        // Its creation, and its change, each exactly once.
        assert_eq!(seen.iter().filter(|subject| subject == &card).count(), 2, "{seen:?}");
    }
}

#[tokio::test]
async fn a_session_is_never_behind_one_that_has_been_read() {
    let world = World::with(patient).await;
    let admin = world.admin().await;
    // The number of the open transaction's session is drawn before that of the login which follows.
    let mut open = world.database.shard().await;
    let insert = "begin; insert into sessions (account_id, id, user_id, expires_at)
        select account_id, gen_random_uuid(), user_id, expires_at from sessions limit 1";
    open.execute(insert).await.expect("inserted");
    let client = world.anonymous();
    let login = tokio::spawn(async move { client.post("/auth/login", json!({"email": "test@example.com", "password": "test123"})).await });
    tokio::time::sleep(std::time::Duration::from_millis(500)).await;
    let seen = walk(&admin, "/auth/sessions", "sessions", "sessionId", async {}).await;
    assert_eq!(seen.len(), 1, "the later session is seen before the earlier one: {seen:?}");
    open.execute("commit").await.expect("committed");
    login.await.expect("a reply").ok();
    let numbers = "select count(*) from (select number, xmin::text::bigint < lag(xmin::text::bigint) over (order by number) as wrong from sessions) s where wrong";
    assert_eq!(open.number(numbers).await, 0);
    let seen = walk(&admin, "/auth/sessions", "sessions", "sessionId", async {}).await;
    assert_eq!(seen.len(), 3, "{seen:?}");
}

#[tokio::test]
async fn users_customers_and_cards_are_numbered_under_the_lock_of_their_account() {
    let world = World::with(patient).await;
    let admin = world.admin().await;
    for (path, body, list) in [
        ("/users", json!({"email": "ana@example.com", "password": "a long enough password", "role": "viewer"}), "users"),
        ("/customers", json!({"name": "Juan Perez", "email": "juan@email.com"}), "customers"),
        ("/cards", json!({"currency": "USD"}), "cards"),
    ] {
        let count = admin.get(path).await.ok()[list].as_array().expect("a list").len();
        let locks = world.database.lock_rows("accounts").await;
        let client = admin.clone();
        let created = tokio::spawn(async move { client.post(path, body).await });
        world.database.wait_for_lock_waiters(1).await;
        assert_eq!(admin.get(path).await.ok()[list].as_array().expect("a list").len(), count);
        locks.release().await;
        created.await.expect("a reply").ok();
    }
}
