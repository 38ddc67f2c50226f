//! Every statement of the service, on tables that are split by `account_id`: which of them keep to one shard.
//!
//! A plain Postgres holds each table of an account as four leaves, by the hash of `account_id`. Every statement runs
//! there for one account, in a transaction that is rolled back. Then the test reads from `pg_locks` on which leaves the
//! transaction has locks. Postgres locks a leaf when it plans to read or write it, and when it puts a row into it. So
//! a leaf counts if the statement and its values do not rule it out before the statement runs.
//!
//! Postgres can rule out more while a statement runs, such as the leaves that no account of a joined list is in. That
//! does not count here. One process that has all leaves can do so; what sends a statement to a shard has to know the
//! shard before.
//!
//! Locks show more than `explain`: the leaf that an insert goes to, and what a function in the statement reads. Triggers
//! and foreign keys are not there, so what they read is not seen.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

use serde_json::Value;

use crate::{
    architecture::{code, sources},
    support::{
        shards::{Shards, Statement, Touched},
        sql::{self, Sql},
    },
};

/// Why a statement does not keep to one account's shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Why {
    /// It joins a list of accounts to a table. Each row has its own account, and no account is known for the whole, not even
    /// where the list names one.
    List,
    /// It names no account, and has to ask them all.
    AnyAccount,
    /// It reads a table that is no account's.
    Undivided,
}

/// Every statement that does not keep to one account's shard, by its file and function.
const CROSSING: [(&str, Why, &str); 29] = [
    ("admission::admit_all", Why::List, "the quotas of requests that came together"),
    ("admission::admit_sessions", Why::List, "the quotas of requests that came together, with sessions alone"),
    ("audit::delete_older_than", Why::AnyAccount, "deletes what is old, whoever's it is"),
    ("auth::delete_ended_sessions", Why::AnyAccount, "deletes what is old, whoever's it is"),
    ("auth::delete_tokens_of_ended_sessions", Why::AnyAccount, "deletes what is old, whoever's it is"),
    ("auth/attempts::count", Why::Undivided, "a guess may name nobody's email"),
    ("auth/attempts::delete_ended_counters", Why::Undivided, "deletes counters that are over"),
    ("auth/attempts::delete_sources_older_than", Why::AnyAccount, "deletes what is old, whoever's it is"),
    ("auth/attempts::find_counts", Why::Undivided, "a guess may name nobody's email"),
    ("auth/attempts::reset", Why::Undivided, "a counter has its own key"),
    ("auth/emails::accounts", Why::Undivided, "a login names an email and no account"),
    ("auth/emails::insert_in", Why::Undivided, "a login names an email and no account"),
    ("customers::without_words", Why::AnyAccount, "finds customers of an earlier version, whoever's they are"),
    ("deployment::claim", Why::Undivided, "one row for the whole deployment"),
    ("deployment::environment", Why::Undivided, "the same row"),
    ("deployment::read", Why::Undivided, "the same row"),
    ("events/store/purge::delete_older_than", Why::AnyAccount, "deletes what is old, whoever's it is"),
    ("idempotency::delete_older_than", Why::AnyAccount, "deletes what is old, whoever's it is"),
    ("ledger/store/sweep::cards_due", Why::AnyAccount, "finds the cards with due holds, whoever's they are"),
    ("ledger/store/sweep::idle_due", Why::AnyAccount, "finds the cards with nothing left that is due, whoever's they are"),
    ("ledger/store/sweep::held_money", Why::AnyAccount, "sums up what is held for the metrics"),
    ("ledger/store/write/statement::write_all", Why::List, "writes a batch with authorisations"),
    ("ledger/store/write/statement::write_movements", Why::List, "writes a batch"),
    ("ledger/store/write/statement::write_transfers", Why::List, "writes a batch with transfers"),
    ("ledger/verify::next_account", Why::AnyAccount, "finds every account"),
    ("webhooks/store/purge::purge", Why::AnyAccount, "deletes what is old, whoever's it is"),
    ("webhooks/store/leases::free_endpoints", Why::AnyAccount, "finds the endpoints with something to send, whoever's they are"),
    ("webhooks/store/leases::state", Why::AnyAccount, "counts endpoints for the metrics"),
    ("webhooks::key_names", Why::AnyAccount, "which keys the endpoints need, whoever's they are"),
];

/// The text of every statement in the code, with its file and function.
pub fn names() -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    for (file, text) in sources("src").into_iter().filter(|(file, _)| !file.ends_with("/tests.rs")) {
        let file = file.trim_start_matches("src/").trim_start_matches("service/").trim_end_matches(".rs");
        let file = file.trim_end_matches("/store").trim_end_matches("/mod");
        for Sql { function, text } in sql::statements(&code(&text)) {
            let name = format!("{file}::{function}");
            assert!(!found.values().any(|other| *other == name), "{name} has two statements: make two functions of it");
            assert_eq!(found.insert(text, name.clone()), None, "{name} has the statement of another function");
        }
    }
    found
}

/// What sqlx knows of every statement in the code: it is compiled with no other.
fn prepared() -> Vec<Statement> {
    let folder = fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(".sqlx")).expect("the statements");
    let texts = folder.flatten().map(|entry| fs::read_to_string(entry.path()).expect("text"));
    texts.map(|text| statement(&serde_json::from_str(&text).expect("json"))).collect()
}

fn statement(known: &Value) -> Statement {
    let sql = known["query"].as_str().expect("a text").to_owned();
    let types = known["describe"]["parameters"]["Left"].as_array().expect("types").iter();
    Statement { sql, types: types.map(|name| postgres_type(name.as_str().expect("a type that Postgres brings along"))).collect() }
}

/// `Int8Array` is `int8[]`.
fn postgres_type(name: &str) -> String {
    name.strip_suffix("Array").map_or_else(|| name.to_lowercase(), |element| format!("{}[]", element.to_lowercase()))
}

/// Every statement by its file and function.
fn statements() -> BTreeMap<String, Statement> {
    let mut names = names();
    let found: BTreeMap<String, Statement> = prepared()
        .into_iter()
        .map(|statement| (names.remove(&statement.sql).unwrap_or_else(|| panic!("no function has {}", statement.sql)), statement))
        .collect();
    assert!(names.is_empty(), "sqlx has not prepared the statements of {:?}", names.values());
    found
}

/// Whether what a statement touches is what its reason says.
fn is_so(why: Option<Why>, statement: &Statement, touched: Option<&Touched>) -> bool {
    let Some(touched) = touched else { return false };
    match why {
        Some(Why::List) => !touched.is_on_one_shard() && statement.takes_lists(),
        Some(Why::AnyAccount) => !touched.is_on_one_shard() && !statement.takes_lists(),
        Some(Why::Undivided) => touched.is_on_one_shard() && !touched.undivided.is_empty(),
        None => touched.is_on_one_shard() && touched.undivided.is_empty(),
    }
}

/// `docs/scaling.md`, each paragraph in one line.
fn scaling() -> String {
    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/scaling.md")).expect("the document");
    text.replace("\n|", "\0|").replace('\n', " ").replace('\0', "\n")
}

/// What `docs/scaling.md` lists in its table.
fn documented() -> BTreeSet<String> {
    let text = scaling();
    let names = text.lines().filter(|line| line.starts_with("| `")).flat_map(|line| line.split('|').nth(1).unwrap_or_default().split('`'));
    names.filter(|name| name.contains("::")).map(str::to_owned).collect()
}

#[tokio::test]
async fn every_statement_keeps_to_one_shard_or_is_listed() {
    let statements = statements();
    let mut shards = Shards::new().await;
    let mut wrong = Vec::new();
    for (name, statement) in &statements {
        let why = CROSSING.iter().find(|(listed, ..)| listed == name).map(|(_, why, _)| *why);
        let touched = shards.touched(statement).await;
        if !is_so(why, statement, touched.as_ref()) {
            wrong.push(format!("{name}: CROSSING says {why:?}, and it touches {touched:?}"));
        }
    }
    wrong.extend(CROSSING.iter().filter(|(name, ..)| !statements.contains_key(*name)).map(|(name, ..)| format!("{name} is no statement")));
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_documentation_lists_the_statements_that_cross() {
    assert_eq!(documented(), CROSSING.into_iter().map(|(name, ..)| name.to_owned()).collect());
    let all = names().len();
    let counts = format!("{} of {all} stay with one account. The other {} do not", all - CROSSING.len(), CROSSING.len());
    assert!(scaling().contains(&counts), "docs/scaling.md does not say: {counts}");
}

#[tokio::test]
async fn no_constraint_holds_over_all_accounts() {
    assert_eq!(Shards::new().await.left_out, BTreeSet::new());
}

#[tokio::test]
async fn a_statement_that_crosses_is_noticed() {
    let mut shards = Shards::new().await;
    for (sql, types, keeps) in [
        ("select from cards where account_id = $1 and id = $2", "uuid uuid", true),
        ("select from cards where id = $1", "uuid", false),
        ("select account_id from cards", "", false),
        ("select from cards join customers on customers.id = cards.customer_id where cards.account_id = $1", "uuid", false),
        ("select from cards join customers on customers.account_id = cards.account_id where cards.account_id = $1", "uuid", true),
        ("select from cards, customers where cards.account_id = $1 and customers.account_id = $2", "uuid uuid", false),
        ("select from cards where account_id = $1 and not exists (select from movements where card_id = cards.id)", "uuid", false),
        ("update cards set status = $3 where account_id = $1 and id = $2", "uuid uuid text", true),
        ("update cards set status = $2 where id = $1", "uuid text", false),
        ("insert into accounts (account_id, name) values ($1, $2)", "uuid text", true),
        (
            "insert into quota_usage (account_id, window_start, used) select $2, now(), 1 from accounts where account_id = $1",
            "uuid uuid",
            false,
        ),
        ("select from cards where account_id = any($1)", "uuid[]", true),
        ("select from unnest($1) as asked (account_id) join cards on cards.account_id = asked.account_id", "uuid[]", false),
        ("select from failed_logins where key = $1", "bytea", true),
        ("select now()", "", true),
        ("do $body$ begin perform from cards where account_id = $1; end $body$", "uuid", true),
        ("do $body$ begin perform from cards where id = $1; end $body$", "uuid", false),
    ] {
        let statement = Statement { sql: sql.to_owned(), types: types.split_whitespace().map(str::to_owned).collect() };
        let touched = shards.touched(&statement).await.expect("planned");
        assert_eq!(touched.is_on_one_shard(), keeps, "{sql}: {touched:?}");
    }
}
