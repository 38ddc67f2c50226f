//! What the clients know of each card's payments, so that later requests can name them. It is bounded: what is forgotten
//! is left to expire.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Mutex, MutexGuard, PoisonError},
};

use record::{Answer, Kind, Request};

/// The number of remembered ids of each list.
const REMEMBERED: usize = 24;

/// An authorisation and its `networkTransactionId`.
#[derive(Clone, Debug)]
pub struct Payment {
    /// Its id.
    pub id: String,
    /// The network's id.
    pub network_transaction: String,
}

/// The payments of a card.
#[derive(Debug, Default)]
pub struct Payments {
    /// Authorisations that hold money.
    pub open: Remembered<Payment>,
    /// Authorisations that were closed, or purchases.
    pub closed: Remembered<Payment>,
    /// Movements that a capture reversal can name.
    pub captures: Remembered<String>,
    /// Movements that a refund reversal can name.
    pub refunds: Remembered<String>,
}

/// The newest of a kind.
#[derive(Debug)]
pub struct Remembered<T>(VecDeque<T>);

impl<T> Default for Remembered<T> {
    fn default() -> Self {
        Self(VecDeque::new())
    }
}

impl<T: Clone> Remembered<T> {
    /// Adds one, and forgets the oldest if there are too many.
    pub fn add(&mut self, one: T) {
        if self.0.len() == REMEMBERED {
            self.0.pop_front();
        }
        self.0.push_back(one);
    }

    /// Any.
    pub fn any(&self) -> Option<T> {
        (!self.0.is_empty()).then(|| self.0[rand::random_range(0..self.0.len())].clone())
    }

    /// Any, and forgets it.
    pub fn take(&mut self) -> Option<T> {
        (!self.0.is_empty()).then(|| rand::random_range(0..self.0.len())).and_then(|index| self.0.swap_remove_back(index))
    }
}

/// The payments of every card.
#[derive(Debug)]
pub struct Book(HashMap<String, Mutex<Payments>>);

impl Book {
    /// An empty book of these cards.
    pub fn new(cards: &[String]) -> Self {
        Self(cards.iter().map(|card| (card.clone(), Mutex::default())).collect())
    }

    /// The payments of a card.
    pub fn of(&self, card: &str) -> Option<MutexGuard<'_, Payments>> {
        self.0.get(card).map(|payments| payments.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Remembers what an answer names.
    pub fn learn(&self, request: &Request, answer: &Answer) {
        let Some(mut payments) = self.of(&request.card) else { return };
        if answer.status != 200 {
            return;
        }
        if let (Kind::Authorize | Kind::NetworkPurchase, Some(authorization)) = (request.kind, &answer.body.authorization) {
            let payment =
                Payment { id: authorization.id.clone(), network_transaction: request.network_transaction.clone().unwrap_or_default() };
            match authorization.status.as_str() {
                "pending" => payments.open.add(payment),
                "captured" => payments.closed.add(payment),
                _ => {}
            }
        }
        if let Some(movement) = answer.body.movement.clone() {
            match request.kind {
                Kind::Purchase | Kind::NetworkPurchase | Kind::Capture | Kind::ForcePost => payments.captures.add(movement),
                Kind::Refund | Kind::NetworkRefund => payments.refunds.add(movement),
                _ => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_newest_are_remembered_and_what_is_taken_is_forgotten() {
        let mut remembered = Remembered::default();
        assert!(remembered.any().is_none() && remembered.take().is_none());
        (0..=REMEMBERED).for_each(|number| remembered.add(number));
        let mut taken: Vec<_> = std::iter::from_fn(|| remembered.take()).collect();
        taken.sort_unstable();
        assert_eq!(taken, (1..=REMEMBERED).collect::<Vec<_>>());
    }
}
