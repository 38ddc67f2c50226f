//! What the measuring programs share: a temporary folder, a durable Postgres in it, and the service on that Postgres.
//!
//! Nothing here depends on the service or on an HTTP client library, so that measuring stays cheap.

pub mod folder;
pub mod http;
pub mod postgres;
pub mod server;
pub mod testbed;

use std::{
    error::Error,
    io::{Write as _, stderr},
};

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use tokio::signal::unix::{SignalKind, signal};

pub use self::testbed::Testbed;

/// Any error. It can be sent between tasks.
pub type Failure = Box<dyn Error + Send + Sync>;

/// Waits for Ctrl-C, SIGTERM or a closed terminal. The caller then drops what it has started, which stops it.
pub async fn interrupted() {
    let (Ok(mut terminate), Ok(mut hangup)) = (signal(SignalKind::terminate()), signal(SignalKind::hangup())) else { return };
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        _ = terminate.recv() => {}
        _ = hangup.recv() => {}
    }
}

/// Raises the limit of open files in this process and in the servers that it starts.
///
/// # Errors
///
/// The system allows fewer.
pub fn allow_open_files(needed: u64) -> Result<(), Failure> {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    if soft < needed {
        setrlimit(Resource::RLIMIT_NOFILE, needed.min(hard), hard)?;
    }
    if hard < needed { Err(format!("{needed} open files are needed, and this system allows {hard}").into()) } else { Ok(()) }
}

/// Prints a line of progress to standard error.
pub fn progress(line: &str) {
    let _closed = writeln!(stderr(), "{line}");
}
