//! Logins under attack: guesses at one email from everywhere, a flood of hashes, and what the clock gives away.
//!
//! Ends with 0 if every line passed, and 1 if one failed or the measurement itself did. What it says of
//! time is worth something on a machine that does nothing else.

mod door;
mod flood;
mod guesses;
mod sample;
mod server;
mod throughput;
mod timing;

use std::{
    error::Error,
    fs,
    io::{Write as _, stderr, stdout},
    os::unix::fs::{DirBuilderExt, PermissionsExt},
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::{Parser, ValueEnum};
use tokio::signal::unix::{SignalKind, signal};

use self::server::Site;

/// The sandbox's logins: the one that is guessed at, and the one that gets disabled.
const OWNER: (&str, &str) = ("test@example.com", "test123");
const OTHER: (&str, &str) = ("admin@company.com", "secure_password");

/// Attacks the login of a server of its own, on a Postgres of its own, and measures what comes of it.
#[derive(Debug, Parser)]
struct Arguments {
    /// The core-api to attack.
    #[arg(long)]
    binary: PathBuf,
    /// Only these parts.
    #[arg(long, value_enum)]
    only: Vec<Part>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Part {
    /// Logins a second, against argon2 alone.
    Throughput,
    /// 10,000 guesses at one email from 1,000 addresses.
    Guesses,
    /// 500 logins a second beside somebody who works.
    Flood,
    /// Unknown, wrong and disabled, by the clock.
    Timing,
}

/// What was found: each line passes, fails, or only informs.
#[derive(Debug, Default)]
struct Findings {
    failed: usize,
}

impl Findings {
    /// A line that passes or fails.
    fn judge(&mut self, passes: bool, line: &str) {
        self.failed += usize::from(!passes);
        self.write(if passes { "PASS" } else { "FAIL" }, line);
    }

    /// A line that informs.
    fn note(&mut self, line: &str) {
        self.write("    ", line);
    }

    #[expect(clippy::unused_self, reason = "what is found is told here and nowhere else")]
    fn write(&mut self, word: &str, line: &str) {
        let _unheard = writeln!(stdout(), "{word} {line}");
    }
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let ended = tokio::select! {
        ended = run(&arguments) => ended,
        () = interrupted() => Err("interrupted".into()),
    };
    match ended {
        Ok(0) => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(error) => {
            let _unheard = writeln!(stderr(), "the measurement itself failed: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Waits for Ctrl-C or SIGTERM. What is dropped then takes the server and Postgres with it.
async fn interrupted() {
    let Ok(mut terminate) = signal(SignalKind::terminate()) else { return };
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        _ = terminate.recv() => {}
    }
}

async fn run(arguments: &Arguments) -> Result<usize, Box<dyn Error>> {
    let folder = PathBuf::from(format!("/tmp/core-api-logins-{}", std::process::id()));
    fs::DirBuilder::new().mode(0o755).create(&folder)?;
    // The user that Postgres runs as must be able to pass through, whatever the umask.
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o755))?;
    let found = attack(arguments, &folder).await;
    fs::remove_dir_all(&folder)?;
    found
}

async fn attack(arguments: &Arguments, folder: &Path) -> Result<usize, Box<dyn Error>> {
    let binary = arguments.binary.canonicalize().map_err(|error| format!("{}: {error}", arguments.binary.display()))?;
    let site = Site::start(&binary, folder).await?;
    let mut findings = Findings::default();
    for part in [Part::Throughput, Part::Guesses, Part::Flood, Part::Timing] {
        if !arguments.only.is_empty() && !arguments.only.contains(&part) {
            continue;
        }
        match part {
            Part::Throughput => throughput::measure(&site, &mut findings).await?,
            Part::Guesses => guesses::measure(&site, &mut findings).await?,
            Part::Flood => flood::measure(&site, &mut findings).await?,
            Part::Timing => timing::measure(&site, &mut findings).await?,
        }
    }
    site.stop().await?;
    Ok(findings.failed)
}
