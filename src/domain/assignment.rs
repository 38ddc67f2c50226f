//! Which customer a card may be assigned to. Pure: no clock, no database.

use crate::domain::{card::CardStatus, error::Refusal, id::CustomerId};

/// The effect of a permitted assignment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Assignment {
    /// The card is already assigned to that customer.
    Unchanged,
    /// The card is now assigned to that customer.
    New,
}

/// Decides an assignment. A card is assigned at most once.
///
/// # Errors
/// The card is assigned to another customer, or it is unassigned and cancelled.
pub fn assign(status: CardStatus, holder: Option<CustomerId>, customer: CustomerId) -> Result<Assignment, Refusal> {
    match (holder, status) {
        (Some(holder), _) if holder == customer => Ok(Assignment::Unchanged),
        (Some(_), _) => Err(Refusal::CardAlreadyAssigned),
        (None, CardStatus::Cancelled) => Err(Refusal::CardCancelled),
        (None, CardStatus::Inactive | CardStatus::Active | CardStatus::Blocked) => Ok(Assignment::New),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn assignment_depends_on_status_and_holder() {
        let (ana, juan) = (CustomerId::new(), CustomerId::new());
        for status in CardStatus::ALL {
            let cancelled = status == CardStatus::Cancelled;
            assert!(matches!(assign(status, Some(ana), ana), Ok(Assignment::Unchanged)), "{status:?}");
            assert!(matches!(assign(status, Some(juan), ana), Err(Refusal::CardAlreadyAssigned)), "{status:?}");
            match assign(status, None, ana) {
                Ok(assignment) => assert_eq!((assignment, cancelled), (Assignment::New, false), "{status:?}"),
                Err(error) => assert!(matches!(error, Refusal::CardCancelled) && cancelled, "{status:?}"),
            }
        }
    }
}
