//! 10,000 guesses at one email from 1,000 addresses, as fast as they go, while its owner logs in. A guess
//! that finds no room is made again: whoever attacks does not wait for a second because they are told to.

use std::{
    error::Error,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::{
    task::JoinSet,
    time::{MissedTickBehavior, interval, sleep, timeout},
};

use super::{Findings, OWNER, door::Door, sample::milliseconds, server::Site};

const GUESSES: usize = 10_000;
const ADDRESSES: usize = 1_000;
const CONNECTIONS: usize = 64;
const EVERY: Duration = Duration::from_millis(250);
const AGAIN: Duration = Duration::from_millis(20);

/// How long the attack may take in all.
const PATIENCE: Duration = Duration::from_secs(120);

/// The most that may be hashed for strangers: `rate_limit.failed_logins_per_email`.
const MAY_BE_HASHED: usize = 100;
const OWNER_WAITS_AT_MOST: u64 = 2_000_000;

/// Where the owner has logged in before.
const HOME: &str = "198.51.100.7";

pub async fn measure(site: &Site, findings: &mut Findings) -> Result<(), Box<dyn Error>> {
    let server = site.serve(&[]).await?;
    let door = server.door()?;
    let (email, password) = OWNER;
    if door.login(HOME, email, password).await?.status != 200 {
        return Err("the owner could not log in before the attack".into());
    }
    let over = Arc::new(AtomicBool::new(false));
    let owner = tokio::spawn(log_in_every_so_often(server.door()?, Arc::clone(&over)));
    let next = Arc::new(AtomicUsize::new(0));
    let began = Instant::now();
    let mut attackers = JoinSet::new();
    for _ in 0..CONNECTIONS {
        attackers.spawn(guess(server.door()?, Arc::clone(&next)));
    }
    let mut told = [0_usize; 4];
    for answers in timeout(PATIENCE, attackers.join_all()).await.map_err(|_| "the attack did not end")? {
        for (sum, number) in told.iter_mut().zip(answers?) {
            *sum += number;
        }
    }
    let took = began.elapsed();
    over.store(true, Ordering::Relaxed);
    let owner = owner.await??;

    let [hashed, refused, turned_away, else_] = told;
    findings.note(&format!(
        "{GUESSES} guesses at one email from {ADDRESSES} addresses in {} ms: {hashed} answered 401, {refused} 429; {turned_away} times 503",
        took.as_millis()
    ));
    let all_decided = else_ == 0 && hashed + refused == GUESSES;
    findings.judge(all_decided && hashed <= MAY_BE_HASHED, &format!("{hashed} guesses were hashed, of at most {MAY_BE_HASHED}"));
    let first_tries = owner.iter().filter(|(status, _)| *status == 200).count();
    let slowest = owner.iter().map(|(_, micros)| *micros).max().unwrap_or_default();
    findings.judge(
        first_tries == owner.len() && slowest < OWNER_WAITS_AT_MOST,
        &format!(
            "the owner logged in {first_tries} times of {} at the first try where they are known; slowest {}",
            owner.len(),
            milliseconds(slowest)
        ),
    );
    server.end().await
}

/// Guesses until there are none left; gives how many were answered 401, 429, at first 503, and anything else.
async fn guess(door: Door, next: Arc<AtomicUsize>) -> Result<[usize; 4], reqwest::Error> {
    let mut told = [0; 4];
    loop {
        let number = next.fetch_add(1, Ordering::Relaxed);
        if number >= GUESSES {
            return Ok(told);
        }
        let address = number % ADDRESSES;
        let source = format!("10.0.{}.{}", address / 250, address % 250);
        let kind = loop {
            match door.login(&source, OWNER.0, &format!("guess {number}")).await?.status {
                401 => break 0,
                429 => break 1,
                503 => told[2] += 1,
                _ => break 3,
            }
            sleep(AGAIN).await;
        };
        told[kind] += 1;
    }
}

async fn log_in_every_so_often(door: Door, over: Arc<AtomicBool>) -> Result<Vec<(u16, u64)>, reqwest::Error> {
    let mut logins = Vec::new();
    let mut ticks = interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while !over.load(Ordering::Relaxed) {
        ticks.tick().await;
        let answer = door.login(HOME, OWNER.0, OWNER.1).await?;
        logins.push((answer.status, answer.micros));
    }
    Ok(logins)
}
