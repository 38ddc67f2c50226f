//! Whether top-ups are as fast with many movements in the table as with few.

use std::{iter::once, time::Duration};

use crate::{
    Arguments, Failure,
    account::{Account, CARDS},
    ground::Ground,
    load::{self, Requests},
    made,
    report::Report,
    sample::Sample,
    server::Server,
    table::{rate, thousands},
    tell,
};

/// How many movements there are; the first is what the others are held against.
const SIZES: [u64; 3] = [10_000, 1_000_000, 10_000_000];

/// How many top up at once.
const CLIENTS: [u32; 2] = [64, 256];

/// The least that a rate should be of that with few movements, in hundredths.
const LEAST: u64 = 80;

/// The database with the cards and without a movement; the others are copies of it.
const EMPTY: &str = "growth";

/// How long a run is. They are many and short, since what differs is little beside what a shared machine does from one
/// run of some seconds to the next.
const SLICE: Duration = Duration::from_secs(1);

/// By how many and how long a server is warmed up.
const WARM_UP: (u32, Duration) = (256, Duration::from_secs(2));

/// A number of movements and of clients.
type Run = (u64, u32);

/// A server on a database with so many movements.
#[derive(Debug)]
struct Grown {
    size: u64,
    server: Server,
    account: Account,
}

/// Measures all sizes second by second, each with a database and a server of its own.
pub async fn measure(ground: &Ground, arguments: &Arguments, report: &mut Report) -> Result<(), Failure> {
    let account = empty(ground).await?;
    let (mut large, mut done) = (Vec::new(), Vec::new());
    for size in &SIZES[1..] {
        large.push(grow(ground, &account, *size).await?);
    }
    for turn in 1..=arguments.turns {
        // New in every turn: one run makes several times as many movements as there were.
        let small = grow(ground, &account, SIZES[0]).await?;
        let all: Vec<&Grown> = once(&small).chain(&large).collect();
        warm_up(ground, &all).await?;
        for second in 1..=arguments.seconds {
            for (size, clients) in order(second) {
                let Some(grown) = all.iter().find(|grown| grown.size == size) else { continue };
                done.push(((size, clients), grown.run(clients, SLICE).await?));
            }
        }
        for (size, clients) in order(1) {
            let so_far = median(&done, (size, clients)).map(|sample| rate(sample.rate)).unwrap_or_default();
            tell(&format!("turn {turn}: {clients} clients, {} movements: {so_far}/s so far", thousands(size)));
        }
        small.server.stop().await?;
    }
    for grown in large {
        grown.server.stop().await?;
    }
    for clients in CLIENTS {
        let few = median(&done, (SIZES[0], clients));
        for size in SIZES {
            let name = format!("top-ups with {} movements", thousands(size));
            let beside = few.filter(|_| size != SIZES[0]).map(|few| (few.rate, LEAST));
            report.held_against(&name, clients, median(&done, (size, clients)), beside);
        }
    }
    Ok(())
}

impl Grown {
    async fn run(&self, clients: u32, time: Duration) -> Result<Sample, Failure> {
        load::run(self.server.address(), clients, &Requests::plain(self.account.top_ups()), time).await
    }
}

/// Until connections are open, cards known, and the pages that they end on written to the log as a whole, as they are
/// once after a checkpoint: that is little in the minutes between two, and much in a second.
async fn warm_up(ground: &Ground, all: &[&Grown]) -> Result<(), Failure> {
    ground.postgres.ask_patiently("postgres", "checkpoint").await?;
    for grown in all {
        grown.run(WARM_UP.0, WARM_UP.1).await?;
    }
    Ok(())
}

/// A database with 5,000 cards, and whose they are.
async fn empty(ground: &Ground) -> Result<Account, Failure> {
    ground.postgres.ask("postgres", &format!("create database {EMPTY}"))?;
    let server = ground.serve(EMPTY).await?;
    let mut account = Account::log_in(server.address()).await?;
    account.make_cards().await?;
    server.stop().await?;
    Ok(account)
}

/// A copy of it with so many movements, anew if there is one already.
async fn grow(ground: &Ground, account: &Account, size: u64) -> Result<Grown, Failure> {
    let (postgres, database) = (&ground.postgres, format!("{EMPTY}_{size}"));
    tell(&format!("making {} movements", thousands(size)));
    postgres.ask("postgres", &format!("drop database if exists {database} with (force)"))?;
    postgres.ask("postgres", &format!("create database {database} template {EMPTY}"))?;
    made::load(postgres, &database, &made::histories(size, u64::try_from(CARDS)?)).await?;
    let made: u64 = postgres.ask_patiently(&database, "select count(*) from movements").await?.parse()?;
    if made != size {
        return Err(format!("{made} movements were made of {size}").into());
    }
    let server = ground.serve(&database).await?;
    // Its session and the key of its token were copied with everything else.
    let account = account.at(server.address());
    Ok(Grown { size, server, account })
}

/// All sizes next to each other, and every other time the other way round.
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
