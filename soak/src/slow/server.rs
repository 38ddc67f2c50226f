//! The server that is measured: the sandbox on a Postgres of its own, with its own deadlines.

use std::{
    error::Error,
    fs::{self, DirBuilder, File},
    io::{BufRead as _, BufReader},
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

/// A server that is up. Dropping it kills it, and its Postgres ends with it.
#[derive(Debug)]
pub struct Server {
    process: Child,
    base: String,
    folder: PathBuf,
}

impl Server {
    /// Starts it, and waits until it serves.
    pub fn start(binary: &Path) -> Result<Self, Box<dyn Error>> {
        let binary = binary.canonicalize().map_err(|error| format!("{}: {error}", binary.display()))?;
        let folder = PathBuf::from(format!("/tmp/core-api-slow-{}", std::process::id()));
        // The user that Postgres runs as must be able to pass through.
        DirBuilder::new().mode(0o755).create(&folder)?;
        let mut command = Command::new(binary);
        command.env_clear().env("CORE_API_ENV", "sandbox").env("CORE_API__SERVER__LISTEN", "127.0.0.1:0");
        command.env("CORE_API__DATABASE__DATA_DIR", folder.join("data"));
        command.env("CORE_API__RATE_LIMIT__PER_HOUR", "1000000000").env("CORE_API__LOG__LEVEL", "warn");
        command.envs(["PATH", "PG_BIN"].iter().filter_map(|name| Some((name, std::env::var_os(name)?))));
        let log = File::create(folder.join("server.log"))?;
        let process = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(log).spawn()?;
        let mut server = Self { process, base: String::new(), folder };
        let mut lines = BufReader::new(server.process.stdout.take().ok_or("no output")?).lines();
        while let Some(line) = lines.next().transpose()? {
            if let Some((_, base)) = line.split_once("up at ") {
                base.clone_into(&mut server.base);
                // Read on, or it would stall once the pipe is full.
                thread::spawn(move || lines.for_each(drop));
                return Ok(server);
            }
        }
        Err(format!("the server ended while it started: {}", fs::read_to_string(server.folder.join("server.log"))?).into())
    }

    /// Where it serves.
    pub fn base(&self) -> &str {
        &self.base
    }

    /// The same as a socket wants it.
    pub fn address(&self) -> &str {
        self.base.trim_start_matches("http://")
    }

    /// Asks it to end, and sees that nothing went wrong in it.
    pub fn stop(mut self) -> Result<(), Box<dyn Error>> {
        kill(Pid::from_raw(i32::try_from(self.process.id())?), Signal::SIGTERM)?;
        let status = self.process.wait()?;
        let log = fs::read_to_string(self.folder.join("server.log"))?;
        if status.success() && log.is_empty() { Ok(()) } else { Err(format!("the server ended with {status} and said: {log}").into()) }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _gone = self.process.kill();
        let _reaped = self.process.wait();
        let _removed = fs::remove_dir_all(&self.folder);
    }
}
