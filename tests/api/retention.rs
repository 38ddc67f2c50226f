//! What is over is deleted after the time that the settings say, and nothing else is.

use core_api::config::Settings;
use serde_json::json;

use crate::support::World;

const DAY: u64 = 24 * 60 * 60;

/// Replicas that delete with these settings. Each deletes once at its start.
async fn purged(world: &World, change: impl Fn(&mut Settings)) {
    for _ in 0..2 {
        let _replica = World::on(world.database.clone(), &change).await;
    }
}

#[tokio::test]
async fn ended_sessions_and_their_refresh_tokens_are_deleted_after_their_time_by_several_replicas() {
    let (world, live) = World::with_admin().await;
    let (ended, expired) = (world.admin().await, world.admin().await);
    for actor in [&live, &ended, &expired] {
        world.anonymous().post("/auth/refresh", json!({"refreshToken": actor.refresh_token})).await.ok();
    }
    // Many tokens of one session, and many sessions: more than one batch of each.
    world
        .database
        .execute(
            "update sessions set ended_at = now() - interval '8 days' where number = (select number from sessions order by number desc offset 1 limit 1);
             update sessions set expires_at = now() - interval '8 days' where number = (select max(number) from sessions);
             insert into refresh_tokens (account_id, session_id, token_hash)
                 select account_id, id, sha256(number::text::bytea || part::text::bytea)
                 from sessions, generate_series(1, 600) part where ended_at is not null;
             insert into sessions (account_id, id, user_id, expires_at, ended_at)
                 select account_id, gen_random_uuid(), user_id, expires_at, ended_at
                 from sessions, generate_series(1, 1200) where ended_at is not null;
             insert into sessions (account_id, id, user_id, expires_at, ended_at)
                 select account_id, gen_random_uuid(), user_id, expires_at, now() - interval '6 days'
                 from sessions order by number limit 1",
        )
        .await;
    let _replicas = [
        World::on(world.database.clone(), |settings| settings.retention.sessions_seconds = 7 * DAY).await,
        World::on(world.database.clone(), |settings| settings.retention.sessions_seconds = 7 * DAY).await,
    ];
    world.database.wait_for(1, "select (count(*) < 10)::integer::bigint from sessions").await;
    tokio::time::sleep(std::time::Duration::from_secs(1)).await;
    // What two replicas left to each other is deleted in the next turn, a minute later, or by a new replica.
    let _replica = World::on(world.database.clone(), |settings| settings.retention.sessions_seconds = 7 * DAY).await;
    world.database.wait_for(2, "select count(*) from sessions").await;
    assert_eq!(world.database.number("select count(*) from refresh_tokens").await, 2);
    live.get("/cards").await.ok();
    ended.get("/cards").await.problem(401, "unauthenticated");
    expired.get("/cards").await.problem(401, "unauthenticated");
}

#[tokio::test]
async fn audit_events_are_kept_unless_the_settings_say_for_how_long() {
    let (world, admin) = World::with_admin().await;
    admin.given_card().await;
    let old = "set session_replication_role = replica;
        update audit_events set created_at = now() - interval '41 days' where type = 'login';
        set session_replication_role = origin;
        insert into audit_events (account_id, id, type, subject_kind, subject_id, created_at)
            select account_id, gen_random_uuid(), 'logout', subject_kind, subject_id, now() - interval '31 days' from audit_events limit 1";
    world.database.execute(old).await;
    let count = "select count(*) from audit_events where created_at < now() - interval '30 days'";
    let before = world.database.number(count).await;
    assert!(before >= 2);
    purged(&world, |_| {}).await;
    tokio::time::sleep(std::time::Duration::from_millis(300)).await;
    assert_eq!(world.database.number(count).await, before);
    let _replica = World::on(world.database.clone(), |settings| settings.retention.audit_events_seconds = 40 * DAY).await;
    world.database.wait_for(1, count).await;
    assert_eq!(world.database.number("select count(*) from audit_events where type = 'card_created'").await, 1);
}

#[tokio::test]
async fn the_database_lets_nobody_delete_an_audit_event_of_the_last_thirty_days() {
    let (world, _) = World::with_admin().await;
    let mut connection = world.database.connect().await;
    for sql in ["delete from audit_events", "begin; set local core_api.deletes_old_audit_events = 'on'; delete from audit_events"] {
        let refused = sqlx::Executor::execute(&mut connection, sql).await.expect_err("refused").to_string();
        assert!(refused.contains("audit events"), "{refused}");
        let _ended = sqlx::Executor::execute(&mut connection, "rollback").await;
    }
    assert_eq!(world.database.number("select delete_old_audit_events(interval '0', 10)").await, 0);
}

#[tokio::test]
async fn stored_responses_stay_for_the_time_of_the_settings() {
    let (world, admin) = World::with_admin().await;
    for key in ["old", "new"] {
        admin.keyed(key, reqwest::Method::POST, "/cards", &json!({"currency": "USD"})).await.ok();
    }
    world.database.execute("update idempotency_keys set created_at = now() - interval '47 hours' where key = 'old'").await;
    let _replica = World::on(world.database.clone(), |settings| settings.retention.idempotency_keys_seconds = 2 * DAY).await;
    tokio::time::sleep(std::time::Duration::from_millis(300)).await;
    assert_eq!(world.database.number("select count(*) from idempotency_keys").await, 2);
    let _replica = World::on(world.database.clone(), |_| {}).await;
    world.database.wait_for(1, "select count(*) from idempotency_keys").await;
}
