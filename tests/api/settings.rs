//! Settings as an operator of the server sees them.

use std::{
    ffi::OsStr,
    fs,
    net::TcpListener,
    os::unix::ffi::OsStrExt,
    process::{Command, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};

use nix::sys::signal::Signal;

use crate::support::{
    Database,
    binary::{Process, assert_refused, core_api, core_api_on, folder, run, sandbox, signal, wait_for_base},
};

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
    assert_refused(&refused, "CORE_API__RATE_LIMIT__PER_HUOR is not a setting; did you mean CORE_API__RATE_LIMIT__PER_HOUR?");
    assert!(!folder.path().join("data").exists(), "a refused start created the data folder");
}

/// What a command prints on standard error when it refuses to start.
fn refusal(command: &mut Command) -> String {
    let output = run(command);
    assert_refused(&output, "core-api: ");
    String::from_utf8(output.stderr).expect("text").trim_end().to_owned()
}

#[tokio::test]
async fn a_refused_setting_is_one_sentence_with_the_key_what_it_takes_and_an_example() {
    for (variable, value, sentence) in [
        (
            "CORE_API__LOG__LEVEL",
            "warning",
            "CORE_API__LOG__LEVEL (log.level) takes error, warn, info, debug, trace or off, and module=level after it, such as info,sqlx=warn",
        ),
        (
            "CORE_API__RATE_LIMIT__PER_HOUR",
            "hunter2",
            "CORE_API__RATE_LIMIT__PER_HOUR (rate_limit.per_hour) takes a number of requests from 1 to 4294967295, such as 1000",
        ),
        (
            "CORE_API__SERVER__LISTEN",
            "localhost:8080",
            "CORE_API__SERVER__LISTEN (server.listen) takes an IP address with a port, such as 0.0.0.0:8080",
        ),
        (
            "CORE_API__SERVER__LINGER_SECONDS",
            "1h",
            "CORE_API__SERVER__LINGER_SECONDS (server.linger_seconds) takes a number of seconds from 0 to 316224000, such as 10",
        ),
        (
            "CORE_API__CORS__ALLOWED_ORIGINS",
            "https://u:hunter2@a.example",
            "CORE_API__CORS__ALLOWED_ORIGINS (cors.allowed_origins) takes origins as browsers send them, without a path, such as \
             https://app.example.com,https://example.org",
        ),
        (
            "CORE_API__SERVER__TRUSTED_PROXIES",
            "0.0.0.0/0",
            "CORE_API__SERVER__TRUSTED_PROXIES (server.trusted_proxies) takes networks and addresses, but not the network of all addresses, \
             such as 10.0.0.0/8,fd00::/8",
        ),
        (
            "CORE_API__SERVER__TRUSTED_HOPS",
            "1",
            "CORE_API__SERVER__TRUSTED_HOPS is no longer a setting; CORE_API__SERVER__TRUSTED_PROXIES takes its place, and takes networks \
             and addresses, but not the network of all addresses, such as 10.0.0.0/8,fd00::/8",
        ),
        (
            "CORE_API__TRACING__OTLP_ENDPOINT",
            "http://u:hunter2@localhost:4318",
            "CORE_API__TRACING__OTLP_ENDPOINT (tracing.otlp_endpoint) takes the http:// address of a collector, without a user or query, \
             such as http://localhost:4318",
        ),
        ("CORE_API_ENV", "hunter2", "CORE_API_ENV takes sandbox or production, such as CORE_API_ENV=production"),
        (
            "CORE_API_RATE_LIMIT__PER_HOUR",
            "5",
            "CORE_API_RATE_LIMIT__PER_HOUR is not a setting; did you mean CORE_API__RATE_LIMIT__PER_HOUR? (`core-api config` lists all settings)",
        ),
        (
            "DATABASE_URL",
            "postgres://core:hun#ter2hunter2@db/core",
            "DATABASE_URL takes postgres://user:password@host:5432/name, where every character of user and password other than letters, \
             digits and -._~ must be percent-encoded, such as %23 for #, %3F for ?, %2F for /, %40 for @ and %25 for %",
        ),
    ] {
        let folder = folder();
        assert_eq!(refusal(sandbox(folder.path()).env(variable, value)), format!("core-api: {sentence}"));
        assert!(!folder.path().join("data").exists(), "a refused start created the data folder");
    }
}

#[tokio::test]
async fn a_data_folder_that_is_a_file_is_refused_by_its_key() {
    let folder = folder();
    fs::write(folder.path().join("data"), "").expect("the file is written");
    let refused = refusal(&mut sandbox(folder.path()));
    let what = "core-api: CORE_API__DATABASE__DATA_DIR takes a folder for a Postgres, such as .core-api, and this one does not work: ";
    assert!(refused.starts_with(what) && refused.matches("File exists").count() == 1, "{refused}");
}

#[tokio::test]
async fn a_setting_that_is_not_text_is_refused() {
    let folder = folder();
    for variable in ["DATABASE_URL", "CORE_API__LOG__LEVEL", "CORE_API_ENV"] {
        let refused = refusal(sandbox(folder.path()).env(variable, OsStr::from_bytes(b"\xff")));
        assert_eq!(refused, format!("core-api: {variable} is not valid UTF-8"));
    }
}

#[tokio::test]
async fn the_variables_that_kubernetes_sets_for_a_service_of_this_name_prevent_no_start() {
    let mut command = core_api();
    command.arg("config").env("CORE_API_SERVICE_HOST", "10.0.0.1").env("CORE_API_PORT", "tcp://10.0.0.1:8080");
    assert!(run(&mut command).status.success());
}

#[tokio::test]
async fn an_address_that_cannot_be_listened_on_is_refused_by_its_key() {
    let database = Database::new().await;
    let taken = TcpListener::bind("127.0.0.1:0").expect("a listener");
    let address = taken.local_addr().expect("an address").to_string();
    for (key, variable) in [("server.listen", "CORE_API__SERVER__LISTEN"), ("metrics.listen", "CORE_API__METRICS__LISTEN")] {
        let refused = refusal(core_api_on(&database).env(variable, &address).env("CORE_API__LOG__LEVEL", "error"));
        let (what, why) = refused.split_once(": Address already in use").expect("a cause");
        assert_eq!(what, format!("core-api: {key} is {address}, on which this process cannot listen"));
        assert!(!why.contains("in use"), "{refused}");
    }
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
