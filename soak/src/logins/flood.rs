//! 500 logins a second with unknown emails from random addresses, while a logged-in user works.

use std::{
    fs,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use serde_json::json;
use tokio::{
    task::JoinSet,
    time::{MissedTickBehavior, interval, sleep},
};

use bench::{Failure, Testbed, postgres::NAME, server::Server};

use super::{
    Findings, OWNER,
    client::Client,
    sample::{median, milliseconds, per_cent, quantile},
};

const TURNS: usize = 3;
const TURN: Duration = Duration::from_secs(20);

/// The interval between two logins: 500 a second.
const INTERVAL: Duration = Duration::from_millis(2);

/// The maximum p99 of a logged-in user during the flood, relative to that without it.
const MAX_PER_CENT: u64 = 200;

/// The memory that the server may need beyond 19 MiB per hashing core.
const MEGABYTES: u64 = 100;

pub async fn measure(testbed: &Testbed, findings: &mut Findings) -> Result<(), Failure> {
    let server = testbed.serve(NAME).await?;
    let client = Client::of(&server)?;
    let login = client.login("198.51.100.7", OWNER.0, OWNER.1).await?;
    let token = login.body["token"].as_str().ok_or("the login returned no token")?.to_owned();
    let card = client.post(&token, "/cards", &json!({"currency": "USD"})).await?;
    let worker = Worker { client, token, card: card.body["cardId"].as_str().ok_or("no card was created")?.to_owned() };
    worker.work(Duration::from_secs(3)).await?;

    if fs::read_to_string("/proc/sys/kernel/sched_autogroup_enabled").is_ok_and(|setting| setting.trim() == "1") {
        // sched(7): thread priorities then apply only within a session, and Postgres runs in another one.
        findings.note("kernel.sched_autogroup_enabled is 1: on this machine hashing yields to the server but not to Postgres");
    }
    let (mut quiet, mut flooded, mut answers) = (Vec::new(), Vec::new(), Vec::new());
    for turn in 1..=TURNS {
        let mut quiet_times = worker.work(TURN).await?;
        let over = Arc::new(AtomicBool::new(false));
        let flood = tokio::spawn(flood(Client::of(&server)?, Arc::clone(&over)));
        sleep(Duration::from_millis(500)).await;
        let mut with_flood = worker.work(TURN).await?;
        over.store(true, Ordering::Relaxed);
        answers.extend(flood.await??);
        let (quiet_p99, flood_p99) = (quantile(&mut quiet_times, 990), quantile(&mut with_flood, 990));
        findings.note(&format!(
            "turn {turn}: p99 without the flood {} (median {}, {} requests), with it {} (median {}, {} requests)",
            milliseconds(quiet_p99),
            milliseconds(median(&mut quiet_times)),
            quiet_times.len(),
            milliseconds(flood_p99),
            milliseconds(median(&mut with_flood)),
            with_flood.len(),
        ));
        quiet.push(quiet_p99);
        flooded.push(flood_p99);
    }
    let ratio = per_cent(median(&mut flooded), median(&mut quiet));
    findings.judge(ratio < MAX_PER_CENT, &format!("p99 with the flood is {ratio} % of that without it, must be below {MAX_PER_CENT} %"));
    report_answers(&answers, findings);
    report_memory(&server, findings);
    server.stop().await
}

/// A logged-in user who alternately reads a balance and tops it up.
struct Worker {
    client: Client,
    token: String,
    card: String,
}

impl Worker {
    async fn work(&self, time: Duration) -> Result<Vec<u64>, Failure> {
        let (read, add) = (format!("/balances/{}", self.card), json!({"cardId": self.card, "amount": 1}));
        let (began, mut took) = (Instant::now(), Vec::new());
        while began.elapsed() < time {
            for answer in [self.client.get(&self.token, &read).await?, self.client.post(&self.token, "/balances/add", &add).await?] {
                if answer.status != 200 {
                    return Err(format!("an authenticated request was answered {}: {}", answer.status, answer.body).into());
                }
                took.push(answer.micros);
            }
        }
        Ok(took)
    }
}

/// Sends logins at a constant rate, regardless of earlier answers.
async fn flood(client: Client, over: Arc<AtomicBool>) -> Result<Vec<(u16, u64)>, reqwest::Error> {
    let mut logins = JoinSet::new();
    let mut ticks = interval(INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    while !over.load(Ordering::Relaxed) {
        ticks.tick().await;
        let client = client.clone();
        logins.spawn(async move {
            let [a, b, c, d]: [u8; 4] = rand::random();
            let email = format!("{:016x}@example.com", rand::random::<u64>());
            client.login(&format!("{a}.{b}.{c}.{d}"), &email, "a guess").await.map(|answer| (answer.status, answer.micros))
        });
    }
    logins.join_all().await.into_iter().collect()
}

fn report_answers(answers: &[(u16, u64)], findings: &mut Findings) {
    for (status, meaning) in [(401, "checked"), (429, "blocked"), (503, "rejected by a full lane")] {
        let mut took: Vec<u64> = answers.iter().filter(|(answered, _)| *answered == status).map(|(_, micros)| *micros).collect();
        findings.note(&format!(
            "flood: {} answered {status} ({meaning}), median {}, p99 {}",
            took.len(),
            milliseconds(median(&mut took)),
            milliseconds(quantile(&mut took, 990)),
        ));
    }
    let unexpected = answers.iter().filter(|(status, _)| ![401, 429, 503].contains(status)).count();
    findings.judge(unexpected == 0, &format!("{unexpected} of {} logins of the flood got another answer", answers.len()));
}

fn report_memory(server: &Server, findings: &mut Findings) {
    let cores = thread::available_parallelism().map_or(1, |cores| u64::try_from(cores.get()).unwrap_or(u64::MAX));
    if let Some(peak) = server.peak_memory().map(|kilobytes| kilobytes / 1024) {
        let limit = cores * 19 + MEGABYTES;
        findings.judge(peak < limit, &format!("the memory of the server peaked at {peak} MB, must be below {limit} MB"));
    }
}
