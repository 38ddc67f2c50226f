//! Follows the feed of an account with its cursor, through every fault, and records each event that it gets.

use std::{error::Error, path::Path, sync::Arc, time::Duration};

use record::Event;
use serde_json::Value;
use tokio::{sync::watch, task::JoinHandle, time::sleep};

use crate::{
    api::{Api, NoPage},
    history::Lines,
};

/// How long a request waits for an event, in seconds.
const WAIT: u64 = 5;

/// A reader of one account's feed.
#[derive(Debug)]
pub struct Reader {
    task: JoinHandle<Result<(), String>>,
    end: watch::Sender<bool>,
}

impl Reader {
    /// Reads from the beginning on, into a new file.
    pub fn start(api: &Arc<Api>, file: &Path) -> Result<Self, Box<dyn Error>> {
        let (end, ended) = watch::channel(false);
        let lines = Lines::create(file)?;
        Ok(Self { task: tokio::spawn(follow(Arc::clone(api), lines, ended)), end })
    }

    /// Reads until there is nothing more.
    pub async fn finish(self) -> Result<(), Box<dyn Error>> {
        self.end.send_replace(true);
        Ok(self.task.await??)
    }
}

async fn follow(api: Arc<Api>, lines: Lines, end: watch::Receiver<bool>) -> Result<(), String> {
    let mut cursor: Option<String> = None;
    loop {
        let is_last = *end.borrow();
        let patience = (!is_last && rand::random_bool(0.05)).then(|| Duration::from_millis(rand::random_range(0..=50)));
        match api.feed(cursor.as_deref(), if is_last { 0 } else { WAIT }, patience).await {
            Ok(page) => {
                let events = page["events"].as_array().ok_or("a page of the feed has no events")?;
                for event in events {
                    lines.write(&event_of(event)).map_err(|error| error.to_string())?;
                }
                cursor = Some(page["nextCursor"].as_str().ok_or("a page of the feed has no nextCursor")?.to_owned());
                if is_last && events.is_empty() {
                    return lines.flush().map_err(|error| error.to_string());
                }
            }
            Err(NoPage::Later) => sleep(Duration::from_millis(rand::random_range(10..=200))).await,
            Err(NoPage::Wrong(what)) => return Err(what),
        }
    }
}

/// What an event says of itself. What is missing is empty, and found by the checker.
pub fn event_of(event: &Value) -> Event {
    let text = |value: &Value| value.as_str().map(str::to_owned);
    Event {
        id: text(&event["id"]).unwrap_or_default(),
        kind: text(&event["type"]).unwrap_or_default(),
        card: text(&event["cardId"]),
        sequence: event["sequence"].as_i64(),
    }
}
