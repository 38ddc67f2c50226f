//! Connections that do not answer, and the backends that they belong to.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use chrono::{DateTime, Utc};
use sqlx::{ConnectOptions as _, PgConnection, postgres::PgConnectOptions};
use tokio::{
    sync::oneshot,
    time::{sleep, timeout},
};

use super::pool::CONNECT_TIMEOUT;
use crate::telemetry::metrics;

/// How many connections may be silent before writes stop.
const MAX_SILENT: usize = 3;

/// The pause between two looks at the backends of silent connections.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// The server process behind a connection. The time of its start tells it from a later one with the same process id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Backend {
    pub(super) pid: i32,
    pub(super) started: DateTime<Utc>,
}

impl Backend {
    /// The backend of a connection.
    pub(super) async fn of(connection: &mut PgConnection) -> Result<Self, sqlx::Error> {
        sqlx::query_as!(
            Self,
            r#"
            select pid as "pid!", backend_start as "started!"
            from pg_stat_get_activity(pg_backend_pid())
            "#,
        )
        .fetch_one(connection)
        .await
    }
}

/// The silent connections of a process to one database, over all of its pools.
#[derive(Debug)]
pub(super) struct SilentConnections {
    options: Box<PgConnectOptions>,
    count: AtomicUsize,
    watched: Mutex<Watched>,
}

#[derive(Debug, Default)]
struct Watched {
    backends: Vec<(Backend, oneshot::Sender<()>)>,
    /// A task looks at the backends.
    is_running: bool,
}

impl SilentConnections {
    pub(super) fn new(options: PgConnectOptions) -> Self {
        Self { options: Box::new(options), count: AtomicUsize::new(0), watched: Mutex::default() }
    }

    /// Whether so many connections are silent that a further write would probably join them.
    pub(super) fn are_too_many(&self) -> bool {
        self.count.load(Ordering::Relaxed) >= MAX_SILENT
    }

    /// Counts one more silent connection until the guard is dropped.
    pub(super) fn count(&self) -> SilentGuard<'_> {
        self.add(1);
        SilentGuard(self)
    }

    fn add(&self, change: isize) {
        let before = self.count.fetch_add(change.cast_unsigned(), Ordering::Relaxed);
        let now = before.wrapping_add_signed(change);
        metrics::silent_connections(now);
        if now == MAX_SILENT && before < now {
            tracing::warn!(silent = now, "the database does not answer; writes are refused until it does");
        } else if before == MAX_SILENT && before > now {
            tracing::info!(silent = now, "the database answers again; writes are accepted");
        }
    }

    /// Completes once a backend no longer exists, or is idle: its statement is over, and its answer is lost. It looks on a
    /// connection of its own, one at a time for all silent connections.
    pub(super) async fn gone(self: &Arc<Self>, backend: Backend) {
        let (sender, gone) = oneshot::channel();
        let must_start = {
            let mut watched = self.lock();
            watched.backends.push((backend, sender));
            !std::mem::replace(&mut watched.is_running, true)
        };
        if must_start {
            tokio::spawn(Arc::clone(self).watch());
        }
        drop(gone.await);
    }

    async fn watch(self: Arc<Self>) {
        loop {
            sleep(LOOK_EVERY).await;
            let backends: Vec<Backend> = {
                let mut watched = self.lock();
                watched.backends.retain(|(_, sender)| !sender.is_closed());
                watched.is_running = !watched.backends.is_empty();
                watched.backends.iter().map(|(backend, _)| *backend).collect()
            };
            if backends.is_empty() {
                return;
            }
            match timeout(CONNECT_TIMEOUT, self.busy()).await {
                Ok(Ok(busy)) => self.lock().backends.retain(|(backend, _)| !backends.contains(backend) || busy.contains(backend)),
                Ok(Err(error)) => tracing::debug!(%error, "cannot look for the backends of silent connections"),
                Err(_) => tracing::debug!("cannot look for the backends of silent connections: no answer in time"),
            }
        }
    }

    /// The backends that execute a statement or have a transaction open.
    async fn busy(&self) -> Result<Vec<Backend>, sqlx::Error> {
        let mut connection = self.options.connect().await?;
        sqlx::query_as!(
            Backend,
            r#"
            select pid as "pid!", backend_start as "started!"
            from pg_stat_activity
            where usename = session_user and backend_type = 'client backend' and state is distinct from 'idle'
            "#,
        )
        .fetch_all(&mut connection)
        .await
    }

    fn lock(&self) -> MutexGuard<'_, Watched> {
        // Nothing under the lock can panic half way through a change.
        self.watched.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One silent connection.
pub(super) struct SilentGuard<'a>(&'a SilentConnections);

impl Drop for SilentGuard<'_> {
    fn drop(&mut self) {
        self.0.add(-1);
    }
}
