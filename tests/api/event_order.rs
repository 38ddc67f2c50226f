//! The order of a feed: a reader that pages skips nothing and repeats nothing, whatever commits when, and after a restore.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use core_api::{config::Settings, database::private::SERVING_ROLE};
use serde_json::{Value, json};
use tokio::task::{JoinHandle, JoinSet};

use crate::support::{
    Actor, Reply, World,
    feed::{sequences, types},
    patient,
    payments::{card_uuid, id},
    restore::{dump_and_restore, own_postgres},
    without_quota,
};

const CARDS: usize = 12;
const WRITERS: usize = 8;
const WRITING: Duration = Duration::from_secs(6);
const DAY: u64 = 24 * 60 * 60;

/// Lets a transaction that changes a card take up to half a second to commit, and one that gives places in the feed up to 30
/// milliseconds. It waits once, however many rows it changes.
const SLOW_COMMITS: &str = "create function commits_slowly() returns trigger language plpgsql as $$
    begin
        if coalesce(current_setting('test.slept', true), '') = '' then
            perform set_config('test.slept', 'yes', true), pg_sleep(random() * tg_argv[0]::float);
        end if;
        return null;
    end $$;
    create constraint trigger commits_slowly after update on cards deferrable initially deferred
        for each row execute function commits_slowly(0.5);
    create constraint trigger commits_slowly after update on event_feeds deferrable initially deferred
        for each row execute function commits_slowly(0.03)";

/// A number for a block: of the sequence, or as a shard makes it of its clock.
const NEXT_NUMBER: &str = "select coalesce(
    nextval(pg_get_serial_sequence('event_blocks', 'number')), (extract(epoch from clock_timestamp()) * 1000000)::bigint << 10)";

fn busy(settings: &mut Settings) {
    patient(settings);
    without_quota(settings);
}

/// Two replicas with slow commits, an admin with a feed, and cards with money.
async fn with_slow_commits() -> (World, Actor, Arc<[String]>) {
    let world = World::of_replicas(2, busy).await;
    let admin = world.admin().await.with_feed().await;
    let mut cards = Vec::new();
    for _ in 0..CARDS {
        cards.push(admin.given_card_with(json!(1000)).await);
    }
    world.database.execute(SLOW_COMMITS).await;
    (world, admin, cards.into())
}

/// Changes random cards until the time is up. Returns how many requests were done.
async fn write(admin: Actor, cards: Arc<[String]>, until: Instant) -> usize {
    let mut done = 0;
    while Instant::now() < until {
        let card = &cards[rand::random_range(0..cards.len())];
        let reply = match rand::random_range(0..10) {
            0..=2 => admin.add(card, json!(1)).await,
            3 | 4 => admin.purchase(card, json!(1)).await,
            5 | 6 => hold_and_capture(&admin, card).await,
            7 | 8 => {
                admin.set_status(card, "blocked").await;
                admin.set_status(card, "active").await
            }
            _ => {
                let email = format!("juan.{}@email.com", rand::random::<u64>());
                admin.post("/customers", json!({"name": "Juan Perez", "email": email})).await
            }
        };
        // A blocked card refuses, and a request that the database gave up is answered with 503.
        assert!([200, 409, 503].contains(&reply.status), "{reply:?}");
        done += usize::from(reply.status == 200);
    }
    done
}

async fn hold_and_capture(admin: &Actor, card: &str) -> Reply {
    let reply = admin.authorize(card, json!(1)).await;
    if reply.status != 200 {
        return reply;
    }
    let authorization = reply.ok()["authorization"].clone();
    match authorization["status"].as_str() {
        Some("pending") => admin.capture(&id(&authorization), json!(1)).await,
        _ => admin.get("/cards?limit=1").await,
    }
}

async fn write_at_both_replicas(world: &World, admin: &Actor, cards: &Arc<[String]>) -> usize {
    let until = Instant::now() + WRITING;
    let mut writers = JoinSet::new();
    for number in 0..WRITERS {
        writers.spawn(write(world.at(number % 2, admin), Arc::clone(cards), until));
    }
    let done = writers.join_all().await.into_iter().sum();
    // The transaction of a request that was answered with 503 may still go on.
    world.database.wait_for(0, "select count(*) from pg_stat_activity where datname = current_database() and wait_event = 'PgSleep'").await;
    done
}

/// A page of seven events. Whoever gets a 503 asks again with the same cursor.
async fn page(reader: &Actor, cursor: Option<&str>) -> (Vec<Value>, String) {
    let after = cursor.map(|cursor| format!("&after={cursor}")).unwrap_or_default();
    let page = patiently(reader, &format!("/events?limit=7{after}")).await;
    (page["events"].as_array().expect("a list").clone(), page["nextCursor"].as_str().expect("a cursor").to_owned())
}

async fn patiently(actor: &Actor, path: &str) -> Value {
    let began = Instant::now();
    loop {
        let reply = actor.get(path).await;
        if reply.status != 503 {
            return reply.ok();
        }
        assert!(began.elapsed() < Duration::from_secs(20), "{reply:?}");
    }
}

/// Reads from a cursor, or the start, until it finds nothing more after `stop` was set. Returns the events and the last cursor.
async fn read(reader: &Actor, mut cursor: Option<String>, stop: &AtomicBool) -> (Vec<Value>, String) {
    let mut events = Vec::new();
    loop {
        let stopped = stop.load(Ordering::Acquire);
        let (found, next) = page(reader, cursor.as_deref()).await;
        if stopped && found.is_empty() {
            return (events, next);
        }
        events.extend(found);
        cursor = Some(next);
    }
}

/// Everything after a cursor, or from the start.
async fn rest(reader: &Actor, cursor: Option<&str>) -> (Vec<Value>, String) {
    read(reader, cursor.map(str::to_owned), &AtomicBool::new(true)).await
}

type Reading = JoinHandle<(Vec<Value>, String)>;

/// One reader at each replica, without a pause.
fn readers(world: &World, admin: &Actor) -> (Arc<AtomicBool>, [Reading; 2]) {
    let stop = Arc::new(AtomicBool::new(false));
    let readings = [0, 1].map(|replica| {
        let (reader, stop) = (world.at(replica, admin), Arc::clone(&stop));
        tokio::spawn(async move { read(&reader, None, &stop).await })
    });
    (stop, readings)
}

fn ids(events: &[Value]) -> Vec<String> {
    events.iter().map(id).collect()
}

/// Asserts that each reader has seen the whole feed in its order, and that the feed has the whole history of each card.
async fn assert_nothing_is_missing(world: &World, admin: &Actor, cards: &[String], readings: [Reading; 2]) -> Vec<Value> {
    let (all, _) = rest(admin, None).await;
    for reading in readings {
        let (seen, _) = reading.await.expect("no panic");
        let other = seen.iter().zip(&all).position(|(seen, event)| seen != event);
        assert_eq!((other, seen.len()), (None, all.len()), "the reader has seen something else than the feed has");
    }
    let mut unique = ids(&all);
    unique.sort();
    unique.dedup();
    assert_eq!(unique.len(), all.len(), "an id of two events");
    assert_eq!(world.database.number("select count(*) from events").await, i64::try_from(all.len()).expect("few"));
    for card in cards {
        let newest = world.database.number(&format!("select event_seq from cards where id = '{}'", card_uuid(card))).await;
        assert_eq!(sequences(&all, card), (1..=newest).collect::<Vec<_>>(), "{card}");
        let told = all.iter().filter(|event| event["cardId"] == **card && event["type"] == "movement.created");
        let mut told: Vec<String> = told.map(|event| id(&event["data"]["movement"])).collect();
        let found = patiently(admin, &format!("/cards/{card}/movements")).await;
        assert_eq!(found["nextCursor"], Value::Null);
        let mut movements: Vec<String> = found["movements"].as_array().expect("a list").iter().map(id).collect();
        told.sort();
        movements.sort();
        assert_eq!(told, movements, "{card}");
    }
    all
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_that_pages_skips_and_repeats_nothing_while_transactions_commit_out_of_order() {
    let (world, admin, cards) = with_slow_commits().await;
    let (stop, readings) = readers(&world, &admin);
    let done = write_at_both_replicas(&world, &admin, &cards).await;
    stop.store(true, Ordering::Release);
    let all = assert_nothing_is_missing(&world, &admin, &cards, readings).await;
    assert!(done > 40 && all.len() > done, "{done} requests, {} events", all.len());
    // Otherwise nothing would have been tested.
    let inverted = "select count(*) from (
        select number < lag(number) over (order by position) as is_inverted from event_blocks
    ) blocks where is_inverted";
    assert!(world.database.number(inverted).await > 0, "every transaction committed in the order of its block");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_that_pages_skips_and_repeats_nothing_while_connections_are_killed() {
    let (world, admin, cards) = with_slow_commits().await;
    let (stop, readings) = readers(&world, &admin);
    let killing = tokio::spawn({
        let (database, stop) = (world.database.clone(), Arc::clone(&stop));
        async move {
            let kill = format!(
                "select count(*) filter (where pg_terminate_backend(pid)) from (
                     select pid from pg_stat_activity
                     where datname = current_database() and pid <> pg_backend_pid() and usename = '{SERVING_ROLE}'
                     order by random() limit 2
                 ) backends"
            );
            let mut killed = 0;
            while !stop.load(Ordering::Acquire) {
                killed += database.number(&kill).await;
                tokio::time::sleep(Duration::from_millis(150)).await;
            }
            killed
        }
    });
    let done = write_at_both_replicas(&world, &admin, &cards).await;
    stop.store(true, Ordering::Release);
    let killed = killing.await.expect("no panic");
    let all = assert_nothing_is_missing(&world, &admin, &cards, readings).await;
    assert!(killed > 20 && done > 10, "{killed} killed, {done} requests, {} events", all.len());
    world.assert_ledger_is_clean().await;
}

#[tokio::test]
async fn the_order_of_transaction_ids_would_invert_the_events_of_a_card() {
    let world = World::with(patient).await;
    let admin = world.admin().await.with_feed().await;
    let card = admin.given_card_with(json!(5)).await;
    let uuid = card_uuid(&card);
    // The slow transaction begins, gets its transaction id, and draws a number for a block before it has the card.
    let mut slow = world.database.shard().await;
    slow.execute("begin").await.expect("begun");
    let slow_id = slow.number("select pg_current_xact_id()::text::bigint").await;
    let early = slow.number(NEXT_NUMBER).await;
    // Meanwhile another changes the card and commits, and a reader sees that.
    admin.set_status(&card, "blocked").await.ok();
    let (seen, cursor) = admin.events_page("", None).await;
    assert_eq!(sequences(&seen, &card), [1, 2, 3, 4]);
    let change = format!("update cards set status = 'active', event_seq = event_seq + 1 where id = '{uuid}' returning event_seq");
    assert_eq!(slow.number(&change).await, 5);
    let tell = format!(
        "with block as (
             insert into event_blocks (account_id, created_at) select account_id, now() from cards where id = '{uuid}'
             returning account_id, number
         ), told as (
             insert into events (account_id, block, ordinal, id, type, card_id, sequence, state, created_at)
             select account_id, number, 1, gen_random_uuid(), 'card.activated', '{uuid}', 5,
                 '{{\"card\": {{\"cardId\": \"{card}\", \"status\": \"active\"}}, \"previousStatus\": \"blocked\"}}', now()
             from block
         )
         select number from block"
    );
    let late = slow.number(&tell).await;
    slow.execute("commit").await.expect("committed");

    let of_event = |column: &str, sequence: i64| {
        let sql = format!("select {column} from events where card_id = '{uuid}' and sequence = {sequence}");
        let database = &world.database;
        async move { database.shard().await.number(&sql).await }
    };
    assert_eq!(of_event("xmin::text::bigint", 5).await, slow_id);
    assert!(slow_id < of_event("xmin::text::bigint", 4).await, "the transaction that began first has the lower id");
    // Of a card, a number that is drawn before the card is locked may be lower than that of an earlier change. So it is drawn
    // under the lock.
    let of_the_fast = of_event("block", 4).await;
    assert!(early < of_the_fast && of_the_fast < late, "{early} {of_the_fast} {late}");

    assert_eq!(sequences(&admin.events("").await, &card), [1, 2, 3, 4, 5]);
    let (next, _) = admin.events_page("", Some(&cursor)).await;
    assert_eq!((types(&next), sequences(&next, &card)), (vec!["card.activated"], vec![5]));
}

#[tokio::test]
async fn a_reader_goes_on_with_its_cursor_after_a_restore_into_a_new_cluster() {
    const TRANSACTION_ID: &str = "select pg_current_xact_id()::text::bigint";
    let folder = tempfile::Builder::new().prefix("core-api-test").tempdir_in("/tmp").expect("a folder");
    let (_old_postgres, old) = own_postgres(&folder.path().join("old")).await;
    let world = World::on(old.clone(), patient).await;
    // The old cluster has seen more transactions than the new one will have.
    old.execute("do $$ begin for number in 1..5000 loop perform pg_current_xact_id(); commit; end loop; end $$").await;
    let admin = world.admin().await.with_feed().await;
    let card = admin.given_card_with(json!(100)).await;
    for _ in 0..10 {
        admin.purchase(&card, json!(1)).await.ok();
        admin.given_hold(&card, json!(1)).await;
    }
    let (before, cursor) = page(&admin, None).await;
    assert_eq!(before.len(), 7);
    // What nobody has read yet is in the dump too, without a place in the feed.
    admin.add(&card, json!(1)).await.ok();
    assert_eq!(old.number("select count(*) from event_blocks where position is null").await, 1);

    let (_new_postgres, new) = own_postgres(&folder.path().join("new")).await;
    dump_and_restore(&old, &new, &folder.path().join("dump"));
    let (all_of_old, _) = rest(&admin, None).await;
    let restored = World::on(new.clone(), patient).await;
    let admin = restored.at(0, &admin);
    let (after, cursor) = rest(&admin, Some(&cursor)).await;
    assert_eq!([before, after].concat(), all_of_old);

    let newest = i64::try_from(all_of_old.len()).expect("few");
    assert_eq!(sequences(&all_of_old, &card), (1..=newest).collect::<Vec<_>>());
    for _ in 0..3 {
        admin.add(&card, json!(1)).await.ok();
    }
    admin.set_status(&card, "blocked").await.ok();
    let (added, _) = rest(&admin, Some(&cursor)).await;
    assert_eq!(sequences(&added, &card), (newest + 1..=newest + 4).collect::<Vec<_>>());
    assert_eq!(rest(&admin, None).await.0, [all_of_old, added].concat());
    assert!(new.number(TRANSACTION_ID).await < old.number(TRANSACTION_ID).await, "the new cluster has the later transaction ids");
}

#[tokio::test]
async fn old_events_are_deleted_and_a_reader_goes_on_with_what_is_left() {
    let (world, admin) = World::with_admin().await;
    let admin = admin.with_feed().await;
    admin.given_customer().await;
    // More than two batches of nine days ago.
    world
        .database
        .execute(
            "with block as (
                 insert into event_blocks (account_id, created_at)
                 select account_id, now() - interval '9 days' from events, generate_series(1, 1200)
                 returning account_id, number, created_at
             )
             insert into events (account_id, block, ordinal, id, type, state, created_at)
             select block.account_id, block.number, 1, gen_random_uuid(), type, state, block.created_at from block, events;
             update event_blocks set created_at = now() - interval '8 days'",
        )
        .await;
    let card = admin.given_card().await;
    let (first, cursor) = page(&admin, None).await;
    assert_eq!(types(&first), ["customer.created"; 7]);
    // Old, but nobody could have read it yet. And one of almost a week ago.
    admin.set_status(&card, "active").await.ok();
    world.database.execute("update event_blocks set created_at = now() - interval '8 days' where position is null").await;
    world
        .database
        .execute(
            "update event_blocks set created_at = now() - interval '6 days'
             where number = (select block from events where type = 'card.created')",
        )
        .await;
    let old = "select count(*) from event_blocks where created_at < now() - interval '7 days'";
    assert_eq!(world.database.number(old).await, 1202);
    let purge = |settings: &mut Settings| settings.retention.events_seconds = 7 * DAY;
    let _default = World::on(world.database.clone(), |_| {}).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(world.database.number(old).await, 1202);
    let _replica = World::on(world.database.clone(), purge).await;
    world.database.wait_for(1, old).await;
    assert_eq!(world.database.number("select count(*) from events").await, 2);

    let (left, cursor) = rest(&admin, Some(&cursor)).await;
    assert_eq!((types(&left), sequences(&left, &card)), (vec!["card.created", "card.activated"], vec![1, 2]));
    assert_eq!(rest(&admin, None).await.0, left);
    // By now it has a position, so it is deleted with the next turn.
    let _replica = World::on(world.database.clone(), purge).await;
    world.database.wait_for(0, old).await;
    assert_eq!(types(&rest(&admin, None).await.0), ["card.created"]);
    // A place in the feed is not given again.
    admin.set_status(&card, "blocked").await.ok();
    let (next, _) = rest(&admin, Some(&cursor)).await;
    assert_eq!((types(&next), sequences(&next, &card)), (vec!["card.blocked"], vec![3]));
}
