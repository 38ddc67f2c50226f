//! `POST /network/authorizations`: what an approval looks like, what it takes, and what it refuses.

use chrono::{DateTime, SecondsFormat};
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{
    World,
    payments::{entries, id, position, sums, with},
};

/// A request with every member.
fn full(card: &str) -> Value {
    json!({
        "cardId": card, "amount": 100, "currency": "USD", "merchantAmount": 92.5, "merchantCurrency": "EUR",
        "kind": "purchase", "entryMode": "ecommerce", "cardPresent": false,
        "merchant": {"id": "5665270011000168", "name": "AMAZON.COM", "mcc": "5734", "city": "Seattle", "country": "US"},
        "partialApproval": false, "standIn": false, "networkTransactionId": "627199945183184", "expiresAt": null, "metadata": {},
    })
}

#[tokio::test]
async fn an_approval_holds_the_money_and_shows_all_that_was_sent() {
    let (_world, admin) = World::with_admin().await;
    let (card, customer) = (admin.given_card_with(json!(500)).await, admin.given_customer().await);
    admin.assign(&card, &customer).await.ok();
    let reply = admin.network("authorizations", full(&card)).await;
    assert!(reply.text.contains("\"merchantAmount\":92.50,"), "{}", reply.text);
    let answer = reply.ok();
    let given = &answer["authorization"];
    let text = |name: &str| given[name].as_str().unwrap_or_else(|| panic!("no {name} in {given}")).to_owned();
    assert!(text("id").starts_with("auth_"));
    assert!(text("approvalCode").len() == 6 && text("approvalCode").bytes().all(|digit| digit.is_ascii_digit()), "{given}");
    assert_eq!(text("createdAt"), text("updatedAt"));
    let entry = json!({
        "id": given["entries"][0]["id"], "ordinal": 1, "kind": "authorization", "amount": 100, "heldAfter": 100, "movementId": null,
        "sequence": 5, "createdAt": given["createdAt"], "decline": null, "checks": null, "reason": null,
    });
    let expected = json!({
        "id": given["id"], "cardId": card, "customerId": customer, "status": "pending", "kind": "purchase",
        "currency": "USD", "requestedAmount": 100, "authorizedAmount": 100, "heldAmount": 100, "capturedAmount": 0, "excessAmount": 0,
        "captureReversedAmount": 0, "reversedAmount": 0, "expiredAmount": 0, "releasedAmount": 0, "refundedAmount": 0,
        "refundReversedAmount": 0, "merchantAmount": 92.5, "merchantCurrency": "EUR",
        "merchant": {"id": "5665270011000168", "name": "AMAZON.COM", "mcc": "5734", "city": "Seattle", "country": "US"},
        "entryMode": "ecommerce", "cardPresent": false, "networkTransactionId": "627199945183184",
        "approvalCode": given["approvalCode"], "responseCode": "00", "decidedBy": "rules", "decline": null, "checks": null,
        "createdAt": given["createdAt"], "expiresAt": given["expiresAt"], "updatedAt": given["updatedAt"],
        "sequence": 5, "entries": [entry],
    });
    for (name, value) in expected.as_object().expect("an object") {
        assert_eq!(&given[name], value, "{name}");
    }
    assert_eq!(answer["balance"], json!({"cardId": card, "currency": "USD", "balance": 500, "held": 100, "available": 400}));
    assert_eq!(admin.authorization(&id(given)).await, *given);
    assert_eq!(admin.movements(&card).await.len(), 1, "a hold is no movement");
}

#[tokio::test]
async fn only_the_card_and_the_amount_are_required() {
    let (_world, admin) = World::with_admin().await;
    let card = admin.given_card_with(json!(500)).await;
    let given = admin.authorize(&card, json!(15.5)).await.ok()["authorization"].clone();
    for name in ["customerId", "merchantAmount", "merchantCurrency", "merchant", "cardPresent", "networkTransactionId", "decline", "checks"]
    {
        assert_eq!(given.get(name), Some(&Value::Null), "{name} in {given}");
    }
    assert_eq!((&given["kind"], &given["entryMode"], &given["currency"]), (&json!("purchase"), &json!("unknown"), &json!("USD")));
    let merchant = json!({"name": "Cafe"});
    let given = admin.authorize_with(&card, json!(1), json!({"merchant": merchant})).await.ok();
    assert_eq!(given["authorization"]["merchant"]["name"], "Cafe");
    assert_eq!(given["authorization"]["merchant"]["mcc"], Value::Null);
}

#[tokio::test]
async fn an_authorization_expires_after_the_days_of_its_kind_or_when_the_request_says() {
    let (world, admin) = World::with_admin().await;
    let card = admin.given_card_with(json!(500)).await;
    let seconds = "select extract(epoch from expires_at - created_at)::bigint from authorizations order by id desc limit 1";
    for (kind, category, days) in [
        ("purchase", "5734", 7),
        ("preauthorization", "5734", 30),
        ("cash", "5734", 3),
        // Hotels, car rentals and cruises.
        ("purchase", "7011", 31),
        ("preauthorization", "7512", 31),
        ("purchase", "4411", 31),
    ] {
        let given = admin.authorize_with(&card, json!(1), json!({"kind": kind, "merchant": {"mcc": category}})).await.ok();
        assert_eq!(given["authorization"]["kind"], kind);
        assert_eq!(world.database.number(seconds).await, days * 24 * 60 * 60, "{kind}");
    }
    for (offset, is_valid) in [
        ("-1 second", false),
        ("50 seconds", false),
        ("70 seconds", true),
        ("59 days 23 hours", true),
        ("60 days 1 hour", false),
        ("9000 years", false),
    ] {
        let seconds = world.database.number(&format!("select extract(epoch from now() + interval '{offset}')::bigint")).await;
        let at = DateTime::from_timestamp(seconds, 0).expect("a time").to_rfc3339_opts(SecondsFormat::Millis, true);
        let reply = admin.authorize_with(&card, json!(1), json!({"expiresAt": at})).await;
        if is_valid {
            assert_eq!(reply.ok()["authorization"]["expiresAt"], at, "{offset}");
        } else {
            let faults = reply.field_errors();
            assert!(faults.len() == 1 && faults[0].starts_with("expiresAt: "), "{offset}: {faults:?}");
        }
    }
}

#[tokio::test]
async fn an_amount_beyond_the_available_money_is_approved_in_part_only_if_the_request_allows_it() {
    let (_world, admin) = World::with_admin().await;
    let card = admin.given_card_with(json!(500)).await;
    let partial = json!({"partialApproval": true});
    let enough = admin.authorize_with(&card, json!(100), partial.clone()).await.ok();
    assert_eq!(
        (sums(&enough["authorization"]).as_str(), &enough["authorization"]["responseCode"]),
        ("pending 100 100 0 0 0 0 0", &json!("00"))
    );
    assert_eq!(entries(&enough["authorization"]), ["authorization 100 100"]);

    let rest = admin.authorize_with(&card, json!(400.01), partial.clone()).await.ok();
    let part = &rest["authorization"];
    assert_eq!(
        (sums(part).as_str(), &part["responseCode"], &part["requestedAmount"]),
        ("pending 400 400 0 0 0 0 0", &json!("10"), &json!(400.01))
    );
    assert_eq!(
        (entries(part).as_slice(), &part["checks"], &part["decline"]),
        (&["partial_authorization 400 400".to_owned()][..], &Value::Null, &Value::Null)
    );
    assert!(part["approvalCode"].is_string());
    assert_eq!(position(&rest["balance"]), "500 500 0");

    // Nothing is available, or less than nothing: there is no part to approve.
    for _ in 0..2 {
        let none = admin.authorize_with(&card, json!(1), partial.clone()).await.ok();
        assert_eq!(
            (&none["authorization"]["status"], &none["authorization"]["decline"]["code"]),
            (&json!("declined"), &json!("insufficient_funds"))
        );
        admin.force_post(&card, json!(10)).await.ok();
    }
    // Funds are not the only failing check.
    let card = admin.given_card_with(json!(500)).await;
    let other = admin.authorize_with(&card, json!(600), json!({"partialApproval": true, "currency": "EUR"})).await.ok();
    assert_eq!(other["authorization"]["decline"]["code"], "currency_mismatch");
    admin.set_status(&card, "blocked").await.ok();
    let blocked = admin.authorize_with(&card, json!(600), partial).await.ok();
    assert_eq!(blocked["authorization"]["decline"]["code"], "card_blocked");
    assert_eq!(admin.position(&card).await, "500 0 500");
}

#[tokio::test]
async fn what_the_network_approved_itself_is_never_declined_and_keeps_its_checks() {
    let (_world, admin) = World::with_admin().await;
    let card = admin.given_card_with(json!(500)).await;
    let answer = admin.authorize_with(&card, json!(600), json!({"standIn": true, "currency": "EUR", "partialApproval": true})).await.ok();
    let given = &answer["authorization"];
    assert_eq!(sums(given), "pending 600 600 0 0 0 0 0");
    assert_eq!((&given["decidedBy"], &given["responseCode"], &given["decline"]), (&json!("stand_in"), &json!("00"), &Value::Null));
    assert_eq!(position(&answer["balance"]), "500 600 -100");
    assert_eq!(
        given["checks"],
        json!([
            {"check": "card_status", "result": "pass", "value": "active"},
            {"check": "currency", "result": "fail", "value": "EUR", "expected": "USD"},
            {"check": "amount", "result": "pass", "requested": 600},
            {"check": "funds", "result": "fail", "balance": 500, "held": 0, "available": 500, "requested": 600},
        ])
    );
    assert_eq!(entries(given), ["authorization 600 600"]);
    for status in ["blocked", "cancelled"] {
        admin.set_status(&card, status).await.ok();
        let given = admin.authorize_with(&card, json!(1), json!({"standIn": true})).await.ok()["authorization"].clone();
        assert_eq!(
            (&given["status"], &given["checks"][0]),
            (&json!("pending"), &json!({"check": "card_status", "result": "fail", "value": status}))
        );
    }
    let verified = admin.authorize_with(&card, json!(0), json!({"standIn": true})).await.ok()["authorization"].clone();
    assert_eq!((sums(&verified).as_str(), &verified["decidedBy"]), ("verified 0 0 0 0 0 0 0", &json!("stand_in")));
    let both = admin.authorize_with(&card, json!(1), json!({"standIn": true, "forceDecline": "card_blocked"})).await;
    let faults = both.field_errors();
    assert!(faults.iter().any(|fault| fault.starts_with("forceDecline: ") || fault.starts_with("standIn: ")), "{faults:?}");
}

#[tokio::test]
async fn a_verification_asks_for_nothing_and_holds_nothing() {
    let (_world, admin) = World::with_admin().await;
    let card = admin.given_card_with(json!(500)).await;
    let verification = json!({"kind": "verification"});
    admin.given_hold(&card, json!(500)).await;
    for available in ["0", "-30"] {
        let answer = admin.authorize_with(&card, json!(0), verification.clone()).await.ok();
        let given = &answer["authorization"];
        assert_eq!(sums(given), "verified 0 0 0 0 0 0 0");
        assert_eq!((&given["responseCode"], &given["expiresAt"], &given["kind"]), (&json!("00"), &Value::Null, &json!("verification")));
        assert!(given["approvalCode"].is_string());
        assert_eq!(entries(given), ["authorization 0 0"]);
        assert_eq!(answer["balance"]["available"].to_string(), available);
        admin.force_post(&card, json!(30)).await.ok();
    }
    for (amount, members) in [(json!(5), verification.clone()), (json!(0), json!({})), (json!(0), json!({"kind": "cash"}))] {
        let card = admin.given_card_with(json!(500)).await;
        let given = admin.authorize_with(&card, amount.clone(), members).await.ok()["authorization"].clone();
        assert_eq!(
            (&given["status"], &given["decline"]["code"], &given["requestedAmount"]),
            (&json!("declined"), &json!("amount_invalid"), &amount)
        );
    }
    admin.set_status(&card, "blocked").await.ok();
    let given = admin.authorize_with(&card, json!(0), verification).await.ok()["authorization"].clone();
    assert_eq!((&given["status"], &given["decline"]["code"]), (&json!("declined"), &json!("card_blocked")));
}

#[tokio::test]
async fn a_network_transaction_id_is_used_once_in_an_account() {
    let (world, admin, other_admin) = World::with_two_accounts().await;
    let (card, poor) = (admin.given_card_with(json!(500)).await, admin.given_card().await);
    let named = |name: &str| json!({"networkTransactionId": name});
    admin.authorize_with(&card, json!(1), named("first")).await.ok();
    let declined = admin.authorize_with(&poor, json!(1), named("declined")).await.ok();
    assert_eq!(declined["authorization"]["status"], "declined");
    let authorizations = "select count(*) from authorizations";
    for name in ["first", "declined"] {
        for card in [&card, &poor] {
            for path in ["authorizations", "purchases"] {
                let body = with(json!({"cardId": card, "amount": 2}), named(name));
                admin.network(path, body).await.problem(409, "duplicate_network_transaction");
            }
        }
    }
    assert_eq!(world.database.number(authorizations).await, 2);
    assert_eq!(admin.position(&card).await, "500 1 499");
    // The same message again is not another one, and another account has names of its own.
    let body = with(json!({"cardId": card, "amount": 3}), named("again"));
    for _ in 0..2 {
        admin.keyed("again", Method::POST, "/network/authorizations", &body).await.ok();
    }
    let theirs = other_admin.given_card_with(json!(500)).await;
    other_admin.authorize_with(&theirs, json!(1), named("first")).await.ok();
    assert_eq!(world.database.number(authorizations).await, 4);
}

#[tokio::test]
async fn an_invalid_request_is_400_and_leaves_nothing_behind() {
    let (world, admin) = World::with_admin().await;
    let card = admin.given_card_with(json!(500)).await;
    let before = world.payment_rows().await;
    let too_long = "x".repeat(65);
    for (field, members) in [
        ("cardId", json!({"cardId": 5})),
        ("cardId", json!({"cardId": null})),
        ("amount", json!({"amount": null})),
        ("amount", json!({"amount": -5})),
        ("amount", json!({"amount": "100"})),
        ("amount", json!({"amount": 1.005})),
        ("amount", json!({"amount": 90_071_992_547_409.92})),
        ("currency", json!({"currency": 5})),
        ("merchantAmount", json!({"merchantAmount": "92.50"})),
        ("merchantCurrency", json!({"merchantCurrency": 978})),
        ("kind", json!({"kind": "refund"})),
        ("entryMode", json!({"entryMode": "carrier_pigeon"})),
        ("cardPresent", json!({"cardPresent": "yes"})),
        ("merchant", json!({"merchant": "AMAZON.COM"})),
        ("merchant", json!({"merchant": {"mcc": "573"}})),
        ("merchant", json!({"merchant": {"mcc": 5734}})),
        ("merchant", json!({"merchant": {"country": "USA"}})),
        ("merchant", json!({"merchant": {"country": "us"}})),
        ("merchant", json!({"merchant": {"id": "x".repeat(17)}})),
        ("merchant", json!({"merchant": {"id": ""}})),
        ("merchant", json!({"merchant": {"name": "x".repeat(41)}})),
        ("merchant", json!({"merchant": {"name": "a\u{0}b"}})),
        ("partialApproval", json!({"partialApproval": "true"})),
        ("standIn", json!({"standIn": 1})),
        ("networkTransactionId", json!({"networkTransactionId": ""})),
        ("networkTransactionId", json!({"networkTransactionId": too_long})),
        ("expiresAt", json!({"expiresAt": "tomorrow"})),
        ("expiresAt", json!({"expiresAt": 1_772_000_000})),
        ("metadata", json!({"metadata": []})),
        ("forceDecline", json!({"forceDecline": "because"})),
    ] {
        // A purchase holds nothing that could expire.
        let paths = if field == "expiresAt" { &["authorizations"][..] } else { &["authorizations", "purchases"] };
        for path in paths {
            let faults = admin.network(path, with(full(&card), members.clone())).await.field_errors();
            let names = |fault: &String| fault.starts_with(&format!("{field}: ")) || fault.starts_with(&format!("{field}."));
            assert!(faults.len() == 1 && faults.iter().all(names), "{path} {members}: {faults:?}");
        }
    }
    assert_eq!(world.payment_rows().await, before);
    assert_eq!(admin.position(&card).await, "500 0 500");
    for unknown in ["card_001", "card_01h455vb4pex5vsknk084sn02q", ""] {
        admin.network("authorizations", with(full(&card), json!({"cardId": unknown}))).await.problem(404, "card_not_found");
    }
    assert_eq!(world.database.number("select count(*) from authorizations").await, 0);
}
