//! A secret in any wrong place of any request comes back in no answer and no log line.

use std::collections::VecDeque;

use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};

use crate::support::{
    Actor, Database, Reply,
    binary::{Logged, core_api_on},
    operations::{Operation, operations},
    socket::Socket,
};

/// What every secret of this test begins with. It has a character that no name has.
const MARK: &str = "c4n4ry!";

/// A request with the secret in it. `may_echo` is set if a success may contain it, since it is valid data.
struct Attempt {
    place: String,
    request: RequestBuilder,
    may_echo: bool,
}

/// Puts a secret into every place of an operation.
struct Prober<'a> {
    actor: &'a Actor,
    operation: &'a Operation,
    secret: &'a str,
}

impl Prober<'_> {
    fn request(&self, path: &str) -> RequestBuilder {
        let request = self.actor.request(self.operation.method.clone(), path);
        match &self.operation.body {
            Some(body) => request.json(body),
            None => request,
        }
    }

    fn attempts(&self) -> Vec<Attempt> {
        let fixed = |(place, request): (String, RequestBuilder)| Attempt { place, request, may_echo: false };
        self.in_url().into_iter().chain(self.in_headers()).map(fixed).chain(self.in_body()).collect()
    }

    fn in_url(&self) -> Vec<(String, RequestBuilder)> {
        let (path, secret) = (self.operation.path("none"), self.secret);
        let mut urls = vec![
            format!("{path}?{secret}"),
            format!("{path}?{secret}={secret}"),
            format!("{path}?unknown={secret}&unknown={secret}"),
            format!("{path}?{secret}%FF=1"),
            format!("{path}#{secret}"),
            format!("{path}/{secret}"),
            self.operation.path(secret),
            self.operation.path(&format!("{secret}%00")),
            self.operation.path(&format!("{secret}%FF")),
        ];
        for name in &self.operation.query {
            urls.extend([
                format!("{path}?{name}={secret}"),
                format!("{path}?{name}={secret}%00"),
                format!("{path}?{name}=1&{name}={secret}"),
                format!("{path}?{name}{secret}=1"),
            ]);
        }
        urls.into_iter().map(|url| (url.clone(), self.request(&url))).collect()
    }

    fn in_headers(&self) -> Vec<(String, RequestBuilder)> {
        let (path, secret) = (self.operation.path("none"), self.secret);
        let mut attempts: Vec<(String, RequestBuilder)> = Vec::new();
        for (name, value) in [
            ("authorization", secret.to_owned()),
            ("authorization", format!("Bearer {secret}")),
            ("authorization", format!("Bearer cak_sandbox_{secret}")),
            ("authorization", format!("Basic {secret}")),
            ("authorization", format!("Bearer eyJhbGciOiJIUzI1NiJ9.{secret}.{secret}")),
            ("idempotency-key", format!("{secret} {secret}")),
            ("idempotency-key", format!("\"{secret}")),
            ("content-type", secret.to_owned()),
            ("content-type", format!("application/json; charset={secret}")),
            ("content-type", format!("application/json; {secret}")),
            ("content-encoding", secret.to_owned()),
            ("accept", secret.to_owned()),
            ("accept", format!("text/html;q={secret}")),
            ("accept-encoding", secret.to_owned()),
            ("traceparent", secret.to_owned()),
            ("traceparent", format!("00-{secret}-b7ad6b7169203331-01")),
            ("tracestate", format!("vendor={secret}")),
            ("x-request-id", secret.to_owned()),
            ("x-forwarded-for", secret.to_owned()),
            ("origin", format!("https://{secret}")),
            ("user-agent", secret.to_owned()),
            ("cookie", format!("token={secret}")),
            ("referer", format!("https://example.com/{secret}")),
            ("x-unknown", secret.to_owned()),
            ("if-none-match", format!("\"{secret}\"")),
        ] {
            // A header that is set twice would be refused for that.
            let actor = if name == "authorization" { Actor::new(self.actor.base()) } else { self.actor.clone() };
            let request = actor.request(self.operation.method.clone(), &path);
            let body = self.operation.body.as_ref().map(ToString::to_string);
            let request =
                if body.is_some() && name != "content-type" { request.header("content-type", "application/json") } else { request };
            attempts.push((format!("{name}: {value}"), request.header(name, value).body(body.unwrap_or_default())));
        }
        let twice = self.request(&path).header("idempotency-key", secret).header("idempotency-key", secret);
        attempts.push(("two keys".to_owned(), twice));
        if secret.len() < 100 {
            attempts.push(("header name".to_owned(), self.request(&path).header(secret, "1")));
            let method = Method::from_bytes(secret.as_bytes()).expect("a token");
            attempts.push(("method".to_owned(), self.actor.request(method, &path)));
        }
        let preflight = self.actor.request(Method::OPTIONS, &path).header("origin", "https://app.example.com");
        attempts.push((
            "preflight".to_owned(),
            preflight.header("access-control-request-method", "POST").header("access-control-request-headers", secret),
        ));
        attempts
    }

    fn in_body(&self) -> Vec<Attempt> {
        let Some(example) = &self.operation.body else { return Vec::new() };
        let secret = self.secret;
        let mut stringified = example.clone();
        for field in self.operation.fields() {
            stringified[field] = json!(secret);
        }
        let quoted = |value: &Value| json!(value.to_string()).to_string();
        let mut bodies: Vec<(String, Vec<u8>)> = [
            secret.to_owned(),
            json!(secret).to_string(),
            quoted(&stringified),
            quoted(&json!(stringified.to_string())),
            json!([secret]).to_string(),
            json!([stringified]).to_string(),
            format!("{{\"{secret}\":1,\"{secret}\":2}}"),
            format!("{{\"x\":{{\"{secret}\":1,\"{secret}\":2}}}}"),
            format!("{{\"{secret}\":{{\"x\":1,\"x\":2}}}}"),
            format!("{{\"{secret}\":\"\\ud800\"}}"),
            format!("{{\"x\":\"{secret}\\ud800\"}}"),
            format!("{{\"x\":\"{secret}\n\"}}"),
            format!("{{\"x\":\"{secret}"),
            format!("{{{secret}:1}}"),
            format!("{{\"x\":{secret}}}"),
            format!("{{}}{secret}"),
            format!("{secret}{{}}"),
            json!({secret: secret}).to_string(),
            json!({"x": {"y": secret}}).to_string(),
        ]
        .into_iter()
        .map(|body| (body.clone(), body.into_bytes()))
        .collect();
        bodies.push(("not UTF-8".to_owned(), [b"{\"x\":\"", secret.as_bytes(), b"\xff\"}"].concat()));
        let mut attempts = Vec::new();
        for field in self.operation.fields() {
            let with = |value: Value| {
                let mut body = example.clone();
                body[&field] = value;
                body
            };
            attempts.push((format!("{field}: text"), with(json!(secret)).to_string().into_bytes(), true));
            for value in [json!([secret]), json!({secret: secret}), json!(format!("{secret}\0")), json!(format!("{secret}\u{202e}"))] {
                bodies.push((format!("{field}: {value}"), with(value).to_string().into_bytes()));
            }
            let twice = format!("{{\"{field}\":\"{secret}\",\"{field}\":\"{secret}\"}}");
            let lone = format!("{{\"{field}\":\"{secret}\\ud800\"}}");
            bodies.extend([(format!("{field} twice"), twice.into_bytes()), (format!("{field}, malformed"), lone.into_bytes())]);
        }
        attempts.extend(bodies.into_iter().map(|(place, body)| (place, body, false)));
        let send = |body: Vec<u8>| {
            let request = self.actor.request(self.operation.method.clone(), &self.operation.path("none"));
            request.header("content-type", "application/json").body(body)
        };
        attempts.into_iter().map(|(place, body, may_echo)| Attempt { place, request: send(body), may_echo }).collect()
    }
}

/// Requests that no HTTP client sends, or that violate HTTP.
fn raw_requests(secret: &str) -> Vec<String> {
    let long = "x".repeat(40_000);
    let get = |head: &str| format!("GET /cards HTTP/1.1\r\nHost: a\r\nConnection: close\r\n{head}\r\n\r\n");
    let post = |head: &str, body: &str| {
        format!("POST /auth/login HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Type: application/json\r\n{head}\r\n\r\n{body}")
    };
    vec![
        format!("{secret}\r\n\r\n"),
        format!("GET {secret} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"),
        format!("GET /{secret} {secret}/1.1\r\nHost: a\r\n\r\n"),
        format!("GET http://{secret}/cards HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"),
        format!("GET /cards HTTP/1.1\r\nHost: {secret}\r\nConnection: close\r\n\r\n"),
        format!("GET /cards HTTP/1.1\r\nHost: {secret}\r\nHost: {secret}\r\nConnection: close\r\n\r\n"),
        get(&format!("Bad {secret}: 1")),
        get(&format!("X: {secret}\0")),
        get(&format!("Authorization: Bearer {secret}{long}")),
        get(&format!("Upgrade: {secret}\r\nConnection: upgrade, close")),
        post(&format!("Expect: {secret}\r\nContent-Length: 2"), "{}"),
        post(&format!("Content-Length: {secret}"), "{}"),
        post(&format!("Transfer-Encoding: {secret}"), "{}"),
        post("Transfer-Encoding: chunked", &format!("2;{secret}={secret}\r\n{{}}\r\n0\r\nX-Trailer: {secret}\r\n\r\n")),
        post("Transfer-Encoding: chunked", &format!("{secret}\r\n{{}}\r\n0\r\n\r\n")),
    ]
}

#[tokio::test]
async fn a_secret_in_any_wrong_place_comes_back_in_no_answer_and_no_log_line() {
    let database = Database::new().await;
    let mut command = core_api_on(&database);
    command.env("CORE_API__LOG__LEVEL", "trace").env("CORE_API__CORS__ALLOWED_ORIGINS", "https://app.example.com");
    for limit in [
        "PER_HOUR",
        "FAILED_LOGINS_PER_MINUTE",
        "FAILED_AUTHENTICATIONS_PER_MINUTE",
        "FAILED_LOGINS_PER_EMAIL_AND_ADDRESS",
        "FAILED_LOGINS_PER_EMAIL",
        "FAILED_LOGINS_PER_ADDRESS",
    ] {
        command.env(format!("CORE_API__RATE_LIMIT__{limit}"), "1000000");
    }
    let process = Logged::start(&mut command);
    let anonymous = Actor::new(&process.base);
    let (mut sent, mut leaks) = (0, Vec::new());
    for (number, operation) in operations().iter().enumerate() {
        for filler in [0, 15_000] {
            // Each operation has a secret of its own: a list may show what another operation has stored.
            let mark = format!("{MARK}{number}!");
            let secret = format!("{mark}{}", "x".repeat(filler));
            let attempts = async || {
                let actor = anonymous.logged_in("test@example.com", "test123").await;
                Prober { actor: &actor, operation, secret: &secret }.attempts()
            };
            let mut pending = VecDeque::from(attempts().await);
            let mut done = 0;
            while let Some(Attempt { place, request, may_echo }) = pending.pop_front() {
                let reply = Reply::of(request).await;
                (sent, done) = (sent + 1, done + 1);
                assert!(reply.status < 500, "{operation} {place:.60}: {reply:?}");
                let contains_mark = |bytes: &[u8]| bytes.windows(mark.len()).any(|window| window == mark.as_bytes());
                let is_shown = contains_mark(reply.text.as_bytes()) && !(may_echo && reply.status == 200);
                let mut headers = reply.headers.iter();
                if is_shown || headers.any(|(name, value)| contains_mark(name.as_str().as_bytes()) || contains_mark(value.as_bytes())) {
                    leaks.push(format!("{operation}, {place:.60}: {} {:.200}", reply.status, reply.text));
                }
                if reply.status == 200 && operation.template == "/auth/logout" {
                    pending = attempts().await.into_iter().skip(done).collect();
                }
            }
        }
    }
    for request in raw_requests(MARK) {
        let (_, answer) = Socket::to(&anonymous).await.send(&request).await.closed().await;
        if answer.contains(MARK) {
            leaks.push(format!("{request:.60}: {answer:.200}"));
        }
    }
    let lines = process.stop();
    leaks.extend(lines.iter().filter(|line| line.contains(MARK)).map(|line| format!("log: {line:.300}")));
    assert!(leaks.is_empty(), "{} leaks, among them {:#?}", leaks.len(), &leaks[..leaks.len().min(20)]);
    assert!(sent > 2_500, "only {sent} requests were sent");
    assert!(lines.len() > sent, "{} log lines", lines.len());
}
