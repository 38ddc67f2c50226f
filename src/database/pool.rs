//! A bounded pool of connections.
//!
//! sqlx's own pool pings the database whenever a connection is returned: one more round trip per statement, without a
//! deadline, during which the connection keeps its slot. This pool takes a connection back without a check. `lease` checks
//! or discards a connection whose state is not known to be clean.

use std::{io, sync::Arc, time::Duration};

use deadpool::{
    Runtime,
    managed::{Manager, Metrics, Object, PoolError, QueueMode, RecycleError, RecycleResult},
};
use sqlx::{ConnectOptions as _, Executor as _, PgConnection, postgres::PgConnectOptions};
use tokio::{
    sync::{Semaphore, oneshot},
    time::timeout,
};
use tracing::Instrument as _;

use super::silent::{Backend, SilentConnections};
use crate::telemetry::metrics;

/// Connections to one database.
pub type Pool = deadpool::managed::Pool<Connector>;

/// The session settings of every connection. A lock times out before its statement, a statement before its request, and
/// an abandoned transaction is ended. The isolation level and the durability of a commit do not depend on the settings
/// of the role or the database, which may change while the service runs. Every query looks rows up by an index: a
/// sequential scan, planned while a table was small, must not stay cached when it has grown. Where only a sequential
/// scan is possible, the penalty makes the plan look so expensive that Postgres would JIT-compile it, which takes
/// longer than it saves.
const SESSION: &str = "set lock_timeout = '2s'; set statement_timeout = '5s'; set idle_in_transaction_session_timeout = '10s'; \
    set default_transaction_isolation = 'read committed'; set enable_seqscan = off; set jit = off; \
    select set_config('synchronous_commit', 'on', false) where current_setting('synchronous_commit') in ('off', 'local')";

/// Further settings of connections for statements that take lists of keys. Planning such a statement for each list costs
/// more than running it, so it gets one generic plan. That plan does not know the lists' lengths.
const SESSION_FOR_LISTS: &str = "set plan_cache_mode = force_generic_plan; set enable_mergejoin = off";

/// Says in a session that the database is distributed, so that the cards of an account are written on its shard.
const SESSION_ON_SHARDS: &str = "set core_api.sharded = on";

/// What a distributed database takes of [`SESSION_FOR_LISTS`]: it plans a statement for the account, so not once for all.
const SESSION_FOR_LISTS_ON_SHARDS: &str = "set enable_mergejoin = off";

/// A connection that has been idle for this long is checked before it is used.
const CHECK_AFTER: Duration = Duration::from_millis(500);

/// How long that check may take.
const CHECK_TIMEOUT: Duration = Duration::from_millis(250);

/// How long opening a connection may take, from resolving the database's host name to setting up the session. A caller
/// may stop waiting earlier; the connection then serves the next one. The limit also bounds how long a database that was
/// silent and is back goes unnoticed.
pub(super) const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// The longest life of a connection: after a failover its server may no longer be the primary.
const MAX_LIFETIME: Duration = Duration::from_secs(30 * 60);

/// How long an idle connection is kept.
const MAX_IDLE: Duration = Duration::from_secs(10 * 60);

/// Opens connections and decides which can be reused.
#[derive(Debug)]
pub struct Connector {
    options: Box<PgConnectOptions>,
    pub(super) acquire_timeout: Duration,
    takes_lists: bool,
    pub(super) sharded: bool,
    /// The places of connections whose commit may wait for a standby.
    pub(super) writers: Arc<Semaphore>,
    pub(super) silent: Arc<SilentConnections>,
}

/// A connection, and the backend that serves it.
#[derive(Debug)]
pub struct Connection {
    pub(super) inner: PgConnection,
    pub(super) backend: Backend,
}

/// Gives a new connection its session settings.
pub(super) async fn set_up(connection: &mut PgConnection) -> Result<(), sqlx::Error> {
    connection.execute(SESSION).await.map(drop)
}

impl Connector {
    fn new(options: PgConnectOptions, acquire_timeout: Duration, max_connections: u32) -> Self {
        let (silent, size) = (Arc::new(SilentConnections::new(options.clone())), size(max_connections));
        let writers = Arc::new(Semaphore::new((size - size.div_ceil(4)).clamp(1, Semaphore::MAX_PERMITS)));
        Self { options: Box::new(options), acquire_timeout, takes_lists: false, sharded: false, writers, silent }
    }

    pub(super) fn options(&self) -> Box<PgConnectOptions> {
        self.options.clone()
    }
}

impl Manager for Connector {
    type Type = Connection;
    type Error = sqlx::Error;

    // Boxed here and below: these futures rarely run, and unboxed they would enlarge the future of every request.
    async fn create(&self) -> Result<Connection, sqlx::Error> {
        let connecting = Box::pin(async {
            let mut inner = self.options.connect().await?;
            set_up(&mut inner).await?;
            if self.takes_lists {
                inner.execute(if self.sharded { SESSION_FOR_LISTS_ON_SHARDS } else { SESSION_FOR_LISTS }).await?;
            }
            if self.sharded {
                inner.execute(SESSION_ON_SHARDS).await?;
            }
            let backend = Backend::of(&mut inner).await?;
            Ok(Connection { inner, backend })
        });
        timeout(CONNECT_TIMEOUT, connecting).await.unwrap_or_else(|_| Err(io::Error::new(io::ErrorKind::TimedOut, "timed out").into()))
    }

    async fn recycle(&self, connection: &mut Connection, metrics: &Metrics) -> RecycleResult<sqlx::Error> {
        if metrics.age() >= MAX_LIFETIME {
            return Err(RecycleError::message("older than its maximum lifetime"));
        }
        // A connection that was used a moment ago is assumed to work.
        if metrics.last_used() >= CHECK_AFTER {
            // A connection that does not answer must not use up the whole acquire timeout.
            return match timeout(CHECK_TIMEOUT, Box::pin(is_usable(&mut connection.inner))).await {
                Ok(Ok(true)) => Ok(()),
                Ok(Ok(false)) => Err(RecycleError::message("connected to a standby")),
                Ok(Err(error)) => Err(error.into()),
                Err(_) => Err(RecycleError::message("no answer in time")),
            };
        }
        Ok(())
    }
}

/// Whether a connection that failed or was idle can be used again: any open transaction is rolled back first, and the
/// server must still be the primary.
///
/// # Errors
/// The connection is broken, or still in the middle of a statement.
pub(super) async fn is_usable(connection: &mut PgConnection) -> Result<bool, sqlx::Error> {
    let is_standby = sqlx::query_scalar!(r#"select pg_is_in_recovery() as "is_standby!""#).fetch_one(connection).await?;
    Ok(!is_standby)
}

/// A pool of at most `max_connections`, opened on demand. A caller waits at most `acquire_timeout` for one.
pub fn pool(options: PgConnectOptions, max_connections: u32, acquire_timeout: Duration) -> Pool {
    build(Connector::new(options, acquire_timeout, max_connections), max_connections)
}

/// A pool like that of [`pool`], to a database that is distributed by account.
pub fn pool_on_shards(options: PgConnectOptions, max_connections: u32, acquire_timeout: Duration) -> Pool {
    build(Connector { sharded: true, ..Connector::new(options, acquire_timeout, max_connections) }, max_connections)
}

/// A second pool, of at most `max_connections`, to the same database for statements that take lists of keys.
pub fn pool_for_lists(pool: &Pool, max_connections: u32) -> Pool {
    let Connector { options, acquire_timeout, sharded, silent, .. } = pool.manager();
    let connector = Connector::new((**options).clone(), *acquire_timeout, max_connections);
    build(Connector { takes_lists: true, sharded: *sharded, silent: Arc::clone(silent), ..connector }, max_connections)
}

/// A pool of its own, of at most `max_connections`, to the same database. Connections of one of the pools that are silent do
/// not count for the other.
pub fn separate_pool(pool: &Pool, max_connections: u32) -> Pool {
    let Connector { options, acquire_timeout, sharded, .. } = pool.manager();
    let connector = Connector::new((**options).clone(), *acquire_timeout, max_connections);
    build(Connector { takes_lists: true, sharded: *sharded, ..connector }, max_connections)
}

#[expect(clippy::expect_used, reason = "building fails only for a timeout without a runtime")]
fn build(connector: Connector, max_connections: u32) -> Pool {
    let wait = Some(connector.acquire_timeout);
    let pool = Pool::builder(connector).max_size(size(max_connections)).queue_mode(QueueMode::Lifo);
    pool.runtime(Runtime::Tokio1).wait_timeout(wait).build().expect("a timeout with a runtime")
}

fn size(max_connections: u32) -> usize {
    usize::try_from(max_connections).unwrap_or(usize::MAX)
}

/// Whether a pool's database is distributed by account, so that a statement is sent to one shard if it names one account.
#[must_use]
pub fn is_sharded(pool: &Pool) -> bool {
    pool.manager().sharded
}

/// Takes an idle connection, or opens one if none is idle and the pool is not full.
///
/// # Errors
/// No connection became free within the acquire timeout, or the database is unreachable.
pub async fn acquire(pool: &Pool) -> Result<Object<Connector>, sqlx::Error> {
    let (status, wait) = (pool.status(), pool.manager().acquire_timeout);
    let got = if status.available == 0 && status.size < status.max_size {
        timeout(wait, open(pool.clone())).await
    } else {
        let got = timeout(wait, pool.get()).await;
        if got.is_err() {
            // Any connections that are still idle do not answer, and each would make a later caller wait for its check.
            let _closed = pool.retain(|_, metrics| metrics.last_used() < CHECK_AFTER);
        }
        got
    };
    match got {
        Ok(Ok(connection)) => Ok(connection),
        Ok(Err(PoolError::Backend(error))) => Err(error),
        Ok(Err(PoolError::Closed)) => Err(sqlx::Error::PoolClosed),
        Ok(Err(_)) | Err(_) => Err(sqlx::Error::PoolTimedOut),
    }
}

/// Opens a connection, and completes that even if the caller stops waiting: otherwise a pool whose connections always
/// take a moment too long would never get one. The pool's size bounds how many open at a time; other attempts end
/// within the acquire timeout.
async fn open(pool: Pool) -> Result<Object<Connector>, PoolError<sqlx::Error>> {
    let (sender, receiver) = oneshot::channel();
    let opening = async move {
        // If the caller is gone, a connection goes to the pool, and only this log entry reports a failure.
        if let Err(Err(PoolError::Backend(error))) = sender.send(pool.get().await) {
            metrics::database_failed(&error);
            tracing::warn!(%error, "cannot connect to the database");
        }
    };
    tokio::spawn(opening.in_current_span());
    receiver.await.unwrap_or(Err(PoolError::Closed))
}

/// Closes connections that have been idle for ten minutes.
pub fn close_unused(pool: &Pool) {
    let _closed = pool.retain(|_, metrics| metrics.last_used() < MAX_IDLE);
}
