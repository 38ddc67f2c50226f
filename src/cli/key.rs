//! `core-api key`: creates, lists and revokes API keys.

use std::time::Duration;

use chrono::{DateTime, SecondsFormat, Utc};
use clap::Subcommand;

use super::{
    Failure, account_id, open_with,
    output::{print, print_key},
    settings,
};
use crate::domain::{
    actor::Actor,
    id::{AccountId, ApiKeyId},
    role::Role,
    text::Name,
    word::Word,
};
use crate::service::{
    accounts::Accounts,
    api_keys::{ApiKey, ApiKeys, IssuedKey, NewApiKey},
    idempotency::Outcome,
};

/// Keys per page when they are listed.
const KEYS_PER_PAGE: i64 = 1_000;

/// The longest time until a key expires: ten years of seconds.
const MAX_EXPIRES_IN: u64 = 10 * 366 * 24 * 60 * 60;

#[derive(Debug, Subcommand)]
pub(super) enum KeyCommand {
    /// Create an API key and print it. It is not stored and cannot be shown again.
    Create {
        /// The account's id.
        #[arg(long, value_parser = account_id)]
        account: AccountId,
        /// What the key is for.
        #[arg(long)]
        name: Name,
        /// admin, operator, viewer (read-only) or network (the gateway of a card network).
        #[arg(long)]
        role: Role,
        /// When it expires: a number of seconds, minutes, hours or days, such as 90d. Without it the key does not expire.
        #[arg(long, value_parser = expires_in)]
        expires_in: Option<Duration>,
    },
    /// List an account's API keys: id, name, role, and active, expired or revoked.
    List {
        /// The account's id.
        #[arg(long, value_parser = account_id)]
        account: AccountId,
    },
    /// Revoke an API key, at once and on every replica.
    Revoke {
        /// The account's id.
        #[arg(long, value_parser = account_id)]
        account: AccountId,
        /// The key's id.
        #[arg(value_parser = key_id)]
        key: ApiKeyId,
    },
}

fn key_id(text: &str) -> Result<ApiKeyId, &'static str> {
    text.parse().map_err(|_| "takes an id as `core-api key list` prints it, such as key_01h455vb4pex5vsknk084sn02q")
}

fn expires_in(text: &str) -> Result<Duration, &'static str> {
    let seconds_per = |unit: char| match unit {
        's' => Some(1),
        'm' => Some(60),
        'h' => Some(60 * 60),
        'd' => Some(24 * 60 * 60),
        _ => None,
    };
    let seconds = || {
        let (unit, number) = (text.chars().last()?, text.get(..text.len().checked_sub(1)?)?);
        let is_number = number.bytes().all(|byte| byte.is_ascii_digit());
        number.parse::<u64>().ok().filter(|_| is_number)?.checked_mul(seconds_per(unit)?)
    };
    let valid = seconds().filter(|seconds| (1..=MAX_EXPIRES_IN).contains(seconds));
    valid.map(Duration::from_secs).ok_or("takes a number of seconds, minutes, hours or days, at most ten years, such as 90d or 12h")
}

pub(super) async fn run(command: KeyCommand) -> Result<(), Failure> {
    let settings = settings()?;
    let (pool, postgres) = open_with(&settings).await?;
    let (KeyCommand::Create { account, .. } | KeyCommand::List { account } | KeyCommand::Revoke { account, .. }) = &command;
    Accounts::new(pool.clone()).require(*account).await?;
    let keys = ApiKeys::new(pool, settings.environment);
    match command {
        KeyCommand::Create { account, name, role, expires_in } => {
            let new = NewApiKey { name, role, expires_at: expires_in.map(|time| Utc::now() + time) };
            if let Outcome::Fresh(IssuedKey { key, text }) = keys.create(&Actor::command_line(account), new, None).await? {
                print_key(key.id, &text)?;
            }
        }
        KeyCommand::List { account } => list(&keys, account).await?,
        KeyCommand::Revoke { account, key } => keys.revoke(&Actor::command_line(account), key).await?,
    }
    Ok(postgres.close()?)
}

async fn list(keys: &ApiKeys, account: AccountId) -> Result<(), Failure> {
    let mut after = 0;
    loop {
        let page = keys.page(account, after, KEYS_PER_PAGE).await?;
        let Some(last) = page.last() else { return Ok(()) };
        after = last.number;
        for key in page {
            let role = match &key.role {
                Word::Known(role) => role.name(),
                Word::Unknown(role) => role,
            };
            print(&format_args!("{}\t{}\t{role}\t{}", key.id, key.name, state(&key)))?;
        }
    }
}

fn state(key: &ApiKey) -> String {
    let date = |time: DateTime<Utc>| time.to_rfc3339_opts(SecondsFormat::Secs, true);
    match (key.revoked_at, key.expires_at) {
        (Some(_), _) => "revoked".to_owned(),
        (None, Some(_)) if !key.is_live => "expired".to_owned(),
        (None, Some(expires_at)) => format!("active until {}", date(expires_at)),
        (None, None) => "active".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_until_expiry_is_a_number_and_a_unit() {
        for (text, seconds) in [("1s", 1), ("90m", 5_400), ("12h", 43_200), ("90d", 7_776_000), ("3660d", MAX_EXPIRES_IN)] {
            assert_eq!(expires_in(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
        for text in ["", "d", "0d", "-1d", "+1d", "1", "1w", "1 d", "1D", "1.5h", "3661d", "99999999999999999999d", "1é"] {
            assert!(expires_in(text).is_err(), "{text}");
        }
    }
}
