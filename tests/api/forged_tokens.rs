//! Tokens that must fail: each is a real one with one thing wrong, signed with the real key wherever that can be.

use reqwest::{Method, header::HeaderValue};
use serde_json::json;

use crate::{
    forgeries::{odd_claims, odd_forms, odd_headers},
    support::{
        Reply, World,
        forge::{Forge, encode, with},
    },
};

/// Sends what should be no token; gives the one body with which all of them are refused.
async fn refused(world: &World, what: &str, given: &[&[u8]]) -> String {
    let mut request = world.stranger().request(Method::GET, "/cards");
    for value in given {
        request = request.header("authorization", HeaderValue::from_bytes(value).expect("a header"));
    }
    let reply = Reply::of(request).await;
    assert_eq!(reply.status, 401, "{what}: {}", reply.text);
    let body = reply.without_request_id();
    reply.problem(401, "unauthenticated");
    body
}

#[tokio::test]
async fn every_forged_or_malformed_token_gets_the_same_401() {
    let world = World::new().await;
    let admin = world.admin().await;
    let forge = Forge::of(&world.database, &admin).await;
    let expired = forge.expired();
    let one = refused(&world, "nothing at all", &[]).await;
    let mut tried = 0;
    for forge in [&forge, &expired] {
        for (what, token) in [odd_headers(forge), odd_claims(forge), odd_forms(forge)].concat() {
            let body = refused(&world, &what, &[format!("Bearer {token}").as_bytes()]).await;
            assert_eq!(body, one, "{what}");
            tried += 1;
        }
    }
    assert!(tried >= 2 * 60, "only {tried} were tried");
    world.stranger().with_token(&expired.token()).get("/cards").await.problem(403, "token_expired");
    world.stranger().with_token(&forge.token()).get("/cards").await.ok();
    admin.get("/cards").await.ok();
}

#[tokio::test]
async fn a_token_with_mismatched_ids_is_401() {
    let world = World::new().await;
    let (admin, other, again) = (world.admin().await, world.other_tenant().await, world.admin().await);
    let forge = Forge::of(&world.database, &admin).await;
    let (other, again) = (Forge::of(&world.database, &other).await.claims, Forge::of(&world.database, &again).await.claims);
    let one = refused(&world, "nothing at all", &[]).await;
    let mut mixed = Vec::new();
    for names in [&["sub"][..], &["acc"], &["sid"], &["sub", "acc"], &["sub", "sid"], &["acc", "sid"]] {
        mixed.push(names.iter().fold(forge.claims.clone(), |claims, name| with(&claims, name, other[*name].clone())));
    }
    for name in ["sub", "acc", "sid"] {
        let id = forge.claims[name].as_str().expect("an id");
        // Well formed, and nobody's.
        mixed.push(with(&forge.claims, name, json!(format!("{}{}", &id[..id.len() - 5], "zzzzz"))));
        for from in ["sub", "acc", "sid"].into_iter().filter(|from| *from != name) {
            mixed.push(with(&forge.claims, name, forge.claims[from].clone()));
        }
    }
    for claims in mixed {
        let token = forge.sign(forge.header.to_string(), claims.to_string());
        assert_eq!(refused(&world, &claims.to_string(), &[format!("Bearer {token}").as_bytes()]).await, one);
    }
    // A session of the same user is theirs, whichever token names it.
    world.stranger().with_token(&forge.with_claim("sid", again["sid"].clone())).get("/cards").await.ok();
}

#[tokio::test]
async fn a_token_is_accepted_only_from_a_single_bearer_header() {
    let world = World::new().await;
    let admin = world.admin().await;
    let token = admin.token.clone().expect("a token");
    let one = refused(&world, "nothing at all", &[]).await;
    for odd in [
        String::new(),
        token.clone(),
        "Bearer".to_owned(),
        "Bearer ".to_owned(),
        format!("Bearer  {token}"),
        format!("Bearer\t{token}"),
        format!("Bearer: {token}"),
        format!("Bearer={token}"),
        format!("Bearer, {token}"),
        format!("Bearer {token}, Bearer {token}"),
        format!("Token {token}"),
        format!("JWT {token}"),
        format!("Digest {token}"),
        format!("Basic {token}"),
        format!("Bearertoken {token}"),
        format!("Basic {}", encode(format!("test@example.com:{token}"))),
        format!("Authorization: Bearer {token}"),
    ] {
        assert_eq!(refused(&world, &odd, &[odd.as_bytes()]).await, one, "{odd}");
    }
    let bearer = format!("Bearer {token}").into_bytes();
    for (before, after) in [(&b""[..], &b"\xff"[..]), (b"\xff", b""), (b"", "\u{e9}".as_bytes()), (b"\x80\x80", b"\x80")] {
        let odd = [before, &bearer, after].concat();
        assert_eq!(refused(&world, "bytes that are no text", &[&odd]).await, one);
    }
    for two in [[&bearer[..], &bearer], [b"", &bearer], [&bearer, b""], [b"Basic eA==", &bearer], [&bearer, b"Bearer x"]] {
        assert_eq!(refused(&world, "two headers", &two).await, one);
    }
    for path in [format!("/cards?access_token={token}"), format!("/cards?token={token}"), format!("/cards?Authorization=Bearer%20{token}")]
    {
        world.stranger().get(&path).await.problem(401, "unauthenticated");
    }
    for name in ["proxy-authorization", "x-authorization", "x-access-token", "cookie"] {
        let elsewhere = world.stranger().request(Method::GET, "/cards").header(name, format!("Bearer {token}"));
        Reply::of(elsewhere).await.problem(401, "unauthenticated");
    }
    // The scheme's case is nobody's business, and spaces after a value are no part of it.
    for scheme in ["Bearer", "bearer", "BEARER", "bEaReR"] {
        let request = world.stranger().request(Method::GET, "/cards").header("authorization", format!("{scheme} {token}"));
        Reply::of(request).await.ok();
    }
}

#[tokio::test]
async fn harmless_token_variations_are_accepted() {
    let world = World::new().await;
    let forge = Forge::of(&world.database, &world.admin().await).await;
    let now = forge.issued_at();
    for token in [
        forge.sign(format!(" {{ \"kid\": {}, \"alg\": \"HS256\", \"typ\": \"JWT\" }} ", forge.header["kid"]), forge.claims.to_string()),
        // A later version may say more; a clock may be a little ahead.
        forge.with_claim("jti", json!("x")),
        forge.with_claim("nbf", json!(now)),
        forge.with_claim("iat", json!(now + 30)),
    ] {
        world.stranger().with_token(&token).get("/cards").await.ok();
    }
}
