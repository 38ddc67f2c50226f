//! The numbers of a run, and the medians of several runs.

use std::time::Duration;

/// The result of one run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sample {
    /// Operations per hundred seconds, since the few hashes of a second are too coarse a number.
    pub rate: u64,
    /// The median time in microseconds.
    pub p50: Option<u64>,
    /// The 99th percentile in microseconds.
    pub p99: Option<u64>,
}

impl Sample {
    /// From the times of all operations, in microseconds, and the length of the run.
    pub fn of(mut times: Vec<u64>, took: Duration) -> Self {
        times.sort_unstable();
        Self { rate: rate(times.len(), took), p50: percentile(&times, 50), p99: percentile(&times, 99) }
    }

    /// The median of each number.
    pub fn median(samples: &[Self]) -> Option<Self> {
        let each = |number: fn(&Self) -> Option<u64>| median(samples.iter().filter_map(number).collect());
        Some(Self { rate: each(|sample| Some(sample.rate))?, p50: each(|sample| sample.p50), p99: each(|sample| sample.p99) })
    }
}

/// Operations per hundred seconds.
pub fn rate(done: usize, took: Duration) -> u64 {
    let micros = took.as_micros().max(1);
    let done = u128::try_from(done).unwrap_or(u128::MAX);
    u64::try_from(done.saturating_mul(100_000_000) / micros).unwrap_or(u64::MAX)
}

/// The median; of an even number of values, the lower one.
pub fn median(mut numbers: Vec<u64>) -> Option<u64> {
    numbers.sort_unstable();
    percentile(&numbers, 50)
}

/// The percentile of sorted numbers, by nearest rank.
fn percentile(sorted: &[u64], percent: usize) -> Option<u64> {
    let rank = (sorted.len() * percent).div_ceil(100).max(1);
    sorted.get(rank - 1).copied()
}

/// The ratio in hundredths.
pub fn hundredths_of(ours: u64, theirs: u64) -> u64 {
    ours.saturating_mul(100) / theirs.max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_percentile_is_the_nearest_rank() {
        let times: Vec<u64> = (1..=200).collect();
        assert_eq!((percentile(&times, 50), percentile(&times, 99)), (Some(100), Some(198)));
        assert_eq!(percentile(&times[..1], 99), Some(1));
        assert_eq!(percentile(&[], 50), None);
    }

    #[test]
    fn a_median_does_not_depend_on_the_order() {
        assert_eq!(median(vec![9, 1, 5]), Some(5));
        assert_eq!(median(vec![7]), Some(7));
        assert_eq!(median(Vec::new()), None);
    }

    #[test]
    fn a_sample_has_a_rate_and_percentiles() {
        let sample = Sample::of((1..=100).rev().collect(), Duration::from_millis(500));
        assert_eq!(sample, Sample { rate: 20_000, p50: Some(50), p99: Some(99) });
        let other = Sample { rate: 100, p50: None, p99: None };
        assert_eq!(Sample::median(&[sample, other]), Some(Sample { rate: 100, p50: Some(50), p99: Some(99) }));
        assert_eq!(Sample::median(&[]), None);
    }

    #[test]
    fn a_ratio_is_in_hundredths() {
        assert_eq!(hundredths_of(141, 100), 141);
        assert_eq!(hundredths_of(1, 3), 33);
        assert_eq!(hundredths_of(5, 0), 500);
    }
}
