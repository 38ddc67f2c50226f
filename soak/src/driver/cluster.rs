//! The Postgres of the soak: durable, private, and killed now and then.

use std::{
    error::Error,
    fs::{self, OpenOptions},
    io::Write,
    path::{Path, PathBuf},
    time::Duration,
};

use core_api::database::private::PrivatePostgres;
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use sqlx::{Connection, Executor, PgConnection, Row};
use tokio::time::{sleep, timeout};

/// Everything else is Postgres' own, above all `fsync` and `synchronous_commit`.
const SETTINGS: [&str; 1] = ["max_connections=200"];

/// How often a start is tried: backends that outlive their postmaster keep the next one out for a moment.
const START_TRIES: usize = 20;

/// How long a statement to an ailing Postgres may take, the connection included.
const PATIENCE: Duration = Duration::from_secs(10);

/// Postgres, and where it keeps things.
#[derive(Debug)]
pub struct Cluster {
    // None only between two of its lives.
    postgres: Option<PrivatePostgres>,
    folder: PathBuf,
    data: PathBuf,
    log: PathBuf,
}

impl Cluster {
    /// Starts Postgres in a folder. `log` collects what all its lives had to say.
    pub async fn start(folder: &Path, log: &Path) -> Result<Self, Box<dyn Error>> {
        let postgres = PrivatePostgres::start(folder, &SETTINGS).await?;
        let mut connection = PgConnection::connect_with(&postgres.options()).await?;
        let durable = "select current_setting('data_directory'), current_setting('fsync') || current_setting('synchronous_commit')";
        let row = connection.fetch_one(durable).await?;
        let (data, safety): (String, String) = (row.try_get(0)?, row.try_get(1)?);
        connection.close().await?;
        if safety != "onon" {
            return Err("a soak on a Postgres that is not durable proves nothing".into());
        }
        Ok(Self { postgres: Some(postgres), folder: folder.to_owned(), data: data.into(), log: log.to_owned() })
    }

    /// The `DATABASE_URL` of the replicas; the same after every restart.
    pub fn url(&self) -> Result<String, Box<dyn Error>> {
        let options = self.postgres()?.options();
        let socket = options.get_socket().ok_or("Postgres has no socket")?.display().to_string();
        Ok(format!("postgres://core_api@localhost/core_api?host={socket}"))
    }

    /// Kills the postmaster, and starts another on the same data.
    pub async fn kill_postmaster(&mut self) -> Result<(), Box<dyn Error>> {
        let file = fs::read_to_string(self.data.join("postmaster.pid"))?;
        let pid = file.lines().next().ok_or("an empty postmaster.pid")?.trim().parse()?;
        kill(Pid::from_raw(pid), Signal::SIGKILL)?;
        let postgres = self.postgres.take();
        tokio::task::spawn_blocking(move || drop(postgres)).await?;
        self.keep_log()?;
        let mut last = None;
        for _ in 0..START_TRIES {
            match PrivatePostgres::start(&self.folder, &SETTINGS).await {
                Ok(postgres) => {
                    self.postgres = Some(postgres);
                    return Ok(());
                }
                Err(error) => last = Some(error),
            }
            self.keep_log()?;
            sleep(Duration::from_millis(500)).await;
        }
        Err(last.map_or_else(|| "Postgres was never started".into(), Into::into))
    }

    /// Kills a backend that serves a replica; Postgres then ends all of them and recovers.
    pub async fn kill_backend(&self) -> Result<bool, Box<dyn Error>> {
        let one = "select pid from pg_stat_activity where datname = 'core_api' and backend_type = 'client backend'
            order by state = 'active' desc, random() limit 1";
        let Some(pid) = self.ask(one).await? else { return Ok(false) };
        Ok(kill(Pid::from_raw(pid), Signal::SIGKILL).is_ok())
    }

    /// Ends a few of the replicas' connections.
    pub async fn terminate_backends(&self) -> Result<bool, Box<dyn Error>> {
        let few = "select count(pg_terminate_backend(pid))::int4 from (select pid from pg_stat_activity
            where datname = 'core_api' and backend_type = 'client backend' order by state = 'active' desc, random() limit 5) few";
        Ok(self.ask(few).await?.is_some_and(|ended| ended > 0))
    }

    /// Waits until Postgres takes statements again.
    pub async fn wait(&self) -> Result<(), Box<dyn Error>> {
        for _ in 0..240 {
            if self.ask("select 1").await.is_ok() {
                return Ok(());
            }
            sleep(Duration::from_millis(250)).await;
        }
        Err("Postgres did not come back".into())
    }

    /// Stops it in order, and completes its log.
    pub async fn stop(mut self) -> Result<(), Box<dyn Error>> {
        if let Some(postgres) = self.postgres.take() {
            tokio::task::spawn_blocking(move || postgres.stop()).await??;
        }
        self.keep_log()
    }

    /// One number, by the superuser, on a connection to another database than the service's.
    async fn ask(&self, sql: &'static str) -> Result<Option<i32>, Box<dyn Error>> {
        let options = self.postgres()?.options().database("postgres");
        let asked = async {
            let mut connection = PgConnection::connect_with(&options).await?;
            let row = connection.fetch_optional(sql).await?;
            let number = row.map(|row| row.try_get(0)).transpose()?;
            connection.close().await?;
            Ok::<_, sqlx::Error>(number)
        };
        Ok(timeout(PATIENCE, asked).await??)
    }

    fn postgres(&self) -> Result<&PrivatePostgres, Box<dyn Error>> {
        self.postgres.as_ref().ok_or_else(|| "Postgres is down".into())
    }

    /// Each start begins a new log, so what the last life said is put aside.
    fn keep_log(&self) -> Result<(), Box<dyn Error>> {
        let said = self.data.parent().map(|folder| fs::read(folder.join("postgres.log"))).ok_or("data has no folder")??;
        Ok(OpenOptions::new().create(true).append(true).open(&self.log)?.write_all(&said)?)
    }
}
