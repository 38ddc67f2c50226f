//! The record of one attempt, written by the driver and read by the checker: a line of `history.jsonl`.

use serde::{Deserialize, Serialize};

/// The kind of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// `POST /balances/add`
    TopUp,
    /// `POST /sandbox/purchases`
    Purchase,
    /// `POST /sandbox/refunds`
    Refund,
    /// `GET /cards/{cardId}`
    Read,
    /// `PATCH /cards/status`
    Status,
}

/// A request and its answer, if any. All attempts of an operation have the same key. An operation without a key is sent
/// once.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[expect(clippy::struct_excessive_bools, reason = "each is an independent fact about the attempt")]
pub struct Attempt {
    /// The client that sent it.
    pub client: usize,
    /// The operation: its `Idempotency-Key`, or a unique name if it is sent without one.
    pub op: String,
    /// Whether it was sent with an `Idempotency-Key`.
    pub keyed: bool,
    /// The card's id as the API writes it.
    pub card: String,
    /// The kind of the request.
    pub kind: Kind,
    /// The amount as sent, hence never negative; 0 if the request has none.
    pub cents: i64,
    /// The requested status of a status change.
    pub to: Option<String>,
    /// The replica that it was sent to.
    pub replica: usize,
    /// The time just before it was sent, in nanoseconds of one monotonic clock.
    pub invoked: u64,
    /// The time when the answer was complete, or known not to arrive.
    pub ended: u64,
    /// The status of the answer, unless the client hung up or the connection broke.
    pub status: Option<u16>,
    /// Whether the answer was marked as a replay.
    pub replayed: bool,
    /// The balance in the answer, in cents.
    pub balance: Option<i64>,
    /// The movement id in the answer.
    pub movement: Option<String>,
    /// The error code in the answer.
    pub code: Option<String>,
    /// The client dropped the request on purpose.
    pub hung_up: bool,
    /// The connection was refused, so nothing was sent.
    pub refused: bool,
}
