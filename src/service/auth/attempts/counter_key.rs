//! The keys of the counters of failed logins.

use std::fmt;

use sha2::{Digest, Sha256};

/// The source of a login: a client address, or the network of one client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source(String);

impl From<String> for Source {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Source {
    pub(super) fn as_str(&self) -> &str {
        &self.0
    }
}

/// The key of one counter: a hash, so that guesses do not store emails and addresses in plain text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct CounterKey([u8; 32]);

impl CounterKey {
    fn new(counter: &str, parts: &[&str]) -> Self {
        let mut digest = Sha256::new_with_prefix(counter);
        for part in parts {
            digest.update(part.len().to_be_bytes());
            digest.update(part);
        }
        Self(digest.finalize().into())
    }

    pub(super) const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

/// The counters of an attempt. A failed login can increment the first three.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct CounterKeys {
    /// This email from this source.
    pub(super) pair: CounterKey,
    /// This email from all untrusted sources.
    pub(super) untrusted: CounterKey,
    /// Any email from this source.
    pub(super) source: CounterKey,
    /// Logins of one of this email's users that were guesses at the others, from all sources.
    pub(super) through: CounterKey,
}

impl CounterKeys {
    pub(super) fn new(email_key: &str, source: &Source) -> Self {
        Self {
            pair: CounterKey::new("email and source", &[email_key, source.as_str()]),
            untrusted: CounterKey::new("email", &[email_key]),
            source: CounterKey::new("source", &[source.as_str()]),
            through: CounterKey::new("email through another", &[email_key]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(email: &str, source: &str) -> CounterKeys {
        CounterKeys::new(email, &source.to_owned().into())
    }

    #[test]
    fn each_key_depends_only_on_what_its_counter_counts() {
        let here = keys("a@example.com", "1.2.3.4");
        assert_eq!(here, keys("a@example.com", "1.2.3.4"));
        let (other_email, elsewhere) = (keys("b@example.com", "1.2.3.4"), keys("a@example.com", "1.2.3.5"));
        assert_eq!((here.source, here.untrusted), (other_email.source, elsewhere.untrusted));
        let all = [here.pair, here.untrusted, here.source, other_email.pair, other_email.untrusted, elsewhere.pair, elsewhere.source];
        assert_eq!(all.iter().collect::<std::collections::HashSet<_>>().len(), all.len());
    }

    #[test]
    fn keys_are_unambiguous_when_parts_are_concatenated() {
        assert_ne!(keys("ab", "c").pair, keys("a", "bc").pair);
        assert_ne!(keys("1.2.3.4", "x").untrusted, keys("x", "1.2.3.4").source);
    }
}
