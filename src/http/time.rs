//! Timestamps on the wire: RFC 3339, UTC, `Z`, to the millisecond.

use chrono::{DateTime, SecondsFormat, Utc};
use serde::{Serialize, Serializer};

/// A moment by the database's clock.
pub(super) struct Timestamp(pub(super) DateTime<Utc>);

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0.to_rfc3339_opts(SecondsFormat::Millis, true))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_written_in_utc_with_a_z() {
        let moment = DateTime::from_timestamp(1_739_188_800, 5_000_000).expect("a moment");
        assert_eq!(serde_json::to_string(&Timestamp(moment)).expect("serialises"), "\"2025-02-10T12:00:00.005Z\"");
    }
}
