//! `verify-ledger` on a card that has paid, and on each kind of tampering with what it holds and gave back.

use core_api::service::ledger;
use serde_json::json;
use sqlx::PgConnection;

use crate::support::{Actor, World};

/// Pays in every way, and gives back: a hold of 150, raised once and captured in part, of which 90 is left; one of 50 of which
/// 80 was captured, 5 given back, 40 refunded and 10 of that taken back; one of 20 that was reversed; a decline; and 30 that
/// were captured without a hold, of which 10 was refunded.
async fn pay(admin: &Actor, card: &str) {
    let raised = admin.given_hold(card, json!(100)).await;
    admin.step(&raised, "increments", json!({"amount": 50})).await.ok();
    admin.step(&raised, "captures", json!({"amount": 60, "final": false})).await.ok();
    let exceeded = admin.given_hold(card, json!(50)).await;
    let capture = admin.capture(&exceeded, json!(80)).await.ok();
    let capture = capture["movement"]["id"].as_str().expect("an id").to_owned();
    admin.network(&format!("captures/{capture}/reversals"), json!({"amount": 5})).await.ok();
    let refund = admin.network_refund(card, json!(40), json!({"authorizationId": exceeded})).await.ok();
    let refund = refund["movement"]["id"].as_str().expect("an id").to_owned();
    admin.network(&format!("refunds/{refund}/reversals"), json!({"amount": 10})).await.ok();
    let reversed = admin.given_hold(card, json!(20)).await;
    admin.step(&reversed, "reversals", json!({})).await.ok();
    admin.authorize(card, json!(9_999)).await.ok();
    let forced = admin.force_post(card, json!(30)).await.ok();
    let forced = forced["movement"]["id"].as_str().expect("an id").to_owned();
    admin.network_refund(card, json!(10), json!({"movementId": forced})).await.ok();
}

async fn drifts(connection: &mut PgConnection) -> (ledger::Progress, Vec<String>) {
    let mut drifts = Vec::new();
    let read = ledger::verify(connection, None, |_| {}, |drift| drifts.push(drift.to_string())).await.expect("verified");
    (read, drifts)
}

/// Each with what is reported. Amounts are in cents, and the authorisations are told apart by what was asked for.
const TAMPERINGS: [(&str, &[&str]); 29] = [
    (
        "update authorizations set authorized = authorized + 1 where requested = 10000",
        &["add up to 15000 and 15001 was authorized", "should have 15000 authorized and says 15001"],
    ),
    ("update authorizations set held = held + 1 where requested = 10000", &["do not lead from one to the next and to what it holds"]),
    ("update authorizations set status = 'reversed' where requested = 10000", &["holds 9000, and its status says otherwise"]),
    ("update authorizations set status = 'pending' where requested = 2000", &["holds 0, and its status says otherwise"]),
    (
        "update authorizations set excess = excess - 1, released = released - 1 where requested = 5000",
        &["should have 3000 in excess and says 2999", "should have 0 released and says -1"],
    ),
    (
        "update authorizations set captured = captured + 1, excess = excess + 1 where requested = 5000",
        &["should have 8000 captured and says 8001"],
    ),
    (
        "update authorizations set reversed = 1999, expired = 1 where requested = 2000",
        &["should have 2000 reversed and says 1999", "should have 0 expired and says 1"],
    ),
    ("update authorizations set capture_reversed = 501 where requested = 5000", &["should have 500 of captures reversed and says 501"]),
    ("update authorizations set refunded = 4001 where requested = 5000", &["should have 4000 refunded and says 4001"]),
    ("update authorizations set refund_reversed = 999 where requested = 5000", &["should have 1000 of refunds reversed and says 999"]),
    ("update authorizations set last_ordinal = 4 where requested = 10000", &["do not lead from one to the next"]),
    ("delete from authorizations where requested = 2000", &["the authorizations lead to 6 entries and the card has 8"]),
    (
        "update authorization_entries set held_before = held_before + 1 where kind = 'increment'",
        &["do not lead from one to the next", "and the card says 9000"],
    ),
    ("update authorization_entries set ordinal = 3 where kind = 'increment'", &["do not lead from one to the next"]),
    (
        "update authorization_entries set previous_sequence = sequence where kind = 'increment'",
        &["do not lead from one to the next", "lead to 7 entries and the card has 8"],
    ),
    (
        "delete from authorization_entries where kind = 'increment'",
        &["do not lead from one to the next", "should leave 4000 held on the card and says 9000"],
    ),
    (
        "insert into authorization_entries (account_id, card_id, sequence, id, authorization_id, ordinal, previous_sequence, kind,
            amount, held_before, held_after, card_balance, card_held, created_at)
         select account_id, card_id, 1000, gen_random_uuid(), authorization_id, ordinal, previous_sequence, 'increment_declined',
            amount, held_before, held_before, card_balance, 9000, created_at
         from authorization_entries where kind = 'increment'",
        &["the authorizations lead to 8 entries and the card has 9", "the newest entry is 1000 and the card counts"],
    ),
    (
        "update authorization_entries set card_held = card_held + 1 where kind = 'reversal'",
        &["should leave 9000 held on the card and says 9001"],
    ),
    ("update cards set holds_due_at = null", &["a hold expires before the card says that any may"]),
    (
        "update cards set holds_due_at = (
            select min(expires_at) + interval '1 microsecond' from authorizations where status = 'pending' and card_id = cards.id)",
        &["a hold expires before the card says that any may"],
    ),
    ("update cards set held = held + 1", &["the entries leave 9000 held and the card says 9001"]),
    (
        "update movements set authorization_id = null where kind = 'capture' and amount = -6000",
        &["and the movement that it posted contradict each other", "the entries captured 14000 and the movements 8000"],
    ),
    (
        "update movements set authorization_id = (select id from authorizations where requested = 2000) where amount = -3000",
        &["the entries captured 14000 and the movements 17000"],
    ),
    (
        "update movements set authorization_id = gen_random_uuid() where kind = 'refund_reversal'",
        &["names an authorization that the card does not have"],
    ),
    ("update movements set related_seq = 1 where kind = 'refund_reversal'", &["reverses or refunds a movement that it cannot"]),
    (
        "update movements set amount = 8001 where kind = 'capture_reversal';
         update movements set amount = 3001 where kind = 'refund' and authorization_id is null;
         update movements set amount = -4001 where kind = 'refund_reversal'",
        &[
            "was of 8000 and 8001 of it was given back",
            "was of 3000 and 3001 of it was given back",
            "was of 4000 and 4001 of it was given back",
        ],
    ),
    (
        "update movements set amount = 2001 where kind = 'capture_reversal';
         update movements set related_seq = (select seq from movements where amount = -3000), authorization_id = null
         where kind = 'capture_reversal'",
        &["was of 3000 and 3001 of it was given back"],
    ),
    (
        "update authorizations set capture_reversed = 5001 where requested = 5000",
        &["8000 was captured for", "and 8001 of it was given back"],
    ),
    ("update movements set kind = 'purchase', balance_after = -1 where amount = -3000", &["may not overdraw the card and leaves -1"]),
];

#[tokio::test]
async fn each_kind_of_tampering_with_held_money_is_found_and_named() {
    let (world, admin) = World::with_admin().await;
    let card = admin.given_card_with(json!(500)).await;
    pay(&admin, &card).await;
    let mut shard = world.database.shard().await;
    let (read, found) = drifts(&mut shard.connection).await;
    assert_eq!((read.cards, read.movements, read.authorizations, found), (1, 8, 4, Vec::new()));
    for (tampering, findings) in TAMPERINGS {
        shard.execute("begin").await.expect("begun");
        for table in ["cards", "movements", "authorizations", "authorization_entries"] {
            // The owner could do this.
            let open = format!("alter table {table} disable trigger all");
            shard.execute(&open).await.expect("without triggers");
            let checks = format!(
                "do $$ declare name text; begin
                    for name in select conname from pg_constraint where conrelid = '{table}'::regclass and contype = 'c' loop
                        execute format('alter table {table} drop constraint %I', name);
                    end loop;
                end $$"
            );
            shard.execute(&checks).await.expect("without checks");
        }
        shard.execute(tampering).await.expect(tampering);
        let (_, found) = drifts(&mut shard.connection).await;
        for finding in findings {
            assert!(found.iter().any(|drift| drift.contains(finding) && drift.contains(&card)), "{tampering}: {finding}: {found:#?}");
        }
        shard.execute("rollback").await.expect("rolled back");
    }
    let (_, found) = drifts(&mut shard.connection).await;
    assert_eq!(found, Vec::<String>::new());
}

#[tokio::test]
async fn authorizations_and_entries_of_a_card_that_does_not_exist_are_found() {
    let (world, admin) = World::with_admin().await;
    let card = admin.given_card().await;
    admin.set_status(&card, "active").await.ok();
    admin.authorize(&card, json!(1)).await.ok();
    for kept in ["authorizations", "authorization_entries"] {
        let mut shard = world.database.shard().await;
        shard.execute("begin").await.expect("begun");
        for table in ["authorizations", "authorization_entries", "cards", "accounts"] {
            if table != kept {
                let delete = format!("alter table {table} disable trigger all; delete from {table}");
                shard.execute(&delete).await.expect("deleted");
            }
        }
        let (read, found) = drifts(&mut shard.connection).await;
        assert_eq!(read.cards, 0);
        assert!(matches!(&*found, [drift] if drift.ends_with("no such card") && drift.contains(&card)), "{kept}: {found:?}");
    }
}

/// What changes while it is verified is no fault: each statement reads at another moment.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn payments_during_a_verification_are_no_fault() {
    let (world, admin) = World::with_admin().await;
    let mut cards = Vec::new();
    for _ in 0..3 {
        cards.push(admin.given_card_with(json!(100_000)).await);
    }
    let paying = tokio::spawn(async move {
        for _ in 0..8 {
            for card in &cards {
                pay(&admin, card).await;
            }
        }
    });
    let mut connection = world.database.connect().await;
    let mut runs = 0;
    while !paying.is_finished() {
        let (_, found) = drifts(&mut connection).await;
        assert_eq!(found, Vec::<String>::new(), "run {runs}");
        runs += 1;
    }
    paying.await.expect("paid");
    assert!(runs > 3, "{runs}");
    let (read, found) = drifts(&mut connection).await;
    assert_eq!((read.cards, read.movements, read.authorizations, found), (3, 3 + 3 * 8 * 7, 3 * 8 * 4, Vec::new()));
}
