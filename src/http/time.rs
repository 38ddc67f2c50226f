//! Timestamps in JSON: RFC 3339, UTC, `Z`, to the millisecond.

use std::str::FromStr;

use chrono::{DateTime, Datelike as _, NaiveDate, NaiveTime, SecondsFormat, Utc};
use serde::{Serialize, Serializer};

/// A time by the database's clock.
pub(super) struct Timestamp(pub(super) DateTime<Utc>);

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0.to_rfc3339_opts(SecondsFormat::Millis, true))
    }
}

/// A time from a caller: RFC 3339, or a date, which means its start in UTC.
pub(super) struct Moment(pub(super) DateTime<Utc>);

/// The text is neither a date nor RFC 3339.
pub(super) struct NotAMoment;

impl FromStr for Moment {
    type Err = NotAMoment;

    fn from_str(text: &str) -> Result<Self, NotAMoment> {
        let date = || text.parse::<NaiveDate>().ok().map(|date| date.and_time(NaiveTime::MIN).and_utc());
        // An unencoded plus sign of an offset is decoded as a space.
        let moment = || DateTime::parse_from_rfc3339(&text.replace(' ', "+")).ok().map(|moment| moment.to_utc());
        date().or_else(moment).filter(is_storable).map(Self).ok_or(NotAMoment)
    }
}

/// Whether the year has four digits, as in RFC 3339. Some other years do not fit the database.
fn is_storable(moment: &DateTime<Utc>) -> bool {
    (0..=9999).contains(&moment.year())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_date_or_a_time_with_an_offset_is_parsed() {
        let written = |text: &str| text.parse().ok().map(|Moment(moment)| moment.to_rfc3339_opts(SecondsFormat::Millis, true));
        for (text, moment) in [
            ("2025-02-10", "2025-02-10T00:00:00.000Z"),
            ("2025-02-10T12:00:00Z", "2025-02-10T12:00:00.000Z"),
            ("2025-02-10T12:00:00.125-05:00", "2025-02-10T17:00:00.125Z"),
            ("2025-02-10T12:00:00 02:00", "2025-02-10T10:00:00.000Z"),
        ] {
            assert_eq!(written(text).as_deref(), Some(moment), "{text}");
        }
        for none in ["", "yesterday", "2025-02-30", "2025-02-10T12:00:00", "10.02.2025", "1739188800", "+12025-02-10", "-0001-01-01"] {
            assert_eq!(written(none), None, "{none}");
        }
    }

    #[test]
    fn a_timestamp_is_written_in_utc_with_a_z() {
        let moment = DateTime::from_timestamp(1_739_188_800, 5_000_000).expect("a moment");
        assert_eq!(serde_json::to_string(&Timestamp(moment)).expect("serialises"), "\"2025-02-10T12:00:00.005Z\"");
    }
}
