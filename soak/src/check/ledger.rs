//! The content of the database, with ids as the API writes them, one card at a time.

use std::{
    collections::{BTreeMap, HashMap},
    error::Error,
};

use record::Sums;
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection, Row, postgres::PgRow};
use uuid::Uuid;

/// A row of `movements`.
#[derive(Clone, Debug, Default)]
pub struct Movement {
    pub id: String,
    pub seq: i64,
    pub kind: String,
    pub amount: i64,
    pub balance_after: i64,
    pub authorization: Option<String>,
    pub related_seq: Option<i64>,
}

/// A row of `authorization_entries`.
#[derive(Clone, Debug, Default)]
pub struct Entry {
    pub id: String,
    pub sequence: i64,
    pub authorization: String,
    pub ordinal: i64,
    pub previous: Option<i64>,
    pub kind: String,
    pub amount: i64,
    pub held_before: i64,
    pub held_after: i64,
    pub card_balance: i64,
    pub card_held: i64,
    pub movement_seq: Option<i64>,
    pub decline: Option<String>,
    /// Nanoseconds since 1970.
    pub at: u64,
}

/// A row of `authorizations`.
#[derive(Clone, Debug, Default)]
pub struct Authorization {
    pub status: String,
    pub sums: Sums,
    pub requested: i64,
    pub stand_in: bool,
    pub network_transaction: Option<String>,
    /// Why it was declined. An entry says it only of an increment.
    pub decline: Option<String>,
    pub sequence: i64,
    /// Nanoseconds since 1970.
    pub expires_at: Option<u64>,
}

/// A row of `events` that tells of a card.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Told {
    pub sequence: i64,
    pub kind: String,
    pub movement_seq: Option<i64>,
}

/// A row of `cards` with all that happened to it, in order.
#[derive(Clone, Debug, Default)]
pub struct Card {
    pub status: String,
    pub balance: i64,
    pub seq: i64,
    pub held: i64,
    pub event_seq: i64,
    pub movements: Vec<Movement>,
    pub entries: Vec<Entry>,
    pub authorizations: BTreeMap<String, Authorization>,
    pub told: Vec<Told>,
}

/// One snapshot of the database.
#[derive(Debug)]
pub struct Ledger(pub PgConnection);

impl Ledger {
    /// Takes the snapshot.
    pub async fn open(url: &str) -> Result<Self, Box<dyn Error>> {
        let mut connection = PgConnection::connect(url).await?;
        connection.execute("begin isolation level repeatable read read only").await?;
        Ok(Self(connection))
    }

    /// The accounts and the ids of all cards, also of those that only movements or events name. Those that money was
    /// transferred between have no history: the driver checks them.
    pub async fn cards(&mut self) -> Result<BTreeMap<String, (Uuid, Uuid)>, Box<dyn Error>> {
        let mut cards = BTreeMap::new();
        let sql = "select account_id::text, id::text
            from (
                select account_id, id from cards
                union select account_id, card_id from movements
                union select account_id, card_id from events where card_id is not null
            ) every
            where not exists (
                select from movements
                where movements.account_id = every.account_id and movements.card_id = every.id and movements.transfer_id is not null
            )";
        for row in self.0.fetch_all(sql).await? {
            let (account, id) = (uuid(&row, 0)?, uuid(&row, 1)?);
            cards.insert(type_id("card", id), (account, id));
        }
        Ok(cards)
    }

    /// A card.
    pub async fn card(&mut self, (account, id): (Uuid, Uuid)) -> Result<Card, Box<dyn Error>> {
        let mut card = Card::default();
        let of_card =
            |sql: &str| AssertSqlSafe(sql.replace("$card", &format!("'{id}'::uuid")).replace("$account", &format!("'{account}'::uuid")));
        let sql = "select status, balance, seq, held, event_seq from cards where account_id = $account and id = $card";
        for row in self.0.fetch_all(of_card(sql)).await? {
            card.status = row.try_get(0)?;
            (card.balance, card.seq) = (row.try_get(1)?, row.try_get(2)?);
            (card.held, card.event_seq) = (row.try_get(3)?, row.try_get(4)?);
        }
        let sql = "select id::text, seq, kind, amount, balance_after, authorization_id::text, related_seq
            from movements where account_id = $account and card_id = $card order by seq";
        for row in self.0.fetch_all(of_card(sql)).await? {
            card.movements.push(Movement {
                id: type_id("mov", uuid(&row, 0)?),
                seq: row.try_get(1)?,
                kind: row.try_get(2)?,
                amount: row.try_get(3)?,
                balance_after: row.try_get(4)?,
                authorization: row.try_get::<Option<&str>, _>(5)?.map(Uuid::parse_str).transpose()?.map(|id| type_id("auth", id)),
                related_seq: row.try_get(6)?,
            });
        }
        let sql = "select id::text, authorization_id::text, sequence, ordinal::bigint, previous_sequence, kind, amount, held_before,
            held_after, card_balance, card_held, movement_seq, decline_code, (extract(epoch from created_at) * 1000000)::bigint
            from authorization_entries where account_id = $account and card_id = $card order by sequence";
        for row in self.0.fetch_all(of_card(sql)).await? {
            card.entries.push(Entry {
                id: type_id("ent", uuid(&row, 0)?),
                authorization: type_id("auth", uuid(&row, 1)?),
                sequence: row.try_get(2)?,
                ordinal: row.try_get(3)?,
                previous: row.try_get(4)?,
                kind: row.try_get(5)?,
                amount: row.try_get(6)?,
                held_before: row.try_get(7)?,
                held_after: row.try_get(8)?,
                card_balance: row.try_get(9)?,
                card_held: row.try_get(10)?,
                movement_seq: row.try_get(11)?,
                decline: row.try_get(12)?,
                at: nanoseconds(row.try_get(13)?),
            });
        }
        let sql = "select id::text, status, requested, decided_by = 'stand_in', network_transaction_id, sequence,
            (extract(epoch from expires_at) * 1000000)::bigint, authorized, held, captured, excess, reversed, expired, released,
            capture_reversed, refunded, refund_reversed, decline_code
            from authorizations where account_id = $account and card_id = $card";
        for row in self.0.fetch_all(of_card(sql)).await? {
            let authorization = Authorization {
                status: row.try_get(1)?,
                requested: row.try_get(2)?,
                stand_in: row.try_get(3)?,
                network_transaction: row.try_get(4)?,
                decline: row.try_get(17)?,
                sequence: row.try_get(5)?,
                expires_at: row.try_get::<Option<i64>, _>(6)?.map(nanoseconds),
                sums: Sums {
                    authorized: row.try_get(7)?,
                    held: row.try_get(8)?,
                    captured: row.try_get(9)?,
                    excess: row.try_get(10)?,
                    reversed: row.try_get(11)?,
                    expired: row.try_get(12)?,
                    released: row.try_get(13)?,
                    capture_reversed: row.try_get(14)?,
                    refunded: row.try_get(15)?,
                    refund_reversed: row.try_get(16)?,
                },
            };
            card.authorizations.insert(type_id("auth", uuid(&row, 0)?), authorization);
        }
        let sql = "select sequence, type, movement_seq from events where account_id = $account and card_id = $card order by sequence";
        for row in self.0.fetch_all(of_card(sql)).await? {
            card.told.push(Told { sequence: row.try_get(0)?, kind: row.try_get(1)?, movement_seq: row.try_get(2)? });
        }
        Ok(card)
    }

    /// The statuses of the answers that are stored under these keys.
    pub async fn stored(&mut self, account: Uuid, keys: &[&str]) -> Result<HashMap<String, i16>, Box<dyn Error>> {
        let mut stored = HashMap::new();
        for keys in keys.chunks(5_000) {
            // The keys are UUIDs that the driver made.
            let keys: Vec<_> = keys.iter().map(|key| format!("'{}'", key.replace('\'', "''"))).collect();
            let sql =
                format!("select key, status from idempotency_keys where account_id = '{account}'::uuid and key in ({})", keys.join(","));
            for row in self.0.fetch_all(AssertSqlSafe(sql)).await? {
                stored.insert(row.try_get(0)?, row.try_get(1)?);
            }
        }
        Ok(stored)
    }

    /// The number of stored answers.
    pub async fn stored_in_total(&mut self) -> Result<i64, Box<dyn Error>> {
        Ok(self.0.fetch_one("select count(*) from idempotency_keys where key not like 'transfer-%'").await?.try_get(0)?)
    }
}

pub fn uuid(row: &PgRow, column: usize) -> Result<Uuid, Box<dyn Error>> {
    Ok(Uuid::parse_str(row.try_get(column)?)?)
}

pub fn nanoseconds(microseconds: i64) -> u64 {
    u64::try_from(microseconds).unwrap_or(0).saturating_mul(1000)
}

/// A `TypeID`: the prefix and the UUID's 128 bits as 26 digits of Crockford's base32.
pub fn type_id(prefix: &str, id: Uuid) -> String {
    const DIGITS: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
    let bits = id.as_u128();
    let digits = (0..26).rev().map(|place| char::from(DIGITS[usize::try_from(bits >> (5 * place) & 31).unwrap_or(0)]));
    format!("{prefix}_{}", digits.collect::<String>())
}

#[cfg(test)]
mod tests {
    #[test]
    fn ids_are_encoded_as_the_typeid_specification_says() {
        let written = |uuid| super::type_id("prefix", uuid::Uuid::parse_str(uuid).expect("a UUID"));
        assert_eq!(written("01890a5d-ac96-774b-bcce-b302099a8057"), "prefix_01h455vb4pex5vsknk084sn02q");
        assert_eq!(written("ffffffff-ffff-ffff-ffff-ffffffffffff"), "prefix_7zzzzzzzzzzzzzzzzzzzzzzzzz");
    }
}
