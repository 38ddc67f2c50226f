//! A request as it is sent: the same path and body in every attempt, since a key stands for one request.

use std::time::Duration;

use chrono::{SecondsFormat, Utc};
use record::{Form, Kind, Request};
use reqwest::Method;
use serde_json::Value;
use uuid::Uuid;

/// How far ahead the API allows `expiresAt`, at least.
const SHORTEST_HOLD: Duration = Duration::from_secs(60);

/// The merchant of every payment.
const MERCHANT: &str = r#"{"id":"5665270011000168","name":"SOAK","mcc":"5734","city":"Seattle","country":"US"}"#;

/// An operation that must be executed once, however often it is sent.
#[derive(Clone, Debug)]
pub struct Operation {
    /// What is recorded of it.
    pub request: Request,
    /// The method.
    pub method: Method,
    /// The path.
    pub path: String,
    /// The body; empty if there is none.
    pub body: String,
}

/// An operation whose request is not complete.
#[derive(Debug)]
pub struct Draft(Request);

impl Draft {
    /// The operation of this kind on a card, with a unique key.
    pub fn new(card: &str, kind: Kind, cents: impl Into<Option<i64>>) -> Self {
        Self(Request {
            op: Uuid::now_v7().to_string(),
            keyed: true,
            card: card.to_owned(),
            kind,
            cents: cents.into(),
            to: None,
            target: None,
            network_transaction: None,
            form: Form::Plain,
        })
    }

    /// Without a key, which is never retried.
    pub fn without_key(self) -> Self {
        Self(Request { keyed: false, ..self.0 })
    }

    /// To another status.
    pub fn to(self, status: &str) -> Self {
        Self(Request { to: Some(status.to_owned()), ..self.0 })
    }

    /// On an authorisation or a movement.
    pub fn on(self, target: String) -> Self {
        Self(Request { target: Some(target), ..self.0 })
    }

    /// With a `networkTransactionId`.
    pub fn of_network_transaction(self, id: String) -> Self {
        Self(Request { network_transaction: Some(id), ..self.0 })
    }

    /// In another form than the plain one.
    pub fn form(self, form: Form) -> Self {
        Self(Request { form, ..self.0 })
    }

    /// The complete operation. A hold is given `expiresAt` that far ahead.
    pub fn build(self, hold: Option<Duration>) -> Operation {
        let request = self.0;
        let method = match request.kind {
            Kind::Read | Kind::ReadAuthorization => Method::GET,
            Kind::Status => Method::PATCH,
            _ => Method::POST,
        };
        let (path, body) = (path(&request), body(&request, hold));
        Operation { request, method, path, body }
    }
}

/// A time to live that the API accepts for as long as an attempt usually takes, and that ends within a short soak.
pub fn short_hold() -> Duration {
    SHORTEST_HOLD + Duration::from_millis(rand::random_range(8_000..30_000))
}

fn path(request: &Request) -> String {
    let target = request.target.as_deref().unwrap_or_default();
    match request.kind {
        Kind::TopUp => "/balances/add".to_owned(),
        Kind::Withdrawal => "/balances/withdraw".to_owned(),
        Kind::Purchase => "/sandbox/purchases".to_owned(),
        Kind::Refund => "/sandbox/refunds".to_owned(),
        Kind::Read => format!("/cards/{}", request.card),
        Kind::ReadAuthorization => format!("/authorizations/{target}"),
        Kind::Status => "/cards/status".to_owned(),
        Kind::Authorize => "/network/authorizations".to_owned(),
        Kind::NetworkPurchase => "/network/purchases".to_owned(),
        Kind::Increment => format!("/network/authorizations/{target}/increments"),
        Kind::Adjust => format!("/network/authorizations/{target}/adjustments"),
        Kind::Reverse => format!("/network/authorizations/{target}/reversals"),
        Kind::Capture => format!("/network/authorizations/{target}/captures"),
        Kind::ForcePost => "/network/captures".to_owned(),
        Kind::CaptureReversal => format!("/network/captures/{target}/reversals"),
        Kind::NetworkRefund => "/network/refunds".to_owned(),
        Kind::RefundReversal => format!("/network/refunds/{target}/reversals"),
        Kind::Release => format!("/authorizations/{target}/release"),
        Kind::Expire => format!("/sandbox/authorizations/{target}/expire"),
    }
}

fn body(request: &Request, hold: Option<Duration>) -> String {
    let mut body = Members::default();
    let names_card = matches!(
        request.kind,
        Kind::TopUp
            | Kind::Withdrawal
            | Kind::Purchase
            | Kind::Refund
            | Kind::Status
            | Kind::Authorize
            | Kind::NetworkPurchase
            | Kind::ForcePost
            | Kind::NetworkRefund
    );
    if names_card {
        body.text("cardId", &request.card);
    }
    if let Some(cents) = request.cents {
        body.raw("amount", &format!("{}.{:02}", cents / 100, cents % 100));
    }
    if let Some(to) = &request.to {
        body.text("status", to);
    }
    if let Some(id) = &request.network_transaction {
        body.text("networkTransactionId", id);
    }
    match request.kind {
        Kind::Purchase | Kind::Refund | Kind::ForcePost => body.text("description", "soak"),
        Kind::Authorize | Kind::NetworkPurchase => {
            body.raw("merchant", MERCHANT);
            body.raw("partialApproval", &(request.form == Form::Partial).to_string());
            body.raw("standIn", &(request.form == Form::StandIn).to_string());
            if let Some(hold) = hold {
                body.text("expiresAt", &(Utc::now() + hold).to_rfc3339_opts(SecondsFormat::Millis, true));
            }
        }
        Kind::Reverse | Kind::Release => body.text("reason", "soak"),
        Kind::Capture => body.raw("final", &(request.form != Form::NotFinal).to_string()),
        Kind::NetworkRefund => {
            body.text("description", "soak");
            if let Some(target) = &request.target {
                body.text(if target.starts_with("auth_") { "authorizationId" } else { "movementId" }, target);
            }
        }
        Kind::Read | Kind::ReadAuthorization => return String::new(),
        _ => {}
    }
    body.write()
}

/// The members of a JSON object. Amounts keep their decimals, as they are never a binary number.
#[derive(Default)]
struct Members(Vec<(&'static str, String)>);

impl Members {
    fn text(&mut self, name: &'static str, text: &str) {
        self.0.push((name, Value::from(text).to_string()));
    }

    fn raw(&mut self, name: &'static str, json: &str) {
        self.0.push((name, json.to_owned()));
    }

    fn write(self) -> String {
        let members: Vec<_> = self.0.iter().map(|(name, value)| format!("\"{name}\":{value}")).collect();
        format!("{{{}}}", members.join(","))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(draft: Draft, hold: Option<Duration>) -> (String, Value) {
        let operation = draft.build(hold);
        (operation.path, serde_json::from_str(&operation.body).expect("JSON"))
    }

    #[test]
    fn requests_carry_what_their_endpoint_reads() {
        let (path, body) = sent(Draft::new("card_1", Kind::TopUp, 1205), None);
        assert_eq!((path.as_str(), body), ("/balances/add", serde_json::json!({"cardId": "card_1", "amount": 12.05})));
        let (path, body) = sent(Draft::new("card_1", Kind::Capture, None).on("auth_1".into()).form(Form::NotFinal), None);
        assert_eq!((path.as_str(), body), ("/network/authorizations/auth_1/captures", serde_json::json!({"final": false})));
        for (target, member) in [("auth_1", "authorizationId"), ("mov_1", "movementId")] {
            let (path, body) = sent(Draft::new("card_1", Kind::NetworkRefund, 5).on(target.into()), None);
            let expected = serde_json::json!({"cardId": "card_1", "amount": 0.05, "description": "soak", member: target});
            assert_eq!((path.as_str(), body), ("/network/refunds", expected));
        }
        let (_, body) = sent(Draft::new("card_1", Kind::Authorize, 100).form(Form::Partial), Some(Duration::from_secs(61)));
        assert_eq!((&body["partialApproval"], &body["standIn"]), (&Value::from(true), &Value::from(false)));
        assert!(body["expiresAt"].as_str().is_some_and(|at| at.ends_with('Z')), "{body}");
    }
}
