//! Compares top-ups with many movements in the table against top-ups with few.

use std::{iter::once, time::Duration};

use bench::{Failure, Testbed, progress, server::Server};

use crate::{
    Arguments,
    account::{Account, CARDS},
    generate,
    load::{self, Requests},
    report::Report,
    sample::Sample,
    table::{rate, thousands},
};

/// The numbers of movements; the others are compared with the first.
const SIZES: [u64; 3] = [10_000, 1_000_000, 10_000_000];

/// The numbers of clients.
const CLIENTS: [u32; 2] = [64, 256];

/// The minimum rate relative to that with few movements, in hundredths.
const MIN_RATIO: u64 = 80;

/// The database with the cards and no movement; the others are copies of it.
const EMPTY: &str = "growth";

/// The length of a run. Many short runs are used, since the differences are small compared with how a shared machine
/// varies over a few seconds.
const SLICE: Duration = Duration::from_secs(1);

/// The clients and the length of the warm-up.
const WARM_UP: (u32, Duration) = (256, Duration::from_secs(2));

/// A number of movements and of clients.
type Run = (u64, u32);

/// A server on a database with this many movements.
#[derive(Debug)]
struct SizedServer {
    size: u64,
    server: Server,
    account: Account,
}

/// Measures all sizes in alternating seconds, each with its own database and server.
pub async fn measure(testbed: &Testbed, arguments: &Arguments, report: &mut Report) -> Result<(), Failure> {
    let account = create_empty(testbed).await?;
    let (mut large, mut done) = (Vec::new(), Vec::new());
    for size in &SIZES[1..] {
        large.push(create_sized(testbed, &account, *size).await?);
    }
    for turn in 1..=arguments.turns {
        // Recreated in every turn, since one run multiplies the number of movements.
        let small = create_sized(testbed, &account, SIZES[0]).await?;
        let all: Vec<&SizedServer> = once(&small).chain(&large).collect();
        warm_up(testbed, &all).await?;
        for second in 1..=arguments.seconds {
            for (size, clients) in order(second) {
                let Some(sized) = all.iter().find(|sized| sized.size == size) else { continue };
                done.push(((size, clients), sized.run(clients, SLICE).await?));
            }
        }
        for (size, clients) in order(1) {
            let so_far = median(&done, (size, clients)).map(|sample| rate(sample.rate)).unwrap_or_default();
            progress(&format!("turn {turn}: {clients} clients, {} movements: {so_far}/s so far", thousands(size)));
        }
        small.server.stop().await?;
    }
    for sized in large {
        sized.server.stop().await?;
    }
    for clients in CLIENTS {
        let base = median(&done, (SIZES[0], clients));
        for size in SIZES {
            let name = format!("top-ups with {} movements", thousands(size));
            let against = base.filter(|_| size != SIZES[0]).map(|base| (base.rate, MIN_RATIO));
            report.compare(&name, clients, median(&done, (size, clients)), against);
        }
    }
    Ok(())
}

impl SizedServer {
    async fn run(&self, clients: u32, time: Duration) -> Result<Sample, Failure> {
        load::run(self.server.address(), clients, &Requests::plain(self.account.top_ups()), time).await
    }
}

/// Opens connections, fills caches, and touches the pages that top-ups write, whose first write after a checkpoint goes
/// to the WAL as a whole page. That cost is small over the minutes between checkpoints, and large within one second.
async fn warm_up(testbed: &Testbed, all: &[&SizedServer]) -> Result<(), Failure> {
    testbed.postgres.long_query("postgres", "checkpoint").await?;
    for sized in all {
        sized.run(WARM_UP.0, WARM_UP.1).await?;
    }
    Ok(())
}

/// Creates the database with 5,000 cards, and returns their account.
async fn create_empty(testbed: &Testbed) -> Result<Account, Failure> {
    testbed.postgres.query("postgres", &format!("create database {EMPTY}"))?;
    let server = testbed.serve(EMPTY).await?;
    let mut account = Account::log_in(server.address()).await?;
    account.create_cards().await?;
    server.stop().await?;
    Ok(account)
}

/// Creates a copy of it with this many movements, replacing an earlier one.
async fn create_sized(testbed: &Testbed, account: &Account, size: u64) -> Result<SizedServer, Failure> {
    let (postgres, database) = (&testbed.postgres, format!("{EMPTY}_{size}"));
    progress(&format!("generating {} movements", thousands(size)));
    postgres.query("postgres", &format!("drop database if exists {database} with (force)"))?;
    postgres.query("postgres", &format!("create database {database} template {EMPTY}"))?;
    generate::run(postgres, &database, &generate::histories(size, u64::try_from(CARDS)?)).await?;
    let generated: u64 = postgres.long_query(&database, "select count(*) from movements").await?.parse()?;
    if generated != size {
        return Err(format!("{generated} of {size} movements were generated").into());
    }
    let server = testbed.serve(&database).await?;
    // The copy includes the session and the signing key, so the token stays valid.
    let account = account.at(server.address());
    Ok(SizedServer { size, server, account })
}

/// All sizes next to each other, in reverse order in every other turn.
fn order(turn: u64) -> Vec<Run> {
    let mut runs: Vec<Run> = CLIENTS.into_iter().flat_map(|clients| SIZES.map(|size| (size, clients))).collect();
    if turn.is_multiple_of(2) {
        runs.reverse();
    }
    runs
}

fn median(done: &[(Run, Sample)], run: Run) -> Option<Sample> {
    let samples: Vec<Sample> = done.iter().filter(|(other, _)| *other == run).map(|(_, sample)| *sample).collect();
    Sample::median(&samples)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_alternate_and_every_other_turn_runs_them_in_reverse() {
        assert_eq!(order(1)[..4], [(10_000, 64), (1_000_000, 64), (10_000_000, 64), (10_000, 256)]);
        assert_eq!(order(2)[..3], [(10_000_000, 256), (1_000_000, 256), (10_000, 256)]);
    }

    #[test]
    fn every_size_divides_evenly_among_the_cards() {
        for size in SIZES {
            assert!(size.is_multiple_of(u64::try_from(CARDS).unwrap()), "{size}");
        }
    }
}
