//! Timestamps in JSON: RFC 3339, UTC, `Z`, to the millisecond.

use std::{
    fmt::{self, Display},
    str::FromStr,
};

use chrono::{DateTime, Datelike as _, NaiveDate, SecondsFormat, Timelike as _, Utc};
use serde::{Serialize, Serializer};

use crate::domain::spending::window::TimeZone;

/// A time by the database's clock.
pub(super) struct Timestamp(pub(super) DateTime<Utc>);

impl Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.to_rfc3339_opts(SecondsFormat::Millis, true))
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// A time from a caller: RFC 3339, or a date, which means its start in UTC.
pub(super) struct Moment(pub(super) DateTime<Utc>);

/// A time from a caller: RFC 3339, or a date, whose start depends on a time zone.
#[derive(Clone, Copy)]
pub(super) enum DayOrMoment {
    Day(NaiveDate),
    Moment(DateTime<Utc>),
}

/// The text is neither a date nor RFC 3339.
pub(super) struct NotAMoment;

impl FromStr for DayOrMoment {
    type Err = NotAMoment;

    fn from_str(text: &str) -> Result<Self, NotAMoment> {
        // chrono also reads dates with spaces or with one digit, other signs and more, so the form is checked first.
        match form(text).ok_or(NotAMoment)? {
            Form::Date => text.parse().map(Self::Day).map_err(|_| NotAMoment),
            Form::DateTime => {
                let moment = DateTime::parse_from_rfc3339(text).map_err(|_| NotAMoment)?.to_utc();
                let is_valid = is_storable(&moment) && !is_misplaced_leap_second(&moment);
                is_valid.then_some(Self::Moment(moment)).ok_or(NotAMoment)
            }
        }
    }
}

impl DayOrMoment {
    /// The moment, or the first one of the day. None if that is in no year of four digits.
    pub(super) fn start_in(self, time_zone: TimeZone) -> Option<DateTime<Utc>> {
        let start = match self {
            Self::Day(day) => time_zone.start_of(day),
            Self::Moment(moment) => moment,
        };
        is_storable(&start).then_some(start)
    }
}

impl FromStr for Moment {
    type Err = NotAMoment;

    fn from_str(text: &str) -> Result<Self, NotAMoment> {
        text.parse::<DayOrMoment>()?.start_in(TimeZone::UTC).map(Self).ok_or(NotAMoment)
    }
}

enum Form {
    /// `YYYY-MM-DD`
    Date,
    /// RFC 3339's `date-time`
    DateTime,
}

/// The form of a text, character by character. Whether there is such a day or hour is another question.
fn form(text: &str) -> Option<Form> {
    let rest = follows(text.as_bytes(), b"0000-00-00")?;
    if rest.is_empty() {
        return Some(Form::Date);
    }
    let rest = follows(rest, b"T00:00:00")?;
    let rest = match rest.split_first() {
        Some((b'.', fraction)) => {
            let digits = fraction.iter().take_while(|byte| byte.is_ascii_digit()).count();
            fraction.get(digits..).filter(|_| digits > 0)?
        }
        _ => rest,
    };
    let rest = match rest.split_first()? {
        (b'Z' | b'z', rest) => rest,
        (b'+' | b'-', offset) => follows(offset, b"00:00")?,
        _ => return None,
    };
    rest.is_empty().then_some(Form::DateTime)
}

/// What follows a prefix of this form, in which `0` is any digit and a letter has any case.
fn follows<'a>(text: &'a [u8], form: &[u8]) -> Option<&'a [u8]> {
    let (start, rest) = text.split_at_checked(form.len())?;
    let fits = |(byte, form): (&u8, &u8)| if *form == b'0' { byte.is_ascii_digit() } else { byte.eq_ignore_ascii_case(form) };
    start.iter().zip(form).all(fits).then_some(rest)
}

/// Whether a second is numbered 60 elsewhere than at the end of a day in UTC, where alone leap seconds are inserted.
fn is_misplaced_leap_second(moment: &DateTime<Utc>) -> bool {
    moment.nanosecond() >= 1_000_000_000 && (moment.hour(), moment.minute()) != (23, 59)
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
            ("2025-02-10t12:00:00z", "2025-02-10T12:00:00.000Z"),
            ("2025-02-10T12:00:00+02:00", "2025-02-10T10:00:00.000Z"),
            ("2025-02-10T12:00:00.1234567891234Z", "2025-02-10T12:00:00.123Z"),
            ("2016-12-31T23:59:60Z", "2016-12-31T23:59:60.000Z"),
            ("2017-01-01T01:59:60+02:00", "2016-12-31T23:59:60.000Z"),
            ("2024-02-29", "2024-02-29T00:00:00.000Z"),
            ("0000-01-01", "0000-01-01T00:00:00.000Z"),
            ("9999-12-31T23:59:59Z", "9999-12-31T23:59:59.000Z"),
        ] {
            assert_eq!(written(text).as_deref(), Some(moment), "{text}");
        }
        for none in ["", "yesterday", "10.02.2025", "1739188800", "9999-12-31T23:59:59-01:00", "0000-01-01T00:00:00+01:00"] {
            assert_eq!(written(none), None, "{none}");
        }
    }

    #[test]
    fn only_the_exact_form_of_a_date_or_time_is_parsed() {
        let parsed = |text: &str| text.parse::<Moment>().is_ok();
        let dates = ["2025-02-01"];
        let wrong_dates = [
            "2025- 2- 1",
            "2025-2-1",
            "2025-02- 1",
            "2025-02-1",
            " 2025-02-01",
            "2025-02-01 ",
            "2025 -02-01",
            "2025-\t02-01",
            "+2025-02-01",
            "-2025-02-01",
            "02025-02-01",
            "25-02-01",
            "20250201",
            "2025/02/01",
            "2025-02-00",
            "2025-02-29",
            "2025-02-30",
            "2025-13-01",
            "2025-00-01",
            "2025-W06-1",
            "2025-032",
            "２０２５-02-01",
            "2025‐02‐01",
            "2025\u{2212}02\u{2212}01",
            "+12025-02-10",
            "-0001-01-01",
        ];
        let times = ["T00:00:00", "t23:59:59", "T12:34:56.7", "T12:34:56.123456789"];
        let wrong_times = [
            "",
            "T",
            " 00:00:00",
            "T 0:00:00",
            "T0:00:00",
            "T00:00",
            "T00:00:0",
            "T00: 0:00",
            "T00:00:00.",
            "T00:00:00,5",
            "T24:00:00",
            "T00:60:00",
            "T00:00:61",
            "T12:00:60",
            "T000000",
            "_00:00:00",
            "T00:00:00 ",
            "T-1:00:00",
            "T+1:00:00",
            "T00:00:00.5 ",
            "T00:00:00. 5",
            "T00:00:00.-5",
        ];
        let zones = ["Z", "z", "+00:00", "-00:00", "+02:00", "-05:30", "+23:59"];
        let wrong_zones = [
            "",
            " ",
            "Z ",
            "UTC",
            "+2:00",
            "+02",
            "+0200",
            "+02:0",
            " 02:00",
            "+ 2:00",
            "+02: 0",
            "+02 :00",
            "+24:00",
            "+02:60",
            "\u{2212}02:00",
            "+02:00 ",
            "+02:00:00",
            "Z+02:00",
            "++2:00",
            "+-2:00",
            "+02:00Z",
            "[Europe/Madrid]",
            "a",
        ];
        for date in dates.iter().chain(&wrong_dates) {
            assert_eq!(parsed(date), dates.contains(date), "{date}");
            for time in times.iter().chain(&wrong_times) {
                for zone in zones.iter().chain(&wrong_zones) {
                    let text = format!("{date}{time}{zone}");
                    let all_valid = dates.contains(date) && times.contains(time) && zones.contains(zone);
                    let is_date = text == "2025-02-01";
                    assert_eq!(parsed(&text), all_valid || is_date, "{text:?}");
                }
            }
        }
    }

    #[test]
    fn a_timestamp_is_written_in_utc_with_a_z() {
        let moment = DateTime::from_timestamp(1_739_188_800, 5_000_000).expect("a moment");
        assert_eq!(serde_json::to_string(&Timestamp(moment)).expect("serialises"), "\"2025-02-10T12:00:00.005Z\"");
    }
}
