//! Failures that no single resource owns: routes, methods, media types, sizes and internal errors.

use reqwest::Method;
use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::support::{Reply, World};

#[tokio::test]
async fn an_unknown_path_is_404() {
    let (world, admin) = World::with_admin().await;
    for path in ["/card", "/cards/", "/cards/card_001/movements/", "/customers/a/b", "/v1/cards", "/CARDS"] {
        let problem = admin.get(path).await.problem(404, "route_not_found");
        assert_eq!(problem["detail"], "No route has this path; GET / says where the list of routes is.");
        world.anonymous().get(path).await.problem(404, "route_not_found");
    }
}

#[tokio::test]
async fn an_unsupported_method_is_405_and_lists_the_allowed_ones() {
    let (_world, admin) = World::with_admin().await;
    for (method, path, allowed) in [
        (Method::PUT, "/customers", "POST,GET,HEAD"),
        (Method::DELETE, "/cards", "POST,GET,HEAD"),
        (Method::GET, "/cards/assign", "POST"),
        (Method::POST, "/cards/status", "PATCH"),
        (Method::GET, "/auth/login", "POST"),
        (Method::OPTIONS, "/balances/add", "POST"),
        (Method::TRACE, "/cards", "POST,GET,HEAD"),
        (Method::DELETE, "/cards/card_001", "GET,HEAD,PATCH"),
        (Method::POST, "/health/live", "GET,HEAD"),
    ] {
        let reply = Reply::of(admin.request(method.clone(), path)).await;
        assert_eq!(reply.header("allow"), Some(allowed), "{method} {path}");
        reply.problem(405, "method_not_allowed");
    }
}

#[tokio::test]
async fn a_body_must_be_declared_as_json() {
    let (world, admin) = World::with_admin().await;
    let body = r#"{"currency":"USD"}"#;
    for media_type in [
        "text/plain",
        "application/x-www-form-urlencoded",
        "application/jsonp",
        "application",
        "application/json; charset=latin-1",
        "application/json; charset = utf-8",
        "application/json, text/plain",
        "é",
    ] {
        let request = admin.request(Method::POST, "/cards").header("content-type", media_type.as_bytes());
        Reply::of(request.body(body)).await.problem(415, "unsupported_media_type");
    }
    Reply::of(admin.request(Method::POST, "/cards").body(body)).await.problem(415, "unsupported_media_type");
    let coded = |coding: &str| {
        let request = admin.request(Method::POST, "/cards").header("content-type", "application/json").header("content-encoding", coding);
        Reply::of(request.body(body))
    };
    for coding in ["gzip", "identity, gzip", "identity;q=1", "GZIP"] {
        coded(coding).await.problem(415, "unsupported_media_type");
    }
    assert_eq!(world.database.rows().await, 0);
    for coding in ["identity", "Identity", "identity , IDENTITY,"] {
        coded(coding).await.ok();
    }
    for media_type in [
        "application/json",
        "application/json; charset=utf-8",
        "application/json ; charset=utf-8",
        "application/json\t;\tcharset=utf-8",
        "application/json;",
        "application/json;charset=utf8",
        "Application/Json; Charset=Utf-8",
        "APPLICATION/JSON;charset=\"UTF-8\"",
    ] {
        let request = admin.request(Method::POST, "/cards").header("content-type", media_type);
        Reply::of(request.body(body)).await.ok();
    }
}

#[tokio::test]
async fn an_oversized_body_is_413_at_any_size() {
    let (_world, admin) = World::with_admin().await;
    for length in [64 * 1024 + 1, 100_000, 900_000] {
        let body = format!("{{\"currency\":\"USD\",\"x\":\"{}\"}}", "x".repeat(length));
        admin.send(Method::POST, "/cards", body).await.problem(413, "payload_too_large");
    }
    let chunked = reqwest::Body::from(vec![b' '; 80_000]);
    admin.send(Method::POST, "/cards", chunked).await.problem(413, "payload_too_large");
    // A declared length far above the limit is answered before the body is sent.
    let mut socket = TcpStream::connect(admin.base().trim_start_matches("http://")).await.expect("connected");
    let token = admin.token.as_deref().expect("a token");
    let head = format!("POST /cards HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\nContent-Length: 50000000\r\n\r\n");
    socket.write_all(head.as_bytes()).await.expect("the head is sent");
    let mut answer = vec![0; 15];
    socket.read_exact(&mut answer).await.expect("an answer");
    assert_eq!(String::from_utf8_lossy(&answer), "HTTP/1.1 413 Pa");
    let fits = format!("{{\"currency\":\"USD\"{}}}", " ".repeat(64 * 1024 - 18));
    assert_eq!(fits.len(), 64 * 1024);
    admin.send(Method::POST, "/cards", fits).await.ok();
}

#[tokio::test]
async fn a_valid_request_id_is_kept_and_an_invalid_one_replaced() {
    let world = World::new().await;
    let with = |id: &str| Reply::of(world.anonymous().request(Method::GET, "/nowhere").header("x-request-id", id));
    let kept = with("Order-4711").await;
    assert_eq!(kept.header("x-request-id"), Some("Order-4711"));
    kept.problem(404, "route_not_found");
    for id in ["", "a b", "a\"b", "<script>", &"x".repeat(65)] {
        assert_ne!(with(id).await.header("x-request-id"), Some(id), "{id}");
    }
}

#[tokio::test]
async fn an_internal_error_is_a_500_that_reveals_no_detail() {
    let (world, admin) = World::with_admin().await;
    let card = admin.given_card().await;
    world.database.execute("drop table movements").await;
    let problem = admin.add(&card, json!(1)).await.problem(500, "internal_error");
    assert!(!problem.to_string().contains("movements"), "{problem}");
    assert_eq!(admin.card(&card).await["balance"], 0);
}

#[tokio::test]
async fn a_head_request_is_a_get_without_its_body() {
    let world = World::new().await;
    let reply = Reply::of(world.admin().await.request(Method::HEAD, "/cards")).await;
    assert_eq!((reply.status, reply.text.as_str()), (200, ""));
}
