//! A connection on which anything can be sent, HTTP or not.

use std::time::{Duration, Instant};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use super::Actor;

/// Longer than any deadline that a test sets, however slow the machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// One answer, as it was on the wire.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: String,
}

/// A connection to a server.
pub struct Socket {
    stream: TcpStream,
    received: Vec<u8>,
    opened: Instant,
}

impl Socket {
    pub async fn to(actor: &Actor) -> Self {
        Self::over(TcpStream::connect(actor.base().trim_start_matches("http://")).await.expect("connected"))
    }

    /// Over a connection that was made by hand.
    pub fn over(stream: TcpStream) -> Self {
        Self { stream, received: Vec::new(), opened: Instant::now() }
    }

    /// Sends, to whoever still listens.
    pub async fn send(&mut self, bytes: impl AsRef<[u8]>) -> &mut Self {
        let _unheard = self.stream.write_all(bytes.as_ref()).await;
        self
    }

    /// The next answer, which must have a length and must come.
    #[track_caller]
    pub fn answer(&mut self) -> impl Future<Output = Answer> {
        let read = async {
            loop {
                if let Some(answer) = self.take_answer() {
                    return answer;
                }
                assert!(self.read().await > 0, "closed without an answer, after {:?}", String::from_utf8_lossy(&self.received));
            }
        };
        async { timeout(PATIENCE, read).await.expect("an answer in time") }
    }

    /// Waits until the server closes, for as long as it likes to stay open. Tells how long after the
    /// connection was made that was, and what came before.
    pub async fn closed(&mut self) -> (Duration, String) {
        let read = async { while self.read().await > 0 {} };
        timeout(PATIENCE, read).await.expect("closed in time");
        (self.opened.elapsed(), String::from_utf8_lossy(&self.received).into_owned())
    }

    /// Sends one byte after another, over and over, until the server closes. Tells the same as `closed`.
    pub async fn drip(&mut self, bytes: &[u8], pause: Duration) -> (Duration, String) {
        for byte in bytes.iter().cycle() {
            if let Ok(0) = timeout(pause, self.read()).await {
                break;
            }
            assert!(self.opened.elapsed() < PATIENCE, "never closed");
            self.send([*byte]).await;
        }
        (self.opened.elapsed(), String::from_utf8_lossy(&self.received).into_owned())
    }

    /// How many bytes came; none if the connection is closed, in whatever way.
    async fn read(&mut self) -> usize {
        self.stream.read_buf(&mut self.received).await.unwrap_or(0)
    }

    fn take_answer(&mut self) -> Option<Answer> {
        let text = str::from_utf8(&self.received).expect("UTF-8");
        let (head, rest) = text.split_once("\r\n\r\n")?;
        let head = head.to_ascii_lowercase();
        let length: usize = head.split("content-length: ").nth(1)?.lines().next()?.parse().expect("a length");
        let answer = Answer { status: head.split(' ').nth(1)?.parse().expect("a status"), body: rest.get(..length)?.to_owned(), head };
        let taken = answer.head.len() + 4 + length;
        self.received.drain(..taken);
        Some(answer)
    }
}
