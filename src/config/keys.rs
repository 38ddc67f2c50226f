//! Every key with its value in force and the source of that value.

use std::{collections::HashMap, fmt};

use config::{Config, ConfigError, File, FileFormat, Source as _, ValueKind};

use super::{DEFAULTS, Environment, SettingsError};

/// The prefix of every variable that sets a key.
const PREFIX: &str = "CORE_API__";

/// Keys whose values are never displayed.
const SECRETS: [&str; 2] = ["database.url", "auth.signing_keys"];

/// A key with its value in force.
#[derive(Clone, PartialEq, Eq)]
pub struct Key {
    /// The name, such as `server.listen`.
    pub name: String,
    /// The value as TOML; `(secret)` for a secret.
    pub value: String,
    /// The file or the variable that set the value.
    pub source: String,
}

// One line of TOML.
impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:<60} # {}", format!("{} = {}", self.name, self.value), self.source)
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Every key in alphabetical order, with the value from the variables, else from the files.
pub(super) fn in_force(environment: Environment, variables: &HashMap<String, String>) -> Result<Vec<Key>, SettingsError> {
    let mut keys = parse_file(DEFAULTS, "default.toml")?;
    for key in parse_file(environment.file(), environment.file_name())? {
        insert(&mut keys, key);
    }
    for (variable, name) in settable(variables) {
        let value = variables.get(variable).cloned().unwrap_or_default();
        insert(&mut keys, Key { value: displayed(&name, &ValueKind::String(value)), name, source: variable.to_owned() });
    }
    if let Some(url) = variables.get("DATABASE_URL").filter(|url| !url.is_empty()) {
        let name = "database.url".to_owned();
        insert(&mut keys, Key { value: displayed(&name, &ValueKind::String(url.clone())), name, source: "DATABASE_URL".to_owned() });
    }
    Ok(keys)
}

/// Refuses variables that name no existing key: a misspelt name must not silently leave the default in place.
pub(super) fn refuse_unknown(variables: &HashMap<String, String>) -> Result<(), SettingsError> {
    let known = parse_file(DEFAULTS, "default.toml")?;
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

/// The non-empty variables that have the prefix, each with the name of its key.
fn settable(variables: &HashMap<String, String>) -> impl Iterator<Item = (&str, String)> {
    let set = variables.iter().filter(|(_, value)| !value.is_empty()).filter_map(|(variable, _)| {
        let name = variable.to_uppercase().strip_prefix(PREFIX)?.to_lowercase().replace("__", ".");
        Some((variable.as_str(), name))
    });
    let mut set: Vec<_> = set.collect();
    set.sort();
    set.into_iter()
}

fn insert(keys: &mut Vec<Key>, key: Key) {
    keys.retain(|other| other.name != key.name);
    let place = keys.partition_point(|other| other.name < key.name);
    keys.insert(place, key);
}

fn parse_file(text: &str, file_name: &str) -> Result<Vec<Key>, ConfigError> {
    let sections = Config::builder().add_source(File::from_str(text, FileFormat::Toml)).build()?.collect()?;
    let mut keys = Vec::new();
    for (section, keys_in_it) in sections {
        for (key, value) in keys_in_it.into_table()? {
            let name = format!("{section}.{key}");
            insert(&mut keys, Key { value: displayed(&name, &value.kind), name, source: format!("config/{file_name}") });
        }
    }
    Ok(keys)
}

fn displayed(name: &str, value: &ValueKind) -> String {
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
    fn each_key_names_its_source_and_secrets_are_hidden() {
        let given = variables(&[
            ("CORE_API__SERVER__DRAIN_SECONDS", "7"),
            ("CORE_API__DATABASE__URL", "postgres://u:hunter2@nowhere/c"),
            ("DATABASE_URL", "postgres://u:hunter3@db/c"),
            ("CORE_API__LOG__LEVEL", ""),
        ]);
        let keys = in_force(Environment::Production, &given).expect("keys");
        let line = |name: &str| keys.iter().find(|key| key.name == name).map(|key| (key.value.clone(), key.source.clone())).expect("a key");
        let is = |value: &str, source: &str| (value.to_owned(), source.to_owned());
        assert_eq!(line("server.drain_seconds"), is("\"7\"", "CORE_API__SERVER__DRAIN_SECONDS"));
        assert_eq!(line("server.listen"), is("\"0.0.0.0:8080\"", "config/production.toml"));
        assert_eq!(line("log.level"), is("\"info,sqlx=warn\"", "config/default.toml"));
        assert_eq!(line("database.url"), is("(secret)", "DATABASE_URL"));
        assert_eq!(line("auth.signing_keys"), is("\"\"", "config/default.toml"));
        assert!(!format!("{keys:?}").contains("hunter"));
    }

    #[test]
    fn an_unknown_key_is_refused_with_the_most_similar_key() {
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
