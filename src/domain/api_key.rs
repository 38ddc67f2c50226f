//! API keys: their text and its parts. Pure.
//!
//! `cak_sandbox_` and four parts: the key's id, the account's id, the secret, and a checksum of everything before it. All are
//! numbers in the base 32 of TypeIDs, so an id has the same characters as in its own text. The environment keeps a key of the
//! sandbox out of production. The account leads to the key's row without a search. The checksum lets scanners recognise a key
//! in a text, and a mistyped key is refused without a look-up.

use secrecy::SecretString;
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use super::{
    environment::Environment,
    id::{AccountId, ApiKeyId},
};

/// What every API key begins with.
pub const PREFIX: &str = "cak_";

/// The digits of the base 32 of TypeIDs, in their order.
const DIGITS: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";

/// The digits of a number of 128 bits: an id, or half of a secret.
const LONG: usize = 26;

/// The digits of a CRC-32.
const SHORT: usize = 7;

/// A secret: 32 random bytes.
pub type Secret = [u128; 2];

/// The SHA-256 of a key's text. A fast hash is enough, because 32 random bytes cannot be guessed.
pub type KeyHash = [u8; 32];

/// What a key says about itself. Only the stored hash tells whether that is true.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct PresentedKey {
    /// The account.
    pub account: AccountId,
    /// The key.
    pub id: ApiKeyId,
    /// The hash of its text.
    pub hash: KeyHash,
}

/// The text of a key.
#[must_use]
pub fn text(environment: Environment, account: AccountId, id: ApiKeyId, secret: Secret) -> SecretString {
    let mut text = format!("{PREFIX}{}_", environment.name());
    for number in [Uuid::from(id).as_u128(), Uuid::from(account).as_u128()].into_iter().chain(secret) {
        push(&mut text, number, LONG);
    }
    let checksum = crc32fast::hash(text.as_bytes());
    push(&mut text, checksum.into(), SHORT);
    text.into()
}

/// The hash by which a key is stored.
#[must_use]
pub fn hash(text: &str) -> KeyHash {
    Sha256::digest(text.as_bytes()).into()
}

impl PresentedKey {
    /// Parses the text of a key of this environment. None if it is mistyped, or belongs to another environment.
    #[must_use]
    pub fn parse(text: &str, environment: Environment) -> Option<Self> {
        let numbers = text.strip_prefix(PREFIX)?.strip_prefix(environment.name())?.strip_prefix('_')?;
        if numbers.len() != 4 * LONG + SHORT {
            return None;
        }
        let (covered, checksum) = text.split_at_checked(text.len() - SHORT)?;
        if read(checksum)? != crc32fast::hash(covered.as_bytes()).into() {
            return None;
        }
        let part = |index: usize| numbers.get(index * LONG..(index + 1) * LONG).and_then(read);
        let (id, account, _, _) = (part(0)?, part(1)?, part(2)?, part(3)?);
        Some(Self { account: Uuid::from_u128(account).into(), id: Uuid::from_u128(id).into(), hash: hash(text) })
    }
}

/// Appends a number with this many digits.
fn push(text: &mut String, number: u128, digits: usize) {
    for place in (0..digits).rev() {
        let digit = number.checked_shr(u32::try_from(5 * place).unwrap_or(u32::MAX)).unwrap_or(0) % 32;
        text.push(char::from(DIGITS[usize::try_from(digit).unwrap_or(0)]));
    }
}

/// The number that digits stand for. None if one is not a digit, or the number has more than 128 bits.
fn read(digits: &str) -> Option<u128> {
    digits.bytes().try_fold(0_u128, |number, byte| {
        let digit = DIGITS.iter().position(|digit| *digit == byte)?;
        number.checked_mul(32)?.checked_add(u128::try_from(digit).ok()?)
    })
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret as _;

    use super::*;

    const SECRET: Secret = [0x0123_4567_89ab_cdef_0123_4567_89ab_cdef, u128::MAX];

    fn key(environment: Environment) -> (AccountId, ApiKeyId, String) {
        let (account, id) = (AccountId::new(), ApiKeyId::new());
        (account, id, text(environment, account, id, SECRET).expose_secret().to_owned())
    }

    #[test]
    fn a_key_names_its_environment_itself_and_its_account() {
        let (account, id, text) = key(Environment::Sandbox);
        let suffix = |text: String| text.split_once('_').expect("an id").1.to_owned();
        let rest = text.strip_prefix("cak_sandbox_").expect("the prefix");
        assert_eq!(rest.len(), 26 + 26 + 52 + 7);
        assert_eq!((&rest[..26], &rest[26..52]), (&*suffix(id.to_string()), &*suffix(account.to_string())));
        // 128 bits in 26 digits: the first one is at most 7. Computed apart from this code.
        assert_eq!(&rest[52..104], "014d2pf2dbsqqg28t5cy4tqkff7zzzzzzzzzzzzzzzzzzzzzzzzz");
        let presented = PresentedKey::parse(&text, Environment::Sandbox).expect("a key");
        assert_eq!((presented.account, presented.id), (account, id));
        assert_eq!(presented.hash, hash(&text));
        assert!(key(Environment::Production).2.starts_with("cak_production_"));
    }

    #[test]
    fn the_checksum_is_the_crc_32_of_everything_before_it() {
        // zlib.crc32 of "cak_sandbox_" and 104 zeros, in base 32.
        let account: AccountId = Uuid::nil().into();
        let text = text(Environment::Sandbox, account, Uuid::nil().into(), [0, 0]);
        assert_eq!(text.expose_secret(), &format!("cak_sandbox_{}{}", "0".repeat(104), "2agder2"));
    }

    #[test]
    fn a_key_of_another_environment_is_refused() {
        let (_, _, text) = key(Environment::Sandbox);
        assert!(PresentedKey::parse(&text, Environment::Production).is_none());
        // Not even with the other's name in it and a checksum that is right.
        let renamed = text.replace("cak_sandbox_", "cak_production_");
        let covered = &renamed[..renamed.len() - SHORT];
        let mut forged = covered.to_owned();
        push(&mut forged, crc32fast::hash(covered.as_bytes()).into(), SHORT);
        let presented = PresentedKey::parse(&forged, Environment::Production).expect("well-formed");
        assert_ne!(presented.hash, hash(&text), "the hash covers the environment");
    }

    #[test]
    fn every_mistyped_character_is_noticed() {
        let (_, _, text) = key(Environment::Sandbox);
        for place in 0..text.len() {
            for digit in DIGITS.iter().chain(b"ilouA_-. ").filter(|digit| **digit != text.as_bytes()[place]) {
                let mut typo = text.clone().into_bytes();
                typo[place] = *digit;
                let typo = String::from_utf8(typo).expect("ASCII");
                assert!(PresentedKey::parse(&typo, Environment::Sandbox).is_none(), "{typo}");
            }
            let mut swapped = text.clone().into_bytes();
            if place > 0 && swapped[place] != swapped[place - 1] {
                swapped.swap(place, place - 1);
                let swapped = String::from_utf8(swapped).expect("ASCII");
                assert!(PresentedKey::parse(&swapped, Environment::Sandbox).is_none(), "{swapped}");
            }
        }
    }

    #[test]
    fn only_a_whole_key_is_parsed() {
        let (_, _, text) = key(Environment::Sandbox);
        let upper = text.to_uppercase();
        let wide = text.replacen('0', "é", 1);
        for wrong in
            ["", "cak_", "cak_sandbox_", &text[1..], &text[..text.len() - 1], &format!("{text}0"), &format!("{text} "), &upper, &wide]
        {
            assert!(PresentedKey::parse(wrong, Environment::Sandbox).is_none(), "{wrong}");
        }
    }
}
