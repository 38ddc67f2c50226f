//! Card payments as a processor's gateway sends them, and what the tests read of their answers.

use std::sync::atomic::{AtomicU32, Ordering};

use core_api::domain::id::{AuthorizationId, CardId};
use reqwest::Method;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::{Actor, Reply, World, binary::core_api_on};

static NEXT: AtomicU32 = AtomicU32::new(0);

/// An idempotency key that no other request uses.
pub fn fresh_key() -> String {
    format!("message-{}", NEXT.fetch_add(1, Ordering::Relaxed))
}

/// A body with these members, which replace members of the same name.
pub fn with(mut body: Value, members: Value) -> Value {
    let Value::Object(members) = members else { panic!("{members} is no object") };
    body.as_object_mut().expect("an object").extend(members);
    body
}

impl Actor {
    /// Sends a request of the gateway under a key of its own.
    pub async fn network(&self, path: &str, body: Value) -> Reply {
        self.keyed(&fresh_key(), Method::POST, &format!("/network/{path}"), &body).await
    }

    /// Asks to authorise an amount.
    pub async fn authorize(&self, card: &str, amount: Value) -> Reply {
        self.authorize_with(card, amount, json!({})).await
    }

    /// Asks to authorise an amount, with further members of the body.
    pub async fn authorize_with(&self, card: &str, amount: Value, members: Value) -> Reply {
        self.network("authorizations", with(json!({"cardId": card, "amount": amount}), members)).await
    }

    /// Holds an amount and returns the id of the authorisation.
    pub async fn given_hold(&self, card: &str, amount: Value) -> String {
        let answer = self.authorize(card, amount.clone()).await.ok();
        let authorization = &answer["authorization"];
        assert_eq!((&authorization["status"], &authorization["heldAmount"]), (&json!("pending"), &amount), "{answer}");
        id(authorization)
    }

    /// Sends a step of an authorisation, such as `captures`.
    pub async fn step(&self, authorization: &str, step: &str, body: Value) -> Reply {
        self.network(&format!("authorizations/{authorization}/{step}"), body).await
    }

    pub async fn capture(&self, authorization: &str, amount: Value) -> Reply {
        self.step(authorization, "captures", json!({"amount": amount})).await
    }

    /// An authorisation with its entries.
    pub async fn authorization(&self, authorization: &str) -> Value {
        self.get(&format!("/authorizations/{authorization}")).await.ok()["authorization"].clone()
    }

    /// The entries of an authorisation that an answer shows, as [`entries`] tells them, after checking that it is found as it
    /// was answered. Answers to steps leave the entries out.
    pub async fn history(&self, answered: &Value) -> Vec<String> {
        let found = self.authorization(&id(answered)).await;
        assert_eq!(without_entries(answered), without_entries(&found));
        entries(&found)
    }

    /// The items of a list of authorisations.
    pub async fn authorizations(&self, query: &str) -> Vec<Value> {
        self.get(&format!("/authorizations{query}")).await.ok()["authorizations"].as_array().expect("a list").clone()
    }

    /// Posts an amount that no authorisation covers.
    pub async fn force_post(&self, card: &str, amount: Value) -> Reply {
        self.network("captures", json!({"cardId": card, "amount": amount, "description": "Fuel"})).await
    }

    /// Refunds an amount, with further members of the body such as the link.
    pub async fn network_refund(&self, card: &str, amount: Value, members: Value) -> Reply {
        self.network("refunds", with(json!({"cardId": card, "amount": amount, "description": "Refund"}), members)).await
    }

    pub async fn withdraw(&self, card: &str, amount: Value) -> Reply {
        self.post("/balances/withdraw", json!({"cardId": card, "amount": amount})).await
    }

    /// Lets a hold expire now.
    pub async fn expire(&self, authorization: &str) -> Reply {
        self.post(&format!("/sandbox/authorizations/{authorization}/expire"), json!({})).await
    }

    /// A card's balance, held and available money, after checking that every endpoint tells the same.
    pub async fn position(&self, card: &str) -> String {
        let balance = self.get(&format!("/balances/{card}")).await.ok();
        let cards = self.get("/cards").await.ok();
        let listed = cards["cards"].as_array().expect("a list").iter().find(|listed| listed["cardId"] == card).expect("the card is listed");
        for other in [&self.card(card).await, listed] {
            assert_eq!(position(other), position(&balance));
        }
        position(&balance)
    }
}

/// The id of an authorisation or a movement.
pub fn id(object: &Value) -> String {
    object["id"].as_str().unwrap_or_else(|| panic!("no id in {object}")).to_owned()
}

/// An amount in cents.
pub fn cents(amount: &Value) -> i64 {
    let text = amount.to_string();
    let (whole, fraction) = text.split_once('.').unwrap_or((&text, ""));
    format!("{whole}{fraction:0<2}").parse().unwrap_or_else(|_| panic!("{amount} is no amount"))
}

/// The balance, held and available money of a card, after checking that they add up.
pub fn position(balance: &Value) -> String {
    assert_eq!(cents(&balance["available"]), cents(&balance["balance"]) - cents(&balance["held"]), "{balance}");
    values(balance, &["balance", "held", "available"])
}

/// The status of an authorisation, and its authorised, held, captured, excess, reversed, expired and released amount,
/// after checking that they add up.
pub fn sums(authorization: &Value) -> String {
    let amount = |name: &str| cents(&authorization[format!("{name}Amount")]);
    let accounted = amount("held") + amount("reversed") + amount("expired") + amount("released") + amount("captured") - amount("excess");
    assert_eq!(amount("authorized"), accounted, "{authorization}");
    for (part, whole) in [("excess", "captured"), ("captureReversed", "captured"), ("refundReversed", "refunded")] {
        assert!((0..=amount(whole)).contains(&amount(part)), "{part} of {authorization}");
    }
    assert_eq!(authorization["status"] == "pending", amount("held") > 0, "{authorization}");
    let names = ["authorized", "held", "captured", "excess", "reversed", "expired", "released"].map(|name| format!("{name}Amount"));
    format!("{} {}", authorization["status"].as_str().expect("a status"), values(authorization, &names))
}

/// What came back of an authorisation: the reversed captures, the refunds, and the reversed refunds.
pub fn returned(authorization: &Value) -> String {
    values(authorization, &["captureReversedAmount", "refundedAmount", "refundReversedAmount"])
}

/// The kind, the amount and the hold after each entry, after checking that their ordinals have no gap and their sequence
/// numbers grow.
pub fn entries(authorization: &Value) -> Vec<String> {
    let entries = authorization["entries"].as_array().unwrap_or_else(|| panic!("no entries in {authorization}"));
    let mut sequence = 0;
    for (entry, ordinal) in entries.iter().zip(1..) {
        assert_eq!(entry["ordinal"], ordinal, "{authorization}");
        assert!(entry["sequence"].as_i64().is_some_and(|next| next > sequence), "{authorization}");
        sequence = entry["sequence"].as_i64().expect("a number");
        assert!(entry["id"].as_str().is_some_and(|id| id.starts_with("ent_")), "{entry}");
        let posts = ["capture", "late_capture"].contains(&entry["kind"].as_str().expect("a kind"));
        assert_eq!(entry["movementId"].as_str().is_some_and(|id| id.starts_with("mov_")), posts, "{entry}");
    }
    assert_eq!(entries.last().expect("an entry")["heldAfter"], authorization["heldAmount"]);
    entries.iter().map(|entry| format!("{} {}", entry["kind"].as_str().expect("a kind"), values(entry, &["amount", "heldAfter"]))).collect()
}

/// An authorisation as lists show it.
pub fn without_entries(authorization: &Value) -> Value {
    let members = authorization.as_object().expect("an object").iter().filter(|(name, _)| *name != "entries");
    Value::Object(members.map(|(name, value)| (name.clone(), value.clone())).collect::<Map<_, _>>())
}

fn values(object: &Value, names: &[impl AsRef<str>]) -> String {
    names.iter().map(|name| object[name.as_ref()].to_string()).collect::<Vec<_>>().join(" ")
}

impl World {
    /// Moves the expiry of an authorisation, if it is pending, to a millisecond ago, past the API. It locks the card first, as
    /// the service does.
    pub async fn make_due(&self, authorization: &str) {
        let id = Uuid::from(authorization.parse::<AuthorizationId>().expect("an id"));
        let sql = format!(
            "update cards set holds_due_at = now() - interval '1 millisecond'
             where (account_id, id) in (select account_id, card_id from authorizations where id = '{id}');
             update authorizations set expires_at = now() - interval '1 millisecond' where id = '{id}' and status = 'pending'"
        );
        self.database.execute(&sql).await;
    }

    /// The number of an authorisation's entries of this kind.
    pub async fn entries_of_kind(&self, authorization: &str, kind: &str) -> i64 {
        let id = Uuid::from(authorization.parse::<AuthorizationId>().expect("an id"));
        self.database
            .number(&format!("select count(*) from authorization_entries where authorization_id = '{id}' and kind = '{kind}'"))
            .await
    }

    /// Asserts that `core-api verify-ledger` finds nothing, and that every card holds what its authorisations hold.
    pub async fn assert_ledger_is_clean(&self) {
        let output = core_api_on(&self.database).arg("verify-ledger").output().expect("verify-ledger runs");
        let report = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success() && report.contains(" 0 drifts found"), "{report}");
        let wrong_cards = self.database.number(
            "select count(*) from cards
             left join lateral (
                 select coalesce(sum(held), 0) as held, min(expires_at) as due from authorizations
                 where authorizations.account_id = cards.account_id and authorizations.card_id = cards.id and status = 'pending'
             ) open on true
             where cards.held <> open.held or (open.due is not null and (cards.holds_due_at is null or cards.holds_due_at > open.due))",
        );
        assert_eq!(wrong_cards.await, 0, "a card does not hold what its authorisations hold, or does not know when they are due");
        // Each entry continues the one before it, and the newest says what is held.
        let wrong_entries = self.database.number(
            "select count(*) from (
                 select authorization_id, ordinal, held_before, held_after,
                     lag(ordinal, 1, 0) over entries as previous, lag(held_after, 1, 0::bigint) over entries as left_before
                 from authorization_entries window entries as (partition by account_id, authorization_id order by sequence)
             ) chain where ordinal <> previous + 1 or held_before <> left_before",
        );
        assert_eq!(wrong_entries.await, 0, "entries do not continue each other");
    }

    /// The number of rows that a refused request might leave behind.
    pub async fn payment_rows(&self) -> i64 {
        let tables = ["authorizations", "authorization_entries", "movements", "idempotency_keys"]
            .map(|table| format!("(select count(*) from {table})"));
        self.database.number(&format!("select {}", tables.join(" + "))).await
    }
}

/// A card's id as the database has it.
pub fn card_uuid(card: &str) -> Uuid {
    card.parse::<CardId>().expect("an id").into()
}
