//! A receiver of webhooks on this machine, which answers as a test tells it to.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use axum::{
    Router,
    body::Bytes,
    extract::State,
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response},
};
use serde_json::{Value, json};
use standardwebhooks::Webhook;
use tokio::{net::TcpListener, task::JoinHandle};

use super::Actor;

/// A message that came.
#[derive(Clone, Debug)]
pub struct Received {
    pub id: String,
    pub timestamp: i64,
    pub signature: String,
    pub headers: HashMap<String, String>,
    pub text: String,
    pub at: Instant,
}

impl Received {
    pub fn event(&self) -> Value {
        serde_json::from_str(&self.text).expect("JSON")
    }

    /// Whether the secret verifies it, as a receiver's library says.
    pub fn is_signed_with(&self, secret: &str) -> bool {
        let webhook = Webhook::new(secret).expect("a secret");
        let mut headers = HeaderMap::new();
        for (name, value) in &self.headers {
            headers.insert(name.parse::<axum::http::HeaderName>().expect("a name"), value.parse().expect("a value"));
        }
        webhook.verify(self.text.as_bytes(), &headers).is_ok()
    }
}

/// How to answer a message.
#[derive(Clone, Debug)]
pub struct Answer {
    pub status: u16,
    pub after: Duration,
    pub headers: Vec<(&'static str, String)>,
    pub body: String,
}

impl Answer {
    pub fn status(status: u16) -> Self {
        Self { status, after: Duration::ZERO, headers: Vec::new(), body: String::new() }
    }

    pub fn after(self, after: Duration) -> Self {
        Self { after, ..self }
    }
}

type Decide = Arc<dyn Fn(&Received, usize) -> Answer + Send + Sync>;

struct Shared {
    received: Mutex<Vec<Received>>,
    decide: Mutex<Decide>,
    now: AtomicUsize,
    most: AtomicUsize,
}

/// A receiver. Dropping it stops it.
pub struct Receiver {
    url: String,
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Receiver {
    /// One that accepts everything.
    pub async fn start() -> Self {
        Self::answering(|_, _| Answer::status(204)).await
    }

    /// One that answers so. The number is how many messages came before.
    pub async fn answering(decide: impl Fn(&Received, usize) -> Answer + Send + Sync + 'static) -> Self {
        let shared = Arc::new(Shared {
            received: Mutex::default(),
            decide: Mutex::new(Arc::new(decide)),
            now: AtomicUsize::new(0),
            most: AtomicUsize::new(0),
        });
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}/hooks", listener.local_addr().expect("an address"));
        let router = Router::new().fallback(receive).with_state(Arc::clone(&shared));
        let task = tokio::spawn(async move { axum::serve(listener, router).await.expect("it serves") });
        Self { url, shared, task }
    }

    pub fn url(&self) -> &str {
        &self.url
    }

    /// Answers differently from now on.
    pub fn answer(&self, decide: impl Fn(&Received, usize) -> Answer + Send + Sync + 'static) {
        *self.shared.decide.lock().expect("no panic") = Arc::new(decide);
    }

    /// What came so far, in its order.
    pub fn received(&self) -> Vec<Received> {
        self.shared.received.lock().expect("no panic").clone()
    }

    /// The most messages that were there at a time.
    pub fn most_at_a_time(&self) -> usize {
        self.shared.most.load(Ordering::SeqCst)
    }

    /// Waits until this many messages have come.
    pub async fn wait_for(&self, count: usize) -> Vec<Received> {
        let began = Instant::now();
        loop {
            let received = self.received();
            if received.len() >= count {
                return received;
            }
            assert!(began.elapsed() < Duration::from_secs(20), "{} of {count} messages came", received.len());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// The same events that came, without repetitions, in the order in which each came first.
    pub fn events(&self) -> Vec<Value> {
        let mut seen = Vec::new();
        let mut events = Vec::new();
        for message in self.received() {
            if !seen.contains(&message.id) {
                seen.push(message.id.clone());
                events.push(message.event());
            }
        }
        events
    }
}

async fn receive(State(shared): State<Arc<Shared>>, headers: HeaderMap, body: Bytes) -> Response {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned();
    let message = Received {
        id: text("webhook-id"),
        timestamp: text("webhook-timestamp").parse().unwrap_or(0),
        signature: text("webhook-signature"),
        headers: headers.iter().map(|(name, value)| (name.to_string(), value.to_str().unwrap_or_default().to_owned())).collect(),
        text: String::from_utf8_lossy(&body).into_owned(),
        at: Instant::now(),
    };
    let there = shared.now.fetch_add(1, Ordering::SeqCst) + 1;
    shared.most.fetch_max(there, Ordering::SeqCst);
    let before = {
        let mut received = shared.received.lock().expect("no panic");
        received.push(message.clone());
        received.len() - 1
    };
    let decide = Arc::clone(&shared.decide.lock().expect("no panic"));
    let answer = decide(&message, before);
    tokio::time::sleep(answer.after).await;
    shared.now.fetch_sub(1, Ordering::SeqCst);
    let mut response = (StatusCode::from_u16(answer.status).expect("a status"), answer.body).into_response();
    for (name, value) in answer.headers {
        response.headers_mut().insert(name, value.parse().expect("a value"));
    }
    response
}

impl Actor {
    /// Creates an endpoint with these members beside its URL, and returns its id.
    pub async fn given_endpoint(&self, url: &str, members: Value) -> String {
        let body = super::payments::with(json!({"url": url, "eventTypes": ["*"]}), members);
        let endpoint = self.post("/webhook-endpoints", body).await.ok();
        endpoint["webhookEndpointId"].as_str().expect("an id").to_owned()
    }

    pub async fn endpoint(&self, id: &str) -> Value {
        self.get(&format!("/webhook-endpoints/{id}")).await.ok()
    }

    pub async fn change_endpoint(&self, id: &str, body: Value) -> Value {
        self.patch(&format!("/webhook-endpoints/{id}"), body).await.ok()
    }

    pub async fn endpoint_secret(&self, id: &str) -> String {
        let secret = self.get(&format!("/webhook-endpoints/{id}/secret")).await.ok();
        secret["secret"].as_str().expect("a secret").to_owned()
    }

    /// The deliveries to an endpoint that pass a filter, newest event first.
    pub async fn deliveries(&self, id: &str, query: &str) -> Vec<Value> {
        let list = self.get(&format!("/webhook-endpoints/{id}/deliveries?{query}")).await.ok();
        list["deliveries"].as_array().expect("a list").clone()
    }

    /// Waits until an endpoint has nothing pending.
    pub async fn wait_until_delivered(&self, id: &str) -> Value {
        let began = Instant::now();
        loop {
            let endpoint = self.endpoint(id).await;
            if endpoint["pending"] == json!(0) {
                return endpoint;
            }
            assert!(began.elapsed() < Duration::from_secs(20), "{endpoint}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}
