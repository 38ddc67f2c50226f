//! What came out: the machine, the table, and whether anything falls short.

use std::fmt;

use crate::{
    plan::{Against, BEST_OF, Entry, Run},
    sample::{Sample, hundredths_of},
    table::{Row, Table, hundredths, milliseconds, rate},
};

/// The most memory that the server should have after load, in megabytes.
const MOST_MEMORY: u64 = 100;

/// All of it.
#[derive(Debug, Default)]
pub struct Report {
    machine: String,
    table: Table,
    short: Vec<String>,
}

impl Report {
    /// Says where it was measured.
    pub fn on(machine: String) -> Self {
        Self { machine, ..Self::default() }
    }

    /// Whether nothing falls short.
    pub const fn good(&self) -> bool {
        self.short.is_empty()
    }

    /// A line, by the medians of its turns.
    pub fn line(&mut self, entry: &Entry, done: &[(Run, Sample)]) {
        let Some(ours) = median(done, entry.run) else { return };
        let theirs = match entry.against {
            Against::Nothing => None,
            Against::Run(run) => median(done, run).map(|sample| sample.rate),
            Against::BestPgbench => BEST_OF.iter().filter_map(|run| median(done, *run)).map(|sample| sample.rate).max(),
        };
        let ratio = theirs.map(|theirs| hundredths_of(ours.rate, theirs));
        let short = ratio.zip(entry.wanted).is_some_and(|(ratio, wanted)| ratio < wanted);
        self.row(
            entry.name,
            [
                entry.run.1.to_string(),
                rate(ours.rate),
                ours.p50.map(milliseconds).unwrap_or_default(),
                ours.p99.map(milliseconds).unwrap_or_default(),
                theirs.map(rate).unwrap_or_default(),
                ratio.map(hundredths).unwrap_or_default(),
                entry.wanted.map(hundredths).unwrap_or_default(),
            ],
            short,
        );
    }

    /// How long the server takes to be ready, in microseconds.
    pub fn start(&mut self, median: Option<u64>) {
        let took = median.map(milliseconds).unwrap_or_default();
        self.row("start to ready", only(took, String::new()), false);
    }

    /// The server's resident memory, in kilobytes; `bounded` if it should stay small.
    pub fn memory(&mut self, name: &str, kilobytes: Option<u64>, bounded: bool) {
        let Some(kilobytes) = kilobytes else { return };
        let megabytes = kilobytes.div_ceil(1024);
        let wanted = if bounded { format!("<= {MOST_MEMORY} MB") } else { String::new() };
        self.row(&format!("memory {name}"), only(format!("{megabytes} MB"), wanted), bounded && megabytes > MOST_MEMORY);
    }

    fn row(&mut self, name: &str, [clients, ours, p50, p99, theirs, ratio, wanted]: [String; 7], short: bool) {
        if short {
            let clients = if clients.is_empty() { String::new() } else { format!(" ({clients} clients)") };
            self.short.push(format!("{name}{clients}"));
        }
        self.table.0.push(Row([name.to_owned(), clients, ours, p50, p99, theirs, ratio, wanted]));
    }
}

impl fmt::Display for Report {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(out, "{}\n\n{}", self.machine, self.table)?;
        let best = BEST_OF.map(|(_, clients)| clients.to_string()).join(", ");
        writeln!(
            out,
            "Top-ups of 64 and 256 clients are held against pgbench's best of {best} clients; logins against argon2id on all cores."
        )?;
        if self.good() { write!(out, "PASS") } else { write!(out, "FAIL: {}", self.short.join(", ")) }
    }
}

/// Cells of a line that has one number only.
fn only(ours: String, wanted: String) -> [String; 7] {
    [String::new(), ours, String::new(), String::new(), String::new(), String::new(), wanted]
}

fn median(done: &[(Run, Sample)], run: Run) -> Option<Sample> {
    let samples: Vec<Sample> = done.iter().filter(|(other, _)| *other == run).map(|(_, sample)| *sample).collect();
    Sample::median(&samples)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Line, pgbench::Script, plan::Work, plan::entries};

    fn sample(rate: u64) -> Sample {
        Sample { rate, p50: Some(10), p99: Some(20) }
    }

    #[test]
    fn a_line_is_held_against_the_best_median_and_told_when_short() {
        let keys = entries(|line| line == Line::Keys);
        let theirs = |clients, rate| ((Work::Pgbench(Script::Spread), clients), sample(rate));
        let mut done = vec![theirs(8, 300), theirs(64, 900), theirs(64, 500), theirs(64, 400), theirs(256, 200)];
        done.push(((Work::Keys, 256), sample(500)));
        let mut report = Report::default();
        report.line(&keys[0], &done);
        assert!(report.good(), "{report}");
        assert_eq!(report.table.0[0].0[5..], ["5.0", "1.00", "1.00"]);
        done.push(((Work::Keys, 256), sample(100)));
        let mut report = Report::default();
        report.line(&keys[0], &done);
        assert!(!report.good(), "{report}");
        assert!(report.to_string().ends_with("FAIL: with an Idempotency-Key each (256 clients)"), "{report}");
    }

    #[test]
    fn memory_is_bounded_after_load_only() {
        let mut report = Report::default();
        report.memory("with many connections", Some(500 * 1024), false);
        report.memory("after load", Some(100 * 1024), true);
        assert!(report.good(), "{report}");
        report.memory("after load", Some(100 * 1024 + 1), true);
        assert!(!report.good(), "{report}");
    }
}
