//! The checker: proves from the recorded history and the tables that nothing was lost, doubled or reordered, and that no
//! card paid what it could not.
//!
//! It shares only the record of an attempt with the driver, and none of its judgements; of the service it shares nothing.
//! It holds one card's history at a time. It prints counts to standard output and findings to standard error, and exits with
//! 1 if there are findings.

mod feed;
mod judge;
mod ledger;
mod matching;
mod messages;
mod operation;
mod order;
mod standing;
mod timeline;
mod told;
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
use serde::de::DeserializeOwned;
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
    /// What a reader of a feed got: an event per line.
    #[arg(long)]
    feed: Vec<PathBuf>,
    /// What the receivers of webhooks got: a message per line.
    #[arg(long, requires = "max_doubles")]
    messages: Option<PathBuf>,
    /// How many messages may have come again although they had been accepted.
    #[arg(long)]
    max_doubles: Option<usize>,
    /// Readers and receivers must have got what happened before this time, in nanoseconds since 1970.
    #[arg(long, default_value_t = 0)]
    settled: u64,
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
    let mut verdict = check(&arguments.history, &mut ledger).await?;
    feed::check_blocks(&mut ledger, &mut verdict).await?;
    for file in &arguments.feed {
        feed::check(&mut ledger, file, arguments.settled, &mut verdict).await?;
    }
    if let Some(file) = &arguments.messages {
        let rows = feed::rows_of_messages(&mut ledger, file).await?;
        messages::check(&rows, read_lines(file)?, (arguments.settled, arguments.max_doubles.unwrap_or(0)), &mut verdict);
    }
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
        ("events of cards", verdict.events),
        ("events read from feeds", verdict.read_events),
        ("messages", verdict.messages),
        ("messages that came again", verdict.messages_again),
        ("messages that were not accepted", verdict.withheld),
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

/// The lines of a file.
fn read_lines<T: DeserializeOwned>(file: &Path) -> Result<Vec<T>, Box<dyn Error>> {
    BufReader::new(File::open(file)?).lines().map(|line| Ok(serde_json::from_str(&line?)?)).collect()
}

fn read(file: &Path) -> Result<History, Box<dyn Error>> {
    let mut history = History::default();
    for line in BufReader::new(File::open(file)?).lines() {
        history.add(serde_json::from_str(&line?)?);
    }
    Ok(history)
}
