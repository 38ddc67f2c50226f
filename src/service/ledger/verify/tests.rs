//! Tests of the replay, and of how a ledger is read page by page, on a private Postgres server.

use std::{collections::BTreeSet, os::unix::fs::PermissionsExt as _, sync::mpsc};

use sqlx::{Connection as _, Executor as _};

use super::*;
use crate::database::{self, private::PrivatePostgres};

fn faults(balance: i64, last_seq: i64, movements: &[(i64, i64, i64)]) -> Vec<Fault> {
    let card = CardRow {
        id: CardId::new(),
        balance: Some(balance),
        held: Some(0),
        seq: Some(last_seq),
        sequence: Some(0),
        hides_due: false,
        newest: None,
        newest_entry: None,
    };
    let mut replay = Replay::new(AccountId::new(), &card);
    let mut faults = Vec::new();
    let mut found = |drift: Drift| faults.push(drift.fault);
    for &(seq, amount, balance_after) in movements {
        let movement = MovementRow {
            card: card.id,
            seq,
            amount,
            balance_after,
            may_overdraw: false,
            captured: 0,
            has_authorization: true,
            has_original: true,
            has_other_half: true,
            reversed: 0,
            refunded: 0,
        };
        replay.apply(&movement, &mut found);
    }
    replay.end(&mut found);
    faults
}

#[test]
fn a_consistent_history_has_no_fault() {
    assert_eq!(faults(0, 0, &[]), []);
    assert_eq!(faults(80, 2, &[(1, 100, 100), (2, -20, 80)]), []);
}

#[test]
fn each_kind_of_tampering_is_reported_as_its_own_fault() {
    let balance = Fault::Balance { expected: 80, found: 81 };
    assert_eq!(faults(81, 2, &[(1, 100, 100), (2, -20, 80)]), [balance]);
    assert_eq!(faults(80, 3, &[(1, 100, 100), (2, -20, 80)]), [Fault::LastSequence { expected: 2, found: 3 }]);
    assert_eq!(faults(5, 0, &[]), [Fault::Balance { expected: 0, found: 5 }]);
    let running = Fault::RunningBalance { seq: 2, expected: 80, found: 79 };
    assert_eq!(faults(80, 2, &[(1, 100, 100), (2, -20, 79)]), [running]);
    let gap = Fault::Sequence { expected: 2, found: 3 };
    assert_eq!(faults(110, 3, &[(1, 100, 100), (3, 10, 110)]), [gap]);
    let doubled = Fault::Sequence { expected: 2, found: 1 };
    assert_eq!(faults(200, 1, &[(1, 100, 100), (1, 100, 200)]), [doubled]);
}

#[test]
fn a_checkpoint_round_trips_through_text() {
    let (account, card) = (AccountId::new(), CardId::new());
    for checkpoint in [Checkpoint { account, card: None }, Checkpoint { account, card: Some(card) }] {
        assert_eq!(checkpoint.to_string().parse(), Ok(checkpoint));
    }
    for text in ["", "/", "card_01h455vb4pex5vsknk084sn02q", "acc_01h455vb4pex5vsknk084sn02q/"] {
        assert_eq!(text.parse::<Checkpoint>(), Err(NotAnId), "{text}");
    }
}

/// So small that every page, also that of the movements of one card, is one of many.
const SMALL: PageSizes = PageSizes { cards: 2, movements: 3, authorizations: 1 };

/// Five accounts. The first has no card, the others have one to four cards, and card n has n * 2 movements.
const LEDGER: &str = "
    alter table cards disable trigger all;
    alter table movements disable trigger all;
    insert into accounts (account_id, name)
    select format('00000000-0000-4000-8000-%s', lpad(account::text, 12, '0'))::uuid, 'Acme' from generate_series(0, 4) account;
    insert into cards (account_id, id, number, currency, balance, seq)
    select account_id, format('00000000-0000-4000-9000-%s', lpad(card::text, 12, '0'))::uuid, card, 'USD', card * 2 * 5, card * 2
    from accounts, generate_series(1, right(account_id::text, 1)::int) card;
    insert into movements (account_id, card_id, seq, id, kind, amount, balance_after, description, created_at)
    select account_id, id, movement, gen_random_uuid(), 'top_up', 5, movement * 5, 'test', now()
    from cards, generate_series(1, seq) movement";

/// A card that only its movements name, in an account with cards and in an account that does not exist; and one movement
/// that is missing in the midst of a card.
const TAMPERING: &str = "
    insert into movements (account_id, card_id, seq, id, kind, amount, balance_after, description, created_at)
    select account_id, '00000000-0000-4000-9000-000000000009', seq, gen_random_uuid(), kind, amount, balance_after, 'test', now()
    from movements
    where account_id = '00000000-0000-4000-8000-000000000002' and card_id = '00000000-0000-4000-9000-000000000002';
    insert into movements (account_id, card_id, seq, id, kind, amount, balance_after, description, created_at)
    select '00000000-0000-4000-8000-000000000009', card_id, seq, gen_random_uuid(), kind, amount, balance_after, 'test', now()
    from movements
    where account_id = '00000000-0000-4000-8000-000000000001';
    delete from movements
    where account_id = '00000000-0000-4000-8000-000000000004' and card_id = '00000000-0000-4000-9000-000000000003' and seq = 3";

/// One more movement on each card, and one more card in each account.
const WRITE: &str = "
    with moved as (
        update cards set balance = balance + 5, seq = seq + 1
        returning account_id, id, seq, balance
    )
    insert into movements (account_id, card_id, seq, id, kind, amount, balance_after, description, created_at)
    select account_id, id, seq, gen_random_uuid(), 'top_up', 5, balance, 'test', now() from moved;
    insert into cards (account_id, id, number, currency)
    select account_id, gen_random_uuid(), (select count(*) from cards) + 1, 'USD' from accounts";

struct Ledger {
    connection: PgConnection,
    postgres: PrivatePostgres,
    _directory: tempfile::TempDir,
}

impl Ledger {
    async fn new() -> Self {
        let directory = tempfile::Builder::new().prefix("core-api-test").tempdir_in("/tmp").expect("a directory");
        std::fs::set_permissions(directory.path(), std::fs::Permissions::from_mode(0o755)).expect("readable by Postgres");
        let postgres = PrivatePostgres::start(&directory.path().join("pg"), &["fsync=off"]).await.expect("a Postgres");
        database::migrate(&postgres.options(), None).await.expect("a schema");
        let mut connection = database::connect(&postgres.options()).await.expect("connected");
        connection.execute(LEDGER).await.expect("a ledger");
        Self { connection, postgres, _directory: directory }
    }

    /// What a verification read, what it found, and its progress.
    async fn verify(&mut self, pages: PageSizes, after: Option<Checkpoint>) -> (Progress, Vec<String>, Vec<Progress>) {
        let (mut drifts, mut steps) = (Vec::new(), Vec::new());
        let verification = Verification {
            connection: &mut self.connection,
            pages,
            read: Progress { checkpoint: after, ..Progress::default() },
            progress: |step| steps.push(step),
            found: |drift: Drift| {
                drifts.push(format!("{}/{} {:?}", last_digit(drift.account), drift.card.map_or(0, last_digit), drift.fault));
            },
        };
        (verification.run().await.expect("verified"), drifts, steps)
    }
}

fn last_digit(id: impl Into<Uuid>) -> u128 {
    id.into().as_u128() & 0xf
}

#[tokio::test]
async fn every_card_and_movement_is_read_once_however_small_the_pages() {
    let mut ledger = Ledger::new().await;
    for pages in [SMALL, PAGE_SIZES, PageSizes { cards: 1, movements: 1, authorizations: 1 }] {
        let (read, drifts, _) = ledger.verify(pages, None).await;
        assert_eq!((read.cards, read.movements, drifts), (10, 40, Vec::new()));
    }
}

#[tokio::test]
async fn the_same_faults_are_found_however_small_the_pages() {
    let mut ledger = Ledger::new().await;
    ledger.connection.execute(TAMPERING).await.expect("tampered");
    for pages in [SMALL, PAGE_SIZES, PageSizes { cards: 1, movements: 1, authorizations: 1 }] {
        let (read, drifts, _) = ledger.verify(pages, None).await;
        let wanted = [
            "2/9 NoCard",
            "4/3 Sequence { expected: 3, found: 4 }",
            "4/3 RunningBalance { seq: 4, expected: 15, found: 20 }",
            "4/3 Balance { expected: 25, found: 30 }",
            "9/1 NoCard",
        ];
        assert_eq!((read.cards, read.movements), (10, 39));
        assert_eq!(drifts, wanted);
    }
}

#[tokio::test]
async fn a_verification_goes_on_after_any_checkpoint() {
    let mut ledger = Ledger::new().await;
    let (whole, _, steps) = ledger.verify(SMALL, None).await;
    let mut places = BTreeSet::new();
    for step in steps {
        let after = step.checkpoint.expect("a place");
        places.insert(after.to_string());
        let (rest, _, _) = ledger.verify(SMALL, Some(after)).await;
        let sum = (step.cards + rest.cards, step.movements + rest.movements);
        assert_eq!(sum, (whole.cards, whole.movements), "after {after}");
    }
    // The ends of five accounts, and of six pages of cards.
    assert_eq!(places.len(), 11);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_statement_keeps_the_snapshot_of_the_first() {
    let mut ledger = Ledger::new().await;
    let (asked, mut asking) = tokio::sync::mpsc::unbounded_channel();
    let (created, is_created) = mpsc::channel();
    let mut other = PgConnection::connect_with(&ledger.postgres.options()).await.expect("connected");
    let creating = tokio::spawn(async move {
        asking.recv().await.expect("the first step");
        let later = "insert into cards (account_id, id, number, currency) \
            values ('00000000-0000-4000-8000-000000000004', 'ffffffff-0000-4000-8000-000000000000', 99, 'USD')";
        other.execute(later).await.expect("a card");
        created.send(()).expect("the verification waits");
    });
    let mut is_first = true;
    let verification = Verification {
        connection: &mut ledger.connection,
        pages: SMALL,
        read: Progress::default(),
        progress: |_| {
            if std::mem::take(&mut is_first) {
                asked.send(()).expect("somebody listens");
                tokio::task::block_in_place(|| is_created.recv()).expect("the card is created");
            }
        },
        found: |drift: Drift| panic!("{drift}"),
    };
    assert_eq!(verification.run().await.expect("verified").cards, 11);
    creating.await.expect("created");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_ledger_that_is_written_meanwhile_has_no_fault() {
    let mut ledger = Ledger::new().await;
    let mut other = PgConnection::connect_with(&ledger.postgres.options()).await.expect("connected");
    let writing = tokio::spawn(async move {
        for _ in 0..40 {
            other.execute(WRITE).await.expect("written");
        }
    });
    let (mut runs, mut grew) = (0, 0);
    while !writing.is_finished() {
        let (read, drifts, steps) = ledger.verify(SMALL, None).await;
        assert_eq!(drifts, Vec::<String>::new(), "run {runs}");
        grew += u64::from(steps.len() > 11 && read.movements > 40);
        runs += 1;
    }
    writing.await.expect("written");
    assert!(grew > 0, "the ledger did not grow during {runs} runs");
}
