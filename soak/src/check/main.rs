//! The checker: proves from the recorded history and the tables that nothing was lost, doubled or reordered.
//!
//! It shares nothing with the driver but the record of an attempt, and believes none of its judgements.
//! Prints its counts on standard output, what is wrong on standard error; ends with 1 if anything is.

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

/// How many findings are worth printing.
const SHOWN: usize = 40;

/// Proves a soak's history against the database it was made on.
#[derive(Debug, Parser)]
struct Arguments {
    /// The recorded attempts, one JSON object a line.
    #[arg(long)]
    history: PathBuf,
    /// The Postgres to compare with.
    #[arg(long)]
    database_url: String,
}

#[tokio::main]
async fn main() -> ExitCode {
    match run(&Arguments::parse()).await {
        Ok(code) => code,
        Err(error) => {
            let _unheard = writeln!(stderr(), "the history could not be checked: {error}");
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
        ("done though the first answer was lost", verdict.replayed_only),
        ("without a key and without an answer", verdict.unanswered),
        ("refused operations", verdict.refused),
        ("reads judged", verdict.reads),
        ("movements", verdict.movements),
        ("lost", verdict.lost()),
        ("doubled", verdict.doubled()),
        ("answers with status 500", verdict.internal_errors),
    ] {
        writeln!(out, "{name} {number}")?;
    }
    let mut complaints = stderr().lock();
    for finding in verdict.findings.iter().take(SHOWN) {
        writeln!(complaints, "{finding}")?;
    }
    if verdict.findings.len() > SHOWN {
        writeln!(complaints, "... {} findings in all", verdict.findings.len())?;
    }
    // An empty history would pass every rule.
    let sound = verdict.findings.is_empty() && verdict.acknowledged > 0;
    Ok(if sound { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
