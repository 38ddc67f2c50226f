//! Settings as an operator of the server sees them.

use std::{
    process::Stdio,
    thread::sleep,
    time::{Duration, Instant},
};

use nix::sys::signal::Signal;

use crate::support::binary::{Process, assert_refused, core_api, folder, run, sandbox, signal, wait_for_base};

#[tokio::test]
async fn every_setting_is_listed_with_its_origin_and_secrets_are_hidden() {
    let mut command = core_api();
    command.arg("config").env("CORE_API_ENV", "production").env("DATABASE_URL", "postgres://u:hunter2@db/c");
    let output = run(command.env("CORE_API__AUTH__SIGNING_KEYS", "a:hunter2"));
    let listed = String::from_utf8(output.stdout).expect("text");
    assert!(output.status.success() && !listed.contains("hunter2"), "{listed}");
    for (setting, origin) in [
        ("server.listen = \"127.0.0.1:0\"", "CORE_API__SERVER__LISTEN"),
        ("server.linger_seconds = 10", "config/production.toml"),
        ("rate_limit.per_hour = 1000", "config/default.toml"),
        ("database.url = (secret)", "DATABASE_URL"),
        ("auth.signing_keys = (secret)", "CORE_API__AUTH__SIGNING_KEYS"),
    ] {
        let line = listed.lines().find(|line| line.starts_with(setting)).unwrap_or_else(|| panic!("no {setting} in {listed}"));
        assert!(line.ends_with(&format!("# {origin}")), "{line}");
    }
}

#[tokio::test]
async fn an_unknown_setting_prevents_startup() {
    let folder = folder();
    let refused = run(sandbox(folder.path()).env("CORE_API__RATE_LIMIT__PER_HUOR", "5"));
    assert_refused(&refused, "CORE_API__RATE_LIMIT__PER_HUOR sets no key there is; CORE_API__RATE_LIMIT__PER_HOUR may be meant");
    assert!(!folder.path().join("data").exists(), "a refused start created the data folder");
}

#[tokio::test]
async fn after_sigterm_the_server_keeps_serving_while_unready_for_the_linger_time() {
    let folder = folder();
    let mut command = sandbox(folder.path());
    let mut process = Process::start(command.env("CORE_API__SERVER__LINGER_SECONDS", "3").stdout(Stdio::piped()));
    let base = wait_for_base(&mut process);
    let status = async |path: &str| Some(reqwest::get(format!("{base}{path}")).await.ok()?.status().as_u16());
    assert_eq!(status("/health/ready").await, Some(200));

    let signalled = Instant::now();
    signal(&process, Signal::SIGTERM);
    while status("/health/ready").await != Some(503) {
        assert!(signalled.elapsed() < Duration::from_secs(2), "still ready");
        sleep(Duration::from_millis(10));
    }
    // Requests on new connections are still served.
    assert_eq!(status("/openapi.json").await, Some(200));
    assert!(process.wait().expect("an exit status").success());
    assert!(signalled.elapsed() >= Duration::from_secs(3), "the server ended after {:?}", signalled.elapsed());
}
