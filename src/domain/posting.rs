//! The posting rules: from a card's position and a request, a movement or a refusal. Pure: no clock, no database.

use chrono::{DateTime, Utc};
use serde::Serialize;
use strum::{EnumCount, EnumString, IntoStaticStr, VariantArray};

use crate::domain::{
    card::CardStatus,
    currency::Currency,
    error::{Refusal, TransferEnd},
    id::CustomerId,
    money::{Amount, Money},
};

/// The kind of a movement.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, sqlx::Type, EnumCount, EnumString, IntoStaticStr, VariantArray)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
#[sqlx(type_name = "text", rename_all = "snake_case")]
pub enum MovementKind {
    /// Money added by the account.
    TopUp,
    /// Money taken out by the account.
    Withdrawal,
    /// Money spent with the card, in a single message.
    Purchase,
    /// Money spent with the card, which was authorised before, or should have been.
    Capture,
    /// Money of a capture or a purchase that is given back.
    CaptureReversal,
    /// Money returned by a merchant.
    Refund,
    /// Money of a refund that is taken back.
    RefundReversal,
    /// Money that came from another card of the account.
    TransferIn,
    /// Money that went to another card of the account.
    TransferOut,
}

impl MovementKind {
    /// Every kind.
    pub const ALL: [Self; Self::COUNT] = [
        Self::TopUp,
        Self::Withdrawal,
        Self::Purchase,
        Self::Capture,
        Self::CaptureReversal,
        Self::Refund,
        Self::RefundReversal,
        Self::TransferIn,
        Self::TransferOut,
    ];

    /// The name in JSON and in the database.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.into()
    }

    /// The change that a movement of this amount makes to the balance.
    const fn change(self, amount: Amount) -> Money {
        match self {
            Self::TopUp | Self::CaptureReversal | Self::Refund | Self::TransferIn => amount.money(),
            Self::Withdrawal | Self::Purchase | Self::Capture | Self::RefundReversal | Self::TransferOut => amount.money().negated(),
        }
    }
}

/// The state of a card that what happens to it depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    /// The card's customer.
    pub customer: Option<CustomerId>,
    /// The card's status.
    pub status: CardStatus,
    /// The card's currency.
    pub currency: Currency,
    /// The card's balance.
    pub balance: Money,
    /// What is authorised and not yet captured.
    pub held: Money,
    /// The sequence number of the newest movement; 0 before the first.
    pub seq: i64,
    /// The sequence number of the newest event of the card's history; 0 before the first.
    pub sequence: i64,
    /// No hold is due before this moment. It stays when the hold ends early. None: nothing is held.
    pub holds_due_at: Option<DateTime<Utc>>,
    /// How often the controls and limits that apply to the card have changed; 0 if there have never been any.
    pub rules_version: i64,
}

impl Position {
    /// What can be spent: the balance less what is held. It may be below zero.
    #[must_use]
    pub const fn available(&self) -> Money {
        self.balance.less(self.held)
    }

    /// The position after a movement. That a movement overdraws the card is an event of its own.
    #[must_use]
    pub const fn after(self, entry: Entry) -> Self {
        let events = if entry.overdraws() { 2 } else { 1 };
        Self { balance: entry.balance_after, seq: entry.seq, sequence: self.sequence + events, ..self }
    }

    /// Whether a hold may be due to expire at this moment.
    #[must_use]
    pub fn may_have_due_holds(&self, at: DateTime<Utc>) -> bool {
        self.held > Money::ZERO && self.holds_due_at.is_some_and(|due| due <= at)
    }

    /// Takes a hold into account that is added `at` this moment, before it is part of `held`. A moment of an earlier hold
    /// that has ended is kept while it lies ahead, because the database has an index of these moments: a value that stays
    /// costs nothing.
    pub fn add_hold_due(&mut self, due: DateTime<Utc>, at: DateTime<Utc>) {
        let earlier = self.holds_due_at.filter(|earlier| self.held > Money::ZERO || *earlier > at);
        self.holds_due_at = Some(earlier.map_or(due, |earlier| earlier.min(due)));
    }
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

impl Entry {
    /// Whether the movement takes the balance from zero or more to below zero.
    #[must_use]
    pub const fn overdraws(&self) -> bool {
        let (after, before) = (self.balance_after.minor(), self.balance_after.less(self.amount).minor());
        after < 0 && before >= 0
    }
}

/// Decides a posting that the account asks for, or a merchant of the sandbox.
///
/// # Errors
/// The card's status forbids the posting, it would spend more than is available, or the balance would leave its bounds.
pub fn post(card: Position, kind: MovementKind, amount: Amount) -> Result<Entry, Refusal> {
    match (kind, card.status) {
        (MovementKind::TopUp | MovementKind::TransferIn, CardStatus::Inactive | CardStatus::Active)
        | (MovementKind::TransferOut, CardStatus::Inactive | CardStatus::Active | CardStatus::Cancelled)
        | (MovementKind::Purchase, CardStatus::Active)
        | (MovementKind::Refund, CardStatus::Inactive | CardStatus::Active | CardStatus::Blocked)
        | (MovementKind::Withdrawal | MovementKind::Capture | MovementKind::CaptureReversal | MovementKind::RefundReversal, _) => {}
        (MovementKind::TopUp | MovementKind::TransferIn | MovementKind::TransferOut, CardStatus::Blocked) => {
            return Err(Refusal::CardBlocked);
        }
        (MovementKind::TopUp | MovementKind::TransferIn | MovementKind::Refund, CardStatus::Cancelled) => {
            return Err(Refusal::CardCancelled);
        }
        (MovementKind::Purchase, status @ (CardStatus::Inactive | CardStatus::Blocked | CardStatus::Cancelled)) => {
            return Err(Refusal::CardNotActive(status));
        }
    }
    if matches!(kind, MovementKind::Purchase | MovementKind::Withdrawal | MovementKind::TransferOut) && amount.money() > card.available() {
        return Err(Refusal::InsufficientFunds(card.available()));
    }
    post_unconditionally(card, kind, amount)
}

/// Decides a transfer from one card to another: its two movements, in this order.
///
/// # Errors
/// The cards have different currencies, or the status of one forbids it. More would be moved than is available, or the balance
/// of the other card would leave its bounds.
pub fn transfer(from: Position, to: Position, amount: Amount) -> Result<(Entry, Entry), Refusal> {
    if from.currency != to.currency {
        return Err(Refusal::CurrencyMismatch);
    }
    let of = |end| move |refusal| Refusal::OfTransfer(end, Box::new(refusal));
    let taken = post(from, MovementKind::TransferOut, amount).map_err(of(TransferEnd::From))?;
    let given = post(to, MovementKind::TransferIn, amount).map_err(of(TransferEnd::To))?;
    Ok((taken, given))
}

/// A posting of the network, which nobody may refuse: neither the card's status nor its funds matter.
///
/// # Errors
/// The balance would leave its bounds.
pub fn post_unconditionally(card: Position, kind: MovementKind, amount: Amount) -> Result<Entry, Refusal> {
    let change = kind.change(amount);
    let balance_after = card.balance.plus(change).ok_or(Refusal::BalanceLimitExceeded)?;
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
        Position {
            customer: None,
            status,
            currency: Currency::Usd,
            balance: money(balance),
            held: Money::ZERO,
            seq: 7,
            sequence: 9,
            holds_due_at: None,
            rules_version: 0,
        }
    }

    /// The expected result of every posting: `+` posted, else the error's variant.
    #[test]
    fn postings_depend_on_kind_and_status() {
        for kind in MovementKind::ALL {
            let row: [&str; CardStatus::COUNT] = match kind {
                //                      inactive                   active blocked                  cancelled
                MovementKind::TopUp | MovementKind::TransferIn => ["+", "+", "CardBlocked", "CardCancelled"],
                MovementKind::Purchase => ["CardNotActive(Inactive)", "+", "CardNotActive(Blocked)", "CardNotActive(Cancelled)"],
                MovementKind::Refund => ["+", "+", "+", "CardCancelled"],
                MovementKind::TransferOut => ["+", "+", "CardBlocked", "+"],
                MovementKind::Withdrawal | MovementKind::Capture | MovementKind::CaptureReversal | MovementKind::RefundReversal => {
                    ["+", "+", "+", "+"]
                }
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
        assert_eq!(post(active, MovementKind::Purchase, amount(501)), Err(Refusal::InsufficientFunds(money(500))));
    }

    #[test]
    fn held_money_is_not_spent_but_captured() {
        let held = |minor| Position { held: money(minor), ..card(CardStatus::Active, 500) };
        for kind in [MovementKind::Purchase, MovementKind::Withdrawal, MovementKind::TransferOut] {
            assert!(post(held(400), kind, amount(100)).is_ok_and(|entry| entry.balance_after == money(400)));
            assert_eq!(post(held(400), kind, amount(101)), Err(Refusal::InsufficientFunds(money(100))));
            assert_eq!(post(held(600), kind, amount(1)), Err(Refusal::InsufficientFunds(money(-100))));
        }
        for kind in [MovementKind::Capture, MovementKind::RefundReversal] {
            assert!(post_unconditionally(held(400), kind, amount(501)).is_ok_and(|entry| entry.balance_after == money(-1)));
        }
    }

    /// Who refuses a transfer, by the status of the card that it takes from and of the one that it gives to.
    #[test]
    fn a_transfer_takes_from_a_card_that_is_not_blocked_and_gives_to_one_that_can_be_funded() {
        for from in CardStatus::ALL {
            for to in CardStatus::ALL {
                let expected = match (from, to) {
                    (CardStatus::Blocked, _) => Err(Refusal::OfTransfer(TransferEnd::From, Box::new(Refusal::CardBlocked))),
                    (_, CardStatus::Blocked) => Err(Refusal::OfTransfer(TransferEnd::To, Box::new(Refusal::CardBlocked))),
                    (_, CardStatus::Cancelled) => Err(Refusal::OfTransfer(TransferEnd::To, Box::new(Refusal::CardCancelled))),
                    _ => Ok((money(480), money(520))),
                };
                let got = transfer(card(from, 500), card(to, 500), amount(20));
                assert_eq!(got.map(|(taken, given)| (taken.balance_after, given.balance_after)), expected, "{from:?} {to:?}");
            }
        }
    }

    #[test]
    fn a_transfer_moves_what_is_available_in_one_currency() {
        let (from, to) = (card(CardStatus::Active, 500), card(CardStatus::Active, MAX_MINOR - 10));
        let refused = |end, refusal| Err(Refusal::OfTransfer(end, Box::new(refusal)));
        let euro = Position { currency: Currency::Eur, ..to };
        assert_eq!(transfer(from, euro, amount(1)), Err(Refusal::CurrencyMismatch));
        let held = Position { held: money(400), ..from };
        assert_eq!(transfer(held, to, amount(101)), refused(TransferEnd::From, Refusal::InsufficientFunds(money(100))));
        assert_eq!(transfer(from, to, amount(11)), refused(TransferEnd::To, Refusal::BalanceLimitExceeded));
        let (taken, given) = transfer(from, to, amount(10)).expect("within bounds");
        assert_eq!((taken.amount, given.amount, taken.seq, given.seq), (money(-10), money(10), 8, 8));
    }

    #[test]
    fn a_balance_below_zero_is_filled_first() {
        let overdrawn = card(CardStatus::Active, -500);
        for kind in [MovementKind::TopUp, MovementKind::Refund, MovementKind::CaptureReversal] {
            assert!(post(overdrawn, kind, amount(200)).is_ok_and(|entry| entry.balance_after == money(-300)), "{kind:?}");
        }
        assert!(matches!(post(overdrawn, MovementKind::Purchase, amount(1)), Err(Refusal::InsufficientFunds(_))));
        let lowest = card(CardStatus::Active, -MAX_MINOR);
        assert_eq!(post_unconditionally(lowest, MovementKind::Capture, amount(1)), Err(Refusal::BalanceLimitExceeded));
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
            let mut position = Position { seq: 0, ..card(CardStatus::Active, 0) };
            let mut sum: i128 = 0;
            let mut posted = 0;
            for (kind, minor) in steps {
                if let Ok(entry) = post(position, kind, amount(minor)) {
                    sum += i128::from(entry.amount.minor());
                    posted += 1;
                    prop_assert_eq!(i128::from(entry.balance_after.minor()), sum);
                    prop_assert_eq!(entry.seq, posted);
                    prop_assert!((-MAX_MINOR..=MAX_MINOR).contains(&entry.balance_after.minor()));
                    position = position.after(entry);
                }
            }
        }
    }
}
