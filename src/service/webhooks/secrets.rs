//! The secrets of endpoints. They are derived and not stored: whoever reads the database learns none.

use std::sync::Arc;

use crate::domain::{
    error::Refusal,
    id::{AccountId, WebhookEndpointId},
    webhook::signature::SigningSecret,
};
use crate::service::{auth::SigningKey, error::Result};

/// Which key and which generation a secret is derived from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct SecretVersion {
    pub(super) kid: String,
    pub(super) generation: i32,
}

/// The keys that the secrets of endpoints are derived from.
#[derive(Clone, Debug)]
pub struct SecretKeys {
    keys: Arc<Vec<SigningKey>>,
}

impl SecretKeys {
    /// New secrets are derived from the first key. There may be none: then there can be no endpoints.
    #[must_use]
    pub fn new(keys: Vec<SigningKey>) -> Self {
        Self { keys: Arc::new(keys) }
    }

    /// The name of the key that new secrets are derived from.
    pub(super) fn first(&self) -> Option<&str> {
        self.keys.first().map(SigningKey::kid)
    }

    /// The names of all keys.
    pub(super) fn names(&self) -> Vec<String> {
        self.keys.iter().map(|key| key.kid().to_owned()).collect()
    }

    /// Whether there is a key with this name.
    pub(super) fn has(&self, kid: &str) -> bool {
        self.keys.iter().any(|key| key.kid() == kid)
    }

    /// Several secrets of an endpoint, in their order.
    ///
    /// # Errors
    /// A key is not among those of this process.
    pub(super) fn secrets<'a>(
        &self,
        account: AccountId,
        endpoint: WebhookEndpointId,
        versions: impl IntoIterator<Item = &'a SecretVersion>,
    ) -> Result<Vec<SigningSecret>> {
        versions.into_iter().map(|version| self.secret(account, endpoint, version)).collect()
    }

    /// The secret of an endpoint.
    ///
    /// # Errors
    /// The key is not among those of this process.
    pub(super) fn secret(&self, account: AccountId, endpoint: WebhookEndpointId, version: &SecretVersion) -> Result<SigningSecret> {
        let key = self.keys.iter().find(|key| key.kid() == version.kid).ok_or(Refusal::WebhooksNotConfigured)?;
        key.derive(&format!("webhook.{account}.{endpoint}.{}", version.generation)).map(SigningSecret::new)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::service::error::Error;

    fn key(kid: &str, first: u8) -> SigningKey {
        let bytes: Vec<u8> = (first..first + 32).collect();
        SigningKey::new(kid, bytes.into()).expect("a key")
    }

    #[test]
    fn a_secret_depends_on_the_key_the_account_the_endpoint_and_the_generation() {
        let keys = SecretKeys::new(vec![key("new", 1), key("old", 100)]);
        let (account, endpoint) = (AccountId::new(), WebhookEndpointId::new());
        let secret = |account, endpoint, kid: &str, generation| {
            let version = SecretVersion { kid: kid.to_owned(), generation };
            *keys.secret(account, endpoint, &version).expect("a secret").expose_bytes()
        };
        let one = secret(account, endpoint, "new", 1);
        assert_eq!(secret(account, endpoint, "new", 1), one);
        for other in [
            secret(AccountId::new(), endpoint, "new", 1),
            secret(account, WebhookEndpointId::new(), "new", 1),
            secret(account, endpoint, "old", 1),
            secret(account, endpoint, "new", 2),
        ] {
            assert_ne!(other, one);
        }
        assert_eq!((keys.first(), keys.has("old"), keys.has("other")), (Some("new"), true, false));
        let missing = SecretVersion { kid: "other".to_owned(), generation: 1 };
        assert!(matches!(keys.secret(account, endpoint, &missing), Err(Error::Refused(Refusal::WebhooksNotConfigured))));
        assert_eq!(SecretKeys::new(Vec::new()).first(), None);
    }
}
