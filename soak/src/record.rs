//! What the driver records and the checker reads: attempts, as the lines of a card's file in `history/`, the events that a
//! reader of a feed got, and the messages that came to the receivers of webhooks.

use serde::{Deserialize, Serialize};

/// The kind of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// `POST /balances/add`
    TopUp,
    /// `POST /balances/withdraw`
    Withdrawal,
    /// `POST /sandbox/purchases`
    Purchase,
    /// `POST /sandbox/refunds`, unlinked
    Refund,
    /// `GET /cards/{cardId}`
    Read,
    /// `GET /authorizations/{id}`
    ReadAuthorization,
    /// `PATCH /cards/status`
    Status,
    /// `POST /network/authorizations`
    Authorize,
    /// `POST /network/purchases`
    NetworkPurchase,
    /// `POST /network/authorizations/{id}/increments`
    Increment,
    /// `POST /network/authorizations/{id}/adjustments`
    Adjust,
    /// `POST /network/authorizations/{id}/reversals`
    Reverse,
    /// `POST /network/authorizations/{id}/captures`
    Capture,
    /// `POST /network/captures`
    ForcePost,
    /// `POST /network/captures/{movementId}/reversals`
    CaptureReversal,
    /// `POST /network/refunds`
    NetworkRefund,
    /// `POST /network/refunds/{movementId}/reversals`
    RefundReversal,
    /// `POST /authorizations/{id}/release`
    Release,
    /// `POST /sandbox/authorizations/{id}/expire`
    Expire,
}

impl Kind {
    /// Whether it changes nothing.
    #[must_use]
    pub const fn is_read(self) -> bool {
        matches!(self, Self::Read | Self::ReadAuthorization)
    }

    /// Whether only the network may send it, in production.
    #[must_use]
    pub const fn is_of_network(self) -> bool {
        matches!(
            self,
            Self::Authorize
                | Self::NetworkPurchase
                | Self::Increment
                | Self::Adjust
                | Self::Reverse
                | Self::Capture
                | Self::ForcePost
                | Self::CaptureReversal
                | Self::NetworkRefund
                | Self::RefundReversal
        )
    }
}

/// A request, the same in all attempts of an operation.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Request {
    /// The operation: its `Idempotency-Key`, or a unique name if it is sent without one. An operation without a key is sent
    /// once.
    pub op: String,
    /// Whether it is sent with an `Idempotency-Key`.
    pub keyed: bool,
    /// The card's id as the API writes it.
    pub card: String,
    /// The kind.
    pub kind: Kind,
    /// The amount as sent, in cents, hence never negative; none if the request names no amount.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub cents: Option<i64>,
    /// The requested status of a status change.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub to: Option<String>,
    /// The authorisation or the movement that it names.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub target: Option<String>,
    /// Its `networkTransactionId`.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub network_transaction: Option<String>,
    /// Which of several forms it takes.
    #[serde(skip_serializing_if = "Form::is_plain", default)]
    pub form: Form,
}

/// The form of a request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Form {
    /// No flag. A capture is final.
    #[default]
    Plain,
    /// An authorisation or a purchase that may be approved in part.
    Partial,
    /// An authorisation or a purchase that the network has approved already.
    StandIn,
    /// A capture after which more may follow.
    NotFinal,
}

impl Form {
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
    fn is_plain(&self) -> bool {
        *self == Self::Plain
    }
}

/// What an event says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// The id.
    pub id: String,
    /// The type.
    pub kind: String,
    /// The card's id, if it tells of one.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub card: Option<String>,
    /// The place in the history of the card.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub sequence: Option<i64>,
}

/// A message that came to a receiver of webhooks.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Message {
    /// The number of the endpoint.
    pub endpoint: usize,
    /// Whether the endpoint was promised the order of each card.
    pub ordered: bool,
    /// Its `webhook-id`.
    pub webhook_id: String,
    /// Whether its signature was verified.
    pub signed: bool,
    /// A hash of all bytes of its body.
    pub hash: u64,
    /// What its body says.
    pub event: Event,
    /// The time when all of it was there.
    pub arrived: u64,
    /// The time just before it was accepted with a 204, unless the answer was withheld, was another one or broke off.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub accepted: Option<u64>,
}

/// A request that was sent, and its answer, if any.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Attempt {
    /// The request.
    #[serde(flatten)]
    pub request: Request,
    /// The client that sent it.
    pub client: usize,
    /// The replica that it was sent to.
    pub replica: usize,
    /// The time just before it was sent: nanoseconds since 1970, counted by one monotonic clock.
    pub invoked: u64,
    /// The time when the answer was complete, or known not to arrive.
    pub ended: u64,
    /// The answer, unless the client hung up or the connection broke.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub answer: Option<Answer>,
    /// The client dropped the request on purpose.
    pub hung_up: bool,
    /// The connection was refused, so nothing was sent.
    pub refused: bool,
}

/// An answer, with what is checked of its body.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// Whether it was marked as a replay.
    pub replayed: bool,
    /// The error code.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub code: Option<String>,
    /// What it says of the card and of what was done.
    #[serde(flatten)]
    pub body: Body,
}

/// What an answer says of the card and of what was done. Amounts are in cents.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Body {
    /// A hash of all its bytes: two answers with the same hash are the same to the byte.
    pub hash: u64,
    /// The balance.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub balance: Option<i64>,
    /// The held money.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub held: Option<i64>,
    /// The available money.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub available: Option<i64>,
    /// The id of the movement.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub movement: Option<String>,
    /// The id of the authorisation's entry.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub entry: Option<String>,
    /// The authorisation.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub authorization: Option<Authorization>,
}

/// An authorisation in an answer.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Authorization {
    /// The id.
    pub id: String,
    /// The status.
    pub status: String,
    /// The number of its newest change among the changes of its card.
    pub sequence: i64,
    /// The amounts.
    #[serde(flatten)]
    pub sums: Sums,
}

/// The amounts of an authorisation, in cents. All but `held` only grow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sums {
    /// Approved, initially and by increments and adjustments.
    #[serde(rename = "A")]
    pub authorized: i64,
    /// Not yet captured, reversed, expired or released.
    #[serde(rename = "H")]
    pub held: i64,
    /// Captured.
    #[serde(rename = "C")]
    pub captured: i64,
    /// Captured beyond the hold.
    #[serde(rename = "E")]
    pub excess: i64,
    /// Reversed.
    #[serde(rename = "R")]
    pub reversed: i64,
    /// Expired, or released by the issuer.
    #[serde(rename = "X")]
    pub expired: i64,
    /// Left over by a final capture.
    #[serde(rename = "O")]
    pub released: i64,
    /// Captured, and reversed later.
    #[serde(rename = "K")]
    pub capture_reversed: i64,
    /// Refunded.
    #[serde(rename = "F")]
    pub refunded: i64,
    /// Refunded, and reversed later.
    #[serde(rename = "G")]
    pub refund_reversed: i64,
}
