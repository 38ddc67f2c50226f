//! Standard output and standard error that are a closed pipe or a full disk.

use std::{
    fs::OpenOptions,
    io::Write,
    net::TcpListener,
    process::{Command, Output, Stdio},
    time::{Duration, Instant},
};

use nix::sys::signal::Signal;
use serde_json::json;

use crate::support::{
    Actor, Database, World,
    binary::{Process, core_api, core_api_on, signal, wait_for_base},
};

/// An output that cannot be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Broken {
    ClosedPipe,
    FullDisk,
}

impl Broken {
    fn open(self) -> Stdio {
        match self {
            Self::ClosedPipe => {
                let (reader, writer) = std::io::pipe().expect("a pipe");
                drop(reader);
                writer.into()
            }
            Self::FullDisk => OpenOptions::new().write(true).open("/dev/full").expect("a full disk").into(),
        }
    }
}

/// Only Linux has a device that is always full.
fn broken() -> impl Iterator<Item = Broken> {
    [Broken::ClosedPipe, Broken::FullDisk].into_iter().filter(|broken| *broken == Broken::ClosedPipe || cfg!(target_os = "linux"))
}

/// Every subcommand without subcommands of its own, as the words of its call, and every group of them.
fn subcommands(words: &[String]) -> (Vec<Vec<String>>, Vec<Vec<String>>) {
    let help = core_api().args(words).arg("--help").output().expect("the help");
    let help = String::from_utf8(help.stdout).expect("text");
    let listed = help.lines().skip_while(|line| *line != "Commands:").skip(1).take_while(|line| !line.is_empty());
    let names: Vec<&str> = listed.filter_map(|line| line.split_whitespace().next()).filter(|name| *name != "help").collect();
    if names.is_empty() {
        return (vec![words.to_vec()], Vec::new());
    }
    let (mut commands, mut groups) = (Vec::new(), vec![words.to_vec()]);
    for name in names {
        let words: Vec<String> = words.iter().cloned().chain([name.to_owned()]).collect();
        let (inner, inner_groups) = subcommands(&words);
        commands.extend(inner);
        groups.extend(inner_groups);
    }
    (commands, groups)
}

fn run(mut command: Command, input: &str) -> Output {
    let mut process = command.stdin(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the command starts");
    // A command that reads no input may end first.
    let _unread = process.stdin.take().expect("a piped input").write_all(input.as_bytes());
    process.wait_with_output().expect("its end")
}

/// Asserts the exit code, and that only a full disk is reported, in one line. A closed pipe is reported by a command that
/// prints what cannot be shown again.
#[track_caller]
fn assert_quiet_unless_full(output: &Output, broken: Broken, prints: bool, context: &str) {
    let errors = String::from_utf8_lossy(&output.stderr);
    let cause = match broken {
        Broken::FullDisk => "No space left on device",
        Broken::ClosedPipe => "Broken pipe",
    };
    if (broken == Broken::FullDisk || context == "key create") && prints {
        assert_eq!(output.status.code(), Some(1), "{context}: {errors}");
        assert!(errors.starts_with("core-api: ") && errors.contains(cause), "{context}: {errors}");
        assert_eq!(errors.lines().count(), 1, "{context}: {errors}");
    } else {
        assert_eq!(output.status.code(), Some(0), "{context} to {broken:?}: {errors}");
        assert_eq!(errors, "", "{context} to {broken:?}");
    }
}

/// The arguments and the input of a subcommand, and whether it prints anything.
fn call(words: &[String], account: &str, user: &str, key: &str) -> (Vec<String>, &'static str, bool) {
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let email = format!("{user}@example.com");
    let (arguments, input, prints) = match words[..] {
        ["migrate"] => (vec![], "", false),
        ["config" | "openapi" | "verify-ledger"] => (vec![], "", true),
        ["account", "create"] => (vec!["Acme"], "", true),
        ["user", "create"] => (vec!["--account", account, "--email", &email, "--role", "viewer"], "a long enough password\n", true),
        ["user" | "key", "list"] => (vec!["--account", account], "", true),
        ["user", "disable"] => (vec!["--account", account, user], "", false),
        ["key", "create"] => (vec!["--account", account, "--name", "x", "--role", "viewer"], "", true),
        ["key", "revoke"] => (vec!["--account", account, key], "", false),
        _ => panic!("{words:?} is a new subcommand: say how to call it"),
    };
    (arguments.into_iter().map(str::to_owned).collect(), input, prints)
}

#[tokio::test]
async fn every_command_bears_an_output_that_cannot_be_written() {
    let world = World::new().await;
    let on_database = |words: &[String]| {
        let mut command = core_api_on(&world.database);
        command.env("CORE_API__LOG__LEVEL", "off").args(words);
        command
    };
    let created = |words: &[&str], input: &str| {
        let mut command = on_database(&[]);
        command.args(words).stdout(Stdio::piped());
        String::from_utf8(run(command, input).stdout).expect("text").trim().to_owned()
    };
    let account = created(&["account", "create", "Acme"], "");
    let (commands, groups) = subcommands(&[]);
    assert!(commands.len() >= 9 && groups.len() >= 3, "{commands:?} {groups:?}");
    // One serves, the other needs a distributed Postgres and prints nothing.
    for words in commands.iter().filter(|words| **words != ["serve"] && **words != ["distribute"]) {
        for broken in broken() {
            let email = format!("{broken:?}.{}@example.com", words.join("."));
            let user =
                created(&["user", "create", "--account", &account, "--email", &email, "--role", "viewer"], "a long enough password\n");
            let key = created(&["key", "create", "--account", &account, "--name", "x", "--role", "viewer"], "");
            let key = format!("key_{}", &key["cak_sandbox_".len()..][..26]);
            let (arguments, input, prints) = call(words, &account, &user, &key);
            let mut command = on_database(words);
            command.args(arguments).stdout(broken.open());
            let output = run(command, input);
            assert_quiet_unless_full(&output, broken, prints, &words.join(" "));
            if broken == Broken::FullDisk && words.last().is_some_and(|word| word == "create") {
                let errors = String::from_utf8_lossy(&output.stderr);
                assert!(errors.contains("_01") && errors.contains("is created"), "the id is lost: {errors}");
            }
        }
    }
    for words in commands.iter().chain(&groups) {
        for broken in broken() {
            let mut command = core_api();
            command.args(words).arg("--help").stdout(broken.open());
            assert_quiet_unless_full(&run(command, ""), broken, true, &format!("{words:?} --help"));
        }
    }
    for broken in broken() {
        let mut command = core_api();
        command.arg("--version").stdout(broken.open());
        assert_quiet_unless_full(&run(command, ""), broken, true, "--version");
    }
}

#[tokio::test]
async fn verify_ledger_tells_its_verdict_although_nobody_reads_its_output() {
    let (world, admin) = World::with_admin().await;
    admin.given_card_with(json!(100)).await;
    world.database.execute("alter table movements disable trigger all").await;
    world.database.execute("delete from movements").await;
    for broken in broken() {
        let lines = usize::from(broken == Broken::FullDisk);
        let mut command = core_api_on(&world.database);
        command.env("CORE_API__LOG__LEVEL", "off").arg("verify-ledger").stdout(broken.open());
        let output = run(command, "");
        assert_eq!((output.status.code(), String::from_utf8_lossy(&output.stderr).lines().count()), (Some(1), lines), "{broken:?}");
    }
}

#[tokio::test]
async fn a_failure_that_cannot_be_reported_still_has_its_exit_code() {
    for broken in broken() {
        for (arguments, code) in [(vec!["config"], 1), (vec!["user", "list"], 2), (vec!["no-such-command"], 2)] {
            let mut command = core_api();
            command.args(arguments).env("CORE_API__LOG__LEVEL", "warning").stdout(Stdio::null()).stderr(broken.open());
            assert_eq!(command.status().expect("its end").code(), Some(code), "{broken:?}");
        }
    }
}

/// Asserts that a server answers requests that it logs, and ends in order.
async fn assert_serves(process: &mut Process, base: &str) {
    let actor = Actor::new(base);
    let admin = actor.logged_in("test@example.com", "test123").await;
    for _ in 0..20 {
        admin.get("/cards").await.ok();
        actor.post("/auth/login", json!({"email": "nobody@example.com", "password": "wrong"})).await.problem(401, "invalid_credentials");
    }
    signal(process, Signal::SIGTERM);
    assert_eq!(process.wait().expect("an exit status").code(), Some(0));
}

#[tokio::test]
async fn a_server_whose_log_cannot_be_written_serves() {
    for broken in broken() {
        let database = Database::new().await;
        let mut process = Process::start(core_api_on(&database).stdout(Stdio::piped()).stderr(broken.open()));
        let base = wait_for_base(&mut process);
        assert_serves(&mut process, &base).await;
    }
}

#[tokio::test]
async fn a_server_whose_greeting_cannot_be_written_serves_and_logs_why() {
    for broken in broken() {
        let database = Database::new().await;
        let address = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a free port");
        let mut command = core_api_on(&database);
        command.env("CORE_API__SERVER__LISTEN", address.to_string());
        command.env("CORE_API__LOG__LEVEL", "warn,core_api::http=off").stdout(broken.open()).stderr(Stdio::piped());
        let mut process = Process::start(&mut command);
        let log = process.stderr.take().expect("a piped log");
        let began = Instant::now();
        while reqwest::get(format!("http://{address}/health/live")).await.is_err() {
            assert!(began.elapsed() < Duration::from_secs(30), "{broken:?}: no server");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        assert_serves(&mut process, &format!("http://{address}")).await;
        let log = std::io::read_to_string(log).expect("text");
        let reports: Vec<&str> = log.lines().filter(|line| line.contains("could not be printed")).collect();
        assert_eq!(reports.len(), usize::from(broken == Broken::FullDisk), "{log}");
        assert!(reports.iter().all(|line| line.contains("No space left on device")), "{log}");
        assert!(!log.contains("panicked"), "{log}");
    }
}
