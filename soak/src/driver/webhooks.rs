//! The endpoints of webhooks of an account, and their receivers.

use std::{
    error::Error,
    net::SocketAddr,
    path::PathBuf,
    sync::{Arc, atomic::AtomicBool},
    time::{Duration, Instant},
};

use reqwest::Method;
use serde_json::{Value, json};
use standardwebhooks::Webhook;
use tokio::time::sleep;

use crate::{
    api::Api,
    history::Lines,
    receiver::{Receiver, Shared},
    replica::free_port,
};

/// What the endpoints are promised.
const ORDERINGS: [&str; 2] = ["card", "none"];

/// How many messages each gets at a time.
const CONCURRENCY: u64 = 8;

/// The time for the endpoints to get what they did not accept before.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(60);

/// How long the service may take to see that an endpoint is disabled. Then it forgets how often the endpoint has failed.
const DISABLED_FOR: Duration = Duration::from_secs(3);

/// The endpoints of an account.
#[derive(Debug)]
pub struct Webhooks {
    api: Arc<Api>,
    endpoints: Vec<String>,
    receivers: Vec<Receiver>,
    lines: Arc<Lines>,
    /// The file of the messages.
    pub file: PathBuf,
}

impl Webhooks {
    /// Creates the endpoints. They get everything from the beginning of the feed.
    pub async fn start(api: &Arc<Api>, file: PathBuf) -> Result<Self, Box<dyn Error>> {
        let lines = Arc::new(Lines::create(&file)?);
        let (mut endpoints, mut receivers) = (Vec::new(), Vec::new());
        for (endpoint, ordering) in ORDERINGS.into_iter().enumerate() {
            let address = SocketAddr::from(([127, 0, 0, 1], free_port()?));
            let body = json!({
                "url": format!("http://{address}/"),
                "eventTypes": ["*"],
                "ordering": ordering,
                "maxConcurrency": CONCURRENCY,
                "startFrom": "beginning",
            });
            let created = api.call(Method::POST, "/webhook-endpoints", &body).await?;
            let path = format!("/webhook-endpoints/{}", created["webhookEndpointId"].as_str().ok_or("the new endpoint has no id")?);
            let answer = api.call(Method::GET, &format!("{path}/secret"), &Value::Null).await?;
            let secret = Webhook::new(answer["secret"].as_str().ok_or("the endpoint has no secret")?)?;
            let shared = Shared {
                endpoint,
                ordered: ordering == "card",
                address,
                secret,
                lines: Arc::clone(&lines),
                history: Arc::clone(&api.history),
                fails: AtomicBool::new(true),
            };
            receivers.push(Receiver::start(shared).await?);
            endpoints.push(path);
        }
        Ok(Self { api: Arc::clone(api), endpoints, receivers, lines, file })
    }

    /// The most messages that may come again after so many faults: those that were accepted, but not yet written down.
    pub fn max_doubles(faults: u64) -> u64 {
        faults * CONCURRENCY * ORDERINGS.len() as u64
    }

    /// Ends all failing, and waits until the endpoints have everything that happened before a time, which it returns.
    /// Also returns which endpoints have not.
    pub async fn drain(self) -> Result<(u64, Vec<String>), Box<dyn Error>> {
        self.receivers.iter().for_each(Receiver::stop_failing);
        self.set_all("disabled").await?;
        sleep(DISABLED_FOR).await;
        self.set_all("enabled").await?;
        let began = Instant::now();
        let (mut settled, mut behind);
        loop {
            (settled, behind) = (self.api.history.now(), Vec::new());
            for endpoint in &self.endpoints {
                let state = self.api.call(Method::GET, endpoint, &Value::Null).await?;
                if state["pending"] != json!(0) {
                    behind.push(format!("{endpoint} never got all its messages: {state}"));
                }
            }
            if behind.is_empty() || began.elapsed() > DRAIN_TIMEOUT {
                break;
            }
            sleep(Duration::from_millis(250)).await;
        }
        for receiver in self.receivers {
            receiver.stop().await;
        }
        self.lines.flush()?;
        Ok((settled, behind))
    }

    /// What waits for its next attempt is due as soon as an endpoint is enabled.
    async fn set_all(&self, status: &str) -> Result<(), Box<dyn Error>> {
        for endpoint in &self.endpoints {
            self.api.call(Method::PATCH, endpoint, &json!({"status": status})).await?;
        }
        Ok(())
    }
}
