//! Random steps, against a model that keeps no sums: it keeps where each amount came from and where it went.

use super::*;

/// Anything that can be asked of an authorisation.
#[derive(Clone, Copy, Debug)]
enum Wish {
    Step(Step),
    ReverseCapture(Amount),
    Refund(Amount),
    ReverseRefund(Amount),
}

/// Something that happened to money, by the name of the sum that it belongs to. What a hold covers of a capture is `c`, and
/// the rest of the capture is `E`.
type Event = (char, i128);

#[derive(Clone)]
struct Model {
    events: Vec<Event>,
    /// Why the hold ended, unless money was captured.
    end: &'static str,
}

impl Model {
    fn sum(&self, names: &str) -> i128 {
        self.events.iter().filter(|(name, _)| names.contains(*name)).map(|(_, amount)| amount).sum()
    }

    /// What came in and has not gone.
    fn hold(&self) -> i128 {
        self.sum("A") - self.sum("cRXO")
    }

    fn status(&self) -> &'static str {
        if self.hold() > 0 {
            "pending"
        } else if self.sum("cE") > 0 {
            "captured"
        } else {
            self.end
        }
    }

    /// The model's sums in the order of [`sums`].
    fn sums(&self) -> [i128; 10] {
        let hold = self.hold();
        let [authorized, rest @ ..] = ["A", "cE", "E", "R", "X", "O", "K", "F", "G"].map(|names| self.sum(names));
        let [captured, excess, reversed, expired, released, capture_reversed, refunded, refund_reversed] = rest;
        [authorized, hold, captured, excess, reversed, expired, released, capture_reversed, refunded, refund_reversed]
    }

    fn events_of(&self, wish: Wish) -> Result<Vec<Event>, &'static str> {
        let minor = |amount: Amount| i128::from(amount.money().minor());
        let hold = self.hold();
        let is_open = self.status() == "pending";
        let not_open = Err("not open");
        match wish {
            Wish::Step(Step::Increment(by)) if is_open => Ok(vec![('A', minor(by))]),
            Wish::Step(Step::Adjust(to)) if is_open => {
                let change = i128::from(to.minor()) - hold;
                Ok(vec![if change > 0 { ('A', change) } else { ('R', -change) }])
            }
            Wish::Step(Step::Reverse(asked)) if is_open => Ok(vec![('R', asked.map_or(hold, minor).min(hold))]),
            Wish::Step(Step::Reverse(_)) if ["reversed", "expired", "verified"].contains(&self.status()) => Ok(Vec::new()),
            Wish::Step(Step::Expire | Step::Release) if is_open => Ok(vec![('X', hold)]),
            Wish::Step(Step::Capture { amount: None, .. }) if hold == 0 => not_open,
            Wish::Step(Step::Capture { amount, is_final }) if !["declined", "verified"].contains(&self.status()) => {
                let captured = amount.map_or(hold, minor);
                let covered = captured.min(hold);
                let left = if is_final { hold - covered } else { 0 };
                Ok(vec![('c', covered), ('E', captured - covered), ('O', left)])
            }
            Wish::Step(_) => not_open,
            // Whichever way money is given back, it is given back once.
            Wish::ReverseCapture(amount) if minor(amount) > self.sum("cEG") - self.sum("KF") => Err("too much to reverse"),
            Wish::ReverseCapture(amount) => Ok(vec![('K', minor(amount))]),
            Wish::Refund(amount) if minor(amount) > self.sum("cEG") - self.sum("KF") => Err("too much to refund"),
            Wish::Refund(amount) => Ok(vec![('F', minor(amount))]),
            Wish::ReverseRefund(amount) if minor(amount) > self.sum("F") - self.sum("G") => Err("too much to reverse"),
            Wish::ReverseRefund(amount) => Ok(vec![('G', minor(amount))]),
        }
    }

    fn take(&mut self, wish: Wish) -> Result<(), &'static str> {
        let mut next = self.clone();
        next.events.extend(self.events_of(wish)?);
        if next.sums().into_iter().any(|sum| sum > i128::from(MAX_MINOR)) {
            return Err("out of bounds");
        }
        next.end = match wish {
            Wish::Step(Step::Reverse(_) | Step::Adjust(_)) if self.status() == "pending" => "reversed",
            Wish::Step(Step::Expire | Step::Release) => "expired",
            _ => self.end,
        };
        *self = next;
        Ok(())
    }
}

fn grant(standing: Standing, wish: Wish) -> Result<(Standing, Option<Taken>), &'static str> {
    let granted = match wish {
        Wish::Step(step) => standing.take(step).map(|taken| (taken.standing, Some(taken))),
        Wish::ReverseCapture(amount) => standing.reverse_capture(amount).map(|standing| (standing, None)),
        Wish::Refund(amount) => standing.refund(amount).map(|standing| (standing, None)),
        Wish::ReverseRefund(amount) => standing.reverse_refund(amount).map(|standing| (standing, None)),
    };
    granted.map_err(|refusal| match refusal {
        Refusal::AuthorizationNotOpen(_) | Refusal::NothingHeld(_) => "not open",
        Refusal::BalanceLimitExceeded => "out of bounds",
        Refusal::ReversalExceedsOriginal(_) => "too much to reverse",
        Refusal::RefundExceedsCapture(_) => "too much to refund",
        _ => "another refusal",
    })
}

/// Mostly small, so that steps meet each other, and sometimes so large that sums reach their bounds.
fn any_amount() -> impl Strategy<Value = Amount> {
    prop_oneof![12 => 1..=60_i64, 1 => MAX_MINOR - 100..=MAX_MINOR].prop_map(amount)
}

fn any_wish() -> impl Strategy<Value = Wish> {
    let some_amount = || prop::option::weighted(0.8, any_amount());
    prop_oneof![
        2 => any_amount().prop_map(|by| Wish::Step(Step::Increment(by))),
        2 => prop_oneof![1 => Just(Money::ZERO), 9 => any_amount().prop_map(Amount::money)].prop_map(|to| Wish::Step(Step::Adjust(to))),
        2 => some_amount().prop_map(|amount| Wish::Step(Step::Reverse(amount))),
        4 => (some_amount(), prop::bool::weighted(0.3)).prop_map(|(amount, is_final)| Wish::Step(Step::Capture { amount, is_final })),
        1 => prop_oneof![Just(Step::Expire), Just(Step::Release)].prop_map(Wish::Step),
        2 => any_amount().prop_map(Wish::ReverseCapture),
        2 => any_amount().prop_map(Wish::Refund),
        2 => any_amount().prop_map(Wish::ReverseRefund),
    ]
}

fn any_start() -> impl Strategy<Value = Option<i64>> {
    prop_oneof![
        1 => Just(None),
        1 => Just(Some(0)),
        15 => (1..=200_i64).prop_map(Some),
        1 => (MAX_MINOR - 100..=MAX_MINOR).prop_map(Some),
    ]
}

/// What holds of the sums at any time. They are printed and read as text, and so compared without the code's arithmetic.
fn assert_invariants(standing: &Standing) -> Result<(), TestCaseError> {
    let all = sums(standing).map(|(_, sum)| i128::from(sum.minor()));
    let [authorized, held, captured, excess, reversed, expired, released, capture_reversed, refunded, refund_reversed] = all;
    prop_assert_eq!(authorized, held + reversed + expired + released + captured - excess);
    prop_assert!(excess <= captured && capture_reversed <= captured && refund_reversed <= refunded);
    prop_assert!(capture_reversed + refunded - refund_reversed <= captured);
    prop_assert!(all.into_iter().all(|sum| (0..=i128::from(MAX_MINOR)).contains(&sum)));
    prop_assert_eq!(standing.status == AuthorizationStatus::Pending, held > 0);
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, ..ProptestConfig::default() })]

    /// None starts with a decline, and 0 with a verification.
    #[test]
    fn any_steps_leave_what_the_model_says(start in any_start(), wishes in prop::collection::vec(any_wish(), 0..40)) {
        let mut standing = start.map_or(Standing::DECLINED, |minor| Standing::approved(money(minor)));
        let end = match start {
            None => "declined",
            Some(0) => "verified",
            Some(_) => "pending",
        };
        let mut model = Model { events: vec![('A', start.unwrap_or(0).into())], end };
        for wish in wishes {
            let before = standing;
            let (granted, modelled) = (grant(standing, wish), model.take(wish));
            prop_assert_eq!(granted.as_ref().err(), modelled.as_ref().err(), "{:?} of {}", wish, shown(&before));
            if let Ok((after, taken)) = granted {
                standing = after;
                if let Some(Taken { kind, amount, captures, .. }) = taken {
                    let amount = i128::from(amount.minor());
                    let [now, then] = [after, before].map(|standing| sums(&standing).map(|(_, sum)| i128::from(sum.minor())));
                    let change = |index: usize| now[index] - then[index];
                    prop_assert_eq!(captures.is_some(), change(2) > 0);
                    prop_assert_eq!(amount, match kind {
                        EntryKind::Increment => change(0),
                        EntryKind::Adjustment => change(1),
                        EntryKind::Reversal => change(4),
                        EntryKind::Capture | EntryKind::LateCapture => change(2),
                        EntryKind::Expiry | EntryKind::Release => change(5),
                        other => return Err(TestCaseError::fail(format!("{other:?}"))),
                    });
                    prop_assert_eq!(kind == EntryKind::LateCapture, captures.is_some() && before.status != AuthorizationStatus::Pending);
                }
            }
            let found = sums(&standing).map(|(_, sum)| i128::from(sum.minor()));
            prop_assert_eq!(found, model.sums(), "{:?} of {}", wish, shown(&before));
            prop_assert_eq!(standing.status.name(), model.status(), "{:?} of {}", wish, shown(&before));
            assert_invariants(&standing)?;
            for ((name, earlier), (_, later)) in sums(&before).into_iter().zip(sums(&standing)) {
                prop_assert!(name == 'H' || later >= earlier, "{} fell with {:?}", name, wish);
            }
        }
    }
}
