//! Tokens with one thing wrong, by what that is.

use base64::{Engine as _, engine::general_purpose::STANDARD_NO_PAD};
use jsonwebtoken::Algorithm;
use serde_json::{Value, json};

use crate::support::forge::{Forge, encode, with, without};

const CLAIMS: [&str; 7] = ["iss", "aud", "sub", "acc", "sid", "iat", "exp"];

/// Headers that are none of ours.
pub fn odd_headers(forge: &Forge) -> Vec<(String, String)> {
    let (header, claims) = (forge.header.to_string(), forge.claims.to_string());
    let mut tokens = Vec::new();
    for none in ["none", "None", "NONE", "nOnE"] {
        let unsigned = with(&forge.header, "alg", json!(none)).to_string();
        tokens.push((format!("alg {none}, unsigned"), format!("{}.{}.", encode(&unsigned), encode(&claims))));
        tokens.push((format!("alg {none}, signed"), forge.sign(&unsigned, &claims)));
    }
    for (algorithm, name) in [(Algorithm::HS384, "HS384"), (Algorithm::HS512, "HS512")] {
        let longer = with(&forge.header, "alg", json!(name)).to_string();
        tokens.push((format!("alg {name}, so signed"), forge.sign_as(algorithm, &longer, &claims)));
        tokens.push((format!("alg {name}, by HS256"), forge.sign(&longer, &claims)));
        tokens.push((format!("alg HS256, by {name}"), forge.sign_as(algorithm, &header, &claims)));
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
        ("unheard of", json!(1)),
    ] {
        tokens.push((format!("{name} {value} in the header"), forge.with_header(name, value)));
    }
    for name in ["alg", "kid", "typ"] {
        tokens.push((format!("no {name}"), forge.sign(without(&forge.header, name).to_string(), &claims)));
        let twice = header.replacen('{', &format!("{{\"{name}\":{},", forge.header[name]), 1);
        tokens.push((format!("{name} twice"), forge.sign(twice, &claims)));
    }
    for (what, odd) in [
        ("an array", "[\"JWT\",\"HS256\",\"sandbox\"]".to_owned()),
        ("a string", "\"HS256\"".to_owned()),
        ("nothing", String::new()),
        ("with something after it", format!("{header}x")),
        ("with a byte order mark", format!("\u{feff}{header}")),
    ] {
        tokens.push((format!("the header is {what}"), forge.sign(odd, &claims)));
    }
    tokens
}

/// Claims that are missing, of another type, or not what we would say.
pub fn odd_claims(forge: &Forge) -> Vec<(String, String)> {
    let (header, claims) = (forge.header.to_string(), forge.claims.to_string());
    let mut tokens = Vec::new();
    for name in CLAIMS {
        let value = &forge.claims[name];
        let other_type = if value.is_string() { json!(5) } else { json!(value.to_string()) };
        for odd in
            [json!(null), json!([value]), json!({"is": value}), json!(true), json!(""), json!(-1), json!(1.5), json!(1e30), other_type]
        {
            tokens.push((format!("{name} {odd}"), forge.with_claim(name, odd)));
        }
        tokens.push((format!("no {name}"), forge.sign(&header, without(&forge.claims, name).to_string())));
        let twice = claims.replacen('{', &format!("{{\"{name}\":{value},"), 1);
        tokens.push((format!("{name} twice"), forge.sign(&header, twice)));
    }
    for (name, odd) in [
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
        tokens.push((format!("{name} {odd}"), forge.with_claim(name, odd)));
    }
    for name in ["sub", "acc", "sid"] {
        let id = forge.claims[name].as_str().expect("an id");
        let suffix = id.split('_').next_back().expect("a suffix");
        let odd = [
            id.to_uppercase(),
            format!("{id} "),
            format!("{id}0"),
            suffix.to_owned(),
            format!("card_{suffix}"),
            format!("'{id}' or 1=1"),
            format!("{id}\0"),
        ];
        for odd in odd {
            tokens.push((format!("{name} {odd:?}"), forge.with_claim(name, json!(odd))));
        }
    }
    let in_order: Vec<&Value> = CLAIMS.iter().map(|name| &forge.claims[*name]).collect();
    for (what, odd) in [
        ("an array", json!(in_order).to_string()),
        ("a token", json!(forge.token()).to_string()),
        ("null", "null".to_owned()),
        ("nothing", String::new()),
        ("with something after it", format!("{claims}{claims}")),
        ("with a byte order mark", format!("\u{feff}{claims}")),
        ("cut off", claims[..claims.len() - 1].to_owned()),
    ] {
        tokens.push((format!("the payload is {what}"), forge.sign(&header, odd)));
    }
    tokens.push(("the payload is not UTF-8".to_owned(), forge.sign(&header, [claims.as_bytes(), b"\xff"].concat())));
    tokens
}

/// Signatures that are none, and things that are not three parts in base64.
pub fn odd_forms(forge: &Forge) -> Vec<(String, String)> {
    let token = forge.token();
    let parts: Vec<&str> = token.split('.').collect();
    let [header, claims, signature] = parts[..] else { panic!("three parts") };
    let first = if signature.starts_with('A') { "B" } else { "A" };
    // Text that has both of the characters in which the alphabets differ.
    let differing = with(&forge.claims, "any", json!("???>>>~~~\u{7fff}")).to_string();
    let standard = STANDARD_NO_PAD.encode(&differing);
    assert!(standard.contains(['+', '/']), "{standard}");
    let tokens = [
        ("signed by another key", forge.by_another_key()),
        ("a bit of the signature", format!("{header}.{claims}.{first}{}", &signature[1..])),
        ("another's signature", format!("{header}.{claims}.{}", forge.with_claim("jti", json!(1)).split('.').nth(2).expect("one"))),
        ("another's payload", format!("{header}.{}.{signature}", encode(differing))),
        ("the signature cut", token[..token.len() - 2].to_owned()),
        ("half the signature", token[..token.len() - signature.len() / 2].to_owned()),
        ("one signature after another", format!("{token}{signature}")),
        ("no signature", format!("{header}.{claims}.")),
        ("a signature of nulls", format!("{header}.{claims}.{}", encode([0; 32]))),
        ("something after it", format!("{token}x")),
        ("unused bits set", format!("{}{}", &token[..token.len() - 1], next_letter(signature))),
        ("padded", format!("{token}=")),
        ("padded header", forge.sign_encoded(&format!("{header}="), claims)),
        ("padded payload", forge.sign_encoded(header, &format!("{claims}=="))),
        ("the standard alphabet", forge.sign_encoded(header, &standard)),
        ("two parts", format!("{header}.{claims}")),
        ("one part", header.to_owned()),
        ("four parts", format!("{token}.{signature}")),
        ("five parts", format!("{token}.{claims}.{signature}")),
        ("a dot before", format!(".{token}")),
        ("a dot after", format!("{token}.")),
        ("no header", format!(".{claims}.{signature}")),
        ("no payload", format!("{header}..{signature}")),
        ("only dots", "..".to_owned()),
        ("a part twice", format!("{header}.{header}.{signature}")),
        ("a space in it", format!("{header}. {claims}.{signature}")),
        ("a tab in it", format!("{header}.{claims}\t.{signature}")),
        ("quotes", format!("\"{token}\"")),
        ("a comma after", format!("{token},")),
        ("two tokens", format!("{token} {token}")),
        ("8 KB", "a".repeat(8 * 1024)),
        (
            "8 KB of claims, badly signed",
            format!("{header}.{}.{signature}", encode(with(&forge.claims, "x", json!("x".repeat(6 * 1024))).to_string())),
        ),
        ("nothing", String::new()),
    ];
    tokens.into_iter().map(|(what, token)| (what.to_owned(), token)).collect()
}

/// The last letter with its lowest bit set: 43 letters hold two bits more than 32 bytes.
fn next_letter(signature: &str) -> char {
    let alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let at = alphabet.find(signature.chars().next_back().expect("a letter")).expect("base64");
    alphabet.chars().nth(at + 1).expect("a letter")
}
