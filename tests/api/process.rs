//! The binary itself: the sandbox with its own Postgres, however it ends, and what it refuses to start with.

use std::{
    fs,
    io::{BufRead, BufReader, Read},
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use nix::{
    sys::signal::{Signal, kill},
    unistd::{Pid, Uid},
};
use serde_json::json;
use tempfile::TempDir;

use crate::support::{Actor, Database, World};

fn folder() -> TempDir {
    tempfile::Builder::new().prefix("core-api-test").tempdir_in("/tmp").expect("a folder")
}

fn command(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_core-api"));
    command
        .env_remove("DATABASE_URL")
        .env("CORE_API__SERVER__LISTEN", "127.0.0.1:0")
        .env("CORE_API__DATABASE__DATA_DIR", folder.join("data"));
    command
}

/// A sandbox that is up.
struct Sandbox {
    process: Child,
    folder: PathBuf,
    actor: Actor,
}

impl Sandbox {
    fn start(folder: &Path) -> Self {
        Self::from(command(folder), folder)
    }

    fn from(mut command: Command, folder: &Path) -> Self {
        let mut process = command.stdout(Stdio::piped()).spawn().expect("started");
        let mut lines = BufReader::new(process.stdout.take().expect("its output")).lines();
        let base = loop {
            let line = lines.next().expect("an address before the end").expect("text");
            if let Some((_, base)) = line.split_once("up at ") {
                break base.to_owned();
            }
        };
        // Read on, or the process would stall once the pipe is full.
        std::thread::spawn(move || lines.for_each(drop));
        Self { process, folder: folder.to_owned(), actor: Actor::new(&base) }
    }

    fn signal(&mut self, signal: Signal) -> Option<i32> {
        kill(Pid::from_raw(self.process.id().try_into().expect("a pid")), signal).expect("signalled");
        self.process.wait().expect("ended").code()
    }

    /// Processes that still work in the folder.
    fn left_behind(&self) -> Vec<i32> {
        let works_here = |pid: &i32| fs::read_link(format!("/proc/{pid}/cwd")).is_ok_and(|cwd| cwd.starts_with(&self.folder));
        let pids = fs::read_dir("/proc").expect("processes").flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        pids.filter(works_here).collect()
    }

    fn assert_nothing_is_left_behind(&self) {
        let began = Instant::now();
        while !self.left_behind().is_empty() {
            assert!(began.elapsed() < Duration::from_secs(10), "{:?} still run", self.left_behind());
            sleep(Duration::from_millis(20));
        }
    }

    async fn admin(&self) -> Actor {
        self.actor.logged_in("test@example.com", "test123").await
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        let _ended = self.process.kill();
        let _reaped = self.process.wait();
    }
}

#[tokio::test]
async fn data_is_kept_and_nothing_left_behind_however_it_ends() {
    let folder = folder();
    let signals = [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP, Signal::SIGKILL, Signal::SIGKILL, Signal::SIGTERM];
    for (cards, signal) in signals.into_iter().enumerate() {
        let mut sandbox = Sandbox::start(folder.path());
        let admin = sandbox.admin().await;
        let listed = admin.get("/cards").await.ok()["cards"].as_array().expect("a list").clone();
        assert_eq!(listed.len(), cards);
        assert!(listed.iter().all(|card| card["balance"] == 5), "{listed:?}");
        admin.given_card_with(json!(5)).await;
        let code = sandbox.signal(signal);
        assert_eq!(code, (signal != Signal::SIGKILL).then_some(0), "{signal}");
        sandbox.assert_nothing_is_left_behind();
    }
}

#[tokio::test]
async fn a_postgres_left_alone_is_ended_by_the_next_start() {
    let folder = folder();
    let mut sandbox = Sandbox::start(folder.path());
    let card = sandbox.admin().await.given_card_with(json!(5)).await;
    // The server and the shell that would stop Postgres, at once.
    let pid = fs::read_to_string(folder.path().join("data/data/postmaster.pid")).expect("a pid file");
    let postmaster: i32 = pid.lines().next().expect("a pid").parse().expect("a number");
    for shell in sandbox.left_behind() {
        if fs::read_to_string(format!("/proc/{shell}/comm")).is_ok_and(|name| name.trim() == "sh") {
            let _gone = kill(Pid::from_raw(shell), Signal::SIGKILL);
        }
    }
    sandbox.signal(Signal::SIGKILL);
    assert!(sandbox.left_behind().contains(&postmaster), "Postgres went by itself");

    let mut next = Sandbox::start(folder.path());
    assert!(!next.left_behind().contains(&postmaster), "two on one folder");
    assert_eq!(next.admin().await.card(&card).await["balance"], 5);
    next.signal(Signal::SIGTERM);
    next.assert_nothing_is_left_behind();
}

#[tokio::test]
async fn it_runs_as_somebody_who_is_not_root_as_well() {
    if !Uid::effective().is_root() {
        return; // Then every other test here shows it.
    }
    let folder = folder();
    let nobody = nix::unistd::User::from_name("nobody").expect("users").expect("nobody");
    nix::unistd::chown(folder.path(), Some(nobody.uid), Some(nobody.gid)).expect("given away");
    let mut command = command(folder.path());
    command.uid(nobody.uid.as_raw()).gid(nobody.gid.as_raw()).current_dir(folder.path());
    let mut sandbox = Sandbox::from(command, folder.path());
    sandbox.admin().await.given_card_with(json!(5)).await;
    assert_eq!(sandbox.signal(Signal::SIGTERM), Some(0));
    sandbox.assert_nothing_is_left_behind();
}

#[tokio::test]
async fn two_sandboxes_do_not_share_a_folder() {
    let folder = folder();
    let sandbox = Sandbox::start(folder.path());
    let refused = run(&mut command(folder.path()));
    assert_refused(&refused, "in use by another core-api");
    sandbox.admin().await.get("/cards").await.ok();
}

fn run(command: &mut Command) -> Output {
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

#[track_caller]
fn assert_refused(output: &Output, why: &str) {
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains(why), "{said}");
    assert!(!said.contains("hunter2"), "a secret is shown: {said}");
}

fn url(database: &Database) -> String {
    let socket = database.options.get_socket().expect("a socket").display().to_string();
    let name = database.options.get_database().expect("a name");
    format!("postgres://core_api:hunter2@localhost/{name}?host={socket}")
}

fn key(bytes: usize) -> String {
    format!("k1:{}", STANDARD.encode(vec![7; bytes]))
}

#[tokio::test]
async fn production_refuses_to_start_without_what_makes_it_safe() {
    let empty = Database::empty().await;
    let production = || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_core-api"));
        command.env("CORE_API_ENV", "production").env_remove("DATABASE_URL").env("CORE_API__SERVER__LISTEN", "127.0.0.1:0");
        command
    };
    assert_refused(&run(production().env("CORE_API__AUTH__SIGNING_KEYS", key(32))), "DATABASE_URL is not set");
    assert_refused(&run(production().env("DATABASE_URL", url(&empty))), "SIGNING_KEYS is not set");
    assert_refused(&run(production().env("DATABASE_URL", url(&empty)).env("CORE_API__AUTH__SIGNING_KEYS", key(31))), "fewer than 32 bytes");
    assert_refused(&run(production().env("DATABASE_URL", url(&empty)).env("CORE_API__AUTH__SIGNING_KEYS", "hunter2")), "kid:base64");
    assert_eq!(empty.number("select count(*) from pg_tables where schemaname = 'public'").await, 0, "a refused start left something");

    let sandbox = World::new().await.database;
    assert_refused(
        &run(production().env("DATABASE_URL", url(&sandbox)).env("CORE_API__AUTH__SIGNING_KEYS", key(32))),
        "this database is the sandbox's",
    );

    let name = empty.options.get_database().expect("a name").to_owned();
    empty.execute(&format!("alter database {name} set synchronous_commit = off")).await;
    assert_refused(
        &run(production().env("DATABASE_URL", url(&empty)).env("CORE_API__AUTH__SIGNING_KEYS", key(32))),
        "synchronous_commit = off",
    );
}

#[tokio::test]
async fn settings_that_are_none_are_refused_by_name() {
    let folder = folder();
    assert_refused(&run(command(folder.path()).env("CORE_API_ENV", "staging")), "CORE_API_ENV");
    assert_refused(&run(command(folder.path()).env("CORE_API__RATE_LIMIT__PER_HOUR", "many")), "rate_limit.per_hour");
    assert_refused(&run(command(folder.path()).env("DATABASE_URL", "mysql://hunter2@db")), "DATABASE_URL is not a Postgres URL");
    assert!(!folder.path().join("data").exists());
}

#[tokio::test]
async fn people_are_created_from_the_command_line_and_log_in() {
    let world = World::new().await;
    let accounts = |arguments: &[&str], input: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_core-api"));
        command.args(arguments).env("DATABASE_URL", url(&world.database)).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = command.spawn().expect("started");
        std::io::Write::write_all(&mut process.stdin.take().expect("its input"), input.as_bytes()).expect("written");
        let mut said = String::new();
        process.stdout.take().expect("its output").read_to_string(&mut said).expect("text");
        (process.wait().expect("ended").success(), said.trim().to_owned())
    };
    let (created, account) = accounts(&["account", "create", "Acme", "--rate-limit", "7"], "");
    assert!(created && account.starts_with("acc_"), "{account}");
    let user = ["user", "create", "--account", &account, "--email", "ana@acme.com", "--role", "viewer"];
    let (created, id) = accounts(&user, "a long enough password\n");
    assert!(created && id.starts_with("usr_"), "{id}");
    assert!(!accounts(&user, "a long enough password\n").0, "an email twice");
    let ana = world.stranger().logged_in("ana@acme.com", "a long enough password").await;
    assert_eq!(ana.get("/cards").await.number("x-ratelimit-limit"), 7);
    ana.post("/cards", json!({"currency": "USD"})).await.problem(403, "insufficient_permissions");

    assert!(accounts(&["user", "disable", "--account", &account, &id], "").0);
    ana.get("/cards").await.problem(401, "unauthenticated");
}
