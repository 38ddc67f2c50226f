//! One attempt as the driver records it and the checker reads it: a line of `history.jsonl`.

use serde::{Deserialize, Serialize};

/// What was asked for.
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

/// A request that was sent, and what came back if anything did. All attempts of one operation carry
/// the same key; one without a key is sent once.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own about what was sent")]
pub struct Attempt {
    /// Which client sent it.
    pub client: usize,
    /// The operation: its `Idempotency-Key`, or a name of its own where it is sent without.
    pub op: String,
    /// Whether it was sent with its key.
    pub keyed: bool,
    /// The card's id, as it is on the wire.
    pub card: String,
    /// What was asked for.
    pub kind: Kind,
    /// The amount of money as it was sent, hence never negative; 0 where there is none.
    pub cents: i64,
    /// The status asked for, when the status was to change.
    pub to: Option<String>,
    /// Which replica it was sent to.
    pub replica: usize,
    /// When it was about to be sent, in nanoseconds of one monotonic clock.
    pub invoked: u64,
    /// When the whole answer was there, or it was known that none would come.
    pub ended: u64,
    /// The status answered; none if the client hung up or the connection broke.
    pub status: Option<u16>,
    /// Whether the answer was marked as a replay.
    pub replayed: bool,
    /// The balance answered, in cents.
    pub balance: Option<i64>,
    /// The id of the movement answered.
    pub movement: Option<String>,
    /// The problem's code.
    pub code: Option<String>,
    /// The client dropped the request on purpose.
    pub hung_up: bool,
    /// There was nobody to send it to: the connection was refused.
    pub refused: bool,
}
