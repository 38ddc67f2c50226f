//! Lookups of cards. Those that arrive while another is in flight share one query.

use super::{Card, store};
use crate::database::{self, Pool};
use crate::domain::id::{AccountId, CardId};
use crate::service::{
    batch::{self, Batcher, Call, Config},
    error::{Error, Result},
    unit,
};

/// How many batches may be in flight if they stall. Each uses a connection.
pub(in crate::service) const MAX_IN_FLIGHT: u32 = 2;

type CardKey = (AccountId, CardId);

/// Looks cards up in batches.
#[derive(Clone, Debug)]
pub(super) struct Lookup(Batcher<CardId, CardKey, Option<Card>>);

impl Lookup {
    pub(super) fn new(pool: Pool) -> Self {
        let on_dropped = || Error::internal("looking up a card", "the lookup was dropped");
        Self(Batcher::new(Config { name: "cards", max_in_flight: MAX_IN_FLIGHT, on_dropped }, move |calls, batch| {
            let pool = pool.clone();
            async move {
                let sharded = database::is_sharded(&pool);
                batch::in_parts(calls, sharded, |(account, _)| *account, |calls| execute(&pool, calls)).await;
                drop(batch);
            }
        }))
    }

    /// The card as it is at some moment after the call.
    pub(super) async fn find(&self, account: AccountId, card: CardId) -> Result<Option<Card>> {
        self.0.call([card], (account, card)).await
    }
}

async fn execute(pool: &Pool, calls: Vec<Call<CardKey, Option<Card>>>) {
    let keys: Vec<CardKey> = calls.iter().map(|call| call.request).collect();
    match unit::read(pool, move |connection| Box::pin(async move { store::find_all(connection, &keys).await })).await {
        Ok(found) => {
            for (call, card) in calls.into_iter().zip(found) {
                call.reply(Ok(card));
            }
        }
        Err(error) => batch::reply_to_all(calls, &error),
    }
}
