//! The slow connections: a third sends nothing, a third half a head, a third a byte a second of a head or a body.
//! Each is reopened as soon as it is closed, until the crowd is dispersed.

use std::{
    io,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use bench::Failure;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    task::JoinSet,
    time::{sleep, timeout},
};

/// Longer than any timeout of the server.
const TIMEOUT: Duration = Duration::from_secs(60);

/// The maximum time for opening all connections.
const OPENING_TIMEOUT: Duration = Duration::from_secs(60);

/// The interval between the first connections. Opened all at once, they would overflow the queue of the listener, and the
/// system drops the excess silently.
const OPENING_INTERVAL: Duration = Duration::from_millis(2);

const HALF_A_HEAD: &str = "GET /cards HTTP/1.1\r\nHost: slow\r\nX-Slow: ";
const HEAD_OF_A_BODY: &str = "POST /auth/login HTTP/1.1\r\nHost: slow\r\nContent-Type: application/json\r\nContent-Length: 10000\r\n\r\n";

/// A connection that the server has closed.
#[derive(Clone, Copy, Debug)]
pub struct Closed {
    /// The time since it was opened.
    pub after: Duration,
    /// Whether it was answered 408, as a late body is. Half a head cannot be answered.
    pub answered: bool,
}

#[derive(Clone, Copy, Debug)]
struct Slow {
    first: &'static str,
    drips: bool,
}

/// A number of open slow connections.
#[derive(Debug)]
pub struct Crowd {
    members: JoinSet<io::Result<Vec<Closed>>>,
    dispersing: Arc<AtomicBool>,
}

impl Crowd {
    /// Opens all connections.
    pub async fn gather(address: SocketAddr, size: u32) -> Result<Self, Failure> {
        let dispersing = Arc::new(AtomicBool::new(false));
        let present = Arc::new(AtomicU32::new(0));
        let mut members = JoinSet::new();
        for number in 0..size {
            let slow = match number % 6 {
                0 | 3 => Slow { first: "", drips: false },
                1 | 4 => Slow { first: HALF_A_HEAD, drips: false },
                2 => Slow { first: HALF_A_HEAD, drips: true },
                _ => Slow { first: HEAD_OF_A_BODY, drips: true },
            };
            let (present, dispersing) = (Arc::clone(&present), Arc::clone(&dispersing));
            members.spawn(async move {
                sleep(OPENING_INTERVAL * number).await;
                let mut closed = Vec::new();
                while !dispersing.load(Ordering::Relaxed) {
                    closed.push(slow.hold(address, &present).await?);
                }
                Ok(closed)
            });
        }
        let all = async {
            while present.load(Ordering::Relaxed) < size {
                sleep(Duration::from_millis(10)).await;
            }
        };
        timeout(OPENING_TIMEOUT, all).await.map_err(|_| "not all slow connections were opened")?;
        Ok(Self { members, dispersing })
    }

    /// Reopens no more connections, and waits until the server has closed all of them.
    pub async fn disperse(mut self) -> Result<Vec<Closed>, Failure> {
        self.dispersing.store(true, Ordering::Relaxed);
        let mut all = Vec::new();
        while let Some(closed) = self.members.join_next().await {
            all.extend(closed??);
        }
        Ok(all)
    }
}

impl Slow {
    /// Keeps one connection until the server closes it.
    async fn hold(self, address: SocketAddr, present: &AtomicU32) -> io::Result<Closed> {
        let mut stream = TcpStream::connect(address).await?;
        let opened = Instant::now();
        present.fetch_add(1, Ordering::Relaxed);
        stream.write_all(self.first.as_bytes()).await?;
        let pause = if self.drips { Duration::from_secs(1) } else { TIMEOUT };
        let mut received = Vec::new();
        loop {
            match timeout(pause, stream.read_buf(&mut received)).await {
                Ok(Ok(0) | Err(_)) => return Ok(Closed { after: opened.elapsed(), answered: received.starts_with(b"HTTP/1.1 408 ") }),
                Ok(Ok(_)) => {}
                Err(_) if self.drips && opened.elapsed() < TIMEOUT => {
                    // The next read notices a closed connection.
                    let _closed = stream.write_all(b"x").await;
                }
                Err(_) => return Err(io::Error::new(io::ErrorKind::TimedOut, "a slow connection was never closed")),
            }
        }
    }
}
