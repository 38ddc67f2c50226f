//! How long each migration runs on a large table, which locks it holds for how long, and how long writers wait for it.
//! `cargo test --test api migration_at_scale -- --ignored --nocapture` prints the table of docs/operations.md. It takes some
//! minutes and 6 GB of temporary disk. `MOVEMENTS` is the number of movements, by default ten million.

use std::{
    collections::BTreeMap,
    env,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use sqlx::{AssertSqlSafe, Executor, PgConnection, Row, migrate::Migrator};

use crate::support::Database;

/// The newest migration of the last release.
const RELEASED: i64 = 16;

const CARDS: u64 = 5_000;
const WRITERS: u32 = 4;

/// The lock that a reader and a writer of rows does not notice.
const HARMLESS: [&str; 3] = ["AccessShareLock", "RowShareLock", "RowExclusiveLock"];

/// An account of 5,000 cards with histories of equal length, as the service writes them.
fn histories(movements: u64) -> String {
    let each = movements / CARDS;
    format!(
        "set session_replication_role = replica; set synchronous_commit = off; set maintenance_work_mem = '512MB';
        insert into accounts (account_id, name) values ('01a20446-0000-7000-8000-000000000001', 'Large');
        insert into cards (account_id, id, number, currency, status, balance, seq)
        select '01a20446-0000-7000-8000-000000000001', {card}, n, 'USD', 'active', 100 * {each}, {each}
        from generate_series(1::bigint, {CARDS}) n;
        alter table movements drop constraint movements_pkey;
        insert into movements (account_id, card_id, seq, id, kind, amount, balance_after, description, created_at)
        select '01a20446-0000-7000-8000-000000000001', {owner}, n / {CARDS} + 1, {id}, 'top_up', 100, 100 * (n / {CARDS} + 1),
            'Balance top-up', statement_timestamp()
        from generate_series(0::bigint, {each} * {CARDS} - 1) n;
        alter table movements add constraint movements_pkey primary key (account_id, card_id, seq);",
        card = id("n"),
        owner = id("n % 5000 + 1"),
        id = id("n"),
    )
}

fn id(number: &str) -> String {
    format!("('01a20446-0000-7000-8000-' || lpad(to_hex({number}), 12, '0'))::uuid")
}

/// What a replica of the last release writes for a top-up.
fn top_up(card: i64) -> String {
    format!(
        "with moved as (
            update cards set balance = balance + 100, seq = seq + 1
            where account_id = '01a20446-0000-7000-8000-000000000001' and id = {}
            returning account_id, id, seq, balance
        )
        insert into movements (account_id, card_id, seq, id, kind, amount, balance_after, description, created_at)
        select account_id, id, seq, gen_random_uuid(), 'top_up', 100, balance, 'Balance top-up', now() from moved",
        id(&card.to_string())
    )
}

/// What the writers and the observer see while one migration runs.
#[derive(Debug, Default)]
struct Seen {
    top_ups: AtomicU64,
    longest_wait: AtomicU64,
    /// How often each lock was seen, by table and mode.
    locks: Mutex<BTreeMap<(String, String), u64>>,
}

async fn write_until(stop: Arc<AtomicBool>, database: Database, number: i64, seen: Arc<Mutex<Arc<Seen>>>) {
    let mut connection = database.connect().await;
    let mut card = number;
    while !stop.load(Ordering::Relaxed) {
        card = card % i64::try_from(CARDS).expect("small") + 1;
        let began = Instant::now();
        connection.execute(AssertSqlSafe(top_up(card))).await.expect("a top-up");
        let waited = u64::try_from(began.elapsed().as_micros()).expect("not for ever");
        // A wait counts for the migration that ended it.
        let seen = Arc::clone(&seen.lock().expect("unpoisoned"));
        seen.top_ups.fetch_add(1, Ordering::Relaxed);
        seen.longest_wait.fetch_max(waited, Ordering::Relaxed);
    }
}

/// Samples the locks of the migrating session, each millisecond or as often as the database answers.
async fn observe_until(stop: Arc<AtomicBool>, database: Database, pid: i32, seen: Arc<Mutex<Arc<Seen>>>) {
    let mut connection = database.connect().await;
    let held = format!(
        "select relation::regclass::text, mode from pg_locks
        where pid = {pid} and granted and relation in ('cards'::regclass, 'movements'::regclass)"
    );
    while !stop.load(Ordering::Relaxed) {
        let rows = connection.fetch_all(AssertSqlSafe(held.clone())).await.expect("the locks");
        let now = Arc::clone(&seen.lock().expect("unpoisoned"));
        for row in &rows {
            let (table, mode): (String, String) = (row.get(0), row.get(1));
            if !HARMLESS.contains(&mode.as_str()) {
                *now.locks.lock().expect("unpoisoned").entry((table, mode)).or_default() += 1;
            }
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

async fn migrate_to(connection: &mut PgConnection, migrator: &Migrator, version: i64) {
    migrator.run_direct(Some(version), connection, false).await.expect("migrated");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "measures for minutes"]
async fn migrations_of_a_large_table_block_writers_for_this_long() {
    let movements: u64 = env::var("MOVEMENTS").map_or(10_000_000, |number| number.parse().expect("a number"));
    let database = Database::empty().await;
    let mut migrator = sqlx::migrate!("./migrations");
    migrator.set_locking(false).set_ignore_missing(true);
    let mut connection = database.connect().await;
    let versions: Vec<i64> = migrator.iter().map(|migration| migration.version).collect();
    migrate_to(&mut connection, &migrator, RELEASED).await;
    database.execute(&histories(movements)).await;
    database.execute("vacuum analyze").await;

    let (stop, seen): (Arc<AtomicBool>, Arc<Mutex<Arc<Seen>>>) = Default::default();
    let pid: i32 = connection.fetch_one("select pg_backend_pid()").await.expect("a row").get(0);
    let mut others = vec![tokio::spawn(observe_until(Arc::clone(&stop), database.clone(), pid, Arc::clone(&seen)))];
    for number in 0..WRITERS {
        others.push(tokio::spawn(write_until(Arc::clone(&stop), database.clone(), i64::from(number) * 1_000, Arc::clone(&seen))));
    }
    tokio::time::sleep(Duration::from_secs(2)).await;

    println!("| migration | runs for | locks that writers notice, and for how long | longest wait of a top-up | top-ups meanwhile |");
    println!("|---|---|---|---|---|");
    for version in versions.into_iter().filter(|version| *version > RELEASED) {
        let now: Arc<Seen> = Arc::default();
        *seen.lock().expect("unpoisoned") = Arc::clone(&now);
        connection.execute("set lock_timeout = '2s'").await.expect("set");
        if migrator.iter().any(|migration| migration.version == version && migration.no_tx) {
            connection.execute("set lock_timeout = '60s'").await.expect("set");
        }
        let began = Instant::now();
        migrate_to(&mut connection, &migrator, version).await;
        let took = began.elapsed();
        // The writers that waited report.
        tokio::time::sleep(Duration::from_millis(200)).await;
        let locks = now.locks.lock().expect("unpoisoned").clone();
        let locks: Vec<String> = locks.iter().map(|((table, mode), times)| format!("`{table}` {mode} {times} samples")).collect();
        println!(
            "| {version:04} | {} ms | {} | {} µs | {} |",
            took.as_millis(),
            if locks.is_empty() { "none seen".to_owned() } else { locks.join(", ") },
            now.longest_wait.load(Ordering::Relaxed),
            now.top_ups.load(Ordering::Relaxed),
        );
        assert!(
            now.longest_wait.load(Ordering::Relaxed) < 2_000_000,
            "a top-up waited for longer than the lock timeout while {version:04} ran"
        );
    }
    stop.store(true, Ordering::Relaxed);
    for other in others {
        other.await.expect("no writer failed");
    }
    let wrong = "select count(*) from cards where seq <> (select count(*) from movements
        where movements.account_id = cards.account_id and movements.card_id = cards.id)";
    assert_eq!(database.number(wrong).await, 0, "cards that do not stand where their movements leave them");
}
