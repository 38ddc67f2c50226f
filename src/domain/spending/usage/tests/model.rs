//! Random steps of random payments, against a model that keeps no sums: it keeps when each cent was spent.

use std::collections::BTreeMap;

use chrono::{Datelike as _, TimeDelta};
use proptest::prelude::*;

use super::*;

/// Anything that happens to a payment.
#[derive(Clone, Copy, Debug)]
enum Wish {
    Step(Step),
    ReverseCapture(Amount),
    Refund(Amount),
    ReverseRefund(Amount),
}

/// A payment as the tables have it.
#[derive(Clone, Debug)]
enum Stored {
    Authorization { created_at: DateTime<Utc>, standing: Standing, excess: Vec<Excess> },
    Movement { created_at: DateTime<Utc>, amount: i64, reversed: i64, refunded: i64 },
}

impl Stored {
    fn spending(&self, restore_on_refund: bool) -> Spending {
        match self {
            Self::Authorization { created_at, standing, excess } => {
                Spending::of_authorization(*created_at, standing, excess, restore_on_refund)
            }
            Self::Movement { created_at, amount, reversed, refunded } => {
                Spending::of_movement(*created_at, money(*amount), money(*reversed), money(*refunded), restore_on_refund)
            }
        }
    }

    /// The payment after a wish, if it is granted.
    fn after(&self, at: DateTime<Utc>, wish: Wish) -> Option<Self> {
        match self {
            Self::Authorization { created_at, standing, excess } => {
                let after = match wish {
                    Wish::Step(step) => standing.take(step).ok()?.standing,
                    Wish::ReverseCapture(amount) => standing.reverse_capture(amount).ok()?,
                    Wish::Refund(amount) => standing.refund(amount).ok()?,
                    Wish::ReverseRefund(amount) => standing.reverse_refund(amount).ok()?,
                };
                let more = Excess { at, amount: after.excess.less(standing.excess) };
                let more = (more.amount > Money::ZERO).then_some(more);
                Some(Self::Authorization { created_at: *created_at, standing: after, excess: excess.iter().copied().chain(more).collect() })
            }
            Self::Movement { created_at, amount, reversed, refunded } => {
                let (mut reversed, mut refunded) = (*reversed, *refunded);
                match wish {
                    Wish::Step(_) => return None,
                    Wish::ReverseCapture(by) => reversed += by.money().minor(),
                    Wish::Refund(by) => refunded += by.money().minor(),
                    Wish::ReverseRefund(by) => refunded -= by.money().minor(),
                }
                let is_granted = refunded >= 0 && reversed + refunded <= *amount;
                is_granted.then_some(Self::Movement { created_at: *created_at, amount: *amount, reversed, refunded })
            }
        }
    }
}

/// The same payment in cents, each by the moment at which it was spent.
#[derive(Clone, Debug)]
struct Model {
    created_at: DateTime<Utc>,
    /// Those that are held.
    held: usize,
    /// Those that were held and were captured.
    covered: usize,
    /// Those that were captured without a hold, oldest first.
    beyond: Vec<DateTime<Utc>>,
    /// Those that reversals of captures gave back.
    reversed: usize,
    /// Those that are refunded.
    refunded: usize,
    /// Whether it counts whatever is left of it.
    is_movement: bool,
}

fn cents(amount: Money) -> usize {
    usize::try_from(amount.minor()).expect("at least 0")
}

impl Model {
    fn take(&mut self, at: DateTime<Utc>, wish: Wish) {
        match wish {
            Wish::Step(Step::Increment(by)) => self.held += cents(by.money()),
            Wish::Step(Step::Adjust(to)) => self.held = cents(to),
            Wish::Step(Step::Reverse(asked)) => self.held -= asked.map_or(self.held, |asked| cents(asked.money())).min(self.held),
            Wish::Step(Step::Expire | Step::Release) => self.held = 0,
            Wish::Step(Step::Capture { amount, is_final }) => {
                for _ in 0..amount.map_or(self.held, |amount| cents(amount.money())) {
                    if self.held > 0 {
                        self.held -= 1;
                        self.covered += 1;
                    } else {
                        self.beyond.push(at);
                    }
                }
                if is_final {
                    self.held = 0;
                }
            }
            Wish::ReverseCapture(by) => self.reversed += cents(by.money()),
            Wish::Refund(by) => self.refunded += cents(by.money()),
            Wish::ReverseRefund(by) => self.refunded -= cents(by.money()),
        }
    }

    /// How many cents were spent at each moment that are not given back.
    fn spent(&self, restore_on_refund: bool) -> BTreeMap<DateTime<Utc>, i64> {
        let mut own = vec![self.created_at; self.held + self.covered];
        let mut beyond = self.beyond.clone();
        for _ in 0..self.reversed + if restore_on_refund { self.refunded } else { 0 } {
            if own.pop().is_none() {
                beyond.pop();
            }
        }
        let mut spent = BTreeMap::new();
        for at in own.into_iter().chain(beyond) {
            *spent.entry(at).or_insert(0) += 1;
        }
        spent
    }

    /// When it counts as a payment.
    fn counts_at(&self) -> Option<DateTime<Utc>> {
        if self.is_movement || self.held + self.covered > 0 { Some(self.created_at) } else { self.beyond.first().copied() }
    }
}

/// A limit's windows by the dates of a clock that is some hours from UTC, without the code's calendar.
struct Windows {
    limit: Limit,
    hours: i64,
}

impl Windows {
    /// The start of the window that a moment lies in.
    fn start(&self, at: DateTime<Utc>) -> DateTime<Utc> {
        let local = (at + TimeDelta::hours(self.hours)).date_naive();
        let date = local.format("%Y-%m-%d").to_string();
        let first = match self.limit.calendar.interval {
            Interval::Lifetime => return DateTime::UNIX_EPOCH,
            Interval::Day | Interval::Transaction => date,
            // 0001-01-01, day 1 of the common era, was a Monday.
            Interval::Week => {
                let passed = (local.num_days_from_ce() - 1).rem_euclid(7);
                (local - TimeDelta::days(passed.into())).format("%Y-%m-%d").to_string()
            }
            Interval::Month => format!("{}-01", &date[..7]),
            Interval::Year => format!("{}-01-01", &date[..4]),
        };
        format!("{first}T00:00:00Z").parse::<DateTime<Utc>>().expect("a moment") - TimeDelta::hours(self.hours)
    }

    fn used(&self, payments: &[Model]) -> BTreeMap<(LimitId, DateTime<Utc>), (i64, i64)> {
        let mut used = BTreeMap::new();
        for payment in payments {
            for (at, cents) in payment.spent(self.limit.restore_on_refund) {
                used.entry((self.limit.id, self.start(at))).or_insert((0, 0)).0 += cents;
            }
            if let Some(at) = payment.counts_at() {
                used.entry((self.limit.id, self.start(at))).or_insert((0, 0)).1 += 1;
            }
        }
        used.retain(|(_, start), _| *start >= self.limit.counted_from);
        used
    }
}

/// Every interval, without refunds in UTC and with them in Bogota. The limits were made at a moment.
fn all_windows(made_at: DateTime<Utc>) -> Vec<Windows> {
    let intervals = [Interval::Day, Interval::Week, Interval::Month, Interval::Year, Interval::Lifetime];
    let of = |interval: Interval| {
        [("UTC", 0, false), ("America/Bogota", -5, true)].map(|(zone, hours, restores)| {
            let mut windows = Windows { limit: limit(calendar(interval, zone), restores), hours };
            windows.limit.counted_from = windows.start(made_at);
            windows
        })
    };
    intervals.into_iter().flat_map(of).collect()
}

fn any_amount() -> impl Strategy<Value = Amount> {
    (1..=60_i64).prop_map(amount)
}

fn any_wish() -> impl Strategy<Value = Wish> {
    let some_amount = || prop::option::weighted(0.8, any_amount());
    prop_oneof![
        2 => any_amount().prop_map(|by| Wish::Step(Step::Increment(by))),
        2 => (0..=60_i64).prop_map(|to| Wish::Step(Step::Adjust(money(to)))),
        2 => some_amount().prop_map(|amount| Wish::Step(Step::Reverse(amount))),
        5 => (some_amount(), prop::bool::weighted(0.3)).prop_map(|(amount, is_final)| Wish::Step(Step::Capture { amount, is_final })),
        1 => prop_oneof![Just(Step::Expire), Just(Step::Release)].prop_map(Wish::Step),
        3 => any_amount().prop_map(Wish::ReverseCapture),
        3 => any_amount().prop_map(Wish::Refund),
        2 => any_amount().prop_map(Wish::ReverseRefund),
    ]
}

/// A new payment, or what happens to one that there is.
#[derive(Clone, Copy, Debug)]
enum Happens {
    /// Of None, a decline; of 0, a verification.
    Authorization(Option<i64>),
    Movement(i64),
    Wish(prop::sample::Index, Wish),
}

fn any_happening() -> impl Strategy<Value = Happens> {
    prop_oneof![
        2 => prop_oneof![1 => Just(None), 1 => Just(Some(0)), 12 => (1..=100_i64).prop_map(Some)].prop_map(Happens::Authorization),
        1 => (1..=100_i64).prop_map(Happens::Movement),
        12 => (any::<prop::sample::Index>(), any_wish()).prop_map(|(of, wish)| Happens::Wish(of, wish)),
    ]
}

/// Minutes until the next thing happens: mostly on the same day, sometimes months later.
fn any_pause() -> impl Strategy<Value = i64> {
    prop_oneof![4 => 0..=600_i64, 4 => 0..=20_000_i64, 1 => 0..=300_000_i64]
}

/// A change of what was spent of a limit, by the limit's position.
type Change = (usize, Spending, Spending);

fn sum<'a>(windows: &[Windows], changes: impl IntoIterator<Item = &'a Change>) -> Usage {
    let mut usage = Usage::default();
    for (limit, before, after) in changes {
        usage.add(&windows[*limit].limit, before, after);
    }
    usage
}

fn rows(usage: &Usage) -> BTreeMap<(LimitId, DateTime<Utc>), (i64, i64)> {
    usage.iter().map(|(limit, start, used)| ((limit, start), (used.amount.minor(), used.count))).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, ..ProptestConfig::default() })]

    #[test]
    fn any_steps_of_any_payments_spend_what_the_model_says(
        happenings in prop::collection::vec((any_pause(), any_happening()), 1..40),
        made_after in 0..40_usize,
        order in any::<u64>(),
    ) {
        let start: DateTime<Utc> = "2027-12-20T15:00:00Z".parse().expect("a moment");
        let made_at = start + TimeDelta::minutes(happenings.iter().take(made_after / 4).map(|(pause, _)| pause).sum());
        let windows = all_windows(made_at);
        let (mut at, mut used) = (start, Usage::default());
        let (mut stored, mut models, mut changes) = (Vec::<Stored>::new(), Vec::<Model>::new(), Vec::<Change>::new());
        for (pause, happening) in happenings {
            at += TimeDelta::minutes(pause);
            let mut model = Model { created_at: at, held: 0, covered: 0, beyond: vec![], reversed: 0, refunded: 0, is_movement: false };
            let (before, of) = match happening {
                Happens::Authorization(approved) => {
                    let standing = approved.map_or(Standing::DECLINED, |minor| Standing::approved(money(minor)));
                    model.held = cents(approved.map_or(Money::ZERO, money));
                    stored.push(Stored::Authorization { created_at: at, standing, excess: Vec::new() });
                    models.push(model);
                    (None, stored.len() - 1)
                }
                Happens::Movement(amount) => {
                    (model.covered, model.is_movement) = (cents(money(amount)), true);
                    stored.push(Stored::Movement { created_at: at, amount, reversed: 0, refunded: 0 });
                    models.push(model);
                    (None, stored.len() - 1)
                }
                Happens::Wish(..) if stored.is_empty() => continue,
                Happens::Wish(of, wish) => {
                    let of = of.index(stored.len());
                    let before = stored[of].clone();
                    let Some(after) = before.after(at, wish) else { continue };
                    stored[of] = after;
                    models[of].take(at, wish);
                    (Some(before), of)
                }
            };
            for (index, Windows { limit, .. }) in windows.iter().enumerate() {
                let spending = |stored: &Stored| stored.spending(limit.restore_on_refund);
                let change = (index, before.as_ref().map(spending).unwrap_or_default(), spending(&stored[of]));
                used.add(limit, &change.1, &change.2);
                changes.push(change);
            }
            let wanted: BTreeMap<_, _> = windows.iter().flat_map(|of| of.used(&models)).collect();
            prop_assert_eq!(rows(&used), wanted, "{:?}", stored[of]);
            prop_assert!(used.iter().all(|(_, _, used)| used.amount >= Money::ZERO && used.count >= 0));
        }
        // The order of the steps does not matter, nor which steps there were: what is stored says it all.
        let mut shuffled: Vec<&Change> = changes.iter().collect();
        let mut places = (1_u64..).map(|index| order.wrapping_mul(index).rotate_left(23));
        shuffled.sort_by_cached_key(|_| places.next());
        prop_assert_eq!(&sum(&windows, shuffled), &used);
        let anew: Vec<Change> = windows.iter().enumerate().flat_map(|(index, of)| {
            stored.iter().map(move |stored| (index, Spending::default(), stored.spending(of.limit.restore_on_refund)))
        }).collect();
        prop_assert_eq!(&sum(&windows, &anew), &used);
        let keys: Vec<_> = used.iter().map(|(limit, start, _)| (limit, start)).collect();
        prop_assert!(keys.is_sorted());
    }

    #[test]
    fn a_payment_of_which_nothing_was_captured_leaves_nothing(
        approved in 1..=100_i64,
        wishes in prop::collection::vec(any_wish(), 0..12),
    ) {
        let limit = limit(calendar(Interval::Day, "UTC"), true);
        let mut stored = Stored::Authorization { created_at: day(1), standing: Standing::approved(money(approved)), excess: Vec::new() };
        let mut usage = Usage::default();
        usage.add(&limit, &Spending::default(), &stored.spending(true));
        let holds_only = |wish: &Wish| !matches!(wish, Wish::Step(Step::Capture { .. }));
        for (index, wish) in (2..).zip(wishes.into_iter().filter(holds_only).chain([Wish::Step(Step::Expire)])) {
            if let Some(after) = stored.after(day(index), wish) {
                usage.add(&limit, &stored.spending(true), &after.spending(true));
                stored = after;
            }
        }
        prop_assert_eq!(usage, Usage::default());
    }
}
