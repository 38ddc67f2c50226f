//! The server under test.

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

use crate::{Failure, http::Connection};

const READY: &[u8] = b"GET /health/ready HTTP/1.1\r\nHost: localhost\r\n\r\n";

/// A ready server. Dropping it kills it.
#[derive(Debug)]
pub struct Server {
    process: Child,
    address: SocketAddr,
    log: PathBuf,
    /// The time from its start until it was ready.
    pub startup: Duration,
}

impl Server {
    /// Starts the sandbox without a quota, and waits until it is ready.
    ///
    /// # Errors
    ///
    /// The server does not become ready.
    pub(crate) async fn start(
        binary: &Path,
        database: &str,
        folder: &Path,
        settings: impl Iterator<Item = (&'static str, &'static str)>,
    ) -> Result<Self, Failure> {
        let address = TcpListener::bind(("127.0.0.1", 0))?.local_addr()?;
        let mut command = Command::new(binary);
        command.env_clear().env("CORE_API_ENV", "sandbox").env("DATABASE_URL", database).current_dir(folder);
        command.env("CORE_API__SERVER__LISTEN", address.to_string()).env("CORE_API__RATE_LIMIT__PER_HOUR", "1000000000");
        command.env("CORE_API__LOG__LEVEL", "error").envs(settings);
        let path = folder.join("server.log");
        let log = File::options().create(true).append(true).open(&path)?;
        let began = Instant::now();
        let process = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn()?;
        let mut server = Self { process, address, log: path, startup: Duration::ZERO };
        while began.elapsed() < Duration::from_secs(30) {
            if let Some(status) = server.process.try_wait()? {
                return Err(format!("the server ended with {status} during its start: {}", server.read_log()).into());
            }
            if let Ok(mut connection) = Connection::open(address).await
                && connection.send(READY).await.is_ok()
            {
                server.startup = began.elapsed();
                return Ok(server);
            }
            sleep(Duration::from_millis(1)).await;
        }
        Err(format!("the server was not ready within 30 seconds: {}", server.read_log()).into())
    }

    /// The address that it serves on.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its resident memory in kilobytes, if the system reports it.
    pub fn memory(&self) -> Option<u64> {
        self.status("VmRSS:")
    }

    /// The peak of its resident memory in kilobytes, since its start or `reset_peak`.
    pub fn peak_memory(&self) -> Option<u64> {
        self.status("VmHWM:")
    }

    /// Starts a new measurement of the peak.
    ///
    /// # Errors
    ///
    /// The system does not support it.
    pub fn reset_peak(&self) -> Result<(), Failure> {
        let path = format!("/proc/{}/clear_refs", self.process.id());
        fs::write(&path, "5").map_err(|error| format!("{path}: {error}").into())
    }

    fn status(&self, name: &str) -> Option<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.process.id())).ok()?;
        kilobytes(&status, name)
    }

    /// Stops it with SIGTERM, and checks that it logged no error.
    ///
    /// # Errors
    ///
    /// It does not end, fails, or has logged an error.
    pub async fn stop(mut self) -> Result<(), Failure> {
        kill(Pid::from_raw(i32::try_from(self.process.id())?), Signal::SIGTERM)?;
        for _ in 0..3_000 {
            if let Some(status) = self.process.try_wait()? {
                let log = self.read_log();
                // Warnings about security are logged at every level, and an attack causes them.
                let errors: Vec<&str> = log.lines().filter(|line| !line.contains(" WARN ")).collect();
                let ok = status.success() && errors.is_empty();
                return if ok { Ok(()) } else { Err(format!("the server ended with {status} and logged: {}", errors.join("\n")).into()) };
            }
            sleep(Duration::from_millis(10)).await;
        }
        Err("the server did not end after SIGTERM".into())
    }

    fn read_log(&self) -> String {
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
