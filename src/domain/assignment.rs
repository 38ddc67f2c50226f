//! Who a card may be assigned to. Pure: no clock, no database.

use crate::domain::{card::CardStatus, error::Refusal, id::CustomerId};

/// What a permitted assignment comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Assignment {
    /// The card is that customer's already.
    Unchanged,
    /// The card becomes that customer's.
    New,
}

/// Decides one assignment. A card has one customer in its life.
///
/// # Errors
/// The card is another customer's, or it is cancelled and has none.
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
    fn every_status_and_holder_answers_as_the_grid_says() {
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
