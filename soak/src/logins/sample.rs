//! What a number of measurements say. In whole numbers: microseconds, per cent, per mille.

/// The value below which so many per mille of the measurements lie.
pub fn quantile(micros: &mut [u64], per_mille: usize) -> u64 {
    micros.sort_unstable();
    let last = micros.len().saturating_sub(1);
    micros.get(last * per_mille / 1000).copied().unwrap_or_default()
}

/// The one in the middle.
pub fn median(micros: &mut [u64]) -> u64 {
    quantile(micros, 500)
}

/// How often, in per mille, one of the first takes longer than one of the second; 500 is not to be told apart.
/// (The area under the curve of whoever guesses by the clock.)
pub fn told_apart(first: &[u64], second: &[u64]) -> usize {
    let mut second = second.to_vec();
    second.sort_unstable();
    // Counted twice, so that a tie is half a win.
    let wins = |value: &u64| second.partition_point(|other| other < value) + second.partition_point(|other| other <= value);
    let twice: usize = first.iter().map(wins).sum();
    twice * 500 / (first.len() * second.len()).max(1)
}

/// Microseconds as milliseconds, for people.
pub fn milliseconds(micros: u64) -> String {
    format!("{}.{:02} ms", micros / 1000, micros % 1000 / 10)
}

/// The first in per cent of the second.
pub fn per_cent(first: u64, second: u64) -> u64 {
    first * 100 / second.max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_of_a_hundred_and_one() {
        let mut all: Vec<u64> = (0..=100).rev().collect();
        assert_eq!([0, 500, 990, 1000].map(|per_mille| quantile(&mut all, per_mille)), [0, 50, 99, 100]);
        assert_eq!(median(&mut []), 0);
    }

    #[test]
    fn equal_samples_cannot_be_told_apart_and_disjoint_ones_can() {
        let (low, high): (Vec<u64>, Vec<u64>) = ((0..100).collect(), (100..200).collect());
        assert_eq!([told_apart(&low, &low), told_apart(&low, &high), told_apart(&high, &low)], [500, 0, 1000]);
        assert_eq!(told_apart(&[7; 10], &[7; 20]), 500);
    }
}
