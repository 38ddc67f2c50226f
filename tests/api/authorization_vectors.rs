//! The arithmetic of authorisations over HTTP: sequences of steps on a card of 500, each with every amount that it leaves.

use serde_json::{Value, json};

use crate::support::{
    Actor, World,
    payments::{entries, id, position, returned, sums, without_entries},
};

/// A request: the path under `/network/`, or a whole path if it begins with a slash, and the body. `AUTH`, `MOV` and `CARD`
/// stand for the id of the first authorisation, of the newest movement and of the card.
type Step = (&'static str, Value);

fn authorize(amount: i64) -> Step {
    ("authorizations", json!({"cardId": "CARD", "amount": amount}))
}

fn step(path: &'static str, amount: i64) -> Step {
    (path, json!({"amount": amount}))
}

fn capture_final(amount: i64) -> Step {
    ("authorizations/AUTH/captures", json!({"amount": amount}))
}

fn capture_and_go_on(amount: i64) -> Step {
    ("authorizations/AUTH/captures", json!({"amount": amount, "final": false}))
}

fn expire() -> Step {
    ("/sandbox/authorizations/AUTH/expire", json!({}))
}

const INCREMENT: &str = "authorizations/AUTH/increments";
const ADJUST: &str = "authorizations/AUTH/adjustments";
const REVERSE: &str = "authorizations/AUTH/reversals";

struct Vector {
    name: &'static str,
    steps: Vec<Step>,
    /// The status, A, H, C, E, R, X and O of the first authorisation.
    sums: &'static str,
    /// Its K, F and G.
    returned: &'static str,
    /// Balance, held, available.
    position: &'static str,
    /// Kind, amount and hold after each entry.
    entries: &'static [&'static str],
    /// Amount and type of each movement after the top-up.
    movements: &'static [(i64, &'static str)],
}

const NOTHING_RETURNED: &str = "0 0 0";

#[expect(clippy::too_many_lines, reason = "one table")]
fn vectors() -> Vec<Vector> {
    let vector = |name, steps, sums, position, entries, movements| Vector {
        name,
        steps,
        sums,
        returned: NOTHING_RETURNED,
        position,
        entries,
        movements,
    };
    vec![
        vector("1", vec![authorize(100)], "pending 100 100 0 0 0 0 0", "500 100 400", &["authorization 100 100"], &[]),
        vector(
            "2",
            vec![authorize(100), capture_final(100)],
            "captured 100 0 100 0 0 0 0",
            "400 0 400",
            &["authorization 100 100", "capture 100 0"],
            &[(-100, "capture")],
        ),
        vector(
            "3",
            vec![authorize(100), capture_final(60)],
            "captured 100 0 60 0 0 0 40",
            "440 0 440",
            &["authorization 100 100", "capture 60 0"],
            &[(-60, "capture")],
        ),
        vector(
            "4",
            vec![authorize(100), capture_and_go_on(60)],
            "pending 100 40 60 0 0 0 0",
            "440 40 400",
            &["authorization 100 100", "capture 60 40"],
            &[(-60, "capture")],
        ),
        vector(
            "5",
            vec![authorize(100), capture_and_go_on(60), capture_final(60)],
            "captured 100 0 120 20 0 0 0",
            "380 0 380",
            &["authorization 100 100", "capture 60 40", "capture 60 0"],
            &[(-60, "capture"), (-60, "capture")],
        ),
        vector(
            "6",
            vec![authorize(100), capture_and_go_on(60), (REVERSE, json!({}))],
            "captured 100 0 60 0 40 0 0",
            "440 0 440",
            &["authorization 100 100", "capture 60 40", "reversal 40 0"],
            &[(-60, "capture")],
        ),
        vector(
            "7",
            vec![authorize(100), step(INCREMENT, 50), step(REVERSE, 30)],
            "pending 150 120 0 0 30 0 0",
            "500 120 380",
            &["authorization 100 100", "increment 50 150", "reversal 30 120"],
            &[],
        ),
        vector(
            "8",
            vec![authorize(100), expire()],
            "expired 100 0 0 0 0 100 0",
            "500 0 500",
            &["authorization 100 100", "expiry 100 0"],
            &[],
        ),
        vector(
            "9",
            vec![authorize(100), expire(), capture_final(100)],
            "captured 100 0 100 100 0 100 0",
            "400 0 400",
            &["authorization 100 100", "expiry 100 0", "late_capture 100 0"],
            &[(-100, "capture")],
        ),
        vector(
            "10",
            vec![authorize(100), capture_and_go_on(60), expire()],
            "captured 100 0 60 0 0 40 0",
            "440 0 440",
            &["authorization 100 100", "capture 60 40", "expiry 40 0"],
            &[(-60, "capture")],
        ),
        vector(
            "11",
            vec![authorize(500), ("captures", json!({"cardId": "CARD", "amount": 30, "description": "Fuel"}))],
            "pending 500 500 0 0 0 0 0",
            "470 500 -30",
            &["authorization 500 500"],
            &[(-30, "capture")],
        ),
        vector(
            "12",
            vec![authorize(500), ("captures", json!({"cardId": "CARD", "amount": 30, "description": "Fuel"})), authorize(1)],
            "pending 500 500 0 0 0 0 0",
            "470 500 -30",
            &["authorization 500 500"],
            &[(-30, "capture")],
        ),
        Vector {
            returned: "0 100 100",
            ..vector(
                "13",
                vec![
                    authorize(100),
                    capture_final(100),
                    ("refunds", json!({"cardId": "CARD", "amount": 100, "description": "Refund", "authorizationId": "AUTH"})),
                    ("refunds/MOV/reversals", json!({"amount": 100})),
                ],
                "captured 100 0 100 0 0 0 0",
                "400 0 400",
                &["authorization 100 100", "capture 100 0"],
                &[(-100, "capture"), (100, "refund"), (-100, "refund_reversal")],
            )
        },
        vector(
            "14",
            vec![("authorizations", json!({"cardId": "CARD", "amount": 600, "partialApproval": true}))],
            "pending 500 500 0 0 0 0 0",
            "500 500 0",
            &["partial_authorization 500 500"],
            &[],
        ),
        Vector {
            returned: "100 0 0",
            ..vector(
                "15",
                vec![authorize(100), capture_final(100), ("captures/MOV/reversals", json!({"amount": 100}))],
                "captured 100 0 100 0 0 0 0",
                "500 0 500",
                &["authorization 100 100", "capture 100 0"],
                &[(-100, "capture"), (100, "capture_reversal")],
            )
        },
        vector(
            "16",
            vec![authorize(100), ("/cards/status", json!({"cardId": "CARD", "status": "blocked"})), capture_final(100)],
            "captured 100 0 100 0 0 0 0",
            "400 0 400",
            &["authorization 100 100", "capture 100 0"],
            &[(-100, "capture")],
        ),
        vector(
            "17",
            vec![authorize(100), step(ADJUST, 120), step(ADJUST, 70)],
            "pending 120 70 0 0 50 0 0",
            "500 70 430",
            &["authorization 100 100", "adjustment 20 120", "adjustment -50 70"],
            &[],
        ),
    ]
}

/// Sends a step with the ids in their places, and returns the answer.
async fn send(admin: &Actor, (path, body): &Step, card: &str, authorization: &str, movement: &str) -> Value {
    let fill = |text: &str| text.replace("CARD", card).replace("AUTH", authorization).replace("MOV", movement);
    let body = serde_json::from_str(&fill(&body.to_string())).expect("JSON");
    match path.strip_prefix('/') {
        Some("cards/status") => admin.patch(path, body).await.ok(),
        Some(_) => admin.post(&fill(path), body).await.ok(),
        None => admin.network(&fill(path), body).await.ok(),
    }
}

#[tokio::test]
async fn every_vector_leaves_its_amounts() {
    let (_world, admin) = World::with_admin().await;
    for vector in vectors() {
        let name = format!("vector {}", vector.name);
        let card = admin.given_card_with(json!(500)).await;
        let (mut authorization, mut movement, mut answer) = (String::new(), String::new(), Value::Null);
        for step in &vector.steps {
            answer = send(&admin, step, &card, &authorization, &movement).await;
            if authorization.is_empty() {
                authorization = id(&answer["authorization"]);
            }
            if answer["movement"].is_object() {
                movement = id(&answer["movement"]);
            }
        }
        let found = admin.authorization(&authorization).await;
        assert_eq!(sums(&found), vector.sums, "{name}");
        assert_eq!(returned(&found), vector.returned, "{name}");
        assert_eq!(entries(&found), vector.entries, "{name}");
        assert_eq!(admin.position(&card).await, vector.position, "{name}");
        assert_eq!(position(&answer["balance"]), vector.position, "{name}");
        if answer["authorization"]["id"] == found["id"] {
            assert_eq!(without_entries(&answer["authorization"]), without_entries(&found), "{name}: the answer is what is read later");
        }
        let listed = admin.authorizations(&format!("?cardId={card}")).await;
        assert_eq!(listed.last(), Some(&without_entries(&found)), "{name}: the first authorisation is listed last");
        let movements = admin.movements(&card).await;
        let posted: Vec<_> =
            movements.iter().rev().skip(1).map(|movement| (movement["amount"].clone(), movement["type"].clone())).collect();
        let expected: Vec<_> = vector.movements.iter().map(|(amount, kind)| (json!(amount), json!(kind))).collect();
        assert_eq!(posted, expected, "{name}");
        match vector.name {
            "12" => {
                let declined = &answer["authorization"];
                assert_eq!(
                    (sums(declined).as_str(), &declined["decline"]["code"]),
                    ("declined 0 0 0 0 0 0 0", &json!("insufficient_funds"))
                );
                assert_eq!(declined["responseCode"], "51");
            }
            "14" => assert_eq!((&found["requestedAmount"], &found["responseCode"]), (&json!(600), &json!("10"))),
            _ => assert_eq!(found["responseCode"], "00", "{name}"),
        }
    }
}

/// Halves of cents do not exist, but halves of a unit do: the same arithmetic to the cent.
#[tokio::test]
async fn amounts_of_holds_are_exact_to_the_cent() {
    let (_world, admin) = World::with_admin().await;
    let card = admin.given_card_with(json!(0.3)).await;
    let first = admin.given_hold(&card, json!(0.1)).await;
    let second = admin.given_hold(&card, json!(0.2)).await;
    assert_eq!(admin.position(&card).await, "0.3 0.3 0");
    let declined = admin.authorize(&card, json!(0.01)).await.ok();
    assert_eq!(declined["authorization"]["decline"]["code"], "insufficient_funds");
    admin.capture(&first, json!(0.11)).await.ok();
    assert_eq!(admin.position(&card).await, "0.19 0.2 -0.01");
    assert_eq!(sums(&admin.authorization(&first).await), "captured 0.1 0 0.11 0.01 0 0 0");
    admin.step(&second, "reversals", json!({"amount": 0.01})).await.ok();
    assert_eq!(admin.position(&card).await, "0.19 0.19 0");

    // More digits than money usually has.
    let most = json!(12_345_678_901_234.56);
    let card = admin.given_card_with(most.clone()).await;
    let whole = admin.given_hold(&card, most.clone()).await;
    let answer = admin.capture(&whole, most).await;
    assert!(answer.text.contains("\"capturedAmount\":12345678901234.56,"), "{}", answer.text);
    answer.ok();
    assert_eq!(admin.position(&card).await, "0 0 0");
}
