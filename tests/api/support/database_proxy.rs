//! A proxy in front of Postgres that can cut a connection at the worst moment: around a commit.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

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

use super::{Database, binary};

/// When the connection is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// Before the committing message reaches Postgres.
    BeforeCommit,
    /// After Postgres has committed, and before its answer reaches the client.
    AfterCommit,
    /// The same, and the client receives a Postgres PANIC, as when the disk fails at that moment.
    AfterCommitWithPanic,
}

/// A Unix socket in front of the socket of Postgres.
pub struct DatabaseProxy {
    /// The database as reached through the proxy.
    pub database: Database,
    faults: Arc<Faults>,
    _folder: TempDir,
}

#[derive(Default)]
struct Faults {
    /// Whether every message is dropped.
    is_stalled: AtomicBool,
    /// How often all open connections were stalled.
    losses: AtomicUsize,
    /// The delay of a new connection.
    connect_delay: Mutex<Duration>,
    next_cut: Mutex<Option<PlannedCut>>,
    /// How many messages clients have sent.
    messages: AtomicUsize,
}

struct PlannedCut {
    cut: Cut,
    /// The bytes that identify the connection by one of its messages.
    key: Vec<u8>,
    /// Whether that message commits itself, or a later COMMIT on the same connection does.
    commits_itself: bool,
}

impl DatabaseProxy {
    pub fn to(database: &Database) -> Self {
        let folder = binary::folder();
        let faults = Arc::new(Faults::default());
        let listener = UnixListener::bind(folder.path().join(".s.PGSQL.5432")).expect("a socket");
        let (target, shared) = (database.options.get_socket().expect("a socket").join(".s.PGSQL.5432"), Arc::clone(&faults));
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let server = UnixStream::connect(&target).await.expect("Postgres");
                tokio::spawn(forward(client, server, Arc::clone(&shared)));
            }
        });
        let mut database = database.clone();
        database.options = database.options.socket(folder.path());
        Self { database, faults, _folder: folder }
    }

    /// Drops every message from now on, without closing a connection.
    pub fn stall(&self) {
        self.faults.is_stalled.store(true, Ordering::SeqCst);
    }

    /// Drops every message on the open connections, without closing them. New connections work.
    pub fn stall_open_connections(&self) {
        self.faults.losses.fetch_add(1, Ordering::SeqCst);
    }

    /// Delays new connections.
    pub fn delay_connections(&self, delay: Duration) {
        *self.faults.connect_delay.lock().expect("no panic while locked") = delay;
    }

    /// Forwards messages again. Dropped messages stay lost.
    pub fn resume(&self) {
        self.faults.is_stalled.store(false, Ordering::SeqCst);
    }

    /// Cuts the connection at the next statement that contains the key. The statement commits itself.
    pub fn cut_statement(&self, key: &str, cut: Cut) {
        self.plan(key, cut, true);
    }

    /// Cuts the connection that sent the key at its next COMMIT.
    pub fn cut_commit(&self, key: &str, cut: Cut) {
        self.plan(key, cut, false);
    }

    /// How many messages clients have sent. A statement is at least one.
    pub fn messages(&self) -> usize {
        self.faults.messages.load(Ordering::SeqCst)
    }

    fn plan(&self, key: &str, cut: Cut, commits_itself: bool) {
        *self.faults.next_cut.lock().expect("no panic while locked") =
            Some(PlannedCut { cut, key: key.as_bytes().to_owned(), commits_itself });
    }
}

impl Faults {
    /// The cut to make at this message. `is_marked` says whether the connection has sent the key.
    fn cut_at(&self, message: &[u8], is_marked: &mut bool) -> Option<Cut> {
        let has = |part: &[u8]| message.windows(part.len()).any(|word| word == part);
        let mut next = self.next_cut.lock().expect("no panic while locked");
        let planned = next.as_ref()?;
        *is_marked |= has(&planned.key);
        let commits = *is_marked && (planned.commits_itself || has(b"COMMIT"));
        if commits { next.take().map(|planned| planned.cut) } else { None }
    }
}

async fn forward(client: UnixStream, server: UnixStream, faults: Arc<Faults>) {
    let delay = *faults.connect_delay.lock().expect("no panic while locked");
    tokio::time::sleep(delay).await;
    let (mut from_client, to_client) = client.into_split();
    let (from_server, mut to_server) = server.into_split();
    let (is_muted, answered) = (Arc::new(AtomicBool::new(false)), Arc::new(Notify::new()));
    let back = tokio::spawn(forward_answers(from_server, to_client, Arc::clone(&is_muted), Arc::clone(&answered)));
    let (mut buffer, mut is_marked) = (vec![0; 64 * 1024], false);
    let losses = faults.losses.load(Ordering::SeqCst);
    while let Ok(length @ 1..) = from_client.read(&mut buffer).await {
        let message = &buffer[..length];
        faults.messages.fetch_add(1, Ordering::SeqCst);
        if faults.is_stalled.load(Ordering::SeqCst) || faults.losses.load(Ordering::SeqCst) > losses {
            std::future::pending::<()>().await;
        }
        match faults.cut_at(message, &mut is_marked) {
            None => {
                if to_server.write_all(message).await.is_err() {
                    break;
                }
            }
            Some(Cut::BeforeCommit) => break,
            Some(cut) => {
                is_muted.store(true, Ordering::SeqCst);
                let _lost = to_server.write_all(message).await;
                // Postgres has committed once it has answered.
                timeout(Duration::from_secs(5), answered.notified()).await.expect("Postgres answers");
                let mut to_client = back.await.expect("the client half");
                if cut == Cut::AfterCommitWithPanic {
                    to_client.write_all(&panic()).await.expect("the PANIC is sent");
                }
                return;
            }
        }
    }
    back.abort();
}

/// Forwards answers until muted. Then it returns the client half, and notifies once Postgres has answered.
async fn forward_answers(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    is_muted: Arc<AtomicBool>,
    answered: Arc<Notify>,
) -> OwnedWriteHalf {
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(length @ 1..) = from.read(&mut buffer).await {
        if is_muted.load(Ordering::SeqCst) {
            answered.notify_one();
            break;
        }
        if to.write_all(&buffer[..length]).await.is_err() {
            break;
        }
    }
    to
}

/// The ErrorResponse of a server that panics (PostgreSQL, message formats).
fn panic() -> Vec<u8> {
    let fields = b"SPANIC\0VPANIC\0C58030\0Mcould not write to the log\0\0";
    let length = u32::try_from(fields.len() + 4).expect("short");
    [b"E".as_slice(), &length.to_be_bytes(), fields].concat()
}
