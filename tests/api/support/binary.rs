//! The binary itself, as a process.

use std::{
    io::{BufRead, BufReader},
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

/// A folder of a test's own, with a short path that everybody can reach.
pub fn folder() -> TempDir {
    let folder = tempfile::Builder::new().prefix("core-api-test").tempdir_in("/tmp").expect("a folder");
    std::fs::set_permissions(folder.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).expect("opened");
    folder
}

/// The binary, with nothing of the environment that this test was started in but where programs are.
pub fn bare(program: impl AsRef<std::ffi::OsStr>) -> Command {
    let mut command = Command::new(program);
    command.env_clear().env("CORE_API__SERVER__LISTEN", "127.0.0.1:0");
    command.envs(["PATH", "PG_BIN"].iter().filter_map(|name| Some((name, std::env::var_os(name)?))));
    command
}

/// The sandbox, with its data in the folder.
pub fn sandbox(folder: &Path) -> Command {
    at(env!("CARGO_BIN_EXE_core-api"), folder)
}

/// The sandbox, by another copy of the binary.
pub fn at(program: impl AsRef<std::ffi::OsStr>, folder: &Path) -> Command {
    let mut command = bare(program);
    command.env("CORE_API__DATABASE__DATA_DIR", folder.join("data"));
    command
}

/// Where a sandbox that was started with its output piped serves, once it does.
pub fn base(process: &mut Child) -> String {
    let mut lines = BufReader::new(process.stdout.take().expect("its output")).lines();
    let base = loop {
        let line = lines.next().expect("an address before the end").expect("text");
        if let Some((_, base)) = line.split_once("up at ") {
            break base.to_owned();
        }
    };
    // Read on, or the process would stall once the pipe is full.
    std::thread::spawn(move || lines.for_each(drop));
    base
}

/// A server whose log is kept.
pub struct Logged {
    process: Child,
    pub base: String,
    reading: JoinHandle<Vec<String>>,
}

impl Logged {
    pub fn start(command: &mut Command) -> Self {
        let mut process =
            command.env("CORE_API__LOG__FORMAT", "json").stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("started");
        let errors = BufReader::new(process.stderr.take().expect("its log"));
        let reading = std::thread::spawn(move || errors.lines().map(|line| line.expect("text")).collect());
        Self { base: base(&mut process), process, reading }
    }

    /// Tells it to end, and gives its log once it has.
    pub fn end(self) -> Vec<String> {
        self.tell_to_end();
        self.log()
    }

    pub fn tell_to_end(&self) {
        kill(Pid::from_raw(self.process.id().try_into().expect("a pid")), Signal::SIGTERM).expect("signalled");
    }

    /// Its log, once it has ended.
    pub fn log(mut self) -> Vec<String> {
        assert!(self.process.wait().expect("ended").success());
        self.reading.join().expect("read")
    }
}

/// Runs a command that ends by itself.
pub fn run(command: &mut Command) -> Output {
    let mut process = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("started");
    let began = Instant::now();
    while process.try_wait().expect("watched").is_none() {
        if began.elapsed() > Duration::from_secs(40) {
            process.kill().expect("killed");
            panic!("it did not end by itself");
        }
        sleep(Duration::from_millis(20));
    }
    process.wait_with_output().expect("its output")
}

/// It ended with an error that says this, and shows no secret.
#[track_caller]
pub fn assert_refused(output: &Output, why: &str) {
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains(why), "{said}");
    assert!(!said.contains("hunter2"), "a secret is shown: {said}");
}
