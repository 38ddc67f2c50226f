//! What is looked up for an API key, what is not, and what counts.

use std::time::Duration;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use core_api::domain::{
    api_key::{self, Secret},
    environment::Environment,
    id::{AccountId, ApiKeyId},
    role::Role,
};
use secrecy::ExposeSecret as _;
use serde_json::json;

use crate::support::{Actor, Database, World, patient};

/// A well-formed key that nobody has issued.
fn made_up(environment: Environment, account: AccountId) -> String {
    let secret: Secret = [rand::random(), rand::random()];
    api_key::text(environment, account, ApiKeyId::new(), secret).expose_secret().to_owned()
}

fn key_of(actor: &Actor) -> String {
    actor.token.clone().expect("a key")
}

/// Without the table, a look-up fails.
async fn take_keys_away(database: &Database) {
    database.execute("alter table api_keys rename to api_keys_away").await;
}

#[tokio::test]
async fn a_mistyped_key_and_one_of_another_environment_are_refused_without_a_look_up() {
    let (world, admin) = World::with_admin().await;
    let (_, program) = admin.given_api_key(Role::Viewer).await;
    let key = key_of(&program);
    program.get("/cards").await.ok();
    take_keys_away(&world.database).await;
    let mut wrong = vec![made_up(Environment::Production, AccountId::new()), key.to_uppercase(), format!("{key}0"), "cak_".to_owned()];
    for place in (0..key.len()).step_by(7) {
        let mut typo = key.clone().into_bytes();
        typo[place] = if typo[place] == b'7' { b'8' } else { b'7' };
        wrong.push(String::from_utf8(typo).expect("ASCII"));
    }
    for text in wrong {
        world.anonymous().with_token(&text).get("/cards").await.problem(401, "unauthenticated");
    }
    program.get("/cards").await.problem(500, "internal_error");
}

#[tokio::test]
async fn a_sandbox_key_is_401_in_production_even_if_its_row_is_there() {
    let (world, admin) = World::with_admin().await;
    let (_, program) = admin.given_api_key(Role::Viewer).await;
    program.get("/cards").await.ok();
    // The same rows, as if a backup of the sandbox were restored in production.
    world.database.execute("update deployment set environment = 'production', sandbox_signing_key = null").await;
    let production = World::on(world.database.clone(), |settings| {
        settings.environment = Environment::Production;
        settings.auth.signing_keys = Some(format!("k1:{}", STANDARD.encode(rand::random::<[u8; 32]>())).into());
    })
    .await;
    production.at(0, &program).get("/cards").await.problem(401, "unauthenticated");
}

#[tokio::test]
async fn a_key_with_another_secret_account_or_id_is_refused() {
    let (world, admin, other) = World::with_two_accounts().await;
    let ((_, mine), (_, theirs)) = (admin.given_api_key(Role::Viewer).await, other.given_api_key(Role::Viewer).await);
    let presented = |actor: &Actor| api_key::PresentedKey::parse(&key_of(actor), Environment::Sandbox).expect("a key");
    let (mine_is, theirs_is) = (presented(&mine), presented(&theirs));
    let forged = |account, id| api_key::text(Environment::Sandbox, account, id, [1, 2]).expose_secret().to_owned();
    for text in [
        forged(mine_is.account, mine_is.id),
        forged(theirs_is.account, mine_is.id),
        forged(mine_is.account, ApiKeyId::new()),
        forged(AccountId::new(), mine_is.id),
        made_up(Environment::Sandbox, mine_is.account),
    ] {
        world.anonymous().with_token(&text).get("/cards").await.problem(401, "unauthenticated");
    }
    mine.get("/cards").await.ok();
}

#[tokio::test]
async fn made_up_keys_count_against_their_address_and_are_then_not_looked_up() {
    let world = World::with(|settings| settings.rate_limit.failed_authentications_per_minute = 5.try_into().expect("above zero")).await;
    let admin = world.admin().await;
    let ((_, known), (_, new)) = (admin.given_api_key(Role::Viewer).await, admin.given_api_key(Role::Viewer).await);
    known.get("/cards").await.ok();
    let account = api_key::PresentedKey::parse(&key_of(&known), Environment::Sandbox).expect("a key").account;
    let guess = || world.anonymous().with_token(&made_up(Environment::Sandbox, account));
    for _ in 0..6 {
        guess().get("/cards").await.problem(401, "unauthenticated");
    }
    guess().get("/cards").await.problem(429, "too_many_attempts");
    // A key that was never used here may be a guess. One that was, and a token, cannot.
    new.get("/cards").await.problem(429, "too_many_attempts");
    known.get("/cards").await.ok();
    admin.get("/cards").await.ok();
    take_keys_away(&world.database).await;
    for _ in 0..3 {
        guess().get("/cards").await.problem(429, "too_many_attempts");
    }
    // The requests of guesses did not count in the hour of the account that they named.
    assert_eq!(world.database.number("select max(used)::bigint from quota_usage").await, 5);
}

#[tokio::test]
async fn a_gateway_has_a_bucket_of_its_own_and_is_not_counted_in_the_hour() {
    let world = World::with(|settings| settings.api_keys.requests_per_second = 1.try_into().expect("above zero")).await;
    world.database.avoid_hour_boundary().await;
    let admin = world.admin().await;
    let ((id, gateway), (_, other)) = (admin.given_api_key(Role::Network).await, admin.given_api_key(Role::Network).await);
    let used = world.database.number("select max(used)::bigint from quota_usage").await;
    // The role may not read cards, so a request that is admitted is a 403.
    let admitted = gateway.get("/cards").await;
    assert_eq!(admitted.header("x-ratelimit-limit"), None, "{admitted:?}");
    admitted.problem(403, "insufficient_permissions");
    world.database.execute("alter table quota_usage rename to quota_usage_away").await;
    take_keys_away(&world.database).await;
    let refused = gateway.get("/cards").await;
    assert_eq!((refused.number("retry-after"), refused.header("x-ratelimit-limit")), (1, None), "{refused:?}");
    refused.problem(429, "rate_limit_exceeded");
    for _ in 0..3 {
        gateway.get("/cards").await.problem(429, "rate_limit_exceeded");
    }
    world.database.execute("alter table api_keys_away rename to api_keys").await;
    world.database.execute("alter table quota_usage_away rename to quota_usage").await;
    other.get("/cards").await.problem(403, "insufficient_permissions");
    tokio::time::sleep(Duration::from_millis(1_050)).await;
    gateway.get("/cards").await.problem(403, "insufficient_permissions");
    assert_eq!(world.database.number("select max(used)::bigint from quota_usage").await, used);
    // A roll does not fill the bucket.
    let rolled = admin.post(&format!("/api-keys/{id}/roll"), json!({})).await.ok();
    let rolled = admin.with_token(rolled["key"].as_str().expect("a key"));
    rolled.get("/cards").await.problem(429, "rate_limit_exceeded");
}

#[tokio::test]
async fn a_gateway_is_served_when_the_hour_of_its_account_is_full() {
    let world = World::new().await;
    world.database.avoid_hour_boundary().await;
    let small = world.user_in_new_account(Role::Admin, Some(4)).await;
    let (_, gateway) = small.given_api_key(Role::Network).await;
    let (_, operator) = small.given_api_key(Role::Operator).await;
    operator.get("/cards").await.ok();
    small.get("/cards").await.ok();
    for actor in [&small, &operator, &small, &operator] {
        let refused = actor.get("/cards").await;
        assert_eq!(refused.number("x-ratelimit-remaining"), 0);
        refused.problem(429, "rate_limit_exceeded");
    }
    for _ in 0..3 {
        gateway.get("/cards").await.problem(403, "insufficient_permissions");
    }
    assert_eq!(world.database.number("select max(used)::bigint from quota_usage").await, 4);
    assert_eq!(world.database.number("select count(*) from audit_events where type = 'quota_exhausted'").await, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tokens_and_keys_of_an_account_share_one_exact_quota_over_all_replicas() {
    const LIMIT: u32 = 100;
    let world = World::of_replicas(3, patient).await;
    world.database.avoid_hour_boundary().await;
    let admin = world.user_in_new_account(Role::Admin, Some(LIMIT)).await;
    let ((_, operator), (_, viewer), (_, gateway)) =
        (admin.given_api_key(Role::Operator).await, admin.given_api_key(Role::Viewer).await, admin.given_api_key(Role::Network).await);
    let mut requests = tokio::task::JoinSet::new();
    for number in 0..240 {
        let actor = [&admin, &operator, &viewer, &gateway][number % 4];
        let actor = world.at(number % 3, actor);
        requests.spawn(async move { (number % 4 == 3, actor.get("/cards?limit=1").await) });
    }
    let (mut remaining, mut refused) = (Vec::new(), 0);
    while let Some(reply) = requests.join_next().await {
        let (is_gateway, reply) = reply.expect("a reply");
        match reply.status {
            403 if is_gateway => assert_eq!(reply.header("x-ratelimit-remaining"), None),
            200 if !is_gateway => remaining.push(reply.number("x-ratelimit-remaining")),
            429 if !is_gateway => refused += 1,
            _ => panic!("{reply:?}"),
        }
    }
    remaining.sort_unstable();
    // The three requests that created the keys were counted, too.
    assert_eq!(remaining, (0..i64::from(LIMIT) - 3).collect::<Vec<_>>());
    assert_eq!(refused, 180 - 97);
}

#[tokio::test]
async fn the_last_use_is_written_once_an_hour() {
    let (world, admin) = World::with_admin().await;
    let (_, program) = admin.given_api_key(Role::Viewer).await;
    world.database.avoid_hour_boundary().await;
    program.get("/cards").await.ok();
    let version = "select xmin::text::bigint from api_keys where name = 'A program'";
    let is_this_hour = "select count(*) from api_keys where last_used_at = date_trunc('hour', now(), 'UTC')";
    let written = world.database.number(version).await;
    assert_eq!(world.database.number(is_this_hour).await, 1);
    for _ in 0..5 {
        program.get("/cards").await.ok();
    }
    assert_eq!(world.database.number(version).await, written);
    world.database.execute("update api_keys set last_used_at = last_used_at - interval '1 hour' where name = 'A program'").await;
    // A row that is locked is left for a later request.
    let locks = world.database.lock_rows("api_keys").await;
    program.get("/cards").await.ok();
    locks.release().await;
    assert_eq!(world.database.number(is_this_hour).await, 0);
    program.get("/cards").await.ok();
    assert_eq!(world.database.number(is_this_hour).await, 1);
}
