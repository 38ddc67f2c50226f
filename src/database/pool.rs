//! A bounded number of connections, kept for whoever is next.
//!
//! sqlx's own pool asks the database about each connection that is given back: a round trip a statement, which has
//! no deadline and keeps the connection's place meanwhile. Here a connection goes back as it is, and whoever
//! takes one (`service::unit`) says in which state it is.

use std::{io, time::Duration};

use deadpool::{
    Runtime,
    managed::{Manager, Metrics, Object, PoolError, QueueMode, RecycleError, RecycleResult},
};
use sqlx::{ConnectOptions as _, Executor as _, PgConnection, postgres::PgConnectOptions};
use tokio::{sync::oneshot, time::timeout};
use tracing::Instrument as _;

use crate::telemetry::metrics;

/// Connections to one database.
pub type Pool = deadpool::managed::Pool<Connector>;

/// One of them, which goes back when it is dropped.
pub type PooledConnection = Object<Connector>;

/// What every connection is told: a lock is given up on before a statement, a statement before a request, and
/// a transaction that somebody forgot does not stay. Everything is looked up by a key: a plan that was made while
/// a table was small, and reads all of it, must not be there when it has grown. Where there is nothing but to read
/// all of it, that counts as so dear that Postgres would compile the plan first, which takes longer than it saves.
const SESSION: &str = "set lock_timeout = '2s'; set statement_timeout = '5s'; set idle_in_transaction_session_timeout = '10s'; \
    set enable_seqscan = off; set jit = off";

/// What those are told beside that take lists of keys. A list has no length yet when a statement is planned for all
/// lists, and one that is planned for each costs more to plan than to run. So they are planned once.
const SESSION_FOR_LISTS: &str = "set plan_cache_mode = force_generic_plan; set enable_mergejoin = off";

/// After so long a connection is asked whether it is still there, before it is used.
const RESTED: Duration = Duration::from_millis(500);

/// How long it has for its answer.
const ANSWER: Duration = Duration::from_millis(250);

/// How long a connection may take to be made, from the name of the database's host to a session. Whoever wants it may
/// not wait so long; it is there for the next then. No longer, since for so long a database that is back after silence
/// is not noticed.
const MAKING: Duration = Duration::from_secs(3);

/// How long a connection is used at most: after a failover it may be one to a server that is no primary any more.
const LIFETIME: Duration = Duration::from_secs(30 * 60);

/// How long an unused connection is kept.
const IDLE: Duration = Duration::from_secs(10 * 60);

/// Makes connections, and says which may be used again.
#[derive(Debug)]
pub struct Connector {
    options: Box<PgConnectOptions>,
    acquire_timeout: Duration,
    takes_lists: bool,
}

impl Manager for Connector {
    type Type = PgConnection;
    type Error = sqlx::Error;

    // Both boxed: they are seldom, and what they need would be room in every request.
    async fn create(&self) -> Result<PgConnection, sqlx::Error> {
        let made = Box::pin(async {
            let mut connection = self.options.connect().await?;
            connection.execute(SESSION).await?;
            if self.takes_lists {
                connection.execute(SESSION_FOR_LISTS).await?;
            }
            Ok(connection)
        });
        timeout(MAKING, made).await.unwrap_or_else(|_| Err(io::Error::new(io::ErrorKind::TimedOut, "no connection in time").into()))
    }

    async fn recycle(&self, connection: &mut PgConnection, metrics: &Metrics) -> RecycleResult<sqlx::Error> {
        if metrics.age() >= LIFETIME {
            return Err(RecycleError::message("it has had its time"));
        }
        // Only what has rested may have lost its database meanwhile.
        if metrics.last_used() >= RESTED {
            // One that says nothing must not take all the time there is for one.
            return match timeout(ANSWER, Box::pin(is_of_use(connection))).await {
                Ok(Ok(true)) => Ok(()),
                Ok(Ok(false)) => Err(RecycleError::message("a standby")),
                Ok(Err(error)) => Err(error.into()),
                Err(_) => Err(RecycleError::message("silent")),
            };
        }
        Ok(())
    }
}

/// Whether a connection that failed or rested can be used again: first what is left of a transaction is rolled back,
/// and what was a primary may be a standby now.
///
/// # Errors
/// It is broken, or still in the middle of something.
pub async fn is_of_use(connection: &mut PgConnection) -> Result<bool, sqlx::Error> {
    let is_standby = sqlx::query_scalar!(r#"select pg_is_in_recovery() as "is_standby!""#).fetch_one(connection).await?;
    Ok(!is_standby)
}

/// A pool of at most `max_connections`, opened as they are needed, and waited for no longer than `acquire_timeout`.
pub fn pool(options: PgConnectOptions, max_connections: u32, acquire_timeout: Duration) -> Pool {
    of(Connector { options: Box::new(options), acquire_timeout, takes_lists: false }, max_connections)
}

/// Beside a pool, one of at most `max_connections` for statements that take lists of keys.
pub fn pool_for_lists(beside: &Pool, max_connections: u32) -> Pool {
    let Connector { options, acquire_timeout, .. } = beside.manager();
    of(Connector { options: options.clone(), acquire_timeout: *acquire_timeout, takes_lists: true }, max_connections)
}

#[expect(clippy::expect_used, reason = "only a timeout without a runtime is refused")]
fn of(connector: Connector, max_connections: u32) -> Pool {
    let size = usize::try_from(max_connections).unwrap_or(usize::MAX);
    let wait = connector.acquire_timeout;
    let pool = Pool::builder(connector).max_size(size).queue_mode(QueueMode::Lifo);
    pool.runtime(Runtime::Tokio1).wait_timeout(Some(wait)).build().expect("a timeout with a runtime")
}

/// A connection, opened if none is at rest and there may be more.
///
/// # Errors
/// There was none for as long as the pool waits, or the database is away.
pub async fn acquire(pool: &Pool) -> Result<PooledConnection, sqlx::Error> {
    let (status, patience) = (pool.status(), pool.manager().acquire_timeout);
    let got = if status.available == 0 && status.size < status.max_size {
        timeout(patience, make(pool.clone())).await
    } else {
        let got = timeout(patience, pool.get()).await;
        if got.is_err() {
            // If some are at rest and none was to be had, they are silent, and each would be waited for.
            let _closed = pool.retain(|_, metrics| metrics.last_used() < RESTED);
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

/// A new connection, made to its end also when that takes longer than anybody waits: a pool whose every connection is
/// dropped a moment before it is ready would never have one. There are as many at a time as there is room in the pool;
/// the others wait no longer than their callers do.
async fn make(pool: Pool) -> Result<PooledConnection, PoolError<sqlx::Error>> {
    let (tell, told) = oneshot::channel();
    let made = async move {
        // What nobody hears: a connection goes to the pool, and a failure is told nowhere else.
        if let Err(Err(PoolError::Backend(error))) = tell.send(pool.get().await) {
            metrics::database_failed(&error);
            tracing::warn!(%error, "no connection to the database could be made");
        }
    };
    tokio::spawn(made.in_current_span());
    told.await.unwrap_or(Err(PoolError::Closed))
}

/// Closes the connections that nobody has used for long.
pub fn close_unused(pool: &Pool) {
    let _closed = pool.retain(|_, metrics| metrics.last_used() < IDLE);
}
