//! Logins a second, compared with the hashing rate of the same machine.

use std::{
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use core_api::service::auth::Passwords;
use secrecy::SecretString;
use tokio::task::JoinSet;

use bench::{Failure, Testbed, postgres::NAME};

use super::{
    Findings, OWNER,
    client::Client,
    sample::{median, per_cent},
};

const TURNS: usize = 3;
const TURN: Duration = Duration::from_secs(10);

/// The minimum rate of logins relative to the hashing rate.
const MIN_PER_CENT: u64 = 90;

/// Enough clients per core that the server never waits for one.
const CLIENTS_PER_CORE: usize = 4;

pub async fn measure(testbed: &Testbed, findings: &mut Findings) -> Result<(), Failure> {
    let clients = CLIENTS_PER_CORE * thread::available_parallelism().map_or(1, std::num::NonZeroUsize::get);
    let server = testbed.serve(NAME).await?;
    // The hashing threads of the service, on all cores and at the same priority, so that other load on this machine
    // affects both alike.
    let passwords = Passwords::new()?;
    let (mut alone, mut logins) = (Vec::new(), Vec::new());
    for _ in 0..TURNS {
        alone.push(hashes(&passwords, clients).await?);
        logins.push(log_in(&Client::of(&server)?, clients).await?);
    }
    findings.note(&format!("in {} s: argon2 alone {alone:?}, logins {logins:?}", TURN.as_secs()));
    let share = per_cent(median(&mut logins), median(&mut alone));
    findings
        .judge(share >= MIN_PER_CENT, &format!("logins reach {share} % of argon2 alone on all cores, must be at least {MIN_PER_CENT} %"));
    server.stop().await
}

async fn hashes(passwords: &Passwords, clients: usize) -> Result<u64, Failure> {
    let (began, mut hashing) = (Instant::now(), JoinSet::new());
    for _ in 0..clients {
        let passwords = passwords.clone();
        hashing.spawn(async move {
            let (secret, mut done) = (SecretString::from(OWNER.1), 0);
            while began.elapsed() < TURN {
                passwords.hash(&secret, None).await.map_err(|error| error.to_string())?;
                done += 1;
            }
            Ok::<u64, String>(done)
        });
    }
    let done: Result<Vec<u64>, String> = hashing.join_all().await.into_iter().collect();
    Ok(done?.iter().sum())
}

async fn log_in(client: &Client, clients: usize) -> Result<u64, Failure> {
    let (began, mut logging_in) = (Instant::now(), JoinSet::new());
    let client = Arc::new(client.clone());
    for number in 0..clients {
        let client = Arc::clone(&client);
        logging_in.spawn(async move {
            let mut done = 0;
            while began.elapsed() < TURN {
                let answer = client.login(&format!("198.51.100.{number}"), OWNER.0, OWNER.1).await.map_err(|error| error.to_string())?;
                if answer.status != 200 {
                    return Err(format!("a login was answered {}: {}", answer.status, answer.body));
                }
                done += 1;
            }
            Ok::<u64, String>(done)
        });
    }
    let done: Result<Vec<u64>, String> = logging_in.join_all().await.into_iter().collect();
    Ok(done?.iter().sum())
}
