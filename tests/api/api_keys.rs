//! API keys: created, shown once, rolled and revoked, and what a program can do with one.

use core_api::domain::{
    actor::{Actor as AuditActor, Origin, Principal},
    environment::Environment,
    id::{AccountId, ApiKeyId},
    role::Role,
};
use core_api::service::{
    api_keys::{ApiKeys, NewApiKey},
    error::Error,
};
use reqwest::Method;
use serde_json::{Value, json};
use sqlx::{Executor as _, Row as _};

use crate::support::{Actor, World};

const UNKNOWN: &str = "key_01h455vb4pex5vsknk084sn02q";

fn text(value: &Value) -> String {
    value.as_str().expect("a string").to_owned()
}

/// A key with this text, of the same account.
fn with_key(actor: &Actor, issued: &Value) -> Actor {
    actor.with_token(&text(&issued["key"]))
}

async fn roll(actor: &Actor, id: &str, overlap: u32) -> Value {
    actor.post(&format!("/api-keys/{id}/roll"), json!({"overlapSeconds": overlap})).await.ok()
}

#[tokio::test]
async fn a_program_works_with_the_role_of_its_key() {
    let (_world, admin) = World::with_admin().await;
    let issued = admin.post("/api-keys", json!({"name": " Back office ", "role": "operator"})).await.ok();
    let id = text(&issued["apiKeyId"]);
    assert!(id.starts_with("key_") && text(&issued["key"]).starts_with("cak_sandbox_"), "{issued}");
    assert!(text(&issued["key"]).contains(id.strip_prefix("key_").expect("an id")), "{issued}");
    assert_eq!((&issued["name"], &issued["role"]), (&json!("Back office"), &json!("operator")));
    for absent in ["expiresAt", "revokedAt", "lastUsedAt", "overlapEndsAt"] {
        assert_eq!(issued[absent], Value::Null, "{absent}");
    }
    let program = with_key(&admin, &issued);
    let card = program.given_card_with(json!(5)).await;
    assert_eq!(admin.card(&card).await["balance"], 5);
    program.get("/users").await.problem(403, "insufficient_permissions");
    let (_, reader) = admin.given_api_key(Role::Viewer).await;
    reader.get("/cards").await.ok();
    reader.post("/cards", json!({"currency": "USD"})).await.problem(403, "insufficient_permissions");
    let (_, manager) = admin.given_api_key(Role::Admin).await;
    manager.given_api_key(Role::Viewer).await.1.get("/cards").await.ok();
}

#[tokio::test]
async fn a_gateway_can_do_nothing_with_customers_cards_and_users() {
    let (_world, admin) = World::with_admin().await;
    let card = admin.given_card().await;
    let (_, gateway) = admin.given_api_key(Role::Network).await;
    for path in ["/cards", &format!("/cards/{card}"), &format!("/balances/{card}"), "/customers", "/users", "/api-keys", "/audit-events"] {
        gateway.get(path).await.problem(403, "insufficient_permissions");
    }
    gateway.add(&card, json!(5)).await.problem(403, "insufficient_permissions");
    gateway.purchase(&card, json!(5)).await.problem(403, "insufficient_permissions");
}

#[tokio::test]
async fn the_database_has_only_a_hash_of_a_key() {
    let (world, admin) = World::with_admin().await;
    let body = json!({"name": "A program", "role": "viewer"});
    let issued = admin.keyed("create", Method::POST, "/api-keys", &body).await.ok();
    let (id, key) = (text(&issued["apiKeyId"]), text(&issued["key"]));
    with_key(&admin, &issued).get("/cards").await.ok();
    let rolled = admin.keyed("roll", Method::POST, &format!("/api-keys/{id}/roll"), &json!({"overlapSeconds": 60})).await.ok();
    let stored = |key: &str, column: &str| format!("select count(*) from api_keys where {column} = sha256('{key}'::bytea)");
    assert_eq!(world.database.number(&stored(&key, "previous_hash")).await, 1);
    assert_eq!(world.database.number(&stored(&text(&rolled["key"]), "secret_hash")).await, 1);
    for key in [key, text(&rolled["key"])] {
        // The secret, without the ids that surround it. Bodies are stored as bytes, so they are decoded.
        let secret = &key[key.len() - 59..key.len() - 7];
        let texts = "select string_agg(query_to_xml(format('select * from %I', tablename), true, false, '')::text, '') as text from pg_tables \
            where schemaname = 'public'";
        let bodies = "select string_agg(convert_from(body, 'UTF8'), '') as text from idempotency_keys";
        for all in [texts, bodies] {
            let found = format!("select count(*) from ({all}) everything where text like '%{secret}%'");
            assert_eq!(world.database.number(&found).await, 0, "{all}");
            let found = format!("select count(*) from ({all}) everything where text like '%A program%'");
            assert_eq!(world.database.number(&found).await, 1, "{all} does not see what is stored");
        }
    }
}

#[tokio::test]
async fn a_replayed_response_names_the_key_without_its_text() {
    let (world, admin) = World::with_admin().await;
    let body = json!({"name": "A program", "role": "viewer"});
    let first = admin.keyed("create", Method::POST, "/api-keys", &body).await.ok();
    let again = admin.keyed("create", Method::POST, "/api-keys", &body).await;
    assert_eq!(again.header("idempotent-replayed"), Some("true"));
    let again = again.ok();
    assert!(first["key"].is_string() && again["key"].is_null(), "{first} {again}");
    assert_eq!((&again["apiKeyId"], &again["createdAt"]), (&first["apiKeyId"], &first["createdAt"]));
    let path = format!("/api-keys/{}/roll", text(&first["apiKeyId"]));
    let rolled = admin.keyed("roll", Method::POST, &path, &json!({})).await.ok();
    let again = admin.keyed("roll", Method::POST, &path, &json!({})).await.ok();
    assert!(rolled["key"].is_string() && again["key"].is_null(), "{rolled} {again}");
    with_key(&admin, &rolled).get("/cards").await.ok();
    assert_eq!(world.database.number("select count(*) from api_keys where name = 'A program'").await, 1);
    assert_eq!(world.database.number("select count(*) from audit_events where type = 'api_key_rolled'").await, 1);
}

#[tokio::test]
async fn keys_are_listed_without_their_text() {
    let (_world, admin, other) = World::with_two_accounts().await;
    let (id, program) = admin.given_api_key(Role::Viewer).await;
    let key = admin.get(&format!("/api-keys/{id}")).await.ok();
    assert_eq!(key["lastUsedAt"], Value::Null);
    program.get("/cards").await.ok();
    let used = admin.get(&format!("/api-keys/{id}")).await.ok();
    assert!(text(&used["lastUsedAt"]).ends_with(":00:00.000Z"), "{used}");
    assert!(key.get("key").is_none() && used.get("key").is_none(), "{used}");
    let listed = admin.get("/api-keys").await.ok();
    let names: Vec<String> = listed["apiKeys"].as_array().expect("a list").iter().map(|key| text(&key["name"])).collect();
    assert_eq!(names, ["Sandbox gateway", "A program"]);
    assert_eq!(listed["apiKeys"][1], used);
    for unknown in [UNKNOWN, "key_001", &id] {
        let requests = [
            other.get(&format!("/api-keys/{unknown}")).await,
            other.delete(&format!("/api-keys/{unknown}")).await,
            other.post(&format!("/api-keys/{unknown}/roll"), json!({})).await,
            other.get(&format!("/audit-events?apiKeyId={unknown}")).await,
        ];
        for reply in requests {
            reply.problem(404, "api_key_not_found");
        }
    }
    program.get("/cards").await.ok();
}

#[tokio::test]
async fn a_new_key_needs_a_name_a_role_and_a_time_to_come() {
    let (world, admin) = World::with_admin().await;
    assert_eq!(admin.post("/api-keys", json!({})).await.field_errors(), ["name: required", "role: required"]);
    let wrong = json!({"name": " ", "role": "root", "expiresAt": "tomorrow"});
    assert_eq!(admin.post("/api-keys", wrong).await.field_errors(), ["name: blank", "role: unknown_value", "expiresAt: invalid_date"]);
    for past in ["2025-02-10T12:00:00Z", "2025-02-10"] {
        let body = json!({"name": "A program", "role": "viewer", "expiresAt": past});
        assert_eq!(admin.post("/api-keys", body).await.field_errors(), ["expiresAt: out_of_range"]);
    }
    let (id, program) = admin.given_api_key(Role::Viewer).await;
    for (overlap, code) in
        [(json!(-1), "out_of_range"), (json!(604_801), "out_of_range"), (json!(1.5), "out_of_range"), (json!("60"), "wrong_type")]
    {
        let errors = admin.post(&format!("/api-keys/{id}/roll"), json!({"overlapSeconds": overlap})).await.field_errors();
        assert_eq!(errors, [format!("overlapSeconds: {code}")]);
    }
    program.get("/cards").await.ok();
    assert_eq!(world.database.number("select count(*) from api_keys where name = 'A program'").await, 1);
}

#[tokio::test]
async fn a_key_is_refused_from_the_moment_it_expires() {
    let (world, admin) = World::with_admin().await;
    let body = json!({"name": "A program", "role": "viewer", "expiresAt": "2999-12-31T00:00:00Z"});
    let issued = admin.post("/api-keys", body).await.ok();
    assert_eq!(issued["expiresAt"], "2999-12-31T00:00:00.000Z");
    let program = with_key(&admin, &issued);
    program.get("/cards").await.ok();
    world.database.execute("update api_keys set expires_at = clock_timestamp() + interval '1 second' where expires_at is not null").await;
    program.get("/cards").await.ok();
    world.database.wait_for(1, "select count(*) from api_keys where expires_at <= clock_timestamp()").await;
    program.get("/cards").await.problem(401, "unauthenticated");
    let path = format!("/api-keys/{}/roll", text(&issued["apiKeyId"]));
    admin.post(&path, json!({})).await.problem(409, "api_key_not_active");
}

#[tokio::test]
async fn a_revoked_key_is_dead_on_every_replica_at_once() {
    let world = World::of_replicas(3, |_| {}).await;
    let admin = world.admin().await;
    for role in Role::ALL {
        let (id, program) = admin.given_api_key(role).await;
        let rolled = roll(&admin, &id, 3600).await;
        let everywhere = |actor: &Actor| [0, 1, 2].map(|index| world.at(index, actor));
        let both = || everywhere(&program).into_iter().chain(everywhere(&with_key(&admin, &rolled)));
        for at in both() {
            assert_ne!(at.get("/cards").await.status, 401, "{role:?}");
        }
        world.at(1, &admin).delete(&format!("/api-keys/{id}")).await.ok();
        for at in both() {
            at.get("/cards").await.problem(401, "unauthenticated");
        }
        admin.delete(&format!("/api-keys/{id}")).await.ok();
        admin.post(&format!("/api-keys/{id}/roll"), json!({})).await.problem(409, "api_key_not_active");
        assert!(admin.get(&format!("/api-keys/{id}")).await.ok()["revokedAt"].is_string());
        let revoked = admin.get(&format!("/audit-events?subjectId={id}&type=api_key_revoked")).await.ok();
        assert_eq!(revoked["auditEvents"].as_array().map(Vec::len), Some(1), "revoking twice is one event");
    }
}

#[tokio::test]
async fn after_a_roll_the_text_before_is_valid_until_the_overlap_ends() {
    let (world, admin) = World::with_admin().await;
    let (id, first) = admin.given_api_key(Role::Viewer).await;
    let second = roll(&admin, &id, 3600).await;
    assert_eq!(text(&second["apiKeyId"]), id);
    assert!(second["overlapEndsAt"].is_string(), "{second}");
    assert_eq!(admin.get(&format!("/api-keys/{id}")).await.ok()["overlapEndsAt"], second["overlapEndsAt"]);
    let remaining = "select extract(epoch from previous_expires_at - now())::bigint from api_keys where previous_hash is not null";
    assert!((3590..=3600).contains(&world.database.number(remaining).await));
    let second = with_key(&admin, &second);
    first.get("/cards").await.ok();
    second.get("/cards").await.ok();
    // A roll within the overlap ends the first text.
    let third = roll(&admin, &id, 3600).await;
    let third = with_key(&admin, &third);
    first.get("/cards").await.problem(401, "unauthenticated");
    second.get("/cards").await.ok();
    world.database.execute("update api_keys set previous_expires_at = clock_timestamp() where previous_hash is not null").await;
    second.get("/cards").await.problem(401, "unauthenticated");
    third.get("/cards").await.ok();
    assert_eq!(admin.get(&format!("/api-keys/{id}")).await.ok()["overlapEndsAt"], Value::Null);
    // Without an overlap the present text ends at once.
    let fourth = admin.post(&format!("/api-keys/{id}/roll"), json!({})).await.ok();
    assert_eq!(fourth["overlapEndsAt"], Value::Null);
    third.get("/cards").await.problem(401, "unauthenticated");
    with_key(&admin, &fourth).get("/cards").await.ok();
}

#[tokio::test]
async fn a_key_has_no_session_and_no_password() {
    let (_world, admin) = World::with_admin().await;
    for role in Role::ALL {
        let (_, program) = admin.given_api_key(role).await;
        let change = json!({"currentPassword": "test123", "newPassword": "correct horse battery staple"});
        for reply in [
            program.post("/auth/logout", json!({})).await,
            program.post("/auth/password", change).await,
            program.get("/auth/sessions").await,
            program.delete("/auth/sessions/ses_01h455vb4pex5vsknk084sn02q").await,
        ] {
            let problem = reply.problem(403, "insufficient_permissions");
            assert!(text(&problem["detail"]).contains("an API key has neither"), "{problem}");
        }
    }
    admin.get("/auth/sessions").await.ok();
}

#[tokio::test]
async fn a_user_cannot_have_the_role_of_a_gateway() {
    let (world, admin) = World::with_admin().await;
    let body = json!({"email": "gateway@example.com", "password": "a long enough password", "role": "network"});
    assert_eq!(admin.post("/users", body).await.field_errors(), ["role: unknown_value"]);
    let (id, _) = world.new_user(&admin, "ana@example.com", Role::Viewer).await;
    assert_eq!(admin.patch(&format!("/users/{id}"), json!({"role": "network"})).await.field_errors(), ["role: unknown_value"]);
    assert_eq!(world.database.number("select count(*) from users where role = 'network'").await, 0);
}

#[tokio::test]
async fn the_audit_log_names_the_key_and_what_was_done_to_it() {
    let (_world, admin) = World::with_admin().await;
    let (id, program) = admin.given_api_key(Role::Operator).await;
    let card = program.given_card().await;
    for _ in 0..5 {
        program.get("/users").await.problem(403, "insufficient_permissions");
    }
    let rolled = roll(&admin, &id, 60).await;
    admin.delete(&format!("/api-keys/{id}")).await.ok();
    let events =
        async |query: &str| admin.get(&format!("/audit-events{query}")).await.ok()["auditEvents"].as_array().expect("a list").clone();
    let by_key = events(&format!("?apiKeyId={id}")).await;
    let types: Vec<String> = by_key.iter().map(|event| text(&event["type"])).collect();
    assert_eq!(types, ["permission_refused", "card_created"], "a permission is refused to a key once an hour");
    for event in &by_key {
        assert_eq!((&event["apiKeyId"], &event["userId"], &event["sessionId"]), (&json!(id), &Value::Null, &Value::Null));
        assert!(event["requestId"].is_string() && event["address"] == "127.0.0.1", "{event}");
    }
    assert_eq!((&by_key[0]["subjectId"], &by_key[0]["after"]), (&json!(id), &json!({"role": "operator", "needed": "manage"})));
    assert_eq!(by_key[1]["subjectId"], card.as_str());
    let about = events(&format!("?subjectId={id}")).await;
    let changes: Vec<_> = about.iter().map(|event| (text(&event["type"]), event["before"].clone(), event["after"].clone())).collect();
    let expected = [
        ("api_key_revoked", json!({"revoked": false}), json!({"revoked": true})),
        ("api_key_rolled", json!({"overlapEndsAt": null}), json!({"overlapEndsAt": rolled["overlapEndsAt"]})),
        ("permission_refused", Value::Null, json!({"role": "operator", "needed": "manage"})),
        ("api_key_created", Value::Null, json!({"role": "operator", "expiresAt": null, "revoked": false})),
    ];
    assert_eq!(changes, expected.map(|(name, before, after)| (name.to_owned(), before, after)));
    assert!(about.iter().all(|event| event["apiKeyId"].is_null() != (event["type"] == "permission_refused")), "{about:?}");
    let page = admin.get(&format!("/audit-events?apiKeyId={id}&limit=1")).await.ok();
    let rest = events(&format!("?after={}", text(&page["nextCursor"]))).await;
    assert_eq!(rest, by_key[1..], "a cursor carries the filter");
}

/// A key may be revoked after its request was admitted and before that commits.
#[tokio::test]
async fn a_change_by_a_key_that_was_revoked_meanwhile_is_refused() {
    let (world, admin) = World::with_admin().await;
    let (id, manager) = admin.given_api_key(Role::Admin).await;
    let (writer, _) = admin.given_api_key(Role::Operator).await;
    manager.get("/api-keys").await.ok();
    let row = world.database.connect().await.fetch_one("select account_id from api_keys where name = 'A program'").await;
    let account: uuid::Uuid = row.expect("the account").get(0);
    let keys = ApiKeys::new(world.database.pool(), Environment::Sandbox);
    let create = async |key: &str| {
        let origin = Origin { request_id: "request".into(), address: "127.0.0.1".into() };
        let key: ApiKeyId = key.parse().expect("an id");
        let actor = AuditActor { account: AccountId::from(account), principal: Principal::Key { key, origin } };
        let new = NewApiKey { name: "A key".parse().expect("a name"), role: Role::Admin, expires_at: None };
        keys.create(&actor, new, None).await.map(drop)
    };
    create(&id).await.expect("the key is live");
    assert!(matches!(create(&writer).await, Err(Error::InsufficientPermissions(Role::Operator))));
    admin.delete(&format!("/api-keys/{id}")).await.ok();
    assert!(matches!(create(&id).await, Err(Error::Unauthenticated)));
    assert_eq!(world.database.number("select count(*) from api_keys where name = 'A key'").await, 1);
}
