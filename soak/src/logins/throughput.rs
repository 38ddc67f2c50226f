//! Logins a second, against what the same machine hashes when it does nothing else.

use std::{
    error::Error,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use core_api::service::auth::Passwords;
use secrecy::SecretString;
use tokio::task::JoinSet;

use super::{
    Findings, OWNER,
    door::Door,
    sample::{median, per_cent},
    server::Site,
};

const TURNS: usize = 3;
const TURN: Duration = Duration::from_secs(10);

/// The least that must be left of it.
const AT_LEAST_PER_CENT: u64 = 90;

/// Clients for each core: enough that nothing ever waits for one.
const CLIENTS_PER_CORE: usize = 4;

pub async fn measure(site: &Site, findings: &mut Findings) -> Result<(), Box<dyn Error>> {
    let clients = CLIENTS_PER_CORE * thread::available_parallelism().map_or(1, std::num::NonZeroUsize::get);
    let server = site.serve(&[]).await?;
    // The service's own threads, on all cores, at the priority they have there: whatever else goes on
    // on this machine, both feel it alike.
    let passwords = Passwords::new()?;
    let (mut alone, mut logins) = (Vec::new(), Vec::new());
    for _ in 0..TURNS {
        alone.push(hashes(&passwords, clients).await?);
        logins.push(logins_through(&server.door()?, clients).await?);
    }
    findings.note(&format!("in {} s: argon2 alone {alone:?}, logins {logins:?}", TURN.as_secs()));
    let share = per_cent(median(&mut logins), median(&mut alone));
    findings.judge(
        share >= AT_LEAST_PER_CENT,
        &format!("logins are {share} % of argon2 alone on all cores, of at least {AT_LEAST_PER_CENT} %"),
    );
    server.end().await
}

async fn hashes(passwords: &Passwords, clients: usize) -> Result<u64, Box<dyn Error>> {
    let (began, mut hashing) = (Instant::now(), JoinSet::new());
    for _ in 0..clients {
        let passwords = passwords.clone();
        hashing.spawn(async move {
            let (secret, mut done) = (SecretString::from(OWNER.1), 0);
            while began.elapsed() < TURN {
                passwords.hash(&secret).await.map_err(|error| error.to_string())?;
                done += 1;
            }
            Ok::<u64, String>(done)
        });
    }
    let done: Result<Vec<u64>, String> = hashing.join_all().await.into_iter().collect();
    Ok(done?.iter().sum())
}

async fn logins_through(door: &Door, clients: usize) -> Result<u64, Box<dyn Error>> {
    let (began, mut knocking) = (Instant::now(), JoinSet::new());
    let door = Arc::new(door.clone());
    for client in 0..clients {
        let door = Arc::clone(&door);
        knocking.spawn(async move {
            let mut done = 0;
            while began.elapsed() < TURN {
                let answer = door.login(&format!("198.51.100.{client}"), OWNER.0, OWNER.1).await.map_err(|error| error.to_string())?;
                if answer.status != 200 {
                    return Err(format!("a login was answered {}: {}", answer.status, answer.body));
                }
                done += 1;
            }
            Ok::<u64, String>(done)
        });
    }
    let done: Result<Vec<u64>, String> = knocking.join_all().await.into_iter().collect();
    Ok(done?.iter().sum())
}
