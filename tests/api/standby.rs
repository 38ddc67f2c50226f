//! A synchronous standby that goes away: writes wait for it, everything else goes on.

use std::{
    env,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use core_api::domain::card::CardStatus;
use serde_json::json;
use tokio::task::JoinSet;

use crate::{
    concurrency::assert_ledger_is_consistent,
    support::{Replication, World, without_quota},
};

const WRITERS: usize = 64;

/// The connections of the server's pools.
const CONNECTIONS: u32 = 20;

/// Those, one that looks for the backends of silent connections, one for readiness, and the test's own.
const MOST_BACKENDS: i64 = CONNECTIONS as i64 + 3;

/// How long the standby is away. `STANDBY_OUTAGE_SECONDS` asks for longer.
fn outage() -> Duration {
    Duration::from_secs(env::var("STANDBY_OUTAGE_SECONDS").map_or(20, |seconds| seconds.parse().expect("a number of seconds")))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reads_go_on_and_connections_stay_bounded_while_every_write_waits_for_a_standby() {
    let mut replication = Replication::start().await;
    let world = World::on(replication.database(), |settings| {
        without_quota(settings);
        settings.database.max_connections = CONNECTIONS;
    })
    .await;
    let admin = world.admin().await;
    let mut cards = Vec::new();
    for _ in 0..WRITERS {
        cards.push(admin.given_card_in(CardStatus::Active).await);
    }
    world.database.execute("alter system set synchronous_standby_names = '*'").await;
    world.database.execute("select pg_reload_conf()").await;
    admin.add(&cards[0], json!(1)).await.ok();

    replication.stop_standby();
    let stop = Arc::new(AtomicBool::new(false));
    let mut writers = JoinSet::new();
    for (number, card) in cards.iter().enumerate() {
        let (admin, card, stop) = (admin.clone(), card.clone(), Arc::clone(&stop));
        writers.spawn(async move {
            let (mut done, mut refused) = (0, 0);
            let mut statuses = ["active", "blocked"].iter().cycle();
            while !stop.load(Ordering::Relaxed) {
                // Top-ups share a batch; a change of status is a transaction of its own, and locks nothing but its card.
                let reply = if number % 2 == 0 {
                    admin.add(&card, json!(1)).await
                } else {
                    admin.set_status(&card, statuses.next().expect("a cycle")).await
                };
                if reply.status == 200 {
                    done += 1;
                } else {
                    let code = reply.json()["code"].clone();
                    assert!(reply.status == 503 && (code == "outcome_unknown" || code == "unavailable"), "{reply:?}");
                    refused += 1;
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
            (done, refused)
        });
    }
    let (began, mut most, mut slowest) = (Instant::now(), 0, Duration::ZERO);
    while began.elapsed() < outage() {
        let asked = Instant::now();
        admin.card(&cards[7]).await;
        admin.get("/customers").await.ok();
        world.anonymous().get("/health/ready").await.ok();
        slowest = slowest.max(asked.elapsed());
        most = most.max(world.database.number("select count(*) from pg_stat_activity where backend_type = 'client backend'").await);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert!(most <= MOST_BACKENDS, "{most} backends");
    let waiting = world.database.number("select count(*) from pg_stat_activity where wait_event = 'SyncRep'").await;
    assert!((3..=i64::from(CONNECTIONS)).contains(&waiting), "{waiting} backends wait for the standby");

    replication.start_standby().await;
    let back = Instant::now();
    while admin.add(&cards[1], json!(1)).await.status != 200 {
        assert!(back.elapsed() < Duration::from_secs(10), "no write succeeds");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let recovered = back.elapsed();
    stop.store(true, Ordering::Relaxed);
    let (done, refused) =
        writers.join_all().await.into_iter().fold((0, 0), |(done, refused), (more, others)| (done + more, refused + others));
    for card in &cards {
        admin.set_status(card, "active").await.ok();
        admin.add(card, json!(1)).await.ok();
    }
    assert_ledger_is_consistent(&world).await;
    eprintln!(
        "{} s without a standby: {refused} writes refused, {done} done, at most {most} backends, {waiting} of them waiting, \
         three reads in at most {slowest:?}, the first write {recovered:?} after the standby was back",
        outage().as_secs()
    );
}
