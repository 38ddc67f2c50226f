//! What a database that is distributed by account refuses, or does in another way, whatever the statement touches: rules on the
//! text of the statements, and on the schema as `core-api distribute` leaves it. `sharding.rs` shows what they touch.
//!
//! Each rule is one of Citus (<https://docs.citusdata.com>), as it was seen.

use std::collections::BTreeSet;

use sqlx::{Executor as _, Row as _};

use crate::{sharding::names, support::Database};

/// The statements that break a rule, and why they may.
const EXCEPTED: [(&str, &str); 13] = [
    ("admission::admit_all", "of a database that is not distributed"),
    ("admission::admit_sessions", "of a database that is not distributed"),
    ("audit::insert", "the coordinator takes it apart, in one transaction"),
    ("auth/attempts::count", "failed logins are on the coordinator alone"),
    ("auth/attempts::delete_ended_counters", "failed logins are on the coordinator alone"),
    ("cards/store/create::insert_at_once", "of a database that is not distributed"),
    ("cards/store/status::set_at_once", "of a database that is not distributed"),
    ("customers/store/create::insert_at_once", "of a database that is not distributed"),
    ("ledger/store/write/statement::write_all", "of a database that is not distributed"),
    ("ledger/store/write/statement::write_movements", "of a database that is not distributed"),
    ("ledger/store/write/statement::write_transfers", "of a database that is not distributed"),
    ("webhooks/store/deliveries::replay", "the coordinator takes it apart, and it is seldom"),
    ("webhooks/store/deliveries::resend", "the coordinator takes it apart, and it is seldom"),
];

/// Why a distributed database does not take a statement.
fn faults(sql: &str) -> Vec<&'static str> {
    let sql = flat(sql);
    let mut faults = Vec::new();
    if inserts_in_a_part(&sql) {
        faults.push("it inserts in a part of it: the coordinator would take that apart");
    }
    if inserts_changed_rows(&sql) {
        faults.push("it inserts what a part of it changes: the coordinator would take that apart");
    }
    if inserts_locked_rows(&sql) {
        faults.push("it inserts what it selects and locks: make two statements of it");
    }
    if locks_rows_of_all(&sql) {
        faults.push("it locks rows of every account: a distributed database refuses that");
    }
    for (place, part) in changing_parts(&sql) {
        if MOVING.iter().any(|function| part.contains(function)) {
            faults.push(place);
        }
    }
    faults
}

/// Functions whose value may be another on each node.
const MOVING: [&str; 9] = [
    "now()",
    "clock_timestamp()",
    "statement_timestamp()",
    "transaction_timestamp()",
    "gen_random_uuid()",
    "new_id()",
    "random()",
    "convert_from(",
    "convert_to(",
];

/// In lower case, with single spaces and none behind a parenthesis, and without comments and `materialized`.
fn flat(sql: &str) -> String {
    let lines = sql.lines().map(|line| line.split("--").next().unwrap_or_default());
    let words = lines.flat_map(str::split_whitespace).collect::<Vec<_>>().join(" ").to_lowercase();
    words.replace("( ", "(").replace("as not materialized ", "as ").replace("as materialized ", "as ")
}

fn inserts_in_a_part(sql: &str) -> bool {
    sql.contains("as (insert ")
}

fn inserts_changed_rows(sql: &str) -> bool {
    sql.contains(") insert into ") && (sql.contains(" as (update ") || sql.contains(" as (delete "))
}

fn inserts_locked_rows(sql: &str) -> bool {
    sql.contains("insert into ") && sql.contains(" select ") && locks_rows(sql)
}

fn locks_rows(sql: &str) -> bool {
    ["for update", "for no key update", "for share", "for key share"].iter().any(|lock| {
        sql.match_indices(lock).any(|(place, _)| !sql[..place].ends_with("do ") && !sql[place..].starts_with("for update of the"))
    })
}

/// No account is compared with a parameter.
fn locks_rows_of_all(sql: &str) -> bool {
    locks_rows(sql) && !sql.contains("account_id = $")
}

/// The parts of a statement that are carried out where the rows are, and why a function that moves must not be in them.
fn changing_parts(sql: &str) -> Vec<(&'static str, String)> {
    let mut parts = Vec::new();
    if let Some((_, rest)) = sql.split_once("do update set ") {
        let end = rest.find(" returning ").unwrap_or(rest.len());
        parts.push((
            "it calls a function in `do update set` that is not immutable: take `excluded`, or a parameter",
            rest[..end].to_owned(),
        ));
    }
    let changes = sql.contains("update ") && sql.contains(" set ") || sql.contains("insert into ") || sql.contains("delete from ");
    if !changes {
        return parts;
    }
    if let Some((_, rest)) = sql.rsplit_once(" returning ") {
        let end = rest.find(" )").unwrap_or(rest.len());
        parts.push(("it returns the value of a function that is not immutable: select it in another statement", rest[..end].to_owned()));
    }
    for (place, _) in sql.match_indices("case when ").chain(sql.match_indices("coalesce(")) {
        // Only what an update sets is carried out with the rows.
        let before = &sql[..place];
        let sets = before.rfind(" set ").filter(|set| before[*set..].find(" where ").is_none() && before[*set..].find(" from ").is_none());
        if sets.is_some() {
            parts.push((
                "it calls a function in `case` or `coalesce` of what an update sets that is not immutable: select it in `from`",
                inner(&sql[place..]).to_owned(),
            ));
        }
    }
    parts
}

/// A `case .. end`, or a call up to its last parenthesis.
fn inner(from: &str) -> &str {
    if from.starts_with("case") {
        return &from[..from.find(" end").unwrap_or(from.len())];
    }
    let mut depth = 0_i32;
    for (place, character) in from.char_indices() {
        match character {
            '(' => depth += 1,
            ')' if depth == 1 => return &from[..place],
            ')' => depth -= 1,
            _ => {}
        }
    }
    from
}

#[test]
fn a_distributed_database_takes_every_statement() {
    let mut wrong = Vec::new();
    for (sql, name) in names() {
        if EXCEPTED.iter().any(|(excepted, _)| *excepted == name) {
            assert!(!faults(&sql).is_empty(), "{name} is listed, and breaks no rule");
            continue;
        }
        wrong.extend(faults(&sql).into_iter().map(|fault| format!("{name}: {fault}")));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn what_a_distributed_database_refuses_is_noticed() {
    for (sql, count) in [
        ("insert into cards (account_id) values ($1)", 0),
        ("insert into cards (account_id, at) values ($1, now())", 0),
        ("update cards set at = now() where account_id = $1", 0),
        ("with a as (update cards set x = 1 where account_id = $1 returning id) select id from a", 0),
        ("with a as (\n insert into cards values ($1) returning id) select id from a", 1),
        ("with a as (update cards set x = 1 where account_id = $1 returning x) insert into users select x from a", 1),
        ("with a as materialized (\n delete from cards where account_id = $1 returning x) insert into users select x from a", 1),
        ("insert into cards select id from users where account_id = $1 for share", 1),
        ("insert into cards values ($1) on conflict (id) do update set at = now()", 1),
        ("insert into cards values ($1, now()) on conflict (id) do update set at = excluded.at", 0),
        ("update cards set at = case when at is null then now() else at end where account_id = $1", 1),
        ("update cards set at = coalesce(at, now()) where account_id = $1", 1),
        ("update cards set at = coalesce(at, moment.now) from (select now() as now) moment where account_id = $1", 0),
        ("update cards set x = 1 where account_id = $1 and at < coalesce($2, now())", 0),
        ("update cards set x = 1 where account_id = $1 returning id, now() as now", 1),
        ("with a as (update cards set x = 1 where account_id = $1 returning id ), b as (select now()) select id from a, b", 0),
        ("with old as (select id from cards limit 10 for update skip locked) delete from cards using old", 1),
        ("select id from cards where account_id = $1 for no key update skip locked", 0),
    ] {
        assert_eq!(faults(sql).len(), count, "{sql}: {:?}", faults(sql));
    }
}

/// The names that a query returns on a database as it is distributed.
async fn found(query: &str) -> BTreeSet<String> {
    let database = Database::new().await;
    if !database.is_sharded {
        database.execute("call guard_rows_of_shards()").await;
    }
    let mut connection = database.connect().await;
    let rows = connection.fetch_all(sqlx::AssertSqlSafe(query.to_owned())).await.expect("rows");
    rows.iter().map(|row| row.get(0)).collect()
}

#[tokio::test]
async fn no_trigger_of_a_shard_looks_at_a_whole_statement() {
    let query = "
        select tgname::text
        from pg_trigger
        join pg_class on pg_class.oid = tgrelid
        where relnamespace = 'public'::regnamespace and not tgisinternal and (tgoldtable is not null or tgnewtable is not null)";
    assert_eq!(found(query).await, BTreeSet::new());
}

/// A worker would count an identity column for itself alone.
#[tokio::test]
async fn every_number_of_a_list_is_drawn_on_the_shard() {
    let query = "
        select format('%s.%s', attrelid::regclass, attname)
        from pg_attribute
        join pg_class on pg_class.oid = attrelid
        where relnamespace = 'public'::regnamespace and relkind = 'r'
            and (attidentity <> '' or exists (
                select from pg_attrdef where adrelid = attrelid and adnum = attnum and pg_get_expr(adbin, adrelid) like 'nextval%'
            ))
            and not exists (select from pg_trigger where tgrelid = attrelid and tgfoid = 'number_by_clock'::regproc)";
    assert_eq!(found(query).await, BTreeSet::new());
}

/// Rows that refer to each other are on one shard only if both name the account in the same place.
#[tokio::test]
async fn foreign_keys_lead_to_rows_of_the_account() {
    let query = "
        select conname::text
        from pg_constraint
        join pg_attribute account on account.attrelid = conrelid and account.attname = 'account_id'
        join pg_attribute target on target.attrelid = confrelid and target.attname = 'account_id'
        where contype = 'f' and connamespace = 'public'::regnamespace
            and array_position(conkey, account.attnum) is distinct from array_position(confkey, target.attnum)";
    assert_eq!(found(query).await, BTreeSet::new());
}
