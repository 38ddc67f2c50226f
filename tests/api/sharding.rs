//! On a Postgres that is spread over shards by `account_id`, which statements stay on one of them. Read from the SQL
//! itself; `docs/scaling.md` has the same list.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

use crate::architecture::{code, sources};

/// How far a statement reaches that does not stay with one account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reach {
    /// The accounts in a list that it is given: each row by its own account, and the whole one transaction.
    Listed,
    /// All of them, or what belongs to none.
    All,
}

/// Every statement that does not stay with one account, by its store and function. Why stands in `docs/scaling.md`.
const CROSSING: [(&str, Reach); 17] = [
    ("admission::admit", Reach::Listed),
    ("cards::find_all", Reach::Listed),
    ("ledger::positions", Reach::Listed),
    ("ledger::write_updates", Reach::Listed),
    ("auth/attempts::find", Reach::All),
    ("auth/attempts::count", Reach::All),
    ("auth/attempts::reset", Reach::All),
    ("auth/attempts::delete_ended_counters", Reach::All),
    ("auth/attempts::delete_sources_older_than", Reach::All),
    ("deployment::claim", Reach::All),
    ("deployment::environment", Reach::All),
    ("deployment::read", Reach::All),
    ("idempotency::delete_older_than", Reach::All),
    ("ledger/verify::histories", Reach::All),
    ("ledger/verify::orphans", Reach::All),
    ("users::email_is_taken", Reach::All),
    ("users::insert", Reach::All),
];

/// Tables that lead with `account_id`, and the others.
fn tables() -> (BTreeSet<String>, BTreeSet<String>) {
    let (mut of_accounts, mut of_none) = (BTreeSet::new(), BTreeSet::new());
    for entry in fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("migrations")).expect("migrations").flatten() {
        let sql = fs::read_to_string(entry.path()).expect("text");
        for table in sql.split("create table ").skip(1) {
            let (name, columns) = table.split_once(" (\n").expect("a table");
            let tables = if columns.trim_start().starts_with("account_id ") { &mut of_accounts } else { &mut of_none };
            tables.insert(name.to_owned());
        }
    }
    (of_accounts, of_none)
}

/// Constraints of an account's tables that hold over all accounts: to keep one, all have to be asked.
fn global_constraints(of_accounts: &BTreeSet<String>) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for entry in fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("migrations")).expect("migrations").flatten() {
        let sql = fs::read_to_string(entry.path()).expect("text");
        for line in sql.lines().filter(|line| line.contains(" unique (") && !line.contains(" unique (account_id")) {
            let name = line.split("constraint ").nth(1).and_then(|rest| rest.split(' ').next()).expect("a name");
            if of_accounts.iter().any(|table| name.starts_with(table.as_str())) {
                found.insert(name.to_owned());
            }
        }
    }
    found
}

/// Words and signs. `a.b` and `$1` are one word, a cast is left out, and what is in quotes is nothing.
fn words(sql: &str) -> Vec<String> {
    let (mut words, mut word) = (Vec::new(), String::new());
    let mut quote = None;
    for character in sql.chars().chain([' ']) {
        if quote.is_some() || character == '\'' || character == '"' {
            quote = match quote {
                Some(open) if open == character => None,
                None => Some(character),
                open => open,
            };
            continue;
        }
        if character.is_alphanumeric() || "_.$:[]".contains(character) {
            word.push(character);
            continue;
        }
        if !word.is_empty() {
            words.push(word.split("::").next().unwrap_or_default().to_owned());
            word.clear();
        }
        if "(),=".contains(character) {
            words.push(character.to_string());
        }
    }
    words
}

/// The statement and everything in parentheses, each by itself: without what it has in parentheses in turn.
fn scopes(words: &[String]) -> Vec<Vec<String>> {
    let (mut open, mut done) = (vec![Vec::new()], Vec::new());
    for word in words {
        match word.as_str() {
            "(" => {
                open.last_mut().expect("a scope").push("()".to_owned());
                open.push(Vec::new());
            }
            ")" => done.push(open.pop().expect("a scope")),
            _ => open.last_mut().expect("a scope").push(word.clone()),
        }
    }
    done.extend(open);
    done
}

/// Tables that a scope reads or writes, with the name that it gives each; and what else it reads from.
fn relations(scope: &[String]) -> Vec<(String, String)> {
    const ENDS: [&str; 22] = [
        "on",
        "where",
        "set",
        "left",
        "join",
        "cross",
        "order",
        "group",
        "limit",
        "using",
        "values",
        "select",
        "for",
        "returning",
        "()",
        ",",
        "with",
        "skip",
        "offset",
        "from",
        "inner",
        "default",
    ];
    let mut found = Vec::new();
    for (place, word) in scope.iter().enumerate() {
        let is_update =
            word == "update" && place.checked_sub(1).is_none_or(|before| !["do", "for", "key"].contains(&scope[before].as_str()));
        if !is_update && !["from", "join", "into", "using"].contains(&word.as_str()) {
            continue;
        }
        let Some(table) = scope.get(place + 1) else { continue };
        let mut alias = place + 2;
        // What is in parentheses may be a list's columns: `unnest(..) as list (..)`.
        while scope.get(alias).is_some_and(|word| word == "as" || word == "()") {
            alias += 1;
        }
        let alias = scope.get(alias).filter(|word| !ENDS.contains(&word.as_str())).unwrap_or(table);
        found.push((table.clone(), alias.clone()));
    }
    found
}

/// Whether each of an account's tables in a scope is read and written by its `account_id`: equal to a parameter, to
/// that of something which is no table (a list, a part of the statement), or to that of a table of which this is so.
fn is_by_account(scope: &[String], of_accounts: &BTreeSet<String>) -> bool {
    let relations = relations(scope);
    let is_table = |alias: &str| relations.iter().any(|(table, name)| name == alias && of_accounts.contains(table));
    let equal: Vec<(&str, &str)> =
        scope.windows(3).filter(|words| words[1] == "=").map(|words| (words[0].as_str(), words[2].as_str())).collect();
    let owner = |word: &str| word.strip_suffix(".account_id").map(str::to_owned);
    let mut bound = BTreeSet::new();
    // Without a table's name before it, only one of them can be meant.
    if equal.iter().any(|(left, right)| *left == "account_id" && right.starts_with('$')) {
        bound.extend(relations.iter().map(|(_, alias)| alias.clone()));
    }
    for _ in 0..=relations.len() {
        for (left, right) in equal.iter().flat_map(|(left, right)| [(*left, *right), (*right, *left)]) {
            let Some(alias) = owner(left) else { continue };
            let leads = right.starts_with('$') || owner(right).is_some_and(|other| bound.contains(&other) || !is_table(&other));
            if leads {
                bound.insert(alias);
            }
        }
    }
    relations.iter().all(|(table, alias)| {
        let is_insert = scope.windows(2).any(|words| words[0] == "into" && words[1] == *table);
        is_insert || !of_accounts.contains(table) || bound.contains(alias)
    })
}

fn reach(sql: &str) -> Option<Reach> {
    let (of_accounts, of_none) = tables();
    let words = words(sql);
    let scopes = scopes(&words);
    let names = |set: &BTreeSet<String>| words.iter().any(|word| set.contains(word));
    let whole = scopes.iter().all(|scope| is_by_account(scope, &of_accounts));
    // What is inserted leads with the account, like the table.
    let mut columns = (0..words.len()).filter(|place| words[*place] == "into" && of_accounts.contains(&words[*place + 1])).map(|place| {
        let open = words[place..].iter().position(|word| word == "(").expect("columns");
        words[place + open + 1].as_str()
    });
    let led = columns.all(|first| first == "account_id");
    if !whole || !led || names(&of_none) || names(&global_constraints(&of_accounts)) {
        return Some(Reach::All);
    }
    sql.contains("unnest(").then_some(Reach::Listed)
}

/// Every statement of the services, by its store and function.
fn statements() -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    for (file, text) in sources("src/service").into_iter().filter(|(file, _)| file.ends_with("/store.rs")) {
        let code = code(&text);
        let store = file.trim_start_matches("src/service/").trim_end_matches("/store.rs");
        for (place, _) in code.match_indices("sqlx::query") {
            let (before, call) = code.split_at(place);
            let function = before.rsplit("fn ").next().and_then(|rest| rest.split(['(', '<']).next()).expect("a function");
            let raw = call.split("r#\"").nth(1).and_then(|rest| rest.split("\"#").next());
            let plain = call.split_once('"').filter(|(before, _)| !before.ends_with('#')).and_then(|(_, rest)| rest.split('"').next());
            let sql = plain.or(raw).expect("a statement");
            let name = format!("{store}::{function}");
            assert!(found.insert(name.clone(), sql.to_owned()).is_none(), "{name} has two statements: make two functions of it");
        }
    }
    found
}

/// What `docs/scaling.md` lists in its table.
fn documented() -> BTreeSet<String> {
    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/scaling.md")).expect("the document");
    let names = text.lines().filter(|line| line.starts_with("| `")).flat_map(|line| line.split('|').nth(1).unwrap_or_default().split('`'));
    names.filter(|name| name.contains("::")).map(str::to_owned).collect()
}

#[test]
fn a_statement_stays_with_its_account_or_is_listed() {
    let statements = statements();
    assert!(statements.len() >= 40, "only {} statements were found", statements.len());
    let crossing: BTreeMap<&str, Reach> = statements.iter().filter_map(|(name, sql)| Some((name.as_str(), reach(sql)?))).collect();
    let listed: BTreeMap<&str, Reach> = CROSSING.into_iter().collect();
    for (name, reach) in &crossing {
        assert_eq!(listed.get(name), Some(reach), "{name} does not stay with one account, and CROSSING does not say so");
    }
    for name in listed.keys() {
        assert!(crossing.contains_key(name), "{name} stays with its account: it needs no place in CROSSING");
    }
    assert_eq!(documented(), listed.into_keys().map(str::to_owned).collect(), "docs/scaling.md has another list");
}

#[test]
fn a_statement_that_crosses_is_noticed() {
    for (sql, wanted) in [
        ("select from cards where account_id = $1 and id = $2", None),
        ("select from cards where id = $2", Some(Reach::All)),
        ("select account_id from cards", Some(Reach::All)),
        ("select from cards join customers on customers.id = cards.customer_id where cards.account_id = $1", Some(Reach::All)),
        ("select from cards join customers on customers.account_id = cards.account_id where cards.account_id = $1", None),
        ("select from cards join customers on customers.account_id = cards.account_id where cards.id = $1", Some(Reach::All)),
        ("select from cards where account_id = $1 and not exists (select from movements where card_id = id)", Some(Reach::All)),
        (
            "with old as (select account_id, id from cards) delete from cards using old where cards.account_id = old.account_id",
            Some(Reach::All),
        ),
        ("update cards set status = $2 where account_id = $1 and id = $3", None),
        ("update cards set status = $2 where id = $3", Some(Reach::All)),
        ("insert into cards (account_id, id) values ($1, $2)", None),
        ("insert into cards (id, account_id) values ($1, $2)", Some(Reach::All)),
        ("insert into users (account_id) values ($1) on conflict on constraint users_email_unique do nothing", Some(Reach::All)),
        ("select from unnest($1::uuid[]) as asked (account_id) join cards on cards.account_id = asked.account_id", Some(Reach::Listed)),
        ("select from failed_logins where key = $1", Some(Reach::All)),
        ("select now()", None),
    ] {
        assert_eq!(reach(sql), wanted, "{sql}");
    }
}
