//! An answer of the API.

use reqwest::{Client, Request, RequestBuilder, header::HeaderMap};
use serde_json::Value;

use super::contract::SentRequest;

/// A complete answer.
#[derive(Debug)]
pub struct Reply {
    pub status: u16,
    pub headers: HeaderMap,
    pub text: String,
}

impl Reply {
    pub async fn of(request: RequestBuilder) -> Self {
        let (client, request) = request.build_split();
        let request = request.expect("a valid request");
        let sent = SentRequest::of(&request);
        let reply = Self::received(&client, request).await;
        sent.assert_documented(&reply);
        reply
    }

    /// An answer with words that the document of this version does not have.
    pub async fn undocumented(request: RequestBuilder) -> Self {
        let (client, request) = request.build_split();
        Self::received(&client, request.expect("a valid request")).await
    }

    async fn received(client: &Client, request: Request) -> Self {
        let response = client.execute(request).await.expect("an answer");
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let text = response.text().await.expect("a complete body");
        Self { status, headers, text }
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().expect("ASCII"))
    }

    pub fn number(&self, name: &str) -> i64 {
        self.header(name).unwrap_or_else(|| panic!("no {name} in {self:?}")).parse().expect("a number")
    }

    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error} in {self:?}"))
    }

    /// The body of a success.
    #[track_caller]
    pub fn ok(self) -> Value {
        assert_eq!(self.status, 200, "{}", self.text);
        assert_eq!(self.header("content-type"), Some("application/json"));
        self.assert_common_headers();
        self.json()
    }

    /// The body of a failure with this status and code, after checking the form that all failures share.
    #[track_caller]
    pub fn problem(self, status: u16, code: &str) -> Value {
        assert_eq!(self.status, status, "{}", self.text);
        assert_eq!(self.header("content-type"), Some("application/problem+json"), "{}", self.text);
        self.assert_common_headers();
        let body = self.json();
        assert_eq!(body["code"], code, "{body}");
        assert_eq!(body["status"], status, "{body}");
        assert_eq!(body["type"], format!("/errors/{code}"), "{body}");
        assert_eq!(body["requestId"], self.header("x-request-id").expect("a request id"), "{body}");
        for text in ["title", "detail"] {
            assert!(body[text].as_str().is_some_and(|text| !text.is_empty()), "{text} in {body}");
        }
        assert_eq!(self.header("www-authenticate"), (status == 401).then_some("Bearer"));
        assert_eq!(self.header("retry-after").is_some(), matches!(status, 429 | 503) || code == "idempotency_key_in_use", "{body}");
        body
    }

    /// The invalid fields of a 400, each as `field: code`, in order.
    #[track_caller]
    pub fn field_errors(self) -> Vec<String> {
        let body = self.problem(400, "validation_failed");
        let text = |value: &Value| value.as_str().expect("a string").to_owned();
        let errors = body["errors"].as_array().expect("errors").iter();
        errors.map(|error| format!("{}: {}", text(&error["field"]), text(&error["code"]))).collect()
    }

    /// The body without the request id, for comparing two failures.
    pub fn without_request_id(&self) -> String {
        let id = self.header("x-request-id").expect("a request id");
        self.text.replace(id, "")
    }

    #[track_caller]
    fn assert_common_headers(&self) {
        assert!(self.header("x-request-id").is_some_and(|id| !id.is_empty()));
        assert_eq!(self.header("cache-control"), Some("no-store"));
        assert_eq!(self.header("x-content-type-options"), Some("nosniff"));
    }
}
