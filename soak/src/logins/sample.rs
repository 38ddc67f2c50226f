//! Statistics in whole numbers: microseconds, per cent, per mille.

/// The quantile of the measurements, in per mille.
pub fn quantile(micros: &mut [u64], per_mille: usize) -> u64 {
    micros.sort_unstable();
    let last = micros.len().saturating_sub(1);
    micros.get(last * per_mille / 1000).copied().unwrap_or_default()
}

/// The median.
pub fn median(micros: &mut [u64]) -> u64 {
    quantile(micros, 500)
}

/// The probability, in per mille, that a value of the first sample exceeds one of the second. 500 means that they cannot
/// be told apart. (The area under the ROC curve of an attacker who measures times.)
pub fn auc(first: &[u64], second: &[u64]) -> usize {
    let mut second = second.to_vec();
    second.sort_unstable();
    // Wins count twice, so that a tie counts once.
    let wins = |value: &u64| second.partition_point(|other| other < value) + second.partition_point(|other| other <= value);
    let twice: usize = first.iter().map(wins).sum();
    twice * 500 / (first.len() * second.len()).max(1)
}

/// Microseconds, formatted as milliseconds.
pub fn milliseconds(micros: u64) -> String {
    format!("{}.{:02} ms", micros / 1000, micros % 1000 / 10)
}

/// The ratio in per cent.
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
        assert_eq!([auc(&low, &low), auc(&low, &high), auc(&high, &low)], [500, 0, 1000]);
        assert_eq!(auc(&[7; 10], &[7; 20]), 500);
    }
}
