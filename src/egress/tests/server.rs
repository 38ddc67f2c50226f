//! A server that says what it is told to.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
    time::sleep,
};

/// What the server does with every request.
#[derive(Clone)]
enum Manner {
    /// Answers, and waits for the next one.
    Answer(String),
    /// Sends this, and then nothing.
    Stop(String),
    /// Sends this and closes the connection.
    Close(String),
    /// Sends a body of so many bytes.
    Flood(usize),
}

#[derive(Default)]
struct Seen {
    connections: usize,
    requests: Vec<String>,
    closed_early: bool,
}

/// It ends when it is dropped.
pub(super) struct Server {
    address: SocketAddr,
    seen: Arc<Mutex<Seen>>,
    task: JoinHandle<()>,
}

impl Server {
    pub(super) async fn answering(answer: &str) -> Self {
        Self::start(Manner::Answer(answer.to_owned())).await
    }

    pub(super) async fn stopping_after(part: &str) -> Self {
        Self::start(Manner::Stop(part.to_owned())).await
    }

    pub(super) async fn closing_after(part: &str) -> Self {
        Self::start(Manner::Close(part.to_owned())).await
    }

    pub(super) async fn flooding(bytes: usize) -> Self {
        Self::start(Manner::Flood(bytes)).await
    }

    async fn start(manner: Manner) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let seen = Arc::new(Mutex::new(Seen::default()));
        let of_task = Arc::clone(&seen);
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                of_task.lock().expect("unpoisoned").connections += 1;
                tokio::spawn(serve(stream, manner.clone(), Arc::clone(&of_task)));
            }
        });
        Self { address, seen, task }
    }

    pub(super) fn port(&self) -> u16 {
        self.address.port()
    }

    pub(super) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub(super) fn connections(&self) -> usize {
        self.seen.lock().expect("unpoisoned").connections
    }

    pub(super) fn requests(&self) -> Vec<String> {
        self.seen.lock().expect("unpoisoned").requests.clone()
    }

    /// Whether a flood could not be sent to its end. Waits for that.
    pub(super) async fn closed_early(&self) -> bool {
        for _ in 0..500 {
            if self.seen.lock().expect("unpoisoned").closed_early {
                return true;
            }
            sleep(Duration::from_millis(10)).await;
        }
        false
    }

    /// A port where nothing listens any more.
    pub(super) async fn close(self) -> u16 {
        let port = self.port();
        self.task.abort();
        while !self.task.is_finished() {
            sleep(Duration::from_millis(1)).await;
        }
        port
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(mut stream: TcpStream, manner: Manner, seen: Arc<Mutex<Seen>>) {
    while let Some(request) = request(&mut stream).await {
        seen.lock().expect("unpoisoned").requests.push(request);
        match &manner {
            Manner::Answer(answer) => stream.write_all(answer.as_bytes()).await.expect("sent"),
            Manner::Stop(part) => {
                stream.write_all(part.as_bytes()).await.expect("sent");
                sleep(Duration::from_secs(60)).await;
            }
            Manner::Close(part) => {
                stream.write_all(part.as_bytes()).await.expect("sent");
                return;
            }
            Manner::Flood(bytes) => {
                let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {bytes}\r\n\r\n");
                stream.write_all(head.as_bytes()).await.expect("sent");
                let sent = stream.write_all(&vec![b'x'; *bytes]).await;
                seen.lock().expect("unpoisoned").closed_early = sent.is_err();
                return;
            }
        }
    }
}

/// The next request, with its body.
async fn request(stream: &mut TcpStream) -> Option<String> {
    let mut read = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&read);
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head.lines().find_map(|line| line.to_lowercase().strip_prefix("content-length: ")?.parse().ok());
            if body.len() >= length.unwrap_or(0) {
                return Some(text.into_owned());
            }
        }
        if stream.read_buf(&mut read).await.ok()? == 0 {
            return None;
        }
    }
}
