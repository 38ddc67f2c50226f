//! The house rules that the compiler cannot hold.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// A file with more lines than this has become two files.
const MAX_LINES: usize = 320;

pub fn sources(folder: &str) -> Vec<(String, String)> {
    fn walk(folder: &Path, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(folder).expect("a folder").flatten() {
            match entry.path() {
                path if path.is_dir() => walk(&path, found),
                path if path.extension().is_some_and(|extension| extension == "rs") => found.push(path),
                _ => {}
            }
        }
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = Vec::new();
    walk(&root.join(folder), &mut found);
    assert!(!found.is_empty(), "nothing in {folder}");
    found
        .into_iter()
        .map(|path| {
            let name = path.strip_prefix(root).expect("inside").to_string_lossy().replace('\\', "/");
            (name, fs::read_to_string(&path).expect("text"))
        })
        .collect()
}

/// The code of a file, without its comments and its tests.
pub fn code(text: &str) -> String {
    let text = text.split("#[cfg(test)]").next().unwrap_or_default();
    text.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n")
}

fn assert_never(folder: &str, words: &[&str], except: &[&str]) {
    for (name, text) in sources(folder) {
        if name.ends_with("/tests.rs") || except.iter().any(|excepted| name.ends_with(excepted)) {
            continue;
        }
        for word in words {
            assert!(!code(&text).contains(word), "{name} says {word}");
        }
    }
}

#[test]
fn files_stay_readable() {
    for (name, text) in sources("src").into_iter().chain(sources("tests")) {
        let lines = text.lines().count();
        assert!(lines <= MAX_LINES, "{name} has {lines} lines");
    }
}

#[test]
fn services_know_nothing_of_http_nor_of_the_process_around_them() {
    assert_never(
        "src/service",
        &["axum", "StatusCode", "crate::http", "crate::app", "crate::cli", "crate::config", "database::private", "database::migrate"],
        &[],
    );
}

#[test]
fn http_knows_no_sql() {
    assert_never("src/http", &["sqlx", "Pool", "crate::database", "crate::app", "crate::cli", "store::"], &[]);
}

#[test]
fn handlers_do_not_import_each_other() {
    let handlers = [
        "audit_events",
        "auth",
        "balances",
        "cards",
        "customers",
        "document",
        "explanations",
        "health",
        "movements",
        "sandbox",
        "sessions",
        "users",
    ];
    for handler in handlers {
        let file = format!("src/http/{handler}.rs");
        let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(&file)).expect("a handler");
        let code = code(&text);
        let siblings = code.split("use super::").nth(1).and_then(|rest| rest.split("};").next()).unwrap_or_default();
        assert!(!code.contains("crate::http"), "{file} reaches around its own folder");
        for other in handlers {
            let named = [format!(" {other}::"), format!(" {other},")];
            assert!(named.iter().all(|word| !siblings.contains(word)), "{file} imports {other}");
        }
    }
}

#[test]
fn all_sql_is_in_the_stores_and_each_store_is_private() {
    assert_never("src/service", &["sqlx::query", ".execute(", ".fetch_"], &["store.rs"]);
    assert_never("src", &["pub mod store", "pub(crate) mod store", "pub(super) mod store"], &[]);
    for (name, text) in sources("src/service") {
        if name.ends_with("store.rs") {
            for word in [".begin(", ".commit(", "rollback"] {
                assert!(!code(&text).contains(word), "{name} says {word}");
            }
        }
    }
}

#[test]
fn transactions_begin_and_end_in_one_place() {
    assert_never("src/service", &[".begin(", ".commit("], &["service/unit.rs"]);
}

/// Failed logins are no account's: a guess names an email that may be nobody's, and is counted before
/// anybody can say whose it is.
const FAILED_LOGINS: &str = "failed_logins";

#[test]
fn every_statement_carries_account_id() {
    let mut statements = 0;
    for (name, text) in sources("src/service") {
        // The deployment's one row is no account's.
        if !name.ends_with("store.rs") || name.contains("/deployment/") {
            continue;
        }
        for macro_call in code(&text).split("sqlx::query").skip(1) {
            let raw = macro_call.split("r#\"").nth(1).and_then(|rest| rest.split("\"#").next());
            let sql = raw.or_else(|| macro_call.split('"').nth(1)).expect("a statement");
            assert!(sql.contains("account_id") || sql.contains(FAILED_LOGINS), "{name} asks without account_id: {sql}");
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
        let excepted = ["deployment", FAILED_LOGINS].map(|name| format!("{name} ("));
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

#[test]
fn every_crate_of_the_workspace_is_held_to_its_lints() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let manifest = fs::read_to_string(root.join("Cargo.toml")).expect("a manifest");
    assert!(manifest.contains("[workspace.lints.rust]\nunsafe_code = \"forbid\""));
    let members = manifest.split("members = [").nth(1).and_then(|rest| rest.split(']').next()).expect("members");
    let members = members.split(',').map(|member| member.trim().trim_matches('"')).filter(|member| !member.is_empty());
    for member in members.chain(["."]) {
        let manifest = fs::read_to_string(root.join(member).join("Cargo.toml")).expect("a manifest");
        assert!(manifest.contains("\n[lints]\nworkspace = true"), "{member}");
    }
}

#[test]
fn no_file_is_a_drawer_for_anything() {
    for (name, _) in sources("src").into_iter().chain(sources("tests")) {
        let stem = Path::new(&name).file_stem().expect("a name").to_string_lossy().into_owned();
        assert!(!["utils", "util", "helpers", "common", "types", "misc"].contains(&stem.as_str()), "{name}");
    }
}
