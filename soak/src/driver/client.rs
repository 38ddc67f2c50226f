//! A closed-loop client: one operation after another, each sent again under its key until it is decided.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use record::Kind;
use tokio::{
    sync::{Mutex, watch},
    time::sleep,
};

use crate::api::{Api, Operation, Outcome};

/// How long an operation is sent again before it is left for the end.
const PATIENCE: Duration = Duration::from_secs(60);

/// How long the same is tried when nothing dies any more.
const LAST_PATIENCE: Duration = Duration::from_secs(60);

/// What a card that is set aside goes through.
const LIFE: [&str; 3] = ["blocked", "active", "cancelled"];

/// What all clients share.
#[derive(Debug)]
pub struct Town {
    /// How they reach the service.
    pub api: Arc<Api>,
    /// Every card; the first is the hot one, the last few are set aside for changes of status.
    pub cards: Vec<String>,
    /// How far the cards that are set aside have come in their life.
    pub lives: Vec<Mutex<usize>>,
    /// Operations without a definitive answer yet.
    pub undecided: Mutex<Vec<(Operation, bool)>>,
}

impl Town {
    /// Cards made for the clients, of which the last `aside` will be cancelled some day.
    pub fn new(api: Arc<Api>, cards: Vec<String>, aside: usize) -> Self {
        let lives = (0..aside).map(|_| Mutex::new(0)).collect();
        Self { api, cards, lives, undecided: Mutex::default() }
    }

    /// One client's whole day.
    pub async fn live(self: Arc<Self>, client: usize, end: watch::Receiver<bool>) {
        while !*end.borrow() {
            if rand::random_bool(0.0005) {
                self.change_status(client).await;
                continue;
            }
            let hot = rand::random_bool(0.3);
            let card = &self.cards[if hot { 0 } else { rand::random_range(0..self.cards.len()) }];
            // What comes in and goes out is about the same, so that some purchases find too little.
            let (kind, cents) = match rand::random_range(0..100) {
                0..60 => (Kind::TopUp, rand::random_range(1..=10_000)),
                60..85 => (Kind::Purchase, rand::random_range(1..=25_000)),
                85..90 => (Kind::Refund, rand::random_range(1..=5_000)),
                _ => (Kind::Read, 0),
            };
            let operation = Operation::new(card, kind, cents, None);
            let keyless = kind != Kind::Read && rand::random_bool(0.3);
            self.perform(client, if keyless { operation.without_key() } else { operation }).await;
        }
    }

    /// Tries the undecided ones again. Gives how many stay undecided.
    pub async fn resolve(&self) -> usize {
        let undecided = std::mem::take(&mut *self.undecided.lock().await);
        let began = Instant::now();
        let mut left = 0;
        for (operation, felt) in undecided {
            let patience = LAST_PATIENCE.saturating_sub(began.elapsed()).max(Duration::from_millis(1));
            if self.insist(0, &operation, patience).await {
                self.count_resolved(felt);
            } else {
                left += 1;
            }
        }
        left
    }

    async fn perform(&self, client: usize, operation: Operation) {
        let tally = &self.api.history.tally;
        let patience = rand::random_bool(0.05).then(|| Duration::from_millis(rand::random_range(0..=50)));
        if operation.kind == Kind::Read || !operation.keyed {
            self.send(client, &operation, patience).await;
            return;
        }
        let duplicate = rand::random_bool(0.1);
        let at_once = duplicate && rand::random_bool(0.5);
        let (first, second) = if at_once {
            tally.duplicates.add();
            tokio::join!(self.send(client, &operation, patience), self.send(client, &operation, None))
        } else {
            let first = self.send(client, &operation, patience).await;
            if duplicate {
                tally.duplicates.add();
                (first, self.send(client, &operation, None).await)
            } else {
                (first, Outcome::NotDone)
            }
        };
        let decided = |outcome| matches!(outcome, Outcome::Definitive | Outcome::Wrong);
        if decided(first) {
            return;
        }
        // A hang-up and a twin that was faster are our own doing, and what was not done was told so: neither shows that
        // a kill was felt in the middle of something.
        let felt = first == Outcome::Unknown;
        if decided(second) || self.insist(client, &operation, PATIENCE).await {
            self.count_resolved(felt);
        } else {
            self.undecided.lock().await.push((operation, felt));
        }
    }

    async fn send(&self, client: usize, operation: &Operation, patience: Option<Duration>) -> Outcome {
        self.api.attempt(client, operation, rand::random_range(0..self.api.replicas()), patience).await
    }

    /// Sends it again, at any replica, until there is a definitive answer.
    async fn insist(&self, client: usize, operation: &Operation, patience: Duration) -> bool {
        let began = Instant::now();
        let mut pause = 20;
        while began.elapsed() < patience {
            match self.send(client, operation, None).await {
                Outcome::Definitive | Outcome::Wrong => return true,
                Outcome::LoginAgain => {}
                Outcome::Unknown | Outcome::NotDone | Outcome::InUse | Outcome::HungUp => {
                    sleep(Duration::from_millis(rand::random_range(pause / 2..=pause))).await;
                    pause = (pause * 2).min(500);
                }
            }
        }
        false
    }

    /// One step in the life of a card that is set aside. Nobody else may take the next one before this is decided.
    async fn change_status(&self, client: usize) {
        let index = rand::random_range(0..self.lives.len());
        let Ok(mut step) = self.lives[index].try_lock() else { return };
        let Some(to) = LIFE.get(*step) else { return };
        let card = &self.cards[self.cards.len() - 1 - index];
        let operation = Operation::new(card, Kind::Status, 0, Some(to));
        if self.insist(client, &operation, PATIENCE).await {
            *step += 1;
        } else {
            *step = LIFE.len();
            self.undecided.lock().await.push((operation, true));
        }
    }

    fn count_resolved(&self, felt: bool) {
        let tally = &self.api.history.tally;
        tally.resolved.add();
        if felt {
            tally.felt.add();
        }
    }
}
