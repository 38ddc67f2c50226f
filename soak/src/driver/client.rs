//! A closed-loop client: it sends one operation after another, and retries each under its key until it is decided.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use record::Kind;
use tokio::{
    sync::{Mutex, watch},
    time::sleep,
};

use crate::{
    api::{Api, Outcome},
    book::Book,
    mix,
    request::{Draft, Operation},
};

/// How long an operation is retried before it is left for the end.
const RETRY_FOR: Duration = Duration::from_secs(60);

/// How long the remaining operations are retried once nothing is killed any more.
const FINAL_RETRY_FOR: Duration = Duration::from_secs(60);

/// How long a card is the one that many clients use. No card's history then grows with the whole history.
const HOT_FOR: Duration = Duration::from_secs(60);

/// The status changes of a reserved card.
const STATUS_CHANGES: [&str; 3] = ["blocked", "active", "cancelled"];

/// How much is asked of an account.
#[derive(Clone, Copy, Debug)]
pub struct Load {
    /// How many clients there are.
    pub clients: usize,
    /// How many cards.
    pub cards: usize,
    /// How many of the cards change their status.
    pub reserved: usize,
    /// How many of the cards are a customer's with a limit.
    pub limited: usize,
    /// How likely a client uses the hot card.
    pub hot: f64,
    /// How long a client pauses after each operation.
    pub pause: Duration,
}

/// The state that all clients share.
#[derive(Debug)]
pub struct Workload {
    /// The service.
    pub api: Arc<Api>,
    load: Load,
    /// Every card. One after the other is the hot one, and the last few are reserved for status changes.
    pub cards: Vec<String>,
    /// What the clients know of the cards' payments.
    pub book: Book,
    /// When the clients began.
    pub began: Instant,
    /// The number of completed status changes of each reserved card.
    pub completed_changes: Vec<Mutex<usize>>,
    /// Operations without a definitive answer yet.
    pub undecided: Mutex<Vec<(Operation, bool)>>,
}

impl Workload {
    /// A workload on these cards, of which the last few change their status.
    pub fn new(api: Arc<Api>, cards: Vec<String>, load: Load) -> Self {
        let completed_changes = (0..load.reserved).map(|_| Mutex::new(0)).collect();
        let book = Book::new(&cards);
        Self { api, load, cards, book, began: Instant::now(), completed_changes, undecided: Mutex::default() }
    }

    /// Runs one client until the end.
    pub async fn run_client(self: Arc<Self>, client: usize, end: watch::Receiver<bool>) {
        while !*end.borrow() {
            if rand::random_bool(0.0005) {
                self.change_status(client).await;
                continue;
            }
            let hot = usize::try_from(self.began.elapsed().as_secs() / HOT_FOR.as_secs()).unwrap_or(0) % self.cards.len();
            let index = if rand::random_bool(self.load.hot) { hot } else { rand::random_range(0..self.cards.len()) };
            let card = &self.cards[index];
            // The book is unlocked before anything is sent.
            let next = self.book.of(card).map(|mut payments| mix::next(card, &mut payments));
            if let Some(operation) = next {
                self.perform(client, operation).await;
            }
            if !self.load.pause.is_zero() {
                sleep(self.load.pause).await;
            }
        }
    }

    /// Retries the undecided operations, and returns how many remain undecided.
    pub async fn resolve(&self) -> usize {
        let undecided = std::mem::take(&mut *self.undecided.lock().await);
        let began = Instant::now();
        let mut remaining = 0;
        for (operation, by_kill) in undecided {
            let patience = FINAL_RETRY_FOR.saturating_sub(began.elapsed()).max(Duration::from_millis(1));
            if self.retry(0, &operation, patience, true).await {
                self.count_resolved(by_kill);
            } else {
                remaining += 1;
            }
        }
        remaining
    }

    async fn perform(&self, client: usize, operation: Operation) {
        let tally = &self.api.history.tally;
        let patience = rand::random_bool(0.05).then(|| Duration::from_millis(rand::random_range(0..=50)));
        if operation.request.kind.is_read() || !operation.request.keyed {
            self.send(client, &operation, patience).await;
            return;
        }
        let duplicate = rand::random_bool(0.1);
        let concurrent = duplicate && rand::random_bool(0.5);
        let (first, second) = if concurrent {
            tally.duplicates.add();
            tokio::join!(self.send(client, &operation, patience), self.send(client, &operation, None))
        } else {
            let first = self.send(client, &operation, patience).await;
            if duplicate {
                tally.duplicates.add();
                (first, self.send(client, &operation, None).await)
            } else {
                (first, Outcome::NotExecuted)
            }
        };
        let decided = |outcome| matches!(outcome, Outcome::Definitive | Outcome::Wrong);
        if decided(first) {
            return;
        }
        // Only an unknown outcome shows that a kill hit a request. Hang-ups and faster duplicates are the driver's own
        // doing, and a rejected request was not executed.
        let by_kill = first == Outcome::Unknown;
        if decided(second) || self.retry(client, &operation, RETRY_FOR, false).await {
            self.count_resolved(by_kill);
        } else {
            self.undecided.lock().await.push((operation, by_kill));
        }
    }

    async fn send(&self, client: usize, operation: &Operation, patience: Option<Duration>) -> Outcome {
        let replica = rand::random_range(0..self.api.replicas());
        let (outcome, answer) = self.api.attempt(client, operation, replica, patience).await;
        if let Some(answer) = answer {
            self.book.learn(&operation.request, &answer);
        }
        outcome
    }

    /// Retries at any replica until there is a definitive answer. At the end nothing can be in progress any more, so that
    /// an attempt that comes too late tells that the earlier ones did nothing.
    async fn retry(&self, client: usize, operation: &Operation, patience: Duration, at_end: bool) -> bool {
        let began = Instant::now();
        let mut pause = 20;
        while began.elapsed() < patience {
            match self.send(client, operation, None).await {
                Outcome::Definitive | Outcome::Wrong => return true,
                Outcome::LoginAgain => {}
                Outcome::TooLate => return at_end,
                Outcome::Unknown | Outcome::NotExecuted | Outcome::InUse | Outcome::HungUp => {
                    sleep(Duration::from_millis(rand::random_range(pause / 2..=pause))).await;
                    pause = (pause * 2).min(500);
                }
            }
        }
        false
    }

    /// Makes the next status change of a reserved card. The lock keeps other clients out until it is decided.
    async fn change_status(&self, client: usize) {
        let index = rand::random_range(0..self.completed_changes.len());
        let Ok(mut step) = self.completed_changes[index].try_lock() else { return };
        let Some(to) = STATUS_CHANGES.get(*step) else { return };
        let card = &self.cards[self.cards.len() - 1 - index];
        let operation = Draft::new(card, Kind::Status, None).to(to).build(None);
        if self.retry(client, &operation, RETRY_FOR, false).await {
            *step += 1;
        } else {
            *step = STATUS_CHANGES.len();
            self.undecided.lock().await.push((operation, true));
        }
    }

    fn count_resolved(&self, by_kill: bool) {
        let tally = &self.api.history.tally;
        tally.resolved.add();
        if by_kill {
            tally.by_kills.add();
        }
    }
}
