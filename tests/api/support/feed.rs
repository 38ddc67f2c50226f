//! The feed of an account, as a reader sees it.

use serde_json::{Value, json};

use super::Actor;

impl Actor {
    /// Turns the feed on.
    pub async fn with_feed(self) -> Self {
        self.put("/events/settings", json!({"enabled": true})).await.ok();
        self
    }

    /// One page of the feed: its events, and the cursor of the next one.
    pub async fn events_page(&self, query: &str, cursor: Option<&str>) -> (Vec<Value>, String) {
        let after = cursor.map(|cursor| format!("&after={cursor}")).unwrap_or_default();
        let page = self.get(&format!("/events?{query}{after}")).await.ok();
        (page["events"].as_array().expect("a list").clone(), page["nextCursor"].as_str().expect("a cursor").to_owned())
    }

    /// Every event of the feed that passes a filter, read in pages of this size.
    pub async fn events_in_pages(&self, query: &str, size: usize) -> Vec<Value> {
        let (mut events, mut cursor) = (Vec::new(), None);
        loop {
            let (page, next) = self.events_page(&format!("{query}&limit={size}"), cursor.as_deref()).await;
            if page.is_empty() && cursor.as_ref() == Some(&next) {
                return events;
            }
            events.extend(page);
            cursor = Some(next);
        }
    }

    /// Every event of the feed that passes a filter.
    pub async fn events(&self, query: &str) -> Vec<Value> {
        self.events_in_pages(query, 100).await
    }
}

/// The types of events.
pub fn types(events: &[Value]) -> Vec<&str> {
    events.iter().map(|event| event["type"].as_str().expect("a type")).collect()
}

/// The sequence numbers of the events of a card, in their order.
pub fn sequences(events: &[Value], card: &str) -> Vec<i64> {
    events.iter().filter(|event| event["cardId"] == card).map(|event| event["sequence"].as_i64().expect("a number")).collect()
}
