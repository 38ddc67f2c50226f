//! A wire to Postgres that can be cut at the worst moment: around what commits.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use sqlx::postgres::PgConnectOptions;
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        UnixListener, UnixStream,
        unix::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::Notify,
    time::timeout,
};

use super::binary;

/// Where what commits is met by the scissors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// It never reaches Postgres.
    Before,
    /// It reaches Postgres, whose answer reaches nobody.
    After,
    /// The same, and Postgres says that it panics, as it does when its disk fails just then.
    AfterInPanic,
}

/// A Unix socket in front of Postgres' own.
pub struct Wire {
    folder: TempDir,
    scissors: Arc<Scissors>,
}

#[derive(Default)]
struct Scissors {
    is_silent: AtomicBool,
    /// How often all connections were lost.
    losses: AtomicUsize,
    /// How long a new connection is kept waiting.
    delay: Mutex<Duration>,
    armed: Mutex<Option<Armed>>,
}

struct Armed {
    cut: Cut,
    /// What the messages of the connection have in them that is to be cut.
    key: Vec<u8>,
    /// Whether it is the message itself that commits, or the COMMIT that comes after it on its connection.
    commits_itself: bool,
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
        self.scissors.is_silent.store(true, Ordering::SeqCst);
    }

    /// The connections there are say nothing any more, and nobody is told. New ones do.
    pub fn lose_connections(&self) {
        self.scissors.losses.fetch_add(1, Ordering::SeqCst);
    }

    /// From now on a new connection takes so long.
    pub fn connect_after(&self, delay: Duration) {
        *self.scissors.delay.lock().expect("whole") = delay;
    }

    /// What was swallowed is lost; what comes next gets through.
    pub fn speak_again(&self) {
        self.scissors.is_silent.store(false, Ordering::SeqCst);
    }

    /// The next message with this in it is cut off: a statement that commits itself.
    pub fn cut_statement_of(&self, key: &str, cut: Cut) {
        self.arm(key, cut, true);
    }

    /// The next COMMIT is cut off on a connection that has said this.
    pub fn cut_commit_of(&self, key: &str, cut: Cut) {
        self.arm(key, cut, false);
    }

    fn arm(&self, key: &str, cut: Cut, commits_itself: bool) {
        *self.scissors.armed.lock().expect("whole") = Some(Armed { cut, key: key.as_bytes().to_owned(), commits_itself });
    }
}

impl Scissors {
    /// Whether this message is to be cut off. `is_marked`: the connection has said the key.
    fn meet(&self, message: &[u8], is_marked: &mut bool) -> Option<Cut> {
        let has = |part: &[u8]| message.windows(part.len()).any(|word| word == part);
        let mut armed = self.armed.lock().expect("whole");
        let meant = armed.as_ref()?;
        *is_marked |= has(&meant.key);
        let is_met = *is_marked && (meant.commits_itself || has(b"COMMIT"));
        if is_met { armed.take().map(|armed| armed.cut) } else { None }
    }
}

async fn carry(client: UnixStream, server: UnixStream, scissors: Arc<Scissors>) {
    let delay = *scissors.delay.lock().expect("whole");
    tokio::time::sleep(delay).await;
    let (mut from_client, to_client) = client.into_split();
    let (from_server, mut to_server) = server.into_split();
    let (is_mute, heard) = (Arc::new(AtomicBool::new(false)), Arc::new(Notify::new()));
    let back = tokio::spawn(carry_back(from_server, to_client, Arc::clone(&is_mute), Arc::clone(&heard)));
    let (mut buffer, mut is_marked) = (vec![0; 64 * 1024], false);
    let losses = scissors.losses.load(Ordering::SeqCst);
    while let Ok(length @ 1..) = from_client.read(&mut buffer).await {
        let message = &buffer[..length];
        if scissors.is_silent.load(Ordering::SeqCst) || scissors.losses.load(Ordering::SeqCst) > losses {
            std::future::pending::<()>().await;
        }
        match scissors.meet(message, &mut is_marked) {
            None => {
                if to_server.write_all(message).await.is_err() {
                    break;
                }
            }
            Some(Cut::Before) => break,
            Some(cut) => {
                is_mute.store(true, Ordering::SeqCst);
                let _lost = to_server.write_all(message).await;
                // Once Postgres has answered it is done.
                timeout(Duration::from_secs(5), heard.notified()).await.expect("an answer of Postgres");
                let mut to_client = back.await.expect("what leads to the client");
                if cut == Cut::AfterInPanic {
                    to_client.write_all(&panic()).await.expect("told");
                }
                return;
            }
        }
    }
    back.abort();
}

/// Carries what Postgres says until it is to be heard by nobody; then gives the way to the client back.
async fn carry_back(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, is_mute: Arc<AtomicBool>, heard: Arc<Notify>) -> OwnedWriteHalf {
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(length @ 1..) = from.read(&mut buffer).await {
        if is_mute.load(Ordering::SeqCst) {
            heard.notify_one();
            break;
        }
        if to.write_all(&buffer[..length]).await.is_err() {
            break;
        }
    }
    to
}

/// An ErrorResponse (PostgreSQL, message formats) of a server that ends.
fn panic() -> Vec<u8> {
    let fields = b"SPANIC\0VPANIC\0C58030\0Mcould not write to the log\0\0";
    let length = u32::try_from(fields.len() + 4).expect("short");
    [b"E".as_slice(), &length.to_be_bytes(), fields].concat()
}
