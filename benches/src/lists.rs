//! Whether a list of a million rows costs more memory than a short one, holds a connection of the database while its
//! reader is slow, and has pages that are as fast at its end as at its beginning.

use std::time::{Duration, Instant};

use tokio::time::sleep;

use crate::{
    Arguments, Failure,
    account::Account,
    ground::Ground,
    load::{self, Requests},
    made,
    report::Report,
    sample::{Sample, rate},
    server::Server,
    stream::Stream,
    table, tell,
};

/// How long a list is.
const ROWS: usize = 1_000_000;

/// The most that the server's memory should grow while it answers with one, in megabytes.
const MOST_GROWTH: u64 = 50;

/// The least that the rate of the last page should be of that of the first, in hundredths.
const LEAST: u64 = 80;

/// How many read pages at once.
const CLIENTS: u32 = 64;

/// How long a slow reader bears it; after how many pauses it makes a long one, after which its request must not
/// keep the database busy; and how long both are.
const SLOW: Duration = Duration::from_secs(10);
const LOOK_AFTER: usize = 10;
const PAUSE: Duration = Duration::from_millis(50);
const LONG_PAUSE: Duration = Duration::from_millis(500);

/// The database that has them.
const DATABASE: &str = "lists";

/// Connections to it that do something, or are amid a transaction.
const BUSY: &str = "select count(*) from pg_stat_activity
    where datname = 'lists' and backend_type = 'client backend' and state <> 'idle'";

/// A list, and where its pages begin.
struct List {
    name: &'static str,
    path: String,
}

/// Measures the customers of an account, and the movements of a card.
pub async fn measure(ground: &Ground, arguments: &Arguments, report: &mut Report) -> Result<(), Failure> {
    let (account, card) = make(ground).await?;
    let customers = List { name: "customers", path: "/customers".to_owned() };
    for list in [customers, List { name: "movements", path: format!("/cards/{card}/movements") }] {
        streamed(ground, &account, &list, report).await?;
        read_slowly(ground, &account, &list, report).await?;
        pages(ground, arguments, &account, &list, report).await?;
    }
    Ok(())
}

/// The rows of both lists, whose they are, and the card.
async fn make(ground: &Ground) -> Result<(Account, String), Failure> {
    tell(&format!("making {ROWS} customers, and {ROWS} movements of a card"));
    ground.postgres.ask("postgres", &format!("create database {DATABASE}"))?;
    let server = ground.serve(DATABASE).await?;
    let account = Account::log_in(server.address()).await?;
    let card = account.make_card().await?;
    server.stop().await?;
    let rows = u64::try_from(ROWS)?;
    made::load(&ground.postgres, DATABASE, &(made::customers(rows) + &made::histories(rows, 1))).await?;
    Ok((account, card))
}

/// As fast as it comes.
async fn streamed(ground: &Ground, account: &Account, list: &List, report: &mut Report) -> Result<(), Failure> {
    let (server, account, rest) = rested(ground, account, list).await?;
    let began = Instant::now();
    let rows = Stream::open(server.address(), &account.get(&list.path)).await?.rows().await?;
    let took = began.elapsed();
    if rows != ROWS {
        return Err(format!("the list of {} has {rows} rows of {ROWS}", list.name).into());
    }
    let micros = u64::try_from(took.as_micros())?;
    let sample = Sample { rate: rate(rows, took), p50: Some(micros), p99: None };
    report.held_against(&format!("rows of {} {}, all at once", table::thousands(u64::try_from(ROWS)?), list.name), 1, Some(sample), None);
    report.growth(&format!("memory for all {}", list.name), server.peak(), rest, MOST_GROWTH);
    server.stop().await
}

/// By somebody who hangs up long before the end.
async fn read_slowly(ground: &Ground, account: &Account, list: &List, report: &mut Report) -> Result<(), Failure> {
    let (server, account, rest) = rested(ground, account, list).await?;
    let mut stream = Stream::open(server.address(), &account.get(&list.path)).await?;
    let (began, mut busy) = (Instant::now(), 0);
    while began.elapsed() < SLOW {
        for _ in 0..LOOK_AFTER {
            stream.sip(PAUSE).await?;
        }
        stream.sip(LONG_PAUSE).await?;
        busy += ground.postgres.ask("postgres", BUSY)?.parse::<u64>()?;
    }
    drop(stream);
    sleep(LONG_PAUSE).await;
    busy += ground.postgres.ask("postgres", BUSY)?.parse::<u64>()?;
    report.growth(&format!("memory for a slow reader of {}", list.name), server.peak(), rest, MOST_GROWTH);
    report.none_of(&format!("database connections it holds, {}", list.name), busy);
    server.stop().await
}

/// The first page and the last, turn by turn, each for a second at a time.
async fn pages(ground: &Ground, arguments: &Arguments, account: &Account, list: &List, report: &mut Report) -> Result<(), Failure> {
    let server = ground.serve(DATABASE).await?;
    let mut account = account.at(server.address());
    account.log_in_again().await?;
    tell(&format!("going through all pages of {}", list.name));
    let beginning = format!("{}?limit=50", list.path);
    let end = account.follow_pages(&beginning, ROWS).await?;
    // What differs is little beside what a shared machine does from one run to the next: so many short runs instead.
    let mut done = [Vec::new(), Vec::new()];
    for turn in 1..=arguments.seconds * u64::from(arguments.turns) {
        let mut order = [(0, &beginning), (1, &end)];
        if turn.is_multiple_of(2) {
            order.reverse();
        }
        for (which, path) in order {
            let requests = Requests::plain(vec![account.get(path)]);
            done[which].push(load::run(server.address(), CLIENTS, &requests, Duration::from_secs(1)).await?);
        }
    }
    let [at_first, at_last] = done.map(|samples| Sample::median(&samples));
    let name = |which: &str| format!("{which} page of {} {}", table::thousands(u64::try_from(ROWS).unwrap_or_default()), list.name);
    report.held_against(&name("first"), CLIENTS, at_first, None);
    report.held_against(&name("last"), CLIENTS, at_last, at_first.map(|first| (first.rate, LEAST)));
    server.stop().await
}

/// A server that has answered one short request, and its memory then. It checks no password before, which takes more
/// than a list may.
async fn rested(ground: &Ground, account: &Account, list: &List) -> Result<(Server, Account, Option<u64>), Failure> {
    let server = ground.serve(DATABASE).await?;
    let account = account.at(server.address());
    load::each_once(server.address(), 1, vec![account.get(&format!("{}?limit=1", list.path))]).await?;
    sleep(Duration::from_secs(1)).await;
    let rest = server.memory();
    server.forget_peak()?;
    Ok((server, account, rest))
}
