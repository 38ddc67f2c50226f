//! The contradictions that a verification finds, and how it reports them.

use std::fmt;

use chrono::{DateTime, SecondsFormat, Utc};

use crate::domain::{
    id::{AccountId, AuthorizationId, CardId, LimitId},
    spending::limit::Used,
};

/// A fault of a card, or of a limit. Amounts are in minor units.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Drift {
    /// The account.
    pub account: AccountId,
    /// The card. None: the fault is a limit's.
    pub card: Option<CardId>,
    /// The fault.
    pub fault: Fault,
}

/// A contradiction between a card, its movements, its authorisations and their entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// What a limit says was spent is not what its payments have spent.
    LimitUsage {
        /// The limit.
        limit: LimitId,
        /// The start of the window, or of all windows together.
        window_start: DateTime<Utc>,
        /// What the payments have spent.
        expected: Used,
        /// What the limit says.
        found: Used,
    },
    /// A movement is missing or duplicated.
    Sequence {
        /// The seq after the previous one.
        expected: i64,
        /// The seq of the movement.
        found: i64,
    },
    /// The balance after a movement is not the previous balance plus its amount.
    RunningBalance {
        /// The seq of the movement.
        seq: i64,
        /// The previous balance plus the amount.
        expected: i128,
        /// The balance that the movement states.
        found: i64,
    },
    /// A movement that cannot overdraw a card leaves a balance below zero.
    Overdrawn {
        /// The seq of the movement.
        seq: i64,
        /// The balance that the movement states.
        found: i64,
    },
    /// The balance of the card is not the sum of its movements.
    Balance {
        /// The sum of the movements.
        expected: i128,
        /// The balance of the card.
        found: i64,
    },
    /// The last seq of the card is not that of its newest movement.
    LastSequence {
        /// The seq of the newest movement.
        expected: i64,
        /// The last seq of the card.
        found: i64,
    },
    /// Movements, authorisations or entries belong to a card that does not exist.
    NoCard,
    /// A movement reverses or refunds no movement of the card that it could.
    NoOriginal {
        /// The seq of the movement.
        seq: i64,
    },
    /// A movement is half of a transfer whose other half is missing or does not fit, or it is no half and says so.
    HalfTransfer {
        /// The seq of the movement.
        seq: i64,
    },
    /// More was given back of a movement than it took, or taken back than it gave.
    GivenBack {
        /// The seq of the movement.
        seq: i64,
        /// What it took or gave.
        most: i128,
        /// What was given or taken back.
        found: i128,
    },
    /// A movement names an authorisation that its card does not have.
    NoAuthorization {
        /// The seq of the movement.
        seq: i64,
    },
    /// The movement that an entry says it posted does not exist, or is another one.
    EntryMovement {
        /// The sequence number of the entry.
        sequence: i64,
    },
    /// What an entry says that the card held after it is not what it held before, plus the entry's change.
    RunningHold {
        /// The sequence number of the entry.
        sequence: i64,
        /// What the card held before, plus the change.
        expected: i128,
        /// What the entry states.
        found: i64,
    },
    /// What the card holds is not the sum of the changes by its entries.
    Held {
        /// The sum of the changes.
        expected: i128,
        /// What the card holds.
        found: i64,
    },
    /// A hold expires before the moment at which the card says that the first may: nobody would look for it.
    HidesDue,
    /// The newest entry has a higher sequence number than the card.
    EntrySequence {
        /// The sequence number of the newest entry.
        newest: i64,
        /// The sequence number of the card.
        found: i64,
    },
    /// The card has entries that no authorisation leads to, or authorisations lack entries.
    EntryCount {
        /// The number of entries that the authorisations lead to.
        expected: i64,
        /// The number of entries.
        found: i64,
    },
    /// The movements that capture for authorisations do not add up to what the entries captured.
    Captured {
        /// What the entries captured.
        expected: i128,
        /// The sum of the movements.
        found: i128,
    },
    /// The entries of an authorisation do not lead from one to the next, or not to where it stands.
    EntryChain {
        /// The authorisation.
        authorization: AuthorizationId,
    },
    /// The sums of an authorisation do not add up to what was authorised.
    AddUp {
        /// The authorisation.
        authorization: AuthorizationId,
        /// What was held, given back, expired, released and captured without excess.
        expected: i128,
        /// What was authorised.
        found: i64,
    },
    /// A sum of an authorisation is not that of its entries or movements.
    Sum {
        /// The authorisation.
        authorization: AuthorizationId,
        /// The name of the sum.
        sum: &'static str,
        /// The sum of the entries or movements.
        expected: i64,
        /// What the authorisation states.
        found: i64,
    },
    /// Reversals and refunds gave more back of an authorisation than was captured.
    Returned {
        /// The authorisation.
        authorization: AuthorizationId,
        /// What was captured.
        most: i64,
        /// What was given back, less what was taken back of it.
        found: i128,
    },
    /// An authorisation is pending and holds nothing, or holds something and is not pending.
    PendingHold {
        /// The authorisation.
        authorization: AuthorizationId,
        /// What it holds.
        held: i64,
    },
}

impl fmt::Display for Drift {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.card {
            Some(card) => write!(f, "{} {card}: ", self.account)?,
            None => write!(f, "{}: ", self.account)?,
        }
        match self.fault {
            Fault::LimitUsage { limit, window_start, expected, found } => write!(
                f,
                "{} was spent of {limit} in {} payments from {}, and it says {} in {}",
                expected.amount.minor(),
                expected.count,
                window_start.to_rfc3339_opts(SecondsFormat::Secs, true),
                found.amount.minor(),
                found.count
            ),
            Fault::Sequence { expected, found } => write!(f, "movement {expected} is missing or doubled, {found} stands there"),
            Fault::RunningBalance { seq, expected, found } => write!(f, "movement {seq} should leave {expected} and says {found}"),
            Fault::Overdrawn { seq, found } => write!(f, "movement {seq} may not overdraw the card and leaves {found}"),
            Fault::Balance { expected, found } => write!(f, "the movements add up to {expected} and the card holds {found}"),
            Fault::LastSequence { expected, found } => write!(f, "the last movement is {expected} and the card counts {found}"),
            Fault::NoCard => f.write_str("there are movements or authorizations and no such card"),
            Fault::NoOriginal { seq } => write!(f, "movement {seq} reverses or refunds a movement that it cannot"),
            Fault::HalfTransfer { seq } => write!(f, "movement {seq} is half of a transfer whose other half is missing or does not fit"),
            Fault::GivenBack { seq, most, found } => write!(f, "movement {seq} was of {most} and {found} of it was given back"),
            Fault::NoAuthorization { seq } => write!(f, "movement {seq} names an authorization that the card does not have"),
            Fault::EntryMovement { sequence } => write!(f, "entry {sequence} and the movement that it posted contradict each other"),
            Fault::RunningHold { sequence, expected, found } => {
                write!(f, "entry {sequence} should leave {expected} held on the card and says {found}")
            }
            Fault::Held { expected, found } => write!(f, "the entries leave {expected} held and the card says {found}"),
            Fault::HidesDue => f.write_str("a hold expires before the card says that any may"),
            Fault::EntrySequence { newest, found } => write!(f, "the newest entry is {newest} and the card counts {found}"),
            Fault::EntryCount { expected, found } => {
                write!(f, "the authorizations lead to {expected} entries and the card has {found}")
            }
            Fault::Captured { expected, found } => write!(f, "the entries captured {expected} and the movements {found}"),
            Fault::EntryChain { authorization } => {
                write!(f, "the entries of {authorization} do not lead from one to the next and to what it holds")
            }
            Fault::AddUp { authorization, expected, found } => {
                write!(f, "the parts of {authorization} add up to {expected} and {found} was authorized")
            }
            Fault::Sum { authorization, sum, expected, found } => {
                write!(f, "{authorization} should have {expected} {sum} and says {found}")
            }
            Fault::Returned { authorization, most, found } => {
                write!(f, "{most} was captured for {authorization} and {found} of it was given back")
            }
            Fault::PendingHold { authorization, held } => {
                write!(f, "{authorization} holds {held}, and its status says otherwise")
            }
        }
    }
}
