//! Rows that are made by SQL, since the service would take hours to write as many: what it would have written,
//! as far as anybody can tell from the rows.
//!
//! Written past the triggers, which ask for one statement for each step of a card, and by no running server: a
//! server remembers where its cards stand.

use crate::{Failure, account, postgres::Postgres};

/// For the session only, which ends with the statements that follow.
const PAST_TRIGGERS: &str = "set session_replication_role = replica; set synchronous_commit = off; set maintenance_work_mem = '512MB';";

/// Whose account everything is in.
const OWNER: &str = account::OWNER.0;

/// Top-ups of a dollar each, so many in all, in turn over all the cards that there are, as they come while many are busy.
/// Ids rise, as the service's do. The index is made in the end, which takes half the time.
pub fn histories(total: u64, cards: u64) -> String {
    let each = total / cards;
    format!(
        "{PAST_TRIGGERS}
        alter table movements drop constraint movements_pkey;
        insert into movements (account_id, card_id, seq, id, kind, amount, balance_after, description, created_at, user_id, request_id)
        select card.account_id, card.id, n / {cards} + 1, {id}, 'top_up', 100, 100 * (n / {cards} + 1), 'Balance top-up',
            statement_timestamp(), owner.id, '01a20446-0000-7000-8000-000000000000'
        from generate_series(0::bigint, {each} * {cards} - 1) n
        join (select account_id, id, row_number() over (order by account_id, number) - 1 as place from cards) card
            on card.place = n % {cards}
        join users owner on owner.account_id = card.account_id and owner.email_key = '{OWNER}';
        alter table movements add constraint movements_pkey primary key (account_id, card_id, seq);
        update cards set seq = {each}, balance = 100 * {each};",
        id = id("n")
    )
}

/// So many customers of the owner's account, which has none yet.
pub fn customers(total: u64) -> String {
    format!(
        "{PAST_TRIGGERS}
        insert into customers (account_id, id, number, name, email, email_key)
        select owner.account_id, {id}, n, 'Customer ' || n, 'customer' || n || '@example.com', 'customer' || n || '@example.com'
        from generate_series(1::bigint, {total}) n
        join users owner on owner.email_key = '{OWNER}';
        update accounts set customers_created = {total} where account_id = (select account_id from users where email_key = '{OWNER}');",
        id = id("n")
    )
}

/// Has them made, and leaves nothing to be done about them while something is measured.
pub async fn load(postgres: &Postgres, database: &str, sql: &str) -> Result<(), Failure> {
    postgres.ask_patiently(database, sql).await?;
    postgres.ask_patiently(database, "vacuum analyze").await?;
    postgres.ask_patiently(database, "checkpoint").await?;
    Ok(())
}

/// A `UUIDv7` of a number.
fn id(number: &str) -> String {
    format!("('01a20446-0000-7000-8000-' || lpad(to_hex({number}), 12, '0'))::uuid")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn histories_are_equally_long_and_end_at_the_balance_of_their_card() {
        let sql = histories(10_000, 5_000);
        assert!(sql.contains("generate_series(0::bigint, 2 * 5000 - 1)"), "{sql}");
        assert!(sql.ends_with("update cards set seq = 2, balance = 100 * 2;"), "{sql}");
        // Never without its end: whatever is written goes past the triggers in a session of its own.
        assert!(sql.starts_with(PAST_TRIGGERS) && customers(1).starts_with(PAST_TRIGGERS));
    }
}
