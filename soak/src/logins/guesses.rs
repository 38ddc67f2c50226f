//! 10,000 guesses at one email from 1,000 addresses, as fast as possible, while its owner logs in. A rejected guess is
//! retried at once: an attacker ignores `Retry-After`.

use std::{
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

use bench::{Failure, Testbed, postgres::NAME};

use super::{Findings, OWNER, client::Client, sample::milliseconds};

const GUESSES: usize = 10_000;
const ADDRESSES: usize = 1_000;
const CONNECTIONS: usize = 64;

/// The time between two logins of the owner.
const OWNER_INTERVAL: Duration = Duration::from_millis(250);

/// The pause before a rejected guess is retried.
const RETRY_AFTER: Duration = Duration::from_millis(20);

/// The maximum duration of the attack.
const TIMEOUT: Duration = Duration::from_secs(120);

/// The maximum number of guesses that are checked: `rate_limit.failed_logins_per_email`.
const MAX_CHECKED: usize = 100;

/// The maximum time of a login of the owner, in microseconds.
const MAX_OWNER_MICROS: u64 = 2_000_000;

/// The address that the owner has logged in from before.
const OWNER_ADDRESS: &str = "198.51.100.7";

pub async fn measure(testbed: &Testbed, findings: &mut Findings) -> Result<(), Failure> {
    let server = testbed.serve(NAME).await?;
    let client = Client::of(&server)?;
    let (email, password) = OWNER;
    if client.login(OWNER_ADDRESS, email, password).await?.status != 200 {
        return Err("the owner could not log in before the attack".into());
    }
    let over = Arc::new(AtomicBool::new(false));
    let owner = tokio::spawn(log_in_regularly(Client::of(&server)?, Arc::clone(&over)));
    let next = Arc::new(AtomicUsize::new(0));
    let began = Instant::now();
    let mut attackers = JoinSet::new();
    for _ in 0..CONNECTIONS {
        attackers.spawn(guess(Client::of(&server)?, Arc::clone(&next)));
    }
    let mut counts = [0_usize; 4];
    for answers in timeout(TIMEOUT, attackers.join_all()).await.map_err(|_| "the attack did not end in time")? {
        for (sum, number) in counts.iter_mut().zip(answers?) {
            *sum += number;
        }
    }
    let took = began.elapsed();
    over.store(true, Ordering::Relaxed);
    let owner = owner.await??;

    let [checked, refused, rejected, unexpected] = counts;
    findings.note(&format!(
        "{GUESSES} guesses at one email from {ADDRESSES} addresses in {} ms: {checked} answered 401, {refused} 429; {rejected} answers 503",
        took.as_millis()
    ));
    let all_decided = unexpected == 0 && checked + refused == GUESSES;
    findings.judge(all_decided && checked <= MAX_CHECKED, &format!("{checked} guesses were checked, at most {MAX_CHECKED} allowed"));
    let first_tries = owner.iter().filter(|(status, _)| *status == 200).count();
    let slowest = owner.iter().map(|(_, micros)| *micros).max().unwrap_or_default();
    findings.judge(
        first_tries == owner.len() && slowest < MAX_OWNER_MICROS,
        &format!(
            "{first_tries} of {} logins of the owner from a known address succeeded at the first attempt; slowest {}",
            owner.len(),
            milliseconds(slowest)
        ),
    );
    server.stop().await
}

/// Guesses until none are left. Returns the number of answers with 401, 429, 503 (later retried), and anything else.
async fn guess(client: Client, next: Arc<AtomicUsize>) -> Result<[usize; 4], reqwest::Error> {
    let mut counts = [0; 4];
    loop {
        let number = next.fetch_add(1, Ordering::Relaxed);
        if number >= GUESSES {
            return Ok(counts);
        }
        let address = number % ADDRESSES;
        let source = format!("10.0.{}.{}", address / 250, address % 250);
        let kind = loop {
            match client.login(&source, OWNER.0, &format!("guess {number}")).await?.status {
                401 => break 0,
                429 => break 1,
                503 => counts[2] += 1,
                _ => break 3,
            }
            sleep(RETRY_AFTER).await;
        };
        counts[kind] += 1;
    }
}

async fn log_in_regularly(client: Client, over: Arc<AtomicBool>) -> Result<Vec<(u16, u64)>, reqwest::Error> {
    let mut logins = Vec::new();
    let mut ticks = interval(OWNER_INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while !over.load(Ordering::Relaxed) {
        ticks.tick().await;
        let answer = client.login(OWNER_ADDRESS, OWNER.0, OWNER.1).await?;
        logins.push((answer.status, answer.micros));
    }
    Ok(logins)
}
