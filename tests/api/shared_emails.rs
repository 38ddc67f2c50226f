//! One email, users of several accounts.

use core_api::domain::role::Role;
use serde_json::{Value, json};

use crate::support::{Actor, Reply, World};

const ANA: &str = "ana@example.com";
const FIRST: &str = "the first long password";
const SECOND: &str = "the second long password";

/// Two accounts, each with a user who has the same email.
async fn two_anas(first: &str, second: &str) -> (World, [Value; 2]) {
    let (world, admin, other) = World::with_two_accounts().await;
    let mut users = Vec::new();
    for (admin, password) in [(&admin, first), (&other, second)] {
        users.push(admin.post("/users", json!({"email": ANA, "password": password, "role": "viewer"})).await.ok()["userId"].clone());
    }
    let [one, other] = users.try_into().expect("two");
    (world, [one, other])
}

async fn login(client: &Actor, password: &str, account: Option<&str>) -> Reply {
    let mut body = json!({"email": ANA, "password": password});
    if let Some(account) = account {
        body["accountId"] = json!(account);
    }
    client.post("/auth/login", body).await
}

#[tokio::test]
async fn a_password_that_fits_one_user_of_an_email_logs_that_user_in() {
    let (world, [one, other]) = two_anas(FIRST, SECOND).await;
    let client = world.anonymous();
    assert_eq!(login(&client, FIRST, None).await.ok()["userId"], one);
    assert_eq!(login(&client, SECOND, None).await.ok()["userId"], other);
    let wrong = login(&client, "a wrong password", None).await;
    let unknown = client.post("/auth/login", json!({"email": "nobody@example.com", "password": FIRST})).await;
    assert_eq!(wrong.without_request_id(), unknown.without_request_id());
    wrong.problem(401, "invalid_credentials");
    // Each account sees the failure at its own user.
    world.database.wait_for(2, "select count(distinct account_id) from audit_events where type = 'login_failed'").await;
}

#[tokio::test]
async fn a_password_that_fits_users_of_two_accounts_needs_the_account() {
    let (world, [one, other]) = two_anas(FIRST, FIRST).await;
    let client = world.anonymous();
    let refused = login(&client, FIRST, None).await.problem(400, "account_required");
    let detail = refused["detail"].as_str().expect("a text").to_owned();
    let accounts: Vec<&str> = detail.split([' ', ',', '.', ':']).filter(|word| word.starts_with("acc_")).collect();
    assert_eq!(accounts.len(), 2, "{detail}");
    let mut users = Vec::new();
    for account in &accounts {
        users.push(login(&client, FIRST, Some(account)).await.ok()["userId"].clone());
    }
    assert_eq!(users, [one, other]);
    let wrong = login(&client, SECOND, Some(accounts[0])).await;
    for nothing in ["acc_01h455vb4pex5vsknk084sn02q", "nothing"] {
        let reply = login(&client, FIRST, Some(nothing)).await;
        assert_eq!(reply.without_request_id(), wrong.without_request_id());
        reply.problem(401, "invalid_credentials");
    }
    wrong.problem(401, "invalid_credentials");
    let null = json!({"email": ANA, "password": FIRST, "accountId": null});
    client.post("/auth/login", null).await.problem(400, "account_required");
    // Of two users one is disabled: the other needs no account.
    world.database.execute("update users set disabled_at = now() where email = 'ana@example.com' and role = 'viewer' and account_id = (select account_id from users where email = 'test@example.com')").await;
    assert_eq!(login(&client, FIRST, None).await.ok()["userId"], users[1]);
}

#[tokio::test]
async fn users_of_one_email_share_a_salt_also_after_a_password_change() {
    let (world, _) = two_anas(FIRST, SECOND).await;
    let ana = world.anonymous().logged_in(ANA, FIRST).await;
    ana.post("/auth/password", json!({"currentPassword": FIRST, "newPassword": "the third long password"})).await.ok();
    let salts = "select count(distinct split_part(password_hash, '$', 5)) from users where email = 'ana@example.com'";
    assert_eq!(world.database.number(salts).await, 1);
    assert_eq!(world.database.number("select count(distinct split_part(password_hash, '$', 5)) from users").await, 3);
}

/// Whoever can create users of one account knows a password of the email. They get a bounded number of guesses at the other
/// user, and no answer of theirs tells that there is one.
#[tokio::test]
async fn a_user_of_another_account_gives_no_guesses_away_and_tells_nothing() {
    let (world, admin, other) = World::with_two_accounts().await;
    let (_, victim) = world.new_user(&admin, ANA, Role::Viewer).await;
    for email in [ANA, "only@example.com"] {
        other.post("/users", json!({"email": email, "password": FIRST, "role": "viewer"})).await.ok();
    }
    world.database.execute("delete from login_sources").await;
    world.database.execute("delete from failed_logins").await;
    let client = world.anonymous();
    let counts = "select coalesce(sum(failures), 0)::bigint from failed_logins";
    let more_than_the_limit_of_a_pair = 25;
    for number in 1..=more_than_the_limit_of_a_pair {
        login(&client, FIRST, None).await.ok();
        // Each login was a guess at the password of the other account's user, who does not trust the address.
        assert_eq!(world.database.number(counts).await, number);
    }
    // The same answers for an email with one user: a success resets the failures before it.
    for email in [ANA, "only@example.com"] {
        for (tries, password) in [(19, "a wrong password"), (1, FIRST), (5, "a wrong password"), (1, FIRST)] {
            for _ in 0..tries {
                let reply = client.post("/auth/login", json!({"email": email, "password": password})).await;
                assert_eq!(reply.status, if password == FIRST { 200 } else { 401 }, "{email}");
            }
        }
    }
    victim.get("/cards").await.ok();
    // The victim's account learns of the guesses, and not from where the other account's user logs in.
    world.database.wait_for(0, "select count(*) from audit_events where type = 'login_failed' and address is not null and account_id = (select account_id from users where email = 'test@example.com')").await;
    world.database.wait_for(24, "select count(*) from audit_events where type = 'login_failed' and account_id = (select account_id from users where email = 'test@example.com')").await;
}

#[tokio::test]
async fn guesses_through_one_account_leave_only_the_users_who_trust_the_address() {
    let world = World::with(|settings| {
        settings.rate_limit.failed_logins_per_email = 3.try_into().expect("above zero");
        settings.rate_limit.failed_logins_per_minute = 1_000.try_into().expect("above zero");
    })
    .await;
    let (admin, other) = (world.admin().await, world.other_admin().await);
    for (admin, password) in [(&admin, SECOND), (&other, FIRST)] {
        admin.post("/users", json!({"email": ANA, "password": password, "role": "viewer"})).await.ok();
    }
    let client = world.anonymous();
    for _ in 0..4 {
        login(&client, FIRST, None).await.ok();
    }
    // The other account's user is left out now: even the right password is not compared.
    login(&client, SECOND, None).await.problem(401, "invalid_credentials");
    login(&client, FIRST, None).await.ok();
    world.database.execute("delete from failed_logins").await;
    // A replica that has counted the failures itself keeps them for ten seconds.
    let fresh = world.fresh_replica().await;
    login(&fresh.anonymous(), SECOND, None).await.ok();
}
