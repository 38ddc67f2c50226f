//! The load generator: clients that each send the next request when the last is answered, at minimal cost.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use bench::{Failure, http::Connection};
use tokio::task::JoinSet;

use crate::{
    account::{Account, KEY_DIGITS},
    sample::Sample,
};

/// Requests that are prepared before the measurement. Each client repeatedly sends a random one.
#[derive(Debug)]
pub struct Requests {
    each: Vec<Vec<u8>>,
    /// The offset of a key that must be new in every request.
    key_at: Option<usize>,
    next_key: AtomicU64,
    /// The account, if each request is an authorisation whose capture is sent after it.
    captures_of: Option<Account>,
}

impl Requests {
    /// These requests as they are.
    pub fn plain(each: Vec<Vec<u8>>) -> Arc<Self> {
        Arc::new(Self { each, key_at: None, next_key: AtomicU64::new(0), captures_of: None })
    }

    /// These requests with a new key every time, starting at `first_key`.
    pub fn keyed(each: Vec<Vec<u8>>, key_at: usize, first_key: u64) -> Arc<Self> {
        Arc::new(Self { each, key_at: Some(key_at), next_key: AtomicU64::new(first_key), captures_of: None })
    }

    /// These authorisations with a new key every time, each followed by its capture, which has a new key too.
    pub fn captured(account: Account, (each, key_at): (Vec<Vec<u8>>, usize), first_key: u64) -> Arc<Self> {
        Arc::new(Self { each, key_at: Some(key_at), next_key: AtomicU64::new(first_key), captures_of: Some(account) })
    }

    /// The capture of the authorisation that an answer is about.
    fn capture(&self, answer: &[u8]) -> Result<Option<Vec<u8>>, Failure> {
        let Some(account) = &self.captures_of else { return Ok(None) };
        let answer = std::str::from_utf8(answer)?;
        let (_, id) = answer.split_once("\"id\":\"auth_").ok_or("the answer has no authorization")?;
        let id = id.split_once('"').ok_or("the id has no end")?.0;
        let key = self.next_key.fetch_add(1, Ordering::Relaxed);
        Ok(Some(account.capture(&format!("auth_{id}"), &format!("{key:0KEY_DIGITS$}"))))
    }

    /// The next unused key.
    pub fn next_key(&self) -> u64 {
        self.next_key.load(Ordering::Relaxed)
    }

    fn write(&self, random: u64, into: &mut Vec<u8>) -> Result<(), Failure> {
        let index = random % u64::try_from(self.each.len())?;
        into.clear();
        into.extend_from_slice(&self.each[usize::try_from(index)?]);
        if let Some(at) = self.key_at {
            let key = self.next_key.fetch_add(1, Ordering::Relaxed);
            into[at..at + KEY_DIGITS].copy_from_slice(format!("{key:0KEY_DIGITS$}").as_bytes());
        }
        Ok(())
    }
}

/// Runs this many clients for this time.
pub async fn run(address: SocketAddr, clients: u32, requests: &Arc<Requests>, time: Duration) -> Result<Sample, Failure> {
    let mut connections = Vec::new();
    for _ in 0..clients {
        connections.push(Connection::open(address).await?);
    }
    let began = Instant::now();
    let mut working = JoinSet::new();
    for (seed, connection) in (1..).zip(connections) {
        working.spawn(work(connection, seed, Arc::clone(requests), began + time));
    }
    let mut times = Vec::new();
    while let Some(client) = working.join_next().await {
        times.extend(client??);
    }
    Ok(Sample::of(times, began.elapsed()))
}

/// Runs one client, and returns the times of its requests in microseconds.
async fn work(mut connection: Connection, seed: u64, requests: Arc<Requests>, until: Instant) -> Result<Vec<u64>, Failure> {
    let (mut times, mut request, mut random) = (Vec::new(), Vec::new(), Random(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15)));
    let mut began = Instant::now();
    while began < until {
        requests.write(random.next(), &mut request)?;
        if let Some(capture) = requests.capture(connection.send(&request).await?)? {
            connection.send(&capture).await?;
        }
        let now = Instant::now();
        times.push(u64::try_from((now - began).as_micros())?);
        began = now;
    }
    Ok(times)
}

/// Sends this many requests a second for this time, whether or not the answers keep up. Returns how many were sent.
pub async fn steadily(address: SocketAddr, per_second: u32, requests: &Arc<Requests>, time: Duration) -> Result<usize, Failure> {
    const CLIENTS: u32 = 16;
    let (began, mut working) = (Instant::now(), JoinSet::new());
    for client in 0..CLIENTS {
        let (mut connection, requests) = (Connection::open(address).await?, Arc::clone(requests));
        working.spawn(async move {
            let (mut sent, mut request) = (0_usize, Vec::new());
            let mut random = Random(u64::from(client + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15));
            let mut due = began + Duration::from_secs(1) * client / per_second;
            while due < began + time {
                tokio::time::sleep_until(due.into()).await;
                requests.write(random.next(), &mut request)?;
                connection.send(&request).await?;
                (sent, due) = (sent + 1, due + Duration::from_secs(1) * CLIENTS / per_second);
            }
            Ok::<_, Failure>(sent)
        });
    }
    let mut sent = 0;
    while let Some(client) = working.join_next().await {
        sent += client??;
    }
    Ok(sent)
}

/// Sends each request once, with several clients, and returns the bodies of the answers in no particular order.
pub async fn each_once(address: SocketAddr, clients: usize, requests: Vec<Vec<u8>>) -> Result<Vec<Vec<u8>>, Failure> {
    let mut working = JoinSet::new();
    let share = requests.len().div_ceil(clients).max(1);
    for part in requests.chunks(share) {
        let part = part.to_vec();
        working.spawn(async move {
            let (mut connection, mut bodies) = (Connection::open(address).await?, Vec::new());
            for request in part {
                bodies.push(connection.send(&request).await?.to_vec());
            }
            Ok::<_, Failure>(bodies)
        });
    }
    let mut bodies = Vec::new();
    while let Some(part) = working.join_next().await {
        bodies.extend(part??);
    }
    Ok(bodies)
}

/// Xorshift: random enough to spread over the cards, and almost free.
#[derive(Debug)]
struct Random(u64);

impl Random {
    const fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_request_gets_a_new_key() {
        let requests = Requests::keyed(vec![b"key: 0000000000000000!".to_vec()], 5, 41);
        let mut written = Vec::new();
        requests.write(7, &mut written).unwrap();
        assert_eq!(written, b"key: 0000000000000041!");
        requests.write(7, &mut written).unwrap();
        assert_eq!(written, b"key: 0000000000000042!");
        assert_eq!(requests.next_key(), 43);
    }

    #[test]
    fn random_numbers_cover_all_cards() {
        let mut random = Random(1);
        let reached: std::collections::HashSet<u64> = (0..100_000).map(|_| random.next() % 5_000).collect();
        assert_eq!(reached.len(), 5_000);
    }
}
