//! The slow ones: a third sends nothing, a third half a head, a third a byte a second of a head or of a body.
//! Each comes back as soon as it is closed, until the crowd disperses.

use std::{
    error::Error,
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    task::JoinSet,
    time::{sleep, timeout},
};

/// Longer than any deadline of the server.
const PATIENCE: Duration = Duration::from_secs(60);

/// How long all may take to come.
const GATHERING: Duration = Duration::from_secs(60);

/// Between one that comes for the first time and the next. All at once would overflow the listener's queue,
/// and whom the system drops from it is held by nobody, without ever being told.
const APART: Duration = Duration::from_millis(2);

const HALF_A_HEAD: &str = "GET /cards HTTP/1.1\r\nHost: slow\r\nX-Slow: ";
const HEAD_OF_A_BODY: &str = "POST /auth/login HTTP/1.1\r\nHost: slow\r\nContent-Type: application/json\r\nContent-Length: 10000\r\n\r\n";

/// One that was closed by the server.
#[derive(Clone, Copy, Debug)]
pub struct Closed {
    /// How long after it was opened.
    pub after: Duration,
    /// Whether it was told why: a body that is late is answered, half a head cannot be.
    pub answered: bool,
}

#[derive(Clone, Copy, Debug)]
struct Slow {
    first: &'static str,
    drips: bool,
}

/// Slow connections, all open.
#[derive(Debug)]
pub struct Crowd {
    members: JoinSet<io::Result<Vec<Closed>>>,
    dispersing: Arc<AtomicBool>,
}

impl Crowd {
    /// Opens them all.
    pub async fn gather(address: &str, size: u32) -> Result<Self, Box<dyn Error>> {
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
            let (address, present, dispersing) = (address.to_owned(), Arc::clone(&present), Arc::clone(&dispersing));
            members.spawn(async move {
                sleep(APART * number).await;
                let mut closed = Vec::new();
                while !dispersing.load(Ordering::Relaxed) {
                    closed.push(slow.live(&address, &present).await?);
                }
                Ok(closed)
            });
        }
        let all = async {
            while present.load(Ordering::Relaxed) < size {
                sleep(Duration::from_millis(10)).await;
            }
        };
        timeout(GATHERING, all).await.map_err(|_| "not all slow connections were opened")?;
        Ok(Self { members, dispersing })
    }

    /// Lets nobody come back, and waits until the server has closed everybody.
    pub async fn disperse(mut self) -> Result<Vec<Closed>, Box<dyn Error>> {
        self.dispersing.store(true, Ordering::Relaxed);
        let mut all = Vec::new();
        while let Some(closed) = self.members.join_next().await {
            all.extend(closed??);
        }
        Ok(all)
    }
}

impl Slow {
    /// One connection, until the server closes it.
    async fn live(self, address: &str, present: &AtomicU32) -> io::Result<Closed> {
        let mut stream = TcpStream::connect(address).await?;
        let opened = Instant::now();
        present.fetch_add(1, Ordering::Relaxed);
        stream.write_all(self.first.as_bytes()).await?;
        let pause = if self.drips { Duration::from_secs(1) } else { PATIENCE };
        let mut received = Vec::new();
        loop {
            match timeout(pause, stream.read_buf(&mut received)).await {
                Ok(Ok(0) | Err(_)) => return Ok(Closed { after: opened.elapsed(), answered: received.starts_with(b"HTTP/1.1 408 ") }),
                Ok(Ok(_)) => {}
                Err(_) if self.drips && opened.elapsed() < PATIENCE => {
                    // If it is closed, the next read will tell.
                    let _unheard = stream.write_all(b"x").await;
                }
                Err(_) => return Err(io::Error::new(io::ErrorKind::TimedOut, "a slow connection was never closed")),
            }
        }
    }
}
