//! Tests of the batch statement with cards that have changed or are locked, on a private Postgres server.

use std::{
    collections::{BTreeMap, HashMap},
    os::unix::fs::PermissionsExt as _,
    time::Duration,
};

use sqlx::{AssertSqlSafe, Connection as _, Executor as _, Row as _};
use tokio::time::timeout;

use super::*;
use crate::{
    database::{self, Pools, private::PrivatePostgres},
    domain::{actor::Actor, currency::Currency, error::Refusal, hold_time::HoldTimes, money::Amount, posting::MovementKind},
    service::{
        accounts::Accounts,
        batch::Call,
        cards::Cards,
        idempotency::{IdempotentRequest, Outcome},
        ledger::{
            LedgerCall, LedgerRequest, Posted, Posting, Target, Work, card_update,
            card_update::{CardOutcome, Known},
            rows::Rows,
        },
        unit::ReadConnection,
    },
};

struct Fixture {
    connection: PgConnection,
    cards: [CardKey; 2],
    postgres: PrivatePostgres,
    _directory: tempfile::TempDir,
}

impl Fixture {
    /// An account with two new cards.
    async fn new() -> Self {
        let directory = tempfile::Builder::new().prefix("core-api-test").tempdir_in("/tmp").expect("a directory");
        std::fs::set_permissions(directory.path(), std::fs::Permissions::from_mode(0o755)).expect("readable by Postgres");
        let postgres = PrivatePostgres::start(&directory.path().join("pg"), &["fsync=off"]).await.expect("a Postgres");
        database::migrate(&postgres.options(), None).await.expect("a schema");
        let requests = database::pool(postgres.options(), 2, Duration::from_secs(5));
        let pools = Pools { batches: database::pool_for_lists(&requests, 2), requests };
        let name = "Acme".parse().expect("a name");
        let account = Accounts::new(pools.requests.clone()).create(&name, None).await.expect("an account");
        let cards = Cards::new(pools);
        let mut keys = [(account, CardId::new()); 2];
        for key in &mut keys {
            let created = cards.create(&Actor::command_line(account), Currency::Usd, None).await.expect("a card");
            let Outcome::Fresh(card) = created else { panic!("replayed") };
            key.1 = card.id;
        }
        let connection = PgConnection::connect_with(&postgres.options()).await.expect("connected");
        Self { connection, cards: keys, postgres, _directory: directory }
    }

    async fn positions(&mut self) -> HashMap<CardKey, CachedPosition> {
        let found = positions(ReadConnection::within(&mut self.connection), &self.cards).await.expect("positions");
        found.into_iter().collect()
    }

    /// Tops up both cards by 1.00, decided on these positions.
    async fn top_up(&mut self, decided_on: &HashMap<CardKey, CachedPosition>) -> HashMap<i64, CardOutcome> {
        let calls = self.cards.iter().map(|card| top_up(*card, None));
        let rows = rows(calls.collect(), decided_on);
        let write = timeout(Duration::from_secs(2), write(&mut self.connection, &rows));
        outcomes(write.await.expect("the statement does not wait for a lock").expect("written"))
    }

    /// How many entries of the shared lock table the connection's transaction uses, and how many of them are advisory.
    async fn locks(&mut self) -> (i64, i64) {
        let locks = "select count(*), count(*) filter (where locktype = 'advisory') from pg_locks where pid = pg_backend_pid()";
        let row = self.connection.fetch_one(locks).await.expect("locks");
        (row.get(0), row.get(1))
    }
}

/// A top-up by 1.00, under a key if one is given.
fn top_up((account, card): CardKey, key: Option<&str>) -> LedgerCall {
    let amount = Amount::new(Money::from_minor(100).expect("within bounds")).expect("above zero");
    let posting = Posting { card: Some(card), kind: MovementKind::TopUp, amount, description: "test".parse().expect("a description") };
    let idempotent = key.map(|key| IdempotentRequest {
        account,
        key: key.parse().expect("a key"),
        fingerprint: [7; 32],
        render: Box::new(|_: std::result::Result<&Posted, Refusal>| Vec::new()),
    });
    Call::new(LedgerRequest { actor: Actor::command_line(account), target: Target::Card(card), work: Work::Post { posting, idempotent } }).0
}

fn rows(calls: Vec<LedgerCall>, decided_on: &HashMap<CardKey, CachedPosition>) -> Rows {
    let times = HoldTimes { purchase: 7, preauthorization: 30, cash: 3, by_category: BTreeMap::new() };
    let (updates, _) = card_update::plan(calls, &Known { positions: decided_on.clone(), ..Known::default() }, Utc::now(), &times);
    Rows::of_batch(&updates, Utc::now())
}

fn outcomes(written: Written) -> HashMap<i64, CardOutcome> {
    let Written::Outcomes(outcomes) = written else { panic!("a race was lost") };
    outcomes.by_number
}

#[tokio::test]
async fn an_update_of_a_card_that_has_moved_on_is_a_conflict_and_the_others_are_applied() {
    let mut fixture = Fixture::new().await;
    let before = fixture.positions().await;
    fixture.top_up(&before).await;
    let mut decided_on = fixture.positions().await;
    let [stale, _] = fixture.cards;
    decided_on.insert(stale, before[&stale]);
    let current = fixture.positions().await[&stale];

    let outcomes = fixture.top_up(&decided_on).await;
    assert!(
        matches!(&outcomes[&1], CardOutcome::Conflict { known: Some(known), used } if known.position == current.position && used.is_empty()),
        "{outcomes:?}"
    );
    assert!(matches!(outcomes[&2], CardOutcome::Applied), "{outcomes:?}");
    let seqs = fixture.cards.map(|card| decided_on.get(&card).map(|known| known.position.seq));
    let after = fixture.positions().await;
    assert_eq!(fixture.cards.map(|card| after[&card].position.seq), [1, 2], "decided on {seqs:?}");
}

#[tokio::test]
async fn an_update_of_a_card_that_another_transaction_has_locked_is_a_conflict_and_the_others_are_applied() {
    let mut fixture = Fixture::new().await;
    let before = fixture.positions().await;
    let mut other = PgConnection::connect_with(&fixture.postgres.options()).await.expect("connected");
    let [(_, locked), _] = fixture.cards;
    other.execute("begin").await.expect("begun");
    let lock = format!("select from cards where id = '{}' for no key update", Uuid::from(locked));
    other.execute(AssertSqlSafe(lock)).await.expect("locked");

    let outcomes = fixture.top_up(&before).await;
    assert!(matches!(outcomes[&1], CardOutcome::Conflict { .. }), "{outcomes:?}");
    assert!(matches!(outcomes[&2], CardOutcome::Applied), "{outcomes:?}");
    let after = fixture.positions().await;
    assert_eq!(fixture.cards.map(|card| after[&card].position.seq), [0, 1]);
}

#[tokio::test]
async fn a_batch_holds_as_many_locks_with_500_keys_as_with_one() {
    let mut fixture = Fixture::new().await;
    let mut held = Vec::new();
    for keys in [1, 500] {
        let before = fixture.positions().await;
        let calls = (0..keys).map(|number| top_up(fixture.cards[0], Some(&format!("{keys}-{number}"))));
        let rows = rows(calls.collect(), &before);
        fixture.connection.execute("begin").await.expect("begun");
        let outcomes = outcomes(write(&mut fixture.connection, &rows).await.expect("written"));
        assert!(matches!(outcomes[&1], CardOutcome::Applied), "{outcomes:?}");
        held.push(fixture.locks().await);
        fixture.connection.execute("commit").await.expect("committed");
    }
    assert!(held[1].0 <= held[0].0, "{held:?}");
    assert_eq!(held[1].1, 0, "advisory locks");
    assert!(held[1].0 < 64, "{held:?}: Postgres reckons with max_locks_per_transaction = 64 for each connection");
}

#[tokio::test]
async fn of_two_batches_with_one_key_the_second_writes_nothing_and_then_everything_but_that_key() {
    let mut fixture = Fixture::new().await;
    let before = fixture.positions().await;
    let [one, two] = fixture.cards;
    let mut other = PgConnection::connect_with(&fixture.postgres.options()).await.expect("connected");
    other.execute("begin").await.expect("begun");
    let first = rows(vec![top_up(one, Some("same"))], &before);
    outcomes(write(&mut other, &first).await.expect("written"));

    // The other card, so that only the key is in the way.
    let second = rows(vec![top_up(two, Some("same"))], &before);
    let (written, committed) = tokio::join!(write(&mut fixture.connection, &second), async {
        tokio::time::sleep(Duration::from_millis(200)).await;
        other.execute("commit").await
    });
    committed.expect("committed");
    assert!(matches!(written.expect("no error"), Written::LostRace(_)));
    let after = fixture.positions().await;
    assert_eq!(fixture.cards.map(|card| after[&card].position.seq), [1, 0]);

    let third = rows(vec![top_up(two, Some("same")), top_up(one, Some("another"))], &after);
    let outcomes = outcomes(write(&mut fixture.connection, &third).await.expect("written"));
    assert!(matches!(&outcomes[&1], CardOutcome::Conflict { used, .. } if used == &["same"]), "{outcomes:?}");
    assert!(matches!(outcomes[&2], CardOutcome::Applied), "{outcomes:?}");
    let stored = fixture.connection.fetch_one("select count(*) from idempotency_keys").await.expect("a count");
    assert_eq!(stored.get::<i64, _>(0), 2);
}

#[tokio::test]
async fn on_a_shard_a_key_that_another_batch_or_call_uses_is_a_conflict() {
    let mut fixture = Fixture::new().await;
    fixture.connection.execute("call guard_rows_of_shards()").await.expect("the guards of shards");
    let before = fixture.positions().await;
    let [one, two] = fixture.cards;
    let mut other = PgConnection::connect_with(&fixture.postgres.options()).await.expect("connected");
    other.execute("begin").await.expect("begun");
    let first = rows(vec![top_up(one, Some("same"))], &before);
    let applied = outcomes(write_locked(&mut other, &first, true).await.expect("written"));
    assert!(matches!(applied[&1], CardOutcome::Applied), "{applied:?}");

    // The other card, so that only the key is in the way.
    let second = rows(vec![top_up(two, Some("same"))], &before);
    fixture.connection.execute("begin").await.expect("begun");
    let (written, committed) = tokio::join!(write_locked(&mut fixture.connection, &second, true), async {
        tokio::time::sleep(Duration::from_millis(200)).await;
        other.execute("commit").await
    });
    committed.expect("committed");
    let conflict = outcomes(written.expect("no error"));
    assert!(matches!(&conflict[&1], CardOutcome::Conflict { used, .. } if used == &["same"]), "{conflict:?}");
    fixture.connection.execute("rollback").await.expect("rolled back");

    // Two calls of one batch: one inserts the key, and the other finds it used.
    let after = fixture.positions().await;
    let twice = rows(vec![top_up(one, Some("twice")), top_up(two, Some("twice"))], &after);
    fixture.connection.execute("begin").await.expect("begun");
    let conflict = outcomes(write_locked(&mut fixture.connection, &twice, true).await.expect("written"));
    assert!(matches!(conflict.values().next(), Some(CardOutcome::Conflict { used, .. }) if used == &["twice"]), "{conflict:?}");
    assert_eq!(conflict.len(), 1, "{conflict:?}");
    fixture.connection.execute("rollback").await.expect("rolled back");
    let after = fixture.positions().await;
    assert_eq!(fixture.cards.map(|card| after[&card].position.seq), [1, 0]);
}
