//! Held money: nothing but the payment that it is held for spends it, and a balance below zero is filled before anything
//! is approved.

use serde_json::json;

use crate::{
    concurrency::three_replicas,
    support::{
        World,
        payments::{card_uuid, position, sums},
    },
};

#[tokio::test]
async fn a_purchase_and_a_withdrawal_decide_by_what_is_available() {
    let (_world, admin) = World::with_admin().await;
    let card = admin.given_card_with(json!(500)).await;
    let hold = admin.given_hold(&card, json!(400)).await;
    admin.purchase(&card, json!(100.01)).await.problem(409, "insufficient_funds");
    admin.withdraw(&card, json!(100.01)).await.problem(409, "insufficient_funds");
    admin.purchase(&card, json!(60)).await.ok();
    admin.withdraw(&card, json!(40)).await.ok();
    for refused in [admin.purchase(&card, json!(0.01)).await, admin.withdraw(&card, json!(0.01)).await] {
        refused.problem(409, "insufficient_funds");
    }
    assert_eq!(admin.position(&card).await, "400 400 0");
    admin.step(&hold, "reversals", json!({"amount": 10})).await.ok();
    admin.purchase(&card, json!(10)).await.ok();
    admin.capture(&hold, json!(390)).await.ok();
    assert_eq!(admin.position(&card).await, "0 0 0");
}

/// A replica that has posted to a card has its position cached. A hold that another replica made meanwhile counts all the
/// same, and so does one that another replica ended.
#[tokio::test]
async fn a_replica_that_has_cached_the_card_sees_the_hold_of_another() {
    let world = three_replicas().await;
    let admin = world.admin().await;
    let (here, there) = (world.at(1, &admin), world.at(2, &admin));
    for _ in 0..3 {
        let card = admin.given_card_with(json!(500)).await;
        here.add(&card, json!(1)).await.ok();
        here.purchase(&card, json!(1)).await.ok();
        let hold = there.given_hold(&card, json!(400)).await;
        here.purchase(&card, json!(100.01)).await.problem(409, "insufficient_funds");
        assert_eq!(here.add(&card, json!(1)).await.ok()["available"], 101);
        there.step(&hold, "increments", json!({"amount": 100})).await.ok();
        here.withdraw(&card, json!(1.01)).await.problem(409, "insufficient_funds");
        assert_eq!(here.withdraw(&card, json!(1)).await.ok()["available"], 0);
        let declined = here.authorize(&card, json!(0.01)).await.ok();
        assert_eq!(declined["authorization"]["decline"]["code"], "insufficient_funds");
        there.step(&hold, "reversals", json!({})).await.ok();
        here.purchase(&card, json!(200)).await.ok();
        // The other way round: what was spent here cannot be held there.
        let declined = there.authorize(&card, json!(300.01)).await.ok();
        assert_eq!(declined["authorization"]["decline"]["code"], "insufficient_funds");
        let hold = there.given_hold(&card, json!(300)).await;
        here.purchase(&card, json!(0.01)).await.problem(409, "insufficient_funds");
        there.capture(&hold, json!(300)).await.ok();
        assert_eq!(here.add(&card, json!(1)).await.ok()["balance"], 1);
    }
}

#[tokio::test]
async fn what_nobody_may_refuse_can_overdraw_a_card_and_a_top_up_fills_it() {
    let (_world, admin) = World::with_admin().await;
    let card = admin.given_card_with(json!(50)).await;
    let hold = admin.given_hold(&card, json!(20)).await;
    assert_eq!(position(&admin.force_post(&card, json!(60)).await.ok()["balance"]), "-10 20 -30");
    assert_eq!(position(&admin.capture(&hold, json!(25)).await.ok()["balance"]), "-35 0 -35");
    for refused in [admin.purchase(&card, json!(0.01)).await, admin.withdraw(&card, json!(0.01)).await] {
        refused.problem(409, "insufficient_funds");
    }
    for members in [json!({}), json!({"partialApproval": true})] {
        let declined = admin.authorize_with(&card, json!(0.01), members).await.ok();
        assert_eq!(declined["authorization"]["decline"]["code"], "insufficient_funds");
        let funds = json!({"check": "funds", "result": "fail", "balance": -35, "held": 0, "available": -35, "requested": 0.01});
        assert_eq!(declined["authorization"]["checks"].as_array().and_then(|checks| checks.last()), Some(&funds));
    }
    let answer = admin.add(&card, json!(30)).await.ok();
    assert_eq!((&answer["balance"], &answer["available"]), (&json!(-5), &json!(-5)));
    admin.purchase(&card, json!(0.01)).await.problem(409, "insufficient_funds");
    assert_eq!(admin.refund(&card, json!(4)).await.ok()["balance"], -1);
    assert_eq!(admin.add(&card, json!(1)).await.ok()["balance"], 0);
    assert_eq!(admin.add(&card, json!(0.01)).await.ok()["balance"], 0.01);
    admin.given_hold(&card, json!(0.01)).await;
    let movements = admin.movements(&card).await;
    let balances: Vec<_> = movements.iter().map(|movement| movement["balanceAfter"].to_string()).collect();
    assert_eq!(balances, ["0.01", "0", "-1", "-5", "-35", "-10", "50"]);
}

#[tokio::test]
async fn a_blocked_or_cancelled_card_approves_nothing_and_settles_everything() {
    let (_world, admin) = World::with_admin().await;
    for steps in [&["blocked"][..], &["blocked", "cancelled"]] {
        let card = admin.given_card_with(json!(500)).await;
        let (pending, partial) = (admin.given_hold(&card, json!(100)).await, admin.given_hold(&card, json!(50)).await);
        let captured = admin.given_hold(&card, json!(30)).await;
        let capture = admin.capture(&captured, json!(30)).await.ok()["movement"]["id"].as_str().expect("an id").to_owned();
        for status in steps {
            admin.set_status(&card, status).await.ok();
        }
        let code = format!("card_{}", steps.last().expect("a status"));
        assert_eq!(admin.position(&card).await, "470 150 320", "nothing happens to holds");
        let declined = admin.authorize(&card, json!(1)).await.ok();
        assert_eq!(declined["authorization"]["decline"]["code"], code.as_str());
        let declined = admin.network("purchases", json!({"cardId": card, "amount": 1})).await.ok();
        assert_eq!(declined["authorization"]["decline"]["code"], code.as_str());
        let declined = admin.step(&pending, "increments", json!({"amount": 1})).await.ok();
        assert_eq!(declined["entry"]["decline"]["code"], code.as_str());
        admin.add(&card, json!(1)).await.problem(409, &code);
        admin.purchase(&card, json!(1)).await.problem(409, "card_not_active");

        assert_eq!(position(&admin.step(&partial, "reversals", json!({"amount": 10})).await.ok()["balance"]), "470 140 330");
        assert_eq!(position(&admin.step(&pending, "captures", json!({"amount": 60, "final": false})).await.ok()["balance"]), "410 80 330");
        assert_eq!(position(&admin.force_post(&card, json!(5)).await.ok()["balance"]), "405 80 325");
        assert_eq!(position(&admin.network_refund(&card, json!(5), json!({})).await.ok()["balance"]), "410 80 330");
        assert_eq!(position(&admin.network_refund(&card, json!(10), json!({"movementId": capture})).await.ok()["balance"]), "420 80 340");
        assert_eq!(
            position(&admin.network(&format!("captures/{capture}/reversals"), json!({"amount": 20})).await.ok()["balance"]),
            "440 80 360"
        );
        admin.expire(&pending).await.ok();
        assert_eq!(sums(&admin.authorization(&pending).await), "captured 100 0 60 0 0 40 0");
        assert_eq!(admin.capture(&partial, json!(40)).await.ok()["balance"]["balance"], 400);
        assert_eq!(admin.withdraw(&card, json!(400)).await.ok()["balance"], 0);
        assert_eq!(admin.position(&card).await, "0 0 0");
    }
}

/// A server of the version before does not know of holds: it compares the card's balance and sequence number with those it
/// has cached, and decides a purchase by the balance. The database refuses what it must not spend.
#[tokio::test]
async fn the_database_refuses_a_server_of_the_version_before_that_would_spend_held_money() {
    let (world, admin) = World::with_admin().await;
    let card = admin.given_card_with(json!(500)).await;
    let hold = admin.given_hold(&card, json!(400)).await;
    let uuid = card_uuid(&card);
    // One statement, as that version writes a batch: the card moves on, and its movements follow.
    let post = |kind: &str, amounts: &[i64], seq: i64, balance: i64| {
        let mut rows = Vec::new();
        let mut after = balance;
        for (amount, seq) in amounts.iter().zip(seq + 1..) {
            after += amount;
            rows.push(format!("({seq}, {amount}, {after})"));
        }
        format!(
            "with moved as (
                 update cards set balance = {after}, seq = {last}
                 where id = '{uuid}' and balance = {balance} and seq = {seq} and status = 'active' returning account_id, id
             )
             insert into movements (account_id, card_id, seq, id, kind, amount, balance_after, description, created_at)
             select moved.account_id, moved.id, line.seq, gen_random_uuid(), '{kind}', line.amount, line.after, 'Online purchase', now()
             from moved, (values {rows}) as line (seq, amount, after)",
            last = seq + i64::try_from(amounts.len()).expect("a small number"),
            rows = rows.join(", ")
        )
    };
    let mut shard = world.database.shard().await;
    let mut run = async |sql: String| shard.execute(&sql).await.map(|done| done.rows_affected());
    for amounts in [&[-10_001][..], &[-50_000], &[-10_000, -1], &[-5_000, -5_000, -5_000]] {
        let refused = run(post("purchase", amounts, 1, 50_000)).await.expect_err("held money would be spent").to_string();
        assert!(refused.contains("held money"), "{refused}");
    }
    assert_eq!(admin.position(&card).await, "500 400 100");
    // What is available it may spend, and what adds money it may post.
    assert_eq!(run(post("purchase", &[-10_000], 1, 50_000)).await.expect("available money is spent"), 1);
    assert!(run(post("purchase", &[-1], 2, 40_000)).await.is_err());
    assert_eq!(run(post("top_up", &[100], 2, 40_000)).await.expect("a top-up"), 1);
    assert_eq!(run(post("purchase", &[-100], 3, 40_100)).await.expect("available money is spent"), 1);
    assert_eq!(admin.position(&card).await, "400 400 0");
    admin.capture(&hold, json!(400)).await.ok();
    // Nor does it overdraw a card without a hold.
    assert!(run(post("purchase", &[-1], 5, 0)).await.is_err());
    assert_eq!(admin.position(&card).await, "0 0 0");
    assert_eq!(admin.movements(&card).await.len(), 5);
}
