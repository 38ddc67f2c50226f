//! Every key with its value in force and the source of that value.

use std::{collections::HashMap, fmt};

use config::{Config, ConfigError, File, FileFormat, Source as _, ValueKind};

use super::{
    DEFAULTS, Environment, SettingsError,
    accepted::accepted,
    environment::{file, file_name},
};

/// The prefix of every variable that sets a key.
const PREFIX: &str = "CORE_API__";

/// The prefix of every variable of this program.
const PROGRAM_PREFIX: &str = "CORE_API_";

/// The variable that names the environment.
const ENVIRONMENT: &str = "CORE_API_ENV";

/// Keys that no longer exist, each with the key that replaces it.
const REPLACED: [(&str, &str); 1] = [("server.trusted_hops", "server.trusted_proxies")];

/// Keys whose values are never displayed.
const SECRETS: [&str; 3] = ["database.url", "auth.signing_keys", "webhooks.secret_keys"];

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
    for key in parse_file(file(environment), file_name(environment))? {
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
    let mut set: Vec<_> = variables.iter().filter(|(_, value)| !value.is_empty()).collect();
    set.sort();
    for (variable, value) in set {
        let upper = variable.to_uppercase();
        if !upper.starts_with(PROGRAM_PREFIX) || variable == ENVIRONMENT || is_service_link(&upper, value) {
            continue;
        }
        let key = name_of(variable);
        if key.as_ref().is_some_and(|name| known.iter().any(|key| key.name == *name)) {
            continue;
        }
        if let Some((_, by)) = REPLACED.iter().find(|(old, _)| key.as_deref() == Some(old)) {
            let (takes, example) = accepted(by).unwrap_or_default();
            return Err(SettingsError::Replaced { variable: variable.clone(), by: variable_of(by), takes, example });
        }
        let names = known.iter().map(|key| variable_of(&key.name)).chain([ENVIRONMENT.to_owned()]);
        let similarity = |name: &str| strsim::jaro(&words(name), &words(&upper));
        let near = names.max_by(|a, b| similarity(a).total_cmp(&similarity(b))).unwrap_or_default();
        return Err(SettingsError::UnknownKey { variable: variable.clone(), near });
    }
    Ok(())
}

/// The words of a variable after the prefix that all have, whatever the number of underscores between them.
fn words(variable: &str) -> String {
    let rest = variable.strip_prefix(PROGRAM_PREFIX).unwrap_or(variable);
    rest.split('_').filter(|word| !word.is_empty()).collect::<Vec<_>>().join("_")
}

/// Whether Kubernetes or Docker sets this variable, for a service or a container whose name begins with `core-api`:
/// `CORE_API_SERVICE_HOST`, `CORE_API_SERVICE_PORT_HTTP`, `CORE_API_PORT=tcp://..`, `CORE_API_PORT_8080_TCP_ADDR`.
fn is_service_link(upper: &str, value: &str) -> bool {
    let is_of_port = |protocol: &str| upper.rsplit_once(protocol).is_some_and(|(port, _)| port.contains("_PORT_"));
    !upper.starts_with(PREFIX)
        && (upper.ends_with("_SERVICE_HOST")
            || upper.contains("_SERVICE_PORT")
            || (upper.ends_with("_PORT") && value.contains("://"))
            || ["_TCP", "_UDP", "_SCTP"].into_iter().any(is_of_port))
}

/// The error for a value that a key does not accept.
pub(super) fn invalid(key: &str) -> SettingsError {
    let (takes, example) = accepted(key).unwrap_or_else(|| ("text".to_owned(), "\"text\""));
    SettingsError::Invalid { key: key.to_owned(), variable: variable_of(key), takes, example }
}

/// The variable that sets a key.
fn variable_of(key: &str) -> String {
    format!("{PREFIX}{}", key.replace('.', "__").to_uppercase())
}

/// The name of the key that a variable would set.
fn name_of(variable: &str) -> Option<String> {
    Some(variable.to_uppercase().strip_prefix(PREFIX)?.to_lowercase().replace("__", "."))
}

/// The non-empty variables that have the prefix, each with the name of its key.
fn settable(variables: &HashMap<String, String>) -> impl Iterator<Item = (&str, String)> {
    let set =
        variables.iter().filter(|(_, value)| !value.is_empty()).filter_map(|(variable, _)| Some((variable.as_str(), name_of(variable)?)));
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
            ("CORE_API_RATE_LIMIT__PER_HOUR", "CORE_API__RATE_LIMIT__PER_HOUR"),
            ("CORE_API__RATE_LIMITS__PER_HOUR", "CORE_API__RATE_LIMIT__PER_HOUR"),
            ("CORE_API__RATE_LIMIT_PER_HOUR", "CORE_API__RATE_LIMIT__PER_HOUR"),
            ("CORE_API_SERVER_LISTEN", "CORE_API__SERVER__LISTEN"),
            ("CORE_API_ENVIRONMENT", "CORE_API_ENV"),
            ("core_api_env", "CORE_API_ENV"),
            ("CORE_API__ENV", "CORE_API_ENV"),
        ] {
            let message = refuse_unknown(&variables(&[(variable, "1")])).expect_err("refused").to_string();
            assert!(message.contains(variable) && message.contains(near), "{message}");
        }
        let message = refuse_unknown(&variables(&[("CORE_API__SERVER__TRUSTED_HOPS", "1")])).expect_err("refused").to_string();
        assert!(message.contains("CORE_API__SERVER__TRUSTED_PROXIES") && message.contains("10.0.0.0/8"), "{message}");
        for (variable, value) in [
            ("CORE_API_ENV", "sandbox"),
            ("CORE_API__METRICS__LISTEN", "x"),
            ("CORE_API_", ""),
            ("CORE_APIS", "x"),
            ("PATH", "/bin"),
            // What Kubernetes sets for the services core-api and core-api-metrics.
            ("CORE_API_SERVICE_HOST", "10.0.0.1"),
            ("CORE_API_SERVICE_PORT", "8080"),
            ("CORE_API_SERVICE_PORT_HTTP", "8080"),
            ("CORE_API_PORT", "tcp://10.0.0.1:8080"),
            ("CORE_API_PORT_8080_TCP", "tcp://10.0.0.1:8080"),
            ("CORE_API_PORT_8080_TCP_PROTO", "tcp"),
            ("CORE_API_PORT_8080_TCP_ADDR", "10.0.0.1"),
            ("CORE_API_METRICS_SERVICE_HOST", "10.0.0.1"),
            ("CORE_API_METRICS_PORT_53_UDP_PORT", "53"),
        ] {
            refuse_unknown(&variables(&[(variable, value)])).unwrap_or_else(|error| panic!("{error}"));
        }
    }

    #[test]
    fn every_key_says_what_it_accepts_with_an_example_that_it_accepts() {
        for Key { name, .. } in parse_file(DEFAULTS, "default.toml").expect("the defaults") {
            // These accept any text here: the database and the tokens check them.
            if ["database.url", "database.serving_role", "database.data_dir", "auth.issuer", "auth.signing_keys"].contains(&name.as_str()) {
                continue;
            }
            let (_, example) = accepted(&name).unwrap_or_else(|| panic!("{name} has no example"));
            let set = HashMap::from([(variable_of(&name), example.to_owned())]);
            super::super::Settings::from_variables(set).unwrap_or_else(|error| panic!("{name} does not accept its example: {error}"));
        }
    }
}
