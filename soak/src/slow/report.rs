//! The result as a short table, and the verdict.

use std::{
    io::{Write, stdout},
    time::Duration,
};

use bench::Failure;

use crate::{crowd::Closed, load::Times};

/// The maximum lifetime of a slow connection: the server's timeout of ten seconds, and some time to notice the close.
const DEADLINE: Duration = Duration::from_secs(12);

/// All measurements.
#[derive(Debug)]
pub struct Report {
    connections: u32,
    /// Turns without slow clients.
    pub without: Times,
    /// Turns with slow clients.
    pub with: Times,
    /// The closed slow connections.
    pub closed: Vec<Closed>,
}

impl Report {
    /// An empty report.
    pub fn new(connections: u32) -> Self {
        Self { connections, without: Times::default(), with: Times::default(), closed: Vec::new() }
    }

    /// Prints the table, and returns whether the measurement passes.
    pub fn print(mut self) -> Result<bool, Failure> {
        let mut out = stdout().lock();
        let mut passes = true;
        writeln!(out, "{:<28}{:>12}{:>12}{:>8}", "milliseconds", "without", "with", "ratio")?;
        for (name, without, with) in [
            ("GET /cards/{cardId}", &mut self.without.reads, &mut self.with.reads),
            ("POST /balances/add", &mut self.without.top_ups, &mut self.with.top_ups),
        ] {
            without.sort_unstable();
            with.sort_unstable();
            for percent in [50, 99] {
                let (before, after) = (percentile(without, percent)?, percentile(with, percent)?);
                let ratio = after.as_micros() * 100 / before.as_micros().max(1);
                passes &= percent != 99 || ratio < 200;
                let label = format!("{name} p{percent}");
                writeln!(out, "{label:<28}{:>12}{:>12}{:>8}", milliseconds(before), milliseconds(after), hundredths(ratio))?;
            }
            writeln!(out, "{:<28}{:>12}{:>12}", "  requests", without.len(), with.len())?;
        }
        let oldest = self.closed.iter().map(|closed| closed.after).max().unwrap_or_default();
        let answered = self.closed.iter().filter(|closed| closed.answered).count();
        let late = self.closed.iter().filter(|closed| closed.after > DEADLINE).count();
        writeln!(out, "{} concurrent slow connections, {} in total, each closed by the server", self.connections, self.closed.len())?;
        writeln!(out, "longest lifetime {} s; {answered} were answered 408; {late} were closed late", hundredths(oldest.as_millis() / 10))?;
        passes &= late == 0 && answered > 0;
        writeln!(out, "{}", if passes { "PASS" } else { "FAIL" })?;
        Ok(passes)
    }
}

/// The percentile of sorted times, by nearest rank.
fn percentile(sorted: &[Duration], percent: usize) -> Result<Duration, &'static str> {
    let rank = (sorted.len() * percent).div_ceil(100).max(1);
    sorted.get(rank - 1).copied().ok_or("nothing was measured")
}

fn milliseconds(time: Duration) -> String {
    hundredths(time.as_micros() / 10)
}

fn hundredths(number: u128) -> String {
    format!("{}.{:02}", number / 100, number % 100)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_percentile_is_the_nearest_rank() {
        let times: Vec<Duration> = (1..=200).map(Duration::from_millis).collect();
        assert_eq!(percentile(&times, 50), Ok(Duration::from_millis(100)));
        assert_eq!(percentile(&times, 99), Ok(Duration::from_millis(198)));
        assert_eq!(percentile(&times[..1], 99), Ok(Duration::from_millis(1)));
        assert!(percentile(&[], 50).is_err());
        assert_eq!(milliseconds(Duration::from_micros(12_345)), "12.34");
    }
}
