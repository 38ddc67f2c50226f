//! The server that is measured.

use std::{
    fs::{self, File},
    net::{SocketAddr, TcpListener},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use tokio::time::sleep;

use crate::{Failure, account, http::Connection};

/// Connections that it takes at once, beyond those that are measured.
const MAX_CONNECTIONS: &str = "8192";

/// A server that is ready. Dropping it kills it.
#[derive(Debug)]
pub struct Server {
    process: Child,
    address: SocketAddr,
    log: PathBuf,
    /// How long it took from its start until it was ready.
    pub took: Duration,
}

impl Server {
    /// Starts it, and waits until it is ready.
    pub async fn start(binary: &Path, database: &str, folder: &Path) -> Result<Self, Failure> {
        let address = TcpListener::bind(("127.0.0.1", 0))?.local_addr()?;
        let mut command = Command::new(binary);
        command.env_clear().env("CORE_API_ENV", "sandbox").env("DATABASE_URL", database).current_dir(folder);
        command.env("CORE_API__SERVER__LISTEN", address.to_string()).env("CORE_API__SERVER__MAX_CONNECTIONS", MAX_CONNECTIONS);
        command.env("CORE_API__RATE_LIMIT__PER_HOUR", "1000000000").env("CORE_API__LOG__LEVEL", "error");
        let path = folder.join("server.log");
        let log = File::options().create(true).append(true).open(&path)?;
        let began = Instant::now();
        let process = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn()?;
        let mut server = Self { process, address, log: path, took: Duration::ZERO };
        while began.elapsed() < Duration::from_secs(30) {
            if let Some(status) = server.process.try_wait()? {
                return Err(format!("the server ended with {status} while it started: {}", server.said()).into());
            }
            if let Ok(mut connection) = Connection::open(address).await
                && connection.ask(account::ready()).await.is_ok()
            {
                server.took = began.elapsed();
                return Ok(server);
            }
            sleep(Duration::from_millis(1)).await;
        }
        Err(format!("the server was not ready within 30 seconds: {}", server.said()).into())
    }

    /// Where it serves.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its resident memory, in kilobytes; none where the system does not tell.
    pub fn memory(&self) -> Option<u64> {
        self.status("VmRSS:")
    }

    /// The most that it was since `forget_peak`.
    pub fn peak(&self) -> Option<u64> {
        self.status("VmHWM:")
    }

    /// Has the system watch for a new peak from now on.
    pub fn forget_peak(&self) -> Result<(), Failure> {
        let path = format!("/proc/{}/clear_refs", self.process.id());
        fs::write(&path, "5").map_err(|error| format!("{path}: {error}").into())
    }

    fn status(&self, name: &str) -> Option<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.process.id())).ok()?;
        kilobytes(&status, name)
    }

    /// Asks it to end, and waits until it has.
    pub async fn stop(mut self) -> Result<(), Failure> {
        kill(Pid::from_raw(i32::try_from(self.process.id())?), Signal::SIGTERM)?;
        for _ in 0..3_000 {
            if let Some(status) = self.process.try_wait()? {
                let said = self.said();
                let well = status.success() && said.is_empty();
                return if well { Ok(()) } else { Err(format!("the server ended with {status} and said: {said}").into()) };
            }
            sleep(Duration::from_millis(10)).await;
        }
        Err("the server did not end after SIGTERM".into())
    }

    fn said(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _gone = self.process.kill();
        let _reaped = self.process.wait();
    }
}

fn kilobytes(status: &str, name: &str) -> Option<u64> {
    status.lines().find_map(|line| line.strip_prefix(name))?.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_parsed_from_the_process_status() {
        let status = "VmHWM:\t  20000 kB\nVmRSS:\t   12345 kB\n";
        assert_eq!((kilobytes(status, "VmRSS:"), kilobytes(status, "VmHWM:")), (Some(12_345), Some(20_000)));
        assert_eq!(kilobytes("", "VmRSS:"), None);
    }
}
