//! The rules of the architecture that the compiler cannot check.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

/// A file with more lines than this is split by meaning.
const MAX_LINES: usize = 400;

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

/// Whether a file has SQL: `store.rs`, or a part of it in `store/`.
pub fn is_store(name: &str) -> bool {
    name.ends_with("/store.rs") || name.contains("/store/") && !name.ends_with("/tests.rs")
}

fn assert_never(folder: &str, words: &[&str], except: impl Fn(&str) -> bool) {
    for (name, text) in sources(folder) {
        if name.ends_with("/tests.rs") || except(&name) {
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

/// From the lowest floor to the highest. A floor imports only those before it.
const FLOORS: [&str; 9] = ["domain", "config", "telemetry", "database", "egress", "service", "http", "app", "cli"];

/// The modules of the crate that a file imports or names by their full path: `database::pool` of `use crate::database::{pool, ..}`.
fn imports(text: &str) -> Vec<String> {
    let code = code(text);
    code.split("crate::").skip(1).flat_map(|rest| leaves(rest, &[])).collect()
}

/// The paths of a `use` tree, without what comes after it.
fn leaves(tree: &str, prefix: &[&str]) -> Vec<String> {
    let end = tree.find(|letter: char| !letter.is_alphanumeric() && letter != '_').unwrap_or(tree.len());
    let (name, rest) = tree.split_at(end);
    let path: Vec<&str> = prefix.iter().copied().chain([name]).filter(|name| !name.is_empty()).collect();
    let rest = if name.is_empty() && rest.starts_with('{') { rest } else { rest.strip_prefix("::").unwrap_or_default() };
    if rest.is_empty() {
        return vec![path.join("::")];
    }
    let Some(group) = rest.strip_prefix('{') else { return leaves(rest, &path) };
    let (mut depth, mut begin, mut found) = (0, 0, Vec::new());
    for (at, letter) in group.char_indices() {
        match letter {
            '{' => depth += 1,
            ',' | '}' if depth == 0 => {
                let part = group[begin..at].trim();
                if !part.is_empty() {
                    found.extend(leaves(part, &path));
                }
                begin = at + 1;
                if letter == '}' {
                    break;
                }
            }
            '}' => depth -= 1,
            _ => {}
        }
    }
    found
}

/// `use super::..` and `use self::..` as paths of the crate.
fn absolute(name: &str, text: &str) -> String {
    let module: Vec<&str> = name.trim_start_matches("src/").trim_end_matches(".rs").split('/').filter(|part| *part != "mod").collect();
    let text = text.split("#[cfg(test)]").next().unwrap_or_default();
    let mut text = text.replace("use self::", &format!("use crate::{}::", module.join("::")));
    for up in (1..=module.len()).rev() {
        let place = module[..module.len() - up].join("::");
        let place = if place.is_empty() { "crate::".to_owned() } else { format!("crate::{place}::") };
        text = text.replace(&format!("use {}", "super::".repeat(up)), &format!("use {place}"));
    }
    text
}

fn floor_of(path: &str) -> Option<usize> {
    let first = path.split("::").next()?;
    FLOORS.iter().position(|floor| *floor == first)
}

/// Imports that do not look down: (file, what it imports).
fn upward(files: &[(String, String)]) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for (name, text) in files {
        let module = name.trim_start_matches("src/").trim_end_matches(".rs").replace('/', "::");
        let Some(own) = floor_of(&module) else { continue };
        for import in imports(&absolute(name, text)) {
            if floor_of(&import).is_some_and(|floor| floor > own) {
                found.push((name.clone(), import));
            }
        }
    }
    found
}

/// Modules of `service` that reach themselves through what they import. The folder's own file wires them and is left out.
fn circles(files: &[(String, String)]) -> Vec<String> {
    let mut edges: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (name, text) in files {
        let Some(path) = name.strip_prefix("src/service/") else { continue };
        let module = path.trim_end_matches(".rs").split('/').next().unwrap_or_default().to_owned();
        if module == "mod" {
            continue;
        }
        let imported = imports(&absolute(name, text)).into_iter();
        let siblings =
            imported.filter_map(|path| path.strip_prefix("service::").and_then(|path| path.split("::").next().map(str::to_owned)));
        let others: BTreeSet<String> = siblings.filter(|sibling| *sibling != module).collect();
        edges.entry(module).or_default().extend(others);
    }
    let reaches = |from: &String| {
        let (mut seen, mut open) = (BTreeSet::new(), vec![from]);
        while let Some(module) = open.pop() {
            for next in edges.get(module).into_iter().flatten() {
                if seen.insert(next) {
                    open.push(next);
                }
            }
        }
        seen.contains(from)
    };
    edges.keys().filter(|module| reaches(module)).cloned().collect()
}

#[test]
fn floors_import_only_lower_floors() {
    let files = sources("src");
    assert!(files.iter().filter(|(name, text)| !imports(&absolute(name, text)).is_empty()).count() > 50, "imports are not read");
    assert_eq!(upward(&files), []);
}

#[test]
fn an_upward_import_is_found_however_it_is_written() {
    for text in [
        "use crate::http::App;",
        "use crate::{\n    domain::id::CardId,\n    http::{App, Limits},\n};",
        "use super::super::http::App;",
        "fn f() { crate::http::router(); }",
    ] {
        assert!(!upward(&[("src/service/cards.rs".to_owned(), text.to_owned())]).is_empty(), "{text}");
    }
    assert_eq!(upward(&[("src/service/cards.rs".to_owned(), "use crate::domain::id::CardId;".to_owned())]), []);
}

#[test]
fn every_module_of_the_crate_is_a_floor_and_none_passes_another_on() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let text = fs::read_to_string(root.join("lib.rs")).expect("the crate");
    let modules: BTreeSet<&str> = text.lines().filter_map(|line| line.split_once("mod ")?.1.strip_suffix(';')).collect();
    assert_eq!(modules, FLOORS.into_iter().collect());
    for file in ["lib.rs", "service/mod.rs"] {
        let text = fs::read_to_string(root.join(file)).expect("a file");
        assert!(!code(&text).contains("pub use "), "{file} passes an import on, which these tests would not see");
    }
}

#[test]
fn functions_that_take_a_read_connection_only_read() {
    let mut found = 0;
    for (name, text) in sources("src/service").into_iter().filter(|(name, _)| is_store(name)) {
        let text = code(&text).replace("pub(in super::super)", "pub(super)");
        let functions = text.split("pub(super) async fn ").skip(1).map(|text| text.split("\n}\n").next().unwrap_or_default());
        for function in functions.filter(|text| text.contains("ReadConnection<'_>")) {
            let writes = ["insert into", "update ", "delete from"].into_iter().find(|word| function.contains(word));
            assert_eq!(writes, None, "{name}: {}", function.lines().next().unwrap_or_default());
            found += 1;
        }
    }
    assert!(found >= 12, "only {found} functions were found");
}

#[test]
fn modules_of_the_service_import_each_other_in_no_circle() {
    assert_eq!(circles(&sources("src/service")), [""; 0]);
}

#[test]
fn a_circle_is_found_over_several_modules() {
    let file = |name: &str, text: &str| (format!("src/service/{name}.rs"), text.to_owned());
    let files = [file("a/mod", "use super::{b, error::Error};"), file("b", "use crate::service::c::C;"), file("c", "use super::a::A;")];
    assert_eq!(circles(&files), ["a", "b", "c"]);
    assert_eq!(circles(&files[..2]), [""; 0]);
}

#[test]
fn the_domain_is_pure() {
    let words = [
        "sqlx::query",
        "PgConnection",
        "axum",
        "tokio",
        "tracing",
        "metrics",
        "Utc::now",
        "Instant::now",
        "SystemTime",
        "std::fs",
        "std::net",
    ];
    assert_never("src/domain", &words, |_| false);
}

#[test]
fn services_know_nothing_of_http_nor_of_the_process_around_them() {
    assert_never(
        "src/service",
        &["axum", "StatusCode", "crate::http", "crate::app", "crate::cli", "crate::config", "database::private", "database::migrate"],
        |_| false,
    );
}

#[test]
fn calls_to_others_know_no_database() {
    assert_never("src/egress", &["sqlx", "crate::database", "axum"], |_| false);
}

#[test]
fn http_knows_no_sql() {
    assert_never("src/http", &["sqlx", "Pool", "crate::database", "crate::app", "crate::cli", "store::"], |_| false);
}

#[test]
fn handlers_do_not_import_each_other() {
    // A handler describes itself with an `Operation`.
    let files = sources("src/http").into_iter().filter(|(_, text)| text.contains(": Operation ="));
    let module = |file: &str| file.trim_start_matches("src/").trim_end_matches(".rs").trim_end_matches("/mod").replace('/', "::");
    let handlers: Vec<(String, String)> = files.map(|(file, text)| (module(&file), absolute(&file, &text))).collect();
    assert!(handlers.len() >= 12, "{} handlers are found", handlers.len());
    for (handler, text) in &handlers {
        for import in imports(text) {
            let from = import.rsplit_once("::").map_or(import.as_str(), |(from, _)| from);
            let other = handlers.iter().find(|(other, _)| other != handler && (*other == import || other == from));
            assert_eq!(other.map(|(other, _)| other), None, "{handler} imports {import}");
        }
    }
}

#[test]
fn all_sql_is_in_the_stores_and_each_store_is_private() {
    assert_never("src/service", &["sqlx::query", ".execute(", ".fetch_"], is_store);
    assert_never("src", &["pub mod store", "pub(crate) mod store", "pub(super) mod store"], |_| false);
    for (name, text) in sources("src/service") {
        if is_store(&name) {
            for word in [".begin(", ".commit(", "rollback"] {
                assert!(!code(&text).contains(word), "{name} says {word}");
            }
        }
    }
}

#[test]
fn transactions_begin_and_end_in_one_place() {
    assert_never("src/service", &[".begin(", ".commit("], |name| name == "src/service/unit.rs");
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
