use super::*;
use crate::domain::spending::window::{Interval, TimeZone, WeekStart};

fn money(minor: i64) -> Money {
    Money::from_minor(minor).expect("within bounds")
}

fn limit(id: u128, scope: LimitScope, interval: Interval) -> Limit {
    Limit {
        id: uuid::Uuid::from_u128(id).into(),
        scope,
        currency: Currency::Usd,
        name: None,
        calendar: Calendar { interval, time_zone: TimeZone::UTC, week_start: WeekStart::Monday },
        amount: None,
        count: None,
        filter: LimitFilter::default(),
        restore_on_refund: false,
        status: LimitStatus::Active,
        counted_from: DateTime::UNIX_EPOCH,
    }
}

fn merchant(id: Option<&str>, category: Option<&str>, country: Option<&str>) -> Merchant {
    Merchant {
        id: id.map(|id| id.parse().expect("an id")),
        category: category.map(|category| category.parse().expect("a category")),
        country: country.map(|country| country.parse().expect("a country")),
        ..Merchant::default()
    }
}

#[test]
fn a_filter_counts_what_each_of_its_lists_contains() {
    // Per list: it is empty, it contains the value, it contains another. Per value: it is that one, another, or missing.
    let lists = [None, Some(0), Some(1)];
    let values = [Some(0), Some(2), None];
    let (ids, categories, countries) = (["A", "B", "C"], ["5411", "4511", "7011"], ["CO", "ES", "US"]);
    let counts_one = |list: Option<usize>, value: Option<usize>| list.is_none() || list == value;
    for (id_list, category_list, country_list) in grid(lists) {
        for (id, category, country) in grid(values) {
            let filter = LimitFilter {
                merchants: id_list.map(|index| ids[index].parse().expect("an id")).into_iter().collect(),
                categories: category_list.map(|index| categories[index].parse().expect("a category")).into_iter().collect(),
                countries: country_list.map(|index| countries[index].parse().expect("a country")).into_iter().collect(),
            };
            let merchant = merchant(id.map(|of| ids[of]), category.map(|of| categories[of]), country.map(|of| countries[of]));
            let wanted = counts_one(id_list, id) && counts_one(category_list, category) && counts_one(country_list, country);
            assert_eq!(filter.counts(&merchant), wanted, "{filter:?} {merchant:?}");
            assert_eq!(filter.is_empty(), (id_list, category_list, country_list) == (None, None, None));
        }
    }
    let two = LimitFilter { categories: ["4511", "7011"].map(|text| text.parse().expect("a category")).into(), ..LimitFilter::default() };
    assert!(two.counts(&merchant(None, Some("7011"), None)) && !two.counts(&merchant(None, Some("5411"), None)));
}

fn grid(of: [Option<usize>; 3]) -> impl Iterator<Item = (Option<usize>, Option<usize>, Option<usize>)> {
    of.into_iter().flat_map(move |one| of.into_iter().flat_map(move |two| of.into_iter().map(move |three| (one, two, three))))
}

#[test]
fn what_remains_is_at_least_nothing() {
    let of = limit(1, LimitScope::Card(CardId::new()), Interval::Day);
    for (amount, used, remaining) in [(300, 0, 300), (300, 299, 1), (300, 300, 0), (300, 301, 0), (0, 0, 0), (0, 5, 0)] {
        let limit = Limit { amount: Some(money(amount)), count: Some(u32::try_from(amount).expect("small")), ..of.clone() };
        let of = LimitUse { limit, window: None, used: Used { amount: money(used), count: used } };
        assert_eq!((of.remaining(), of.remaining_count()), (Some(money(remaining)), Some(remaining)), "{amount} {used}");
    }
    let of = LimitUse { limit: of, window: None, used: Used { amount: money(5), count: 5 } };
    assert_eq!((of.remaining(), of.remaining_count()), (None, None));
}

#[test]
fn limits_are_ordered_by_transaction_then_scope_then_interval_then_id() {
    use Interval::{Day, Lifetime, Month, Transaction, Week, Year};

    let (card, customer) = (LimitScope::Card(CardId::new()), LimitScope::Customer(CustomerId::new()));
    let ordered = [
        (9, card, Transaction),
        (8, customer, Transaction),
        (6, card, Day),
        (7, card, Day),
        (5, card, Week),
        (4, card, Month),
        (3, card, Year),
        (2, card, Lifetime),
        (20, customer, Day),
        (19, customer, Week),
        (18, customer, Month),
        (17, customer, Year),
        (1, customer, Lifetime),
    ]
    .map(|(id, scope, interval)| limit(id, scope, interval));
    for (index, earlier) in ordered.iter().enumerate() {
        for later in &ordered[index + 1..] {
            assert!(earlier.precedence() < later.precedence(), "{earlier:?} {later:?}");
        }
    }
}

#[test]
fn each_interval_has_a_phrase() {
    let phrases = Interval::VARIANTS.iter().map(|interval| interval.phrase());
    assert_eq!(phrases.collect::<Vec<_>>(), ["a transaction", "a day", "a week", "a month", "a year", "in all"]);
}
