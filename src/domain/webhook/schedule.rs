//! When a message is sent again.

use std::time::Duration;

/// The maximum number of attempts of a delivery.
pub const MAX_ATTEMPTS: u16 = 10;

/// The longest that an endpoint may ask to be left alone.
pub const MAX_RETRY_AFTER: Duration = Duration::from_secs(24 * 60 * 60);

/// The largest jitter in either direction, in parts per million.
pub const MAX_JITTER_PPM: i32 = 200_000;

/// The seconds before each attempt. The last is about three days after the first.
const DELAYS: [u64; MAX_ATTEMPTS as usize] = {
    const MINUTE: u64 = 60;
    const HOUR: u64 = 60 * MINUTE;
    [0, 5, 5 * MINUTE, 30 * MINUTE, 2 * HOUR, 5 * HOUR, 10 * HOUR, 14 * HOUR, 20 * HOUR, 24 * HOUR]
};

/// How long to wait before the next attempt. None: there is none.
///
/// The jitter is a random number between -[`MAX_JITTER_PPM`] and [`MAX_JITTER_PPM`]. It keeps the deliveries to an endpoint
/// that was down from coming back all at once. The endpoint may ask for more time, up to [`MAX_RETRY_AFTER`], never for less.
#[must_use]
pub fn next_delay(attempts_made: u16, jitter_ppm: i32, retry_after: Option<Duration>) -> Option<Duration> {
    const ONE: i32 = 1_000_000;
    let seconds = *DELAYS.get(usize::from(attempts_made))?;
    // One second and a millionth of it, a microsecond, are of the same kind.
    let factor = u64::from((ONE + jitter_ppm.clamp(-MAX_JITTER_PPM, MAX_JITTER_PPM)).unsigned_abs());
    let scheduled = Duration::from_micros(seconds * factor);
    Some(retry_after.map_or(scheduled, |asked| scheduled.max(asked.min(MAX_RETRY_AFTER))))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const HOUR: u64 = 3_600;

    #[test]
    fn the_schedule() {
        let delays: Vec<u64> = (0..MAX_ATTEMPTS).map(|made| next_delay(made, 0, None).expect("another attempt").as_secs()).collect();
        assert_eq!(delays, [0, 5, 300, 1_800, 2 * HOUR, 5 * HOUR, 10 * HOUR, 14 * HOUR, 20 * HOUR, 24 * HOUR]);
        for made in [MAX_ATTEMPTS, MAX_ATTEMPTS + 1, u16::MAX] {
            assert_eq!(next_delay(made, 0, Some(Duration::from_secs(1))), None);
        }
    }

    #[test]
    fn jitter_moves_it_by_a_fifth_at_most() {
        let delay = |jitter| next_delay(2, jitter, None).expect("another attempt");
        assert_eq!((delay(-200_000), delay(200_000)), (Duration::from_secs(240), Duration::from_secs(360)));
        assert_eq!((delay(i32::MIN), delay(i32::MAX)), (Duration::from_secs(240), Duration::from_secs(360)));
        assert_eq!(delay(1), Duration::from_micros(300_000_300));
        assert_eq!(next_delay(0, 200_000, None), Some(Duration::ZERO));
    }

    #[test]
    fn an_endpoint_may_ask_for_more_time_and_not_for_less() {
        let delay = |asked| next_delay(1, 0, Some(Duration::from_secs(asked))).expect("another attempt").as_secs();
        assert_eq!((delay(0), delay(4), delay(6), delay(24 * HOUR)), (5, 5, 6, 24 * HOUR));
        assert_eq!((delay(24 * HOUR + 1), delay(u64::MAX)), (24 * HOUR, 24 * HOUR));
        let late = next_delay(9, 200_000, Some(Duration::MAX)).expect("another attempt");
        assert_eq!(late.as_secs(), 24 * HOUR * 12 / 10, "the cap is the endpoint's, not the schedule's");
    }

    proptest! {
        #[test]
        fn a_delay_is_within_its_bounds(made in 0..MAX_ATTEMPTS, jitter: i32, asked in proptest::option::of(any::<u64>())) {
            let base = next_delay(made, 0, None).expect("another attempt");
            let asked = asked.map(Duration::from_secs);
            let delay = next_delay(made, jitter, asked).expect("another attempt");
            prop_assert!(delay >= base * 8 / 10);
            prop_assert!(delay >= asked.unwrap_or_default().min(MAX_RETRY_AFTER));
            prop_assert!(delay <= (base * 12 / 10).max(asked.unwrap_or_default().min(MAX_RETRY_AFTER)));
        }
    }
}
