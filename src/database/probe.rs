//! Whether the database can serve: asked on a connection of its own, so that requests that use up their pool do not make
//! a replica look as if its database were away.

use std::{
    io,
    sync::Arc,
    time::{Duration, Instant},
};

use sqlx::{ConnectOptions as _, PgConnection, postgres::PgConnectOptions};
use tokio::{sync::Mutex, time::timeout};

use super::{Pool, migrate, pool::is_usable};
use crate::telemetry::metrics;

/// How long an answer is kept. Anybody may ask, so the questions must not be as many as the askers.
const KEPT: Duration = Duration::from_secs(1);

/// How long the database may take to answer, including the time for a new connection.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(2);

/// Asks whether the database is there, is the primary, and has the schema of this version.
#[derive(Debug)]
pub struct Probe {
    options: Box<PgConnectOptions>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    connection: Option<PgConnection>,
    newest: Option<(Instant, Answer)>,
}

/// Why the database cannot serve, if it cannot.
type Answer = Result<(), Arc<sqlx::Error>>;

impl Probe {
    /// A probe of a pool's database. It connects when it is first asked.
    #[must_use]
    pub fn of(pool: &Pool) -> Self {
        Self { options: pool.manager().options(), state: Mutex::default() }
    }

    /// Asks the database, unless an answer of the last second is known. Callers at the same time share one answer.
    ///
    /// # Errors
    /// The database is away, is a standby, or lacks a migration of this version.
    pub async fn ask(&self) -> Answer {
        let mut state = self.state.lock().await;
        if let Some((_, answer)) = state.newest.as_ref().filter(|(since, _)| since.elapsed() < KEPT) {
            return answer.clone();
        }
        let connection = state.connection.take();
        let answer = match timeout(ANSWER_TIMEOUT, Box::pin(self.ask_on(connection))).await {
            Ok(Ok(connection)) => {
                state.connection = connection;
                Ok(())
            }
            Ok(Err(error)) => Err(error),
            Err(_) => Err(io::Error::new(io::ErrorKind::TimedOut, "no answer in time").into()),
        };
        let answer = answer.map_err(|error| {
            metrics::database_failed(&error);
            Arc::new(error)
        });
        state.newest = Some((Instant::now(), answer.clone()));
        answer
    }

    /// Asks on the connection, or on a new one if there is none or it is broken. Returns the connection that works.
    async fn ask_on(&self, connection: Option<PgConnection>) -> Result<Option<PgConnection>, sqlx::Error> {
        if let Some(mut connection) = connection
            && let Ok(answer) = can_serve(&mut connection).await
        {
            return answer.map(|()| Some(connection));
        }
        let mut connection = match self.options.connect().await {
            Ok(connection) => connection,
            // All connections are taken: so the database is there, and the requests' own connections may go on.
            Err(error) if error.as_database_error().and_then(sqlx::error::DatabaseError::code).as_deref() == Some("53300") => {
                return Ok(None);
            }
            Err(error) => return Err(error),
        };
        can_serve(&mut connection).await?.map(|()| Some(connection))
    }
}

/// The outer result fails if the connection is broken, the inner one if the database answers and cannot serve.
async fn can_serve(connection: &mut PgConnection) -> Result<Result<(), sqlx::Error>, sqlx::Error> {
    if !is_usable(connection).await? {
        return Ok(Err(io::Error::other("connected to a standby").into()));
    }
    Ok(match migrate::is_current(connection).await {
        Ok(true) => Ok(()),
        Ok(false) => Err(io::Error::other("the schema lacks a migration of this version").into()),
        Err(error) => Err(error),
    })
}
