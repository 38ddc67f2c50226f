//! The sandbox as a process with its own Postgres, and every way it can end.

use std::{
    fs,
    os::unix::{fs::PermissionsExt, process::CommandExt},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::{Pid, Uid, User, chown},
};
use serde_json::json;

use crate::support::{
    Actor, World,
    binary::{CORE_API, Process, assert_refused, core_api, folder, isolated, run, sandbox, sandbox_of, signal, wait_for_base},
    socket::Socket,
};

/// The processes with a path in this folder among their arguments: Postgres and its shell.
fn processes_of(folder: &Path) -> Vec<i32> {
    let folder = folder.to_string_lossy().into_owned();
    let names_it = |pid: &i32| fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|line| String::from_utf8_lossy(&line).contains(&folder));
    let pids = fs::read_dir("/proc").into_iter().flatten().flatten();
    pids.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).filter(names_it).collect()
}

/// A running sandbox.
struct Sandbox {
    process: Process,
    folder: PathBuf,
    actor: Actor,
}

impl Sandbox {
    fn start(folder: &Path) -> Self {
        Self::from(&mut sandbox(folder), folder)
    }

    fn from(command: &mut Command, folder: &Path) -> Self {
        let mut process = Process::start(command.stdout(Stdio::piped()));
        let base = wait_for_base(&mut process);
        Self { process, folder: folder.to_owned(), actor: Actor::new(&base) }
    }

    /// Sends a signal and returns the exit code.
    fn end(&mut self, by: Signal) -> Option<i32> {
        signal(&self.process, by);
        self.process.wait().expect("an exit status").code()
    }

    fn assert_no_process_is_left(&self) {
        let began = Instant::now();
        while !processes_of(&self.folder).is_empty() {
            assert!(began.elapsed() < Duration::from_secs(10), "{:?} are still running", processes_of(&self.folder));
            sleep(Duration::from_millis(20));
        }
    }

    async fn admin(&self) -> Actor {
        self.actor.logged_in("test@example.com", "test123").await
    }
}

#[tokio::test]
async fn data_survives_and_no_process_is_left_behind_after_any_signal() {
    let folder = folder();
    let signals = [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP, Signal::SIGKILL, Signal::SIGKILL, Signal::SIGTERM];
    for (cards, signal) in signals.into_iter().enumerate() {
        let mut sandbox = Sandbox::start(folder.path());
        assert!(cfg!(not(target_os = "linux")) || !processes_of(folder.path()).is_empty(), "its Postgres was not found");
        let admin = sandbox.admin().await;
        let listed = admin.get("/cards").await.ok()["cards"].as_array().expect("a list").clone();
        assert_eq!(listed.len(), cards);
        assert!(listed.iter().all(|card| card["balance"] == 5), "{listed:?}");
        admin.given_card_with(json!(5)).await;
        let code = sandbox.end(signal);
        assert_eq!(code, (signal != Signal::SIGKILL).then_some(0), "{signal}");
        sandbox.assert_no_process_is_left();
    }
}

#[tokio::test]
async fn an_orphaned_postgres_is_stopped_by_the_next_start() {
    let folder = folder();
    let mut sandbox = Sandbox::start(folder.path());
    let card = sandbox.admin().await.given_card_with(json!(5)).await;
    // Kill the shell that would stop Postgres, then the server.
    let pid = fs::read_to_string(folder.path().join("data/data/postmaster.pid")).expect("a pid file");
    let postmaster: i32 = pid.lines().next().expect("a pid").parse().expect("a number");
    for shell in processes_of(folder.path()) {
        if fs::read_to_string(format!("/proc/{shell}/comm")).is_ok_and(|name| name.trim() == "sh") {
            let _gone = kill(Pid::from_raw(shell), Signal::SIGKILL);
        }
    }
    sandbox.end(Signal::SIGKILL);
    assert!(processes_of(folder.path()).contains(&postmaster), "Postgres ended by itself");

    let mut next = Sandbox::start(folder.path());
    assert!(!processes_of(folder.path()).contains(&postmaster), "two Postgres run on one folder");
    assert_eq!(next.admin().await.card(&card).await["balance"], 5);
    next.end(Signal::SIGTERM);
    next.assert_no_process_is_left();
}

#[tokio::test]
async fn the_sandbox_runs_as_an_unprivileged_user() {
    if !Uid::effective().is_root() {
        return; // Every other test here covers it.
    }
    let folder = folder();
    let nobody = User::from_name("nobody").expect("a user database").expect("a user nobody");
    chown(folder.path(), Some(nobody.uid), Some(nobody.gid)).expect("the owner is changed");
    // Other users may have no access to the build folder.
    let copy = folder.path().join("core-api");
    fs::copy(CORE_API, &copy).expect("the binary is copied");
    let mut command = sandbox_of(copy, folder.path());
    command.uid(nobody.uid.as_raw()).gid(nobody.gid.as_raw()).current_dir(folder.path());
    let mut sandbox = Sandbox::from(&mut command, folder.path());
    sandbox.admin().await.given_card_with(json!(5)).await;
    assert_eq!(sandbox.end(Signal::SIGTERM), Some(0));
    sandbox.assert_no_process_is_left();
}

#[tokio::test]
async fn a_data_folder_passes_from_a_user_to_root_and_back() {
    if !Uid::effective().is_root() {
        return;
    }
    let folder = folder();
    let nobody = User::from_name("nobody").expect("a user database").expect("a user nobody");
    chown(folder.path(), Some(nobody.uid), Some(nobody.gid)).expect("the owner is changed");
    let copy = folder.path().join("core-api");
    fs::copy(CORE_API, &copy).expect("the binary is copied");
    for (cards, as_root) in [false, true, false].into_iter().enumerate() {
        let mut command = sandbox_of(&copy, folder.path());
        command.current_dir(folder.path());
        if !as_root {
            command.uid(nobody.uid.as_raw()).gid(nobody.gid.as_raw());
        }
        let mut sandbox = Sandbox::from(&mut command, folder.path());
        let admin = sandbox.admin().await;
        assert_eq!(admin.get("/cards").await.ok()["cards"].as_array().map(Vec::len), Some(cards));
        admin.given_card().await;
        assert_eq!(sandbox.end(Signal::SIGTERM), Some(0));
        sandbox.assert_no_process_is_left();
    }
}

#[tokio::test]
async fn two_sandboxes_cannot_share_a_data_folder() {
    let folder = folder();
    let first = Sandbox::start(folder.path());
    let refused = run(&mut sandbox(folder.path()));
    assert_refused(&refused, "in use by another core-api");
    first.admin().await.get("/cards").await.ok();
}

#[tokio::test]
async fn a_folder_with_other_files_is_left_untouched() {
    let folder = folder();
    let data = folder.path().join("data");
    fs::create_dir(&data).expect("the folder is created");
    fs::write(data.join("thesis.txt"), "years of work").expect("the file is written");
    let before = fs::metadata(&data).expect("the folder").permissions().mode();
    assert_refused(&run(&mut sandbox(folder.path())), "has something else in it");
    assert_eq!(fs::metadata(&data).expect("the folder").permissions().mode(), before);
    assert_eq!(fs::read_dir(&data).expect("the folder").count(), 1);
}

#[tokio::test]
async fn a_data_path_too_long_for_a_socket_still_works() {
    let folder = folder();
    let deep = folder.path().join("a".repeat(60)).join("b".repeat(60));
    let mut sandbox = Sandbox::start(&deep);
    sandbox.admin().await.given_card_with(json!(5)).await;
    assert_eq!(sandbox.end(Signal::SIGTERM), Some(0));
    sandbox.assert_no_process_is_left();
    let mut again = Sandbox::start(&deep);
    let cards = again.admin().await.get("/cards").await.ok();
    assert_eq!(cards["cards"][0]["balance"], 5);
    again.end(Signal::SIGTERM);
}

#[tokio::test]
async fn a_signal_during_startup_ends_the_sandbox() {
    let folder = folder();
    let mut starting = Process::start(sandbox(folder.path()).stdout(Stdio::null()));
    let began = Instant::now();
    // Wait until Postgres is starting; nothing serves yet.
    while !folder.path().join("data/data/postmaster.pid").exists() {
        assert!(began.elapsed() < Duration::from_secs(30), "Postgres did not start");
        sleep(Duration::from_millis(1));
    }
    signal(&starting, Signal::SIGTERM);
    assert_eq!(starting.wait().expect("an exit status").code(), Some(0));
    assert_eq!(processes_of(folder.path()), Vec::<i32>::new());
}

/// Opens connections that never send anything.
async fn silent_connections(actor: &Actor, count: usize) -> Vec<Socket> {
    let mut sockets = Vec::new();
    for _ in 0..count {
        sockets.push(Socket::to(actor).await);
    }
    sockets
}

/// Makes a command serve the database of `world` and write its log to a file in the folder.
fn logging(mut command: Command, world: &World, folder: &Path) -> Command {
    let log = fs::File::create(folder.join("log")).expect("a log file");
    command.env("DATABASE_URL", world.database.url()).env("CORE_API__DATABASE__SHARDED", world.database.is_sharded.to_string()).stderr(log);
    command
}

#[tokio::test]
async fn a_low_descriptor_limit_reduces_client_connections_and_not_those_of_the_database() {
    let (world, folder) = (World::new().await, folder());
    let mut command = logging(isolated("sh"), &world, folder.path());
    command.args(["-c", "ulimit -n 128; exec \"$0\"", CORE_API]);
    let sandbox = Sandbox::from(command.env("CORE_API__SERVER__HEAD_TIMEOUT_SECONDS", "1"), folder.path());
    let silent = silent_connections(&sandbox.actor, 150).await;
    // A new client waits until the silent connections time out. The database connections were never affected.
    sandbox.admin().await.given_card().await;
    drop(silent);
    let log = fs::read_to_string(folder.path().join("log")).expect("a log");
    assert!(log.contains("too few file descriptors") && !log.contains("could not be accepted"), "{log}");
}

#[tokio::test]
async fn the_server_waits_when_file_descriptors_run_out() {
    if Command::new("prlimit").arg("--version").output().is_err() {
        return; // Only prlimit can lower the limit of a running process.
    }
    let (world, folder) = (World::new().await, folder());
    let sandbox = Sandbox::from(&mut logging(core_api(), &world, folder.path()), folder.path());
    let limit_to = |limit: &str| {
        let limited = Command::new("prlimit").args(["--pid", &sandbox.process.id().to_string(), &format!("--nofile={limit}:")]).status();
        assert!(limited.expect("prlimit runs").success());
    };
    // The server has raised its own limit by the time it serves.
    let served =
        Socket::to(&sandbox.actor).await.send("GET /health/live HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await.answer().await;
    assert_eq!(served.status, 200);
    // The open descriptors stay open, and no new one is available, even if a low number becomes free.
    limit_to("3");
    let actor = sandbox.actor.clone();
    let waiting = tokio::spawn(async move { actor.get("/health/live").await });
    let began = Instant::now();
    while !fs::read_to_string(folder.path().join("log")).expect("a log").contains("could not be accepted") {
        assert!(began.elapsed() < Duration::from_secs(20), "no connection was refused");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    limit_to("1000");
    assert_eq!(waiting.await.expect("a reply").status, 200);
}
