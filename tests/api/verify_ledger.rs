//! `core-api verify-ledger` on a consistent ledger and on each kind of tampering.

use std::process::Output;

use core_api::domain::id::AccountId;
use serde_json::json;
use sqlx::{Executor, Row};
use uuid::Uuid;

use crate::support::{Database, World, binary::core_api_on};

fn verify(database: &Database) -> Output {
    core_api_on(database).arg("verify-ledger").output().expect("verify-ledger runs")
}

#[tokio::test]
async fn a_consistent_ledger_passes() {
    let (world, admin) = World::with_admin().await;
    admin.given_card().await;
    let card = admin.given_card_with(json!(100)).await;
    admin.purchase(&card, json!(20.5)).await.ok();
    admin.refund(&card, json!(0.5)).await.ok();
    let output = verify(&world.database);
    assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), "2 cards, 3 movements and 0 authorizations read, 0 drifts found");
    assert_eq!(output.status.code(), Some(0));
}

#[tokio::test]
async fn each_kind_of_tampering_is_found_and_named() {
    for (tampering, findings) in [
        ("update movements set amount = amount + 1 where seq = 2", &["movement 2 should leave 8001 and says 8000", "add up to 7001"][..]),
        ("update movements set balance_after = balance_after + 1 where seq = 2", &["movement 2 should leave 8000 and says 8001"]),
        ("delete from movements where seq = 2", &["movement 2 is missing or doubled, 3 stands there"]),
        ("delete from movements where seq = 3", &["the last movement is 2 and the card counts 3"]),
        ("delete from movements", &["the movements add up to 0 and the card holds 7000"]),
        ("update movements set seq = 4 where seq = 3", &["movement 3 is missing or doubled, 4 stands there"]),
        ("update cards set balance = balance + 1", &["the movements add up to 7000 and the card holds 7001"]),
        ("update cards set seq = seq + 1", &["the last movement is 3 and the card counts 4"]),
        (
            "insert into movements select account_id, card_id, 4, id, kind, amount, 6000, description, created_at from movements where seq = 3",
            &["the movements add up to 6000 and the card holds 7000"],
        ),
        ("delete from cards", &["there are movements or authorizations and no such card"]),
    ] {
        let (world, admin) = World::with_admin().await;
        let card = admin.given_card_with(json!(100)).await;
        admin.purchase(&card, json!(20)).await.ok();
        admin.purchase(&card, json!(10)).await.ok();
        world.database.execute("alter table movements disable trigger all").await;
        world.database.execute("alter table cards disable trigger all").await;
        world.database.execute(tampering).await;
        let output = verify(&world.database);
        let report = String::from_utf8_lossy(&output.stdout).into_owned();
        assert_eq!(output.status.code(), Some(1), "{tampering}: {report}");
        assert!(report.contains(&card), "{tampering}: {report}");
        for finding in findings {
            assert!(report.contains(finding), "{tampering}: {report}");
        }
    }
}

#[tokio::test]
async fn a_verification_can_go_on_after_an_account_or_a_card() {
    let (world, admin, other) = World::with_two_accounts().await;
    let cards = [admin.given_card_with(json!(5)).await, admin.given_card_with(json!(5)).await];
    other.given_card_with(json!(5)).await;
    let accounts = world.database.connect().await.fetch_all("select account_id from accounts order by account_id").await.expect("accounts");
    let accounts: Vec<AccountId> = accounts.iter().map(|row| row.get(0)).collect();
    let read = |after: String| {
        let output = core_api_on(&world.database).args(["verify-ledger", "--after", &after]).output().expect("verify-ledger runs");
        assert_eq!(output.status.code(), Some(0), "{after}");
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    };
    let [first, last] = *accounts else { panic!("{} accounts", accounts.len()) };
    assert_eq!(read(last.to_string()), "0 cards, 0 movements and 0 authorizations read, 0 drifts found");
    let whose = world.database.number(&format!("select count(*) from cards where account_id = '{}'", Uuid::from(first))).await;
    assert_eq!(read(first.to_string()), format!("{0} cards, {0} movements and 0 authorizations read, 0 drifts found", 3 - whose));
    let (account, rest) = if whose == 2 { (first, 2) } else { (last, 1) };
    assert_eq!(
        read(format!("{account}/{}", cards[0])),
        format!("{rest} cards, {rest} movements and 0 authorizations read, 0 drifts found")
    );
    let refused = core_api_on(&world.database).args(["verify-ledger", "--after", "card_1"]).output().expect("verify-ledger runs");
    assert_eq!(refused.status.code(), Some(2));
}
