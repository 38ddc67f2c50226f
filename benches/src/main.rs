//! Measures the service against pgbench on the same durable Postgres, turn by turn, since a shared machine
//! is not the same from one minute to the next.
//!
//! Ends with 0 if no line falls short of what is wanted, else with 1. What it says is worth something on a
//! machine that does nothing else.

mod account;
mod folder;
mod ground;
mod growth;
mod hashes;
mod http;
mod idle;
mod lists;
mod load;
mod made;
mod measure;
mod pgbench;
mod plan;
mod postgres;
mod report;
mod sample;
mod server;
mod stream;
mod table;

use std::{
    error::Error,
    io::{Write as _, stderr, stdout},
    path::PathBuf,
    process::ExitCode,
};

use clap::{Parser, ValueEnum};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use tokio::signal::unix::{SignalKind, signal};

/// What went wrong; it can be sent to another task.
type Failure = Box<dyn Error + Send + Sync>;

/// Measures a core-api against pgbench, on a Postgres of their own.
#[derive(Debug, Parser)]
struct Arguments {
    /// The core-api to measure.
    #[arg(long)]
    binary: PathBuf,
    /// How long each run is.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=600))]
    seconds: u64,
    /// How many turns; each line is the median of its turns.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=100))]
    turns: u32,
    /// Only these lines; without it all but those that take long, which are growth and lists.
    #[arg(long, value_enum, value_delimiter = ',')]
    only: Vec<Line>,
    /// Where the table is kept.
    #[arg(long, default_value = "target/bench/table.md")]
    table: PathBuf,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Line {
    /// From start to ready.
    Start,
    /// Top-ups spread over 5,000 cards, with 1, 8, 64 and 256 clients.
    Spread,
    /// The same with an Idempotency-Key each.
    Keys,
    /// Purchases with an Idempotency-Key each, against top-ups with one.
    Purchases,
    /// Top-ups of one card.
    Hot,
    /// Top-ups of other cards beside many of one, against as many of all.
    Beside,
    /// A card by its id.
    Read,
    /// A page of movements, the first and the last.
    Page,
    /// Logins, against argon2id alone.
    Login,
    /// Resident memory after load.
    Memory,
    /// The same after a start, and with 5,000 idle connections.
    Idle,
    /// Top-ups with 10 thousand, 1 million and 10 million movements in the table.
    Growth,
    /// Lists of a million rows: all at once, read slowly, and by pages.
    Lists,
}

impl Line {
    /// Whether it takes minutes to prepare.
    const fn is_long(self) -> bool {
        matches!(self, Self::Growth | Self::Lists)
    }

    /// Whether it is measured on the server that the rates are.
    const fn is_of_rates(self) -> bool {
        !self.is_long() && !matches!(self, Self::Idle)
    }
}

impl Arguments {
    fn wants(&self, line: Line) -> bool {
        if self.only.is_empty() { !line.is_long() } else { self.only.contains(&line) }
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let ended = tokio::select! {
        ended = measure::run(&arguments) => ended,
        () = interrupted() => Err("interrupted".into()),
    };
    let ended = ended.and_then(|report| Ok((report.good(), keep(&arguments, &report.to_string())?)));
    match ended {
        Ok((true, ())) => ExitCode::SUCCESS,
        Ok((false, ())) => ExitCode::FAILURE,
        Err(error) => {
            let _unheard = writeln!(stderr(), "the measurement itself failed: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Waits for Ctrl-C, SIGTERM or a terminal that is closed. What is dropped then takes all processes with it.
async fn interrupted() {
    let (Ok(mut terminate), Ok(mut hangup)) = (signal(SignalKind::terminate()), signal(SignalKind::hangup())) else { return };
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        _ = terminate.recv() => {}
        _ = hangup.recv() => {}
    }
}

/// Prints the table, and keeps it.
fn keep(arguments: &Arguments, text: &str) -> Result<(), Failure> {
    writeln!(stdout(), "{text}")?;
    if let Some(folder) = arguments.table.parent() {
        std::fs::create_dir_all(folder)?;
    }
    Ok(std::fs::write(&arguments.table, format!("{text}\n"))?)
}

/// As many open files as thousands of connections need, here and in the server, which inherits it.
fn allow_open_files(wanted: u64) -> Result<(), Failure> {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    if soft < wanted {
        setrlimit(Resource::RLIMIT_NOFILE, wanted.min(hard), hard)?;
    }
    if hard < wanted { Err(format!("{wanted} open files are needed, and this system allows {hard}").into()) } else { Ok(()) }
}

/// Says on the way how it goes.
fn tell(what: &str) {
    let _unheard = writeln!(stderr(), "{what}");
}
