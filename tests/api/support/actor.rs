//! A client of the API.

use reqwest::{Client, Method, RequestBuilder};
use serde_json::{Value, json};

use super::Reply;

/// A client with or without a token.
#[derive(Clone)]
pub struct Actor {
    client: Client,
    base: String,
    pub token: Option<String>,
    pub refresh_token: Option<String>,
}

impl Actor {
    pub fn new(base: &str) -> Self {
        let client = Client::builder().no_proxy().build().expect("an HTTP client");
        Self { client, base: base.to_owned(), token: None, refresh_token: None }
    }

    pub fn base(&self) -> &str {
        &self.base
    }

    pub async fn logged_in(&self, email: &str, password: &str) -> Self {
        let login = self.post("/auth/login", json!({"email": email, "password": password})).await.ok();
        let text = |name: &str| login[name].as_str().expect("a string").to_owned();
        Self { token: Some(text("token")), refresh_token: Some(text("refreshToken")), ..self.clone() }
    }

    /// A login through a proxy. `address` is the whole `X-Forwarded-For` header.
    pub async fn login_from(&self, address: &str, email: &str, password: &str) -> Reply {
        let request = self.request(Method::POST, "/auth/login").header("x-forwarded-for", address);
        Reply::of(request.json(&json!({"email": email, "password": password}))).await
    }

    pub fn with_token(&self, token: &str) -> Self {
        Self { token: Some(token.to_owned()), ..self.clone() }
    }

    pub fn at_base(&self, base: &str) -> Self {
        Self { base: base.to_owned(), ..self.clone() }
    }

    /// A request with this actor's token and no other header.
    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let request = self.client.request(method, format!("{}{path}", self.base));
        match &self.token {
            Some(token) => request.bearer_auth(token),
            None => request,
        }
    }

    pub async fn get(&self, path: &str) -> Reply {
        Reply::of(self.request(Method::GET, path)).await
    }

    pub async fn post(&self, path: &str, body: Value) -> Reply {
        Reply::of(self.request(Method::POST, path).json(&body)).await
    }

    pub async fn patch(&self, path: &str, body: Value) -> Reply {
        Reply::of(self.request(Method::PATCH, path).json(&body)).await
    }

    pub async fn put(&self, path: &str, body: Value) -> Reply {
        Reply::of(self.request(Method::PUT, path).json(&body)).await
    }

    pub async fn delete(&self, path: &str) -> Reply {
        Reply::of(self.request(Method::DELETE, path)).await
    }

    /// Sends a request under an idempotency key.
    pub async fn keyed(&self, key: &str, method: Method, path: &str, body: &Value) -> Reply {
        Reply::of(self.request(method, path).header("idempotency-key", key).json(body)).await
    }

    /// Sends these bytes as the body, declared as JSON.
    pub async fn send(&self, method: Method, path: &str, body: impl Into<reqwest::Body>) -> Reply {
        Reply::of(self.request(method, path).header("content-type", "application/json").body(body)).await
    }
}
