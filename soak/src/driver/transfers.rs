//! Clients that move money between cards of their own, and the proof: the sum of the cards stays what it was, and each transfer
//! that was answered is there once, with both of its halves.

use std::{
    collections::HashMap,
    error::Error,
    sync::Arc,
    time::{Duration, Instant},
};

use reqwest::Method;
use serde_json::{Value, json};
use tokio::{
    sync::watch,
    task::JoinSet,
    time::{sleep, timeout},
};

use crate::api::Api;

const CLIENTS: usize = 4;
const CARDS: usize = 12;

/// What each card has at first.
const FUNDS: i64 = 1_000;

/// How long a client pauses after each transfer, so that the histories that are read in the end stay short.
const PAUSE: Duration = Duration::from_millis(15);

/// How long a transfer is tried again.
const RETRY_FOR: Duration = Duration::from_secs(60);

/// The maximum time for the clients to finish.
const FINISH_WITHIN: Duration = Duration::from_secs(90);

/// A transfer that was answered: its two cards, and its cents.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Made {
    from: String,
    to: String,
    cents: i64,
}

/// What a client knows in the end: the transfers that were made, by their ids, and those that nobody answered for good.
#[derive(Debug, Default)]
struct Known {
    made: HashMap<String, Made>,
    undecided: usize,
}

/// The running clients.
#[derive(Debug)]
pub struct Transfers {
    api: Arc<Api>,
    cards: Vec<String>,
    clients: JoinSet<Known>,
    end: watch::Sender<bool>,
}

impl Transfers {
    /// Creates the cards, and starts the clients.
    pub async fn start(api: &Arc<Api>) -> Result<Self, Box<dyn Error>> {
        let mut cards = Vec::new();
        for _ in 0..CARDS {
            cards.push(api.create_card().await?);
        }
        let (first, others) = cards.split_first().ok_or("no cards")?;
        let funds = json!({"cardId": first, "amount": FUNDS * i64::try_from(CARDS)?});
        api.call(Method::POST, "/balances/add", &funds).await?;
        for card in others {
            api.call(Method::POST, "/transfers", &json!({"fromCardId": first, "toCardId": card, "amount": FUNDS})).await?;
        }
        let (end, ended) = watch::channel(false);
        let mut clients = JoinSet::new();
        for client in 0..CLIENTS {
            clients.spawn(run(client, Arc::clone(api), cards.clone(), ended.clone()));
        }
        Ok(Self { api: Arc::clone(api), cards, clients, end })
    }

    /// Stops the clients, once nothing is killed any more, and checks the cards. Returns the number of transfers, and what is
    /// wrong.
    pub async fn finish(mut self) -> Result<(u64, Vec<String>), Box<dyn Error>> {
        self.end.send_replace(true);
        let mut known = Known::default();
        let all = async {
            while let Some(client) = self.clients.join_next().await {
                let client = client?;
                known.made.extend(client.made);
                known.undecided += client.undecided;
            }
            Ok::<_, Box<dyn Error>>(())
        };
        timeout(FINISH_WITHIN, all).await.map_err(|_| "the clients that transfer did not end in time")??;
        let (mut histories, mut balances) = (HashMap::new(), Vec::new());
        for card in &self.cards {
            balances.push(cents(&self.api.call(Method::GET, &format!("/cards/{card}"), &Value::Null).await?["balance"])?);
            let history = self.api.call(Method::GET, &format!("/cards/{card}/movements"), &Value::Null).await?;
            histories.insert(card.clone(), history["movements"].as_array().cloned().ok_or("a card without movements")?);
        }
        let mut wrong = check(&known.made, &histories, self.cards.len() - 1)?;
        let sum = FUNDS * i64::try_from(CARDS)? * 100;
        if balances.iter().sum::<i64>() != sum {
            wrong.push(format!("the cards of transfers had {sum} cents, and have {balances:?}"));
        }
        if known.undecided > 0 {
            wrong.push(format!("{} transfers never got a definitive answer", known.undecided));
        }
        Ok((u64::try_from(known.made.len())?, wrong))
    }
}

/// What is wrong with the movements of all cards. This many transfers were made before the clients began.
fn check(made: &HashMap<String, Made>, histories: &HashMap<String, Vec<Value>>, before: usize) -> Result<Vec<String>, Box<dyn Error>> {
    let mut found: HashMap<&str, (Vec<Made>, usize)> = HashMap::new();
    for (card, history) in histories {
        for movement in history {
            let Some(id) = movement["transferId"].as_str() else { continue };
            let (transfer, halves) = found.entry(id).or_default();
            *halves += 1;
            let cents = cents(&movement["amount"])?;
            if transfer.is_empty() {
                transfer.push(Made { from: String::new(), to: String::new(), cents: cents.abs() });
            }
            let transfer = &mut transfer[0];
            let is_known = transfer.cents == cents.abs();
            match movement["type"].as_str() {
                Some("transfer_out") if cents < 0 && is_known => transfer.from.clone_from(card),
                Some("transfer_in") if cents > 0 && is_known => transfer.to.clone_from(card),
                _ => *halves = usize::MAX / 2,
            }
        }
    }
    let mut wrong = Vec::new();
    for (id, (transfer, halves)) in &found {
        if *halves != 2 || transfer.iter().any(|transfer| transfer.from.is_empty() || transfer.to.is_empty()) {
            wrong.push(format!("{id} is not two halves that fit: {transfer:?}"));
        }
    }
    for (id, transfer) in made {
        if found.get(id.as_str()).and_then(|(found, _)| found.first()) != Some(transfer) {
            wrong.push(format!("{id} was answered as {transfer:?}, and is {:?}", found.get(id.as_str())));
        }
    }
    if found.len() != made.len() + before {
        wrong.push(format!("there are {} transfers, and {} were answered", found.len(), made.len() + before));
    }
    wrong.truncate(20);
    Ok(wrong)
}

/// Cents from a number of the API, without a float.
fn cents(amount: &Value) -> Result<i64, Box<dyn Error>> {
    let text = amount.to_string();
    let (whole, part) = text.split_once('.').unwrap_or((&text, "00"));
    Ok(format!("{whole}{part:0<2}").parse()?)
}

/// Runs a client until the end: one transfer after the other, each tried until there is an answer.
async fn run(client: usize, api: Arc<Api>, cards: Vec<String>, end: watch::Receiver<bool>) -> Known {
    let (mut known, mut number) = (Known::default(), 0_u64);
    while !*end.borrow() {
        number += 1;
        let from = rand::random_range(0..cards.len());
        let to = (from + rand::random_range(1..cards.len())) % cards.len();
        let cents: i64 = rand::random_range(1..=5_000);
        let made = Made { from: cards[from].clone(), to: cards[to].clone(), cents };
        let amount: Value = serde_json::from_str(&format!("{}.{:02}", cents / 100, cents % 100)).unwrap_or_default();
        let body = json!({"fromCardId": made.from, "toCardId": made.to, "amount": amount});
        let key = format!("transfer-{client}-{number}");
        let began = Instant::now();
        let answer = loop {
            if began.elapsed() > RETRY_FOR {
                break None;
            }
            let answer = api.transfer(&key, &body).await;
            if answer.is_some() {
                break answer;
            }
            sleep(Duration::from_millis(rand::random_range(10..200))).await;
        };
        match answer {
            Some(Some(id)) => drop(known.made.insert(id, made)),
            Some(None) => {}
            None => known.undecided += 1,
        }
        sleep(PAUSE).await;
    }
    known
}

#[cfg(test)]
mod tests {
    use super::*;

    fn movement(id: &str, kind: &str, amount: &str) -> Value {
        json!({"transferId": id, "type": kind, "amount": serde_json::from_str::<Value>(amount).expect("a number")})
    }

    fn histories(of_a: Vec<Value>, of_b: Vec<Value>) -> HashMap<String, Vec<Value>> {
        HashMap::from([("a".to_owned(), of_a), ("b".to_owned(), of_b)])
    }

    fn made(cents: i64) -> HashMap<String, Made> {
        HashMap::from([("t".to_owned(), Made { from: "a".to_owned(), to: "b".to_owned(), cents })])
    }

    #[test]
    fn each_transfer_that_was_answered_has_two_halves_that_fit() {
        let whole = histories(vec![movement("t", "transfer_out", "-2.50")], vec![movement("t", "transfer_in", "2.50")]);
        assert_eq!(check(&made(250), &whole, 0).expect("numbers"), Vec::<String>::new());
        for (made, histories) in [
            (made(251), whole.clone()),
            (HashMap::new(), whole.clone()),
            (made(250), histories(vec![movement("t", "transfer_out", "-2.50")], vec![])),
            (made(250), histories(vec![movement("t", "transfer_out", "-2.50")], vec![movement("t", "transfer_in", "2.49")])),
            (made(250), histories(vec![], vec![])),
            (made(250), histories(vec![movement("t", "transfer_out", "-2.50")], vec![movement("t", "transfer_in", "2.50"); 2])),
        ] {
            assert!(!check(&made, &histories, 0).expect("numbers").is_empty(), "{histories:?}");
        }
    }

    #[test]
    fn cents_are_read_without_a_float() {
        for (amount, expected) in [("100", 10_000), ("-2.50", -250), ("0.07", 7), ("-0.07", -7)] {
            assert_eq!(cents(&serde_json::from_str(amount).expect("a number")).expect("cents"), expected);
        }
    }
}
