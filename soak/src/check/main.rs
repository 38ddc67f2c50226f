//! The checker: proves from the recorded history and the tables that nothing was lost, doubled or reordered.
//!
//! It shares only the record of an attempt with the driver, and none of its judgements. It prints counts to standard output
//! and findings to standard error, and exits with 1 if there are findings.

mod judge;
mod ledger;
mod operation;

use std::{
    error::Error,
    fs::File,
    io::{BufRead, BufReader, Write, stderr, stdout},
    path::PathBuf,
    process::ExitCode,
};

use clap::Parser;
use record::Attempt;

/// The maximum number of printed findings.
const MAX_SHOWN: usize = 40;

/// Checks the history of a soak against its database.
#[derive(Debug, Parser)]
struct Arguments {
    /// The recorded attempts, one JSON object per line.
    #[arg(long)]
    history: PathBuf,
    /// The database to check against.
    #[arg(long)]
    database_url: String,
}

#[tokio::main]
async fn main() -> ExitCode {
    match run(&Arguments::parse()).await {
        Ok(code) => code,
        Err(error) => {
            let _closed = writeln!(stderr(), "the history could not be checked: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: &Arguments) -> Result<ExitCode, Box<dyn Error>> {
    let mut attempts = Vec::new();
    for line in BufReader::new(File::open(&arguments.history)?).lines() {
        attempts.push(serde_json::from_str::<Attempt>(&line?)?);
    }
    let ledger = ledger::read(&arguments.database_url).await?;
    let verdict = judge::judge(&attempts, &ledger);
    let mut out = stdout().lock();
    for (name, number) in [
        ("acknowledged operations", verdict.acknowledged),
        ("executed, but the first answer was lost", verdict.replayed_only),
        ("without a key and without an answer", verdict.unanswered),
        ("refused operations", verdict.refused),
        ("reads checked", verdict.reads),
        ("movements", verdict.movements),
        ("lost", verdict.lost()),
        ("doubled", verdict.doubled()),
        ("answers with status 500", verdict.internal_errors),
    ] {
        writeln!(out, "{name} {number}")?;
    }
    let mut errors = stderr().lock();
    for finding in verdict.findings.iter().take(MAX_SHOWN) {
        writeln!(errors, "{finding}")?;
    }
    if verdict.findings.len() > MAX_SHOWN {
        writeln!(errors, "... {} findings in total", verdict.findings.len())?;
    }
    // An empty history would pass every rule.
    let sound = verdict.findings.is_empty() && verdict.acknowledged > 0;
    Ok(if sound { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
