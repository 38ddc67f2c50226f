//! The card's status machine. Pure: no clock, no database.

use std::str::FromStr;

use serde::Serialize;

use strum::{EnumCount, EnumString, IntoStaticStr};

use crate::domain::error::Refusal;

/// The status of a card.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, sqlx::Type, EnumCount)]
#[serde(rename_all = "lowercase")]
#[sqlx(type_name = "text", rename_all = "lowercase")]
pub enum CardStatus {
    /// As created: can be funded, cannot pay.
    Inactive,
    /// Can be funded and can pay.
    Active,
    /// Can neither be funded nor pay until it is activated again.
    Blocked,
    /// Permanently out of use.
    Cancelled,
}

/// A status that a caller may request. `inactive` is not one: a card never returns to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, EnumCount)]
pub enum TargetStatus {
    /// In use.
    Active,
    /// Temporarily out of use.
    Blocked,
    /// Permanently out of use.
    Cancelled,
}

/// The effect of a permitted request for a status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StatusChange {
    /// The card already has that status.
    Unchanged,
    /// The card takes this status.
    To(CardStatus),
}

/// Not the name of a status.
#[derive(Debug, PartialEq, Eq)]
pub struct UnknownStatus;

impl CardStatus {
    /// Every status, in the order of a card's life.
    pub const ALL: [Self; Self::COUNT] = [Self::Inactive, Self::Active, Self::Blocked, Self::Cancelled];

    /// The name in JSON and in the database.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Inactive => "inactive",
            Self::Active => "active",
            Self::Blocked => "blocked",
            Self::Cancelled => "cancelled",
        }
    }

    /// The status of a card that replaces one of this status. The new card can pay at once only if the old one could: one that is
    /// blocked may be in the wrong hands, with whoever asks for another.
    ///
    /// # Errors
    /// [`Refusal::CardCancelled`].
    pub const fn of_replacement(self) -> Result<Self, Refusal> {
        match self {
            Self::Active => Ok(Self::Active),
            Self::Inactive | Self::Blocked => Ok(Self::Inactive),
            Self::Cancelled => Err(Refusal::CardCancelled),
        }
    }

    /// Decides a request to change this status to `target`.
    ///
    /// # Errors
    /// [`Refusal::CardTransition`] if the status machine has no such transition.
    pub fn change(self, target: TargetStatus) -> Result<StatusChange, Refusal> {
        let refused = Err(Refusal::CardTransition { from: self, to: target });
        match (self, target) {
            (Self::Active, TargetStatus::Active) | (Self::Blocked, TargetStatus::Blocked) | (Self::Cancelled, TargetStatus::Cancelled) => {
                Ok(StatusChange::Unchanged)
            }
            (Self::Inactive | Self::Blocked, TargetStatus::Active)
            | (Self::Active, TargetStatus::Blocked)
            | (Self::Inactive | Self::Active | Self::Blocked, TargetStatus::Cancelled) => Ok(StatusChange::To(target.status())),
            (Self::Inactive, TargetStatus::Blocked) | (Self::Cancelled, TargetStatus::Active | TargetStatus::Blocked) => refused,
        }
    }
}

/// Why a card is replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, EnumCount, EnumString, IntoStaticStr)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum ReplacementReason {
    /// Nobody knows where it is.
    Lost,
    /// Somebody else has it.
    Stolen,
    /// It does not work.
    Damaged,
    /// Somebody else knows its number.
    Compromised,
    /// Its time is over.
    Expired,
}

impl ReplacementReason {
    /// Every reason.
    pub const ALL: [Self; Self::COUNT] = [Self::Lost, Self::Stolen, Self::Damaged, Self::Compromised, Self::Expired];

    /// The name in JSON and in the database.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.into()
    }
}

impl FromStr for CardStatus {
    type Err = UnknownStatus;

    fn from_str(text: &str) -> Result<Self, UnknownStatus> {
        Self::ALL.into_iter().find(|status| status.name() == text).ok_or(UnknownStatus)
    }
}

impl TargetStatus {
    /// Every status that can be requested.
    pub const ALL: [Self; Self::COUNT] = [Self::Active, Self::Blocked, Self::Cancelled];

    /// The status after the transition.
    #[must_use]
    pub const fn status(self) -> CardStatus {
        match self {
            Self::Active => CardStatus::Active,
            Self::Blocked => CardStatus::Blocked,
            Self::Cancelled => CardStatus::Cancelled,
        }
    }
}

impl FromStr for TargetStatus {
    type Err = UnknownStatus;

    fn from_str(text: &str) -> Result<Self, UnknownStatus> {
        Self::ALL.into_iter().find(|target| target.status().name() == text).ok_or(UnknownStatus)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The expected result of every request: `.` unchanged, `>` changed, `x` refused.
    #[test]
    fn the_status_machine_has_only_the_listed_transitions() {
        let grid: [(CardStatus, [char; TargetStatus::COUNT]); CardStatus::COUNT] = [
            //                       active blocked cancelled
            (CardStatus::Inactive, ['>', 'x', '>']),
            (CardStatus::Active, ['.', '>', '>']),
            (CardStatus::Blocked, ['>', '.', '>']),
            (CardStatus::Cancelled, ['x', 'x', '.']),
        ];
        assert_eq!(grid.map(|(from, _)| from), CardStatus::ALL);
        for (from, row) in grid {
            for (target, cell) in TargetStatus::ALL.into_iter().zip(row) {
                let change = from.change(target);
                match cell {
                    '.' => assert!(matches!(change, Ok(StatusChange::Unchanged)), "{from:?} {target:?}"),
                    '>' => assert!(matches!(change, Ok(StatusChange::To(to)) if to == target.status()), "{from:?} {target:?}"),
                    _ => assert!(
                        matches!(change, Err(Refusal::CardTransition { from: f, to }) if f == from && to == target),
                        "{from:?} {target:?}"
                    ),
                }
            }
        }
    }

    #[test]
    fn only_three_statuses_can_be_requested() {
        for status in CardStatus::ALL {
            assert_eq!(status.name().parse(), Ok(status));
            assert_eq!(status.name().parse::<TargetStatus>().is_ok(), status != CardStatus::Inactive);
        }
        for word in ["", "pending", "Active", "ACTIVE", "active ", "canceled"] {
            assert_eq!(word.parse::<TargetStatus>(), Err(UnknownStatus), "{word:?}");
            assert_eq!(word.parse::<CardStatus>(), Err(UnknownStatus), "{word:?}");
        }
    }
}
