//! Every statement compares `account_id`, and every table leads with it.

use std::{fs, path::Path};

use crate::{
    architecture::{code, is_store, sources},
    support::sql::{self, Sql},
};

/// Failed logins are no account's: a guess names an email that may be nobody's, and is counted before
/// anybody can say whose it is.
const FAILED_LOGINS: &str = "failed_logins";

/// A login names an email, and mostly no account: the directory tells which accounts have it.
const EMAILS: &str = "user_emails";

/// The verification of the ledger goes from one account to the next.
const NEXT_ACCOUNTS: &str = "from accounts where account_id >= $1";

/// The sweeper takes the cards with due holds, whoever's they are.
const DUE_HOLDS: &str = "from cards\n        where holds_due_at <= now()";

/// The metrics report what is held on all cards together.
const ALL_HOLDS: &str = "from cards\n        where holds_due_at is not null\n        group by currency";

/// A server does not start without the keys that the secrets of endpoints are derived from, whoever's they are.
const KEYS_OF_ENDPOINTS: &str = "select secret_kid as";

/// Customers that an earlier version created, of all accounts, until they have their words.
const WITHOUT_WORDS: &str = "where not has_words";

/// Whether a statement compares `account_id` with something, or inserts it. In a select list it narrows nothing.
fn compares_account_id(sql: &str) -> bool {
    let inserts = sql
        .split("insert into ")
        .skip(1)
        .any(|rest| rest.split('(').nth(1).is_some_and(|columns| columns.trim_start().starts_with("account_id")));
    inserts || sql.match_indices("account_id = ").any(|(place, _)| is_a_condition(&sql[..place]))
}

/// Whether text that comes after this is part of a `where` or an `on`.
fn is_a_condition(before: &str) -> bool {
    let clause = before.split_whitespace().rfind(|word| ["select", "set", "returning", "where", "on"].contains(word));
    matches!(clause, Some("where" | "on"))
}

#[test]
fn an_account_id_that_narrows_nothing_does_not_count() {
    assert!(!compares_account_id("select account_id, id from cards where id = $1"));
    assert!(compares_account_id("select id from cards where account_id = $1 and id = $2"));
    assert!(compares_account_id("select from cards join users on users.account_id = cards.account_id"));
    assert!(!compares_account_id("select account_id = $1 as own from cards where id = $2"));
    assert!(!compares_account_id("update cards set account_id = $1 where id = $2"));
    assert!(compares_account_id("insert into cards (account_id, id) values ($1, $2)"));
    assert!(!compares_account_id("insert into cards (id, account_id) select id, account_id from cards"));
}

#[test]
fn every_statement_carries_account_id() {
    let mut statements = 0;
    for (name, text) in sources("src/service") {
        // The deployment's one row is no account's.
        if !is_store(&name) || name.contains("/deployment/") {
            continue;
        }
        for Sql { function, text: sql } in sql::statements(&code(&text)) {
            // What names no table, such as the clock, reads nothing of anybody's.
            let reads_nothing = !sql.split_whitespace().any(|word| ["from", "into", "update"].contains(&word));
            let of_all = [FAILED_LOGINS, EMAILS, NEXT_ACCOUNTS, DUE_HOLDS, ALL_HOLDS, KEYS_OF_ENDPOINTS, WITHOUT_WORDS];
            let excepted = reads_nothing || of_all.iter().any(|part| sql.contains(part));
            assert!(compares_account_id(&sql) || excepted, "{name}: {function} asks without comparing account_id: {sql}");
            statements += 1;
        }
    }
    assert!(statements >= 20, "only {statements} statements were found");
}

#[test]
fn every_table_that_is_an_account_s_leads_with_account_id() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("migrations");
    let mut tables = 0;
    for entry in fs::read_dir(folder).expect("migrations").flatten() {
        let sql = fs::read_to_string(entry.path()).expect("text");
        let excepted = ["deployment", FAILED_LOGINS, EMAILS].map(|name| format!("{name} ("));
        for table in sql.split("create table ").skip(1).filter(|table| !excepted.iter().any(|begin| table.starts_with(begin))) {
            let column = table.lines().nth(1).expect("a first column").trim();
            assert_eq!(column, "account_id uuid not null,", "{table}");
            let key = table.lines().find(|line| line.contains("primary key")).expect("a primary key");
            assert!(key.contains("primary key (account_id"), "{key}");
            tables += 1;
        }
    }
    assert!(tables >= 8, "only {tables} tables were found");
}
