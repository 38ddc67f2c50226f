//! The column arrays of the statement that writes a batch.

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::{
    CardKey,
    card_update::{CardUpdate, PendingPosting},
};

/// The rows of a batch, as the column arrays that its statement takes.
#[derive(Default)]
pub(super) struct Rows {
    pub(super) at: Option<DateTime<Utc>>,
    pub(super) updates: UpdateColumns,
    pub(super) postings: PostingColumns,
}

/// One element for each card.
#[derive(Default)]
pub(super) struct UpdateColumns {
    pub(super) account_id: Vec<Uuid>,
    pub(super) card_id: Vec<Uuid>,
    pub(super) status: Vec<&'static str>,
    pub(super) balance: Vec<i64>,
    pub(super) seq: Vec<i64>,
    pub(super) next_balance: Vec<i64>,
    pub(super) next_seq: Vec<i64>,
}

/// One element for each posting.
#[derive(Default)]
pub(super) struct PostingColumns {
    pub(super) account_id: Vec<Uuid>,
    pub(super) card_id: Vec<Uuid>,
    pub(super) seq: Vec<i64>,
    pub(super) id: Vec<Uuid>,
    pub(super) kind: Vec<&'static str>,
    pub(super) amount: Vec<i64>,
    pub(super) balance_after: Vec<i64>,
    pub(super) description: Vec<String>,
    pub(super) user_id: Vec<Option<Uuid>>,
    pub(super) request_id: Vec<Option<String>>,
    pub(super) key: Vec<Option<String>>,
    pub(super) fingerprint: Vec<Option<Vec<u8>>>,
    pub(super) body: Vec<Option<Vec<u8>>>,
}

impl Rows {
    /// The rows of updates, written at the time `at` or else of the statement. Postings with an idempotency key need `at`.
    pub(super) fn new(updates: &[CardUpdate], at: Option<DateTime<Utc>>) -> Self {
        let mut rows = Self { at, ..Self::default() };
        for update in updates {
            rows.updates.push(update);
            for posting in &update.postings {
                rows.postings.push(update.card, posting, at);
            }
        }
        rows
    }
}

impl UpdateColumns {
    fn push(&mut self, CardUpdate { card: (account, card), from, to, .. }: &CardUpdate) {
        self.account_id.push((*account).into());
        self.card_id.push((*card).into());
        self.status.push(from.status.name());
        self.balance.push(from.balance.minor());
        self.seq.push(from.seq);
        self.next_balance.push(to.balance.minor());
        self.next_seq.push(to.seq);
    }
}

impl PostingColumns {
    fn push(&mut self, (account, card): CardKey, posting: &PendingPosting, at: Option<DateTime<Utc>>) {
        let request = &posting.call.request;
        let idempotent = request.idempotent.as_ref();
        self.account_id.push(account.into());
        self.card_id.push(card.into());
        self.seq.push(posting.entry.seq);
        self.id.push(posting.id.into());
        self.kind.push(request.posting.kind.name());
        self.amount.push(posting.entry.amount.minor());
        self.balance_after.push(posting.entry.balance_after.minor());
        self.description.push(request.posting.description.as_str().to_owned());
        self.user_id.push(request.actor.user().map(Uuid::from));
        self.request_id.push(request.actor.origin().map(|origin| origin.request_id.to_string()));
        self.key.push(idempotent.map(|request| request.key.as_str().to_owned()));
        self.fingerprint.push(idempotent.map(|request| request.fingerprint.to_vec()));
        self.body.push(at.and_then(|at| posting.stored_body(at)));
    }
}
