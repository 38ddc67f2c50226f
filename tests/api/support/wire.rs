//! A wire to Postgres that can be cut at the worst moment: around what commits.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicU8, Ordering},
};

use sqlx::postgres::PgConnectOptions;
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{UnixListener, UnixStream},
};

use super::binary;

/// Where what commits is met by the scissors.
#[derive(Clone, Copy)]
pub enum Cut {
    /// It never reaches Postgres.
    Before = 1,
    /// It reaches Postgres, whose answer reaches nobody.
    After = 2,
}

/// What the wire does with what is sent next: carries it, cuts off what commits, or swallows everything.
const SILENT: u8 = 3;

/// A Unix socket in front of Postgres' own.
pub struct Wire {
    folder: TempDir,
    scissors: Arc<Scissors>,
}

#[derive(Default)]
struct Scissors {
    armed: AtomicU8,
    /// What the message to be cut off has in it.
    mark: Mutex<Vec<u8>>,
}

impl Wire {
    pub fn to(postgres: &PgConnectOptions) -> Self {
        let folder = binary::folder();
        let scissors = Arc::new(Scissors::default());
        let listener = UnixListener::bind(folder.path().join(".s.PGSQL.5432")).expect("a socket");
        let (target, shared) = (postgres.get_socket().expect("a socket").join(".s.PGSQL.5432"), Arc::clone(&scissors));
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let server = UnixStream::connect(&target).await.expect("Postgres");
                tokio::spawn(carry(client, server, Arc::clone(&shared)));
            }
        });
        Self { folder, scissors }
    }

    pub fn options(&self, postgres: &PgConnectOptions) -> PgConnectOptions {
        postgres.clone().socket(self.folder.path())
    }

    /// From now on nothing gets through, and nobody is told.
    pub fn go_silent(&self) {
        self.scissors.armed.store(SILENT, Ordering::SeqCst);
    }

    /// What was swallowed is lost; what comes next gets through.
    pub fn speak_again(&self) {
        self.scissors.armed.store(0, Ordering::SeqCst);
    }

    /// The next message with this in it is cut off, on any connection: "COMMIT", or what only one statement carries.
    pub fn cut_next(&self, mark: &str, cut: Cut) {
        mark.as_bytes().clone_into(&mut self.scissors.mark.lock().expect("whole"));
        self.scissors.armed.store(cut as u8, Ordering::SeqCst);
    }
}

async fn carry(client: UnixStream, server: UnixStream, scissors: Arc<Scissors>) {
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let back = tokio::spawn(async move { tokio::io::copy(&mut from_server, &mut to_client).await });
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(length @ 1..) = from_client.read(&mut buffer).await {
        let message = &buffer[..length];
        if scissors.armed.load(Ordering::SeqCst) == SILENT {
            std::future::pending::<()>().await;
        }
        let mark = scissors.mark.lock().expect("whole").clone();
        let commits = !mark.is_empty() && message.windows(mark.len()).any(|word| word == mark);
        match if commits { scissors.armed.swap(0, Ordering::SeqCst) } else { 0 } {
            0 => {
                if to_server.write_all(message).await.is_err() {
                    break;
                }
            }
            cut => {
                back.abort();
                if cut == Cut::After as u8 {
                    let _lost = to_server.write_all(message).await;
                    // Postgres finishes what it has read, though nobody listens.
                    tokio::time::sleep(std::time::Duration::from_millis(100)).await;
                }
                return;
            }
        }
    }
    back.abort();
}
