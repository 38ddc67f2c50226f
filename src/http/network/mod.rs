//! What a card network's gateway calls: `POST /network/authorizations` and `POST /network/purchases`. [`steps`] has what
//! follows an authorisation, and [`postings`] what needs none.

mod payment;
pub(super) mod postings;
pub(super) mod preview;
pub(super) mod steps;

use axum::{extract::State, response::Response};
use schemars::JsonSchema;
use serde::Serialize;

use self::payment::{Authorize, Purchase};
use super::{
    App,
    authorization_body::AuthorizationBody,
    balance_body::Balance,
    code::Code,
    command::{Keyed, respond},
    error::{Error, Result},
    extract::Gateway,
    faults::{self, FaultCode},
    movement_body::MovementBody,
    openapi::{Operation, Tag},
};
use crate::service::{error::Error as ServiceError, ledger::Stepped};

#[derive(Serialize, JsonSchema)]
#[schemars(rename = "DecidedAuthorization")]
pub(super) struct Decided {
    authorization: AuthorizationBody,
    balance: Balance,
}

impl Decided {
    fn of(stepped: &Stepped) -> Self {
        Self { authorization: AuthorizationBody::with(&stepped.authorization, &stepped.entries), balance: (&stepped.balance).into() }
    }
}

/// `POST /network/authorizations`
pub(super) const AUTHORIZE: Operation = Operation::new("authorize", Tag::Network, "Authorize a Payment")
    .about("Decide whether a card can pay, and hold the money until it is captured. A decline is a 200 as well: it is recorded, with every check that was made, and `responseCode` is what the network gets to know. `amount` is in the card's currency. It is 0 of a `verification`, which asks whether the card is valid, and above 0 of everything else. With `partialApproval` as much as is available is approved, if that is less. With `standIn` the network has approved the payment already: it is recorded, and cannot be declined.")
    .request(r#"{"cardId": "card_01h455vb4pex5vsknk084sn02q", "amount": 100, "currency": "USD", "merchantAmount": 92.50, "merchantCurrency": "EUR", "kind": "purchase", "entryMode": "ecommerce", "cardPresent": false, "merchant": {"id": "5665270011000168", "name": "AMAZON.COM", "mcc": "5734", "city": "Seattle", "country": "US"}, "partialApproval": false, "standIn": false, "networkTransactionId": "627199945183184", "expiresAt": null, "metadata": {"terminalId": "00411"}}"#)
    .response::<Decided>(r#"{"authorization": {"id": "auth_01h455vb4pex5vsknk084sn02q", "cardId": "card_01h455vb4pex5vsknk084sn02q", "customerId": "cus_01h455vb4pex5vsknk084sn02q", "status": "pending", "kind": "purchase", "currency": "USD", "requestedAmount": 100, "authorizedAmount": 100, "heldAmount": 100, "capturedAmount": 0, "excessAmount": 0, "captureReversedAmount": 0, "reversedAmount": 0, "expiredAmount": 0, "releasedAmount": 0, "refundedAmount": 0, "refundReversedAmount": 0, "merchantAmount": 92.50, "merchantCurrency": "EUR", "merchant": {"id": "5665270011000168", "name": "AMAZON.COM", "mcc": "5734", "city": "Seattle", "country": "US"}, "entryMode": "ecommerce", "cardPresent": false, "networkTransactionId": "627199945183184", "metadata": {"terminalId": "00411"}, "approvalCode": "482913", "responseCode": "00", "decidedBy": "rules", "decline": null, "checks": null, "createdAt": "2025-02-10T12:00:00.000Z", "expiresAt": "2025-02-17T12:00:00.000Z", "updatedAt": "2025-02-10T12:00:00.000Z", "sequence": 2, "entries": [{"id": "ent_01h455vb4pex5vsknk084sn02q", "ordinal": 1, "kind": "authorization", "amount": 100, "heldAfter": 100, "movementId": null, "sequence": 2, "createdAt": "2025-02-10T12:00:00.000Z", "decline": null, "checks": null, "reason": null}]}, "balance": {"cardId": "card_01h455vb4pex5vsknk084sn02q", "currency": "USD", "balance": 500, "held": 100, "available": 400}}"#)
    .refusals(&[Code::CardNotFound, Code::DuplicateNetworkTransaction, Code::BalanceLimitExceeded]);

/// `POST /network/authorizations`
pub(super) async fn authorize<const SANDBOX: bool>(
    State(app): State<App>,
    Gateway(caller): Gateway,
    Keyed(command): Keyed<Authorize<SANDBOX>>,
) -> Result<Response> {
    let idempotent = command.idempotent(caller.account, Decided::of);
    let Authorize(new) = command.body;
    match app.services.ledger.authorize(&caller.actor(), new, idempotent).await {
        // Known only once the key is: a request that is repeated later gets its response.
        Err(ServiceError::HoldEndOutOfRange) => {
            let fault = faults::fault("expiresAt", FaultCode::OutOfRange, "must be 1 minute to 60 days ahead");
            Err(Error::Validation(vec![fault]))
        }
        outcome => Ok(respond(outcome?, Decided::of)),
    }
}

#[derive(Serialize, JsonSchema)]
pub(super) struct Purchased {
    authorization: AuthorizationBody,
    /// Null if it was declined.
    movement: Option<MovementBody>,
    balance: Balance,
}

impl Purchased {
    fn of(stepped: &Stepped) -> Self {
        Self {
            authorization: AuthorizationBody::with(&stepped.authorization, &stepped.entries),
            movement: stepped.movement.as_ref().map(MovementBody::from),
            balance: (&stepped.balance).into(),
        }
    }
}

/// `POST /network/purchases`
pub(super) const PURCHASE: Operation = Operation::new("authorizePurchase", Tag::Network, "Authorize and Capture a Payment")
    .about("Decide whether a card can pay, and charge it at once: a single message instead of an authorization and a capture. Everything else is as for `POST /network/authorizations`. A decline is a 200 as well, with a `movement` of null.")
    .request(r#"{"cardId": "card_01h455vb4pex5vsknk084sn02q", "amount": 20, "entryMode": "contactless", "cardPresent": true, "merchant": {"name": "CAFE CENTRAL", "mcc": "5814", "city": "Bogota", "country": "CO"}, "networkTransactionId": "627199945183185"}"#)
    .response::<Purchased>(r#"{"authorization": {"id": "auth_01h455vb4pex5vsknk084sn02q", "cardId": "card_01h455vb4pex5vsknk084sn02q", "customerId": null, "status": "captured", "kind": "purchase", "currency": "USD", "requestedAmount": 20, "authorizedAmount": 20, "heldAmount": 0, "capturedAmount": 20, "excessAmount": 0, "captureReversedAmount": 0, "reversedAmount": 0, "expiredAmount": 0, "releasedAmount": 0, "refundedAmount": 0, "refundReversedAmount": 0, "merchantAmount": null, "merchantCurrency": null, "merchant": {"id": null, "name": "CAFE CENTRAL", "mcc": "5814", "city": "Bogota", "country": "CO"}, "entryMode": "contactless", "cardPresent": true, "networkTransactionId": "627199945183185", "metadata": {}, "approvalCode": "482913", "responseCode": "00", "decidedBy": "rules", "decline": null, "checks": null, "createdAt": "2025-02-10T12:00:00.000Z", "expiresAt": null, "updatedAt": "2025-02-10T12:00:00.000Z", "sequence": 3, "entries": [{"id": "ent_01h455vb4pex5vsknk084sn02q", "ordinal": 1, "kind": "authorization", "amount": 20, "heldAfter": 20, "movementId": null, "sequence": 2, "createdAt": "2025-02-10T12:00:00.000Z", "decline": null, "checks": null, "reason": null}, {"id": "ent_01h455vb4pex5vsknk084sn02r", "ordinal": 2, "kind": "capture", "amount": 20, "heldAfter": 0, "movementId": "mov_01h455vb4pex5vsknk084sn02q", "sequence": 3, "createdAt": "2025-02-10T12:00:00.000Z", "decline": null, "checks": null, "reason": null}]}, "movement": {"id": "mov_01h455vb4pex5vsknk084sn02q", "amount": -20, "description": "CAFE CENTRAL", "date": "2025-02-10T12:00:00.000Z", "type": "purchase", "balanceAfter": 480, "authorizationId": "auth_01h455vb4pex5vsknk084sn02q", "transferId": null, "relatedMovementId": null, "merchant": {"id": null, "name": "CAFE CENTRAL", "mcc": "5814", "city": "Bogota", "country": "CO"}}, "balance": {"cardId": "card_01h455vb4pex5vsknk084sn02q", "currency": "USD", "balance": 480, "held": 0, "available": 480}}"#)
    .refusals(&[Code::CardNotFound, Code::DuplicateNetworkTransaction, Code::BalanceLimitExceeded]);

/// `POST /network/purchases`
pub(super) async fn purchase<const SANDBOX: bool>(
    State(app): State<App>,
    Gateway(caller): Gateway,
    Keyed(command): Keyed<Purchase<SANDBOX>>,
) -> Result<Response> {
    let idempotent = command.idempotent(caller.account, Purchased::of);
    let Purchase(new) = command.body;
    let outcome = app.services.ledger.authorize(&caller.actor(), new, idempotent).await?;
    Ok(respond(outcome, Purchased::of))
}
