//! Access tokens: JWT, HS256, with `kid`, issuer, audience and every claim required.
//!
//! A token only refers to a session. It grants access while that session is live.

use std::collections::HashMap;

use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, TokenData, Validation, decode, decode_header, encode};
use secrecy::ExposeSecret as _;
use serde::{Deserialize, Serialize};

use super::{
    signing_key::{KeyFault, SigningKey},
    verified::VerifiedTokens,
};
use crate::domain::id::{AccountId, SessionId, UserId};
use crate::service::error::{Error, Result};

/// The longest lifetime of a token, in seconds: the maximum of `auth.token_ttl_seconds`.
const MAX_LIFETIME: i64 = 10 * 366 * 24 * 60 * 60;

/// How far the clock that issued a token may be ahead of the local clock, in seconds.
const MAX_CLOCK_SKEW: i64 = 5 * 60;

/// The claims of a verified token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Claims {
    /// The account.
    pub account: AccountId,
    /// The user.
    pub user: UserId,
    /// The session.
    pub session: SessionId,
    /// When it was issued, in epoch seconds.
    pub issued_at: i64,
    /// When it expires, in epoch seconds.
    pub expires_at: i64,
}

#[derive(Serialize, Deserialize)]
struct WireClaims {
    iss: String,
    aud: String,
    sub: String,
    acc: String,
    sid: String,
    iat: i64,
    exp: i64,
}

/// Signs tokens with the first key, and verifies them with every key.
pub struct Tokens {
    header: Header,
    signing: EncodingKey,
    verifying: HashMap<String, DecodingKey>,
    validation: Validation,
    issuer: String,
    audience: String,
    verified: VerifiedTokens,
}

impl Tokens {
    /// `audience` is the environment. Tokens of another environment are refused.
    ///
    /// # Errors
    /// `keys` is empty.
    pub fn new(keys: &[SigningKey], issuer: &str, audience: &str) -> std::result::Result<Self, KeyFault> {
        let first = keys.first().ok_or(KeyFault::None)?;
        let mut header = Header::new(Algorithm::HS256);
        header.kid = Some(first.kid().to_owned());
        let mut validation = Validation::new(Algorithm::HS256);
        validation.set_issuer(&[issuer]);
        validation.set_audience(&[audience]);
        validation.set_required_spec_claims(&["iss", "aud", "sub", "exp"]);
        // `verify` compares `exp` itself, without leeway: it reports an expired token only if the rest is valid.
        validation.validate_exp = false;
        // Issued tokens have no `nbf`. If a token has one, it is enforced.
        validation.validate_nbf = true;
        validation.leeway = MAX_CLOCK_SKEW.unsigned_abs();
        Ok(Self {
            header,
            signing: EncodingKey::from_secret(first.secret.expose_secret()),
            verifying: keys.iter().map(|key| (key.kid().to_owned(), DecodingKey::from_secret(key.secret.expose_secret()))).collect(),
            validation,
            issuer: issuer.to_owned(),
            audience: audience.to_owned(),
            verified: VerifiedTokens::default(),
        })
    }

    /// Signs a token.
    ///
    /// # Errors
    /// Fails only because of a bug.
    pub fn sign(&self, claims: &Claims) -> Result<String> {
        let wire = WireClaims {
            iss: self.issuer.clone(),
            aud: self.audience.clone(),
            sub: claims.user.to_string(),
            acc: claims.account.to_string(),
            sid: claims.session.to_string(),
            iat: claims.issued_at,
            exp: claims.expires_at,
        };
        encode(&self.header, &wire, &self.signing).map_err(|error| Error::internal("signing a token", error))
    }

    /// The claims of a token, if its signature, issuer and audience are valid. `now` is in epoch seconds.
    ///
    /// # Errors
    /// [`Error::TokenExpired`] if the token is valid but expired, otherwise [`Error::Unauthenticated`].
    pub fn verify(&self, token: &str, now: i64) -> Result<Claims> {
        self.verify_signature(token, now).and_then(|claims| if claims.expires_at <= now { Err(Error::TokenExpired) } else { Ok(claims) })
    }

    /// The claims of a token that may have expired.
    ///
    /// # Errors
    /// [`Error::Unauthenticated`].
    pub fn verify_signature(&self, token: &str, now: i64) -> Result<Claims> {
        self.verified
            .get_or_verify(token, |token| self.decode(token))
            .filter(|claims| claims.issued_at <= now.saturating_add(MAX_CLOCK_SKEW))
            .ok_or(Error::Unauthenticated)
    }

    fn decode(&self, token: &str) -> Option<Claims> {
        let header = decode_header(token).ok()?;
        // The library ignores `kid`. Here it selects the key, and a token without a known `kid` is refused.
        let key = self.verifying.get(header.kid.as_deref()?)?;
        // Issued headers have no other fields: no embedded key, no other `typ`, no `crit`.
        if (Header { kid: None, ..header }) != Header::new(Algorithm::HS256) {
            return None;
        }
        let TokenData { claims, .. } = decode::<WireClaims>(token, key, &self.validation).ok()?;
        let lifetime = claims.exp.checked_sub(claims.iat)?;
        if claims.iat < 0 || !(0..=MAX_LIFETIME).contains(&lifetime) {
            return None;
        }
        Some(Claims {
            account: claims.acc.parse().ok()?,
            user: claims.sub.parse().ok()?,
            session: claims.sid.parse().ok()?,
            issued_at: claims.iat,
            expires_at: claims.exp,
        })
    }
}

#[cfg(test)]
mod tests {
    use base64::{Engine as _, engine::general_purpose::STANDARD};
    use secrecy::SecretString;

    use super::*;

    fn tokens(list: &str, audience: &str) -> Tokens {
        let keys = SigningKey::parse_list(&SecretString::from(list)).expect("keys");
        Tokens::new(&keys, "core-api", audience).expect("a key")
    }

    /// 32 consecutive bytes from `first` on.
    fn secret(first: u8) -> Vec<u8> {
        (first..first + 32).collect()
    }

    fn entry(kid: &str, first: u8) -> String {
        format!("{kid}:{}", STANDARD.encode(secret(first)))
    }

    fn claims() -> Claims {
        Claims { account: AccountId::new(), user: UserId::new(), session: SessionId::new(), issued_at: 1_000, expires_at: 2_000 }
    }

    #[test]
    fn a_token_is_valid_until_the_second_it_expires() {
        let tokens = tokens(&entry("a", 1), "sandbox");
        let token = tokens.sign(&claims()).expect("signed");
        assert!(tokens.verify(&token, 1_999).is_ok());
        for now in [2_000, 2_001, i64::MAX] {
            assert!(matches!(tokens.verify(&token, now), Err(Error::TokenExpired)), "{now}");
        }
    }

    #[test]
    fn a_token_from_the_future_is_valid_only_within_the_clock_skew() {
        let tokens = tokens(&entry("a", 1), "sandbox");
        let token = tokens.sign(&claims()).expect("signed");
        assert!(tokens.verify(&token, 1_000 - MAX_CLOCK_SKEW).is_ok());
        assert!(matches!(tokens.verify(&token, 999 - MAX_CLOCK_SKEW), Err(Error::Unauthenticated)));
    }

    #[test]
    fn a_token_with_an_impossible_lifetime_is_refused() {
        let tokens = tokens(&entry("a", 1), "sandbox");
        for (issued_at, expires_at, good) in [
            (1_000, 1_000 + MAX_LIFETIME, true),
            (1_000, 1_001 + MAX_LIFETIME, false),
            (1_000, i64::MAX, false),
            (-1, 2_000, false),
            (1_001, 1_000, false),
        ] {
            let token = tokens.sign(&Claims { issued_at, expires_at, ..claims() }).expect("signed");
            assert_eq!(!matches!(tokens.verify(&token, 1_500), Err(Error::Unauthenticated)), good, "{issued_at} to {expires_at}");
        }
    }

    #[test]
    fn the_first_key_signs_and_every_key_verifies() {
        let (old, new) = (entry("old", 1), entry("new", 2));
        let token = tokens(&old, "sandbox").sign(&claims()).expect("signed");
        assert!(tokens(&format!("{new}, {old}"), "sandbox").verify(&token, 1_500).is_ok());
        assert!(matches!(tokens(&new, "sandbox").verify(&token, 1_500), Err(Error::Unauthenticated)));
    }

    #[test]
    fn a_token_of_another_environment_is_refused_even_with_the_same_key() {
        let key = entry("a", 1);
        let token = tokens(&key, "sandbox").sign(&claims()).expect("signed");
        assert!(matches!(tokens(&key, "production").verify(&token, 1_500), Err(Error::Unauthenticated)));
    }

    /// A token with these claims and this header, signed with the key of `entry("a", 1)`.
    fn signed(header: &Header, claims: &serde_json::Value) -> String {
        encode(header, claims, &EncodingKey::from_secret(&secret(1))).expect("signed")
    }

    #[test]
    fn a_token_with_a_missing_or_wrong_field_is_unauthenticated_even_if_expired() {
        let tokens = tokens(&entry("a", 1), "sandbox");
        let (account, user, session) = (AccountId::new(), UserId::new(), SessionId::new());
        let good = serde_json::json!({
            "iss": "core-api", "aud": "sandbox", "sub": user.to_string(), "acc": account.to_string(), "sid": session.to_string(), "iat": 1_000, "exp": 2_000,
        });
        assert!(tokens.verify(&signed(&tokens.header, &good), 1_500).is_ok());
        let mut wrong = Vec::new();
        for claim in ["iss", "aud", "sub", "acc", "sid", "iat", "exp"] {
            for odd in [
                serde_json::json!(null),
                serde_json::json!("x"),
                serde_json::json!(["sandbox"]),
                serde_json::json!(1.5),
                serde_json::json!({}),
            ] {
                let mut claims = good.clone();
                claims[claim] = odd;
                wrong.push((format!("{claim} in {claims}"), signed(&tokens.header, &claims)));
            }
            let mut claims = good.clone();
            claims.as_object_mut().expect("an object").remove(claim);
            wrong.push((format!("no {claim}"), signed(&tokens.header, &claims)));
        }
        for (claim, another) in [("iss", "another-api"), ("aud", "production"), ("sub", &account.to_string()), ("acc", &user.to_string())] {
            let mut claims = good.clone();
            claims[claim] = another.into();
            wrong.push((format!("{claim} {another}"), signed(&tokens.header, &claims)));
        }
        let odd_header = |change: fn(&mut Header)| {
            let mut header = tokens.header.clone();
            change(&mut header);
            signed(&header, &good)
        };
        wrong.push(("HS512".into(), odd_header(|header| header.alg = Algorithm::HS512)));
        wrong.push(("HS384".into(), odd_header(|header| header.alg = Algorithm::HS384)));
        wrong.push(("no kid".into(), odd_header(|header| header.kid = None)));
        wrong.push(("another kid".into(), odd_header(|header| header.kid = Some("b".into()))));
        wrong.push(("a path as kid".into(), odd_header(|header| header.kid = Some("../../dev/null".into()))));
        wrong.push(("no typ".into(), odd_header(|header| header.typ = None)));
        wrong.push(("another typ".into(), odd_header(|header| header.typ = Some("at+jwt".into()))));
        wrong.push(("crit".into(), odd_header(|header| header.crit = Some(vec!["exp".into()]))));
        wrong.push(("jku".into(), odd_header(|header| header.jku = Some("http://localhost".into()))));
        for (what, token) in wrong {
            for now in [1_500, 5_000] {
                assert!(matches!(tokens.verify(&token, now), Err(Error::Unauthenticated)), "{what} at {now}");
            }
        }
    }
}
