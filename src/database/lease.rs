//! A connection of a pool, for as long as a unit of work takes.
//!
//! A connection goes back to its pool only once it is known to be at rest. A future that is dropped half way may leave its
//! connection in an open transaction, which would swallow the writes of the next unit.
//!
//! Closing a connection does not end its backend. Above all, a backend that waits for a synchronous standby does not
//! notice that its client is gone: it keeps its row locks and its slot of `max_connections` until the standby is back. So
//! a connection whose statement does not answer keeps its place in the pool until the statement answers, or until the
//! backend is known to be gone. The statement is not cancelled: a cancelled wait makes a commit visible that no standby
//! has, and a retry under its key would be told that it is done.

use std::{
    io,
    time::{Duration, Instant},
};

use deadpool::managed::Object;
use sqlx::PgConnection;
use tokio::{
    pin,
    runtime::Handle,
    select,
    sync::OwnedSemaphorePermit,
    time::{error::Elapsed, timeout},
};

use super::pool::{self, Connector, Pool, is_usable};
use crate::telemetry::metrics;

/// How long a connection may take to become usable again before it counts as silent.
const RECOVERY: Duration = Duration::from_secs(1);

/// A leased connection.
pub struct Lease {
    /// None once it is given back.
    connection: Option<Object<Connector>>,
    /// The place among the pool's writers.
    writer: Option<OwnedSemaphorePermit>,
}

impl Lease {
    /// Leases a connection for statements that do not wait for a standby: they read, or commit with `synchronous_commit`
    /// off.
    ///
    /// # Errors
    /// No connection became free within the acquire timeout, or the database is unreachable.
    pub async fn of(pool: &Pool) -> Result<Self, sqlx::Error> {
        let since = Instant::now();
        let connection = pool::acquire(pool).await?;
        metrics::connection_acquired(since);
        Ok(Self { connection: Some(connection), writer: None })
    }

    /// Leases a connection for statements whose commit may wait for a standby. Writers take at most three quarters of a
    /// pool, so that reads go on while all writers wait.
    ///
    /// # Errors
    /// As for [`Lease::of`]. Also if several connections are silent: another writer would only join them.
    pub async fn for_writing(pool: &Pool) -> Result<Self, sqlx::Error> {
        let Connector { acquire_timeout, writers, silent, .. } = pool.manager();
        if silent.are_too_many() {
            return Err(io::Error::new(io::ErrorKind::TimedOut, "the database does not answer earlier statements").into());
        }
        let writer = timeout(*acquire_timeout, writers.clone().acquire_owned()).await;
        let writer = writer.map_err(|Elapsed { .. }| sqlx::Error::PoolTimedOut)?.map_err(|_| sqlx::Error::PoolClosed)?;
        let mut lease = Self::of(pool).await?;
        lease.writer = Some(writer);
        Ok(lease)
    }

    /// The connection.
    ///
    /// # Errors
    /// It was given back.
    pub fn get(&mut self) -> Result<&mut PgConnection, sqlx::Error> {
        self.connection.as_deref_mut().map(|connection| &mut connection.inner).ok_or(sqlx::Error::PoolClosed)
    }

    /// Returns the connection to the pool: at once if it is at rest. Otherwise a transaction may have to be rolled back
    /// first, the connection may be broken, or it may not have answered yet.
    pub fn give_back(mut self, is_at_rest: bool) {
        if is_at_rest {
            drop(self.connection.take());
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let Some(connection) = self.connection.take() else { return };
        // Without a runtime, the process is ending.
        if let Ok(runtime) = Handle::try_current() {
            runtime.spawn(recover(connection, self.writer.take()));
        } else {
            drop(Object::take(connection));
        }
    }
}

/// Returns a connection to its pool if it works once an open transaction is rolled back. Closes it otherwise. Until then
/// it keeps its place in the pool, and the writer's place.
async fn recover(mut connection: Object<Connector>, writer: Option<OwnedSemaphorePermit>) {
    let Some(pool) = Object::pool(&connection) else { return };
    let (silent, backend) = (&pool.manager().silent, connection.backend);
    let usable = {
        let answer = is_usable(&mut connection.inner);
        pin!(answer);
        if let Ok(answer) = timeout(RECOVERY, &mut answer).await {
            answer
        } else {
            let _counted = silent.count();
            select! {
                answer = &mut answer => answer,
                () = silent.gone(backend) => Ok(false),
            }
        }
    };
    if matches!(usable, Ok(true)) {
        drop(connection);
    } else {
        drop(Object::take(connection));
    }
    drop(writer);
}
