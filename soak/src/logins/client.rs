//! An HTTP client that measures its requests.

use std::time::{Duration, Instant};

use bench::{Failure, server::Server};
use reqwest::RequestBuilder;
use serde_json::{Value, json};

/// The maximum time for an answer.
const TIMEOUT: Duration = Duration::from_secs(30);

/// A client with its own connections.
#[derive(Clone, Debug)]
pub struct Client {
    http: reqwest::Client,
    base: String,
}

/// An answer, and its time in microseconds.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub micros: u64,
    pub body: Value,
}

impl Client {
    /// A client of a server.
    pub fn of(server: &Server) -> Result<Self, Failure> {
        let http = reqwest::Client::builder().no_proxy().timeout(TIMEOUT).build()?;
        Ok(Self { http, base: format!("http://{}", server.address()) })
    }

    /// A login through a proxy that reports `source` as its address.
    pub async fn login(&self, source: &str, email: &str, password: &str) -> Result<Answer, reqwest::Error> {
        let request = self.http.post(format!("{}/auth/login", self.base)).header("x-forwarded-for", source);
        send(request.json(&json!({"email": email, "password": password}))).await
    }

    /// A POST with a token.
    pub async fn post(&self, token: &str, path: &str, body: &Value) -> Result<Answer, reqwest::Error> {
        send(self.http.post(format!("{}{path}", self.base)).bearer_auth(token).json(body)).await
    }

    /// A GET with a token.
    pub async fn get(&self, token: &str, path: &str) -> Result<Answer, reqwest::Error> {
        send(self.http.get(format!("{}{path}", self.base)).bearer_auth(token)).await
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
