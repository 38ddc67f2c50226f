//! The result: the machine, the table, and the lines that miss their target.

use std::fmt;

use crate::{
    plan::{Against, BEST_OF, Entry, Run},
    sample::{Sample, hundredths_of},
    table::{Row, Table, hundredths, milliseconds, rate},
};

/// The complete result.
#[derive(Debug, Default)]
pub struct Report {
    machine: String,
    table: Table,
    failed: Vec<String>,
}

impl Report {
    /// An empty report of this machine.
    pub fn on(machine: String) -> Self {
        Self { machine, ..Self::default() }
    }

    /// Whether every line reaches its target.
    pub const fn passes(&self) -> bool {
        self.failed.is_empty()
    }

    /// Adds a line, from the medians of its turns.
    pub fn line(&mut self, entry: &Entry, done: &[(Run, Sample)]) {
        let Some(ours) = median(done, entry.run) else { return };
        let theirs = match entry.against {
            Against::P99(run) => {
                let (theirs, ours_p99) = (median(done, run).and_then(|sample| sample.p99), ours.p99);
                let ratio = theirs.zip(ours_p99).map(|(theirs, ours)| hundredths_of(theirs, ours));
                return self.add_ratio((entry.name, entry.run.1), ours, None, ratio, entry.target);
            }
            Against::Nothing => None,
            Against::Run(run) => median(done, run).map(|sample| sample.rate),
            Against::BestPgbench => BEST_OF.iter().filter_map(|run| median(done, *run)).map(|sample| sample.rate).max(),
        };
        self.add_rate((entry.name, entry.run.1), ours, theirs.map(rate), theirs, entry.target);
    }

    /// Adds a line that is compared with another line of ours: with its rate, and the minimum ratio in hundredths.
    pub fn compare(&mut self, name: &str, clients: u32, ours: Option<Sample>, other: Option<(u64, u64)>) {
        let Some(ours) = ours else { return };
        self.add_rate((name, clients), ours, None, other.map(|(rate, _)| rate), other.map(|(_, target)| target));
    }

    fn add_rate(&mut self, (name, clients): (&str, u32), ours: Sample, theirs: Option<String>, against: Option<u64>, target: Option<u64>) {
        let ratio = against.map(|against| hundredths_of(ours.rate, against));
        self.add_ratio((name, clients), ours, theirs, ratio, target);
    }

    fn add_ratio(&mut self, (name, clients): (&str, u32), ours: Sample, theirs: Option<String>, ratio: Option<u64>, target: Option<u64>) {
        let fails = ratio.zip(target).is_some_and(|(ratio, target)| ratio < target);
        self.row(
            name,
            [
                clients.to_string(),
                rate(ours.rate),
                ours.p50.map(milliseconds).unwrap_or_default(),
                ours.p99.map(milliseconds).unwrap_or_default(),
                theirs.unwrap_or_default(),
                ratio.map(hundredths).unwrap_or_default(),
                target.map(hundredths).unwrap_or_default(),
            ],
            fails,
        );
    }

    /// Adds how late messages are, whose p99 should be below a second.
    pub fn lag(&mut self, name: &str, sample: Sample) {
        let ratio = sample.p99.map(|p99| hundredths_of(1_000_000, p99));
        self.add_ratio((name, 1), sample, None, ratio, Some(100));
    }

    /// Adds the time that the server takes to be ready, in microseconds.
    pub fn start(&mut self, median: Option<u64>) {
        let took = median.map(milliseconds).unwrap_or_default();
        self.row("start to ready", single(took, String::new()), false);
    }

    /// Adds the server's resident memory in kilobytes, and its limit in megabytes.
    pub fn memory(&mut self, name: &str, kilobytes: Option<u64>, limit: Option<u64>) {
        let Some(megabytes) = kilobytes.map(|kilobytes| kilobytes.div_ceil(1024)) else { return };
        let target = limit.map(|limit| format!("<= {limit} MB")).unwrap_or_default();
        self.row(&format!("memory {name}"), single(format!("{megabytes} MB"), target), limit.is_some_and(|limit| megabytes > limit));
    }

    /// Adds the growth of the server's memory, from `rest` to `peak` kilobytes, and its limit in megabytes.
    pub fn growth(&mut self, name: &str, peak: Option<u64>, rest: Option<u64>, limit: u64) {
        let Some(megabytes) = peak.zip(rest).map(|(peak, rest)| peak.saturating_sub(rest).div_ceil(1024)) else { return };
        self.row(name, single(format!("+{megabytes} MB"), format!("<= {limit} MB")), megabytes > limit);
    }

    /// Adds a number that must be 0.
    pub fn expect_zero(&mut self, name: &str, number: u64) {
        self.row(name, single(number.to_string(), "0".to_owned()), number > 0);
    }

    fn row(&mut self, name: &str, [clients, ours, p50, p99, theirs, ratio, target]: [String; 7], fails: bool) {
        if fails {
            let clients = if clients.is_empty() { String::new() } else { format!(" ({clients} clients)") };
            self.failed.push(format!("{name}{clients}"));
        }
        self.table.0.push(Row([name.to_owned(), clients, ours, p50, p99, theirs, ratio, target]));
    }
}

impl fmt::Display for Report {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(out, "{}\n\n{}", self.machine, self.table)?;
        let best = BEST_OF.map(|(_, clients)| clients.to_string()).join(", ");
        writeln!(
            out,
            "Top-ups with 64 and 256 clients are compared with pgbench's best rate at {best} clients, and logins with argon2id on all cores. \
             Other cards are measured during a load of 200 clients; the p99 during load on one card is compared with the p99 during load \
             on all cards."
        )?;
        if self.passes() { write!(out, "PASS") } else { write!(out, "FAIL: {}", self.failed.join(", ")) }
    }
}

/// The cells of a line with a single number.
fn single(ours: String, target: String) -> [String; 7] {
    [String::new(), ours, String::new(), String::new(), String::new(), String::new(), target]
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
    fn a_line_is_compared_with_the_best_median_and_fails_below_its_target() {
        let keys = entries(|line| line == Line::Keys);
        let theirs = |clients, rate| ((Work::Pgbench(Script::Spread), clients), sample(rate));
        let mut done = vec![theirs(8, 300), theirs(64, 900), theirs(64, 500), theirs(64, 400), theirs(256, 200)];
        done.push(((Work::Keys, 256), sample(600)));
        let mut report = Report::default();
        report.line(&keys[0], &done);
        assert!(report.passes(), "{report}");
        assert_eq!(report.table.0[0].0[5..], ["5.0", "1.20", "1.20"]);
        done.push(((Work::Keys, 256), sample(100)));
        let mut report = Report::default();
        report.line(&keys[0], &done);
        assert!(!report.passes(), "{report}");
        assert!(report.to_string().ends_with("FAIL: with an Idempotency-Key on each (256 clients)"), "{report}");
    }

    #[test]
    fn a_line_can_be_compared_by_p99() {
        let beside = entries(|line| line == Line::Beside);
        let took = |p99| Sample { rate: 1, p50: Some(1), p99: Some(p99) };
        for (ours, passes) in [(2_000, true), (2_100, false)] {
            let mut report = Report::default();
            let done = [((Work::OthersBesideSpread, 4), took(1_000)), ((Work::OthersBesideHot, 4), took(ours))];
            report.line(&beside[2], &done);
            assert_eq!(report.passes(), passes, "{report}");
        }
    }

    #[test]
    fn a_line_can_be_compared_with_another_line_of_ours() {
        let mut report = Report::default();
        report.compare("few", 64, Some(sample(1_000)), None);
        report.compare("many", 64, Some(sample(800)), Some((1_000, 80)));
        assert!(report.passes(), "{report}");
        report.compare("more", 64, Some(sample(799)), Some((1_000, 80)));
        assert!(report.to_string().ends_with("FAIL: more (64 clients)"), "{report}");
    }

    #[test]
    fn memory_fails_above_its_limit_if_it_has_one() {
        let mut report = Report::default();
        report.memory("after start", Some(500 * 1024), None);
        report.memory("after load", Some(100 * 1024), Some(100));
        report.growth("memory for a list", Some(150 * 1024), Some(100 * 1024), 50);
        report.expect_zero("connections", 0);
        assert!(report.passes(), "{report}");
        report.memory("after load", Some(100 * 1024 + 1), Some(100));
        report.growth("memory for a list", Some(150 * 1024 + 1), Some(100 * 1024), 50);
        report.expect_zero("connections", 1);
        assert!(report.to_string().ends_with("FAIL: memory after load, memory for a list, connections"), "{report}");
    }
}
