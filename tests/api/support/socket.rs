//! A raw TCP connection, on which a test can send anything.

use std::time::{Duration, Instant};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use super::Actor;

/// Longer than any timeout that a test sets, even on a slow machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// One answer as received.
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

    /// Uses an existing connection.
    pub fn over(stream: TcpStream) -> Self {
        Self { stream, received: Vec::new(), opened: Instant::now() }
    }

    /// Sends bytes, and ignores a closed connection.
    pub async fn send(&mut self, bytes: impl AsRef<[u8]>) -> &mut Self {
        let _closed = self.stream.write_all(bytes.as_ref()).await;
        self
    }

    /// The next answer, which must have a `Content-Length`.
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

    /// Waits until the server closes the connection. Returns how long it was open, and everything received.
    pub async fn closed(&mut self) -> (Duration, String) {
        let read = async { while self.read().await > 0 {} };
        timeout(PATIENCE, read).await.expect("closed in time");
        (self.opened.elapsed(), String::from_utf8_lossy(&self.received).into_owned())
    }

    /// Sends one byte after another, in a loop, until the server closes the connection. Returns the same as `closed`.
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

    /// The number of bytes received; 0 once the connection is closed or broken.
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
