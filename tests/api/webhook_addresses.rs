//! What a deployment calls on behalf of its callers, and what an endpoint can do to it.

use std::{
    process::Command,
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
};

use crate::support::{
    Actor, World,
    receiver::{Answer, Receiver},
};

/// Hosts that are not public, in notations that hide it.
const BLOCKED: [&str; 30] = [
    "127.0.0.1",
    "127.1",
    "2130706433",
    "0x7f000001",
    "0x7f.1",
    "017700000001",
    "127.0.0.1.",
    "%31%32%37.0.0.1",
    "[::1]",
    "[::]",
    "[::ffff:127.0.0.1]",
    "[::ffff:7f00:1]",
    "[::127.0.0.1]",
    "10.0.0.1",
    "172.16.0.1",
    "192.168.0.1",
    "169.254.169.254",
    "[fe80::a9fe:a9fe]",
    "100.64.0.1",
    "0.0.0.0",
    "[fe80::1]",
    "[fc00::1]",
    "[64:ff9b::7f00:1]",
    "[2002:7f00:1::]",
    "[ff02::1]",
    "localhost",
    "LOCALHOST",
    "198.18.0.1",
    "224.0.0.1",
    "255.255.255.255",
];

/// A port at which nobody listens.
async fn dead_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").await.expect("a port").local_addr().expect("an address").port()
}

/// What a test message to a URL came to.
async fn tested(admin: &Actor, url: &str) -> Value {
    let endpoint = admin.given_endpoint(url, json!({"eventTypes": ["authorization.expired"]})).await;
    let attempt = admin.post(&format!("/webhook-endpoints/{endpoint}/test"), json!({})).await.ok();
    let attempts = admin.get(&format!("/webhook-endpoints/{endpoint}/attempts")).await.ok();
    assert_eq!(attempts["attempts"], json!([attempt]));
    let status = if attempt["outcome"] == "succeeded" { "delivered" } else { "failed" };
    let deliveries = admin.deliveries(&endpoint, "").await;
    assert_eq!((deliveries.len(), &deliveries[0]["status"], &deliveries[0]["eventType"]), (1, &json!(status), &json!("webhook.test")));
    admin.delete(&format!("/webhook-endpoints/{endpoint}")).await.ok();
    attempt
}

/// A server that answers every connection with these bytes, each piece after a pause, once a request has begun. Returns its URL.
async fn raw(pieces: Vec<Vec<u8>>, pause: Duration) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}/hooks", listener.local_addr().expect("an address"));
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.expect("a connection");
            let pieces = pieces.clone();
            tokio::spawn(async move {
                let mut buffer = [0; 4_096];
                let _read = stream.read(&mut buffer).await;
                for piece in pieces {
                    tokio::time::sleep(pause).await;
                    if stream.write_all(&piece).await.is_err() {
                        return;
                    }
                }
                let _end = stream.read(&mut buffer).await;
            });
        }
    });
    url
}

#[tokio::test]
async fn a_host_that_is_not_public_is_refused_in_every_notation() {
    let world = World::with(|settings| settings.webhooks.allowed_networks = "".parse().expect("no network")).await;
    let admin = world.admin().await;
    // 192.0.43.8 is a public address; nothing is sent to it.
    let endpoint = admin.given_endpoint("https://192.0.43.8/", json!({"eventTypes": ["authorization.expired"]})).await;
    for host in BLOCKED.into_iter().chain(["nothing.invalid"]) {
        for url in [format!("https://{host}/hooks"), format!("http://{host}:8080/")] {
            let created = admin.post("/webhook-endpoints", json!({"url": url, "eventTypes": ["*"]})).await;
            assert_eq!(created.field_errors(), ["url: blocked_address"], "{url}");
            let changed = admin.patch(&format!("/webhook-endpoints/{endpoint}"), json!({"url": url, "maxConcurrency": 1})).await;
            assert_eq!(changed.field_errors(), ["url: blocked_address"], "{url}");
        }
    }
    assert_eq!(world.database.number("select count(*) from webhook_endpoints").await, 1);
    let found = admin.endpoint(&endpoint).await;
    assert_eq!((&found["url"], &found["maxConcurrency"]), (&json!("https://192.0.43.8/"), &json!(10)));
}

#[tokio::test]
async fn an_allowed_network_allows_nothing_else() {
    let world = World::with(|settings| settings.webhooks.allowed_networks = "10.1.0.0/16".parse().expect("a network")).await;
    let admin = world.admin().await;
    admin.given_endpoint("http://10.1.2.3:4000/", json!({"eventTypes": ["authorization.expired"]})).await;
    for host in ["10.2.0.1", "127.0.0.1", "169.254.169.254", "[::1]"] {
        let created = admin.post("/webhook-endpoints", json!({"url": format!("http://{host}:4000/"), "eventTypes": ["*"]})).await;
        assert_eq!(created.field_errors(), ["url: blocked_address"], "{host}");
    }
}

#[tokio::test]
async fn an_address_is_checked_at_every_attempt() {
    let receiver = Receiver::start().await;
    let mut world = World::new().await;
    let admin = world.admin().await;
    let by_name = receiver.url().replace("127.0.0.1", "localhost");
    let endpoints =
        [admin.given_endpoint(receiver.url(), json!({})).await, admin.given_endpoint(&by_name, json!({"eventTypes": ["card.*"]})).await];
    world.settings.webhooks.allowed_networks = "".parse().expect("no network");
    world.shut_down(0);
    world.add_replica().await;
    // The first replica gives its leases back as it ends.
    tokio::time::sleep(Duration::from_millis(500)).await;
    let admin = world.at(1, &admin);
    admin.given_card().await;
    for endpoint in endpoints {
        let attempts = loop {
            let attempts = admin.get(&format!("/webhook-endpoints/{endpoint}/attempts")).await.ok();
            if attempts["attempts"][0].is_object() {
                break attempts;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        };
        let attempt = &attempts["attempts"][0];
        assert_eq!((&attempt["outcome"], &attempt["statusCode"]), (&json!("blocked_address"), &Value::Null));
        assert!(attempt["nextAttemptAt"].is_string());
        let test = admin.post(&format!("/webhook-endpoints/{endpoint}/test"), json!({})).await.ok();
        assert_eq!(test["outcome"], "blocked_address");
        assert!(admin.endpoint(&endpoint).await["failingSince"].is_string());
    }
    assert_eq!(receiver.received().len(), 0);
}

#[tokio::test]
async fn what_an_attempt_came_to_is_told() {
    let world = World::with(|settings| settings.webhooks.timeout_seconds = 1).await;
    let admin = world.admin().await;
    let slow = Receiver::answering(|_, _| Answer::status(200).after(Duration::from_secs(5))).await;
    let plain = Receiver::start().await;
    let elsewhere = plain.url().to_owned();
    let moved = Receiver::answering(move |_, _| Answer { headers: vec![("location", elsewhere.clone())], ..Answer::status(307) }).await;
    let failing = Receiver::answering(|_, _| Answer { body: "oops".to_owned(), ..Answer::status(503) }).await;
    let secure = plain.url().replace("http:", "https:");
    let no_http = raw(vec![b"220 mail.example.com ESMTP\r\n".to_vec()], Duration::ZERO).await;
    let dead = format!("http://127.0.0.1:{}/", dead_port().await);
    for (url, outcome, status, body) in [
        (slow.url(), "timeout", Value::Null, Value::Null),
        (moved.url(), "redirect", json!(307), Value::Null),
        (failing.url(), "http_error", json!(503), json!("oops")),
        (&secure, "tls", Value::Null, Value::Null),
        (&no_http, "connection", Value::Null, Value::Null),
        (&dead, "connection", Value::Null, Value::Null),
    ] {
        let attempt = tested(&admin, url).await;
        assert_eq!((&attempt["outcome"], &attempt["statusCode"], &attempt["responseBody"]), (&json!(outcome), &status, &body), "{url}");
        assert_eq!((&attempt["number"], &attempt["nextAttemptAt"]), (&json!(1), &Value::Null));
        let millis = attempt["durationMs"].as_i64().expect("a number");
        assert!((0..2_000).contains(&millis) && (outcome != "timeout" || millis >= 1_000), "{attempt}");
    }
    assert_eq!(plain.received().len(), 0, "a redirect was followed");
    assert_eq!((slow.received().len(), moved.received().len(), failing.received().len()), (1, 1, 1));
    assert_eq!(tested(&admin, plain.url()).await["outcome"], "succeeded");
}

#[tokio::test]
async fn an_answer_that_is_long_slow_or_odd_holds_nobody_up() {
    let world = World::with(|settings| settings.webhooks.timeout_seconds = 1).await;
    let admin = world.admin().await;
    let long = Receiver::answering(|_, _| Answer { body: "x".repeat(10 << 20), ..Answer::status(200) }).await;
    let started = Instant::now();
    let attempt = tested(&admin, long.url()).await;
    assert_eq!((&attempt["outcome"], attempt["responseBody"].as_str().map(str::len)), (&json!("succeeded"), Some(1_024)));
    assert!(started.elapsed() < Duration::from_secs(2));

    // A status that has come counts, whatever becomes of the body.
    let head = b"HTTP/1.1 200 OK\r\ncontent-length: 1000000\r\n\r\n".to_vec();
    let trickle = raw(std::iter::once(head).chain(vec![b"y".to_vec(); 200]).collect(), Duration::from_millis(50)).await;
    let started = Instant::now();
    let attempt = tested(&admin, &trickle).await;
    let length = attempt["responseBody"].as_str().map_or(0, str::len);
    assert!(attempt["outcome"] == "succeeded" && (1..50).contains(&length), "{attempt}");
    assert!(started.elapsed() < Duration::from_secs(3));

    // A head that never ends does not.
    let head = std::iter::once(b"HTTP/1.1 200 OK\r\n".to_vec()).chain(vec![b"a: b\r\n".to_vec(); 200]);
    let endless = raw(head.collect(), Duration::from_millis(50)).await;
    assert_eq!(tested(&admin, &endless).await["outcome"], "timeout");
    let large = raw(vec![[b"HTTP/1.1 200 OK\r\na: ".as_slice(), &vec![b'b'; 1 << 20], b"\r\n\r\n"].concat()], Duration::ZERO).await;
    assert_eq!(tested(&admin, &large).await["outcome"], "connection");

    // What is no text can be stored and shown.
    let odd = b"HTTP/1.1 500 No\r\ncontent-length: 6\r\n\r\n\0\xff\x1b[1m".to_vec();
    let attempt = tested(&admin, &raw(vec![odd], Duration::ZERO).await).await;
    assert_eq!(attempt["responseBody"], "\u{fffd}\u{fffd}\u{fffd}[1m");
}

#[tokio::test]
async fn an_endpoint_that_answers_slowly_or_at_length_does_not_hold_another_up() {
    let (_world, admin) = World::with_admin().await;
    let long = Receiver::answering(|_, _| Answer { body: "x".repeat(1 << 20), ..Answer::status(200) }.after(Duration::from_secs(1))).await;
    let quick = Receiver::start().await;
    let slow = admin.given_endpoint(long.url(), json!({"maxConcurrency": 1})).await;
    let endpoint = admin.given_endpoint(quick.url(), json!({})).await;
    for _ in 0..10 {
        admin.given_customer().await;
    }
    admin.wait_until_delivered(&endpoint).await;
    assert_eq!(quick.received().len(), 10);
    assert!(admin.endpoint(&slow).await["pending"].as_i64() > Some(3), "the slow endpoint was not slow");
}

/// This test runs itself once more, in a process with proxies in its environment.
#[tokio::test]
async fn proxies_in_the_environment_are_ignored() {
    const INSIDE: &str = "CORE_API_TEST_BEHIND_A_PROXY";
    if std::env::var_os(INSIDE).is_some() {
        let (_world, admin) = World::with_admin().await;
        let receiver = Receiver::start().await;
        assert_eq!(tested(&admin, receiver.url()).await["outcome"], "succeeded");
        assert_eq!(receiver.received().len(), 1);
        return;
    }
    let proxy = Receiver::start().await;
    let mut again = Command::new(std::env::current_exe().expect("a path"));
    again.args(["--exact", "webhook_addresses::proxies_in_the_environment_are_ignored"]).env(INSIDE, "1");
    for name in ["http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"] {
        again.env(name, proxy.url());
    }
    again.env_remove("no_proxy").env_remove("NO_PROXY");
    let output = tokio::task::spawn_blocking(move || again.output()).await.expect("no panic").expect("it runs");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && text.contains("1 passed"), "{text}");
    assert_eq!(proxy.received().len(), 0);
}
