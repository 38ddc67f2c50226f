//! A replica of the service as a process. It keeps its port over restarts.

use std::{
    error::Error,
    fs::OpenOptions,
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use tokio::time::sleep;

/// The maximum time for a replica to end after SIGTERM: its drain time and a margin.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(30);

/// How long an attempt of a webhook may take.
pub const WEBHOOK_TIMEOUT: Duration = Duration::from_secs(2);

/// The number of ports to try.
const PORT_ATTEMPTS: usize = 200;

/// A replica. Dropping it kills it.
#[derive(Debug)]
pub struct Replica {
    service: Service,
    port: u16,
    log: PathBuf,
    process: Child,
}

impl Replica {
    /// Starts a replica, which may not be ready yet.
    pub fn start(service: &Service, log: PathBuf) -> Result<Self, Box<dyn Error>> {
        let port = free_port()?;
        let process = spawn(service, port, &log)?;
        Ok(Self { service: service.clone(), port, log, process })
    }

    /// Its base URL.
    pub fn base(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Restarts it if it has ended, for example because it started without a database. Returns whether it had.
    pub fn revive(&mut self) -> Result<bool, Box<dyn Error>> {
        if self.process.try_wait()?.is_none() {
            return Ok(false);
        }
        self.process = spawn(&self.service, self.port, &self.log)?;
        Ok(true)
    }

    /// Kills it, and restarts it after a pause.
    pub async fn kill(&mut self, pause: Duration) -> Result<(), Box<dyn Error>> {
        self.process.kill()?;
        self.process.wait()?;
        sleep(pause).await;
        self.revive().map(drop)
    }

    /// Stops it with SIGTERM and starts it again, as a deployment does.
    pub async fn restart(&mut self) -> Result<(), Box<dyn Error>> {
        self.stop().await?;
        self.revive().map(drop)
    }

    /// Stops it with SIGTERM, and waits until it has ended.
    pub async fn stop(&mut self) -> Result<(), Box<dyn Error>> {
        // A replica that has just ended by itself has no process to signal.
        if self.process.try_wait()?.is_some() {
            return Ok(());
        }
        self.signal(Signal::SIGTERM)?;
        let began = Instant::now();
        while self.process.try_wait()?.is_none() {
            if began.elapsed() > SHUTDOWN_TIMEOUT {
                return Err("a replica did not end after SIGTERM".into());
            }
            sleep(Duration::from_millis(20)).await;
        }
        Ok(())
    }

    /// Suspends it for a while.
    pub async fn freeze(&mut self, pause: Duration) -> Result<(), Box<dyn Error>> {
        if self.process.try_wait()?.is_some() {
            return Ok(());
        }
        self.signal(Signal::SIGSTOP)?;
        sleep(pause).await;
        self.signal(Signal::SIGCONT)
    }

    fn signal(&self, signal: Signal) -> Result<(), Box<dyn Error>> {
        // The process has not been reaped, so its id cannot have been reused.
        Ok(kill(Pid::from_raw(i32::try_from(self.process.id())?), signal)?)
    }
}

impl Drop for Replica {
    fn drop(&mut self) {
        let _gone = self.process.kill();
        let _reaped = self.process.wait();
    }
}

/// The program and its database.
#[derive(Clone, Debug)]
pub struct Service {
    /// The core-api binary.
    pub binary: PathBuf,
    /// Its `DATABASE_URL`.
    pub database_url: String,
    /// Whether the database is distributed by account.
    pub is_sharded: bool,
}

impl Service {
    /// The binary with the settings of the soak, and without the environment of this process.
    pub fn command(&self) -> Command {
        let mut command = Command::new(&self.binary);
        command.env_clear().env("DATABASE_URL", &self.database_url).env("CORE_API_ENV", "sandbox");
        command.env("CORE_API__RATE_LIMIT__PER_HOUR", "1000000000").env("CORE_API__API_KEYS__REQUESTS_PER_SECOND", "1000000");
        command.env("CORE_API__LOG__LEVEL", "warn").env("CORE_API__WEBHOOKS__TIMEOUT_SECONDS", WEBHOOK_TIMEOUT.as_secs().to_string());
        if self.is_sharded {
            command.env("CORE_API__DATABASE__SHARDED", "true");
        }
        command
    }
}

fn spawn(service: &Service, port: u16, log: &Path) -> Result<Child, Box<dyn Error>> {
    let log = OpenOptions::new().create(true).append(true).open(log)?;
    let mut command = service.command();
    command.env("CORE_API__SERVER__LISTEN", format!("127.0.0.1:{port}"));
    Ok(command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).spawn()?)
}

/// A port below the ephemeral range, from which an outgoing connection could take the port while nobody listens.
pub fn free_port() -> Result<u16, Box<dyn Error>> {
    for _ in 0..PORT_ATTEMPTS {
        let port = rand::random_range(20_000..32_000);
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return Ok(port);
        }
    }
    Err("no port is free".into())
}
