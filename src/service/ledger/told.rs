//! What the events of a feed tell of the ledger. An event points at a movement or an entry; both never change. An
//! authorisation does, so its event keeps the sums that the entry left.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use sqlx::PgConnection;
use uuid::Uuid;

use super::{
    Movement,
    authorization::{Authorization, AuthorizationEntry},
    store,
};
use crate::domain::{
    currency::Currency,
    id::{AccountId, AuthorizationId, CardId, CustomerId},
    money::Money,
    word::Word,
};
use crate::service::error::{Error, Result};

/// A place in the history of a card.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Reference {
    /// The card.
    pub card: CardId,
    /// The place.
    pub sequence: i64,
}

/// What an event of the ledger tells, as it was then.
#[derive(Clone, Debug)]
pub struct Content {
    /// The card.
    pub card: CardId,
    /// The card's currency.
    pub currency: Word<Currency>,
    /// The card's balance.
    pub balance: Money,
    /// What was held of it.
    pub held: Money,
    /// The authorisation and the entry, if the event is about one.
    pub entry: Option<Box<(Authorization, AuthorizationEntry)>>,
    /// The movement, if there was one.
    pub movement: Option<Movement>,
}

/// What an event points at.
#[derive(Clone, Debug)]
pub(in crate::service) struct Pointer {
    pub(in crate::service) at: Reference,
    pub(in crate::service) movement_seq: Option<i64>,
    /// The sums of the authorisation, if the event is about an entry.
    pub(in crate::service) state: Option<String>,
}

/// A movement with the money of its card after it.
pub(super) struct MovementTold {
    pub(super) at: Reference,
    pub(super) currency: Word<Currency>,
    pub(super) held: Money,
    pub(super) movement: Movement,
}

/// An entry with the money of its card after it.
pub(super) struct EntryTold {
    pub(super) card: CardId,
    pub(super) authorization: AuthorizationId,
    pub(super) balance: Money,
    pub(super) held: Money,
    pub(super) entry: AuthorizationEntry,
}

/// The part of an authorisation that changes, in minor units, as the event of an entry keeps it.
#[derive(Serialize, Deserialize)]
struct State {
    customer: Option<String>,
    status: String,
    authorized: i64,
    held: i64,
    captured: i64,
    excess: i64,
    reversed: i64,
    expired: i64,
    released: i64,
    capture_reversed: i64,
    refunded: i64,
    refund_reversed: i64,
    /// In microseconds since 1970.
    expires_at: Option<i64>,
}

/// What the event of an entry keeps of its authorisation.
pub(super) fn state_of(authorization: &Authorization) -> String {
    let state = State {
        customer: authorization.customer_id.map(|id| id.to_string()),
        status: authorization.status.known().map(|status| status.name().to_owned()).unwrap_or_default(),
        authorized: authorization.authorized.minor(),
        held: authorization.held.minor(),
        captured: authorization.captured.minor(),
        excess: authorization.excess.minor(),
        reversed: authorization.reversed.minor(),
        expired: authorization.expired.minor(),
        released: authorization.released.minor(),
        capture_reversed: authorization.capture_reversed.minor(),
        refunded: authorization.refunded.minor(),
        refund_reversed: authorization.refund_reversed.minor(),
        expires_at: authorization.expires_at.map(|moment| moment.timestamp_micros()),
    };
    // Serialising this type to memory cannot fail.
    serde_json::to_string(&state).unwrap_or_default()
}

/// The authorisation as it was after the entry.
fn as_of(authorization: &Authorization, entry: &AuthorizationEntry, state: &str) -> Result<Authorization> {
    let state: State = serde_json::from_str(state).map_err(|error| Error::internal("reading the state of an event", error))?;
    let money = |minor| Money::from_minor(minor).ok_or_else(|| Error::internal("reading the state of an event", "a sum out of bounds"));
    Ok(Authorization {
        customer_id: state.customer.and_then(|id| id.parse::<CustomerId>().ok()),
        status: Word::of(&state.status),
        authorized: money(state.authorized)?,
        held: money(state.held)?,
        captured: money(state.captured)?,
        excess: money(state.excess)?,
        reversed: money(state.reversed)?,
        expired: money(state.expired)?,
        released: money(state.released)?,
        capture_reversed: money(state.capture_reversed)?,
        refunded: money(state.refunded)?,
        refund_reversed: money(state.refund_reversed)?,
        expires_at: state.expires_at.and_then(DateTime::<Utc>::from_timestamp_micros),
        last_ordinal: entry.ordinal,
        entry_sequence: entry.sequence,
        sequence: entry.sequence,
        updated_at: entry.created_at,
        ..authorization.clone()
    })
}

/// Reads what events point at, in three statements.
pub(in crate::service) async fn tell(
    connection: &mut PgConnection,
    account: AccountId,
    pointers: &[Pointer],
) -> Result<HashMap<Reference, Content>> {
    let of_entries = pointers.iter().filter(|pointer| pointer.state.is_some());
    let entries: Vec<Reference> = of_entries.map(|pointer| pointer.at).collect();
    let movements: Vec<(Reference, i64)> = pointers.iter().filter_map(|pointer| Some((pointer.at, pointer.movement_seq?))).collect();
    let movements = if movements.is_empty() { Vec::new() } else { store::told_movements(connection, account, &movements).await? };
    let mut movements: HashMap<Reference, MovementTold> = movements.into_iter().map(|told| (told.at, told)).collect();
    let entries = if entries.is_empty() { Vec::new() } else { store::told_entries(connection, account, &entries).await? };
    let mut ids: Vec<Uuid> = entries.iter().map(|told| told.authorization.into()).collect();
    ids.sort_unstable();
    ids.dedup();
    let authorizations = if ids.is_empty() { Vec::new() } else { store::with_ids(connection, account, &ids, None).await? };
    let authorizations: HashMap<AuthorizationId, Authorization> =
        authorizations.into_iter().map(|authorization| (authorization.id, authorization)).collect();
    let mut entries: HashMap<Reference, EntryTold> =
        entries.into_iter().map(|told| (Reference { card: told.card, sequence: told.entry.sequence }, told)).collect();
    let mut contents = HashMap::new();
    for Pointer { at, state, .. } in pointers {
        let movement = movements.remove(at);
        let content = match (entries.remove(at), state, movement) {
            (Some(told), Some(state), movement) => {
                let missing = || Error::internal("reading the events of entries", "an entry without its authorisation");
                let authorization = authorizations.get(&told.authorization).ok_or_else(missing)?;
                Content {
                    card: at.card,
                    currency: authorization.currency.clone(),
                    balance: told.balance,
                    held: told.held,
                    movement: movement.map(|told| told.movement),
                    entry: Some(Box::new((as_of(authorization, &told.entry, state)?, told.entry))),
                }
            }
            (_, None, Some(told)) => Content {
                card: at.card,
                currency: told.currency,
                balance: told.movement.balance_after,
                held: told.held,
                movement: Some(told.movement),
                entry: None,
            },
            _ => return Err(Error::internal("reading the events of the ledger", "an event that points at nothing")),
        };
        contents.insert(*at, content);
    }
    Ok(contents)
}
