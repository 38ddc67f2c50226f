//! How long an authorisation holds money if its request does not say. Pure.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};

use super::authorization::AuthorizationKind;

/// The days that a hold lasts, by kind and by the merchant's category.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HoldTimes {
    /// For a purchase.
    pub purchase: u16,
    /// For an estimate.
    pub preauthorization: u16,
    /// For cash.
    pub cash: u16,
    /// For any payment to merchants of a category, by its four digits, such as hotels.
    pub by_category: BTreeMap<String, u16>,
}

impl HoldTimes {
    /// How long a hold of this kind at a merchant of this category lasts.
    #[must_use]
    pub fn of(&self, kind: AuthorizationKind, category: Option<&str>) -> TimeDelta {
        let by_kind = match kind {
            AuthorizationKind::Purchase | AuthorizationKind::Verification => self.purchase,
            AuthorizationKind::Preauthorization => self.preauthorization,
            AuthorizationKind::Cash => self.cash,
        };
        let days = category.and_then(|category| self.by_category.get(category)).copied().unwrap_or(by_kind);
        TimeDelta::days(days.into())
    }
}

/// Whether a hold that is placed `at` this moment may end then: in one minute to sixty days.
#[must_use]
pub fn may_end(at: DateTime<Utc>, end: DateTime<Utc>) -> bool {
    (TimeDelta::minutes(1)..=TimeDelta::days(60)).contains(&(end - at))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hold_ends_in_one_minute_to_sixty_days() {
        let at = DateTime::UNIX_EPOCH;
        let millisecond = TimeDelta::milliseconds(1);
        for (after, may) in [
            (TimeDelta::minutes(-5), false),
            (TimeDelta::minutes(1) - millisecond, false),
            (TimeDelta::minutes(1), true),
            (TimeDelta::days(60), true),
            (TimeDelta::days(60) + millisecond, false),
        ] {
            assert_eq!(may_end(at, at + after), may, "{after}");
        }
    }

    #[test]
    fn the_category_of_the_merchant_comes_before_the_kind() {
        let times = HoldTimes { purchase: 7, preauthorization: 30, cash: 3, by_category: [("7011".to_owned(), 31)].into() };
        for (kind, category, days) in [
            (AuthorizationKind::Purchase, None, 7),
            (AuthorizationKind::Purchase, Some("5734"), 7),
            (AuthorizationKind::Purchase, Some("7011"), 31),
            (AuthorizationKind::Preauthorization, None, 30),
            (AuthorizationKind::Cash, Some("5734"), 3),
            (AuthorizationKind::Cash, Some("7011"), 31),
        ] {
            assert_eq!(times.of(kind, category), TimeDelta::days(days), "{kind:?} {category:?}");
        }
    }
}
