//! Tests of the batch statement with cards that have changed or are locked, on a private Postgres server.

use std::{os::unix::fs::PermissionsExt as _, time::Duration};

use sqlx::{AssertSqlSafe, Connection as _, Executor as _};
use tokio::time::timeout;

use super::*;
use crate::{
    database::{self, Pools, private::PrivatePostgres},
    domain::{currency::Currency, money::Amount, posting::MovementKind},
    service::{
        accounts::Accounts,
        batch::Call,
        cards::Cards,
        idempotency::Outcome,
        ledger::{Posting, PostingRequest, card_update},
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
        database::migrate(&postgres.options()).await.expect("a schema");
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
        let calls = self.cards.iter().map(|(account, card)| {
            let amount = Amount::new(Money::from_minor(100).expect("within bounds")).expect("above zero");
            let posting =
                Posting { card: Some(*card), kind: MovementKind::TopUp, amount, description: "test".parse().expect("a description") };
            Call::new(PostingRequest { actor: Actor::command_line(*account), card: *card, posting, idempotent: None }).0
        });
        let (updates, _) = card_update::plan(calls.collect(), |card| decided_on.get(card).copied());
        let rows = Rows::new(&updates, None);
        let write = timeout(Duration::from_secs(2), write_updates(&mut self.connection, &rows));
        write.await.expect("the statement does not wait for a lock").expect("written").by_number
    }
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
        matches!(&outcomes[&1], CardOutcome::Conflict { known: Some(known), duplicate_keys } if known.position == current.position && duplicate_keys.is_empty()),
        "{outcomes:?}"
    );
    assert!(matches!(outcomes[&2], CardOutcome::Applied { .. }), "{outcomes:?}");
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
    assert!(matches!(outcomes[&2], CardOutcome::Applied { .. }), "{outcomes:?}");
    let after = fixture.positions().await;
    assert_eq!(fixture.cards.map(|card| after[&card].position.seq), [0, 1]);
}
