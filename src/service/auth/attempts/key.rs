//! What failures are counted by, as the database and the memory know it.

use std::fmt;

use sha2::{Digest, Sha256};

/// Where a login comes from, as precisely as whoever serves it can tell: an address, or a network
/// that is one client's.
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

/// The name of one counter. A hash, so that no email and no address stands in clear where guesses,
/// which anybody can make, leave their traces.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Key([u8; 32]);

impl Key {
    fn of(what: &str, parts: &[&str]) -> Self {
        let mut digest = Sha256::new_with_prefix(what);
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

/// The three counters that a failed login can add to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Keys {
    /// This email from this source.
    pub(super) pair: Key,
    /// This email from all sources that are strange to it.
    pub(super) strangers: Key,
    /// Any email from this source.
    pub(super) source: Key,
}

impl Keys {
    pub(super) fn of(email_key: &str, source: &Source) -> Self {
        Self {
            pair: Key::of("email and source", &[email_key, source.as_str()]),
            strangers: Key::of("email", &[email_key]),
            source: Key::of("source", &[source.as_str()]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(email: &str, source: &str) -> Keys {
        Keys::of(email, &source.to_owned().into())
    }

    #[test]
    fn each_counter_depends_on_what_it_counts_and_on_nothing_else() {
        let here = keys("a@example.com", "1.2.3.4");
        assert_eq!(here, keys("a@example.com", "1.2.3.4"));
        let (other_email, elsewhere) = (keys("b@example.com", "1.2.3.4"), keys("a@example.com", "1.2.3.5"));
        assert_eq!((here.source, here.strangers), (other_email.source, elsewhere.strangers));
        let all = [here.pair, here.strangers, here.source, other_email.pair, other_email.strangers, elsewhere.pair, elsewhere.source];
        assert_eq!(all.iter().collect::<std::collections::HashSet<_>>().len(), all.len());
    }

    #[test]
    fn what_is_put_together_differently_is_another_pair() {
        assert_ne!(keys("ab", "c").pair, keys("a", "bc").pair);
        assert_ne!(keys("1.2.3.4", "x").strangers, keys("x", "1.2.3.4").source);
    }
}
