//! A replica beside one of a later version reads rows with words that it does not know. It shows them, it decides nothing
//! on them, and no other caller is affected.

use core_api::domain::role::Role;
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{Actor, Reply, World};

/// What a later migration would do before its version writes new words.
const LATER_SCHEMA: &str = "alter table users drop constraint users_role_known;
    alter table api_keys drop constraint api_keys_role_known;
    alter table cards drop constraint cards_status_known, drop constraint cards_currency_known;
    alter table movements drop constraint movements_kind_known;
    alter table idempotency_keys drop constraint idempotency_keys_status_decided";

async fn shown(actor: &Actor, path: &str) -> Value {
    Reply::undocumented(actor.request(Method::GET, path)).await.ok()
}

#[tokio::test]
async fn a_role_of_a_later_version_permits_nothing_and_fails_only_its_own_requests() {
    let (world, admin) = World::with_admin().await;
    let (id, user) = world.new_user(&admin, "auditor@example.com", Role::Viewer).await;
    let (_, program) = admin.given_api_key(Role::Viewer).await;
    world.database.execute(LATER_SCHEMA).await;
    world.database.execute("update users set role = 'auditor' where email_key = 'auditor@example.com'").await;
    world.database.execute("update api_keys set role = 'auditor' where name = 'A program'").await;
    // Sent together, so that they are in one batch.
    for _ in 0..20 {
        let (refused, unknown, admitted) = tokio::join!(user.get("/cards"), program.get("/cards"), admin.get("/cards"));
        for refused in [refused, unknown] {
            refused.problem(403, "insufficient_permissions");
        }
        admitted.ok();
    }
    assert_eq!(shown(&admin, "/api-keys").await["apiKeys"][1]["role"], "auditor");
    let listed = shown(&admin, "/users").await;
    assert_eq!(listed["users"][1]["role"], "auditor", "{listed}");
    admin.patch(&format!("/users/{id}"), json!({"role": "viewer"})).await.problem(503, "unavailable");
}

#[tokio::test]
async fn a_card_with_words_of_a_later_version_is_shown_and_not_changed() {
    let (world, admin) = World::with_admin().await;
    let (frozen, card) = (admin.given_card_with(json!(100)).await, admin.given_card_with(json!(100)).await);
    let customer = admin.given_customer().await;
    world.database.execute(LATER_SCHEMA).await;
    let set = "update cards set status = 'frozen', currency = 'GBP' where number = 1";
    world.database.execute(set).await;
    let path = format!("/cards/{frozen}");
    let (read, other) = tokio::join!(shown(&admin, &path), admin.card(&card));
    assert_eq!((&read["status"], &read["currency"]), (&json!("frozen"), &json!("GBP")));
    assert_eq!(other["status"], "active");
    let listed = shown(&admin, "/cards").await;
    assert_eq!(listed["cards"][0]["status"], "frozen", "{listed}");
    assert_eq!(shown(&admin, &format!("/balances/{frozen}")).await["currency"], "GBP");

    // The first try decides on the position that is still cached; the others read the card again.
    for _ in 0..3 {
        let (refused, added) = tokio::join!(admin.add(&frozen, json!(1)), admin.add(&card, json!(1)));
        refused.problem(503, "unavailable");
        added.ok();
    }
    admin.purchase(&frozen, json!(1)).await.problem(503, "unavailable");
    admin.set_status(&frozen, "blocked").await.problem(503, "unavailable");
    admin.assign(&frozen, &customer).await.problem(503, "unavailable");
    assert_eq!(shown(&admin, &path).await["balance"], 100);
    world.fresh_replica().await.admin().await.add(&frozen, json!(1)).await.problem(503, "unavailable");
}

#[tokio::test]
async fn movements_events_and_responses_of_a_later_version_are_read() {
    let (world, admin) = World::with_admin().await;
    let card = admin.given_card_with(json!(100)).await;
    world.database.execute(LATER_SCHEMA).await;
    let insert = "with moved as (update cards set balance = 9000, seq = 2)
        insert into movements select account_id, card_id, 2, gen_random_uuid(), 'capture', -1000, 9000, 'x', now() from movements";
    world.database.execute(&format!("alter table movements drop constraint movements_amount_sign; {insert}")).await;
    let list = shown(&admin, &format!("/cards/{card}/movements")).await;
    let newest = &list["movements"][0];
    assert_eq!((&newest["type"], &newest["amount"]), (&json!("capture"), &json!(-10)));

    let insert = "insert into audit_events (account_id, id, type, subject_kind, subject_id)
        select account_id, gen_random_uuid(), 'key_created', 'key', '01940000-0000-7000-8000-000000000000' from cards";
    world.database.execute(insert).await;
    let events = shown(&admin, "/audit-events").await;
    let newest = &events["auditEvents"][0];
    assert_eq!((&newest["type"], &newest["subjectId"]), (&json!("key_created"), &json!("key_01jg000000e008000000000000")));

    let body = json!({"currency": "USD"});
    admin.keyed("later", Method::POST, "/cards", &body).await.ok();
    world.database.execute("update idempotency_keys set status = 402 where key = 'later'").await;
    admin.keyed("later", Method::POST, "/cards", &body).await.problem(503, "unavailable");
}
