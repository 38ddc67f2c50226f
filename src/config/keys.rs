//! Every key, its value in force, and where that came from.

use std::{collections::HashMap, fmt};

use config::{Config, ConfigError, File, FileFormat, Source as _, ValueKind};

use super::{DEFAULTS, Environment, SettingsError};

/// What every variable begins with that sets a key.
const PREFIX: &str = "CORE_API__";

/// Keys whose values are shown to nobody.
const SECRETS: [&str; 2] = ["database.url", "auth.signing_keys"];

/// A key as it is in force.
#[derive(Clone, PartialEq, Eq)]
pub struct Key {
    /// Its name, such as `server.listen`.
    pub name: String,
    /// Its value as TOML; nothing of a secret's.
    pub value: String,
    /// The file or the variable that it came from.
    pub from: String,
}

// One line of a TOML file.
impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:<60} # {}", format!("{} = {}", self.name, self.value), self.from)
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Every key by its name, in alphabetical order, with what the files and then the variables make of it.
pub(super) fn in_force(environment: Environment, variables: &HashMap<String, String>) -> Result<Vec<Key>, SettingsError> {
    let mut keys = file(DEFAULTS, "default.toml")?;
    for key in file(environment.file(), environment.file_name())? {
        put(&mut keys, key);
    }
    for (variable, name) in settable(variables) {
        let value = variables.get(variable).cloned().unwrap_or_default();
        put(&mut keys, Key { value: shown(&name, &ValueKind::String(value)), name, from: variable.to_owned() });
    }
    if let Some(url) = variables.get("DATABASE_URL").filter(|url| !url.is_empty()) {
        let name = "database.url".to_owned();
        put(&mut keys, Key { value: shown(&name, &ValueKind::String(url.clone())), name, from: "DATABASE_URL".to_owned() });
    }
    Ok(keys)
}

/// Refuses variables that would set a key which does not exist: a wrong name must not pass for the default.
pub(super) fn refuse_unknown(variables: &HashMap<String, String>) -> Result<(), SettingsError> {
    let known = file(DEFAULTS, "default.toml")?;
    for (variable, name) in settable(variables) {
        if known.iter().any(|key| key.name == name) {
            continue;
        }
        let near = known.iter().max_by(|a, b| strsim::jaro(&a.name, &name).total_cmp(&strsim::jaro(&b.name, &name)));
        let near = near.map(|key| format!("{PREFIX}{}", key.name.replace('.', "__").to_uppercase())).unwrap_or_default();
        return Err(SettingsError::UnknownKey { variable: variable.to_owned(), near });
    }
    Ok(())
}

/// The variables that set something, each with the name of its key.
fn settable(variables: &HashMap<String, String>) -> impl Iterator<Item = (&str, String)> {
    let set = variables.iter().filter(|(_, value)| !value.is_empty()).filter_map(|(variable, _)| {
        let name = variable.to_uppercase().strip_prefix(PREFIX)?.to_lowercase().replace("__", ".");
        Some((variable.as_str(), name))
    });
    let mut set: Vec<_> = set.collect();
    set.sort();
    set.into_iter()
}

fn put(keys: &mut Vec<Key>, key: Key) {
    keys.retain(|other| other.name != key.name);
    let place = keys.partition_point(|other| other.name < key.name);
    keys.insert(place, key);
}

fn file(text: &str, from: &str) -> Result<Vec<Key>, ConfigError> {
    let sections = Config::builder().add_source(File::from_str(text, FileFormat::Toml)).build()?.collect()?;
    let mut keys = Vec::new();
    for (section, keys_in_it) in sections {
        for (key, value) in keys_in_it.into_table()? {
            let name = format!("{section}.{key}");
            put(&mut keys, Key { value: shown(&name, &value.kind), name, from: format!("config/{from}") });
        }
    }
    Ok(keys)
}

fn shown(name: &str, value: &ValueKind) -> String {
    match value {
        ValueKind::String(text) if text.is_empty() => "\"\"".to_owned(),
        _ if SECRETS.contains(&name) => "(secret)".to_owned(),
        ValueKind::String(text) => format!("{text:?}"),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn variables(given: &[(&str, &str)]) -> HashMap<String, String> {
        given.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn each_key_says_where_its_value_came_from_and_a_secret_says_nothing_else() {
        let given = variables(&[
            ("CORE_API__SERVER__DRAIN_SECONDS", "7"),
            ("CORE_API__DATABASE__URL", "postgres://u:hunter2@nowhere/c"),
            ("DATABASE_URL", "postgres://u:hunter3@db/c"),
            ("CORE_API__LOG__LEVEL", ""),
        ]);
        let keys = in_force(Environment::Production, &given).expect("keys");
        let line = |name: &str| keys.iter().find(|key| key.name == name).map(|key| (key.value.clone(), key.from.clone())).expect("a key");
        let is = |value: &str, from: &str| (value.to_owned(), from.to_owned());
        assert_eq!(line("server.drain_seconds"), is("\"7\"", "CORE_API__SERVER__DRAIN_SECONDS"));
        assert_eq!(line("server.listen"), is("\"0.0.0.0:8080\"", "config/production.toml"));
        assert_eq!(line("log.level"), is("\"info,sqlx=warn\"", "config/default.toml"));
        assert_eq!(line("database.url"), is("(secret)", "DATABASE_URL"));
        assert_eq!(line("auth.signing_keys"), is("\"\"", "config/default.toml"));
        assert!(!format!("{keys:?}").contains("hunter"));
    }

    #[test]
    fn a_key_that_does_not_exist_is_refused_with_the_one_that_may_be_meant() {
        for (variable, near) in [
            ("CORE_API__SERVER__LISTN", "CORE_API__SERVER__LISTEN"),
            ("CORE_API__RATE_LIMIT__PERHOUR", "CORE_API__RATE_LIMIT__PER_HOUR"),
            ("core_api__log__levels", "CORE_API__LOG__LEVEL"),
        ] {
            let message = refuse_unknown(&variables(&[(variable, "1")])).expect_err("refused").to_string();
            assert!(message.contains(variable) && message.contains(near), "{message}");
        }
        refuse_unknown(&variables(&[("CORE_API_ENV", "sandbox"), ("CORE_API__METRICS__LISTEN", "x"), ("PATH", "/bin")])).expect("known");
    }
}
