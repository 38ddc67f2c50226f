//! Tokens that must be refused. Each has one defect, and the real signature where possible.

use reqwest::{Method, header::HeaderValue};
use serde_json::json;

use crate::{
    bad_tokens::{bad_claims, bad_encodings, bad_headers},
    support::{
        Reply, World,
        forge::{Forge, encode, with},
    },
};

/// Sends these `Authorization` headers, asserts the 401 and returns its body.
async fn refused(world: &World, defect: &str, headers: &[&[u8]]) -> String {
    let mut request = world.anonymous().request(Method::GET, "/cards");
    for value in headers {
        request = request.header("authorization", HeaderValue::from_bytes(value).expect("a header"));
    }
    let reply = Reply::of(request).await;
    assert_eq!(reply.status, 401, "{defect}: {}", reply.text);
    let body = reply.without_request_id();
    reply.problem(401, "unauthenticated");
    body
}

#[tokio::test]
async fn every_forged_or_malformed_token_gets_the_same_401() {
    let (world, admin) = World::with_admin().await;
    let forge = Forge::of(&world.database, &admin).await;
    let expired = forge.expired();
    let body = refused(&world, "no header", &[]).await;
    let mut tested = 0;
    for forge in [&forge, &expired] {
        for (defect, token) in [bad_headers(forge), bad_claims(forge), bad_encodings(forge)].concat() {
            assert_eq!(refused(&world, &defect, &[format!("Bearer {token}").as_bytes()]).await, body, "{defect}");
            tested += 1;
        }
    }
    assert!(tested >= 2 * 60, "only {tested} tokens were tested");
    world.anonymous().with_token(&expired.token()).get("/cards").await.problem(403, "token_expired");
    world.anonymous().with_token(&forge.token()).get("/cards").await.ok();
    admin.get("/cards").await.ok();
}

#[tokio::test]
async fn a_token_with_mismatched_ids_is_401() {
    let world = World::new().await;
    let (admin, other, same_user) = (world.admin().await, world.other_admin().await, world.admin().await);
    let forge = Forge::of(&world.database, &admin).await;
    let (other, same_user) = (Forge::of(&world.database, &other).await.claims, Forge::of(&world.database, &same_user).await.claims);
    let body = refused(&world, "no header", &[]).await;
    let mut mixed = Vec::new();
    for names in [&["sub"][..], &["acc"], &["sid"], &["sub", "acc"], &["sub", "sid"], &["acc", "sid"]] {
        mixed.push(names.iter().fold(forge.claims.clone(), |claims, name| with(&claims, name, other[*name].clone())));
    }
    for name in ["sub", "acc", "sid"] {
        let id = forge.claims[name].as_str().expect("an id");
        // A well-formed id that does not exist.
        mixed.push(with(&forge.claims, name, json!(format!("{}{}", &id[..id.len() - 5], "zzzzz"))));
        for from in ["sub", "acc", "sid"].into_iter().filter(|from| *from != name) {
            mixed.push(with(&forge.claims, name, forge.claims[from].clone()));
        }
    }
    for claims in mixed {
        let token = forge.sign(forge.header.to_string(), claims.to_string());
        assert_eq!(refused(&world, &claims.to_string(), &[format!("Bearer {token}").as_bytes()]).await, body);
    }
    // A token may name any session of its own user.
    world.anonymous().with_token(&forge.with_claim("sid", same_user["sid"].clone())).get("/cards").await.ok();
}

#[tokio::test]
async fn a_token_is_accepted_only_from_a_single_bearer_header() {
    let (world, admin) = World::with_admin().await;
    let token = admin.token.clone().expect("a token");
    let body = refused(&world, "no header", &[]).await;
    for header in [
        String::new(),
        token.clone(),
        "Bearer".to_owned(),
        "Bearer ".to_owned(),
        format!("Bearer \t{token}"),
        format!("Bearer\t {token}"),
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
        assert_eq!(refused(&world, &header, &[header.as_bytes()]).await, body, "{header}");
    }
    let bearer = format!("Bearer {token}").into_bytes();
    for (before, after) in [(&b""[..], &b"\xff"[..]), (b"\xff", b""), (b"", "\u{e9}".as_bytes()), (b"\x80\x80", b"\x80")] {
        let header = [before, &bearer, after].concat();
        assert_eq!(refused(&world, "bytes outside ASCII", &[&header]).await, body);
    }
    for two in [[&bearer[..], &bearer], [b"", &bearer], [&bearer, b""], [b"Basic eA==", &bearer], [&bearer, b"Bearer x"]] {
        assert_eq!(refused(&world, "two headers", &two).await, body);
    }
    for path in [format!("/cards?access_token={token}"), format!("/cards?token={token}"), format!("/cards?Authorization=Bearer%20{token}")]
    {
        world.anonymous().get(&path).await.problem(401, "unauthenticated");
    }
    for name in ["proxy-authorization", "x-authorization", "x-access-token", "cookie"] {
        let elsewhere = world.anonymous().request(Method::GET, "/cards").header(name, format!("Bearer {token}"));
        Reply::of(elsewhere).await.problem(401, "unauthenticated");
    }
    // The scheme has no case, and one space or more follow it.
    for scheme in ["Bearer", "bearer", "BEARER", "bEaReR", "Bearer ", "bearer    "] {
        let request = world.anonymous().request(Method::GET, "/cards").header("authorization", format!("{scheme} {token}"));
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
        // A later version may add claims, and a clock may be slightly ahead.
        forge.with_claim("jti", json!("x")),
        forge.with_claim("nbf", json!(now)),
        forge.with_claim("iat", json!(now + 30)),
    ] {
        world.anonymous().with_token(&token).get("/cards").await.ok();
    }
}
