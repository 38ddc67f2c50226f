//! Attacks on the login: guesses at one email from many addresses, a flood, and timing differences.
//!
//! Exits with 0 if every line passes, and with 1 otherwise. The times mean little on a busy machine.

mod client;
mod flood;
mod guesses;
mod sample;
mod throughput;
mod timing;

use std::{
    io::{Write as _, stdout},
    path::PathBuf,
    process::ExitCode,
};

use bench::{Failure, Testbed, interrupted, progress};
use clap::{Parser, ValueEnum};

/// The seeded logins: the target of the guesses, and the one that gets disabled.
const OWNER: (&str, &str) = ("test@example.com", "test123");
const OTHER: (&str, &str) = ("admin@company.com", "secure_password");

/// Attacks the login of a server on a private Postgres, and measures the effects.
#[derive(Debug, Parser)]
struct Arguments {
    /// The core-api binary.
    #[arg(long)]
    binary: PathBuf,
    /// Only these parts.
    #[arg(long, value_enum)]
    only: Vec<Part>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Part {
    /// Logins a second, compared with argon2 alone.
    Throughput,
    /// 10,000 guesses at one email from 1,000 addresses.
    Guesses,
    /// 500 logins a second while a user works.
    Flood,
    /// The times for an unknown email, a wrong password and a disabled user.
    Timing,
}

/// The findings: each line passes, fails, or only informs.
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

    #[expect(clippy::unused_self, reason = "only findings are printed to standard output")]
    fn write(&mut self, word: &str, line: &str) {
        let _closed = writeln!(stdout(), "{word} {line}");
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
            progress(&format!("the measurement failed: {error}"));
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: &Arguments) -> Result<usize, Failure> {
    // The server is behind one proxy, which the client imitates.
    let testbed = Testbed::create("logins", &arguments.binary, &[("CORE_API__SERVER__TRUSTED_PROXIES", "127.0.0.0/8")]).await?;
    let mut findings = Findings::default();
    for part in Part::value_variants() {
        if !arguments.only.is_empty() && !arguments.only.contains(part) {
            continue;
        }
        match part {
            Part::Throughput => throughput::measure(&testbed, &mut findings).await?,
            Part::Guesses => guesses::measure(&testbed, &mut findings).await?,
            Part::Flood => flood::measure(&testbed, &mut findings).await?,
            Part::Timing => timing::measure(&testbed, &mut findings).await?,
        }
    }
    Ok(findings.failed)
}
