//! Settings: the files in `config/`, which are part of the binary, under the process' environment.
//!
//! Reads and checks, and nothing else: no setting is looked up anywhere but here.

mod environment;
mod keys;
mod origins;
mod sections;

use std::collections::HashMap;

use config::{Config, Environment as Variables, File, FileFormat};
use serde::Deserialize;

pub use self::{
    environment::Environment,
    keys::Key,
    origins::Origins,
    sections::{Auth, Cors, Database, Log, LogFormat, Metrics, RateLimit, Server, Tracing},
};

const DEFAULTS: &str = include_str!("../config/default.toml");

/// The most that a number of seconds, milliseconds or connections can sensibly be: ten years.
const MAX: u64 = 10 * 366 * 24 * 60 * 60;

/// Why there are no settings to start with.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// `CORE_API_ENV` is something else.
    #[error("CORE_API_ENV is {0:?}; it takes \"sandbox\" or \"production\"")]
    UnknownEnvironment(String),
    /// A key has a value it does not take.
    #[error("{0}")]
    Invalid(#[from] config::ConfigError),
    /// A variable would set a key that does not exist.
    #[error("{variable} sets no key there is; {near} may be meant (`core-api config` lists all keys)")]
    UnknownKey {
        /// The variable.
        variable: String,
        /// The most similar one that exists.
        near: String,
    },
    /// A number is out of its range.
    #[error("{0} must be above zero and at most {MAX}")]
    OutOfRange(&'static str),
    /// A time that may be none is too long.
    #[error("{0} must be at most {MAX}")]
    TooLong(&'static str),
    /// A key is set that this binary has no code for.
    #[error("{key} is set, but this binary was built without the feature {feature} (cargo build --release --features {feature})")]
    NotBuiltIn {
        /// The key.
        key: &'static str,
        /// The cargo feature that it needs.
        feature: &'static str,
    },
}

/// Everything that can be set. `config/default.toml` says what each key means.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// Not a key: from `CORE_API_ENV`.
    #[serde(skip, default = "sandbox")]
    pub environment: Environment,
    /// Where and how to serve.
    pub server: Server,
    /// Which web pages may call.
    pub cors: Cors,
    /// Which Postgres, and how much of it.
    pub database: Database,
    /// Logins and tokens.
    pub auth: Auth,
    /// How many requests.
    pub rate_limit: RateLimit,
    /// Where it is watched.
    pub metrics: Metrics,
    /// Where traces go.
    pub tracing: Tracing,
    /// What is logged, and how.
    pub log: Log,
}

const fn sandbox() -> Environment {
    Environment::Sandbox
}

impl Settings {
    /// Reads the settings under the given environment variables.
    ///
    /// # Errors
    /// A variable has a value its key does not take; the message names the key.
    pub fn from_variables(variables: HashMap<String, String>) -> Result<Self, SettingsError> {
        let environment = Environment::from_variable(variables.get("CORE_API_ENV").map(String::as_str))?;
        keys::refuse_unknown(&variables)?;
        let database_url = variables.get("DATABASE_URL").filter(|url| !url.is_empty()).cloned();
        let read = Config::builder()
            .add_source(File::from_str(DEFAULTS, FileFormat::Toml))
            .add_source(File::from_str(environment.file(), FileFormat::Toml))
            .set_override_option("database.url", database_url)?
            .add_source(
                Variables::with_prefix("CORE_API").prefix_separator("__").separator("__").ignore_empty(true).source(Some(variables)),
            )
            .build()?;
        let mut settings: Self = read.try_deserialize()?;
        settings.environment = environment;
        settings.check(cfg!(feature = "otel"))?;
        Ok(settings)
    }

    /// Every key with its value in force and where that came from, in alphabetical order. Nothing of a secret is in it.
    ///
    /// # Errors
    /// As for [`Settings::from_variables`].
    pub fn keys(variables: HashMap<String, String>) -> Result<Vec<Key>, SettingsError> {
        let keys = keys::in_force(Environment::from_variable(variables.get("CORE_API_ENV").map(String::as_str))?, &variables)?;
        Self::from_variables(variables)?;
        Ok(keys)
    }

    fn check(&self, exports_traces: bool) -> Result<(), SettingsError> {
        // What is no count at all on this machine is out of range as well.
        let count = |number: usize| u64::try_from(number).unwrap_or(u64::MAX);
        for (key, value) in [
            ("server.max_in_flight", count(self.server.max_in_flight)),
            ("server.max_connections", count(self.server.max_connections)),
            ("server.head_timeout_seconds", self.server.head_timeout_seconds),
            ("server.body_timeout_seconds", self.server.body_timeout_seconds),
            ("server.idle_timeout_seconds", self.server.idle_timeout_seconds),
            ("server.write_timeout_seconds", self.server.write_timeout_seconds),
            ("database.max_connections", u64::from(self.database.max_connections)),
            ("database.acquire_timeout_ms", self.database.acquire_timeout_ms),
            ("auth.token_ttl_seconds", self.auth.token_ttl_seconds),
            ("auth.session_ttl_seconds", self.auth.session_ttl_seconds),
        ] {
            if value == 0 || value > MAX {
                return Err(SettingsError::OutOfRange(key));
            }
        }
        for (key, value) in [("server.linger_seconds", self.server.linger_seconds), ("server.drain_seconds", self.server.drain_seconds)] {
            if value > MAX {
                return Err(SettingsError::TooLong(key));
            }
        }
        if self.tracing.otlp_endpoint.is_some() && !exports_traces {
            return Err(SettingsError::NotBuiltIn { key: "tracing.otlp_endpoint", feature: "otel" });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use secrecy::ExposeSecret;

    use super::*;

    fn settings(variables: &[(&str, &str)]) -> Result<Settings, SettingsError> {
        Settings::from_variables(variables.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect())
    }

    #[test]
    fn without_any_variable_it_is_the_sandbox_on_this_machine() {
        let settings = settings(&[]).expect("defaults");
        assert_eq!(settings.environment, Environment::Sandbox);
        assert_eq!(settings.server.listen.to_string(), "127.0.0.1:8080");
        assert_eq!(settings.rate_limit.per_hour.get(), 1000);
        assert!(settings.database.url.is_none() && settings.auth.signing_keys.is_none());
    }

    #[test]
    fn variables_come_over_the_environment_s_file_and_that_over_the_defaults() {
        assert_eq!(settings(&[("CORE_API_ENV", "")]).expect("settings").environment, Environment::Sandbox);
        let production = settings(&[("CORE_API_ENV", "production")]).expect("settings");
        assert_eq!(production.log.format, LogFormat::Json);
        let text = settings(&[("CORE_API_ENV", "production"), ("CORE_API__LOG__FORMAT", "text")]).expect("settings");
        assert_eq!(text.log.format, LogFormat::Text);
    }

    #[test]
    fn every_key_of_the_contract_can_be_set_by_a_variable() {
        let settings = settings(&[
            ("DATABASE_URL", "postgres://db/core"),
            ("CORE_API__SERVER__LISTEN", "0.0.0.0:0"),
            ("CORE_API__DATABASE__DATA_DIR", "/tmp/123"),
            ("CORE_API__RATE_LIMIT__PER_HOUR", "7"),
            ("CORE_API__AUTH__TOKEN_TTL_SECONDS", "60"),
            ("CORE_API__AUTH__SIGNING_KEYS", "a:AAAA,b:BBBB"),
            ("CORE_API__METRICS__LISTEN", "127.0.0.1:9464"),
        ])
        .expect("settings");
        assert_eq!(settings.metrics.listen.map(|address| address.port()), Some(9464));
        assert_eq!(settings.server.listen.port(), 0);
        assert_eq!(settings.database.data_dir, PathBuf::from("/tmp/123"));
        assert_eq!(settings.rate_limit.per_hour.get(), 7);
        assert_eq!(settings.auth.token_ttl_seconds, 60);
        assert_eq!(settings.auth.signing_keys.map(|keys| keys.expose_secret().to_owned()), Some("a:AAAA,b:BBBB".to_owned()));
        assert_eq!(settings.database.url.map(|url| url.expose_secret().to_owned()), Some("postgres://db/core".to_owned()));
    }

    #[test]
    fn a_wrong_value_is_refused_by_the_name_of_its_key() {
        for (key, value, named) in [
            ("CORE_API_ENV", "staging", "CORE_API_ENV"),
            ("CORE_API__RATE_LIMIT__PER_HOUR", "many", "rate_limit.per_hour"),
            ("CORE_API__RATE_LIMIT__PER_HOUR", "0", "rate_limit.per_hour"),
            ("CORE_API__SERVER__LISTEN", "here", "server.listen"),
            ("CORE_API__AUTH__TOKEN_TTL_SECONDS", "0", "auth.token_ttl_seconds"),
            ("CORE_API__LOG__FORMAT", "xml", "log.format"),
            ("CORE_API__SERVER__MAX_IN_FLIGHT", "0", "server.max_in_flight"),
            ("CORE_API__SERVER__MAX_CONNECTIONS", "0", "server.max_connections"),
            ("CORE_API__SERVER__MAX_CONNECTIONS", "-1", "server.max_connections"),
            ("CORE_API__SERVER__HEAD_TIMEOUT_SECONDS", "0", "server.head_timeout_seconds"),
            ("CORE_API__SERVER__BODY_TIMEOUT_SECONDS", "18446744073709551615", "server.body_timeout_seconds"),
            ("CORE_API__SERVER__IDLE_TIMEOUT_SECONDS", "0", "server.idle_timeout_seconds"),
            ("CORE_API__SERVER__WRITE_TIMEOUT_SECONDS", "0", "server.write_timeout_seconds"),
            ("CORE_API__CORS__ALLOWED_ORIGINS", "*", "cors.allowed_origins"),
            ("CORE_API__METRICS__LISTEN", "9464", "metrics.listen"),
            ("CORE_API__TRACING__OTLP_ENDPOINT", "localhost:4318", "tracing.otlp_endpoint"),
            ("CORE_API__TRACING__OTLP_ENDPOINT", "https://localhost:4318", "tracing.otlp_endpoint"),
            ("CORE_API__TRACING__OTLP_ENDPOINT", "http://user:hunter2@localhost:4318", "tracing.otlp_endpoint"),
            ("CORE_API__TRACING__OTLP_ENDPOINT", "http://localhost:4318?key=hunter2", "tracing.otlp_endpoint"),
            ("CORE_API__SERVER__LINGER_SECONDS", "-1", "server.linger_seconds"),
            ("CORE_API__SERVER__LINGER_SECONDS", "18446744073709551615", "server.linger_seconds"),
            ("CORE_API__NOTHING", "1", "CORE_API__NOTHING"),
        ] {
            let message = settings(&[(key, value)]).expect_err("refused").to_string();
            assert!(message.contains(named) && !message.contains("hunter2"), "{key}={value}: {message}");
        }
    }

    #[test]
    fn an_endpoint_for_traces_is_taken_only_by_a_binary_that_can_export_them() {
        let mut settings = settings(&[]).expect("defaults");
        settings.check(false).expect("none is set");
        settings.tracing.otlp_endpoint = "http://localhost:4318".parse().ok();
        settings.check(true).expect("taken");
        let message = settings.check(false).expect_err("refused").to_string();
        assert!(message.contains("tracing.otlp_endpoint") && message.contains("--features otel"), "{message}");
    }

    #[test]
    fn secrets_are_not_shown() {
        let settings = settings(&[("DATABASE_URL", "postgres://u:hunter2@db/c"), ("CORE_API__AUTH__SIGNING_KEYS", "a:hunter2")]);
        assert!(!format!("{settings:?}").contains("hunter2"));
    }
}
