//! Signs tokens with the deployment's real key, so that each bad token has exactly one defect.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, EncodingKey, crypto};
use serde_json::{Value, json};
use sqlx::{Executor, Row};

use super::{Actor, Database};

/// The parts of a real token, and the key to sign others.
pub struct Forge {
    key: EncodingKey,
    pub header: Value,
    pub claims: Value,
}

impl Forge {
    /// Takes the parts of an actor's token and the key from the sandbox's database.
    pub async fn of(database: &Database, actor: &Actor) -> Self {
        let mut connection = database.connect().await;
        let row = connection.fetch_one("select sandbox_signing_key from deployment").await.expect("a deployment");
        let secret: Vec<u8> = row.get(0);
        let token = actor.token.as_deref().expect("a token");
        let part = |index: usize| {
            let bytes = URL_SAFE_NO_PAD.decode(token.split('.').nth(index).expect("a part")).expect("base64");
            serde_json::from_slice(&bytes).expect("JSON")
        };
        Self { key: EncodingKey::from_secret(&secret), header: part(0), claims: part(1) }
    }

    /// A forge whose tokens have expired.
    pub fn expired(&self) -> Self {
        let claims = with(&self.claims, "exp", json!(self.issued_at() - 1));
        let claims = with(&claims, "iat", json!(self.issued_at() - 3_601));
        Self { key: self.key.clone(), header: self.header.clone(), claims }
    }

    pub fn issued_at(&self) -> i64 {
        self.claims["iat"].as_i64().expect("a time")
    }

    /// A token with exactly this header and payload, signed with the real key.
    pub fn sign(&self, header: impl AsRef<[u8]>, claims: impl AsRef<[u8]>) -> String {
        self.sign_as(Algorithm::HS256, header, claims)
    }

    pub fn sign_as(&self, algorithm: Algorithm, header: impl AsRef<[u8]>, claims: impl AsRef<[u8]>) -> String {
        sign(&self.key, algorithm, &encode(header), &encode(claims))
    }

    /// A token of parts that are already encoded.
    pub fn sign_encoded(&self, header: &str, claims: &str) -> String {
        sign(&self.key, Algorithm::HS256, header, claims)
    }

    /// A valid token.
    pub fn token(&self) -> String {
        self.sign(self.header.to_string(), self.claims.to_string())
    }

    /// A token with one member of the header changed.
    pub fn with_header(&self, name: &str, value: Value) -> String {
        self.sign(with(&self.header, name, value).to_string(), self.claims.to_string())
    }

    /// A token with one claim changed.
    pub fn with_claim(&self, name: &str, value: Value) -> String {
        self.sign(self.header.to_string(), with(&self.claims, name, value).to_string())
    }

    /// A token signed with the wrong key.
    pub fn by_another_key(&self) -> String {
        let key = EncodingKey::from_secret(b"not the key of this deployment at all");
        sign(&key, Algorithm::HS256, &encode(self.header.to_string()), &encode(self.claims.to_string()))
    }
}

pub fn encode(part: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(part)
}

/// The object with one member replaced.
pub fn with(object: &Value, name: &str, value: Value) -> Value {
    let mut changed = object.clone();
    changed[name] = value;
    changed
}

/// The object without one member.
pub fn without(object: &Value, name: &str) -> Value {
    let mut changed = object.clone();
    changed.as_object_mut().expect("an object").remove(name);
    changed
}

fn sign(key: &EncodingKey, algorithm: Algorithm, header: &str, claims: &str) -> String {
    let message = format!("{header}.{claims}");
    let signature = crypto::sign(message.as_bytes(), key, algorithm).expect("signed");
    format!("{message}.{signature}")
}
