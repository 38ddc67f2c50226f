//! Connecting to the database at the start: whether by TLS, and what the log says while it is not there.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{Ipv4Addr, TcpListener},
    process::{Command, Stdio},
    thread::JoinHandle,
    time::{Duration, Instant},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};

use crate::support::binary::{Process, assert_refused, core_api, run};

/// A process in production with a signing key.
fn production(url: &str) -> Command {
    let mut command = core_api();
    command.env("CORE_API_ENV", "production").env("DATABASE_URL", url);
    command.env("CORE_API__AUTH__SIGNING_KEYS", format!("k1:{}", STANDARD.encode((0..32).collect::<Vec<u8>>())));
    command
}

/// A server that refuses TLS and returns what its first client sent before it hung up or said who it is.
fn without_tls() -> (u16, JoinHandle<Vec<u8>>) {
    let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0)).expect("a listener");
    let port = listener.local_addr().expect("an address").port();
    let received = std::thread::spawn(move || {
        let (mut client, _) = listener.accept().expect("a client");
        let mut request = vec![0; 8];
        client.read_exact(&mut request).expect("a request for TLS");
        client.write_all(b"N").expect("a refusal");
        let mut rest = vec![0; 1_024];
        let read = client.read(&mut rest).unwrap_or_default();
        request.extend_from_slice(&rest[..read]);
        request
    });
    (port, received)
}

/// The request for TLS, by which a connection to Postgres begins.
const TLS_REQUEST: [u8; 8] = [0, 0, 0, 8, 4, 210, 22, 47];

#[tokio::test]
async fn production_says_nothing_to_a_database_of_another_machine_without_tls() {
    let (port, received) = without_tls();
    let began = Instant::now();
    // This address is not a loopback address, although it leads to this machine.
    let refused = run(&mut production(&format!("postgres://core:hunter2@0.0.0.0:{port}/core")));
    assert_refused(&refused, "cannot connect to the database by TLS");
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    assert_eq!(received.join().expect("what was sent"), TLS_REQUEST);
}

#[tokio::test]
async fn production_refuses_a_url_that_does_not_verify_the_database_unless_a_setting_permits_it() {
    for mode in ["disable", "allow", "prefer", "require", "verify-ca"] {
        for command in ["serve", "migrate", "verify-ledger"] {
            let url = format!("postgres://core:hunter2@db.example/core?sslmode={mode}");
            assert_refused(&run(production(&url).arg(command)), "DATABASE_URL takes sslmode=verify-full in production");
        }
    }
    let (port, received) = without_tls();
    let url = format!("postgres://core:hunter2@0.0.0.0:{port}/core?sslmode=prefer");
    let mut process = Process::start(production(&url).env("CORE_API__DATABASE__ALLOW_UNVERIFIED_TLS", "true").stderr(Stdio::null()));
    let sent = received.join().expect("what was sent");
    process.kill().expect("the process is killed");
    assert!(sent.len() > 8 && String::from_utf8_lossy(&sent).contains("core"), "{sent:?}");
}

#[tokio::test]
async fn the_log_says_within_seconds_that_the_process_waits_for_its_database() {
    let silent = TcpListener::bind("127.0.0.1:0").expect("a listener");
    let silent_port = silent.local_addr().expect("an address").port();
    let closed_port = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("an address").port();
    for (port, cause, within) in [(closed_port, "Connection refused", 3), (silent_port, "timed out", 6)] {
        let began = Instant::now();
        let mut command = core_api();
        command.env("DATABASE_URL", format!("postgres://core:hunter2@127.0.0.1:{port}/core")).stderr(Stdio::piped());
        let mut process = Process::start(&mut command);
        let mut line = String::new();
        BufReader::new(process.stderr.take().expect("a piped log")).read_line(&mut line).expect("a line");
        assert!(began.elapsed() < Duration::from_secs(within), "after {:?}", began.elapsed());
        assert!(line.contains("the database does not accept connections yet; waiting for at most 30 s"), "{line}");
        assert!(line.contains(cause) && !line.contains("hunter2"), "{line}");
    }
}
