//! The other clients: each reads a card, tops it up, pauses, and repeats.

use std::{
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use bench::Failure;
use reqwest::{Client, RequestBuilder};
use serde_json::{Value, json};
use tokio::{task::JoinSet, time::sleep};

/// Few enough not to load the machine, so that any delay comes from the slow connections.
const CLIENTS: usize = 8;

/// The pause between two requests.
const PAUSE: Duration = Duration::from_millis(10);

/// The times of all requests.
#[derive(Debug, Default)]
pub struct Times {
    /// `GET /cards/{cardId}`
    pub reads: Vec<Duration>,
    /// `POST /balances/add`
    pub top_ups: Vec<Duration>,
}

impl Times {
    /// Adds the times of another turn.
    pub fn extend(&mut self, other: Self) {
        self.reads.extend(other.reads);
        self.top_ups.extend(other.top_ups);
    }
}

/// Clients of one account, each with its own card.
#[derive(Debug)]
pub struct Load {
    http: Client,
    base: String,
    token: String,
    cards: Vec<String>,
}

impl Load {
    /// Logs in and creates the cards.
    pub async fn prepare(address: SocketAddr) -> Result<Self, Failure> {
        let base = format!("http://{address}");
        let http = Client::builder().no_proxy().timeout(Duration::from_secs(30)).build()?;
        let login = json!({"email": "test@example.com", "password": "test123"});
        let login: Value = http.post(format!("{base}/auth/login")).json(&login).send().await?.error_for_status()?.json().await?;
        let token = login["token"].as_str().ok_or("no token")?.to_owned();
        let mut cards = Vec::new();
        for _ in 0..CLIENTS {
            let card = http.post(format!("{base}/cards")).bearer_auth(&token).json(&json!({"currency": "USD"}));
            let card: Value = card.send().await?.error_for_status()?.json().await?;
            cards.push(card["cardId"].as_str().ok_or("no card")?.to_owned());
        }
        Ok(Self { http, base, token, cards })
    }

    /// Runs the clients for one turn. Any answer but a success is an error.
    pub async fn run(self: &Arc<Self>, turn: Duration) -> Result<Times, Failure> {
        let mut clients = JoinSet::new();
        for client in 0..CLIENTS {
            let load = Arc::clone(self);
            clients.spawn(async move { load.work(&load.cards[client], turn).await });
        }
        let mut all = Times::default();
        while let Some(times) = clients.join_next().await {
            all.extend(times??);
        }
        Ok(all)
    }

    async fn work(&self, card: &str, turn: Duration) -> Result<Times, reqwest::Error> {
        let began = Instant::now();
        let mut times = Times::default();
        while began.elapsed() < turn {
            times.reads.push(time(self.http.get(format!("{}/cards/{card}", self.base)).bearer_auth(&self.token)).await?);
            sleep(PAUSE).await;
            let top_up = self.http.post(format!("{}/balances/add", self.base)).bearer_auth(&self.token);
            times.top_ups.push(time(top_up.json(&json!({"cardId": card, "amount": 1}))).await?);
            sleep(PAUSE).await;
        }
        Ok(times)
    }
}

async fn time(request: RequestBuilder) -> Result<Duration, reqwest::Error> {
    let began = Instant::now();
    request.send().await?.error_for_status()?.bytes().await?;
    Ok(began.elapsed())
}
