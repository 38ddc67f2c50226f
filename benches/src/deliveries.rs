//! Webhooks: how fast a backlog is delivered, how late messages are while events go on, also beside an endpoint that takes
//! none, and the memory that endpoints with a backlog take.

use std::{
    collections::HashSet,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use bench::{Failure, Testbed, http::Connection, postgres::NAME, progress};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    time::sleep,
};

use crate::{
    account::Account,
    load::{self, Requests},
    report::Report,
    sample::{Sample, rate},
};

/// The server may call the loopback. The keys derive the secrets of its endpoints.
const SETTINGS: [(&str, &str); 2] = [
    ("CORE_API__WEBHOOKS__SECRET_KEYS", "bench:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="),
    ("CORE_API__WEBHOOKS__ALLOWED_NETWORKS", "127.0.0.0/8"),
];

/// The events of a backlog that is delivered.
const BACKLOG: usize = 20_000;

/// The events of a backlog that is not.
const PENDING: usize = 100_000;

/// The most endpoints of an account.
const ENDPOINTS: usize = 20;

/// How many events happen each second while lag is measured, and for how long.
const STEADY: u32 = 200;
const STEADY_FOR: Duration = Duration::from_secs(15);

/// How long a backlog may take.
const PATIENCE: Duration = Duration::from_secs(120);

/// What a receiver has got.
#[derive(Debug, Default)]
struct Received {
    ids: HashSet<String>,
    /// How late each message was, in microseconds.
    lags: Vec<u64>,
}

/// An endpoint that answers 204 after a while.
#[derive(Clone, Debug)]
struct Receiver {
    address: SocketAddr,
    received: Arc<Mutex<Received>>,
}

impl Receiver {
    async fn start(takes: Duration) -> Result<Self, Failure> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let receiver = Self { address: listener.local_addr()?, received: Arc::default() };
        let got = Arc::clone(&receiver.received);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, takes, Arc::clone(&got)));
            }
        });
        Ok(receiver)
    }

    fn count(&self) -> usize {
        lock(&self.received).ids.len()
    }

    /// Forgets what was got, and returns it.
    fn take(&self) -> Received {
        std::mem::take(&mut *lock(&self.received))
    }

    /// Waits until this many messages have come.
    async fn wait_for(&self, count: usize) -> Result<(), Failure> {
        let began = Instant::now();
        while self.count() < count {
            if began.elapsed() > PATIENCE {
                return Err(format!("{} of {count} messages came", self.count()).into());
            }
            sleep(Duration::from_millis(2)).await;
        }
        Ok(())
    }
}

fn lock(received: &Mutex<Received>) -> std::sync::MutexGuard<'_, Received> {
    received.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Answers the requests of one connection.
async fn serve(mut stream: TcpStream, takes: Duration, received: Arc<Mutex<Received>>) -> Option<()> {
    let mut buffer = Vec::new();
    loop {
        let (head, length) = loop {
            if let Some(head) = buffer.windows(4).position(|end| end == b"\r\n\r\n") {
                let text = std::str::from_utf8(buffer.get(..head)?).ok()?.to_ascii_lowercase();
                let length: usize = text.lines().find_map(|line| line.strip_prefix("content-length:"))?.trim().parse().ok()?;
                break (head + 4, length);
            }
            if stream.read_buf(&mut buffer).await.ok()? == 0 {
                return None;
            }
        };
        while buffer.len() < head + length {
            if stream.read_buf(&mut buffer).await.ok()? == 0 {
                return None;
            }
        }
        let message: Value = serde_json::from_slice(buffer.get(head..head + length)?).ok()?;
        buffer.drain(..head + length);
        let happened = chrono_millis(message["timestamp"].as_str()?)?;
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).ok()?;
        let lag = now.saturating_sub(Duration::from_millis(happened));
        sleep(takes).await;
        stream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").await.ok()?;
        let mut received = lock(&received);
        received.ids.insert(message["id"].as_str()?.to_owned());
        received.lags.push(u64::try_from(lag.as_micros()).ok()?);
    }
}

/// The milliseconds since 1970 of a moment such as `2026-11-26T13:30:00.123Z`.
fn chrono_millis(moment: &str) -> Option<u64> {
    let number = |from: usize, to: usize| moment.get(from..to)?.parse::<u64>().ok();
    let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
    // Days of the civil calendar, with years that begin in March (Howard Hinnant, days_from_civil).
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let days = 365 * year + year / 4 - year / 100 + year / 400 + (153 * month + 2) / 5 + day - 1;
    let days = days.checked_sub(719_468)?;
    let seconds = days * 86_400 + number(11, 13)? * 3_600 + number(14, 16)? * 60 + number(17, 19)?;
    Some(seconds * 1_000 + number(20, 23)?)
}

/// Measures on a database of its own.
pub async fn measure(testbed: &Testbed, report: &mut Report) -> Result<(), Failure> {
    let server = testbed.serve_with(NAME, &SETTINGS).await?;
    let mut account = Account::with_feed(server.address()).await?;
    account.create_cards().await?;
    let bench = Deliveries { account, address: server.address() };

    for (name, takes, concurrency, target) in [
        ("deliveries of a backlog to a receiver of 10 ms", 10, 100, 1_000),
        ("deliveries of a backlog to a receiver of 50 ms, 10 at a time", 50, 10, 180),
    ] {
        let sample = bench.backlog(Duration::from_millis(takes), concurrency, if takes == 10 { BACKLOG } else { BACKLOG / 10 }).await?;
        progress(&format!("{name}: {}/s", sample.rate / 100));
        report.compare(name, concurrency, Some(sample), Some((target * 100, 100)));
    }
    let alone = bench.lag().await?;
    report.lag("lag of messages at 200 events a second", alone);
    // The most that it has taken so far, for the same work without endpoints that take nothing.
    let before = server.peak_memory();
    let dead = bench.dead_endpoints(ENDPOINTS - 1).await?;
    bench.top_up(PENDING).await?;
    let beside = bench.lag().await?;
    report.lag("the same beside 19 dead endpoints with 100,000 pending", beside);
    let after = server.peak_memory();
    report.memory("on top with 19 dead endpoints", after.zip(before).map(|(after, before)| after.saturating_sub(before)), Some(50));
    for id in dead {
        bench.send("DELETE", &format!("/webhook-endpoints/{id}"), &json!({})).await?;
    }
    server.stop().await
}

struct Deliveries {
    account: Account,
    address: SocketAddr,
}

impl Deliveries {
    async fn send(&self, method: &str, path: &str, body: &Value) -> Result<Value, Failure> {
        let request = self.account.request(method, path, body);
        Ok(serde_json::from_slice(Connection::open(self.address).await?.send(&request).await?)?)
    }

    async fn endpoint(&self, address: SocketAddr, concurrency: u32) -> Result<String, Failure> {
        let body = json!({"url": format!("http://{address}/"), "eventTypes": ["movement.created"], "maxConcurrency": concurrency});
        let created = self.send("POST", "/webhook-endpoints", &body).await?;
        created["webhookEndpointId"].as_str().map(str::to_owned).ok_or_else(|| "no endpoint".into())
    }

    /// Endpoints at a port where nobody listens.
    async fn dead_endpoints(&self, count: usize) -> Result<Vec<String>, Failure> {
        let address = TcpListener::bind(("127.0.0.1", 0)).await?.local_addr()?;
        let mut ids = Vec::new();
        for _ in 0..count {
            ids.push(self.endpoint(address, 10).await?);
        }
        Ok(ids)
    }

    async fn top_up(&self, count: usize) -> Result<(), Failure> {
        let each = self.account.top_ups();
        load::each_once(self.address, 64, each.iter().cycle().take(count).cloned().collect()).await.map(drop)
    }

    /// Delivers what happened while an endpoint was disabled.
    async fn backlog(&self, takes: Duration, concurrency: u32, count: usize) -> Result<Sample, Failure> {
        let receiver = Receiver::start(takes).await?;
        let id = self.endpoint(receiver.address, concurrency).await?;
        let path = format!("/webhook-endpoints/{id}");
        self.send("PATCH", &path, &json!({"status": "disabled"})).await?;
        sleep(Duration::from_secs(3)).await;
        receiver.take();
        self.top_up(count).await?;
        self.send("PATCH", &path, &json!({"status": "enabled"})).await?;
        receiver.wait_for(1).await?;
        let (began, had) = (Instant::now(), receiver.count());
        receiver.wait_for(count).await?;
        let took = began.elapsed();
        self.send("DELETE", &path, &json!({})).await?;
        Ok(Sample { rate: rate(count - had, took), p50: None, p99: None })
    }

    /// How late messages are while events happen steadily.
    async fn lag(&self) -> Result<Sample, Failure> {
        let receiver = Receiver::start(Duration::from_millis(10)).await?;
        let id = self.endpoint(receiver.address, 50).await?;
        sleep(Duration::from_secs(3)).await;
        let sent = load::steadily(self.address, STEADY, &Requests::plain(self.account.top_ups()), STEADY_FOR).await?;
        receiver.wait_for(sent).await?;
        self.send("DELETE", &format!("/webhook-endpoints/{id}"), &json!({})).await?;
        Ok(Sample::of(receiver.take().lags, STEADY_FOR))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_read_to_the_millisecond() {
        assert_eq!(chrono_millis("1970-01-01T00:00:00.001Z"), Some(1));
        assert_eq!(chrono_millis("2000-02-29T23:59:59.999Z"), Some(951_868_799_999));
        assert_eq!(chrono_millis("2026-11-26T13:30:00.000Z"), Some(1_795_699_800_000));
        assert_eq!(chrono_millis("2026"), None);
    }
}
