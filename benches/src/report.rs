//! What came out: the machine, the table, and whether anything falls short.

use std::fmt;

use crate::{
    plan::{Against, BEST_OF, Entry, Run},
    sample::{Sample, hundredths_of},
    table::{Row, Table, hundredths, milliseconds, rate},
};

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
            Against::P99(run) => {
                let (theirs, slowest) = (median(done, run).and_then(|sample| sample.p99), ours.p99);
                let ratio = theirs.zip(slowest).map(|(theirs, ours)| hundredths_of(theirs, ours));
                return self.compared((entry.name, entry.run.1), ours, None, ratio, entry.wanted);
            }
            Against::Nothing => None,
            Against::Run(run) => median(done, run).map(|sample| sample.rate),
            Against::BestPgbench => BEST_OF.iter().filter_map(|run| median(done, *run)).map(|sample| sample.rate).max(),
        };
        self.rated((entry.name, entry.run.1), ours, theirs.map(rate), theirs, entry.wanted);
    }

    /// A line that is held against another of ours: against its rate, of which it should be so many hundredths at least.
    pub fn held_against(&mut self, name: &str, clients: u32, ours: Option<Sample>, other: Option<(u64, u64)>) {
        let Some(ours) = ours else { return };
        self.rated((name, clients), ours, None, other.map(|(rate, _)| rate), other.map(|(_, wanted)| wanted));
    }

    fn rated(&mut self, (name, clients): (&str, u32), ours: Sample, theirs: Option<String>, against: Option<u64>, wanted: Option<u64>) {
        let ratio = against.map(|against| hundredths_of(ours.rate, against));
        self.compared((name, clients), ours, theirs, ratio, wanted);
    }

    fn compared(&mut self, (name, clients): (&str, u32), ours: Sample, theirs: Option<String>, ratio: Option<u64>, wanted: Option<u64>) {
        let short = ratio.zip(wanted).is_some_and(|(ratio, wanted)| ratio < wanted);
        self.row(
            name,
            [
                clients.to_string(),
                rate(ours.rate),
                ours.p50.map(milliseconds).unwrap_or_default(),
                ours.p99.map(milliseconds).unwrap_or_default(),
                theirs.unwrap_or_default(),
                ratio.map(hundredths).unwrap_or_default(),
                wanted.map(hundredths).unwrap_or_default(),
            ],
            short,
        );
    }

    /// How long the server takes to be ready, in microseconds.
    pub fn start(&mut self, median: Option<u64>) {
        let took = median.map(milliseconds).unwrap_or_default();
        self.row("start to ready", only(took, String::new()), false);
    }

    /// The server's resident memory, in kilobytes, and the most megabytes that it should have.
    pub fn memory(&mut self, name: &str, kilobytes: Option<u64>, most: Option<u64>) {
        let Some(megabytes) = kilobytes.map(|kilobytes| kilobytes.div_ceil(1024)) else { return };
        let wanted = most.map(|most| format!("<= {most} MB")).unwrap_or_default();
        self.row(&format!("memory {name}"), only(format!("{megabytes} MB"), wanted), most.is_some_and(|most| megabytes > most));
    }

    /// How much the server's memory grew at most, from kilobytes to kilobytes, and how many megabytes that should be.
    pub fn growth(&mut self, name: &str, peak: Option<u64>, rest: Option<u64>, most: u64) {
        let Some(megabytes) = peak.zip(rest).map(|(peak, rest)| peak.saturating_sub(rest).div_ceil(1024)) else { return };
        self.row(name, only(format!("+{megabytes} MB"), format!("<= {most} MB")), megabytes > most);
    }

    /// Of something there should be none.
    pub fn none_of(&mut self, name: &str, number: u64) {
        self.row(name, only(number.to_string(), "0".to_owned()), number > 0);
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
            "Top-ups of 64 and 256 clients are held against pgbench's best of {best} clients; logins against argon2id on all cores; \
             other cards beside one that is hot, by their p99, against those beside as many clients of all cards."
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
    fn a_line_is_compared_with_the_best_median_and_fails_below_its_target() {
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
    fn a_line_can_be_compared_by_p99() {
        let beside = entries(|line| line == Line::Beside);
        let took = |p99| Sample { rate: 1, p50: Some(1), p99: Some(p99) };
        for (ours, good) in [(2_000, true), (2_100, false)] {
            let mut report = Report::default();
            let done = [((Work::OthersBesideSpread, 4), took(1_000)), ((Work::OthersBesideHot, 4), took(ours))];
            report.line(&beside[2], &done);
            assert_eq!(report.good(), good, "{report}");
        }
    }

    #[test]
    fn a_line_can_be_compared_with_another_line_of_ours() {
        let mut report = Report::default();
        report.held_against("few", 64, Some(sample(1_000)), None);
        report.held_against("many", 64, Some(sample(800)), Some((1_000, 80)));
        assert!(report.good(), "{report}");
        report.held_against("more", 64, Some(sample(799)), Some((1_000, 80)));
        assert!(report.to_string().ends_with("FAIL: more (64 clients)"), "{report}");
    }

    #[test]
    fn memory_fails_above_its_limit_if_it_has_one() {
        let mut report = Report::default();
        report.memory("after start", Some(500 * 1024), None);
        report.memory("after load", Some(100 * 1024), Some(100));
        report.growth("memory for a list", Some(150 * 1024), Some(100 * 1024), 50);
        report.none_of("connections", 0);
        assert!(report.good(), "{report}");
        report.memory("after load", Some(100 * 1024 + 1), Some(100));
        report.growth("memory for a list", Some(150 * 1024 + 1), Some(100 * 1024), 50);
        report.none_of("connections", 1);
        assert!(report.to_string().ends_with("FAIL: memory after load, memory for a list, connections"), "{report}");
    }
}
