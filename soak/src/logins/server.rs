//! The Postgres and the server that are attacked.

use std::{
    error::Error,
    fs::{self, File},
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use core_api::database::private::PrivatePostgres;
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use sqlx::{Connection, Executor, PgConnection};
use tokio::time::sleep;

use super::door::Door;

/// A Postgres, and where servers on it come from.
#[derive(Debug)]
pub struct Site {
    postgres: PrivatePostgres,
    binary: PathBuf,
    folder: PathBuf,
}

impl Site {
    /// Starts Postgres, as durable as in production.
    pub async fn start(binary: &Path, folder: &Path) -> Result<Self, Box<dyn Error>> {
        let postgres = PrivatePostgres::start(&folder.join("postgres"), &[]).await?;
        Ok(Self { postgres, binary: binary.to_owned(), folder: folder.to_owned() })
    }

    /// One server behind one proxy, with the settings of the sandbox but for these and the quota.
    pub async fn serve(&self, settings: &[(&str, &str)]) -> Result<Server, Box<dyn Error>> {
        let options = self.postgres.options();
        let socket = options.get_socket().ok_or("Postgres has no socket")?.display().to_string();
        let port = TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port();
        let mut command = Command::new(&self.binary);
        command.env_clear().env("CORE_API_ENV", "sandbox");
        command.env("DATABASE_URL", format!("postgres://core_api@localhost/core_api?host={socket}"));
        command.env("CORE_API__SERVER__LISTEN", format!("127.0.0.1:{port}")).env("CORE_API__SERVER__TRUSTED_HOPS", "1");
        command.env("CORE_API__RATE_LIMIT__PER_HOUR", "1000000000").env("CORE_API__LOG__LEVEL", "error");
        command.envs(settings.iter().map(|(key, value)| (format!("CORE_API__RATE_LIMIT__{key}"), value)));
        let log = File::options().create(true).append(true).open(self.folder.join("server.log"))?;
        let process = command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).spawn()?;
        let server = Server { process, base: format!("http://127.0.0.1:{port}") };
        server.wait().await?;
        Ok(server)
    }

    /// Runs a statement behind the server's back.
    pub async fn execute(&self, sql: &'static str) -> Result<(), Box<dyn Error>> {
        let mut connection = PgConnection::connect_with(&self.postgres.options()).await?;
        connection.execute(sql).await?;
        Ok(connection.close().await?)
    }

    /// Stops Postgres.
    pub async fn stop(self) -> Result<(), Box<dyn Error>> {
        Ok(tokio::task::spawn_blocking(move || self.postgres.stop()).await??)
    }
}

/// A server. Dropping it kills it.
#[derive(Debug)]
pub struct Server {
    process: Child,
    base: String,
}

impl Server {
    /// A client with connections of its own.
    pub fn door(&self) -> Result<Door, Box<dyn Error>> {
        Door::to(&self.base)
    }

    /// The most memory that it ever had, in megabytes; none where the system does not tell.
    pub fn peak_megabytes(&self) -> Option<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.process.id())).ok()?;
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
        peak.split_whitespace().next()?.parse().ok().map(|kilobytes: u64| kilobytes / 1024)
    }

    /// Asks it to end, and waits until it has.
    pub async fn end(mut self) -> Result<(), Box<dyn Error>> {
        kill(Pid::from_raw(i32::try_from(self.process.id())?), Signal::SIGTERM)?;
        for _ in 0..1500 {
            if self.process.try_wait()?.is_some() {
                return Ok(());
            }
            sleep(Duration::from_millis(20)).await;
        }
        Err("the server did not end after SIGTERM".into())
    }

    async fn wait(&self) -> Result<(), Box<dyn Error>> {
        let door = self.door()?;
        for _ in 0..600 {
            if door.get("", "/health/ready").await.is_ok_and(|answer| answer.status == 200) {
                return Ok(());
            }
            sleep(Duration::from_millis(50)).await;
        }
        Err("the server did not come up".into())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _gone = self.process.kill();
        let _reaped = self.process.wait();
    }
}
