//! What came out, as one short table, and the verdict.

use std::{
    error::Error,
    io::{Write, stdout},
    time::Duration,
};

use crate::{crowd::Closed, load::Times};

/// The longest that a connection may be open: the server's deadline of ten seconds, and a moment for this program to see it.
const DEADLINE: Duration = Duration::from_secs(12);

/// Everything that was measured.
#[derive(Debug)]
pub struct Report {
    connections: u32,
    /// Turns without slow clients.
    pub without: Times,
    /// Turns with them.
    pub with: Times,
    /// The slow clients.
    pub closed: Vec<Closed>,
}

impl Report {
    /// Nothing yet.
    pub fn new(connections: u32) -> Self {
        Self { connections, without: Times::default(), with: Times::default(), closed: Vec::new() }
    }

    /// Prints the table; tells whether all is well.
    pub fn print(mut self) -> Result<bool, Box<dyn Error>> {
        let mut out = stdout().lock();
        let mut good = true;
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
                good &= percent != 99 || ratio < 200;
                let label = format!("{name} p{percent}");
                writeln!(out, "{label:<28}{:>12}{:>12}{:>8}", milliseconds(before), milliseconds(after), hundredths(ratio))?;
            }
            writeln!(out, "{:<28}{:>12}{:>12}", "  requests", without.len(), with.len())?;
        }
        let oldest = self.closed.iter().map(|closed| closed.after).max().unwrap_or_default();
        let answered = self.closed.iter().filter(|closed| closed.answered).count();
        let late = self.closed.iter().filter(|closed| closed.after > DEADLINE).count();
        writeln!(out, "{} slow connections at once, {} in all, each closed by the server", self.connections, self.closed.len())?;
        writeln!(
            out,
            "the last of them {} s after it was opened; {answered} were answered 408; {late} were closed late",
            hundredths(oldest.as_millis() / 10)
        )?;
        good &= late == 0 && answered > 0;
        writeln!(out, "{}", if good { "PASS" } else { "FAIL" })?;
        Ok(good)
    }
}

/// Of sorted times, the one that so many percent are no longer than.
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
