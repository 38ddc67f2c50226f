//! The sections of the settings, as they are in `config/default.toml`.

use std::{collections::BTreeMap, net::SocketAddr, num::NonZeroU32, path::PathBuf};

use secrecy::SecretString;
use serde::{Deserialize, Deserializer, de::Error as _};
use url::Url;

use crate::domain::{hold_time::HoldTimes, webhook::address::AllowedNetworks};

use super::{LogFilter, MAX, Networks, Origins, SettingsError, keys};

/// `[server]`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "each key is explained in config/default.toml")]
pub struct Server {
    pub listen: SocketAddr,
    pub linger_seconds: u64,
    pub drain_seconds: u64,
    pub trusted_proxies: Networks,
    pub max_in_flight: usize,
    pub max_connections: usize,
    pub head_timeout_seconds: u64,
    pub body_timeout_seconds: u64,
    pub idle_timeout_seconds: u64,
    pub write_timeout_seconds: u64,
}

/// `[cors]`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "each key is explained in config/default.toml")]
pub struct Cors {
    pub allowed_origins: Origins,
}

/// `[database]`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "each key is explained in config/default.toml")]
pub struct Database {
    #[serde(deserialize_with = "unless_empty")]
    pub url: Option<SecretString>,
    #[serde(deserialize_with = "name_unless_empty")]
    pub serving_role: Option<String>,
    pub data_dir: PathBuf,
    pub max_connections: u32,
    pub acquire_timeout_ms: u64,
    pub allow_unverified_tls: bool,
    pub sharded: bool,
}

/// `[auth]`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "each key is explained in config/default.toml")]
pub struct Auth {
    pub token_ttl_seconds: u64,
    pub session_ttl_seconds: u64,
    pub issuer: String,
    #[serde(deserialize_with = "unless_empty")]
    pub signing_keys: Option<SecretString>,
}

/// `[rate_limit]`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "each key is explained in config/default.toml")]
pub struct RateLimit {
    pub per_hour: NonZeroU32,
    pub failed_logins_per_minute: NonZeroU32,
    pub failed_logins_per_email_and_address: NonZeroU32,
    pub failed_logins_per_email: NonZeroU32,
    pub failed_logins_per_address: NonZeroU32,
    pub failed_authentications_per_minute: NonZeroU32,
    pub refreshes_per_session: NonZeroU32,
    pub refreshes_per_account: NonZeroU32,
}

/// `[api_keys]`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "each key is explained in config/default.toml")]
pub struct ApiKeys {
    pub requests_per_second: NonZeroU32,
}

/// `[retention]`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "each key is explained in config/default.toml")]
pub struct Retention {
    pub idempotency_keys_seconds: u64,
    pub sessions_seconds: u64,
    pub audit_events_seconds: u64,
    pub events_seconds: u64,
    pub webhooks_seconds: u64,
}

impl Retention {
    /// A key is promised to clients for a day. The database keeps audit events for thirty days, whatever is asked of it.
    pub(super) fn check(&self) -> Result<(), SettingsError> {
        const DAY: u64 = 24 * 60 * 60;
        for (key, value, least) in [
            ("retention.idempotency_keys_seconds", self.idempotency_keys_seconds, DAY),
            ("retention.sessions_seconds", self.sessions_seconds, 0),
            ("retention.events_seconds", self.events_seconds, 7 * DAY),
            ("retention.webhooks_seconds", self.webhooks_seconds, DAY),
            ("retention.audit_events_seconds", self.audit_events_seconds, if self.audit_events_seconds == 0 { 0 } else { 30 * DAY }),
        ] {
            if !(least..=MAX).contains(&value) {
                return Err(keys::invalid(key));
            }
        }
        Ok(())
    }
}

/// `[authorization]`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "each key is explained in config/default.toml")]
pub struct Authorization {
    pub expiry_days_purchase: u16,
    pub expiry_days_preauthorization: u16,
    pub expiry_days_cash: u16,
    pub expiry_days_by_mcc: DaysByCategory,
    pub sweep_seconds: u64,
}

/// Days by the four digits of a merchant's category, such as `7011=31,4411=31`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DaysByCategory(BTreeMap<String, u16>);

impl Authorization {
    /// The longest hold, in days.
    const MAX_DAYS: u16 = 60;

    pub(super) fn check(&self) -> Result<(), SettingsError> {
        for (key, days) in [
            ("authorization.expiry_days_purchase", self.expiry_days_purchase),
            ("authorization.expiry_days_preauthorization", self.expiry_days_preauthorization),
            ("authorization.expiry_days_cash", self.expiry_days_cash),
        ] {
            if !(1..=Self::MAX_DAYS).contains(&days) {
                return Err(keys::invalid(key));
            }
        }
        if !(1..=MAX).contains(&self.sweep_seconds) {
            return Err(keys::invalid("authorization.sweep_seconds"));
        }
        Ok(())
    }

    /// How long a hold lasts.
    #[must_use]
    pub fn hold_times(&self) -> HoldTimes {
        HoldTimes {
            purchase: self.expiry_days_purchase,
            preauthorization: self.expiry_days_preauthorization,
            cash: self.expiry_days_cash,
            by_category: self.expiry_days_by_mcc.0.clone(),
        }
    }
}

impl<'de> Deserialize<'de> for DaysByCategory {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        let entry = |entry: &str| {
            let (category, days) = entry.split_once('=')?;
            let category = category.trim();
            let is_category = category.len() == 4 && category.bytes().all(|byte| byte.is_ascii_digit());
            let days = days.trim().parse().ok().filter(|days| (1..=Authorization::MAX_DAYS).contains(days))?;
            is_category.then(|| (category.to_owned(), days))
        };
        let entries = text.split(',').map(str::trim).filter(|entry| !entry.is_empty());
        entries.map(entry).collect::<Option<_>>().map(Self).ok_or_else(|| D::Error::custom("not days by category"))
    }
}

/// `[webhooks]`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "each key is explained in config/default.toml")]
pub struct Webhooks {
    #[serde(deserialize_with = "unless_empty")]
    pub secret_keys: Option<SecretString>,
    pub allowed_networks: AllowedNetworks,
    pub timeout_seconds: u64,
    pub max_connections: u32,
}

impl Webhooks {
    /// A lease lasts thirty seconds, and no attempt may outlive it.
    const MAX_TIMEOUT: u64 = 20;

    pub(super) fn check(&self) -> Result<(), SettingsError> {
        if !(1..=Self::MAX_TIMEOUT).contains(&self.timeout_seconds) {
            return Err(keys::invalid("webhooks.timeout_seconds"));
        }
        if self.max_connections == 0 {
            return Err(keys::invalid("webhooks.max_connections"));
        }
        Ok(())
    }
}

/// `[metrics]`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "each key is explained in config/default.toml")]
pub struct Metrics {
    #[serde(deserialize_with = "address_unless_empty")]
    pub listen: Option<SocketAddr>,
}

/// `[tracing]`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "each key is explained in config/default.toml")]
pub struct Tracing {
    #[serde(deserialize_with = "collector_unless_empty")]
    pub otlp_endpoint: Option<Url>,
}

/// `[log]`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "each key is explained in config/default.toml")]
pub struct Log {
    pub level: LogFilter,
    pub format: LogFormat,
}

/// The format of log lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    Text,
    /// For machines.
    Json,
}

fn unless_empty<'de, D: Deserializer<'de>>(from: D) -> Result<Option<SecretString>, D::Error> {
    let text = String::deserialize(from)?;
    Ok(if text.is_empty() { None } else { Some(text.into()) })
}

fn name_unless_empty<'de, D: Deserializer<'de>>(from: D) -> Result<Option<String>, D::Error> {
    let text = String::deserialize(from)?;
    Ok(if text.is_empty() { None } else { Some(text) })
}

fn address_unless_empty<'de, D: Deserializer<'de>>(from: D) -> Result<Option<SocketAddr>, D::Error> {
    let text = String::deserialize(from)?;
    if text.is_empty() { Ok(None) } else { text.parse().map(Some).map_err(D::Error::custom) }
}

fn collector_unless_empty<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Url>, D::Error> {
    let text = String::deserialize(from)?;
    if text.is_empty() {
        return Ok(None);
    }
    // The exporter is built without TLS. A collector next to this process forwards spans to other hosts and keeps any
    // password for them: here `core-api config` would print it.
    let plain = |url: &Url| {
        url.scheme() == "http" && url.username().is_empty() && url.password().is_none() && url.query().is_none() && url.fragment().is_none()
    };
    Url::parse(&text).ok().filter(plain).map(Some).ok_or_else(|| D::Error::custom("not a collector"))
}
