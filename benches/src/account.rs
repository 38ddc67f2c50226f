//! A logged-in account with cards, and the bytes of its requests.

use std::net::SocketAddr;

use bench::{Failure, http::Connection};
use serde_json::{Value, json};

use crate::load;

/// The number of cards that top-ups are spread over.
pub const CARDS: usize = 5_000;

/// The number of cards of the customer with a limit.
const SHARED: usize = 20;

/// The number of movements of the card whose pages are read.
const MOVEMENTS: usize = 1_000;

/// The number of clients during preparation.
const PREPARING_CLIENTS: usize = 64;

/// The number of digits of an Idempotency-Key.
pub const KEY_DIGITS: usize = 16;

/// The login that owns the cards. Logins are measured with another one, since many sessions end the oldest of a user.
pub const OWNER: (&str, &str) = ("test@example.com", "test123");
const OTHER: (&str, &str) = ("admin@company.com", "secure_password");

/// What a request with a key asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keyed {
    /// A top-up.
    TopUp,
    /// A purchase.
    Purchase,
    /// An authorisation.
    Authorization,
    /// An authorisation of the one card.
    HotAuthorization,
    /// An authorisation of a card with a limit.
    LimitedAuthorization,
    /// An authorisation of one of the cards of a customer with a limit.
    SharedAuthorization,
    /// A transfer to the next card.
    Transfer,
}

/// A logged-in account with cards.
#[derive(Clone, Debug)]
pub struct Account {
    address: SocketAddr,
    token: String,
    cards: Vec<String>,
    /// As many cards, each with a limit.
    limited: Vec<String>,
    /// A few cards of a customer with a limit.
    shared: Vec<String>,
    /// A card with many movements, and the path of their last page.
    card_with_history: Option<(String, String)>,
}

impl Account {
    /// Logs in with both logins, so that the address is known for both.
    pub async fn log_in(address: SocketAddr) -> Result<Self, Failure> {
        let mut connection = Connection::open(address).await?;
        connection.send(&login(OTHER)).await?;
        let token = text(connection.send(&login(OWNER)).await?, "token")?;
        Ok(Self { address, token, cards: Vec::new(), limited: Vec::new(), shared: Vec::new(), card_with_history: None })
    }

    /// Logs in to the other account, and turns its feed on.
    pub async fn with_feed(address: SocketAddr) -> Result<Self, Failure> {
        let mut connection = Connection::open(address).await?;
        let token = text(connection.send(&login(OTHER)).await?, "token")?;
        let account = Self { address, token, cards: Vec::new(), limited: Vec::new(), shared: Vec::new(), card_with_history: None };
        let enable = write("PUT", "/events/settings", &account.authorization_header(), &json!({"enabled": true}));
        connection.send(&enable).await?;
        Ok(account)
    }

    fn authorization_header(&self) -> String {
        format!("Authorization: Bearer {}\r\n", self.token)
    }

    /// The same account at another server on the same database or a copy of it.
    pub fn at(&self, address: SocketAddr) -> Self {
        Self { address, ..self.clone() }
    }

    /// Gets a new token before the old one expires.
    pub async fn log_in_again(&mut self) -> Result<(), Failure> {
        self.token = text(Connection::open(self.address).await?.send(&login(OWNER)).await?, "token")?;
        Ok(())
    }

    /// Creates the cards.
    pub async fn create_cards(&mut self) -> Result<(), Failure> {
        let request = self.post("/cards", &json!({"currency": "USD"}), None);
        let created = load::each_once(self.address, PREPARING_CLIENTS, vec![request; CARDS]).await?;
        self.cards = created.iter().map(|body| text(body, "cardId")).collect::<Result<_, _>>()?;
        Ok(())
    }

    /// Assigns the cards to a customer, activates and funds them.
    pub async fn prepare_purchases(&self) -> Result<(), Failure> {
        self.prepare(&self.cards, "ana@example.com").await.map(drop)
    }

    /// Creates cards with limits of their own, and cards of a customer with a limit. The limits leave room for every payment.
    pub async fn create_limited_cards(&mut self) -> Result<(), Failure> {
        let request = self.post("/cards", &json!({"currency": "USD"}), None);
        let created = load::each_once(self.address, PREPARING_CLIENTS, vec![request; CARDS + SHARED]).await?;
        self.limited = created.iter().map(|body| text(body, "cardId")).collect::<Result<_, _>>()?;
        self.shared = self.limited.split_off(CARDS);
        self.prepare(&self.limited, "luz@example.com").await?;
        let customer = self.prepare(&self.shared, "sol@example.com").await?;
        let body = json!({"interval": "month", "amount": 1_000_000_000});
        let limit = |card: &String| self.post(&format!("/cards/{card}/limits"), &body, None);
        load::each_once(self.address, PREPARING_CLIENTS, self.limited.iter().map(limit).collect()).await?;
        let body = json!({"currency": "USD", "interval": "month", "amount": 1_000_000_000});
        Connection::open(self.address).await?.send(&self.post(&format!("/customers/{customer}/limits"), &body, None)).await?;
        Ok(())
    }

    /// Assigns cards to a new customer, activates and funds them. Returns the customer.
    async fn prepare(&self, cards: &[String], email: &str) -> Result<String, Failure> {
        let customer = json!({"name": "Ana Diaz", "email": email});
        let customer = text(Connection::open(self.address).await?.send(&self.post("/customers", &customer, None)).await?, "customerId")?;
        let assign = |card: &String| self.post("/cards/assign", &json!({"cardId": card, "customerId": customer}), None);
        let activate = |card: &String| {
            let body = json!({"cardId": card, "status": "active"});
            write("PATCH", "/cards/status", &self.authorization_header(), &body)
        };
        let fund = |card: &String| self.post("/balances/add", &json!({"cardId": card, "amount": 1_000_000}), None);
        load::each_once(self.address, PREPARING_CLIENTS, cards.iter().map(assign).collect()).await?;
        load::each_once(self.address, PREPARING_CLIENTS, cards.iter().map(activate).collect()).await?;
        load::each_once(self.address, PREPARING_CLIENTS, cards.iter().map(fund).collect()).await?;
        Ok(customer)
    }

    /// Creates one more card.
    pub async fn create_card(&self) -> Result<String, Failure> {
        text(Connection::open(self.address).await?.send(&self.post("/cards", &json!({"currency": "USD"}), None)).await?, "cardId")
    }

    /// Creates a card with many movements, and finds their last page.
    pub async fn create_movements(&mut self) -> Result<(), Failure> {
        let card = self.create_card().await?;
        load::each_once(self.address, PREPARING_CLIENTS, vec![self.top_up(&card, None); MOVEMENTS]).await?;
        let last = self.last_page_of(&pages(&card), MOVEMENTS).await?;
        self.card_with_history = Some((card, last));
        Ok(())
    }

    /// Follows the pages from the first to the last, and returns the path of the last.
    pub async fn last_page_of(&self, first: &str, rows: usize) -> Result<String, Failure> {
        let mut connection = Connection::open(self.address).await?;
        let (mut path, mut read) = (first.to_owned(), 0);
        loop {
            let page: Value = serde_json::from_slice(connection.send(&self.get(&path)).await?)?;
            let list = page.as_object().and_then(|members| members.values().find_map(Value::as_array));
            read += list.map_or(0, Vec::len);
            let Some(after) = page["nextCursor"].as_str() else { break };
            path = format!("{first}&after={after}");
        }
        if read == rows { Ok(path) } else { Err(format!("the pages contain {read} of {rows} rows").into()) }
    }

    /// A top-up of each card.
    pub fn top_ups(&self) -> Vec<Vec<u8>> {
        self.cards.iter().map(|card| self.top_up(card, None)).collect()
    }

    /// Requests with a placeholder for a key, and the offset of that: one for each card, or for one card alone.
    pub fn keyed(&self, what: Keyed) -> (Vec<Vec<u8>>, usize) {
        let key = "0".repeat(KEY_DIGITS);
        let cards = match what {
            Keyed::HotAuthorization => self.cards.get(..1).unwrap_or_default(),
            Keyed::LimitedAuthorization => &self.limited,
            Keyed::SharedAuthorization => &self.shared,
            Keyed::TopUp | Keyed::Purchase | Keyed::Authorization | Keyed::Transfer => &self.cards,
        };
        let next = cards.iter().cycle().skip(1);
        let each = cards.iter().zip(next).map(|(card, next)| match what {
            Keyed::Transfer => self.transfer(card, next, &key),
            Keyed::TopUp => self.top_up(card, Some(&key)),
            Keyed::Purchase => self.purchase(card, &key),
            Keyed::Authorization | Keyed::HotAuthorization | Keyed::LimitedAuthorization | Keyed::SharedAuthorization => {
                self.authorization(card, &key)
            }
        });
        let each: Vec<Vec<u8>> = each.collect();
        let at = each.first().and_then(|request| request.windows(KEY_DIGITS).position(|part| part == key.as_bytes()));
        (each, at.unwrap_or_default())
    }

    /// A top-up of the first card.
    pub fn hot_top_up(&self) -> Vec<Vec<u8>> {
        self.cards.iter().take(1).map(|card| self.top_up(card, None)).collect()
    }

    /// Top-ups of a few other cards.
    pub fn other_top_ups(&self) -> Vec<Vec<u8>> {
        self.cards.iter().rev().take(4).map(|card| self.top_up(card, None)).collect()
    }

    /// A read of each card.
    pub fn reads(&self) -> Vec<Vec<u8>> {
        self.cards.iter().map(|card| self.get(&format!("/cards/{card}"))).collect()
    }

    /// The first page of the history.
    pub fn first_page(&self) -> Vec<Vec<u8>> {
        self.card_with_history.iter().map(|(card, _)| self.get(&pages(card))).collect()
    }

    /// The last page of the history.
    pub fn last_page(&self) -> Vec<Vec<u8>> {
        self.card_with_history.iter().map(|(_, last)| self.get(last)).collect()
    }

    /// A login of the other user.
    pub fn logins() -> Vec<Vec<u8>> {
        vec![login(OTHER)]
    }

    fn top_up(&self, card: &str, key: Option<&str>) -> Vec<u8> {
        self.post("/balances/add", &json!({"cardId": card, "amount": 1}), key)
    }

    /// The capture of an authorisation.
    pub fn capture(&self, id: &str, key: &str) -> Vec<u8> {
        self.post(&format!("/network/authorizations/{id}/captures"), &json!({}), Some(key))
    }

    fn authorization(&self, card: &str, key: &str) -> Vec<u8> {
        let merchant = json!({"id": "5665270011000168", "name": "AMAZON.COM", "mcc": "5734", "city": "Seattle", "country": "US"});
        let body = json!({"cardId": card, "amount": 0.01, "currency": "USD", "entryMode": "ecommerce", "merchant": merchant});
        self.post("/network/authorizations", &body, Some(key))
    }

    fn transfer(&self, from: &str, to: &str, key: &str) -> Vec<u8> {
        self.post("/transfers", &json!({"fromCardId": from, "toCardId": to, "amount": 1}), Some(key))
    }

    fn purchase(&self, card: &str, key: &str) -> Vec<u8> {
        self.post("/sandbox/purchases", &json!({"cardId": card, "amount": 0.01, "description": "Coffee"}), Some(key))
    }

    /// A read of a path.
    pub fn get(&self, path: &str) -> Vec<u8> {
        format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {}\r\n\r\n", self.token).into_bytes()
    }

    /// A read of a path in this media type.
    pub fn get_as(&self, path: &str, media_type: &str) -> Vec<u8> {
        let headers = format!("Accept: {media_type}\r\nAuthorization: Bearer {}\r\n", self.token);
        format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n{headers}\r\n").into_bytes()
    }

    /// A request with a body.
    pub fn request(&self, method: &str, path: &str, body: &Value) -> Vec<u8> {
        write(method, path, &self.authorization_header(), body)
    }

    fn post(&self, path: &str, body: &Value, key: Option<&str>) -> Vec<u8> {
        let key = key.map(|key| format!("Idempotency-Key: {key}\r\n")).unwrap_or_default();
        write("POST", path, &format!("{key}{}", self.authorization_header()), body)
    }
}

/// A request that is cheap to answer.
pub fn liveness_check() -> &'static [u8] {
    b"GET /health/live HTTP/1.1\r\nHost: localhost\r\n\r\n"
}

fn pages(card: &str) -> String {
    format!("/cards/{card}/movements?limit=50")
}

fn login((email, password): (&str, &str)) -> Vec<u8> {
    write("POST", "/auth/login", "", &json!({"email": email, "password": password}))
}

fn write(method: &str, path: &str, headers: &str, body: &Value) -> Vec<u8> {
    let body = body.to_string();
    let length = body.len();
    format!(
        "{method} {path} HTTP/1.1\r\nHost: localhost\r\n{headers}Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
    )
    .into_bytes()
}

/// A text member of an answer.
fn text(body: &[u8], name: &str) -> Result<String, Failure> {
    let body: Value = serde_json::from_slice(body)?;
    body[name].as_str().map(str::to_owned).ok_or_else(|| format!("the answer has no {name}").into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_offset_points_at_the_key() {
        let address = SocketAddr::from(([127, 0, 0, 1], 1));
        let cards = vec!["card_a".to_owned(), "card_b".to_owned()];
        let (limited, shared) = (cards.clone(), cards.clone());
        let account = Account { address, token: "t".to_owned(), cards, limited, shared, card_with_history: None };
        for what in [Keyed::TopUp, Keyed::Purchase, Keyed::Authorization, Keyed::HotAuthorization, Keyed::Transfer] {
            let (each, at) = account.keyed(what);
            for request in each {
                assert_eq!(&request[at - 17..at], b"Idempotency-Key: ");
                assert_eq!(&request[at + KEY_DIGITS..at + KEY_DIGITS + 2], b"\r\n");
            }
        }
    }
}
