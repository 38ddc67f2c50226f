//! The verdict of the checker, `verify-ledger` and the logs, as a short table.

use std::{
    collections::BTreeMap,
    error::Error,
    fs,
    io::{Write, stdout},
    path::{Path, PathBuf},
    process::{Command, Output},
};

use crate::{chaos::Chaos, history::Tally, replica::Service};

/// The verdict on the run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Enough kills hit a request, and nothing is wrong.
    Pass,
    /// Something is wrong.
    Fail,
    /// Nothing is wrong, but too few kills hit a request to prove anything.
    Inconclusive,
}

/// What readers of feeds and receivers of webhooks got.
#[derive(Debug)]
pub struct Told {
    /// The file of each reader.
    pub feeds: Vec<PathBuf>,
    /// The file of the receivers, if there are any, and how many messages may have come again.
    pub messages: Option<(PathBuf, u64)>,
    /// What happened before this time must be in the files.
    pub settled: u64,
    /// The endpoints that did not get everything.
    pub behind: Vec<String>,
}

/// The rows of the table, and the reasons to fail.
#[derive(Debug)]
pub struct Report {
    rows: Vec<(String, u64)>,
    checked: BTreeMap<String, u64>,
    kills_hit: u64,
    min_kills_hit: u64,
    reasons_to_fail: Vec<String>,
}

impl Report {
    /// Starts with what the driver knows. Without its own reasons_to_fail it requires no kills.
    pub fn new(minutes: u64, tally: &Tally, chaos: Option<&Chaos>, undecided: usize) -> Self {
        let mut rows = vec![("minutes".to_owned(), minutes), ("attempts".to_owned(), tally.attempts.get())];
        if let Some(chaos) = chaos {
            rows.extend(chaos.done.iter().map(|(fault, count)| (fault.name().to_owned(), *count)));
            rows.push(("replicas restarted by the supervisor".to_owned(), chaos.revived));
        }
        for (name, number) in [
            ("unknown outcomes resolved", tally.resolved.get()),
            ("of these, caused by kills", tally.by_kills.get()),
            ("duplicates sent", tally.duplicates.get()),
            ("hang-ups", tally.hang_ups.get()),
        ] {
            rows.push((name.to_owned(), number));
        }
        let mut reasons_to_fail = Vec::new();
        if undecided > 0 {
            reasons_to_fail.push(format!("{undecided} operations never got a definitive answer"));
        }
        if tally.unrecorded.get() > 0 {
            reasons_to_fail.push(format!("{} attempts could not be recorded", tally.unrecorded.get()));
        }
        Self {
            rows,
            checked: BTreeMap::new(),
            kills_hit: tally.by_kills.get(),
            min_kills_hit: chaos.map_or(0, |_| min_kills_hit(minutes)),
            reasons_to_fail,
        }
    }

    /// Runs the separate checker program on the history, and on what readers and receivers got.
    pub async fn check(&mut self, history: &Path, told: &Told, url: &str) -> Result<(), Box<dyn Error>> {
        let program = std::env::current_exe()?.with_file_name("soak-check");
        let mut command = Command::new(program);
        command.arg("--history").arg(history).args(["--database-url", url, "--settled", &told.settled.to_string()]);
        for feed in &told.feeds {
            command.arg("--feed").arg(feed);
        }
        if let Some((messages, max_doubles)) = &told.messages {
            command.arg("--messages").arg(messages).args(["--max-doubles", &max_doubles.to_string()]);
        }
        self.reasons_to_fail.extend(told.behind.iter().cloned());
        let output = output(command).await?;
        for line in String::from_utf8_lossy(&output.stdout).lines() {
            if let Some((name, number)) = line.rsplit_once(' ')
                && let Ok(number) = number.parse()
            {
                self.checked.insert(name.trim().to_owned(), number);
            }
        }
        self.require("soak-check", &output);
        Ok(())
    }

    /// Adds the number of transfers, and what was wrong with them.
    pub fn transfers(&mut self, (made, wrong): (u64, Vec<String>)) {
        self.rows.push(("transfers".to_owned(), made));
        self.reasons_to_fail.extend(wrong);
    }

    /// Runs `verify-ledger` of the service.
    pub async fn verify_ledger(&mut self, service: &Service) -> Result<(), Box<dyn Error>> {
        let mut command = service.command();
        command.arg("verify-ledger");
        let output = output(command).await?;
        self.require("verify-ledger", &output);
        Ok(())
    }

    /// Searches the logs for messages that must not occur.
    pub fn read_logs(&mut self, folder: &Path, replicas: usize, databases: &[String]) -> Result<(), Box<dyn Error>> {
        let logs = (0..replicas).map(|index| (format!("replica-{index}.log"), "panicked"));
        let databases = databases.iter().map(|log| (log.clone(), "already a transaction in progress"));
        for (log, forbidden) in logs.chain(databases) {
            let text = fs::read(folder.join(&log))?;
            let count = String::from_utf8_lossy(&text).matches(forbidden).count();
            if count > 0 {
                self.reasons_to_fail.push(format!("{log} contains {count} times: {forbidden}"));
            }
        }
        Ok(())
    }

    /// Prints the table and the reasons to fail.
    pub fn print(&self) -> Result<Verdict, Box<dyn Error>> {
        let mut out = stdout().lock();
        let (verdict, word) = match (self.reasons_to_fail.is_empty(), self.kills_hit >= self.min_kills_hit) {
            (false, _) => (Verdict::Fail, "FAIL".to_owned()),
            (true, false) => (
                Verdict::Inconclusive,
                format!("INCONCLUSIVE: {} kills hit a request, at least {} needed", self.kills_hit, self.min_kills_hit),
            ),
            (true, true) => (Verdict::Pass, "PASS".to_owned()),
        };
        let rows = self.rows.iter().map(|(name, number)| (name, number)).chain(&self.checked);
        for (name, number) in rows {
            writeln!(out, "{name:<44}{number:>10}")?;
        }
        for reason in &self.reasons_to_fail {
            writeln!(out, "{reason}")?;
        }
        writeln!(out, "{word}")?;
        Ok(verdict)
    }

    fn require(&mut self, program: &str, output: &Output) {
        if !output.status.success() {
            let (out, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
            let lines: Vec<_> = if errors.is_empty() { out.lines() } else { errors.lines() }.take(50).collect();
            self.reasons_to_fail.push(format!("{program} ended with {}:\n{}", output.status, lines.join("\n")));
        }
    }
}

/// Fifty per half hour, and at least five.
fn min_kills_hit(minutes: u64) -> u64 {
    (50 * minutes / 30).max(5)
}

async fn output(mut command: Command) -> Result<Output, Box<dyn Error>> {
    Ok(tokio::task::spawn_blocking(move || command.output()).await??)
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_longer_run_must_observe_more_kills() {
        assert_eq!([1, 2, 6, 30].map(super::min_kills_hit), [5, 5, 10, 50]);
    }
}
