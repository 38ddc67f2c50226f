//! `POST /transfers` and `GET /transfers/{transferId}`: two movements or none.

use core_api::domain::{card::CardStatus, role::Role};
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{Actor, World, binary::core_api_on};

fn transfer(from: &str, to: &str, amount: impl Into<Value>) -> Value {
    json!({"fromCardId": from, "toCardId": to, "amount": amount.into()})
}

/// The balances of two cards.
async fn balances(admin: &Actor, from: &str, to: &str) -> (Value, Value) {
    (admin.card(from).await["balance"].clone(), admin.card(to).await["balance"].clone())
}

/// An active card with money that has then this status.
async fn card_in(admin: &Actor, status: CardStatus, balance: i64) -> String {
    if status == CardStatus::Inactive {
        let card = admin.given_card().await;
        admin.add(&card, json!(balance)).await.ok();
        return card;
    }
    let card = admin.given_card_with(json!(balance)).await;
    if status != CardStatus::Active {
        admin.set_status(&card, status.name()).await.ok();
    }
    card
}

#[tokio::test]
async fn a_transfer_is_two_movements_with_its_id() {
    let (_world, admin) = World::with_admin().await;
    let (from, to) = (admin.given_card_with(json!(100)).await, admin.given_card().await);
    let body = json!({"fromCardId": from, "toCardId": to, "amount": 25.5, "description": "Team budget"});
    let done = admin.post("/transfers", body).await.ok();
    let id = done["transferId"].as_str().expect("an id").to_owned();
    assert!(id.starts_with("trf_"), "{id}");
    let expected = json!({
        "transferId": id, "fromCardId": from, "toCardId": to, "amount": 25.5, "currency": "USD", "fromBalance": 74.5, "toBalance": 25.5,
        "createdAt": done["createdAt"],
    });
    assert_eq!(done, expected);
    for (card, kind, amount, left) in [(&from, "transfer_out", json!(-25.5), json!(74.5)), (&to, "transfer_in", json!(25.5), json!(25.5))] {
        let movement = admin.movements(card).await[0].clone();
        assert_eq!((&movement["type"], &movement["amount"], &movement["balanceAfter"]), (&json!(kind), &amount, &left));
        assert_eq!((&movement["transferId"], &movement["description"]), (&json!(id), &json!("Team budget")));
        assert_eq!(movement["date"], done["createdAt"]);
        let listed = admin.get(&format!("/cards/{card}/movements?type={kind}")).await.ok();
        assert_eq!(listed["movements"].as_array().map(Vec::len), Some(1));
    }
    // Later transfers leave it as it was.
    let other = admin.post("/transfers", transfer(&to, &from, json!(5))).await.ok();
    assert_eq!(admin.movements(&to).await[0]["description"], "Transfer");
    assert_ne!(other["transferId"], id);
    assert_eq!(admin.get(&format!("/transfers/{id}")).await.ok(), expected);
}

#[tokio::test]
async fn money_moves_from_a_card_that_is_not_blocked_to_one_that_can_be_funded() {
    let (_world, admin) = World::with_admin().await;
    for from_status in CardStatus::ALL {
        for to_status in CardStatus::ALL {
            let (from, to) = (card_in(&admin, from_status, 10).await, card_in(&admin, to_status, 10).await);
            let reply = admin.post("/transfers", transfer(&from, &to, json!(4))).await;
            let refused = match (from_status, to_status) {
                (CardStatus::Blocked, _) => Some(("card_blocked", "fromCardId: The card is blocked.")),
                (_, CardStatus::Blocked) => Some(("card_blocked", "toCardId: The card is blocked.")),
                (_, CardStatus::Cancelled) => Some(("card_cancelled", "toCardId: The card is permanently cancelled.")),
                _ => None,
            };
            let expected = if let Some((code, detail)) = refused {
                let problem = reply.problem(409, code);
                assert!(problem["detail"].as_str().is_some_and(|text| text.starts_with(detail)), "{problem}");
                (json!(10), json!(10))
            } else {
                reply.ok();
                (json!(6), json!(14))
            };
            assert_eq!(balances(&admin, &from, &to).await, expected, "{from_status:?} to {to_status:?}");
        }
    }
}

#[tokio::test]
async fn only_what_is_available_moves_and_only_within_a_currency() {
    let (world, admin) = World::with_admin().await;
    let (from, to) = (admin.given_card_with(json!(100)).await, admin.given_card().await);
    admin.given_hold(&from, json!(30)).await;
    let problem = admin.post("/transfers", transfer(&from, &to, json!(70.01))).await.problem(409, "insufficient_funds");
    assert_eq!(problem["detail"], "fromCardId: The card has 70 available, which is less than this takes.");
    admin.post("/transfers", transfer(&from, &to, json!(70))).await.ok();
    assert_eq!(admin.position(&from).await, "30 30 0");

    let euro = admin.post("/cards", json!({"currency": "EUR"})).await.ok()["cardId"].as_str().expect("an id").to_owned();
    admin.post("/transfers", transfer(&to, &euro, json!(1))).await.problem(409, "currency_mismatch");
    let full = admin.given_card_with(json!(90_071_992_547_409.5)).await;
    let problem = admin.post("/transfers", transfer(&to, &full, json!(0.42))).await.problem(409, "balance_limit_exceeded");
    assert!(problem["detail"].as_str().is_some_and(|text| text.starts_with("toCardId: ")), "{problem}");
    assert_eq!(balances(&admin, &to, &full).await, (json!(70), json!(90_071_992_547_409.5)));
    assert_eq!(world.database.number("select count(*) from movements where transfer_id is not null").await, 2);
}

#[tokio::test]
async fn an_invalid_transfer_leaves_nothing_behind() {
    let (world, admin, other) = World::with_two_accounts().await;
    let (from, to) = (admin.given_card_with(json!(100)).await, admin.given_card().await);
    let foreign = other.given_card_with(json!(100)).await;
    let before = world.payment_rows().await;
    for (body, fault) in [
        (json!({"toCardId": to, "amount": 1}), "fromCardId: required"),
        (json!({"fromCardId": from, "amount": 1}), "toCardId: required"),
        (json!({"fromCardId": from, "toCardId": to}), "amount: required"),
        (json!({"fromCardId": from, "toCardId": from, "amount": 1}), "toCardId: duplicate"),
        (json!({"fromCardId": 5, "toCardId": to, "amount": 1}), "fromCardId: wrong_type"),
        (json!({"fromCardId": from, "toCardId": to, "amount": 0}), "amount: not_positive"),
        (json!({"fromCardId": from, "toCardId": to, "amount": 0.001}), "amount: too_many_decimals"),
        (json!({"fromCardId": from, "toCardId": to, "amount": 1, "description": " "}), "description: blank"),
    ] {
        assert_eq!(admin.post("/transfers", body.clone()).await.field_errors(), [fault], "{body}");
    }
    let unknown = admin.post("/transfers", transfer("card_001", &to, json!(1))).await;
    let expected = unknown.without_request_id();
    unknown.problem(404, "card_not_found");
    for (from, to) in [(from.as_str(), "card_001"), (&foreign, &to), (&from, &foreign), ("card_001", "card_001")] {
        let reply = admin.post("/transfers", transfer(from, to, json!(1))).await;
        assert_eq!(reply.without_request_id(), expected);
    }
    assert_eq!(world.payment_rows().await, before);
    assert_eq!(other.card(&foreign).await["balance"], 100);

    let done = admin.post("/transfers", transfer(&from, &to, json!(1))).await.ok();
    let path = format!("/transfers/{}", done["transferId"].as_str().expect("an id"));
    let missing = admin.get("/transfers/trf_1").await;
    let expected = missing.without_request_id();
    missing.problem(404, "transfer_not_found");
    assert_eq!(other.get(&path).await.without_request_id(), expected);
    let (_, viewer) = world.new_user(&admin, "viewer@example.com", Role::Viewer).await;
    viewer.get(&path).await.ok();
    viewer.post("/transfers", transfer(&from, &to, json!(1))).await.problem(403, "insufficient_permissions");
}

#[tokio::test]
async fn a_transfer_under_a_key_happens_once() {
    let (world, admin) = World::with_admin().await;
    let (from, to) = (admin.given_card_with(json!(100)).await, admin.given_card().await);
    let body = transfer(&from, &to, json!(10));
    let first = admin.keyed("once", Method::POST, "/transfers", &body).await;
    let text = first.text.clone();
    first.ok();
    let again = admin.keyed("once", Method::POST, "/transfers", &body).await;
    assert_eq!((again.status, again.header("idempotent-replayed"), &again.text), (200, Some("true"), &text));
    admin.keyed("once", Method::POST, "/transfers", &transfer(&to, &from, json!(10))).await.problem(422, "idempotency_key_reused");
    // A refusal is kept as well.
    let refused = admin.keyed("too-much", Method::POST, "/transfers", &transfer(&from, &to, json!(91))).await;
    let refused_text = refused.text.clone();
    refused.problem(409, "insufficient_funds");
    admin.add(&from, json!(50)).await.ok();
    let again = admin.keyed("too-much", Method::POST, "/transfers", &transfer(&from, &to, json!(91))).await;
    assert_eq!((again.status, &again.text), (409, &refused_text));
    assert_eq!(balances(&admin, &from, &to).await, (json!(140), json!(10)));
    world.assert_ledger_is_clean().await;
}

#[tokio::test]
async fn a_hold_that_is_due_is_gone_before_money_moves() {
    let (world, admin) = World::with_admin().await;
    let (from, to) = (admin.given_card_with(json!(100)).await, admin.given_card().await);
    admin.given_hold(&from, json!(60)).await;
    world.database.execute("update authorizations set expires_at = clock_timestamp() - interval '1 second'").await;
    world.database.execute("update cards set holds_due_at = clock_timestamp() - interval '1 second' where held > 0").await;
    let done = admin.post("/transfers", transfer(&from, &to, json!(100))).await.ok();
    assert_eq!((&done["fromBalance"], &done["toBalance"]), (&json!(0), &json!(100)));
    assert_eq!(admin.position(&from).await, "0 0 0");
    world.assert_ledger_is_clean().await;
}

#[tokio::test]
async fn both_halves_are_told_in_the_feed() {
    let (_world, admin) = World::with_admin().await;
    admin.put("/events/settings", json!({"enabled": true})).await.ok();
    let (from, to) = (admin.given_card_with(json!(100)).await, admin.given_card().await);
    let done = admin.post("/transfers", transfer(&from, &to, json!(10))).await.ok();
    for (card, kind) in [(&from, "transfer_out"), (&to, "transfer_in")] {
        let events = admin.events(&format!("cardId={card}&types=movement.created")).await;
        let newest = &events.last().expect("an event")["data"]["movement"];
        assert_eq!((&newest["type"], &newest["transferId"]), (&json!(kind), &done["transferId"]), "{newest}");
    }
}

#[tokio::test]
async fn verify_ledger_finds_a_transfer_whose_halves_do_not_fit() {
    for tampering in [
        "update movements set transfer_id = gen_random_uuid() where kind = 'transfer_in'",
        "update movements set amount = amount + 1 where kind = 'transfer_in'",
        "update movements set transfer_id = gen_random_uuid() where kind = 'top_up'",
        "update cards set currency = 'EUR' where id = (select card_id from movements where kind = 'transfer_in')",
    ] {
        let (world, admin) = World::with_admin().await;
        let (from, to) = (admin.given_card_with(json!(100)).await, admin.given_card().await);
        admin.post("/transfers", transfer(&from, &to, json!(10))).await.ok();
        world.assert_ledger_is_clean().await;
        for table in ["movements", "cards"] {
            world.database.execute(&format!("alter table {table} disable trigger all")).await;
        }
        world.database.execute("alter table movements drop constraint movements_of_transfers_have_its_id").await;
        world.database.execute(tampering).await;
        let output = core_api_on(&world.database).arg("verify-ledger").output().expect("verify-ledger runs");
        let report = String::from_utf8_lossy(&output.stdout).into_owned();
        assert_eq!(output.status.code(), Some(1), "{tampering}: {report}");
        assert!(report.contains("is half of a transfer whose other half is missing or does not fit"), "{tampering}: {report}");
    }
}
