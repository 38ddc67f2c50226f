//! Reads an answer: waits for all of it, and takes from its body what the checker compares.

use std::hash::{DefaultHasher, Hasher};

use record::{Answer, Authorization, Body, Sums};
use reqwest::RequestBuilder;
use serde_json::Value;

/// Why there is no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoAnswer {
    /// The connection was refused.
    Refused,
    /// The connection broke or timed out.
    Broken,
}

/// The complete answer. A partial body does not count, since its content is unknown.
pub async fn receive(request: RequestBuilder) -> Result<Answer, NoAnswer> {
    let response = request.send().await.map_err(|error| if error.is_connect() { NoAnswer::Refused } else { NoAnswer::Broken })?;
    let status = response.status().as_u16();
    let replayed = response.headers().get("idempotent-replayed").is_some_and(|value| value == "true");
    let bytes = response.bytes().await.map_err(|_| NoAnswer::Broken)?;
    let body: Value = serde_json::from_slice(&bytes).map_err(|_| NoAnswer::Broken)?;
    let code = body["code"].as_str().map(str::to_owned);
    Ok(Answer { status, replayed, code, body: read(&bytes, &body) })
}

fn read(bytes: &[u8], body: &Value) -> Body {
    let mut hasher = DefaultHasher::new();
    hasher.write(bytes);
    // The network's answers have an object `balance`, the others its members.
    let money = if body["balance"].is_object() { &body["balance"] } else { body };
    let authorization = &body["authorization"];
    let text = |value: &Value| value.as_str().map(str::to_owned);
    Body {
        hash: hasher.finish(),
        balance: amount(&money["balance"]),
        held: amount(&money["held"]),
        available: amount(&money["available"]),
        movement: text(&body["movementId"]).or_else(|| text(&body["movement"]["id"])),
        entry: text(&body["entry"]["id"]),
        authorization: text(&authorization["id"]).map(|id| Authorization {
            id,
            status: text(&authorization["status"]).unwrap_or_default(),
            sequence: authorization["sequence"].as_i64().unwrap_or(-1),
            sums: sums(authorization),
        }),
    }
}

fn sums(authorization: &Value) -> Sums {
    // An amount that is missing is as wrong as any other.
    let sum = |name: &str| amount(&authorization[name]).unwrap_or(-1);
    Sums {
        authorized: sum("authorizedAmount"),
        held: sum("heldAmount"),
        captured: sum("capturedAmount"),
        excess: sum("excessAmount"),
        reversed: sum("reversedAmount"),
        expired: sum("expiredAmount"),
        released: sum("releasedAmount"),
        capture_reversed: sum("captureReversedAmount"),
        refunded: sum("refundedAmount"),
        refund_reversed: sum("refundReversedAmount"),
    }
}

fn amount(value: &Value) -> Option<i64> {
    value.as_number().and_then(|number| cents(&number.to_string()))
}

/// Converts a JSON number with at most two decimals to cents, without binary floating point.
fn cents(number: &str) -> Option<i64> {
    let (sign, number) = number.strip_prefix('-').map_or((1, number), |number| (-1, number));
    let (whole, decimals) = number.split_once('.').unwrap_or((number, ""));
    let decimals = match decimals.len() {
        0 => 0,
        1 => decimals.parse::<i64>().ok()?.checked_mul(10)?,
        2 => decimals.parse().ok()?,
        _ => return None,
    };
    whole.parse::<i64>().ok()?.checked_mul(100)?.checked_add(decimals).map(|cents| sign * cents)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cents_are_exact() {
        for (number, expected) in [
            ("0", 0),
            ("0.0", 0),
            ("12.3", 1230),
            ("12.34", 1234),
            ("0.07", 7),
            ("-0.5", -50),
            ("-12.34", -1234),
            ("90071992547409.91", 9_007_199_254_740_991),
        ] {
            assert_eq!(cents(number), Some(expected), "{number}");
        }
        assert_eq!(cents("1.234"), None);
        assert_eq!(cents("1e3"), None);
    }

    #[test]
    fn both_shapes_of_a_balance_are_read() {
        let text = r#"{"authorization": {"id": "auth_1", "status": "pending", "sequence": 7, "authorizedAmount": 1, "heldAmount": 1,
            "capturedAmount": 0, "excessAmount": 0, "reversedAmount": 0, "expiredAmount": 0, "releasedAmount": 0, "captureReversedAmount": 0,
            "refundedAmount": 0, "refundReversedAmount": 0}, "balance": {"balance": 5, "held": 1.5, "available": 3.5}}"#;
        let body = read(b"1", &serde_json::from_str(text).expect("JSON"));
        assert_eq!((body.balance, body.held, body.available), (Some(500), Some(150), Some(350)));
        let authorization = body.authorization.expect("an authorisation");
        assert_eq!((authorization.sequence, authorization.sums), (7, Sums { authorized: 100, held: 100, ..Sums::default() }));
        let flat = read(b"2", &serde_json::json!({"cardId": "card_1", "balance": -5, "available": -6, "movementId": "mov_1"}));
        assert_eq!((flat.balance, flat.held, flat.available, flat.movement.as_deref()), (Some(-500), None, Some(-600), Some("mov_1")));
        assert_ne!(body.hash, flat.hash);
    }
}
