//! Three replicas of the service as processes, each on a port of its own that a restart keeps.

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

/// How long a replica may take to end after SIGTERM: its drain time and some more.
const PATIENCE: Duration = Duration::from_secs(30);

/// Ports tried for one replica.
const PORT_TRIES: usize = 200;

/// One replica. Dropping it kills it.
#[derive(Debug)]
pub struct Replica {
    binary: PathBuf,
    database_url: String,
    port: u16,
    log: PathBuf,
    process: Child,
}

impl Replica {
    /// Starts a replica, which may not be ready yet.
    pub fn start(binary: &Path, database_url: &str, log: PathBuf) -> Result<Self, Box<dyn Error>> {
        let port = free_port()?;
        let process = spawn(binary, database_url, port, &log)?;
        Ok(Self { binary: binary.to_owned(), database_url: database_url.to_owned(), port, log, process })
    }

    /// Where it serves.
    pub fn base(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Starts it again if it has ended by itself, as one that starts without a database does.
    pub fn revive(&mut self) -> Result<bool, Box<dyn Error>> {
        if self.process.try_wait()?.is_none() {
            return Ok(false);
        }
        self.process = spawn(&self.binary, &self.database_url, self.port, &self.log)?;
        Ok(true)
    }

    /// Ends it at once and starts it again after a while.
    pub async fn kill(&mut self, pause: Duration) -> Result<(), Box<dyn Error>> {
        self.process.kill()?;
        self.process.wait()?;
        sleep(pause).await;
        self.revive().map(drop)
    }

    /// Asks it to end, as a deployment does, and starts it again when it has.
    pub async fn roll(&mut self) -> Result<(), Box<dyn Error>> {
        self.end().await?;
        self.revive().map(drop)
    }

    /// Asks it to end, and waits until it has.
    pub async fn end(&mut self) -> Result<(), Box<dyn Error>> {
        // One that ended by itself a moment ago has no process to send a signal to.
        if self.process.try_wait()?.is_some() {
            return Ok(());
        }
        self.signal(Signal::SIGTERM)?;
        let began = Instant::now();
        while self.process.try_wait()?.is_none() {
            if began.elapsed() > PATIENCE {
                return Err("a replica did not end after SIGTERM".into());
            }
            sleep(Duration::from_millis(20)).await;
        }
        Ok(())
    }

    /// Stops it for a while in the middle of whatever it is doing.
    pub async fn freeze(&mut self, pause: Duration) -> Result<(), Box<dyn Error>> {
        if self.process.try_wait()?.is_some() {
            return Ok(());
        }
        self.signal(Signal::SIGSTOP)?;
        sleep(pause).await;
        self.signal(Signal::SIGCONT)
    }

    fn signal(&self, signal: Signal) -> Result<(), Box<dyn Error>> {
        // Not waited for yet, so the number is still this process'.
        Ok(kill(Pid::from_raw(i32::try_from(self.process.id())?), signal)?)
    }
}

impl Drop for Replica {
    fn drop(&mut self) {
        let _gone = self.process.kill();
        let _reaped = self.process.wait();
    }
}

fn spawn(binary: &Path, database_url: &str, port: u16, log: &Path) -> Result<Child, Box<dyn Error>> {
    let log = OpenOptions::new().create(true).append(true).open(log)?;
    let mut command = service(binary, database_url);
    command.env("CORE_API__SERVER__LISTEN", format!("127.0.0.1:{port}"));
    Ok(command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).spawn()?)
}

/// The binary with the settings of the soak and nothing else of the environment.
pub fn service(binary: &Path, database_url: &str) -> Command {
    let mut command = Command::new(binary);
    command.env_clear().env("DATABASE_URL", database_url).env("CORE_API_ENV", "sandbox");
    command.env("CORE_API__RATE_LIMIT__PER_HOUR", "1000000000").env("CORE_API__LOG__LEVEL", "warn");
    command
}

/// A port below those that the system gives to outgoing connections: one of these could take the
/// port while its replica is down.
fn free_port() -> Result<u16, Box<dyn Error>> {
    for _ in 0..PORT_TRIES {
        let port = rand::random_range(20_000..32_000);
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return Ok(port);
        }
    }
    Err("no free port".into())
}
