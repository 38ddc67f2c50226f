//! The verdict: what the checker, `verify-ledger` and the logs say, as one short table.

use std::{
    collections::BTreeMap,
    error::Error,
    fs,
    io::{Write, stdout},
    path::Path,
    process::{Command, Output},
};

use crate::{chaos::Chaos, history::Tally, replica::service};

/// What to make of the run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Kills were felt, and nothing is wrong.
    Pass,
    /// Something is wrong.
    Fail,
    /// Nothing is wrong, but too few kills were felt to say so.
    Void,
}

/// The rows of the table, and every reason to fail.
#[derive(Debug)]
pub struct Report {
    rows: Vec<(String, u64)>,
    checked: BTreeMap<String, u64>,
    felt: u64,
    felt_at_least: u64,
    faults: Vec<String>,
}

impl Report {
    /// What the driver knows. Without chaos of its own it asks for no kill to be felt.
    pub fn new(minutes: u64, tally: &Tally, chaos: Option<&Chaos>, undecided: usize) -> Self {
        let mut rows = vec![("minutes".to_owned(), minutes), ("attempts".to_owned(), tally.attempts.get())];
        if let Some(chaos) = chaos {
            rows.extend(chaos.done.iter().map(|(kind, times)| ((*kind).to_owned(), *times)));
            rows.push(("replicas started again by the supervisor".to_owned(), chaos.revived));
        }
        for (name, number) in [
            ("unknown outcomes resolved", tally.resolved.get()),
            ("... of them by kills alone", tally.felt.get()),
            ("duplicates sent", tally.duplicates.get()),
            ("hang-ups", tally.hang_ups.get()),
        ] {
            rows.push((name.to_owned(), number));
        }
        let mut faults = Vec::new();
        if undecided > 0 {
            faults.push(format!("{undecided} operations never got a definitive answer"));
        }
        if tally.unrecorded.get() > 0 {
            faults.push(format!("{} attempts could not be recorded", tally.unrecorded.get()));
        }
        Self { rows, checked: BTreeMap::new(), felt: tally.felt.get(), felt_at_least: chaos.map_or(0, |_| felt_at_least(minutes)), faults }
    }

    /// Has the history checked by the separate program beside this one.
    pub async fn check(&mut self, history: &Path, url: &str) -> Result<(), Box<dyn Error>> {
        let program = std::env::current_exe()?.with_file_name("soak-check");
        let mut command = Command::new(program);
        command.arg("--history").arg(history).args(["--database-url", url]);
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

    /// Has the ledger verified by the service itself.
    pub async fn verify_ledger(&mut self, binary: &Path, url: &str) -> Result<(), Box<dyn Error>> {
        let mut command = service(binary, url);
        command.arg("verify-ledger");
        let output = output(command).await?;
        self.require("verify-ledger", &output);
        Ok(())
    }

    /// Looks for what must not be in any log.
    pub fn read_logs(&mut self, folder: &Path, replicas: usize) -> Result<(), Box<dyn Error>> {
        let logs = (0..replicas).map(|index| (format!("replica-{index}.log"), "panicked"));
        for (log, never) in logs.chain([("postgres.log".to_owned(), "already a transaction in progress")]) {
            let said = fs::read(folder.join(&log))?;
            let times = String::from_utf8_lossy(&said).matches(never).count();
            if times > 0 {
                self.faults.push(format!("{log} says {times} times: {never}"));
            }
        }
        Ok(())
    }

    /// Prints the table and every fault.
    pub fn print(&self) -> Result<Verdict, Box<dyn Error>> {
        let mut out = stdout().lock();
        let (verdict, word) = match (self.faults.is_empty(), self.felt >= self.felt_at_least) {
            (false, _) => (Verdict::Fail, "FAIL".to_owned()),
            (true, false) => (Verdict::Void, format!("VOID: {} kills felt, of at least {}", self.felt, self.felt_at_least)),
            (true, true) => (Verdict::Pass, "PASS".to_owned()),
        };
        let rows = self.rows.iter().map(|(name, number)| (name, number)).chain(&self.checked);
        for (name, number) in rows {
            writeln!(out, "{name:<44}{number:>10}")?;
        }
        for fault in &self.faults {
            writeln!(out, "{fault}")?;
        }
        writeln!(out, "{word}")?;
        Ok(verdict)
    }

    fn require(&mut self, program: &str, output: &Output) {
        if !output.status.success() {
            let (said, complained) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
            let said: Vec<_> = if complained.is_empty() { said.lines() } else { complained.lines() }.take(50).collect();
            self.faults.push(format!("{program} ended with {}:\n{}", output.status, said.join("\n")));
        }
    }
}

/// Fifty in half an hour, and never less than five.
fn felt_at_least(minutes: u64) -> u64 {
    (50 * minutes / 30).max(5)
}

async fn output(mut command: Command) -> Result<Output, Box<dyn Error>> {
    Ok(tokio::task::spawn_blocking(move || command.output()).await??)
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_longer_run_must_observe_more_kills() {
        assert_eq!([1, 2, 6, 30].map(super::felt_at_least), [5, 5, 10, 50]);
    }
}
