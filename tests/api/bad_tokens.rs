//! Tokens with one defect each, with a description of the defect.

use base64::{Engine as _, engine::general_purpose::STANDARD_NO_PAD};
use jsonwebtoken::Algorithm;
use serde_json::{Value, json};

use crate::support::forge::{Forge, encode, with, without};

const CLAIMS: [&str; 7] = ["iss", "aud", "sub", "acc", "sid", "iat", "exp"];

/// Tokens with a header that the service does not issue.
pub fn bad_headers(forge: &Forge) -> Vec<(String, String)> {
    let (header, claims) = (forge.header.to_string(), forge.claims.to_string());
    let mut tokens = Vec::new();
    for none in ["none", "None", "NONE", "nOnE"] {
        let unsigned = with(&forge.header, "alg", json!(none)).to_string();
        tokens.push((format!("alg {none}, unsigned"), format!("{}.{}.", encode(&unsigned), encode(&claims))));
        tokens.push((format!("alg {none}, signed"), forge.sign(&unsigned, &claims)));
    }
    for (algorithm, name) in [(Algorithm::HS384, "HS384"), (Algorithm::HS512, "HS512")] {
        let longer = with(&forge.header, "alg", json!(name)).to_string();
        tokens.push((format!("alg {name}, signed with it"), forge.sign_as(algorithm, &longer, &claims)));
        tokens.push((format!("alg {name}, signed with HS256"), forge.sign(&longer, &claims)));
        tokens.push((format!("alg HS256, signed with {name}"), forge.sign_as(algorithm, &header, &claims)));
    }
    for alg in [
        json!("RS256"),
        json!("ES256"),
        json!("PS256"),
        json!("EdDSA"),
        json!("hs256"),
        json!(""),
        json!(null),
        json!(256),
        json!(["HS256"]),
    ] {
        tokens.push((format!("alg {alg}"), forge.with_header("alg", alg)));
    }
    let kids = [
        "",
        "unknown",
        "Sandbox",
        " sandbox",
        "sandbox ",
        "../../dev/null",
        "/etc/passwd",
        "sandbox' or '1'='1",
        "sandbox\0",
        "http://localhost/key",
    ];
    let kids = kids.iter().map(|kid| json!(kid));
    for kid in kids.chain([json!(["sandbox"]), json!({"sandbox": 1}), json!(0), json!(true), json!(null)]) {
        tokens.push((format!("kid {kid}"), forge.with_header("kid", kid)));
    }
    for typ in [json!("jwt"), json!("JWS"), json!("at+jwt"), json!("application/jwt"), json!(""), json!(5), json!(null)] {
        tokens.push((format!("typ {typ}"), forge.with_header("typ", typ)));
    }
    for (name, value) in [
        ("crit", json!(["exp"])),
        ("crit", json!([])),
        ("cty", json!("JWT")),
        ("jku", json!("https://localhost/keys")),
        ("jwk", json!({"kty": "oct", "k": "c2VjcmV0"})),
        ("x5u", json!("https://localhost/certificate")),
        ("x5c", json!(["AAAA"])),
        ("zip", json!("DEF")),
        ("enc", json!("A256GCM")),
        ("b64", json!(false)),
        ("unknown", json!(1)),
    ] {
        tokens.push((format!("{name} {value} in the header"), forge.with_header(name, value)));
    }
    for name in ["alg", "kid", "typ"] {
        tokens.push((format!("no {name}"), forge.sign(without(&forge.header, name).to_string(), &claims)));
        let twice = header.replacen('{', &format!("{{\"{name}\":{},", forge.header[name]), 1);
        tokens.push((format!("duplicate {name}"), forge.sign(twice, &claims)));
    }
    for (defect, bad) in [
        ("an array", "[\"JWT\",\"HS256\",\"sandbox\"]".to_owned()),
        ("a string", "\"HS256\"".to_owned()),
        ("empty", String::new()),
        ("followed by other text", format!("{header}x")),
        ("with a byte order mark", format!("\u{feff}{header}")),
    ] {
        tokens.push((format!("the header is {defect}"), forge.sign(bad, &claims)));
    }
    tokens
}

/// Tokens with a claim that is missing, of the wrong type, or not as the service issues it.
pub fn bad_claims(forge: &Forge) -> Vec<(String, String)> {
    let (header, claims) = (forge.header.to_string(), forge.claims.to_string());
    let mut tokens = Vec::new();
    for name in CLAIMS {
        let value = &forge.claims[name];
        let other_type = if value.is_string() { json!(5) } else { json!(value.to_string()) };
        for bad in
            [json!(null), json!([value]), json!({"is": value}), json!(true), json!(""), json!(-1), json!(1.5), json!(1e30), other_type]
        {
            tokens.push((format!("{name} {bad}"), forge.with_claim(name, bad)));
        }
        tokens.push((format!("no {name}"), forge.sign(&header, without(&forge.claims, name).to_string())));
        let twice = claims.replacen('{', &format!("{{\"{name}\":{value},"), 1);
        tokens.push((format!("duplicate {name}"), forge.sign(&header, twice)));
    }
    for (name, bad) in [
        ("iss", json!("another-api")),
        ("iss", json!("core-api ")),
        ("aud", json!("production")),
        ("aud", json!("Sandbox")),
        ("aud", json!(["sandbox", "production"])),
        ("exp", json!(u64::MAX)),
        ("exp", json!(i64::MAX)),
        ("exp", json!((forge.issued_at() + 3_600) * 1_000)),
        ("iat", json!(forge.issued_at() + 86_400)),
        ("iat", json!(u64::MAX)),
        ("nbf", json!(forge.issued_at() + 86_400)),
        ("nbf", json!("now")),
        ("nbf", json!(-1)),
    ] {
        tokens.push((format!("{name} {bad}"), forge.with_claim(name, bad)));
    }
    for name in ["sub", "acc", "sid"] {
        let id = forge.claims[name].as_str().expect("an id");
        let suffix = id.split('_').next_back().expect("a suffix");
        let bad = [
            id.to_uppercase(),
            format!("{id} "),
            format!("{id}0"),
            suffix.to_owned(),
            format!("card_{suffix}"),
            format!("'{id}' or 1=1"),
            format!("{id}\0"),
        ];
        for bad in bad {
            tokens.push((format!("{name} {bad:?}"), forge.with_claim(name, json!(bad))));
        }
    }
    let in_order: Vec<&Value> = CLAIMS.iter().map(|name| &forge.claims[*name]).collect();
    for (defect, bad) in [
        ("an array", json!(in_order).to_string()),
        ("a token", json!(forge.token()).to_string()),
        ("null", "null".to_owned()),
        ("empty", String::new()),
        ("followed by other text", format!("{claims}{claims}")),
        ("with a byte order mark", format!("\u{feff}{claims}")),
        ("truncated", claims[..claims.len() - 1].to_owned()),
    ] {
        tokens.push((format!("the payload is {defect}"), forge.sign(&header, bad)));
    }
    tokens.push(("the payload is not UTF-8".to_owned(), forge.sign(&header, [claims.as_bytes(), b"\xff"].concat())));
    tokens
}

/// Tokens with an invalid signature, or that are not three base64 parts.
pub fn bad_encodings(forge: &Forge) -> Vec<(String, String)> {
    let token = forge.token();
    let parts: Vec<&str> = token.split('.').collect();
    let [header, claims, signature] = parts[..] else { panic!("a token has three parts") };
    let first = if signature.starts_with('A') { "B" } else { "A" };
    // Text whose encoding contains the characters in which the two base64 alphabets differ.
    let differing = with(&forge.claims, "any", json!("???>>>~~~\u{7fff}")).to_string();
    let standard = STANDARD_NO_PAD.encode(&differing);
    assert!(standard.contains(['+', '/']), "{standard}");
    let tokens = [
        ("signed with another key", forge.by_another_key()),
        ("one character of the signature changed", format!("{header}.{claims}.{first}{}", &signature[1..])),
        (
            "the signature of another token",
            format!("{header}.{claims}.{}", forge.with_claim("jti", json!(1)).split('.').nth(2).expect("one")),
        ),
        ("the payload of another token", format!("{header}.{}.{signature}", encode(differing))),
        ("the signature truncated", token[..token.len() - 2].to_owned()),
        ("half the signature", token[..token.len() - signature.len() / 2].to_owned()),
        ("the signature twice", format!("{token}{signature}")),
        ("no signature", format!("{header}.{claims}.")),
        ("a signature of nulls", format!("{header}.{claims}.{}", encode([0; 32]))),
        ("followed by a letter", format!("{token}x")),
        ("unused bits set", format!("{}{}", &token[..token.len() - 1], next_letter(signature))),
        ("padded", format!("{token}=")),
        ("padded header", forge.sign_encoded(&format!("{header}="), claims)),
        ("padded payload", forge.sign_encoded(header, &format!("{claims}=="))),
        ("the standard alphabet", forge.sign_encoded(header, &standard)),
        ("two parts", format!("{header}.{claims}")),
        ("one part", header.to_owned()),
        ("four parts", format!("{token}.{signature}")),
        ("five parts", format!("{token}.{claims}.{signature}")),
        ("preceded by a dot", format!(".{token}")),
        ("followed by a dot", format!("{token}.")),
        ("no header", format!(".{claims}.{signature}")),
        ("no payload", format!("{header}..{signature}")),
        ("only dots", "..".to_owned()),
        ("a part twice", format!("{header}.{header}.{signature}")),
        ("containing a space", format!("{header}. {claims}.{signature}")),
        ("containing a tab", format!("{header}.{claims}\t.{signature}")),
        ("in quotes", format!("\"{token}\"")),
        ("followed by a comma", format!("{token},")),
        ("two tokens", format!("{token} {token}")),
        ("8 KB of letters", "a".repeat(8 * 1024)),
        (
            "8 KB of claims with an invalid signature",
            format!("{header}.{}.{signature}", encode(with(&forge.claims, "x", json!("x".repeat(6 * 1024))).to_string())),
        ),
        ("empty", String::new()),
    ];
    tokens.into_iter().map(|(defect, token)| (defect.to_owned(), token)).collect()
}

/// The last letter with its lowest bit set. 43 letters encode two bits more than 32 bytes, so that bit is unused.
fn next_letter(signature: &str) -> char {
    let alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let at = alphabet.find(signature.chars().next_back().expect("a letter")).expect("base64");
    alphabet.chars().nth(at + 1).expect("a letter")
}
