//! `POST /cards/{cardId}/authorizations/preview`: a decision that is not recorded.

use axum::{Json as JsonBody, extract::State};
use schemars::JsonSchema;
use serde::Serialize;

use super::payment::Preview as PreviewRequest;
use crate::domain::{authorization::AuthorizationStatus, decision::Check, error::Refusal, id::CardId, money::Money};
use crate::http::{
    App,
    authorization_body::DeclineBody,
    balance_body::Balance,
    code::Code,
    error::Result,
    extract::{PathId, Reader},
    json::Json,
    openapi::{Operation, Tag, payment_schema::CheckSchema},
};
use crate::service::ledger::Previewed;

/// What would be decided on a payment.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "AuthorizationPreview")]
pub(in crate::http) struct PreviewBody {
    card_id: CardId,
    /// The status that the authorization would have.
    status: AuthorizationStatus,
    requested_amount: Money,
    /// What would be held: less than what is requested if `partialApproval` permits it and no more is left.
    authorized_amount: Money,
    /// The response code for the network (ISO 8583, data element 39).
    response_code: &'static str,
    /// Why it would be declined; null if it would not.
    decline: Option<DeclineBody>,
    /// Every check, passed or failed.
    #[schemars(with = "Vec<CheckSchema>")]
    checks: Vec<Check>,
    balance: Balance,
}

impl PreviewBody {
    fn of(card_id: CardId, requested: Money, preview: Previewed) -> Self {
        let verdict = preview.decision.verdict;
        let standing = verdict.standing();
        Self {
            card_id,
            status: standing.status,
            requested_amount: requested,
            authorized_amount: standing.authorized,
            response_code: verdict.response_code(),
            decline: verdict.decline().map(DeclineBody::from),
            checks: preview.decision.checks,
            balance: (&preview.balance).into(),
        }
    }
}

/// `POST /cards/{cardId}/authorizations/preview`
pub(in crate::http) const PREVIEW: Operation = Operation::new("previewAuthorization", Tag::Spending, "Preview an Authorization")
    .about("Decide whether a card could pay now, as `POST /network/authorizations` does, with every check that it makes, and record nothing. The body is the same, but for the card.")
    .request(r#"{"amount": 40, "merchant": {"id": "5665270011000168", "name": "AMAZON.COM", "mcc": "5734", "country": "US"}, "entryMode": "ecommerce", "cardPresent": false}"#)
    .response::<PreviewBody>(r#"{"cardId": "card_01h455vb4pex5vsknk084sn02q", "status": "declined", "requestedAmount": 40, "authorizedAmount": 0, "responseCode": "61", "decline": {"code": "limit_amount_exceeded", "message": "The limit \"Travel\" of 300 a month has 12.50 left; 40 was asked for.", "limitId": "lim_01h455vb4pex5vsknk084sn02q", "retryable": true, "responseCode": "61"}, "checks": [{"check": "card_status", "result": "pass", "value": "active"}, {"check": "amount", "result": "pass", "requested": 40}, {"check": "limit", "result": "fail", "limitId": "lim_01h455vb4pex5vsknk084sn02q", "interval": "month", "windowStart": "2025-02-01T05:00:00.000Z", "windowEnd": "2025-03-01T05:00:00.000Z", "limit": 300, "used": 287.50, "remaining": 12.50, "requested": 40}, {"check": "funds", "result": "pass", "balance": 500, "held": 0, "available": 500, "requested": 40}], "balance": {"cardId": "card_01h455vb4pex5vsknk084sn02q", "currency": "USD", "balance": 500, "held": 0, "available": 500}}"#)
    .refusals(&[Code::CardNotFound]);

/// `POST /cards/{cardId}/authorizations/preview`
pub(in crate::http) async fn preview(
    State(app): State<App>,
    Reader(caller): Reader,
    PathId(id): PathId<CardId>,
    Json(PreviewRequest(new)): Json<PreviewRequest>,
) -> Result<JsonBody<PreviewBody>> {
    let id = id.map_err(|_| Refusal::CardNotFound)?;
    let requested = new.asked.amount;
    let preview = app.services.ledger.preview(caller.account, id, new).await?;
    Ok(JsonBody(PreviewBody::of(id, requested, preview)))
}
