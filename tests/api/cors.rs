//! Cross-origin requests: none, unless the settings allow the origin.

use reqwest::{Method, RequestBuilder};
use serde_json::json;

use crate::support::{Actor, Reply, World};

const ORIGIN: &str = "https://app.example.com";

/// The preflight request that a browser sends before a cross-origin POST.
fn preflight(actor: &Actor, path: &str, origin: &str) -> RequestBuilder {
    let request = actor.request(Method::OPTIONS, path).header("origin", origin);
    request.header("access-control-request-method", "POST").header("access-control-request-headers", "authorization,idempotency-key")
}

async fn with_allowed_origins() -> World {
    World::with(|settings| {
        settings.cors.allowed_origins = format!("{ORIGIN},http://localhost:3000").try_into().expect("origins");
    })
    .await
}

/// The CORS headers of an answer.
fn cors_headers(reply: &Reply) -> Vec<(&str, &str)> {
    let names = reply.headers.keys().map(reqwest::header::HeaderName::as_str).filter(|name| name.starts_with("access-control-"));
    names.map(|name| (name, reply.header(name).unwrap_or_default())).collect()
}

#[tokio::test]
async fn by_default_no_origin_may_read_an_answer() {
    let (world, admin) = World::with_admin().await;
    let preflighted = Reply::of(preflight(&world.anonymous(), "/cards", ORIGIN)).await;
    assert_eq!(cors_headers(&preflighted), []);
    preflighted.problem(405, "method_not_allowed");
    let reply = Reply::of(admin.request(Method::GET, "/cards").header("origin", ORIGIN)).await;
    assert_eq!(cors_headers(&reply), []);
    reply.ok();
}

#[tokio::test]
async fn an_allowed_origin_may_call_and_read_the_headers_it_needs() {
    let world = with_allowed_origins().await;
    let admin = world.admin().await;
    for origin in [ORIGIN, "http://localhost:3000"] {
        let preflighted = Reply::of(preflight(&world.anonymous(), "/balances/add", origin)).await;
        assert_eq!(preflighted.status, 200);
        assert_eq!(preflighted.header("access-control-allow-origin"), Some(origin));
        assert_eq!(preflighted.header("access-control-allow-methods"), Some("GET,POST,PUT,PATCH,DELETE"));
        assert_eq!(
            preflighted.header("access-control-allow-headers"),
            Some("authorization,content-type,idempotency-key,x-request-id,traceparent,tracestate")
        );
        assert!(preflighted.header("access-control-max-age").is_some());
        for name in ["x-request-id", "cache-control", "x-content-type-options"] {
            assert!(preflighted.header(name).is_some(), "no {name}");
        }

        let create = admin.request(Method::POST, "/cards").header("origin", origin).json(&json!({"currency": "USD"}));
        let created = Reply::of(create).await;
        assert_eq!(created.header("access-control-allow-origin"), Some(origin));
        let exposed =
            "x-request-id,x-ratelimit-limit,x-ratelimit-remaining,x-ratelimit-reset,retry-after,idempotent-replayed,content-disposition";
        assert_eq!(created.header("access-control-expose-headers"), Some(exposed));
        // Credentials are never allowed, and caches must keep origins apart.
        assert_eq!(created.header("access-control-allow-credentials"), None);
        assert!(created.header("vary").is_some_and(|vary| vary.contains("origin")));
        created.ok();
    }
    // Errors must be readable as well.
    for path in ["/cards", "/nothing"] {
        let reply = Reply::of(world.anonymous().request(Method::GET, path).header("origin", ORIGIN)).await;
        assert_eq!(reply.header("access-control-allow-origin"), Some(ORIGIN), "{path}");
    }
}

#[tokio::test]
async fn an_origin_that_is_not_listed_is_not_allowed() {
    let world = with_allowed_origins().await;
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
        let preflighted = Reply::of(preflight(&world.anonymous(), "/cards", origin)).await;
        assert_eq!(preflighted.header("access-control-allow-origin"), None, "{origin}");
        let reply = Reply::of(admin.request(Method::GET, "/cards").header("origin", origin)).await;
        assert_eq!(reply.header("access-control-allow-origin"), None, "{origin}");
        reply.ok();
    }
}
