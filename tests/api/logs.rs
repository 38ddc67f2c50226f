//! What the log contains, and what it must never contain.

use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};

use crate::support::{
    Actor, Database, Reply,
    binary::{Logged, core_api_on},
};

/// Sends a bit of everything, and returns every secret and piece of personal data that it contained.
async fn send_everything(actor: &Actor) -> Vec<String> {
    let admin = actor.logged_in("test@example.com", "test123").await;
    let mut secrets: Vec<String> =
        ["canary", "test123", "test@example.com", "admin@company.com", "hunter2", "Balance top-up"].map(Into::into).into();
    secrets.extend([admin.token.clone().expect("a token"), admin.refresh_token.clone().expect("a token")]);
    let customer = json!({"name": "canary name", "email": "canary.customer@email.com"});
    admin.post("/customers", customer.clone()).await.ok();
    admin.post("/customers", customer).await.problem(409, "duplicate_email");
    let user = json!({"email": "canary.user@email.com", "password": "canary password", "role": "viewer"});
    admin.post("/users", user).await.ok();
    let card = admin.given_card_with(json!(5)).await;
    let purchase = json!({"cardId": card, "amount": 1, "description": "canary description"});
    admin.post("/sandbox/purchases", purchase).await.ok();
    secrets.extend(use_keys(&admin).await);
    for body in ["{\"canary\":", "canary", "{\"email\":\"canary\",\"password\":7}"] {
        assert_eq!(actor.send(Method::POST, "/auth/login", body).await.status, 400);
    }
    let wrong = json!({"email": "canary.nobody@email.com", "password": "canary guess"});
    actor.post("/auth/login", wrong).await.problem(401, "invalid_credentials");
    actor.post("/auth/refresh", json!({"refreshToken": "crt_canary"})).await.problem(401, "invalid_refresh_token");
    Reply::of(actor.request(Method::GET, "/cards").header("authorization", "Bearer canary")).await.problem(401, "unauthenticated");
    assert_eq!(admin.get("/customers/canary.customer@email.com").await.status, 404);
    assert_eq!(admin.get("/customers/canary.customer@email.com?email=canary").await.status, 400);
    let refreshed = actor.post("/auth/refresh", json!({"refreshToken": admin.refresh_token})).await.ok();
    secrets.extend(["token", "refreshToken"].map(|name| refreshed[name].as_str().expect("text").to_owned()));
    let change = json!({"currentPassword": "test123", "newPassword": "canary new password"});
    admin.post("/auth/password", change).await.ok();
    admin.post("/auth/logout", json!({})).await.ok();
    secrets
}

/// Uses API keys, also where none belongs, and returns them.
async fn use_keys(admin: &Actor) -> Vec<String> {
    let text_of = |issued: &Value| issued["key"].as_str().expect("a key").to_owned();
    let issued = admin.post("/api-keys", json!({"name": "canary program", "role": "network"})).await.ok();
    let (path, key) = (format!("/api-keys/{}", issued["apiKeyId"].as_str().expect("an id")), text_of(&issued));
    admin.with_token(&key).get("/cards").await.problem(403, "insufficient_permissions");
    admin.with_token(&format!("{key}0")).get("/cards").await.problem(401, "unauthenticated");
    admin.get(&format!("/cards/{key}")).await.problem(404, "card_not_found");
    admin.get(&format!("/cards?{key}={key}")).await.problem(400, "validation_failed");
    admin.post("/cards", json!({"currency": key})).await.problem(400, "validation_failed");
    let rolled = text_of(&admin.post(&format!("{path}/roll"), json!({"overlapSeconds": 60})).await.ok());
    admin.delete(&path).await.ok();
    // A part of the secret would be a secret as well.
    [key, rolled].iter().flat_map(|key| [key.clone(), key[64..90].to_owned()]).collect()
}

/// Runs a server at this log level, and returns its log and what must not be in it.
async fn log_of_everything(level: &str) -> (Vec<String>, Vec<String>) {
    let database = Database::new().await;
    let process = Logged::start(core_api_on(&database).env("CORE_API__LOG__LEVEL", level));
    let secrets = send_everything(&Actor::new(&process.base)).await;
    (process.stop(), secrets)
}

#[tokio::test]
async fn the_log_is_json_with_one_line_per_request_and_no_secret() {
    let (lines, secrets) = log_of_everything("info").await;
    let parsed: Vec<Value> =
        lines.iter().map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error} in {line}"))).collect();
    let requests = parsed.iter().filter(|line| line["method"].is_string()).count();
    assert_eq!(requests, 27, "{lines:#?}");
    for event in [
        "login",
        "login_failed",
        "refresh",
        "refresh_failed",
        "password_changed",
        "logout",
        "api_key_created",
        "api_key_rolled",
        "api_key_revoked",
    ] {
        assert!(parsed.iter().any(|line| line["event"] == event), "{event} is not in {lines:#?}");
    }
    for secret in secrets {
        assert!(!lines.iter().any(|line| line.contains(&secret)), "{secret} is in the log");
    }
}

#[tokio::test]
async fn a_log_at_trace_level_contains_no_secret() {
    let (lines, secrets) = log_of_everything("trace").await;
    assert!(lines.len() > 100, "{} lines", lines.len());
    for secret in secrets {
        let leak = lines.iter().find(|line| line.contains(&secret));
        assert!(leak.is_none(), "{secret} is in {leak:?}");
    }
}

#[tokio::test]
async fn no_log_level_hides_a_warning_about_security() {
    for level in ["error", "off", "info,core_api=off", "error,core_api::http=error"] {
        let database = Database::new().await;
        let process = Logged::start(core_api_on(&database).env("CORE_API__LOG__LEVEL", level));
        let actor = Actor::new(&process.base);
        actor.logged_in("test@example.com", "test123").await.get("/cards").await.ok();
        let wrong = json!({"email": "nobody@example.com", "password": "wrong"});
        let request = actor.request(Method::POST, "/auth/login").header("x-request-id", "guess");
        Reply::of(request.json(&wrong)).await.problem(401, "invalid_credentials");
        let lines: Vec<Value> = process.stop().iter().map(|line| serde_json::from_str(line).expect("JSON")).collect();
        assert_eq!(lines.len(), 1, "{level}: {lines:#?}");
        assert_eq!((&lines[0]["event"], &lines[0]["span"]["id"]), (&json!("login_failed"), &json!("guess")), "{level}");
    }
}

#[tokio::test]
async fn a_proxy_that_is_not_trusted_is_reported_once() {
    for (trusted, reports) in [("10.0.0.0/8", 1), ("127.0.0.0/8", 0)] {
        let database = Database::new().await;
        let process = Logged::start(core_api_on(&database).env("CORE_API__SERVER__TRUSTED_PROXIES", trusted));
        let actor = Actor::new(&process.base);
        for client in ["203.0.113.1", "203.0.113.2"] {
            Reply::of(actor.request(Method::GET, "/cards").header("x-forwarded-for", client)).await.problem(401, "unauthenticated");
        }
        let lines: Vec<Value> = process.stop().iter().map(|line| serde_json::from_str(line).expect("JSON")).collect();
        let reported = |line: &&Value| line["message"].as_str().is_some_and(|text| text.starts_with("X-Forwarded-For is ignored"));
        let found: Vec<&Value> = lines.iter().filter(reported).collect();
        assert_eq!(found.len(), reports, "{trusted}: {lines:#?}");
        assert!(found.iter().all(|line| line["peer"] == "127.0.0.1" && line["level"] == "WARN"), "{found:?}");
    }
}

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";

#[tokio::test]
async fn every_log_line_of_a_request_carries_its_caller_s_trace_id_if_valid() {
    let database = Database::new().await;
    let process = Logged::start(&mut core_api_on(&database));
    let actor = Actor::new(&process.base);
    let upper = TRACE.to_uppercase();
    let traceparent = |trace: &str| format!("00-{trace}-b7ad6b7169203331-01");
    for (id, traceparents) in [
        ("valid", vec![traceparent(TRACE)]),
        ("later", vec![format!("01-{TRACE}-b7ad6b7169203331-00-more")]),
        ("none", vec![]),
        ("upper", vec![traceparent(&upper)]),
        ("long", vec![format!("{}-more", traceparent(TRACE))]),
        ("twice", vec![traceparent(TRACE), traceparent(TRACE)]),
    ] {
        let mut request = actor.request(Method::POST, "/auth/login").header("x-request-id", id);
        for traceparent in traceparents {
            request = request.header("traceparent", traceparent);
        }
        Reply::of(request.json(&json!({"email": "test@example.com", "password": "test123"}))).await.ok();
    }
    let lines: Vec<Value> = process.stop().iter().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    for id in ["valid", "later", "none", "upper", "long", "twice"] {
        let spans: Vec<&Value> = lines.iter().map(|line| &line["span"]).filter(|span| span["id"] == id).collect();
        assert_eq!(spans.len(), 2, "the login event and the request line of {id} in {lines:#?}");
        let trace = ["valid", "later"].contains(&id).then_some(TRACE);
        assert!(spans.iter().all(|span| span["trace_id"].as_str() == trace), "{id}: {spans:?}");
        assert!(spans.iter().all(|span| span.as_object().expect("an object").len() == if trace.is_some() { 3 } else { 2 }), "{spans:?}");
    }
}

/// A request with an id to find it by in the log.
fn with_id(actor: &Actor, id: &str, method: Method, path: &str) -> RequestBuilder {
    actor.request(method, path).header("x-request-id", id)
}

#[tokio::test]
async fn failures_are_logged_as_errors_and_rejected_requests_are_not() {
    let database = Database::new().await;
    let mut command = core_api_on(&database);
    command.env("CORE_API__SERVER__MAX_IN_FLIGHT", "1").env("CORE_API__SERVER__LINGER_SECONDS", "3");
    let process = Logged::start(&mut command);
    let actor = Actor::new(&process.base).logged_in("test@example.com", "test123").await;
    let card = actor.given_card().await;
    let top_up = json!({"cardId": card, "amount": 5});
    let locks = database.lock_rows("cards").await;
    let waiting = tokio::spawn(Reply::of(with_id(&actor, "locked", Method::POST, "/balances/add").json(&top_up)));
    database.wait_for_lock_waiters(1).await;
    Reply::of(with_id(&actor, "shed", Method::GET, "/cards")).await.problem(503, "unavailable");
    // The locks stay, so the lock timeout of the database ends the wait.
    waiting.await.expect("a reply").problem(503, "unavailable");
    locks.release().await;
    database.execute("drop table movements").await;
    Reply::of(with_id(&actor, "bug", Method::POST, "/balances/add").json(&top_up)).await.problem(500, "internal_error");
    process.terminate();
    loop {
        let reply = Reply::of(with_id(&actor, "not-ready", Method::GET, "/health/ready")).await;
        if reply.status == 503 {
            reply.problem(503, "unavailable");
            break;
        }
    }
    let lines: Vec<Value> = process.log().iter().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    for (id, status, level) in [("shed", 503, "INFO"), ("locked", 503, "ERROR"), ("bug", 500, "ERROR"), ("not-ready", 503, "INFO")] {
        let found: Vec<&Value> = lines.iter().filter(|line| line["span"]["id"] == id && line["status"] == status).collect();
        assert_eq!(found.len(), 1, "{id} in {lines:#?}");
        assert_eq!((&found[0]["level"], found[0]["cause"].is_string()), (&json!(level), level == "ERROR"), "{}", found[0]);
    }
    let errors = lines.iter().filter(|line| line["level"] == "ERROR").count();
    assert_eq!(errors, 2, "{lines:#?}");
}

#[tokio::test]
async fn a_method_that_a_client_invents_is_not_logged() {
    let database = Database::new().await;
    let process = Logged::start(&mut core_api_on(&database));
    let invented = Method::from_bytes(b"HUNTER2").expect("a token");
    Reply::of(with_id(&Actor::new(&process.base), "invented", invented, "/cards")).await.problem(405, "method_not_allowed");
    let lines = process.stop();
    assert!(!lines.iter().any(|line| line.contains("HUNTER2")), "{lines:#?}");
    let lines: Vec<Value> = lines.iter().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!(lines.iter().find(|line| line["span"]["id"] == "invented").expect("a line")["method"], "other");
}

#[tokio::test]
async fn an_unsupported_method_is_logged_with_the_path_s_route() {
    let database = Database::new().await;
    let process = Logged::start(&mut core_api_on(&database));
    let actor = Actor::new(&process.base);
    for (id, path) in [("live", "/health/live"), ("login", "/auth/login"), ("card", "/cards/card_001"), ("error", "/errors/unavailable")] {
        Reply::of(with_id(&actor, id, Method::PUT, path)).await.problem(405, "method_not_allowed");
    }
    let lines: Vec<Value> = process.stop().iter().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    for (id, route) in [("live", "/health/live"), ("login", "/auth/login"), ("card", "/cards/{cardId}"), ("error", "/errors/{code}")] {
        let line = lines.iter().find(|line| line["span"]["id"] == id).expect("a line of the request");
        assert_eq!((&line["status"], &line["route"]), (&json!(405), &json!(route)), "{line}");
    }
}
