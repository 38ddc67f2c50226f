//! A receiver of webhooks, which fails now and then: it answers with an error, too late or not at all, and it is down.
//!
//! It speaks as much of HTTP/1.1 as it needs to know when an answer is complete.

use std::{
    error::Error,
    fmt,
    hash::{DefaultHasher, Hasher},
    net::SocketAddr,
    str,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use record::Message;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use serde_json::Value;
use standardwebhooks::Webhook;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::{JoinHandle, JoinSet},
    time::sleep,
};

use crate::{
    history::{History, Lines},
    reader::event_of,
    replica::WEBHOOK_TIMEOUT,
};

/// The share of the messages that fail. Few fail twice, so that the schedule of the retries lets most pass soon.
const FAILING: f64 = 0.02;

/// How long it is up before it is down, and how long it is down, in milliseconds.
const UP: std::ops::Range<u64> = 40_000..60_000;
const DOWN: std::ops::Range<u64> = 1_000..4_000;

/// The largest head of a request.
const MAX_HEAD: usize = 16 * 1024;

const ACCEPTED: &[u8] = b"HTTP/1.1 204 No Content\r\n\r\n";
const FAILED: &[u8] = b"HTTP/1.1 500 Internal Server Error\r\ncontent-length: 0\r\n\r\n";
const TOO_MANY: &[u8] = b"HTTP/1.1 429 Too Many Requests\r\nretry-after: 1\r\ncontent-length: 0\r\n\r\n";

/// What all connections of a receiver share.
pub struct Shared {
    /// The number of its endpoint.
    pub endpoint: usize,
    /// Whether the endpoint was promised the order of each card.
    pub ordered: bool,
    /// Where it listens.
    pub address: SocketAddr,
    /// The secret of the endpoint.
    pub secret: Webhook,
    /// Where it records messages.
    pub lines: Arc<Lines>,
    /// The clock, and the counts.
    pub history: Arc<History>,
    /// Whether it fails now and then.
    pub fails: AtomicBool,
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").field("endpoint", &self.endpoint).field("address", &self.address).finish_non_exhaustive()
    }
}

/// A receiver.
#[derive(Debug)]
pub struct Receiver {
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

impl Receiver {
    /// Listens, and fails now and then.
    pub async fn start(shared: Shared) -> Result<Self, Box<dyn Error>> {
        let listener = TcpListener::bind(shared.address).await?;
        let shared = Arc::new(shared);
        Ok(Self { task: tokio::spawn(listen(Arc::clone(&shared), listener)), shared })
    }

    /// Accepts everything from now on.
    pub fn stop_failing(&self) {
        self.shared.fails.store(false, Ordering::Relaxed);
    }

    /// Ends, with all its connections.
    pub async fn stop(self) {
        self.task.abort();
        let _aborted = self.task.await;
    }
}

async fn listen(shared: Arc<Shared>, first: TcpListener) {
    let mut first = Some(first);
    loop {
        let bound = match first.take() {
            Some(listener) => Ok(listener),
            None => TcpListener::bind(shared.address).await,
        };
        let Ok(listener) = bound else {
            sleep(Duration::from_millis(100)).await;
            continue;
        };
        let until = sleep(Duration::from_millis(rand::random_range(UP)));
        tokio::pin!(until);
        let mut connections = JoinSet::new();
        while !until.is_elapsed() || !shared.fails.load(Ordering::Relaxed) {
            tokio::select! {
                accepted = listener.accept() => if let Ok((stream, _)) = accepted {
                    connections.spawn(talk(Arc::clone(&shared), stream));
                },
                Some(_) = connections.join_next() => {}
                () = &mut until, if !until.is_elapsed() => {}
            }
        }
        drop(listener);
        connections.shutdown().await;
        sleep(Duration::from_millis(rand::random_range(DOWN))).await;
    }
}

/// Answers the messages that come on a connection, until one is not answered or the connection ends.
async fn talk(shared: Arc<Shared>, mut stream: TcpStream) {
    let mut buffer = Vec::new();
    while let Some((headers, body)) = receive(&mut stream, &mut buffer).await {
        let mut arrival = Arrival::new(&shared, &headers, &body);
        let fails = shared.fails.load(Ordering::Relaxed) && rand::random_bool(FAILING);
        let answer = match fails.then(|| rand::random_range(0..4)) {
            None => ACCEPTED,
            Some(0) => FAILED,
            Some(1) => TOO_MANY,
            Some(2) => return,
            Some(_) => {
                sleep(WEBHOOK_TIMEOUT + Duration::from_secs(1)).await;
                return;
            }
        };
        // The time before the answer: whatever the service does because of it comes later.
        let now = shared.history.now();
        if stream.write_all(answer).await.is_err() {
            return;
        }
        arrival.message.accepted = (!fails).then_some(now);
    }
}

/// The next message. None: the connection ended before it was complete.
async fn receive(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> Option<(HeaderMap, Vec<u8>)> {
    let head = loop {
        match buffer.windows(4).position(|window| window == b"\r\n\r\n") {
            Some(head) => break head,
            None if buffer.len() > MAX_HEAD => return None,
            None => more(stream, buffer).await?,
        }
    };
    let headers = headers(str::from_utf8(&buffer[..head]).ok()?);
    let length: usize = headers.get("content-length")?.to_str().ok()?.parse().ok()?;
    let end = head + 4 + length;
    while buffer.len() < end {
        more(stream, buffer).await?;
    }
    let body = buffer[head + 4..end].to_vec();
    buffer.drain(..end);
    Some((headers, body))
}

async fn more(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> Option<()> {
    (stream.read_buf(buffer).await.ok()? > 0).then_some(())
}

/// The fields of a head.
fn headers(head: &str) -> HeaderMap {
    let fields = head.lines().skip(1).filter_map(|line| line.split_once(':'));
    let parsed = fields.filter_map(|(name, value)| {
        Some((HeaderName::from_bytes(name.trim().as_bytes()).ok()?, HeaderValue::from_str(value.trim()).ok()?))
    });
    parsed.collect()
}

/// A message that came. It is recorded when it is dropped, also if that ends the task.
struct Arrival<'a> {
    shared: &'a Shared,
    message: Message,
}

impl<'a> Arrival<'a> {
    fn new(shared: &'a Shared, headers: &HeaderMap, body: &[u8]) -> Self {
        let arrived = shared.history.now();
        let mut hasher = DefaultHasher::new();
        hasher.write(body);
        let message = Message {
            endpoint: shared.endpoint,
            ordered: shared.ordered,
            webhook_id: headers.get("webhook-id").and_then(|id| id.to_str().ok()).unwrap_or_default().to_owned(),
            signed: shared.secret.verify(body, headers).is_ok(),
            hash: hasher.finish(),
            event: event_of(&serde_json::from_slice(body).unwrap_or(Value::Null)),
            arrived,
            accepted: None,
        };
        Self { shared, message }
    }
}

impl Drop for Arrival<'_> {
    fn drop(&mut self) {
        if self.shared.lines.write(&self.message).is_err() {
            self.shared.history.tally.unrecorded.add();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn messages_are_read_one_after_the_other_and_an_incomplete_one_is_none() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let mut sender = TcpStream::connect(listener.local_addr().expect("an address")).await.expect("a connection");
        let (mut stream, _) = listener.accept().await.expect("a connection");
        let sent = b"POST / HTTP/1.1\r\nWebhook-Id: a\r\ncontent-length: 2\r\n\r\n{}POST / HTTP/1.1\r\ncontent-length: 3\r\n\r\n123\
            POST / HTTP/1.1\r\ncontent-length: 3\r\n\r\n12";
        sender.write_all(sent).await.expect("it is sent");
        drop(sender);
        let mut buffer = Vec::new();
        let (headers, body) = receive(&mut stream, &mut buffer).await.expect("a message");
        assert_eq!((headers["webhook-id"].as_bytes(), body.as_slice()), (b"a".as_slice(), b"{}".as_slice()));
        let (_, body) = receive(&mut stream, &mut buffer).await.expect("a message");
        assert_eq!(body, b"123");
        assert!(receive(&mut stream, &mut buffer).await.is_none());
    }
}
