//! Idempotency keys: the response to a request is stored in the transaction that does what the request asks for, and
//! the same request under the same key gets the same response again.
//!
//! Successes and refusals are stored. The transaction of a refusal is rolled back first, so that nothing else stays of it. A request that is not valid, not permitted or not finished stores nothing, and
//! may be sent again under its key.

mod store;

use std::{
    collections::HashSet,
    fmt,
    str::FromStr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use sqlx::PgConnection;

use crate::database::Pool;
use crate::domain::{
    error::{Refusal, RefusalKind},
    id::AccountId,
};

use super::{
    error::{Error, Result},
    unit::{self, Unit},
};

/// How many expired responses are deleted at a time.
const PURGE_BATCH: i64 = 500;

/// A client's name for one request: 1 to 255 visible ASCII characters.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Key(String);

impl Key {
    /// The text, without quotes.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Not a key.
#[derive(Debug, PartialEq, Eq)]
pub struct NotAKey;

impl FromStr for Key {
    type Err = NotAKey;

    /// Accepts a bare key, and one in quotes as the IETF draft writes it.
    fn from_str(text: &str) -> std::result::Result<Self, NotAKey> {
        let bare = text.strip_prefix('"').and_then(|text| text.strip_suffix('"')).unwrap_or(text);
        let visible = bare.bytes().all(|byte| byte.is_ascii_graphic());
        if visible && (1..=255).contains(&bare.len()) { Ok(Self(bare.to_owned())) } else { Err(NotAKey) }
    }
}

/// A response that is stored under a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredResponse {
    /// Whether it tells of a success or of a refusal.
    pub kind: ResponseKind,
    /// Its body, to the byte.
    pub body: Vec<u8>,
}

/// What a stored response tells of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResponseKind {
    /// The request was done.
    Success,
    /// The request was refused.
    Refused(RefusalKind),
}

/// A request with an idempotency key.
pub struct IdempotentRequest<T> {
    /// The account that the key belongs to. The same key of another account is another key.
    pub account: AccountId,
    /// The client's name for the request.
    pub key: Key,
    /// What tells this request from another under the same key.
    pub fingerprint: [u8; 32],
    /// Writes the body of the response.
    pub render: Render<T>,
}

/// Writes the body of the response to a request that was done or refused.
pub type Render<T> = Box<dyn Fn(std::result::Result<&T, Refusal>) -> Vec<u8> + Send + Sync>;

impl<T> IdempotentRequest<T> {
    /// The response to store.
    fn response(&self, result: std::result::Result<&T, &Refusal>) -> StoredResponse {
        match result {
            Ok(done) => StoredResponse { kind: ResponseKind::Success, body: (self.render)(Ok(done)) },
            Err(refusal) => StoredResponse { kind: ResponseKind::Refused(refusal.kind()), body: (self.render)(Err(refusal.clone())) },
        }
    }
}

impl<T> fmt::Debug for IdempotentRequest<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IdempotentRequest").field("account", &self.account).field("key", &self.key).finish_non_exhaustive()
    }
}

/// The result of a request that may have been done before.
#[derive(Debug)]
pub enum Outcome<T> {
    /// The request was done now.
    Fresh(T),
    /// The request was done now, and this is the body of the response that is stored under its key.
    Stored(T, Vec<u8>),
    /// The request was answered before, with this response.
    Replayed(StoredResponse),
}

impl<T> Outcome<T> {
    /// What was done now.
    pub(super) const fn done(&self) -> Option<&T> {
        match self {
            Self::Fresh(done) | Self::Stored(done, _) => Some(done),
            Self::Replayed(_) => None,
        }
    }
}

/// The keys whose requests wait or run in this replica. A second request under such a key is refused at once, before it
/// waits for anything.
#[derive(Debug, Default)]
pub(super) struct InFlightKeys(Mutex<HashSet<(AccountId, Key)>>);

/// A key in flight, until this is dropped.
pub(super) struct KeyGuard {
    keys: Arc<InFlightKeys>,
    key: (AccountId, Key),
}

impl InFlightKeys {
    /// Enters the key of a request.
    ///
    /// # Errors
    /// [`Error::IdempotencyKeyInUse`].
    pub(super) fn enter<T>(keys: &Arc<Self>, request: &IdempotentRequest<T>) -> Result<KeyGuard> {
        let key = (request.account, request.key.clone());
        if keys.lock().insert(key.clone()) { Ok(KeyGuard { keys: Arc::clone(keys), key }) } else { Err(Error::IdempotencyKeyInUse) }
    }

    fn lock(&self) -> MutexGuard<'_, HashSet<(AccountId, Key)>> {
        // Nothing under the lock can panic half way through a change.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for KeyGuard {
    fn drop(&mut self) {
        self.keys.lock().remove(&self.key);
    }
}

/// What the database has under a key.
struct Stored {
    fingerprint: Vec<u8>,
    response: StoredResponse,
}

/// Runs a unit in a transaction and commits it, or leaves nothing behind. If the request has a key, the unit runs once
/// per key.
///
/// Under a key the response is stored in the same transaction. A refusal is stored by a statement of its own, once the unit was
/// rolled back.
///
/// # Errors
/// Those of the unit, of the key, and of the database.
pub(super) async fn write_once<T, U>(pool: &Pool, request: Option<&IdempotentRequest<T>>, unit: &U) -> Result<Outcome<T>>
where
    T: Send + Sync,
    U: Unit<Output = T>,
{
    let Some(request) = request else { return unit::write(pool, unit).await.map(Outcome::Fresh) };
    for _ in 0..unit::TRIES {
        match unit::write(pool, &Keyed { request, unit }).await? {
            Attempt::Done(done) => return Ok(Outcome::Fresh(done)),
            Attempt::Refused(refusal, response) => {
                if store_refusal(pool, request, response).await? {
                    return Err(refusal.into());
                }
            }
            Attempt::Replayed(response) => return Ok(Outcome::Replayed(response)),
            // The other request's response can be read now.
            Attempt::LostRace => {}
        }
    }
    Err(Error::IdempotencyKeyInUse)
}

/// Stores the response to a request that was refused. Returns whether it is stored: another request under the key may have been
/// first.
async fn store_refusal<T>(pool: &Pool, request: &IdempotentRequest<T>, response: StoredResponse) -> Result<bool> {
    let (account, key, fingerprint) = (request.account, request.key.0.clone(), request.fingerprint);
    unit::autocommit(pool, move |connection| {
        Box::pin(async move { store::insert(connection, account, &key, &fingerprint, &response).await })
    })
    .await
}

/// A unit under a key.
struct Keyed<'a, T, U> {
    request: &'a IdempotentRequest<T>,
    unit: &'a U,
}

/// The result of one try under a key.
enum Attempt<T> {
    /// The work was done, and the response is stored.
    Done(T),
    /// The work was refused, with this response, which is not stored yet. Nothing of this transaction may stay.
    Refused(Refusal, StoredResponse),
    /// The request was answered before.
    Replayed(StoredResponse),
    /// Another request under the key committed after this one had looked for it: nothing of this transaction may stay.
    LostRace,
}

impl<T: Send + Sync, U: Unit<Output = T>> Unit for Keyed<'_, T, U> {
    type Output = Attempt<T>;

    async fn run(&self, connection: &mut PgConnection) -> Result<Attempt<T>> {
        let IdempotentRequest { account, key, fingerprint, .. } = self.request;
        let lookup = store::lock(connection, *account, &key.0).await?;
        match lookup.stored {
            Some(stored) if stored.fingerprint == fingerprint => return Ok(Attempt::Replayed(stored.response)),
            Some(_) => return Err(Error::IdempotencyKeyReused),
            None if lookup.is_locked => {}
            None => return Err(Error::IdempotencyKeyInUse),
        }
        let done = match self.unit.run(connection).await {
            Err(Error::Refused(refusal)) => {
                let response = self.request.response(Err(&refusal));
                return Ok(Attempt::Refused(refusal, response));
            }
            result => result?,
        };
        let response = self.request.response(Ok(&done));
        let is_stored = store::insert(connection, *account, &key.0, fingerprint, &response).await?;
        Ok(if is_stored { Attempt::Done(done) } else { Attempt::LostRace })
    }

    fn commits(&self, attempt: &Attempt<T>) -> bool {
        matches!(attempt, Attempt::Done(_))
    }
}

/// The service of idempotency keys.
#[derive(Clone, Debug)]
pub struct Idempotency {
    pool: Pool,
}

impl Idempotency {
    pub(super) const fn new(pool: Pool) -> Self {
        Self { pool }
    }

    /// Deletes some of the responses that are older than `age`, and returns whether there may be more. It deletes
    /// a few at a time, so that requests do not wait behind it.
    ///
    /// # Errors
    /// The database is away.
    pub async fn purge_older_than(&self, age: Duration) -> Result<bool> {
        let deleted = unit::purge(&self.pool, move |connection| Box::pin(store::delete_older_than(connection, age, PURGE_BATCH))).await?;
        Ok(i64::try_from(deleted).is_ok_and(|deleted| deleted == PURGE_BATCH))
    }
}

/// How many stored responses are searched at a time.
const ERASE_BATCH: i64 = 2_000;

/// Takes the names, emails, labels and metadata out of the stored responses of an account that are about one of these things.
///
/// # Errors
/// The database is away. Some responses may have been changed, and the others are once this is called again.
pub(super) async fn erase(pool: &Pool, account: AccountId, ids: Vec<String>) -> Result<()> {
    let mut after = String::new();
    loop {
        let (from, of) = (after.clone(), ids.clone());
        let searched = unit::read(pool, move |connection| {
            Box::pin(async move { store::search_page(connection, account, &from, &of, ERASE_BATCH).await })
        });
        let mut page = searched.await?;
        let Some(last) = page.last() else { return Ok(()) };
        after.clone_from(&last.key);
        page.retain(|searched| searched.erased.is_some());
        if !page.is_empty() {
            unit::purge(pool, move |connection| Box::pin(store::replace_bodies(connection, account, page))).await?;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_visible_ascii_with_or_without_quotes() {
        for text in ["a", "order-4711", "8e03978e-40d5-43dd-bc93-6894a57f9324", "{}'\"", &"x".repeat(255)] {
            assert_eq!(text.parse(), Ok(Key(text.to_owned())), "{text}");
        }
        assert_eq!("\"order-4711\"".parse::<Key>(), "order-4711".parse());
        for text in ["", "\"\"", " ", "a b", "a\tb", "é", "a\u{0}", &"x".repeat(256)] {
            assert_eq!(text.parse::<Key>(), Err(NotAKey), "{text:?}");
        }
    }
}
