use proptest::prelude::{ProptestConfig, any, proptest};

use super::*;

fn calendar(interval: Interval, zone: &str) -> Calendar {
    Calendar { interval, time_zone: zone.parse().expect("a zone"), week_start: WeekStart::Monday }
}

fn moment(text: &str) -> DateTime<Utc> {
    text.parse().expect("a moment")
}

#[track_caller]
fn assert_window(calendar: Calendar, at: &str, start: &str, end: &str) {
    let window = calendar.window(moment(at)).expect("a window");
    assert_eq!((window.start, window.end), (moment(start), Some(moment(end))), "{calendar:?} at {at}");
}

#[test]
fn a_day_in_bogota_begins_at_five_in_utc() {
    let days = calendar(Interval::Day, "America/Bogota");
    assert_window(days, "2026-11-26T04:59:59.999Z", "2026-11-25T05:00:00Z", "2026-11-26T05:00:00Z");
    assert_window(days, "2026-11-26T05:00:00Z", "2026-11-26T05:00:00Z", "2026-11-27T05:00:00Z");
}

#[test]
fn days_are_shorter_and_longer_when_clocks_change_in_madrid() {
    let days = calendar(Interval::Day, "Europe/Madrid");
    assert_window(days, "2026-03-29T12:00:00Z", "2026-03-28T23:00:00Z", "2026-03-29T22:00:00Z");
    assert_window(days, "2026-10-25T12:00:00Z", "2026-10-24T22:00:00Z", "2026-10-25T23:00:00Z");
    assert_window(calendar(Interval::Month, "Europe/Madrid"), "2026-10-25T12:00:00Z", "2026-09-30T22:00:00Z", "2026-10-31T23:00:00Z");
}

#[test]
fn a_day_without_midnight_begins_when_the_clocks_have_gone_forward() {
    let days = calendar(Interval::Day, "America/Asuncion");
    assert_window(days, "2023-10-01T12:00:00Z", "2023-10-01T04:00:00Z", "2023-10-02T03:00:00Z");
    assert_window(calendar(Interval::Day, "Africa/Cairo"), "2024-04-26T12:00:00Z", "2024-04-25T22:00:00Z", "2024-04-26T21:00:00Z");
}

#[test]
fn a_day_with_two_midnights_begins_at_the_first() {
    // Clocks in Havana go from 1:00 back to 0:00.
    assert_window(calendar(Interval::Day, "America/Havana"), "2024-11-03T12:00:00Z", "2024-11-03T04:00:00Z", "2024-11-04T05:00:00Z");
}

#[test]
fn a_day_that_samoa_left_out_is_no_window() {
    let days = calendar(Interval::Day, "Pacific/Apia");
    assert_window(days, "2011-12-30T09:59:59Z", "2011-12-29T10:00:00Z", "2011-12-30T10:00:00Z");
    assert_window(days, "2011-12-30T10:00:00Z", "2011-12-30T10:00:00Z", "2011-12-31T10:00:00Z");
}

#[test]
fn zones_at_the_ends_of_the_earth_have_their_own_days() {
    assert_window(calendar(Interval::Day, "Pacific/Kiritimati"), "2026-01-01T00:00:00Z", "2025-12-31T10:00:00Z", "2026-01-01T10:00:00Z");
    assert_window(calendar(Interval::Day, "Pacific/Pago_Pago"), "2026-01-01T00:00:00Z", "2025-12-31T11:00:00Z", "2026-01-01T11:00:00Z");
    assert_window(calendar(Interval::Year, "Pacific/Pago_Pago"), "2026-01-01T00:00:00Z", "2025-01-01T11:00:00Z", "2026-01-01T11:00:00Z");
}

#[test]
fn weeks_begin_on_the_day_that_is_asked_for() {
    let monday = calendar(Interval::Week, "UTC");
    assert_window(monday, "2026-11-29T23:59:59Z", "2026-11-23T00:00:00Z", "2026-11-30T00:00:00Z");
    let sunday = Calendar { week_start: WeekStart::Sunday, ..monday };
    assert_window(sunday, "2026-11-28T23:59:59Z", "2026-11-22T00:00:00Z", "2026-11-29T00:00:00Z");
    assert_window(sunday, "2026-11-29T00:00:00Z", "2026-11-29T00:00:00Z", "2026-12-06T00:00:00Z");
}

#[test]
fn months_and_years_are_those_of_the_calendar() {
    let months = calendar(Interval::Month, "UTC");
    assert_window(months, "2028-02-29T23:59:59Z", "2028-02-01T00:00:00Z", "2028-03-01T00:00:00Z");
    assert_window(months, "2026-12-31T00:00:00Z", "2026-12-01T00:00:00Z", "2027-01-01T00:00:00Z");
    assert_window(calendar(Interval::Year, "UTC"), "2028-12-31T23:59:59Z", "2028-01-01T00:00:00Z", "2029-01-01T00:00:00Z");
}

#[test]
fn a_lifetime_has_no_end_and_a_transaction_no_window() {
    let at = moment("2026-11-26T00:00:00Z");
    let lifetime = calendar(Interval::Lifetime, "Europe/Madrid").window(at).expect("a window");
    assert_eq!(lifetime, Window { start: DateTime::UNIX_EPOCH, end: None });
    assert!(lifetime.contains(at));
    assert_eq!(calendar(Interval::Transaction, "UTC").window(at), None);
}

#[test]
fn a_zone_has_its_name() {
    assert_eq!("America/Bogota".parse().map(TimeZone::name), Ok("America/Bogota"));
    assert_eq!(TimeZone::UTC.name(), "UTC");
    for text in ["", "america/bogota", "Bogota", "+05:00", "Europe/Atlantis", " UTC"] {
        assert_eq!(text.parse::<TimeZone>(), Err(UnknownTimeZone), "{text}");
    }
}

/// The moments, a minute after the change, at which the clocks of a zone change between two years.
fn clock_changes(zone: Tz, from: i32, to: i32) -> Vec<DateTime<Utc>> {
    let offset = |at: DateTime<Utc>| at.with_timezone(&zone).naive_local() - at.naive_utc();
    let mut at = moment(&format!("{from}-01-01T00:00:00Z"));
    let end = moment(&format!("{to}-01-01T00:00:00Z"));
    let mut changes = Vec::new();
    while at < end {
        let (mut before, mut after) = (at, at + TimeDelta::days(7));
        if offset(before) != offset(after) {
            while after - before > TimeDelta::minutes(1) {
                let middle = before + TimeDelta::minutes((after - before).num_minutes() / 2);
                if offset(middle) == offset(at) { before = middle } else { after = middle }
            }
            changes.push(after);
        }
        at += TimeDelta::days(7);
    }
    changes
}

/// Around every change of the clocks, to the minute: a day begins when its date, or a later one, is shown for the first time.
#[test]
fn a_day_begins_when_clocks_show_its_date_for_the_first_time() {
    // Most of them change at midnight, or just after it, or over it.
    for zone in [
        Tz::Europe__Madrid,
        Tz::America__Havana,
        Tz::America__Asuncion,
        Tz::America__Sao_Paulo,
        Tz::America__St_Johns,
        Tz::America__Scoresbysund,
        Tz::Atlantic__Azores,
        Tz::Africa__Cairo,
        Tz::Asia__Beirut,
        Tz::Asia__Tehran,
        Tz::Asia__Pyongyang,
        Tz::Australia__Lord_Howe,
        Tz::Pacific__Apia,
        Tz::UTC,
    ] {
        let days = Calendar { interval: Interval::Day, time_zone: TimeZone(zone), week_start: WeekStart::Monday };
        for change in clock_changes(zone, 1990, 2030) {
            let date = |at: DateTime<Utc>| at.with_timezone(&zone).date_naive();
            let (mut latest, mut begun) = (date(change - TimeDelta::hours(4)), None);
            for minute in -239..240 {
                let at = change + TimeDelta::minutes(minute);
                if date(at) > latest {
                    let before = days.window(at - TimeDelta::nanoseconds(1)).expect("a window");
                    assert_eq!(before.end, Some(at), "{zone} {at}");
                    (latest, begun) = (date(at), Some(at));
                }
                let window = days.window(at).expect("a window");
                assert!(window.contains(at), "{zone} {at}");
                assert!(begun.is_none_or(|begun| window.start == begun), "{zone} {at} {begun:?}");
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn windows_leave_no_moment_out_and_hold_none_twice(
        seconds in 63_072_000_i64..4_102_444_800, interval in 0..4_usize, zone in 0..chrono_tz::TZ_VARIANTS.len(), sunday in any::<bool>(),
    ) {
        let interval = [Interval::Day, Interval::Week, Interval::Month, Interval::Year][interval];
        let week_start = if sunday { WeekStart::Sunday } else { WeekStart::Monday };
        let days = Calendar { interval, time_zone: TimeZone(chrono_tz::TZ_VARIANTS[zone]), week_start };
        let at = DateTime::from_timestamp(seconds, 0).expect("a moment");
        let window = days.window(at).expect("a window");
        let end = window.end.expect("an end");
        assert!(window.contains(at), "{at} {days:?} {window:?}");
        assert_eq!(days.window(window.start), Some(window), "{at} {days:?}");
        assert_eq!(days.window(end - TimeDelta::milliseconds(1)), Some(window), "{at} {days:?}");
        assert_eq!(days.window(end).map(|next| next.start), Some(end), "{at} {days:?}");
    }
}
