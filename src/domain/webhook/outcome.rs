//! What an attempt came to.

use serde::Serialize;
use strum::{EnumCount, EnumString, IntoStaticStr, VariantArray};

/// What an attempt came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, sqlx::Type, EnumCount, EnumString, IntoStaticStr, VariantArray)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
#[sqlx(type_name = "text", rename_all = "snake_case")]
pub enum AttemptOutcome {
    /// A status of 200 to 299.
    Succeeded,
    /// Any other status that is not a redirect.
    HttpError,
    /// No status within the time.
    Timeout,
    /// The connection was refused or broke, or what came was not HTTP.
    Connection,
    /// No TLS could be agreed on, or the certificate is not valid for the host.
    Tls,
    /// The host has no address.
    Dns,
    /// The host has an address that must not be called.
    BlockedAddress,
    /// A status of 300 to 399, which is not followed.
    Redirect,
}

impl AttemptOutcome {
    /// The name in JSON and in the database.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.into()
    }

    /// What an attempt with this status came to.
    #[must_use]
    pub const fn of_status(status: u16) -> Self {
        match status {
            200..=299 => Self::Succeeded,
            300..=399 => Self::Redirect,
            _ => Self::HttpError,
        }
    }
}

/// Whether the endpoint says by this status that it wants no more messages: 410 Gone.
#[must_use]
pub const fn is_gone(status: u16) -> bool {
    status == 410
}

/// Whether `Retry-After` counts with this status: 429 Too Many Requests and 503 Service Unavailable.
#[must_use]
pub const fn may_state_retry_after(status: u16) -> bool {
    matches!(status, 429 | 503)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_decides() {
        for (status, outcome) in [
            (101, AttemptOutcome::HttpError),
            (199, AttemptOutcome::HttpError),
            (200, AttemptOutcome::Succeeded),
            (204, AttemptOutcome::Succeeded),
            (299, AttemptOutcome::Succeeded),
            (300, AttemptOutcome::Redirect),
            (308, AttemptOutcome::Redirect),
            (399, AttemptOutcome::Redirect),
            (400, AttemptOutcome::HttpError),
            (410, AttemptOutcome::HttpError),
            (503, AttemptOutcome::HttpError),
            (999, AttemptOutcome::HttpError),
        ] {
            assert_eq!(AttemptOutcome::of_status(status), outcome, "{status}");
        }
    }

    #[test]
    fn few_statuses_mean_more() {
        let all = |is: fn(u16) -> bool| (100..1_000).filter(|status| is(*status)).collect::<Vec<_>>();
        assert_eq!((all(is_gone), all(may_state_retry_after)), (vec![410], vec![429, 503]));
    }

    #[test]
    fn a_name_is_the_same_everywhere() {
        let names = AttemptOutcome::VARIANTS.iter().map(|outcome| outcome.name()).collect::<Vec<_>>();
        assert_eq!(names, ["succeeded", "http_error", "timeout", "connection", "tls", "dns", "blocked_address", "redirect"]);
        for outcome in AttemptOutcome::VARIANTS {
            assert_eq!(serde_json::to_value(outcome).expect("JSON"), outcome.name());
            assert_eq!(outcome.name().parse(), Ok(*outcome));
        }
    }
}
