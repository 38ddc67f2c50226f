//! Finds the Postgres server programs on this machine.

use std::{
    env,
    path::{Path, PathBuf},
};

use super::PrivateError;

/// The command that installs Postgres, by package manager.
const INSTALL_COMMANDS: [(&str, &str); 4] = [
    ("apt-get", "sudo apt-get install -y postgresql"),
    ("dnf", "sudo dnf install -y postgresql-server"),
    ("apk", "sudo apk add postgresql"),
    ("brew", "brew install postgresql@17"),
];

/// The folder that contains `postgres` and `initdb`: `PG_BIN` if set, else the version that created the
/// data, else the newest installed version.
///
/// # Errors
/// Postgres is not installed; the error says how to install it.
pub(super) fn find(created_by: Option<&str>) -> Result<PathBuf, PrivateError> {
    let set = env::var_os("PG_BIN").map(PathBuf::from);
    let on_path = env::var_os("PATH").map(|path| env::split_paths(&path).collect::<Vec<_>>()).unwrap_or_default();
    let complete = |folder: &PathBuf| folder.join("postgres").is_file() && folder.join("initdb").is_file();
    if let Some(set) = set.filter(complete) {
        return Ok(set);
    }
    let installed: Vec<PathBuf> = versioned("/usr/lib/postgresql", "")
        .into_iter()
        .chain(versioned("/usr", "pgsql-"))
        .chain(versioned("/usr/libexec", "postgresql"))
        .chain(versioned("/opt/homebrew/opt", "postgresql@"))
        .chain(versioned("/usr/local/opt", "postgresql@"))
        .chain(on_path.iter().cloned())
        .filter(complete)
        .collect();
    let matching = created_by.and_then(|version| installed.iter().find(|folder| has_version(folder, version)));
    matching.or(installed.first()).cloned().ok_or_else(|| {
        let has = |program: &str| on_path.iter().any(|folder| folder.join(program).is_file());
        let command = INSTALL_COMMANDS.iter().find(|(manager, _)| has(manager)).map_or(INSTALL_COMMANDS[0].1, |(_, command)| command);
        PrivateError::NotInstalled(command)
    })
}

/// Whether a folder's name contains a major version, as package managers name them.
fn has_version(folder: &Path, version: &str) -> bool {
    folder.components().rev().take(2).any(|part| {
        let name = part.as_os_str().to_string_lossy();
        name.trim_start_matches(|character: char| !character.is_ascii_digit()) == version
    })
}

/// `parent/prefix<version>/bin`, or `parent/prefix<version>` itself, newest version first.
fn versioned(parent: &str, prefix: &str) -> Vec<PathBuf> {
    let mut found: Vec<(u32, PathBuf)> = Path::new(parent)
        .read_dir()
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| {
            let version = entry.file_name().to_str()?.strip_prefix(prefix)?.parse().ok()?;
            Some((version, entry.path()))
        })
        .collect();
    found.sort_by(|a, b| b.cmp(a));
    found.into_iter().flat_map(|(_, folder)| [folder.join("bin"), folder]).collect()
}
