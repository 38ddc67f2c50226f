//! Cards looked up together: what waits while a look is under way goes in the next.

use crate::database::Pool;
use tokio::sync::oneshot;

use super::{Card, store};
use crate::domain::id::{AccountId, CardId};
use crate::service::{
    batch::Batches,
    error::{Error, Result},
    unit,
};

/// Looks at once, each with a connection.
pub(in crate::service) const FLIGHTS: u32 = 2;

/// A card that is waited for.
struct Job {
    account: AccountId,
    card: CardId,
    answer: oneshot::Sender<Result<Option<Card>>>,
}

/// Where looks wait.
#[derive(Clone, Debug)]
pub(super) struct Lookup(Batches<CardId, Job>);

impl Lookup {
    pub(super) fn new(pool: Pool) -> Self {
        Self(Batches::new("cards", FLIGHTS, move |jobs, flight| {
            let pool = pool.clone();
            async move {
                look(&pool, jobs).await;
                drop(flight);
            }
        }))
    }

    /// The card as it is at some moment after this was called.
    pub(super) async fn find(&self, account: AccountId, card: CardId) -> Result<Option<Card>> {
        let (answer, answered) = oneshot::channel();
        self.0.submit(card, Job { account, card, answer }).await;
        answered.await.unwrap_or_else(|error| Err(Error::internal("looking up a card", error)))
    }
}

async fn look(pool: &Pool, jobs: Vec<Job>) {
    let wanted: Vec<(AccountId, CardId)> = jobs.iter().map(|job| (job.account, job.card)).collect();
    match unit::read(pool, move |unit| Box::pin(async move { store::find_all(unit, &wanted).await })).await {
        Ok(found) => {
            for (job, card) in jobs.into_iter().zip(found) {
                drop(job.answer.send(Ok(card)));
            }
        }
        Err(error) => {
            for job in jobs {
                drop(job.answer.send(Err(error.shared_copy())));
            }
        }
    }
}
