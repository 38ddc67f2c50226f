//! The content of the database, with ids as the API writes them.

use std::{collections::BTreeMap, error::Error};

use sqlx::{Connection, Executor, PgConnection, Row};
use uuid::Uuid;

/// A row of `movements`.
#[derive(Clone, Debug)]
pub struct Movement {
    pub id: String,
    pub seq: i64,
    pub kind: String,
    pub amount: i64,
    pub balance_after: i64,
}

/// A row of `cards` with its movements, ordered by `seq`.
#[derive(Clone, Debug, Default)]
pub struct Card {
    pub status: String,
    pub balance: i64,
    pub seq: i64,
    pub movements: Vec<Movement>,
}

/// Every card of the database, by its id.
pub type Ledger = BTreeMap<String, Card>;

/// Reads all cards and movements in one snapshot.
pub async fn read(url: &str) -> Result<Ledger, Box<dyn Error>> {
    let mut connection = PgConnection::connect(url).await?;
    connection.execute("begin isolation level repeatable read read only").await?;
    let mut ledger = Ledger::new();
    for row in connection.fetch_all("select id::text, status, balance, seq from cards").await? {
        let card = Card { status: row.try_get(1)?, balance: row.try_get(2)?, seq: row.try_get(3)?, movements: Vec::new() };
        ledger.insert(type_id("card", row.try_get(0)?)?, card);
    }
    let movements = "select card_id::text, id::text, seq, kind, amount, balance_after from movements order by card_id, seq";
    for row in connection.fetch_all(movements).await? {
        let movement = Movement {
            id: type_id("mov", row.try_get(1)?)?,
            seq: row.try_get(2)?,
            kind: row.try_get(3)?,
            amount: row.try_get(4)?,
            balance_after: row.try_get(5)?,
        };
        // A movement without a card creates a default card, whose `seq` does not match, which is a finding.
        ledger.entry(type_id("card", row.try_get(0)?)?).or_default().movements.push(movement);
    }
    connection.execute("commit").await?;
    connection.close().await?;
    Ok(ledger)
}

/// A `TypeID`: the prefix and the UUID's 128 bits as 26 digits of Crockford's base32.
fn type_id(prefix: &str, uuid: &str) -> Result<String, Box<dyn Error>> {
    const DIGITS: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
    let bits = Uuid::parse_str(uuid)?.as_u128();
    let digits = (0..26).rev().map(|place| char::from(DIGITS[usize::try_from(bits >> (5 * place) & 31).unwrap_or(0)]));
    Ok(format!("{prefix}_{}", digits.collect::<String>()))
}

#[cfg(test)]
mod tests {
    #[test]
    fn ids_are_encoded_as_the_typeid_specification_says() {
        let written = |uuid| super::type_id("prefix", uuid).expect("a UUID");
        assert_eq!(written("01890a5d-ac96-774b-bcce-b302099a8057"), "prefix_01h455vb4pex5vsknk084sn02q");
        assert_eq!(written("ffffffff-ffff-ffff-ffff-ffffffffffff"), "prefix_7zzzzzzzzzzzzzzzzzzzzzzzzz");
    }
}
