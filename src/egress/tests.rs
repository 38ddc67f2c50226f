//! Calls over real sockets of this machine.

mod server;
mod tls;

use std::{
    env, io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    process::Command,
    sync::Mutex,
    time::SystemTime,
};

use proptest::prelude::*;
use tokio::time::sleep;

use self::server::Server;
use super::*;

const LOOPBACK: &str = "127.0.0.0/8,::1";
const LONG: Duration = Duration::from_secs(20);
const SHORT: Duration = Duration::from_millis(400);
const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

fn egress(allowed: &str, timeout: Duration) -> Egress {
    Egress::new(allowed.parse().expect("networks"), timeout, Vec::new()).expect("an egress")
}

/// An egress for which every name has these addresses, one list for each time that it asks.
fn resolving(answers: Vec<io::Result<Vec<IpAddr>>>) -> Egress {
    let answers = Mutex::new(answers.into_iter());
    let lookup: Lookup = Arc::new(move |_, port| {
        let answer = answers.lock().expect("unpoisoned").next().expect("another answer");
        Box::pin(async move { answer.map(|ips| ips.into_iter().map(|ip| SocketAddr::new(ip, port)).collect()) })
    });
    Egress::with(LOOPBACK.parse().expect("networks"), LONG, Vec::new(), lookup).expect("an egress")
}

fn url(text: &str) -> EndpointUrl {
    EndpointUrl::parse(text, true).expect(text)
}

async fn post(egress: &Egress, to: &str) -> Response {
    egress.target(&url(to)).post(&[("webhook-id", "msg_1".to_owned())], b"{}".to_vec()).await
}

#[tokio::test]
async fn a_message_is_sent_as_it_is() {
    let server = Server::answering(OK).await;
    let response = post(&egress(LOOPBACK, LONG), &server.url("/hook?a=b")).await;
    assert_eq!((response.outcome, response.status, response.body.as_deref()), (AttemptOutcome::Succeeded, Some(200), Some("ok")));
    assert!(response.duration > Duration::ZERO && response.retry_after.is_none());
    let request = server.requests().remove(0).to_lowercase();
    assert!(request.starts_with("post /hook?a=b http/1.1\r\n") && request.ends_with("\r\n\r\n{}"), "{request}");
    assert!(request.contains("user-agent: core-api-webhooks/1\r\n") && request.contains("webhook-id: msg_1\r\n"), "{request}");
    assert!(!request.contains("cookie") && !request.contains("accept-encoding") && !request.contains("referer"), "{request}");
}

#[tokio::test]
async fn what_is_not_public_is_blocked_unless_it_is_allowed() {
    let server = Server::answering(OK).await;
    let port = server.port();
    let closed = egress("", LONG);
    for host in ["127.0.0.1", "2130706433", "0x7f.1", "[::ffff:127.0.0.1]", "[::1]", "localhost", "169.254.169.254", "0.0.0.0"] {
        let to = format!("http://{host}:{port}/");
        assert_eq!(post(&closed, &to).await.outcome, AttemptOutcome::BlockedAddress, "{host}");
        assert_eq!(closed.check(&url(&to)).await, Err(Blocked::BlockedAddress), "{host}");
    }
    assert_eq!(server.connections(), 0);
    let open = egress(LOOPBACK, LONG);
    for host in ["127.0.0.1", "[::ffff:127.0.0.1]", "localhost"] {
        let to = format!("http://{host}:{port}/");
        assert_eq!(post(&open, &to).await.outcome, AttemptOutcome::Succeeded, "{host}");
        assert_eq!(open.check(&url(&to)).await, Ok(()), "{host}");
    }
}

#[tokio::test]
async fn a_host_without_an_address_is_no_host() {
    let egress = resolving(vec![Ok(Vec::new()), Err(io::Error::other("no such name")), Ok(Vec::new())]);
    let to = "http://missing.example/";
    let response = post(&egress, to).await;
    assert_eq!(response, Response::none(AttemptOutcome::Dns, response.duration));
    assert_eq!(post(&egress, to).await.outcome, AttemptOutcome::Dns);
    assert_eq!(egress.check(&url(to)).await, Err(Blocked::Dns));
}

#[tokio::test]
async fn one_address_that_is_not_permitted_blocks_the_host() {
    let server = Server::answering(OK).await;
    let (good, bad) = (IpAddr::from([127, 0, 0, 1]), IpAddr::from([10, 0, 0, 1]));
    let egress = resolving(vec![Ok(vec![good, bad]), Ok(vec![bad, good])]);
    let to = format!("http://mixed.example:{}/", server.port());
    assert_eq!(post(&egress, &to).await.outcome, AttemptOutcome::BlockedAddress);
    assert_eq!(egress.check(&url(&to)).await, Err(Blocked::BlockedAddress));
    assert_eq!(server.connections(), 0);
}

#[tokio::test]
async fn a_name_is_resolved_and_checked_at_every_attempt() {
    let server = Server::answering(OK).await;
    let (v4, v6) = (IpAddr::from(Ipv4Addr::LOCALHOST), IpAddr::from(Ipv6Addr::LOCALHOST));
    let inner = IpAddr::from([169, 254, 169, 254]);
    let answers = vec![Ok(vec![v4]), Ok(vec![v4]), Ok(vec![v4, v6]), Ok(vec![v6, v4]), Ok(vec![inner]), Ok(vec![v4, v6])];
    let egress = resolving(answers);
    let mut target = egress.target(&url(&format!("http://rebinding.example:{}/", server.port())));
    let mut connections = Vec::new();
    for expected in [true, true, true, true, false, true] {
        let outcome = target.post(&[], Vec::new()).await.outcome;
        assert_eq!(outcome, if expected { AttemptOutcome::Succeeded } else { AttemptOutcome::BlockedAddress });
        connections.push(server.connections());
    }
    assert_eq!(connections, [1, 1, 2, 2, 2, 3], "a connection is kept while the addresses stay the same, in whatever order");
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let aim = Server::answering(OK).await;
    for status in [301, 302, 303, 307, 308] {
        let head = format!("HTTP/1.1 {status} Elsewhere\r\nlocation: {}\r\ncontent-length: 0\r\n\r\n", aim.url("/"));
        let server = Server::answering(&head).await;
        let response = post(&egress(LOOPBACK, LONG), &server.url("/")).await;
        assert_eq!((response.outcome, response.status, response.body), (AttemptOutcome::Redirect, Some(status), None));
    }
    assert_eq!(aim.connections(), 0);
}

/// Variables belong to a process, so this test runs itself in another one.
#[tokio::test]
async fn proxies_of_the_environment_are_ignored() {
    const INNER: &str = "CORE_API_TEST_BEHIND_PROXY";
    if env::var_os(INNER).is_some() {
        let server = Server::answering(OK).await;
        assert_eq!(post(&egress(LOOPBACK, LONG), &server.url("/")).await.outcome, AttemptOutcome::Succeeded);
        return;
    }
    let mut command = Command::new(env::current_exe().expect("this program"));
    command.args(["--exact", "egress::tests::proxies_of_the_environment_are_ignored"]).env(INNER, "1");
    for name in ["http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"] {
        command.env(name, "http://127.0.0.1:1");
    }
    let output = command.env_remove("no_proxy").env_remove("NO_PROXY").output().expect("a process");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && text.contains("1 passed"), "{text}");
}

#[tokio::test]
async fn a_long_body_is_cut_and_its_connection_closed() {
    let server = Server::flooding(10 << 20).await;
    let response = post(&egress(LOOPBACK, LONG), &server.url("/")).await;
    assert_eq!((response.outcome, response.status), (AttemptOutcome::Succeeded, Some(200)));
    assert_eq!(response.body, Some("x".repeat(MAX_KEPT)));
    assert!(server.closed_early().await, "all of the body was taken");
}

#[tokio::test]
async fn a_slow_body_ends_with_the_time_and_the_status_decides() {
    for (head, outcome) in [
        ("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nabc", AttemptOutcome::Succeeded),
        ("HTTP/1.1 500 No\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n", AttemptOutcome::HttpError),
    ] {
        let server = Server::stopping_after(head).await;
        let response = post(&egress(LOOPBACK, SHORT), &server.url("/")).await;
        assert_eq!((response.outcome, response.body.as_deref()), (outcome, Some("abc")), "{head}");
        assert!(response.duration >= SHORT && response.duration < LONG / 2, "{:?}", response.duration);
    }
}

#[tokio::test]
async fn no_status_in_time_is_a_timeout() {
    for part in ["", "HTTP/1.1 200 OK\r\nx: y\r\n"] {
        let server = Server::stopping_after(part).await;
        let response = post(&egress(LOOPBACK, SHORT), &server.url("/")).await;
        assert_eq!((response.outcome, response.status), (AttemptOutcome::Timeout, None), "{part:?}");
        assert!(response.duration >= SHORT && response.duration < LONG / 2, "{:?}", response.duration);
    }
}

#[tokio::test]
async fn a_connection_that_is_refused_or_breaks_or_speaks_something_else() {
    let port = Server::answering(OK).await.close().await;
    let response = post(&egress(LOOPBACK, LONG), &format!("http://127.0.0.1:{port}/")).await;
    assert_eq!((response.outcome, response.status), (AttemptOutcome::Connection, None));
    for answer in ["", "HTTP/1.1 200 OK\r\n", "SSH-2.0-OpenSSH_9.6\r\n"] {
        let server = Server::closing_after(answer).await;
        assert_eq!(post(&egress(LOOPBACK, LONG), &server.url("/")).await.outcome, AttemptOutcome::Connection, "{answer:?}");
        assert_eq!(server.connections(), 1, "nothing is sent twice");
    }
}

#[tokio::test]
async fn a_body_that_breaks_off_changes_nothing() {
    let server = Server::closing_after("HTTP/1.1 204 OK\r\n\r\n").await;
    assert_eq!(post(&egress(LOOPBACK, LONG), &server.url("/")).await.outcome, AttemptOutcome::Succeeded);
    let server = Server::closing_after("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\na\0c").await;
    let response = post(&egress(LOOPBACK, LONG), &server.url("/")).await;
    assert_eq!((response.outcome, response.body.as_deref()), (AttemptOutcome::Succeeded, Some("a\u{fffd}c")));
}

#[tokio::test]
async fn retry_after_counts_with_the_statuses_that_mean_it() {
    let soon = httpdate::fmt_http_date(SystemTime::now() + Duration::from_secs(100));
    for (status, value, seconds) in
        [(429, "30", 30..31), (503, "30", 30..31), (503, &*soon, 90..101), (500, "30", 0..0), (200, "30", 0..0), (429, "soon", 0..0)]
    {
        let server = Server::answering(&format!("HTTP/1.1 {status} X\r\nretry-after: {value}\r\ncontent-length: 0\r\n\r\n")).await;
        let response = post(&egress(LOOPBACK, LONG), &server.url("/")).await;
        assert_eq!(response.status, Some(status));
        assert_eq!(response.retry_after.is_some(), !seconds.is_empty(), "{status} {value}");
        assert!(response.retry_after.is_none_or(|after| seconds.contains(&after.as_secs())), "{response:?}");
    }
}

#[tokio::test]
async fn a_connection_is_used_again() {
    let server = Server::answering(OK).await;
    let egress = egress(LOOPBACK, LONG);
    let mut target = egress.target(&url(&server.url("/")));
    for _ in 0..3 {
        assert_eq!(target.post(&[], b"{}".to_vec()).await.outcome, AttemptOutcome::Succeeded);
        // The connection goes back on another task.
        sleep(Duration::from_millis(20)).await;
    }
    assert_eq!((server.connections(), server.requests().len()), (1, 3));
}

#[tokio::test]
async fn a_connection_that_was_closed_meanwhile_is_made_anew() {
    let server = Server::closing_after(OK).await;
    let mut target = egress(LOOPBACK, LONG).target(&url(&server.url("/")));
    for _ in 0..10 {
        assert_eq!(target.post(&[], "{}").await.outcome, AttemptOutcome::Succeeded);
        sleep(Duration::from_millis(20)).await;
    }
    assert_eq!((server.connections(), server.requests().len()), (10, 10));
}

#[tokio::test]
async fn a_long_head_ends() {
    let server = Server::answering(&format!("HTTP/1.1 200 OK\r\nx: {}\r\n\r\n", "x".repeat(1 << 20))).await;
    assert_eq!(post(&egress(LOOPBACK, LONG), &server.url("/")).await.outcome, AttemptOutcome::Connection);
}

#[tokio::test]
async fn the_next_address_is_tried_if_one_refuses() {
    let server = Server::answering(OK).await;
    let refusing = IpAddr::from(Ipv6Addr::LOCALHOST);
    let egress = resolving(vec![Ok(vec![refusing, IpAddr::from(Ipv4Addr::LOCALHOST)])]);
    assert_eq!(post(&egress, &format!("http://two.example:{}/", server.port())).await.outcome, AttemptOutcome::Succeeded);
}

proptest! {
    #[test]
    fn every_url_that_is_accepted_can_be_called(text in "https?://[a-z0-9._~\\[\\]:]{1,20}(/[ -~é]{0,20})?(\\?[ -~é]{0,20})?") {
        if let Ok(url) = EndpointUrl::parse(&text, true) {
            let request = egress("", SHORT).target(&url).request(&[], Bytes::new());
            let request = request.map_err(|_| TestCaseError::fail(url.to_string()))?;
            prop_assert_eq!(request.uri().to_string(), url.path_and_query());
            prop_assert_eq!(&request.headers()[header::HOST], url.authority());
        }
    }
}
