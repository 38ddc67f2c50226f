//! The posting rules: from a card's position and a request, a movement or a refusal. Pure: no clock, no database.

use std::str::FromStr;

use serde::Serialize;

use strum::EnumCount;

use crate::domain::{
    card::CardStatus,
    error::Refusal,
    money::{Amount, Money},
};

/// The kind of a movement.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, sqlx::Type, EnumCount)]
#[serde(rename_all = "snake_case")]
#[sqlx(type_name = "text", rename_all = "snake_case")]
pub enum MovementKind {
    /// Money added by the account.
    TopUp,
    /// Money spent with the card.
    Purchase,
    /// Money returned by a merchant.
    Refund,
}

/// The text names no kind of movement.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown kind of movement")]
pub struct UnknownKind;

impl FromStr for MovementKind {
    type Err = UnknownKind;

    fn from_str(text: &str) -> Result<Self, UnknownKind> {
        Self::ALL.into_iter().find(|kind| kind.name() == text).ok_or(UnknownKind)
    }
}

impl MovementKind {
    /// Every kind.
    pub const ALL: [Self; Self::COUNT] = [Self::TopUp, Self::Purchase, Self::Refund];

    /// The name in JSON and in the database.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::TopUp => "top_up",
            Self::Purchase => "purchase",
            Self::Refund => "refund",
        }
    }
}

/// The state of a card that a posting depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    /// The card's status.
    pub status: CardStatus,
    /// The card's balance.
    pub balance: Money,
    /// The sequence number of the newest movement; 0 before the first.
    pub seq: i64,
}

/// A permitted movement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The sequence number of the movement, from 1 without gaps.
    pub seq: i64,
    /// The change of the balance: negative for a purchase.
    pub amount: Money,
    /// The balance after the movement.
    pub balance_after: Money,
}

/// Decides a posting.
///
/// # Errors
/// The card's status forbids the posting, or the balance would leave its bounds.
pub fn post(card: Position, kind: MovementKind, amount: Amount) -> Result<Entry, Refusal> {
    match (kind, card.status) {
        (MovementKind::TopUp, CardStatus::Inactive | CardStatus::Active)
        | (MovementKind::Purchase, CardStatus::Active)
        | (MovementKind::Refund, CardStatus::Inactive | CardStatus::Active | CardStatus::Blocked) => {}
        (MovementKind::TopUp, CardStatus::Blocked) => return Err(Refusal::CardBlocked),
        (MovementKind::TopUp | MovementKind::Refund, CardStatus::Cancelled) => return Err(Refusal::CardCancelled),
        (MovementKind::Purchase, status @ (CardStatus::Inactive | CardStatus::Blocked | CardStatus::Cancelled)) => {
            return Err(Refusal::CardNotActive(status));
        }
    }
    let change = match kind {
        MovementKind::TopUp | MovementKind::Refund => amount.money(),
        MovementKind::Purchase => amount.money().negated(),
    };
    let balance_after = card.balance.plus(change).ok_or(Refusal::BalanceLimitExceeded)?;
    if balance_after < Money::ZERO {
        return Err(Refusal::InsufficientFunds);
    }
    Ok(Entry { seq: card.seq + 1, amount: change, balance_after })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::domain::money::MAX_MINOR;

    fn money(minor: i64) -> Money {
        Money::from_minor(minor).expect("within bounds")
    }

    fn amount(minor: i64) -> Amount {
        Amount::new(money(minor)).expect("above zero")
    }

    fn card(status: CardStatus, balance: i64) -> Position {
        Position { status, balance: money(balance), seq: 7 }
    }

    /// The expected result of every posting: `+` posted, else the error's variant.
    #[test]
    fn postings_depend_on_kind_and_status() {
        for kind in MovementKind::ALL {
            let row: [&str; CardStatus::COUNT] = match kind {
                //                      inactive                   active blocked                  cancelled
                MovementKind::TopUp => ["+", "+", "CardBlocked", "CardCancelled"],
                MovementKind::Purchase => ["CardNotActive(Inactive)", "+", "CardNotActive(Blocked)", "CardNotActive(Cancelled)"],
                MovementKind::Refund => ["+", "+", "+", "CardCancelled"],
            };
            for (status, cell) in CardStatus::ALL.into_iter().zip(row) {
                let got = match post(card(status, 500), kind, amount(20)) {
                    Ok(_) => "+".to_owned(),
                    Err(error) => format!("{error:?}"),
                };
                assert_eq!(got, cell, "{kind:?} {status:?}");
            }
        }
    }

    #[test]
    fn a_purchase_can_spend_the_whole_balance_and_not_more() {
        let active = card(CardStatus::Active, 500);
        let entry = post(active, MovementKind::Purchase, amount(500)).expect("sufficient funds");
        assert_eq!((entry.seq, entry.amount, entry.balance_after), (8, money(-500), Money::ZERO));
        assert!(matches!(post(active, MovementKind::Purchase, amount(501)), Err(Refusal::InsufficientFunds)));
    }

    #[test]
    fn a_balance_can_reach_its_bound_and_not_exceed_it() {
        let nearly_full = card(CardStatus::Active, MAX_MINOR - 1);
        for kind in [MovementKind::TopUp, MovementKind::Refund] {
            assert!(post(nearly_full, kind, amount(1)).is_ok_and(|entry| entry.balance_after == money(MAX_MINOR)));
            assert!(matches!(post(nearly_full, kind, amount(2)), Err(Refusal::BalanceLimitExceeded)));
            assert!(matches!(post(nearly_full, kind, amount(MAX_MINOR)), Err(Refusal::BalanceLimitExceeded)));
        }
    }

    proptest! {
        #[test]
        fn any_history_sums_to_its_balance(steps in prop::collection::vec((prop::sample::select(MovementKind::ALL.to_vec()), 1..=MAX_MINOR), 0..100)) {
            let mut position = Position { status: CardStatus::Active, balance: Money::ZERO, seq: 0 };
            let mut sum: i128 = 0;
            let mut posted = 0;
            for (kind, minor) in steps {
                if let Ok(entry) = post(position, kind, amount(minor)) {
                    sum += i128::from(entry.amount.minor());
                    posted += 1;
                    prop_assert_eq!(i128::from(entry.balance_after.minor()), sum);
                    prop_assert_eq!(entry.seq, posted);
                    prop_assert!((0..=MAX_MINOR).contains(&entry.balance_after.minor()));
                    position = Position { balance: entry.balance_after, seq: entry.seq, ..position };
                }
            }
        }
    }
}
