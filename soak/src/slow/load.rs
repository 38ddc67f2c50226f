//! The others: a few clients that ask for a card, top it up, rest a moment and begin again.

use std::{
    error::Error,
    sync::Arc,
    time::{Duration, Instant},
};

use reqwest::{Client, RequestBuilder};
use serde_json::{Value, json};
use tokio::{task::JoinSet, time::sleep};

/// Few enough that the machine is not busy with them: who waits then waits for the slow ones.
const CLIENTS: usize = 8;

/// What a client does between two requests.
const REST: Duration = Duration::from_millis(10);

/// How long each request took.
#[derive(Debug, Default)]
pub struct Times {
    /// `GET /cards/{cardId}`
    pub reads: Vec<Duration>,
    /// `POST /balances/add`
    pub top_ups: Vec<Duration>,
}

impl Times {
    /// Adds those of another turn.
    pub fn extend(&mut self, other: Self) {
        self.reads.extend(other.reads);
        self.top_ups.extend(other.top_ups);
    }
}

/// Clients of one account, with a card each.
#[derive(Debug)]
pub struct Load {
    http: Client,
    base: String,
    token: String,
    cards: Vec<String>,
}

impl Load {
    /// Logs in and makes the cards.
    pub async fn prepare(base: &str) -> Result<Self, Box<dyn Error>> {
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
        Ok(Self { http, base: base.to_owned(), token, cards })
    }

    /// Lets the clients work for a while. Whatever is not a success is an error.
    pub async fn run(self: &Arc<Self>, turn: Duration) -> Result<Times, Box<dyn Error>> {
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
            sleep(REST).await;
            let top_up = self.http.post(format!("{}/balances/add", self.base)).bearer_auth(&self.token);
            times.top_ups.push(time(top_up.json(&json!({"cardId": card, "amount": 1}))).await?);
            sleep(REST).await;
        }
        Ok(times)
    }
}

async fn time(request: RequestBuilder) -> Result<Duration, reqwest::Error> {
    let began = Instant::now();
    request.send().await?.error_for_status()?.bytes().await?;
    Ok(began.elapsed())
}
