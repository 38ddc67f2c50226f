//! Once per key: the answer to a request is kept in the transaction that did what it asked, and the
//! same request under the same key is given that answer again.
//!
//! Kept are successes and what the state decided (no such thing, not allowed now). A request that was
//! not valid, not permitted or not finished leaves nothing, and may be sent again under its key.

mod store;

use std::{
    collections::HashSet,
    fmt,
    str::FromStr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures_util::future::BoxFuture;
use sqlx::PgConnection;

use crate::database::Pool;

use super::{
    error::{Error, Result},
    unit::{self, Unit},
};
use crate::domain::id::AccountId;

/// How long an answer is kept at least.
pub const RETENTION: Duration = Duration::from_secs(24 * 60 * 60);

/// How many expired answers are deleted at a time.
const BATCH: i64 = 500;

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

    /// Bare, or in quotes as the IETF draft has it.
    fn from_str(text: &str) -> std::result::Result<Self, NotAKey> {
        let bare = text.strip_prefix('"').and_then(|text| text.strip_suffix('"')).unwrap_or(text);
        let visible = bare.bytes().all(|byte| byte.is_ascii_graphic());
        if visible && (1..=255).contains(&bare.len()) { Ok(Self(bare.to_owned())) } else { Err(NotAKey) }
    }
}

/// An answer as it was sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// Its status code.
    pub status: u16,
    /// Its body, to the byte.
    pub body: Vec<u8>,
}

/// A request that is to be done once. How its answer reads is for the caller to say.
pub struct Once<T> {
    /// Whose key it is: another account's same key is another key.
    pub account: AccountId,
    /// The client's name for the request.
    pub key: Key,
    /// What tells this request from another under the same key.
    pub fingerprint: [u8; 32],
    /// The answer to what came of it.
    pub render: Render<T>,
}

/// Writes the answer to what came of a request.
pub type Render<T> = Box<dyn Fn(std::result::Result<&T, &Error>) -> Receipt + Send + Sync>;

impl<T> fmt::Debug for Once<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Once").field("account", &self.account).field("key", &self.key).finish_non_exhaustive()
    }
}

/// What came of a request that may have been done before.
#[derive(Debug)]
pub enum Outcome<T> {
    /// It was done now.
    Fresh(T),
    /// It was done before, and this was the answer.
    Replayed(Receipt),
}

/// The keys whose requests wait or run in this replica: a twin is told at once, before it waits as well.
#[derive(Debug, Default)]
pub(super) struct Running(Mutex<HashSet<(AccountId, Key)>>);

/// A request that runs under its key until this is dropped.
pub(super) struct Taken {
    running: Arc<Running>,
    key: (AccountId, Key),
}

impl Running {
    /// Takes a key.
    ///
    /// # Errors
    /// [`Error::IdempotencyKeyInUse`].
    pub(super) fn enter<T>(running: &Arc<Self>, once: &Once<T>) -> Result<Taken> {
        let key = (once.account, once.key.clone());
        if running.lock().insert(key.clone()) { Ok(Taken { running: Arc::clone(running), key }) } else { Err(Error::IdempotencyKeyInUse) }
    }

    fn lock(&self) -> MutexGuard<'_, HashSet<(AccountId, Key)>> {
        // Nothing under the lock can panic half way through a change.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        self.running.lock().remove(&self.key);
    }
}

/// What the database remembers under a key.
struct Remembered {
    fingerprint: Vec<u8>,
    receipt: Receipt,
}

/// Runs `work` in a transaction, once per key if the request has one, and commits it, or leaves nothing behind.
///
/// Under a key the answer is stored in the same transaction, also when the answer is a refusal that the state decided:
/// `work` decides before it writes, so a refusal has nothing to undo.
///
/// # Errors
/// Those of `work`, of the key, and of the database.
pub(super) async fn once<T: Send + Sync>(
    pool: &Pool,
    request: Option<&Once<T>>,
    work: impl for<'unit> Fn(&'unit mut PgConnection) -> BoxFuture<'unit, Result<T>> + Sync,
) -> Result<Outcome<T>> {
    let work = unit::Closure::new(work);
    let Some(request) = request else { return unit::execute(pool, &work).await.map(Outcome::Fresh) };
    let keyed = Keyed { request, work };
    for _ in 0..unit::TRIES {
        match unit::execute(pool, &keyed).await? {
            Attempt::Done(result) => return result.map(Outcome::Fresh),
            Attempt::Replayed(receipt) => return Ok(Outcome::Replayed(receipt)),
            // The twin's answer is there now.
            Attempt::LostToTwin => {}
        }
    }
    Err(Error::IdempotencyKeyInUse)
}

/// A unit under a key.
struct Keyed<'a, T, U> {
    request: &'a Once<T>,
    work: U,
}

/// What one try under a key comes to.
enum Attempt<T> {
    /// The work was done or refused, and the answer is stored.
    Done(Result<T>),
    /// The request was answered before.
    Replayed(Receipt),
    /// A request under the same key committed after this one had looked for it: nothing of this transaction may stay.
    LostToTwin,
}

impl<T: Send + Sync, U: Unit<Output = T>> Unit for Keyed<'_, T, U> {
    type Output = Attempt<T>;

    async fn run(&self, connection: &mut PgConnection) -> Result<Attempt<T>> {
        let Once { account, key, fingerprint, render } = self.request;
        let found = store::take(connection, *account, &key.0).await?;
        match found.remembered {
            Some(remembered) if remembered.fingerprint == fingerprint => return Ok(Attempt::Replayed(remembered.receipt)),
            Some(_) => return Err(Error::IdempotencyKeyReused),
            None if found.taken => {}
            None => return Err(Error::IdempotencyKeyInUse),
        }
        let result = self.work.run(connection).await;
        if result.as_ref().is_err_and(|error| !error.is_cacheable_refusal()) {
            return result.map(|done| Attempt::Done(Ok(done)));
        }
        let receipt = render(result.as_ref());
        let stored = store::insert(connection, *account, &key.0, fingerprint, &receipt).await?;
        Ok(if stored { Attempt::Done(result) } else { Attempt::LostToTwin })
    }

    fn commits(&self, attempt: &Attempt<T>) -> bool {
        matches!(attempt, Attempt::Done(_))
    }
}

/// The service that forgets.
#[derive(Clone, Debug)]
pub struct Idempotency {
    pool: Pool,
}

impl Idempotency {
    pub(super) const fn new(pool: Pool) -> Self {
        Self { pool }
    }

    /// Deletes some of the answers that are older than [`RETENTION`]; tells whether there may be more.
    /// A few at a time, so that nobody waits behind it.
    ///
    /// # Errors
    /// The database is away.
    pub async fn forget_some(&self) -> Result<bool> {
        let deleted = unit::write(&self.pool, |unit| Box::pin(store::delete_older_than(unit, RETENTION, BATCH))).await?;
        Ok(i64::try_from(deleted).is_ok_and(|deleted| deleted == BATCH))
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
