//! Settings: the files in `config/`, which are part of the binary, overridden by environment variables.
//!
//! No other module reads the environment or a settings file.

mod accepted;
mod environment;
mod keys;
mod log_filter;
mod networks;
mod origins;
mod sections;

use std::collections::HashMap;

use config::{Config, ConfigError, Environment as Variables, File, FileFormat};
use serde::Deserialize;

pub use self::{
    environment::environment_of,
    keys::Key,
    log_filter::{LogFilter, NotALogFilter},
    networks::{Networks, NotANetwork},
    origins::{NotAnOrigin, Origins},
    sections::{ApiKeys, Auth, Authorization, Cors, Database, Log, LogFormat, Metrics, RateLimit, Retention, Server, Tracing, Webhooks},
};

pub use crate::domain::environment::Environment;

const DEFAULTS: &str = include_str!("../config/default.toml");

/// The upper bound for a number of seconds, milliseconds or connections: ten years of seconds.
const MAX: u64 = 10 * 366 * 24 * 60 * 60;

/// Why the settings are not valid. No message repeats a value: it may be a secret that was set in the wrong place.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// `CORE_API_ENV` names no environment.
    #[error("CORE_API_ENV takes sandbox or production, such as CORE_API_ENV=production")]
    UnknownEnvironment,
    /// A key has a value that it does not accept.
    #[error("{variable} ({key}) takes {takes}, such as {example}")]
    Invalid {
        /// The key.
        key: String,
        /// The variable that sets the key.
        variable: String,
        /// What the key accepts.
        takes: String,
        /// A value that the key accepts.
        example: &'static str,
    },
    /// The files are not valid.
    #[error("the settings cannot be read")]
    Unreadable(#[from] ConfigError),
    /// A variable would set a key that does not exist.
    #[error("{variable} is not a setting; did you mean {near}? (`core-api config` lists all settings)")]
    UnknownKey {
        /// The variable.
        variable: String,
        /// The variable of the most similar key.
        near: String,
    },
    /// A variable would set a key that was replaced by another.
    #[error("{variable} is no longer a setting; {by} takes its place, and takes {takes}, such as {example}")]
    Replaced {
        /// The variable.
        variable: String,
        /// The variable of the key that replaces it.
        by: String,
        /// What that key accepts.
        takes: String,
        /// A value that it accepts.
        example: &'static str,
    },
    /// A variable's value is not text.
    #[error("{0} is not valid UTF-8")]
    NotText(String),
    /// A key is set that needs a cargo feature which this binary lacks.
    #[error("{key} is set, but this binary was built without the feature {feature} (cargo build --release --features {feature})")]
    NotBuiltIn {
        /// The key.
        key: &'static str,
        /// The cargo feature that it needs.
        feature: &'static str,
    },
}

/// All settings. `config/default.toml` explains each key.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// Set by `CORE_API_ENV`, not by a key.
    #[serde(skip, default = "sandbox")]
    pub environment: Environment,
    /// Where and how to serve.
    pub server: Server,
    /// Which web pages may call the API.
    pub cors: Cors,
    /// Which Postgres to use, and how many connections.
    pub database: Database,
    /// Logins and tokens.
    pub auth: Auth,
    /// Request quotas and limits on failed logins.
    pub rate_limit: RateLimit,
    /// API keys.
    pub api_keys: ApiKeys,
    /// How long rows are kept that nothing needs any more.
    pub retention: Retention,
    /// How long authorisations hold money.
    pub authorization: Authorization,
    /// How webhooks are sent.
    pub webhooks: Webhooks,
    /// Where metrics are served.
    pub metrics: Metrics,
    /// Where traces are exported to.
    pub tracing: Tracing,
    /// Log level and format.
    pub log: Log,
}

const fn sandbox() -> Environment {
    Environment::Sandbox
}

impl Settings {
    /// Reads the settings, with the given environment variables over the files.
    ///
    /// # Errors
    /// A variable has a value that its key does not accept; the message names the key.
    pub fn from_variables(variables: HashMap<String, String>) -> Result<Self, SettingsError> {
        keys::refuse_unknown(&variables)?;
        let environment = environment_of(variables.get("CORE_API_ENV").map(String::as_str))?;
        let database_url = variables.get("DATABASE_URL").filter(|url| !url.is_empty()).cloned();
        let read = Config::builder()
            .add_source(File::from_str(DEFAULTS, FileFormat::Toml))
            .add_source(File::from_str(environment::file(environment), FileFormat::Toml))
            .set_override_option("database.url", database_url)?
            .add_source(
                Variables::with_prefix("CORE_API").prefix_separator("__").separator("__").ignore_empty(true).source(Some(variables)),
            )
            .build()?;
        let mut settings: Self = read.try_deserialize().map_err(invalid_value)?;
        settings.environment = environment;
        settings.check(cfg!(feature = "otel"))?;
        Ok(settings)
    }

    /// Every key with its value in force and its source, in alphabetical order. Secrets are hidden.
    ///
    /// # Errors
    /// As for [`Settings::from_variables`].
    pub fn keys(variables: HashMap<String, String>) -> Result<Vec<Key>, SettingsError> {
        let keys = keys::in_force(environment_of(variables.get("CORE_API_ENV").map(String::as_str))?, &variables)?;
        Self::from_variables(variables)?;
        Ok(keys)
    }

    fn check(&self, exports_traces: bool) -> Result<(), SettingsError> {
        // A count that does not fit u64 is out of range as well.
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
                return Err(keys::invalid(key));
            }
        }
        for (key, value) in [("server.linger_seconds", self.server.linger_seconds), ("server.drain_seconds", self.server.drain_seconds)] {
            if value > MAX {
                return Err(keys::invalid(key));
            }
        }
        self.retention.check()?;
        self.authorization.check()?;
        self.webhooks.check()?;
        if self.tracing.otlp_endpoint.is_some() && !exports_traces {
            return Err(SettingsError::NotBuiltIn { key: "tracing.otlp_endpoint", feature: "otel" });
        }
        Ok(())
    }
}

/// The key at fault and what it accepts, without the value that the error of the deserializer repeats.
fn invalid_value(error: ConfigError) -> SettingsError {
    match &error {
        ConfigError::Type { key: Some(key), .. } | ConfigError::At { key: Some(key), .. } => keys::invalid(key),
        _ => SettingsError::Unreadable(error),
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
    fn defaults_are_the_sandbox_on_the_local_machine() {
        let settings = settings(&[]).expect("defaults");
        assert_eq!(settings.environment, Environment::Sandbox);
        assert_eq!(settings.server.listen.to_string(), "127.0.0.1:8080");
        assert_eq!(settings.rate_limit.per_hour.get(), 1000);
        assert!(settings.database.url.is_none() && settings.auth.signing_keys.is_none());
    }

    #[test]
    fn variables_override_the_environment_file_which_overrides_the_defaults() {
        assert_eq!(settings(&[("CORE_API_ENV", "")]).expect("settings").environment, Environment::Sandbox);
        let production = settings(&[("CORE_API_ENV", "production")]).expect("settings");
        assert_eq!(production.log.format, LogFormat::Json);
        let text = settings(&[("CORE_API_ENV", "production"), ("CORE_API__LOG__FORMAT", "text")]).expect("settings");
        assert_eq!(text.log.format, LogFormat::Text);
    }

    #[test]
    fn published_keys_can_be_set_by_variables() {
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
    fn an_invalid_value_is_refused_with_the_name_of_its_key() {
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
            ("CORE_API__RETENTION__IDEMPOTENCY_KEYS_SECONDS", "86399", "retention.idempotency_keys_seconds"),
            ("CORE_API__RETENTION__SESSIONS_SECONDS", "18446744073709551615", "retention.sessions_seconds"),
            ("CORE_API__RETENTION__AUDIT_EVENTS_SECONDS", "2591999", "retention.audit_events_seconds"),
            ("CORE_API__RETENTION__EVENTS_SECONDS", "604799", "retention.events_seconds"),
            ("CORE_API__RETENTION__WEBHOOKS_SECONDS", "86399", "retention.webhooks_seconds"),
            ("CORE_API__WEBHOOKS__ALLOWED_NETWORKS", "10.0.0.0/33", "webhooks.allowed_networks"),
            ("CORE_API__WEBHOOKS__ALLOWED_NETWORKS", "0.0.0.0/0", "webhooks.allowed_networks"),
            ("CORE_API__WEBHOOKS__TIMEOUT_SECONDS", "21", "webhooks.timeout_seconds"),
            ("CORE_API__WEBHOOKS__TIMEOUT_SECONDS", "0", "webhooks.timeout_seconds"),
            ("CORE_API__WEBHOOKS__MAX_CONNECTIONS", "0", "webhooks.max_connections"),
            ("CORE_API__API_KEYS__REQUESTS_PER_SECOND", "0", "api_keys.requests_per_second"),
            ("CORE_API__RATE_LIMIT__REFRESHES_PER_SESSION", "0", "rate_limit.refreshes_per_session"),
            ("CORE_API__NOTHING", "1", "CORE_API__NOTHING"),
        ] {
            let message = settings(&[(key, value)]).expect_err("refused").to_string();
            assert!(message.contains(named) && !message.contains("hunter2"), "{key}={value}: {message}");
        }
    }

    #[test]
    fn otlp_endpoint_needs_the_otel_feature() {
        let mut settings = settings(&[]).expect("defaults");
        settings.check(false).expect("no endpoint is set");
        settings.tracing.otlp_endpoint = "http://localhost:4318".parse().ok();
        settings.check(true).expect("accepted");
        let message = settings.check(false).expect_err("refused").to_string();
        assert!(message.contains("tracing.otlp_endpoint") && message.contains("--features otel"), "{message}");
    }

    #[test]
    fn secrets_are_not_shown() {
        let settings = settings(&[("DATABASE_URL", "postgres://u:hunter2@db/c"), ("CORE_API__AUTH__SIGNING_KEYS", "a:hunter2")]);
        assert!(!format!("{settings:?}").contains("hunter2"));
    }
}
