//! Authorisations, for the account: `GET /authorizations`, `GET /authorizations/{authorizationId}`,
//! `POST /authorizations/{authorizationId}/release`.

use axum::{Json as JsonBody, extract::State, response::Response};
use chrono::{DateTime, SecondsFormat, Utc};
use schemars::JsonSchema;
use serde::Serialize;
use strum::VariantArray as _;

use super::{
    App,
    authorization_body::{AuthorizationBody, SteppedBody},
    code::Code,
    command::{Command, respond},
    error::Result,
    extract::{AuthorizationReader, NoQuery, PathId, Writer},
    json::{Fields, FromFields},
    openapi::{Filter, Operation, Tag, payment_schema::names},
    page::{Cursor, Page},
    query::Query,
    time::Moment,
};
use crate::domain::{
    authorization::AuthorizationStatus,
    decision::DeclineCode,
    error::Refusal,
    id::{AccountId, AuthorizationId, CardId, CustomerId},
    text::Reason,
};
use crate::service::ledger::{Authorization, AuthorizationFilter, AuthorizationPage, StepRequest};

/// The filters of a list, as text that a cursor can carry.
struct Filters {
    card_id: Option<String>,
    customer_id: Option<String>,
    status: Option<AuthorizationStatus>,
    decline_code: Option<DeclineCode>,
    merchant_id: Option<String>,
    network_transaction_id: Option<String>,
    from: Option<DateTime<Utc>>,
    to: Option<DateTime<Utc>>,
}

impl Filters {
    fn read(query: &mut Query) -> Self {
        Self {
            card_id: query.text("cardId"),
            customer_id: query.text("customerId"),
            status: query.word("status", &names(AuthorizationStatus::VARIANTS)),
            decline_code: query.word("declineCode", &names(DeclineCode::VARIANTS)),
            merchant_id: query.text("merchantId"),
            network_transaction_id: query.text("networkTransactionId"),
            from: query.moment("from"),
            to: query.moment("to"),
        }
    }

    /// The canonical query string of the filters; [`Self::read`] parses it.
    fn canonical(&self) -> String {
        let moment = |moment: Option<DateTime<Utc>>| moment.map(|moment| moment.to_rfc3339_opts(SecondsFormat::Nanos, true));
        let (from, to) = (moment(self.from), moment(self.to));
        let named = [
            ("cardId", self.card_id.as_deref()),
            ("customerId", self.customer_id.as_deref()),
            ("status", self.status.map(AuthorizationStatus::name)),
            ("declineCode", self.decline_code.map(DeclineCode::name)),
            ("merchantId", self.merchant_id.as_deref()),
            ("networkTransactionId", self.network_transaction_id.as_deref()),
            ("from", from.as_deref()),
            ("to", to.as_deref()),
        ];
        let mut text = form_urlencoded::Serializer::new(String::new());
        text.extend_pairs(named.into_iter().filter_map(|(name, value)| value.map(|value| (name, value))));
        text.finish()
    }

    /// The filter for the service.
    ///
    /// # Errors
    /// The account has no such card or customer.
    async fn resolve(self, app: &App, account: AccountId) -> Result<AuthorizationFilter> {
        let card = match self.card_id {
            Some(text) => {
                let id = text.parse().map_err(|_| Refusal::CardNotFound)?;
                Some(app.services.cards.get(account, id).await?.id)
            }
            None => None,
        };
        let customer = match self.customer_id {
            Some(text) => {
                let id = text.parse().map_err(|_| Refusal::CustomerNotFound)?;
                Some(app.services.customers.get(account, id).await?.id)
            }
            None => None,
        };
        Ok(AuthorizationFilter {
            card,
            customer,
            status: self.status,
            decline_code: self.decline_code,
            merchant: self.merchant_id,
            network_transaction: self.network_transaction_id,
            from: self.from,
            to: self.to,
        })
    }
}

/// `GET /authorizations`
pub(super) const LIST: Operation = Operation::new("listAuthorizations", Tag::Authorizations, "List Authorizations")
    .about("Retrieve the authorizations of your account, newest first, declined ones as well: all of them, or those that all filters fit. They come without their `entries`. A page with `limit` is looked for among at most 10000 authorizations: if few of them fit, it has fewer than `limit`, perhaps none, and a `nextCursor` that continues. Only a `nextCursor` of null ends the list.")
    .filters(&[
        Filter::new::<CardId>("cardId", "Only authorizations of this card."),
        Filter::new::<CustomerId>("customerId", "Only authorizations of this customer's cards."),
        Filter::new::<AuthorizationStatus>("status", "Only authorizations with this status."),
        Filter::new::<DeclineCode>("declineCode", "Only authorizations that were declined for this reason."),
        Filter::new::<String>("merchantId", "Only authorizations of the merchant with this id."),
        Filter::new::<String>("networkTransactionId", "Only the authorization with this id of the network's."),
        Filter::new::<Moment>("from", "Only authorizations at or after this time: a date in UTC, or RFC 3339."),
        Filter::new::<Moment>("to", "Only authorizations before this time: a date in UTC, or RFC 3339."),
    ])
    .list::<AuthorizationBody>("authorizations", r#"{"authorizations": [{"id": "auth_01h455vb4pex5vsknk084sn02q", "cardId": "card_01h455vb4pex5vsknk084sn02q", "customerId": "cus_01h455vb4pex5vsknk084sn02q", "status": "pending", "kind": "purchase", "currency": "USD", "requestedAmount": 100, "authorizedAmount": 100, "heldAmount": 100, "capturedAmount": 0, "excessAmount": 0, "captureReversedAmount": 0, "reversedAmount": 0, "expiredAmount": 0, "releasedAmount": 0, "refundedAmount": 0, "refundReversedAmount": 0, "merchantAmount": null, "merchantCurrency": null, "merchant": {"id": "5665270011000168", "name": "AMAZON.COM", "mcc": "5734", "city": "Seattle", "country": "US"}, "entryMode": "ecommerce", "cardPresent": false, "networkTransactionId": "627199945183184", "metadata": {}, "approvalCode": "482913", "responseCode": "00", "decidedBy": "rules", "decline": null, "checks": null, "createdAt": "2025-02-10T12:00:00.000Z", "expiresAt": "2025-02-17T12:00:00.000Z", "updatedAt": "2025-02-10T12:30:00.000Z", "sequence": 3}], "nextCursor": null}"#)
    .refusals(&[Code::CardNotFound, Code::CustomerNotFound]);

/// `GET /authorizations`
pub(super) async fn list(State(app): State<App>, AuthorizationReader(caller): AuthorizationReader, mut query: Query) -> Result<Response> {
    let cursor = Cursor::read(&mut query);
    let mut filters = Filters::read(&mut query);
    if filters.canonical().is_empty()
        && let Some(carried) = cursor.as_ref().and_then(|cursor: &Cursor<AuthorizationId>| cursor.filters("authorizations"))
    {
        filters = Filters::read(&mut Query::parse(carried));
    }
    let page = Page::read(&mut query, cursor.as_ref(), "authorizations", &filters.canonical());
    query.done()?;
    let filter = filters.resolve(&app, caller.account).await?;
    let ledger = app.services.ledger.clone();
    page.respond_in_parts(
        "authorizations",
        move |before, limit| {
            let (ledger, filter) = (ledger.clone(), filter.clone());
            async move {
                let AuthorizationPage { rows, stopped_at } = ledger.authorizations(caller.account, filter, before, limit).await?;
                Ok((rows, stopped_at))
            }
        },
        |authorization: &Authorization| (authorization.id, AuthorizationBody::from(authorization)),
    )
    .await
}

/// One authorisation.
#[derive(Serialize, JsonSchema)]
pub(super) struct FoundAuthorization {
    authorization: AuthorizationBody,
}

/// `GET /authorizations/{authorizationId}`
pub(super) const GET: Operation = Operation::new("getAuthorization", Tag::Authorizations, "Get an Authorization")
    .about("Retrieve one authorization with its `entries`. `decline` and `checks` tell why it was declined, with every number that was compared.")
    .response::<FoundAuthorization>(r#"{"authorization": {"id": "auth_01h455vb4pex5vsknk084sn02q", "cardId": "card_01h455vb4pex5vsknk084sn02q", "customerId": "cus_01h455vb4pex5vsknk084sn02q", "status": "declined", "kind": "purchase", "currency": "USD", "requestedAmount": 600, "authorizedAmount": 0, "heldAmount": 0, "capturedAmount": 0, "excessAmount": 0, "captureReversedAmount": 0, "reversedAmount": 0, "expiredAmount": 0, "releasedAmount": 0, "refundedAmount": 0, "refundReversedAmount": 0, "merchantAmount": null, "merchantCurrency": null, "merchant": {"id": "5665270011000168", "name": "AMAZON.COM", "mcc": "5734", "city": "Seattle", "country": "US"}, "entryMode": "ecommerce", "cardPresent": false, "networkTransactionId": "627199945183184", "metadata": {}, "approvalCode": null, "responseCode": "51", "decidedBy": "rules", "decline": {"code": "insufficient_funds", "message": "The card has 500 available; 600 was asked for.", "limitId": null, "retryable": true, "responseCode": "51"}, "checks": [{"check": "card_status", "result": "pass", "value": "active"}, {"check": "currency", "result": "pass", "value": "USD", "expected": "USD"}, {"check": "amount", "result": "pass", "requested": 600}, {"check": "funds", "result": "fail", "balance": 500, "held": 0, "available": 500, "requested": 600}], "createdAt": "2025-02-10T12:00:00.000Z", "expiresAt": null, "updatedAt": "2025-02-10T12:00:00.000Z", "sequence": 2, "entries": [{"id": "ent_01h455vb4pex5vsknk084sn02q", "ordinal": 1, "kind": "declined", "amount": 600, "heldAfter": 0, "movementId": null, "sequence": 2, "createdAt": "2025-02-10T12:00:00.000Z", "decline": {"code": "insufficient_funds", "message": "The card has 500 available; 600 was asked for.", "limitId": null, "retryable": true, "responseCode": "51"}, "checks": [{"check": "card_status", "result": "pass", "value": "active"}, {"check": "currency", "result": "pass", "value": "USD", "expected": "USD"}, {"check": "amount", "result": "pass", "requested": 600}, {"check": "funds", "result": "fail", "balance": 500, "held": 0, "available": 500, "requested": 600}], "reason": null}]}}"#)
    .refusals(&[Code::AuthorizationNotFound]);

/// `GET /authorizations/{authorizationId}`
pub(super) async fn get(
    State(app): State<App>,
    AuthorizationReader(caller): AuthorizationReader,
    _: NoQuery,
    PathId(id): PathId<AuthorizationId>,
) -> Result<JsonBody<FoundAuthorization>> {
    let id = id.map_err(|_| Refusal::AuthorizationNotFound)?;
    let (authorization, entries) = app.services.ledger.authorization(caller.account, id).await?;
    Ok(JsonBody(FoundAuthorization { authorization: AuthorizationBody::with(&authorization, &entries) }))
}

pub(super) struct ReleaseRequest {
    reason: Reason,
}

impl FromFields for ReleaseRequest {
    fn from_fields(fields: &mut Fields<'_>) -> Option<Self> {
        Some(Self { reason: fields.text("reason")? })
    }
}

/// `POST /authorizations/{authorizationId}/release`
pub(super) const RELEASE: Operation = Operation::new("releaseAuthorization", Tag::Authorizations, "Release an Authorization")
    .about("End a hold before it expires, as the issuer. The merchant is not told, and can still capture the authorization.")
    .request(r#"{"reason": "The merchant has closed"}"#)
    .response::<SteppedBody>(r#"{"authorization": {"id": "auth_01h455vb4pex5vsknk084sn02q", "cardId": "card_01h455vb4pex5vsknk084sn02q", "customerId": "cus_01h455vb4pex5vsknk084sn02q", "status": "expired", "kind": "purchase", "currency": "USD", "requestedAmount": 100, "authorizedAmount": 100, "heldAmount": 0, "capturedAmount": 0, "excessAmount": 0, "captureReversedAmount": 0, "reversedAmount": 0, "expiredAmount": 100, "releasedAmount": 0, "refundedAmount": 0, "refundReversedAmount": 0, "merchantAmount": null, "merchantCurrency": null, "merchant": {"id": "5665270011000168", "name": "AMAZON.COM", "mcc": "5734", "city": "Seattle", "country": "US"}, "entryMode": "ecommerce", "cardPresent": false, "networkTransactionId": "627199945183184", "metadata": {}, "approvalCode": "482913", "responseCode": "00", "decidedBy": "rules", "decline": null, "checks": null, "createdAt": "2025-02-10T12:00:00.000Z", "expiresAt": "2025-02-17T12:00:00.000Z", "updatedAt": "2025-02-10T12:30:00.000Z", "sequence": 3}, "entry": {"id": "ent_01h455vb4pex5vsknk084sn02r", "ordinal": 2, "kind": "release", "amount": 100, "heldAfter": 0, "movementId": null, "sequence": 3, "createdAt": "2025-02-10T12:30:00.000Z", "decline": null, "checks": null, "reason": "The merchant has closed"}, "balance": {"cardId": "card_01h455vb4pex5vsknk084sn02q", "currency": "USD", "balance": 500, "held": 0, "available": 500}}"#)
    .refusals(&[Code::AuthorizationNotFound, Code::AuthorizationNotOpen]);

/// `POST /authorizations/{authorizationId}/release`
pub(super) async fn release(
    State(app): State<App>,
    Writer(caller): Writer,
    PathId(id): PathId<AuthorizationId>,
    command: Command<ReleaseRequest>,
) -> Result<Response> {
    let idempotent = command.idempotent(caller.account, SteppedBody::of);
    let request = StepRequest::Release { reason: command.body.reason.as_str().to_owned() };
    let outcome = app.services.ledger.step(&caller.actor(), id.ok(), request, idempotent).await?;
    Ok(respond(outcome, SteppedBody::of))
}
