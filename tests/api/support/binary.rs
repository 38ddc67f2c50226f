//! The binary as a process.

use std::{
    io::{BufRead, BufReader},
    ops::{Deref, DerefMut},
    path::Path,
    process::{Child, Command, Output, Stdio},
    thread::{JoinHandle, sleep},
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use tempfile::TempDir;

use super::Database;

/// A temporary folder with a short path that every user can reach.
pub fn folder() -> TempDir {
    let folder = tempfile::Builder::new().prefix("core-api-test").tempdir_in("/tmp").expect("a folder");
    std::fs::set_permissions(folder.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).expect("permissions are set");
    folder
}

pub const CORE_API: &str = env!("CARGO_BIN_EXE_core-api");

/// The binary with an environment of its own.
pub fn core_api() -> Command {
    isolated(CORE_API)
}

/// The binary serving this database.
pub fn core_api_on(database: &Database) -> Command {
    let mut command = core_api();
    command.env("DATABASE_URL", database.url()).env("CORE_API__DATABASE__SHARDED", database.is_sharded.to_string());
    command
}

/// A program that inherits only where to find other programs.
pub fn isolated(program: impl AsRef<std::ffi::OsStr>) -> Command {
    let mut command = Command::new(program);
    command.env_clear().env("CORE_API__SERVER__LISTEN", "127.0.0.1:0");
    command.envs(["PATH", "PG_BIN"].iter().filter_map(|name| Some((name, std::env::var_os(name)?))));
    command
}

/// The sandbox with its data in the folder.
pub fn sandbox(folder: &Path) -> Command {
    sandbox_of(CORE_API, folder)
}

/// The sandbox of another copy of the binary.
pub fn sandbox_of(program: impl AsRef<std::ffi::OsStr>, folder: &Path) -> Command {
    let mut command = isolated(program);
    command.env("CORE_API__DATABASE__DATA_DIR", folder.join("data"));
    command
}

/// Waits until a server with piped output serves, and returns its base URL.
pub fn wait_for_base(process: &mut Child) -> String {
    let mut lines = BufReader::new(process.stdout.take().expect("piped output")).lines();
    let base = loop {
        let line = lines.next().expect("an address before the output ends").expect("text");
        if let Some((_, base)) = line.split_once("up at ") {
            break base.to_owned();
        }
    };
    // Keep reading: the process would block on a full pipe.
    std::thread::spawn(move || lines.for_each(drop));
    base
}

/// A server whose log is captured.
pub struct Logged {
    process: Process,
    pub base: String,
    reading: JoinHandle<Vec<String>>,
}

/// A process that does not outlive its test, also if that fails.
pub struct Process(Child);

impl Process {
    pub fn start(command: &mut Command) -> Self {
        Self(command.spawn().expect("the process starts"))
    }
}

impl Deref for Process {
    type Target = Child;

    fn deref(&self) -> &Child {
        &self.0
    }
}

impl DerefMut for Process {
    fn deref_mut(&mut self) -> &mut Child {
        &mut self.0
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // A process that has ended and was waited for is not killed.
        let _ended = self.0.kill();
        let _ended = self.0.wait();
    }
}

impl Logged {
    pub fn start(command: &mut Command) -> Self {
        let mut process = Process::start(command.env("CORE_API__LOG__FORMAT", "json").stdout(Stdio::piped()).stderr(Stdio::piped()));
        let errors = BufReader::new(process.stderr.take().expect("a piped log"));
        let reading = std::thread::spawn(move || errors.lines().map(|line| line.expect("text")).collect());
        Self { base: wait_for_base(&mut process), process, reading }
    }

    /// Stops the server and returns its log.
    pub fn stop(self) -> Vec<String> {
        self.terminate();
        self.log()
    }

    pub fn is_running(&mut self) -> bool {
        self.process.try_wait().expect("a process status").is_none()
    }

    pub fn terminate(&self) {
        signal(&self.process, Signal::SIGTERM);
    }

    /// Waits until the server has ended and returns its log.
    pub fn log(mut self) -> Vec<String> {
        assert!(self.process.wait().expect("an exit status").success());
        self.reading.join().expect("the log is read")
    }
}

pub fn signal(process: &Child, signal: Signal) {
    kill(Pid::from_raw(process.id().try_into().expect("a pid")), signal).expect("the signal is sent");
}

/// Runs a command that must end by itself.
pub fn run(command: &mut Command) -> Output {
    let mut process = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the command starts");
    let began = Instant::now();
    while process.try_wait().expect("a process status").is_none() {
        if began.elapsed() > Duration::from_secs(40) {
            process.kill().expect("the process is killed");
            panic!("the command did not end by itself");
        }
        sleep(Duration::from_millis(20));
    }
    process.wait_with_output().expect("its output")
}

/// Asserts that the command failed with this reason and printed no secret.
#[track_caller]
pub fn assert_refused(output: &Output, reason: &str) {
    let message = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{message}");
    assert!(message.contains(reason), "{message}");
    assert!(!message.contains("hunter2"), "a secret was printed: {message}");
}
