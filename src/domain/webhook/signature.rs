//! The signature of a message: Standard Webhooks 1.0.0, symmetric.

use std::fmt;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use hmac::{Hmac, KeyInit as _, Mac as _, digest::common::Key};
use secrecy::SecretString;
use sha2::Sha256;

/// What the text of a secret begins with.
pub const PREFIX: &str = "whsec_";

/// A secret that signs messages: 32 random bytes.
#[derive(Clone, PartialEq, Eq)]
pub struct SigningSecret([u8; 32]);

impl SigningSecret {
    /// A secret of these bytes, which must be random.
    #[must_use]
    pub const fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The bytes, to be stored.
    #[must_use]
    pub const fn expose_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The text that a receiver configures: [`PREFIX`] and base64.
    #[must_use]
    pub fn to_text(&self) -> SecretString {
        format!("{PREFIX}{}", STANDARD.encode(self.0)).into()
    }

    /// The hash of the parts with this secret.
    fn mac(&self, parts: &[&[u8]]) -> [u8; 32] {
        // A key that is shorter than a block is filled up with zeros (RFC 2104, 2), so this cannot fail.
        let mut block = Key::<Hmac<Sha256>>::default();
        block[..self.0.len()].copy_from_slice(&self.0);
        let mut mac = Hmac::<Sha256>::new(&block);
        for part in parts {
            mac.update(part);
        }
        mac.finalize().into_bytes().into()
    }
}

impl fmt::Debug for SigningSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SigningSecret([REDACTED])")
    }
}

/// The header `webhook-signature` of a message: one signature for each secret, so that a receiver may know either while a
/// secret is being replaced. The timestamp is in seconds since 1970.
#[must_use]
pub fn sign(secrets: &[SigningSecret], message_id: &str, timestamp: i64, body: &[u8]) -> String {
    let timestamp = timestamp.to_string();
    let parts = [message_id.as_bytes(), b".", timestamp.as_bytes(), b".", body];
    let signatures: Vec<String> = secrets.iter().map(|secret| format!("v1,{}", STANDARD.encode(secret.mac(&parts)))).collect();
    signatures.join(" ")
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret as _;
    use standardwebhooks::Webhook;

    use super::*;

    const BODY: &[u8] = br#"{"type":"card.created"}"#;
    const ID: &str = "msg_01h455vb4pex5vsknk084sn02q";

    /// Whether the reference implementation accepts the signature, which also looks at the clock.
    fn verifies(secret: &SigningSecret, signature: &str, timestamp: i64, body: &[u8]) -> bool {
        let mut headers = axum::http::HeaderMap::new();
        for (name, value) in [("webhook-id", ID), ("webhook-timestamp", &timestamp.to_string()), ("webhook-signature", signature)] {
            headers.insert(name, value.parse().expect("a header"));
        }
        let webhook = Webhook::new(secret.to_text().expose_secret()).expect("a secret");
        webhook.verify(body, &headers).is_ok()
    }

    #[test]
    fn the_reference_implementation_accepts_one_secret_and_either_of_two() {
        let now = chrono::Utc::now().timestamp();
        let [old, new, other] = [1, 2, 3].map(|byte| SigningSecret::new([byte; 32]));
        let one = sign(std::slice::from_ref(&old), ID, now, BODY);
        assert!(verifies(&old, &one, now, BODY) && !verifies(&new, &one, now, BODY));
        assert!(!verifies(&old, &one, now + 1, BODY) && !verifies(&old, &one, now, b"{}"));
        let two = sign(&[new.clone(), old.clone()], ID, now, BODY);
        assert!(verifies(&old, &two, now, BODY) && verifies(&new, &two, now, BODY) && !verifies(&other, &two, now, BODY));
        assert!(two.ends_with(&format!(" {one}")));
        assert_eq!(sign(&[], ID, now, BODY), "");
    }

    #[test]
    fn the_reference_implementation_signs_alike() {
        let secret = SigningSecret::new(std::array::from_fn(|index| u8::try_from(index * 7).expect("small")));
        let webhook = Webhook::new(secret.to_text().expose_secret()).expect("a secret");
        for (timestamp, body) in [(0, b"".as_slice()), (1_700_000_000, BODY), (4_102_444_800, b"{\"a\":\"\xc3\xa9\"}")] {
            assert_eq!(sign(std::slice::from_ref(&secret), ID, timestamp, body), webhook.sign(ID, timestamp, body).expect("signed"));
        }
    }

    #[test]
    fn the_text_is_base64_and_debug_output_shows_nothing() {
        let secret = SigningSecret::new([0xff; 32]);
        assert_eq!(secret.to_text().expose_secret(), "whsec_//////////////////////////////////////////8=");
        assert_eq!(format!("{secret:?}"), "SigningSecret([REDACTED])");
    }
}
