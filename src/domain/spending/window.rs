//! The windows of limits: calendar days, weeks, months and years in a time zone, and the whole life of a card.

use std::str::FromStr;

use chrono::{DateTime, Datelike as _, Days, MappedLocalTime, Months, NaiveDate, NaiveDateTime, NaiveTime, TimeDelta, TimeZone as _, Utc};
use chrono_tz::Tz;
use serde::Serialize;
use strum::{EnumCount, EnumString, IntoStaticStr, VariantArray};

/// How long a limit's windows are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, sqlx::Type, EnumCount, EnumString, IntoStaticStr, VariantArray)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
#[sqlx(type_name = "text", rename_all = "snake_case")]
pub enum Interval {
    /// Each transaction by itself.
    Transaction,
    /// From midnight to midnight.
    Day,
    /// Seven days.
    Week,
    /// A calendar month.
    Month,
    /// A calendar year.
    Year,
    /// Forever.
    Lifetime,
}

impl Interval {
    /// The name in JSON and in the database.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.into()
    }

    /// How a message says it after an amount.
    #[must_use]
    pub const fn phrase(self) -> &'static str {
        match self {
            Self::Transaction => "a transaction",
            Self::Day => "a day",
            Self::Week => "a week",
            Self::Month => "a month",
            Self::Year => "a year",
            Self::Lifetime => "in all",
        }
    }
}

/// The day that a week begins with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, sqlx::Type, EnumCount, EnumString, IntoStaticStr, VariantArray)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
#[sqlx(type_name = "text", rename_all = "snake_case")]
pub enum WeekStart {
    /// As in ISO 8601.
    #[default]
    Monday,
    /// As in the Americas.
    Sunday,
}

impl WeekStart {
    /// The name in JSON and in the database.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.into()
    }
}

/// A time zone of the IANA database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimeZone(Tz);

/// The text names no time zone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnknownTimeZone;

impl TimeZone {
    /// Coordinated Universal Time.
    pub const UTC: Self = Self(Tz::UTC);

    /// The name in JSON and in the database, such as `America/Bogota`.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.0.name()
    }

    /// The first moment of a day. Where clocks go forward at midnight the day begins when they have gone; where they go back
    /// over midnight, at the first of the two. A day that a zone left out begins with the next one.
    #[must_use]
    pub fn start_of(self, day: NaiveDate) -> DateTime<Utc> {
        let mut local = NaiveDateTime::new(day, NaiveTime::MIN);
        // The longest gap was a whole day, when Samoa crossed the date line.
        for _ in 0..=96 {
            match self.0.from_local_datetime(&local) {
                MappedLocalTime::Single(moment) | MappedLocalTime::Ambiguous(moment, _) => return self.not_before(local, moment.to_utc()),
                MappedLocalTime::None => local += QUARTER,
            }
        }
        local.and_utc()
    }

    /// The first moment at which clocks show at least `local`, if `at` is one that shows it. They may have jumped over a part
    /// of the quarter of an hour before.
    fn not_before(self, local: NaiveDateTime, at: DateTime<Utc>) -> DateTime<Utc> {
        let mut first = at;
        for minutes in 1..15 {
            let earlier = at - TimeDelta::minutes(minutes);
            if earlier.with_timezone(&self.0).date_naive() != local.date() {
                break;
            }
            first = earlier;
        }
        first
    }
}

impl FromStr for TimeZone {
    type Err = UnknownTimeZone;

    fn from_str(text: &str) -> Result<Self, UnknownTimeZone> {
        text.parse().map(Self).map_err(|_| UnknownTimeZone)
    }
}

/// Every change of a zone since 1970 is at a multiple of it, but for the seconds of some before 1973.
const QUARTER: TimeDelta = TimeDelta::minutes(15);

/// What says when windows begin and end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Calendar {
    /// How long the windows are.
    pub interval: Interval,
    /// The time zone whose days they are made of.
    pub time_zone: TimeZone,
    /// The day that a week begins with.
    pub week_start: WeekStart,
}

/// A window of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Window {
    /// The first moment.
    pub start: DateTime<Utc>,
    /// The first moment after it. None: it has no end.
    pub end: Option<DateTime<Utc>>,
}

impl Window {
    /// Whether a moment lies in it.
    #[must_use]
    pub fn contains(&self, at: DateTime<Utc>) -> bool {
        self.start <= at && self.end.is_none_or(|end| at < end)
    }
}

impl Calendar {
    /// The window that a moment lies in. None if each transaction stands by itself.
    #[must_use]
    pub fn window(&self, at: DateTime<Utc>) -> Option<Window> {
        let today = at.with_timezone(&self.time_zone.0).date_naive();
        match self.interval {
            Interval::Transaction => None,
            Interval::Lifetime => Some(Window { start: DateTime::UNIX_EPOCH, end: None }),
            Interval::Day | Interval::Week | Interval::Month | Interval::Year => {
                let (window, next) = self.around(today);
                // Clocks that went back over midnight show the day before once more.
                Some(if window.contains(at) { window } else { self.around(next).0 })
            }
        }
    }

    /// The window with a day, and the first day of the next one.
    fn around(self, day: NaiveDate) -> (Window, NaiveDate) {
        let (first, next) = match self.interval {
            Interval::Transaction | Interval::Day | Interval::Lifetime => (day, day + Days::new(1)),
            Interval::Week => {
                let passed = match self.week_start {
                    WeekStart::Monday => day.weekday().num_days_from_monday(),
                    WeekStart::Sunday => day.weekday().num_days_from_sunday(),
                };
                let first = day - Days::new(passed.into());
                (first, first + Days::new(7))
            }
            Interval::Month => {
                let first = day - Days::new(day.day0().into());
                (first, first + Months::new(1))
            }
            Interval::Year => {
                let first = day - Days::new(day.ordinal0().into());
                (first, first + Months::new(12))
            }
        };
        (Window { start: self.time_zone.start_of(first), end: Some(self.time_zone.start_of(next)) }, next)
    }
}

#[cfg(test)]
mod tests;
