//! What each key accepts, in the words of an error, and an example that it accepts.

use super::MAX;

/// What a key accepts, and an example. None for a key that accepts any text, or does not exist.
pub(super) fn accepted(key: &str) -> Option<(String, &'static str)> {
    let number = |unit: &str, least: u32| format!("a number of {unit} from {least} to {MAX}");
    Some(match key {
        "server.listen" | "metrics.listen" => ("an IP address with a port".to_owned(), "0.0.0.0:8080"),
        "server.linger_seconds" | "server.drain_seconds" => (number("seconds", 0), "10"),
        "server.head_timeout_seconds"
        | "server.body_timeout_seconds"
        | "server.idle_timeout_seconds"
        | "server.write_timeout_seconds"
        | "auth.token_ttl_seconds"
        | "auth.session_ttl_seconds" => (number("seconds", 1), "60"),
        "server.trusted_proxies" => ("networks and addresses, but not the network of all addresses".to_owned(), "10.0.0.0/8,fd00::/8"),
        "server.max_in_flight" => (number("requests", 1), "1024"),
        "server.max_connections" | "database.max_connections" => (number("connections", 1), "20"),
        "cors.allowed_origins" => {
            ("origins as browsers send them, without a path".to_owned(), "https://app.example.com,https://example.org")
        }
        "database.acquire_timeout_ms" => (number("milliseconds", 1), "1000"),
        "database.allow_unverified_tls" | "database.sharded" => ("true or false".to_owned(), "false"),
        key if key.starts_with("rate_limit.") || key.starts_with("api_keys.") => {
            (format!("a number of requests from 1 to {}", u32::MAX), "1000")
        }
        "retention.idempotency_keys_seconds" => (number("seconds", 86_400), "86400"),
        "retention.sessions_seconds" => (number("seconds", 0), "2592000"),
        "retention.webhooks_seconds" => (number("seconds", 86_400), "2592000"),
        "webhooks.secret_keys" => ("kid:base64,kid:base64 of 32 random bytes each".to_owned(), "w1:$(openssl rand -base64 32)"),
        "webhooks.allowed_networks" => ("networks other than /0, separated by commas".to_owned(), "10.1.0.0/16,fd00::/8"),
        "webhooks.timeout_seconds" => ("a number of seconds from 1 to 20".to_owned(), "15"),
        "webhooks.max_connections" => ("a number of connections from 1".to_owned(), "4"),
        "retention.events_seconds" => (number("seconds", 604_800), "7776000"),
        "retention.audit_events_seconds" => (format!("0, or {}", number("seconds", 2_592_000)), "31536000"),
        "authorization.expiry_days_purchase" | "authorization.expiry_days_preauthorization" | "authorization.expiry_days_cash" => {
            ("a number of days from 1 to 60".to_owned(), "7")
        }
        "authorization.expiry_days_by_mcc" => ("categories of four digits, each with its days from 1 to 60".to_owned(), "7011=31,4411=31"),
        "authorization.sweep_seconds" => (number("seconds", 1), "5"),
        "tracing.otlp_endpoint" => ("the http:// address of a collector, without a user or query".to_owned(), "http://localhost:4318"),
        "log.level" => ("error, warn, info, debug, trace or off, and module=level after it".to_owned(), "info,sqlx=warn"),
        "log.format" => ("text or json".to_owned(), "json"),
        _ => return None,
    })
}
