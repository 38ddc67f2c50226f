//! Scripts of web pages: none, unless settings allow the page.

use reqwest::{Method, RequestBuilder};
use serde_json::json;

use crate::support::{Actor, Reply, World};

const PAGE: &str = "https://app.example.com";

/// What a browser asks before a script may send what it wants to.
fn preflight(actor: &Actor, path: &str, origin: &str) -> RequestBuilder {
    let asked = actor.request(Method::OPTIONS, path).header("origin", origin);
    asked.header("access-control-request-method", "POST").header("access-control-request-headers", "authorization,idempotency-key")
}

async fn with_a_page() -> World {
    World::with(|settings| {
        settings.cors.allowed_origins = format!("{PAGE},http://localhost:3000").try_into().expect("origins");
    })
    .await
}

fn allowed(reply: &Reply) -> Vec<(&str, &str)> {
    let names = reply.headers.keys().map(reqwest::header::HeaderName::as_str).filter(|name| name.starts_with("access-control-"));
    names.map(|name| (name, reply.header(name).unwrap_or_default())).collect()
}

#[tokio::test]
async fn by_default_no_origin_may_read_an_answer() {
    let world = World::new().await;
    let admin = world.admin().await;
    let asked = Reply::of(preflight(&world.stranger(), "/cards", PAGE)).await;
    assert_eq!(allowed(&asked), []);
    asked.problem(405, "method_not_allowed");
    let reply = Reply::of(admin.request(Method::GET, "/cards").header("origin", PAGE)).await;
    assert_eq!(allowed(&reply), []);
    reply.ok();
}

#[tokio::test]
async fn an_allowed_origin_may_call_and_read_the_headers_it_needs() {
    let world = with_a_page().await;
    let admin = world.admin().await;
    for origin in [PAGE, "http://localhost:3000"] {
        let asked = Reply::of(preflight(&world.stranger(), "/balances/add", origin)).await;
        assert_eq!(asked.status, 200);
        assert_eq!(asked.header("access-control-allow-origin"), Some(origin));
        assert_eq!(asked.header("access-control-allow-methods"), Some("GET,POST,PATCH,DELETE"));
        assert_eq!(
            asked.header("access-control-allow-headers"),
            Some("authorization,content-type,idempotency-key,x-request-id,traceparent,tracestate")
        );
        assert!(asked.header("access-control-max-age").is_some());
        for name in ["x-request-id", "cache-control", "x-content-type-options"] {
            assert!(asked.header(name).is_some(), "no {name}");
        }

        let create = admin.request(Method::POST, "/cards").header("origin", origin).json(&json!({"currency": "USD"}));
        let created = Reply::of(create).await;
        assert_eq!(created.header("access-control-allow-origin"), Some(origin));
        let exposed = "x-request-id,x-ratelimit-limit,x-ratelimit-remaining,x-ratelimit-reset,retry-after,idempotent-replayed";
        assert_eq!(created.header("access-control-expose-headers"), Some(exposed));
        // No cookie is ever wanted, and what one origin was answered is not for another.
        assert_eq!(created.header("access-control-allow-credentials"), None);
        assert!(created.header("vary").is_some_and(|vary| vary.contains("origin")));
        created.ok();
    }
    // A script that sent a wrong token is to see why nothing came of it.
    for path in ["/cards", "/nothing"] {
        let reply = Reply::of(world.stranger().request(Method::GET, path).header("origin", PAGE)).await;
        assert_eq!(reply.header("access-control-allow-origin"), Some(PAGE), "{path}");
    }
}

#[tokio::test]
async fn an_origin_that_is_not_listed_is_not_allowed() {
    let world = with_a_page().await;
    let admin = world.admin().await;
    for origin in [
        "https://app.example.com.evil.net",
        "https://evil.net",
        "http://app.example.com",
        "https://app.example.com:8443",
        "https://sub.app.example.com",
        "HTTPS://APP.EXAMPLE.COM",
        "null",
    ] {
        let asked = Reply::of(preflight(&world.stranger(), "/cards", origin)).await;
        assert_eq!(asked.header("access-control-allow-origin"), None, "{origin}");
        let reply = Reply::of(admin.request(Method::GET, "/cards").header("origin", origin)).await;
        assert_eq!(reply.header("access-control-allow-origin"), None, "{origin}");
        reply.ok();
    }
}
