//! The JSON form of an event of the feed: the same in `GET /events` and in a webhook.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Value, value::RawValue};

use super::{
    authorization_body::{AuthorizationBody, EntryBody, stored},
    balance_body::Balance,
    movement_body::MovementBody,
    time::Timestamp,
};
use crate::domain::{
    feed_event::FeedEventType,
    id::{CardId, MessageId},
};
use crate::service::{
    events::{FeedEvent, Told},
    ledger::Content,
};

/// An event as a webhook has it. Serialising these types to memory cannot fail.
#[must_use]
pub fn render_event(event: &FeedEvent) -> Vec<u8> {
    serde_json::to_vec(&FeedEventBody::from(event)).unwrap_or_default()
}

/// An event. What it tells is as it was when it happened, however late it is read.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "FeedEvent")]
pub(super) struct FeedEventBody {
    id: MessageId,
    #[schemars(with = "FeedEventType")]
    r#type: String,
    /// When it happened.
    timestamp: Timestamp,
    /// The card that it tells of; null if it tells of none.
    card_id: Option<CardId>,
    /// Its position in the card's own history, from 1 without gaps. Whoever has seen one position can ignore those up to it,
    /// and misses something when the next one is left out.
    sequence: Option<i64>,
    #[schemars(with = "DataSchema")]
    data: DataBody,
}

/// What an event tells. Which members it has depends on the type: events of authorizations have `authorization`, `entry`,
/// `balance` and perhaps `movement`; `movement.created` and `card.overdrawn` have `movement` and `balance`; every other event has
/// the thing that it tells of.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "EventData")]
struct DataSchema {
    /// The authorization after the step.
    #[serde(skip_serializing_if = "Option::is_none")]
    authorization: Option<AuthorizationBody>,
    /// The step.
    #[serde(skip_serializing_if = "Option::is_none")]
    entry: Option<EntryBody>,
    /// The change of the balance.
    #[serde(skip_serializing_if = "Option::is_none")]
    movement: Option<MovementBody>,
    /// The card's money.
    #[serde(skip_serializing_if = "Option::is_none")]
    balance: Option<Balance>,
    /// The card, as far as it changed.
    #[serde(skip_serializing_if = "Option::is_none")]
    card: Option<BTreeMap<String, Value>>,
    /// The status that the card had.
    #[serde(skip_serializing_if = "Option::is_none")]
    previous_status: Option<String>,
    /// Why a card was replaced.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    /// The customer's id. Events hold no names and no emails.
    #[serde(skip_serializing_if = "Option::is_none")]
    customer: Option<BTreeMap<String, Value>>,
    /// The names of the members of the customer or of the card that changed.
    #[serde(skip_serializing_if = "Option::is_none")]
    changed: Option<Vec<String>>,
    /// The limit, without its name and without what was spent of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    limit: Option<BTreeMap<String, Value>>,
    /// The API key.
    #[serde(skip_serializing_if = "Option::is_none")]
    api_key: Option<BTreeMap<String, Value>>,
    /// The webhook endpoint, as far as it changed.
    #[serde(skip_serializing_if = "Option::is_none")]
    webhook_endpoint: Option<BTreeMap<String, Value>>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum DataBody {
    Ledger {
        #[serde(skip_serializing_if = "Option::is_none")]
        authorization: Option<Box<AuthorizationBody>>,
        #[serde(skip_serializing_if = "Option::is_none")]
        entry: Option<Box<EntryBody>>,
        #[serde(skip_serializing_if = "Option::is_none")]
        movement: Option<Box<MovementBody>>,
        balance: Box<Balance>,
    },
    Stated(Option<Box<RawValue>>),
}

impl From<&Content> for DataBody {
    fn from(content: &Content) -> Self {
        let (authorization, entry) = content
            .entry
            .as_deref()
            .map(|(authorization, entry)| (Box::new(authorization.into()), Box::new(EntryBody::of(authorization, entry))))
            .unzip();
        Self::Ledger {
            authorization,
            entry,
            movement: content.movement.as_ref().map(|movement| Box::new(movement.into())),
            balance: Box::new(content.into()),
        }
    }
}

impl From<&FeedEvent> for FeedEventBody {
    fn from(event: &FeedEvent) -> Self {
        Self {
            id: event.id,
            r#type: event.event_type.clone(),
            timestamp: Timestamp(event.created_at),
            card_id: event.card.map(|card| card.card),
            sequence: event.card.map(|card| card.sequence),
            data: match &event.told {
                Told::Ledger(content) => DataBody::from(&**content),
                Told::Stated(json) => DataBody::Stated(stored(json)),
            },
        }
    }
}
