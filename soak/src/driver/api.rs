//! Sends one request to one replica, waits for the answer or hangs up, and records the attempt.

use std::{error::Error, time::Duration};

use record::{Attempt, Kind};
use reqwest::{Client, RequestBuilder};
use serde_json::{Value, json};
use tokio::{
    sync::RwLock,
    time::{sleep, timeout},
};
use uuid::Uuid;

use crate::history::History;

/// The maximum time that a client waits for an answer.
const CLIENT_TIMEOUT: Duration = Duration::from_secs(10);

/// The number of login attempts, at each replica in turn, half a second apart.
const LOGIN_ATTEMPTS: usize = 60;

/// An operation that must be executed once, however often it is sent.
#[derive(Clone, Debug)]
pub struct Operation {
    /// Its `Idempotency-Key`, or its name in the history.
    pub key: String,
    /// Whether it is sent with its key, and hence may be retried.
    pub keyed: bool,
    /// The card's id.
    pub card: String,
    /// The kind of the request.
    pub kind: Kind,
    /// The amount; 0 if there is none.
    pub cents: i64,
    /// The new status of a status change.
    pub to: Option<&'static str>,
}

impl Operation {
    /// A new operation with a unique key.
    pub fn new(card: &str, kind: Kind, cents: i64, to: Option<&'static str>) -> Self {
        Self { key: Uuid::now_v7().to_string(), keyed: true, card: card.to_owned(), kind, cents, to }
    }

    /// The same operation without a key, which is never retried.
    pub fn without_key(self) -> Self {
        Self { keyed: false, ..self }
    }
}

/// The outcome of an attempt, as the client sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Executed, or refused for good.
    Definitive,
    /// Executed or not: retry under the key.
    Unknown,
    /// Not executed, since it was rejected or the connection was refused: retry.
    NotExecuted,
    /// Not executed: the token is no longer valid.
    LoginAgain,
    /// Another attempt of the same operation is in progress.
    InUse,
    /// Unknown, because the driver aborted this attempt.
    HungUp,
    /// An answer that no client may get, which the checker reports too.
    Wrong,
}

/// The API as the clients see it: all replicas, and a shared token.
#[derive(Debug)]
pub struct Api {
    http: Client,
    bases: Vec<String>,
    token: RwLock<String>,
    /// The record of every attempt.
    pub history: History,
}

impl Api {
    /// An API at these base URLs, without a token.
    pub fn new(bases: Vec<String>, history: History) -> Result<Self, Box<dyn Error>> {
        let http = Client::builder().no_proxy().timeout(CLIENT_TIMEOUT).build()?;
        Ok(Self { http, bases, token: RwLock::new(String::new()), history })
    }

    /// The number of replicas.
    pub fn replicas(&self) -> usize {
        self.bases.len()
    }

    /// Whether a replica is ready.
    pub async fn is_ready(&self, replica: usize) -> bool {
        let ready = self.http.get(format!("{}/health/ready", self.bases[replica])).timeout(Duration::from_secs(2)).send().await;
        ready.is_ok_and(|response| response.status() == 200)
    }

    /// Replaces the shared token, unless another client just did.
    pub async fn login(&self, stale: &str) -> Result<(), Box<dyn Error>> {
        let mut token = self.token.write().await;
        if *token != stale {
            return Ok(());
        }
        for attempt in 0..LOGIN_ATTEMPTS {
            let url = format!("{}/auth/login", self.bases[attempt % self.bases.len()]);
            let body = json!({"email": "test@example.com", "password": "test123"});
            if let Ok(response) = self.http.post(url).json(&body).send().await
                && let Ok(body) = response.json::<Value>().await
                && let Some(fresh) = body["token"].as_str()
            {
                fresh.clone_into(&mut token);
                return Ok(());
            }
            sleep(Duration::from_millis(500)).await;
        }
        Err("the login keeps failing".into())
    }

    /// The current token.
    pub async fn token(&self) -> String {
        self.token.read().await.clone()
    }

    /// Creates an active card without money. No faults are injected yet, so every failure is an error.
    pub async fn create_card(&self) -> Result<String, Box<dyn Error>> {
        let token = self.token().await;
        let base = &self.bases[0];
        let created = self.http.post(format!("{base}/cards")).bearer_auth(&token).json(&json!({"currency": "USD"})).send().await?;
        let created: Value = created.error_for_status()?.json().await?;
        let card = created["cardId"].as_str().ok_or("the new card has no id")?.to_owned();
        let body = json!({"cardId": card, "status": "active"});
        self.http.patch(format!("{base}/cards/status")).bearer_auth(&token).json(&body).send().await?.error_for_status()?;
        Ok(card)
    }

    /// Sends an operation to a replica and records the attempt. Hangs up after `patience`, if given.
    pub async fn attempt(&self, client: usize, operation: &Operation, replica: usize, patience: Option<Duration>) -> Outcome {
        let token = self.token().await;
        let request = self.request(operation, replica, &token);
        let invoked = self.history.now();
        let answer = match patience {
            Some(patience) => timeout(patience, answer(request)).await,
            None => Ok(answer(request).await),
        };
        let ended = self.history.now();
        let hung_up = answer.is_err();
        let refused = matches!(answer, Ok(Err(NoAnswer::Refused)));
        let answer = answer.ok().and_then(Result::ok);
        let body = answer.as_ref().map_or(&Value::Null, |answer| &answer.body);
        let movement = match operation.kind {
            Kind::TopUp => body["movementId"].as_str(),
            Kind::Purchase | Kind::Refund => body["movement"]["id"].as_str(),
            Kind::Read | Kind::Status => None,
        };
        let attempt = Attempt {
            client,
            op: operation.key.clone(),
            keyed: operation.keyed,
            card: operation.card.clone(),
            kind: operation.kind,
            cents: operation.cents,
            to: operation.to.map(str::to_owned),
            replica,
            invoked,
            ended,
            status: answer.as_ref().map(|answer| answer.status),
            replayed: answer.as_ref().is_some_and(|answer| answer.replayed),
            balance: body["balance"].as_number().and_then(|number| cents(&number.to_string())),
            movement: movement.map(str::to_owned),
            code: body["code"].as_str().map(str::to_owned),
            hung_up,
            refused,
        };
        self.history.write(&attempt);
        if hung_up {
            self.history.tally.hang_ups.add();
            return Outcome::HungUp;
        }
        if refused {
            return Outcome::NotExecuted;
        }
        let outcome = outcome(attempt.status, attempt.code.as_deref());
        if outcome == Outcome::LoginAgain && self.login(&token).await.is_err() {
            return Outcome::Unknown;
        }
        outcome
    }

    fn request(&self, operation: &Operation, replica: usize, token: &str) -> RequestBuilder {
        let base = &self.bases[replica];
        let card = &operation.card;
        let amount = format!("{}.{:02}", operation.cents / 100, operation.cents % 100);
        let post = |path: &str, body: String| {
            let request = self.http.post(format!("{base}{path}")).header("content-type", "application/json").body(body);
            if operation.keyed { request.header("idempotency-key", &operation.key) } else { request }
        };
        let request = match operation.kind {
            Kind::TopUp => post("/balances/add", format!(r#"{{"cardId":"{card}","amount":{amount}}}"#)),
            Kind::Purchase => post("/sandbox/purchases", format!(r#"{{"cardId":"{card}","amount":{amount},"description":"soak"}}"#)),
            Kind::Refund => post("/sandbox/refunds", format!(r#"{{"cardId":"{card}","amount":{amount},"description":"soak"}}"#)),
            Kind::Read => self.http.get(format!("{base}/cards/{card}")),
            Kind::Status => {
                let request = self.http.patch(format!("{base}/cards/status")).header("idempotency-key", &operation.key);
                request.json(&json!({"cardId": card, "status": operation.to}))
            }
        };
        request.bearer_auth(token)
    }
}

struct Answer {
    status: u16,
    replayed: bool,
    body: Value,
}

/// The complete answer. A partial body does not count, since its content is unknown.
async fn answer(request: RequestBuilder) -> Result<Answer, NoAnswer> {
    let response = request.send().await.map_err(|error| if error.is_connect() { NoAnswer::Refused } else { NoAnswer::Broken })?;
    let status = response.status().as_u16();
    let replayed = response.headers().get("idempotent-replayed").is_some_and(|value| value == "true");
    let body = response.bytes().await.map_err(|_| NoAnswer::Broken)?;
    let body = serde_json::from_slice(&body).map_err(|_| NoAnswer::Broken)?;
    Ok(Answer { status, replayed, body })
}

/// Why there is no answer.
enum NoAnswer {
    /// The connection was refused.
    Refused,
    /// The connection broke or timed out.
    Broken,
}

fn outcome(status: Option<u16>, code: Option<&str>) -> Outcome {
    match (status, code) {
        (Some(409), Some("idempotency_key_in_use")) => Outcome::InUse,
        (Some(200 | 404 | 409), _) => Outcome::Definitive,
        (Some(401), _) | (Some(403), Some("token_expired")) => Outcome::LoginAgain,
        // A 500 fails the run, but its effect must still be resolved. 502 and 504 come from a load balancer that lost its
        // replica during the request.
        (None | Some(500), _) | (Some(502..=504), Some("outcome_unknown")) => Outcome::Unknown,
        (Some(429 | 503), _) => Outcome::NotExecuted,
        _ => Outcome::Wrong,
    }
}

/// Converts a JSON number with at most two decimals to cents, without binary floating point.
fn cents(number: &str) -> Option<i64> {
    let (whole, decimals) = number.split_once('.').unwrap_or((number, ""));
    let decimals = match decimals.len() {
        0 => 0,
        1 => decimals.parse::<i64>().ok()?.checked_mul(10)?,
        2 => decimals.parse().ok()?,
        _ => return None,
    };
    whole.parse::<i64>().ok()?.checked_mul(100)?.checked_add(decimals)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cents_are_exact() {
        for (number, expected) in
            [("0", 0), ("0.0", 0), ("12.3", 1230), ("12.34", 1234), ("0.07", 7), ("90071992547409.91", 9_007_199_254_740_991)]
        {
            assert_eq!(cents(number), Some(expected), "{number}");
        }
        assert_eq!(cents("1.234"), None);
        assert_eq!(cents("1e3"), None);
    }

    #[test]
    fn only_a_final_answer_is_definitive() {
        assert_eq!(outcome(Some(200), None), Outcome::Definitive);
        assert_eq!(outcome(Some(409), Some("insufficient_funds")), Outcome::Definitive);
        assert_eq!(outcome(Some(409), Some("idempotency_key_in_use")), Outcome::InUse);
        assert_eq!(outcome(Some(503), Some("outcome_unknown")), Outcome::Unknown);
        assert_eq!(outcome(Some(502), Some("outcome_unknown")), Outcome::Unknown);
        assert_eq!(outcome(Some(502), None), Outcome::Wrong);
        assert_eq!(outcome(Some(503), Some("unavailable")), Outcome::NotExecuted);
        assert_eq!(outcome(None, None), Outcome::Unknown);
        assert_eq!(outcome(Some(422), Some("idempotency_key_reused")), Outcome::Wrong);
    }
}
