//! Benchmarks the service against pgbench on the same durable Postgres, in alternating turns, since a shared machine
//! varies from minute to minute.
//!
//! Exits with 0 if every line reaches its target, and with 1 otherwise. The results mean little on a busy machine.

mod account;
mod deliveries;
mod generate;
mod growth;
mod hashes;
mod idle;
mod lists;
mod load;
mod measure;
mod pgbench;
mod plan;
mod report;
mod sample;
mod stream;
mod table;

use std::{
    io::{Write as _, stdout},
    path::PathBuf,
    process::ExitCode,
};

use bench::{Failure, interrupted, progress};
use clap::{Parser, ValueEnum};

/// Benchmarks core-api against pgbench on a private Postgres.
#[derive(Debug, Parser)]
struct Arguments {
    /// The core-api binary.
    #[arg(long)]
    binary: PathBuf,
    /// The length of each run in seconds.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=600))]
    seconds: u64,
    /// The number of turns. Each line is the median of its turns.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=100))]
    turns: u32,
    /// Only these lines. The default is all but growth, lists and deliveries, which take long.
    #[arg(long, value_enum, value_delimiter = ',')]
    only: Vec<Line>,
    /// The file for the table.
    #[arg(long, default_value = "target/bench/table.md")]
    table: PathBuf,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Line {
    /// The time from start to ready.
    Start,
    /// Top-ups spread over 5,000 cards, with 1, 8, 64 and 256 clients.
    Spread,
    /// The same with an Idempotency-Key on each.
    Keys,
    /// Purchases with an Idempotency-Key each, against top-ups with one.
    Purchases,
    /// Authorisations with an Idempotency-Key each: over 5,000 cards, of one card, and captured after
    Payments,
    /// Authorisations of cards with limits, against those of cards without.
    Limits,
    /// Transfers between cards, with an Idempotency-Key each.
    Transfers,
    /// Top-ups of an account with a feed, against those of one without.
    Feed,
    /// Top-ups of one card.
    Hot,
    /// Top-ups of other cards during a load on one card, against the same load on all cards.
    Beside,
    /// Reads of a card by its id.
    Read,
    /// The first and the last page of movements.
    Page,
    /// Logins, against argon2id alone.
    Login,
    /// Resident memory after load.
    Memory,
    /// Resident memory after a start, and with 5,000 idle connections.
    Idle,
    /// Top-ups with 10 thousand, 1 million and 10 million movements in the table.
    Growth,
    /// Webhooks: the delivery of a backlog, lag, and memory with endpoints that take nothing.
    Deliveries,
    /// Lists of a million rows: in one answer, read slowly, and in pages.
    Lists,
}

impl Line {
    /// Whether it needs minutes of preparation.
    const fn is_long(self) -> bool {
        matches!(self, Self::Growth | Self::Lists | Self::Deliveries)
    }

    /// Whether it is measured on the server that measures the rates.
    const fn is_rate(self) -> bool {
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
    let ended = ended.and_then(|report| Ok((report.passes(), write_table(&arguments, &report.to_string())?)));
    match ended {
        Ok((true, ())) => ExitCode::SUCCESS,
        Ok((false, ())) => ExitCode::FAILURE,
        Err(error) => {
            progress(&format!("the benchmark failed: {error}"));
            ExitCode::FAILURE
        }
    }
}

/// Prints the table and writes it to its file.
fn write_table(arguments: &Arguments, text: &str) -> Result<(), Failure> {
    writeln!(stdout(), "{text}")?;
    if let Some(folder) = arguments.table.parent() {
        std::fs::create_dir_all(folder)?;
    }
    Ok(std::fs::write(&arguments.table, format!("{text}\n"))?)
}
