//! Sends one request to one replica, waits for the answer or hangs up, and records the attempt.

use std::{
    error::Error,
    sync::{Arc, OnceLock},
    time::Duration,
};

use record::{Answer, Attempt, Kind};
use reqwest::{Client, Method, RequestBuilder};
use serde_json::{Value, json};
use tokio::{
    sync::RwLock,
    time::{sleep, timeout},
};

use crate::{
    answer::{NoAnswer, receive},
    history::History,
    request::Operation,
};

/// The maximum time that a client waits for an answer.
const CLIENT_TIMEOUT: Duration = Duration::from_secs(10);

/// The number of login attempts, at each replica in turn, half a second apart.
const LOGIN_ATTEMPTS: usize = 60;

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
    /// Not executed by this attempt, because its `expiresAt` is too near by now. An earlier attempt may still execute it.
    TooLate,
    /// An answer that no client may get, which the checker reports too.
    Wrong,
}

/// The email and the password of an admin.
pub type Login = (&'static str, &'static str);

/// Why there is no page of the feed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NoPage {
    /// The same request may get it later.
    Later,
    /// An answer that no reader may get.
    Wrong(String),
}

/// The API as the clients of one account see it: all replicas, a shared token, and a key of the network.
#[derive(Debug)]
pub struct Api {
    http: Client,
    bases: Vec<String>,
    login: Login,
    token: RwLock<String>,
    network_key: OnceLock<String>,
    /// The record of every attempt.
    pub history: Arc<History>,
}

impl Api {
    /// An API at these base URLs, without a token.
    pub fn new(bases: Vec<String>, login: Login, history: Arc<History>) -> Result<Self, Box<dyn Error>> {
        let http = Client::builder().no_proxy().timeout(CLIENT_TIMEOUT).build()?;
        Ok(Self { http, bases, login, token: RwLock::new(String::new()), network_key: OnceLock::new(), history })
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
            let body = json!({"email": self.login.0, "password": self.login.1});
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

    /// Sends a request while no faults are injected, so that every failure is an error, and returns the answer.
    pub async fn call(&self, method: Method, path: &str, body: &Value) -> Result<Value, Box<dyn Error>> {
        let url = format!("{}{path}", self.bases[0]);
        loop {
            let token = self.token().await;
            let request = self.http.request(method.clone(), &url).bearer_auth(&token);
            let request = if method == Method::GET { request } else { request.json(body) };
            let response = request.send().await?;
            let status = response.status();
            let answer: Value = response.json().await?;
            match (status.as_u16(), answer["code"].as_str()) {
                (200..=299, _) => return Ok(answer),
                (401, _) | (403, Some("token_expired")) => self.login(&token).await?,
                _ => return Err(format!("{method} {path} was answered with {status} {answer}").into()),
            }
        }
    }

    /// Asks a replica for the page of the feed at a cursor. Hangs up after `patience`, if given.
    pub async fn feed(&self, cursor: Option<&str>, wait: u64, patience: Option<Duration>) -> Result<Value, NoPage> {
        let token = self.token().await;
        let base = &self.bases[rand::random_range(0..self.bases.len())];
        let cursor = cursor.map_or_else(String::new, |cursor| format!("&after={cursor}"));
        let page = async {
            let response = self.http.get(format!("{base}/events?wait={wait}{cursor}")).bearer_auth(&token).send().await?;
            let status = response.status().as_u16();
            Ok::<_, reqwest::Error>((status, response.json::<Value>().await?))
        };
        let answer = timeout(patience.unwrap_or(CLIENT_TIMEOUT), page).await;
        match answer {
            Ok(Ok((200, page))) => Ok(page),
            // 502 and 504 come from a load balancer that lost its replica.
            Err(_) | Ok(Err(_) | Ok((429 | 502..=504, _))) => Err(NoPage::Later),
            Ok(Ok((401 | 403, _))) => {
                let _later = self.login(&token).await;
                Err(NoPage::Later)
            }
            Ok(Ok((status, body))) => Err(NoPage::Wrong(format!("a page of the feed was answered with {status} {body}"))),
        }
    }

    /// Sends a transfer under a key to a replica. Its id if it was made, `Some(None)` if it was refused for good, and none if it
    /// has to be sent again.
    pub async fn transfer(&self, key: &str, body: &Value) -> Option<Option<String>> {
        let token = self.token().await;
        let base = &self.bases[rand::random_range(0..self.bases.len())];
        let request = self.http.post(format!("{base}/transfers")).bearer_auth(&token).header("idempotency-key", key).json(body);
        let response = request.send().await.ok()?;
        let status = response.status().as_u16();
        let answer: Value = response.json().await.ok()?;
        match (status, answer["code"].as_str()) {
            (200, _) => Some(answer["transferId"].as_str().map(str::to_owned)),
            (409, Some("insufficient_funds")) => Some(None),
            (401 | 403, _) => {
                let _later = self.login(&token).await;
                None
            }
            _ => None,
        }
    }

    /// Creates a customer with these cards, a limit for all of them, and a limit for the first. Both leave room for every payment.
    pub async fn limit(&self, cards: &[String]) -> Result<(), Box<dyn Error>> {
        let Some(first) = cards.first() else { return Ok(()) };
        let customer = json!({"name": "Soak", "email": format!("{}@example.com", uuid::Uuid::now_v7())});
        let created = self.call(Method::POST, "/customers", &customer).await?;
        let customer = created["customerId"].as_str().ok_or("the new customer has no id")?;
        for card in cards {
            self.call(Method::POST, "/cards/assign", &json!({"cardId": card, "customerId": customer})).await?;
        }
        let limit = json!({"currency": "USD", "interval": "day", "amount": 1_000_000_000, "restoreOnRefund": true});
        self.call(Method::POST, &format!("/customers/{customer}/limits"), &limit).await?;
        let limit = json!({"interval": "month", "amount": 1_000_000_000, "count": 1_000_000});
        self.call(Method::POST, &format!("/cards/{first}/limits"), &limit).await?;
        Ok(())
    }

    /// Creates the key that requests of the network are sent with.
    pub async fn create_network_key(&self) -> Result<(), Box<dyn Error>> {
        let created = self.call(Method::POST, "/api-keys", &json!({"name": "soak", "role": "network"})).await?;
        let key = created["key"].as_str().ok_or("the new API key is not in its answer")?;
        self.network_key.set(key.to_owned()).map_err(|_| "there is a key already".into())
    }

    /// Creates an active card without money.
    pub async fn create_card(&self) -> Result<String, Box<dyn Error>> {
        let created = self.call(Method::POST, "/cards", &json!({"currency": "USD"})).await?;
        let card = created["cardId"].as_str().ok_or("the new card has no id")?.to_owned();
        let body = json!({"cardId": card, "status": "active"});
        self.call(Method::PATCH, "/cards/status", &body).await?;
        Ok(card)
    }

    /// Sends an operation to a replica and records the attempt. Hangs up after `patience`, if given.
    pub async fn attempt(
        &self,
        client: usize,
        operation: &Operation,
        replica: usize,
        patience: Option<Duration>,
    ) -> (Outcome, Option<Answer>) {
        let token = self.token().await;
        let request = self.request(operation, replica, &token);
        let invoked = self.history.now();
        let answer = match patience {
            Some(patience) => timeout(patience, receive(request)).await,
            None => Ok(receive(request).await),
        };
        let ended = self.history.now();
        let hung_up = answer.is_err();
        let refused = matches!(answer, Ok(Err(NoAnswer::Refused)));
        let answer = answer.ok().and_then(Result::ok);
        let attempt = Attempt { request: operation.request.clone(), client, replica, invoked, ended, answer, hung_up, refused };
        self.history.write(&attempt);
        if hung_up {
            self.history.tally.hang_ups.add();
            return (Outcome::HungUp, None);
        }
        if refused {
            return (Outcome::NotExecuted, None);
        }
        let outcome = outcome(operation.request.kind, attempt.answer.as_ref());
        if outcome == Outcome::LoginAgain && self.login(&token).await.is_err() {
            return (Outcome::Unknown, None);
        }
        (outcome, attempt.answer)
    }

    fn request(&self, operation: &Operation, replica: usize, token: &str) -> RequestBuilder {
        let Operation { request, method, path, body } = operation;
        let sent = self.http.request(method.clone(), format!("{}{path}", self.bases[replica]));
        let sent = if body.is_empty() { sent } else { sent.header("content-type", "application/json").body(body.clone()) };
        let sent = if request.keyed && !request.kind.is_read() { sent.header("idempotency-key", &request.op) } else { sent };
        let network_key = self.network_key.get().filter(|_| request.kind.is_of_network());
        sent.bearer_auth(network_key.map_or(token, String::as_str))
    }
}

fn outcome(kind: Kind, answer: Option<&Answer>) -> Outcome {
    match answer.map(|answer| (answer.status, answer.code.as_deref())) {
        Some((409, Some("idempotency_key_in_use"))) => Outcome::InUse,
        Some((200 | 404 | 409, _)) => Outcome::Definitive,
        // A key of the network does not end during the soak.
        Some((401, _) | (403, Some("token_expired"))) if !kind.is_of_network() => Outcome::LoginAgain,
        Some((400, _)) if kind == Kind::Authorize => Outcome::TooLate,
        // A 500 fails the run, but its effect must still be resolved. 502 and 504 come from a load balancer that lost its
        // replica during the request.
        None | Some((500, _) | (502..=504, Some("outcome_unknown"))) => Outcome::Unknown,
        Some((429 | 503, _)) => Outcome::NotExecuted,
        Some(_) => Outcome::Wrong,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_final_answer_is_definitive() {
        let outcome =
            |kind, status, code: Option<&str>| outcome(kind, Some(&Answer { status, code: code.map(str::to_owned), ..Answer::default() }));
        assert_eq!(outcome(Kind::TopUp, 200, None), Outcome::Definitive);
        assert_eq!(outcome(Kind::Purchase, 409, Some("insufficient_funds")), Outcome::Definitive);
        assert_eq!(outcome(Kind::TopUp, 409, Some("idempotency_key_in_use")), Outcome::InUse);
        assert_eq!(outcome(Kind::TopUp, 503, Some("outcome_unknown")), Outcome::Unknown);
        assert_eq!(outcome(Kind::TopUp, 502, Some("outcome_unknown")), Outcome::Unknown);
        assert_eq!(outcome(Kind::TopUp, 502, None), Outcome::Wrong);
        assert_eq!(outcome(Kind::TopUp, 503, Some("unavailable")), Outcome::NotExecuted);
        assert_eq!(outcome(Kind::TopUp, 401, None), Outcome::LoginAgain);
        assert_eq!(outcome(Kind::Capture, 401, None), Outcome::Wrong);
        assert_eq!(outcome(Kind::Authorize, 400, Some("validation_failed")), Outcome::TooLate);
        assert_eq!(outcome(Kind::Capture, 400, Some("validation_failed")), Outcome::Wrong);
        assert_eq!(super::outcome(Kind::TopUp, None), Outcome::Unknown);
    }
}
