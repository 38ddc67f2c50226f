//! How clients reach the server.

use std::{
    error::Error,
    time::{Duration, Instant},
};

use reqwest::{Client, RequestBuilder};
use serde_json::{Value, json};

/// How long any answer may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// A client of the server, with connections of its own.
#[derive(Clone, Debug)]
pub struct Door {
    client: Client,
    base: String,
}

/// What came back, and how long it took in microseconds.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub micros: u64,
    pub body: Value,
}

impl Door {
    /// A client of the server at `base`.
    pub fn to(base: &str) -> Result<Self, Box<dyn Error>> {
        Ok(Self { client: Client::builder().no_proxy().timeout(PATIENCE).build()?, base: base.to_owned() })
    }

    /// A login that the proxy saw come from `source`.
    pub async fn login(&self, source: &str, email: &str, password: &str) -> Result<Answer, reqwest::Error> {
        let request = self.client.post(format!("{}/auth/login", self.base)).header("x-forwarded-for", source);
        send(request.json(&json!({"email": email, "password": password}))).await
    }

    /// A request with a token.
    pub async fn post(&self, token: &str, path: &str, body: &Value) -> Result<Answer, reqwest::Error> {
        send(self.client.post(format!("{}{path}", self.base)).bearer_auth(token).json(body)).await
    }

    /// A read, with a token if there is one.
    pub async fn get(&self, token: &str, path: &str) -> Result<Answer, reqwest::Error> {
        send(self.client.get(format!("{}{path}", self.base)).bearer_auth(token)).await
    }
}

async fn send(request: RequestBuilder) -> Result<Answer, reqwest::Error> {
    let began = Instant::now();
    let response = request.send().await?;
    let status = response.status().as_u16();
    let body = response.bytes().await?;
    let micros = u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX);
    Ok(Answer { status, micros, body: serde_json::from_slice(&body).unwrap_or_default() })
}
