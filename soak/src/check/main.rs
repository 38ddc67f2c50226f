//! The checker: proves from the recorded history and the tables that nothing was lost, doubled or reordered, and that no
//! card paid what it could not.
//!
//! It shares only the record of an attempt with the driver, and none of its judgements; of the service it shares nothing.
//! It holds one card's history at a time. It prints counts to standard output and findings to standard error, and exits with
//! 1 if there are findings.

mod judge;
mod ledger;
mod matching;
mod operation;
mod order;
mod standing;
mod timeline;
mod verdict;

use std::{
    collections::BTreeMap,
    error::Error,
    fs::{self, File},
    io::{BufRead, BufReader, Write, stderr, stdout},
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::Parser;
use uuid::Uuid;

use self::{
    ledger::Ledger,
    operation::{History, Operation},
    verdict::{Rule, Verdict},
};

/// Checks the history of a soak against its database.
#[derive(Debug, Parser)]
struct Arguments {
    /// The folder of the recorded attempts: a file for each card, one JSON object per line.
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
    let mut ledger = Ledger::open(&arguments.database_url).await?;
    let verdict = check(&arguments.history, &mut ledger).await?;
    let mut out = stdout().lock();
    for (name, number) in [
        ("acknowledged operations", verdict.acknowledged),
        ("executed, but the first answer was lost", verdict.replayed_only),
        ("without a key and without an answer", verdict.unanswered),
        ("refused operations", verdict.refused),
        ("approved authorisations", verdict.approved),
        ("declined", verdict.declined),
        ("holds that ran out of time", verdict.expired),
        ("reads checked", verdict.reads),
        ("movements", verdict.movements),
        ("entries of authorisations", verdict.entries),
        ("lost", verdict.lost),
        ("doubled", verdict.doubled),
        ("answers with status 500", verdict.internal_errors),
    ] {
        writeln!(out, "{name} {number}")?;
    }
    let mut errors = stderr().lock();
    for finding in &verdict.kept {
        writeln!(errors, "{finding}")?;
    }
    if verdict.findings > verdict.kept.len() {
        writeln!(errors, "... {} findings in total", verdict.findings)?;
    }
    // An empty history would pass every rule.
    let sound = verdict.findings == 0 && verdict.acknowledged > 0;
    Ok(if sound { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Checks one card after the other, and what belongs to none.
async fn check(folder: &Path, ledger: &mut Ledger) -> Result<Verdict, Box<dyn Error>> {
    let mut verdict = Verdict::default();
    let mut files = BTreeMap::new();
    for file in fs::read_dir(folder)? {
        let path = file?.path();
        if let Some(card) = path.file_stem().and_then(|name| name.to_str()) {
            files.insert(card.to_owned(), path);
        }
    }
    let mut cards = ledger.cards().await?;
    for card in files.keys() {
        cards.entry(card.clone()).or_insert((Uuid::nil(), Uuid::nil()));
    }
    for (id, place) in cards {
        let history = files.get(&id).map_or_else(|| Ok(History::default()), |file| read(file))?;
        let card = ledger.card(place).await?;
        let keys: Vec<_> = history.operations.iter().filter(|operation| operation.request.keyed).map(Operation::key).collect();
        let stored = ledger.stored(place.0, &keys).await?;
        judge::judge(&id, &history, &card, &stored, &mut verdict);
    }
    let stored = usize::try_from(ledger.stored_in_total().await?)?;
    if stored != verdict.stored {
        verdict.found(Rule::Stored, format!("{stored} answers are stored, {} of keys that were sent", verdict.stored));
    }
    Ok(verdict)
}

fn read(file: &Path) -> Result<History, Box<dyn Error>> {
    let mut history = History::default();
    for line in BufReader::new(File::open(file)?).lines() {
        history.add(serde_json::from_str(&line?)?);
    }
    Ok(history)
}
