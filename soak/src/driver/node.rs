//! A Postgres of the soak: durable, private, and repeatedly killed.

use std::{
    error::Error,
    fs::{self, OpenOptions},
    io::Write,
    path::{Path, PathBuf},
    time::Duration,
};

use core_api::database::private::{PrivateError, PrivatePostgres};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use sqlx::{Connection, Executor, PgConnection, Row, postgres::PgConnectOptions};
use tokio::time::{sleep, timeout};

use crate::citus;

/// All other settings are the defaults of Postgres, above all `fsync` and `synchronous_commit`.
const SETTINGS: [&str; 1] = ["max_connections=200"];

/// A node of Citus has connections of other nodes besides. An interrupted commit of several nodes is completed soon.
const CITUS_SETTINGS: [&str; 2] = ["max_connections=400", "citus.recover_2pc_interval=5s"];

/// The number of start attempts. Backends that outlive their postmaster block the next one for a moment.
const START_ATTEMPTS: usize = 20;

/// How often to look for a commit, which is short.
const COMMIT_ATTEMPTS: usize = 2000;

/// The maximum time for statements, including the connection, while Postgres may be down.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Postgres and its files.
#[derive(Debug)]
pub struct Node {
    // None only during a restart.
    postgres: Option<PrivatePostgres>,
    folder: PathBuf,
    data: PathBuf,
    log: PathBuf,
}

impl Node {
    /// Starts Postgres in a folder. `log` collects the output of all its runs.
    pub async fn start(folder: &Path, log: &Path) -> Result<Self, Box<dyn Error>> {
        let postgres = launch(folder).await?;
        let mut connection = PgConnection::connect_with(&postgres.options()).await?;
        let durable = "select current_setting('data_directory'), current_setting('fsync') || current_setting('synchronous_commit')";
        let row = connection.fetch_one(durable).await?;
        let (data, safety): (String, String) = (row.try_get(0)?, row.try_get(1)?);
        connection.close().await?;
        if safety != "onon" {
            return Err("Postgres is not durable, so a soak on it would prove nothing".into());
        }
        Ok(Self { postgres: Some(postgres), folder: folder.to_owned(), data: data.into(), log: log.to_owned() })
    }

    /// How to connect as the owner, also after restarts.
    pub fn options(&self) -> Result<PgConnectOptions, Box<dyn Error>> {
        Ok(self.postgres.as_ref().ok_or("Postgres is down")?.options())
    }

    /// Kills the postmaster and starts a new one on the same data.
    pub async fn kill_postmaster(&mut self) -> Result<(), Box<dyn Error>> {
        let file = fs::read_to_string(self.data.join("postmaster.pid"))?;
        let pid = file.lines().next().ok_or("postmaster.pid is empty")?.trim().parse()?;
        kill(Pid::from_raw(pid), Signal::SIGKILL)?;
        let postgres = self.postgres.take();
        tokio::task::spawn_blocking(move || drop(postgres)).await?;
        self.append_log()?;
        let mut last = None;
        for _ in 0..START_ATTEMPTS {
            match launch(&self.folder).await {
                Ok(postgres) => {
                    self.postgres = Some(postgres);
                    return Ok(());
                }
                Err(error) => last = Some(error),
            }
            self.append_log()?;
            sleep(Duration::from_millis(500)).await;
        }
        Err(last.map_or_else(|| "Postgres was not started".into(), Into::into))
    }

    /// Kills a backend that serves a replica or another node. Postgres then terminates all backends and recovers.
    pub async fn kill_backend(&self) -> Result<bool, Box<dyn Error>> {
        let one = "select pid from pg_stat_activity where datname = 'core_api' and backend_type = 'client backend'
            order by state = 'active' desc, random() limit 1";
        let Some(pid) = self.query(one, 1).await? else { return Ok(false) };
        Ok(kill(Pid::from_raw(pid), Signal::SIGKILL).is_ok())
    }

    /// Kills a backend while it commits, so that nobody learns whether it did.
    pub async fn kill_commit(&self) -> Result<bool, Box<dyn Error>> {
        let one = "select pid from pg_stat_activity where datname = 'core_api' and state = 'active'
            and query ~* '^ *(commit|prepare transaction)' limit 1";
        let Some(pid) = self.query(one, COMMIT_ATTEMPTS).await? else { return Ok(false) };
        Ok(kill(Pid::from_raw(pid), Signal::SIGKILL).is_ok())
    }

    /// Terminates a few connections of replicas or other nodes.
    pub async fn terminate_backends(&self) -> Result<bool, Box<dyn Error>> {
        let few = "select count(pg_terminate_backend(pid))::int4 from (select pid from pg_stat_activity
            where datname = 'core_api' and backend_type = 'client backend' order by state = 'active' desc, random() limit 5) few";
        Ok(self.query(few, 1).await?.is_some_and(|ended| ended > 0))
    }

    /// Terminates a connection while it commits.
    pub async fn terminate_commit(&self) -> Result<bool, Box<dyn Error>> {
        let one = "select pg_terminate_backend(pid)::int4 from pg_stat_activity where datname = 'core_api' and state = 'active'
            and query ~* '^ *(commit|prepare transaction)' limit 1";
        Ok(self.query(one, COMMIT_ATTEMPTS).await? == Some(1))
    }

    /// Waits until Postgres accepts statements again.
    pub async fn wait(&self) -> Result<(), Box<dyn Error>> {
        for _ in 0..240 {
            if self.query("select 1", 1).await.is_ok() {
                return Ok(());
            }
            sleep(Duration::from_millis(250)).await;
        }
        Err("Postgres did not come back".into())
    }

    /// Stops Postgres and completes its log.
    pub async fn stop(mut self) -> Result<(), Box<dyn Error>> {
        if let Some(postgres) = self.postgres.take() {
            tokio::task::spawn_blocking(move || postgres.stop()).await??;
        }
        self.append_log()
    }

    /// The number of commits of several nodes that are not complete.
    pub async fn open_commits(&self) -> Result<i32, Box<dyn Error>> {
        Ok(self.query("select count(*)::int4 from pg_prepared_xacts", 1).await?.unwrap_or_default())
    }

    /// The number that a statement returns in at most so many attempts, on a connection to a database that the service does
    /// not use.
    async fn query(&self, sql: &'static str, attempts: usize) -> Result<Option<i32>, Box<dyn Error>> {
        let options = self.options()?.database("postgres");
        let query = async {
            let mut connection = PgConnection::connect_with(&options).await?;
            let mut number = None;
            for _ in 0..attempts {
                number = connection.fetch_optional(sql).await?.map(|row| row.try_get(0)).transpose()?;
                if number.is_some() {
                    break;
                }
            }
            connection.close().await?;
            Ok::<_, sqlx::Error>(number)
        };
        Ok(timeout(TIMEOUT, query).await??)
    }

    /// Appends the log of the last run to the collected log, since each start begins a new one.
    fn append_log(&self) -> Result<(), Box<dyn Error>> {
        let run = self.data.parent().map(|folder| fs::read(folder.join("postgres.log"))).ok_or("the data folder has no parent")??;
        Ok(OpenOptions::new().create(true).append(true).open(&self.log)?.write_all(&run)?)
    }
}

async fn launch(folder: &Path) -> Result<PrivatePostgres, PrivateError> {
    match citus::programs() {
        Some(programs) => citus::start_node(&programs, folder, &CITUS_SETTINGS).await,
        None => PrivatePostgres::start(folder, &SETTINGS).await,
    }
}
