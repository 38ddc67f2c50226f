//! 500 logins a second of emails that are nobody's, from everywhere, beside somebody who works.

use std::{
    error::Error,
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

use super::{
    Findings, OWNER,
    door::Door,
    sample::{median, milliseconds, per_cent, quantile},
    server::{Server, Site},
};

const TURNS: usize = 3;
const TURN: Duration = Duration::from_secs(20);

/// One login of the flood; evenly, 500 a second.
const EVERY: Duration = Duration::from_millis(2);

/// The worst that a flood may do to the p99 of somebody who is logged in.
const AT_MOST_PER_CENT: u64 = 200;

/// What the server may need beside 19 MiB for each core that hashes.
const MEGABYTES: u64 = 100;

pub async fn measure(site: &Site, findings: &mut Findings) -> Result<(), Box<dyn Error>> {
    let server = site.serve(&[]).await?;
    let door = server.door()?;
    let login = door.login("198.51.100.7", OWNER.0, OWNER.1).await?;
    let token = login.body["token"].as_str().ok_or("the login gave no token")?.to_owned();
    let card = door.post(&token, "/cards", &json!({"currency": "USD"})).await?;
    let worker = Worker { door, token, card: card.body["cardId"].as_str().ok_or("there is no card")?.to_owned() };
    worker.work(Duration::from_secs(3)).await?;

    if fs::read_to_string("/proc/sys/kernel/sched_autogroup_enabled").is_ok_and(|setting| setting.trim() == "1") {
        // sched(7): what a thread says of its priority then holds within its session alone, and Postgres has another one.
        findings.note("kernel.sched_autogroup_enabled is 1: on this machine hashes stand back for the server and not for Postgres");
    }
    let (mut quiet, mut flooded, mut answers) = (Vec::new(), Vec::new(), Vec::new());
    for turn in 1..=TURNS {
        let mut alone = worker.work(TURN).await?;
        let over = Arc::new(AtomicBool::new(false));
        let flood = tokio::spawn(flood(server.door()?, Arc::clone(&over)));
        sleep(Duration::from_millis(500)).await;
        let mut beside = worker.work(TURN).await?;
        over.store(true, Ordering::Relaxed);
        answers.extend(flood.await??);
        let (alone_p99, beside_p99) = (quantile(&mut alone, 990), quantile(&mut beside, 990));
        findings.note(&format!(
            "turn {turn}: p99 alone {} (median {}, {} requests), beside the flood {} (median {}, {} requests)",
            milliseconds(alone_p99),
            milliseconds(median(&mut alone)),
            alone.len(),
            milliseconds(beside_p99),
            milliseconds(median(&mut beside)),
            beside.len(),
        ));
        quiet.push(alone_p99);
        flooded.push(beside_p99);
    }
    let ratio = per_cent(median(&mut flooded), median(&mut quiet));
    findings
        .judge(ratio < AT_MOST_PER_CENT, &format!("p99 beside the flood is {ratio} % of that alone, of less than {AT_MOST_PER_CENT} %"));
    tell_answers(&answers, findings);
    tell_memory(&server, findings);
    server.end().await
}

/// Somebody who reads a balance and tops it up, one request after the other.
struct Worker {
    door: Door,
    token: String,
    card: String,
}

impl Worker {
    async fn work(&self, time: Duration) -> Result<Vec<u64>, Box<dyn Error>> {
        let (read, add) = (format!("/balances/{}", self.card), json!({"cardId": self.card, "amount": 1}));
        let (began, mut took) = (Instant::now(), Vec::new());
        while began.elapsed() < time {
            for answer in [self.door.get(&self.token, &read).await?, self.door.post(&self.token, "/balances/add", &add).await?] {
                if answer.status != 200 {
                    return Err(format!("an authenticated request was answered {}: {}", answer.status, answer.body).into());
                }
                took.push(answer.micros);
            }
        }
        Ok(took)
    }
}

/// Sends so many a second, whatever becomes of those before them.
async fn flood(door: Door, over: Arc<AtomicBool>) -> Result<Vec<(u16, u64)>, reqwest::Error> {
    let mut logins = JoinSet::new();
    let mut ticks = interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    while !over.load(Ordering::Relaxed) {
        ticks.tick().await;
        let door = door.clone();
        logins.spawn(async move {
            let [a, b, c, d]: [u8; 4] = rand::random();
            let email = format!("{:016x}@example.com", rand::random::<u64>());
            door.login(&format!("{a}.{b}.{c}.{d}"), &email, "a guess").await.map(|answer| (answer.status, answer.micros))
        });
    }
    logins.join_all().await.into_iter().collect()
}

fn tell_answers(answers: &[(u16, u64)], findings: &mut Findings) {
    for (status, meaning) in [(401, "hashed"), (429, "too many"), (503, "no room in the lane")] {
        let mut took: Vec<u64> = answers.iter().filter(|(told, _)| *told == status).map(|(_, micros)| *micros).collect();
        findings.note(&format!(
            "flood: {} answered {status} ({meaning}), median {}, p99 {}",
            took.len(),
            milliseconds(median(&mut took)),
            milliseconds(quantile(&mut took, 990)),
        ));
    }
    let odd = answers.iter().filter(|(status, _)| ![401, 429, 503].contains(status)).count();
    findings.judge(odd == 0, &format!("{odd} of {} logins of the flood were answered otherwise", answers.len()));
}

fn tell_memory(server: &Server, findings: &mut Findings) {
    let cores = thread::available_parallelism().map_or(1, |cores| u64::try_from(cores.get()).unwrap_or(u64::MAX));
    if let Some(peak) = server.peak_megabytes() {
        let most = cores * 19 + MEGABYTES;
        findings.judge(peak < most, &format!("the server had {peak} MB at most, of less than {most} MB"));
    }
}
