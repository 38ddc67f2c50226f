//! The statement that writes cards.

mod on_shard;
mod statement;

use sqlx::PgConnection;

use self::statement::{write_all, write_movements, write_transfers};
use super::{
    super::rows::Rows,
    outcome::{Outcomes, Written},
};

/// Applies each update whose card still has the position that the update was decided on: writes the card, its movements, its
/// authorisations with their entries, and the stored responses. Skips all other updates. Returns the outcome of each.
///
/// The two cards of a transfer are updates of one group: if one of a group is skipped, all are.
///
/// One atomic statement. It never waits for the lock of a card.
///
/// It locks no key. The primary key of the stored responses decides between two requests under one key: the second
/// transaction waits for the first to commit, which is the last thing that the first does. A lock for each key would
/// fill the lock table, which all sessions share. Keys are inserted in order, so that no two batches wait for each other. So
/// are network transaction ids.
///
/// Movements alone are the most frequent. Their statement does not name the tables of authorisations, whose triggers run for
/// every statement that does, also without a row.
pub(in super::super) async fn write(connection: &mut PgConnection, rows: &Rows) -> std::result::Result<Written, sqlx::Error> {
    let result = match (rows.are_movements(), rows.have_transfers()) {
        (true, false) => write_movements(connection, rows).await,
        (true, true) => write_transfers(connection, rows).await,
        (false, _) => write_all(connection, rows).await,
    };
    told(result.map(Outcomes::of))
}

/// Writes cards that the transaction has locked. The transaction has to be rolled back unless all were applied.
///
/// Where the database is distributed the cards are of one account, and each table is written by a statement of its own.
pub(in super::super) async fn write_locked(
    connection: &mut PgConnection,
    rows: &Rows,
    sharded: bool,
) -> std::result::Result<Written, sqlx::Error> {
    if sharded { told(on_shard::write(connection, rows).await) } else { write(connection, rows).await }
}

/// What a statement came to, if it failed because of another transaction that stored the same key or id first.
fn told(result: std::result::Result<Outcomes, sqlx::Error>) -> std::result::Result<Written, sqlx::Error> {
    match result {
        Err(sqlx::Error::Database(refused)) if refused.constraint().is_some_and(is_of_a_race) => {
            Ok(Written::LostRace(sqlx::Error::Database(refused)))
        }
        other => other.map(Written::Outcomes),
    }
}

/// Whether a constraint decides between two transactions that store the same. A shard's has the number of the shard behind its
/// name.
fn is_of_a_race(constraint: &str) -> bool {
    let name = constraint.trim_end_matches(|digit: char| digit.is_ascii_digit()).trim_end_matches('_');
    ["idempotency_keys_pkey", "authorizations_by_network"].contains(&name)
}
