//! The cells of the feed.

use super::{CARD, Cell, Ids, Name, Who, cell, plain};
use crate::support::Actor;
use serde_json::{Value, json};

pub(super) const EVENT: Name = (|ids| &mut ids.event, "event_not_found");

/// Turns the feed on, and returns the id of an event.
pub(super) async fn an_event(admin: &Actor) -> String {
    admin.put("/events/settings", json!({"enabled": true})).await.ok();
    admin.given_card().await;
    let events = admin.get("/events").await.ok();
    events["events"][0]["id"].as_str().expect("an id").to_owned()
}

pub(super) fn cells(method: &str, path: &str) -> Vec<Cell> {
    use Who::{Admins, Viewers};
    let one = |who, names, request: fn(&Ids) -> (String, Option<Value>)| vec![cell(who, names, request)];
    match (method, path) {
        ("GET", "/events") => {
            vec![cell(Viewers, &[], |_| plain("/events")), cell(Viewers, &[CARD], |ids| plain(&format!("/events?cardId={}", ids.card)))]
        }
        ("GET", "/events/{eventId}") => one(Viewers, &[EVENT], |ids| plain(&format!("/events/{}", ids.event))),
        ("GET", "/events/settings") => one(Viewers, &[], |_| plain("/events/settings")),
        ("PUT", "/events/settings") => one(Admins, &[], |_| ("/events/settings".into(), Some(json!({"enabled": true})))),
        _ => Vec::new(),
    }
}
