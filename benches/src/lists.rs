//! Lists and statements of a million rows: the memory they need, whether a slow reader holds a database connection, and whether the
//! last page is as fast as the first.

use std::time::{Duration, Instant};

use bench::{Failure, Testbed, progress, server::Server};
use tokio::time::sleep;

use crate::{
    Arguments,
    account::Account,
    generate,
    load::{self, Requests},
    report::Report,
    sample::{Sample, rate},
    stream::{Shape, Stream},
    table,
};

/// The length of a list.
const ROWS: usize = 1_000_000;

/// The maximum growth of the server's memory during a list, in megabytes.
const MAX_GROWTH: u64 = 50;

/// The minimum rate of the last page relative to the first, in hundredths.
const MIN_RATIO: u64 = 80;

/// The number of clients that read pages.
const CLIENTS: u32 = 64;

/// The time that a slow reader takes. After `LOOK_AFTER` short pauses it makes a long one, during which its request must
/// not keep the database busy.
const SLOW: Duration = Duration::from_secs(10);
const LOOK_AFTER: usize = 10;
const PAUSE: Duration = Duration::from_millis(50);
const LONG_PAUSE: Duration = Duration::from_millis(500);

/// The database with the lists.
const DATABASE: &str = "lists";

/// The connections to it that are active or in a transaction.
const BUSY: &str = "select count(*) from pg_stat_activity
    where datname = 'lists' and backend_type = 'client backend' and state <> 'idle'";

/// A list, or a statement of a card.
struct List {
    name: &'static str,
    path: String,
    /// A short request of the same kind.
    short: String,
    media_type: &'static str,
    shape: Shape,
}

impl List {
    fn of(name: &'static str, path: String) -> Self {
        let short = format!("{path}?limit=1");
        Self { name, path, short, media_type: "application/json", shape: Shape::LIST }
    }

    fn statement(name: &'static str, card: &str, media_type: &'static str, shape: Shape) -> Self {
        let path = |from: u32, to: u32| format!("/cards/{card}/statement?from={from}-01-01&to={to}-01-01");
        Self { name, path: path(2025, 2125), short: path(2000, 2001), media_type, shape }
    }

    fn request(&self, account: &Account) -> Vec<u8> {
        account.get_as(&self.path, self.media_type)
    }
}

/// Measures the customers of an account, and the movements and statements of a card.
pub async fn measure(testbed: &Testbed, arguments: &Arguments, report: &mut Report) -> Result<(), Failure> {
    let (account, card) = prepare(testbed).await?;
    for list in [List::of("customers", "/customers".to_owned()), List::of("movements", format!("/cards/{card}/movements"))] {
        read_fast(testbed, &account, &list, report).await?;
        read_slowly(testbed, &account, &list, report).await?;
        pages(testbed, arguments, &account, &list, report).await?;
    }
    for statement in [
        List::statement("movements in a statement", &card, "application/json", Shape::STATEMENT),
        List::statement("movements in a CSV statement", &card, "text/csv", Shape::CSV),
    ] {
        read_fast(testbed, &account, &statement, report).await?;
        read_slowly(testbed, &account, &statement, report).await?;
    }
    Ok(())
}

/// Generates the rows of both lists, and returns their account and the card.
async fn prepare(testbed: &Testbed) -> Result<(Account, String), Failure> {
    progress(&format!("generating {ROWS} customers and {ROWS} movements of a card"));
    testbed.postgres.query("postgres", &format!("create database {DATABASE}"))?;
    let server = testbed.serve(DATABASE).await?;
    let account = Account::log_in(server.address()).await?;
    let card = account.create_card().await?;
    server.stop().await?;
    let rows = u64::try_from(ROWS)?;
    generate::run(&testbed.postgres, DATABASE, &(generate::customers(rows) + &generate::histories(rows, 1))).await?;
    Ok((account, card))
}

/// Reads a list as fast as it arrives.
async fn read_fast(testbed: &Testbed, account: &Account, list: &List, report: &mut Report) -> Result<(), Failure> {
    let (server, account, rest) = start_at_rest(testbed, account, list).await?;
    let began = Instant::now();
    let rows = Stream::open(server.address(), &list.request(&account), list.shape).await?.rows().await?;
    let took = began.elapsed();
    if rows != ROWS {
        return Err(format!("the list of {} has {rows} of {ROWS} rows", list.name).into());
    }
    let micros = u64::try_from(took.as_micros())?;
    let sample = Sample { rate: rate(rows, took), p50: Some(micros), p99: None };
    report.compare(&format!("rows of {} {}, in one answer", table::thousands(u64::try_from(ROWS)?), list.name), 1, Some(sample), None);
    report.growth(&format!("memory growth for all {}", list.name), server.peak_memory(), rest, MAX_GROWTH);
    server.stop().await
}

/// Reads a list slowly, and hangs up long before its end.
async fn read_slowly(testbed: &Testbed, account: &Account, list: &List, report: &mut Report) -> Result<(), Failure> {
    let (server, account, rest) = start_at_rest(testbed, account, list).await?;
    let mut stream = Stream::open(server.address(), &list.request(&account), list.shape).await?;
    let (began, mut busy) = (Instant::now(), 0);
    while began.elapsed() < SLOW {
        for _ in 0..LOOK_AFTER {
            stream.read_and_pause(PAUSE).await?;
        }
        stream.read_and_pause(LONG_PAUSE).await?;
        busy += testbed.postgres.query("postgres", BUSY)?.parse::<u64>()?;
    }
    drop(stream);
    sleep(LONG_PAUSE).await;
    busy += testbed.postgres.query("postgres", BUSY)?.parse::<u64>()?;
    report.growth(&format!("memory growth for a slow reader of {}", list.name), server.peak_memory(), rest, MAX_GROWTH);
    report.expect_zero(&format!("database connections held for it, {}", list.name), busy);
    server.stop().await
}

/// Measures the first and the last page, alternating every second.
async fn pages(testbed: &Testbed, arguments: &Arguments, account: &Account, list: &List, report: &mut Report) -> Result<(), Failure> {
    let server = testbed.serve(DATABASE).await?;
    let mut account = account.at(server.address());
    account.log_in_again().await?;
    progress(&format!("following all pages of {}", list.name));
    let beginning = format!("{}?limit=50", list.path);
    let end = account.last_page_of(&beginning, ROWS).await?;
    // Many short runs, since a shared machine varies more than the two pages differ.
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
    report.compare(&name("first"), CLIENTS, at_first, None);
    report.compare(&name("last"), CLIENTS, at_last, at_first.map(|first| (first.rate, MIN_RATIO)));
    server.stop().await
}

/// Starts a server that has answered one short request, and returns its memory. It has checked no password, which would
/// need more memory than a list may.
async fn start_at_rest(testbed: &Testbed, account: &Account, list: &List) -> Result<(Server, Account, Option<u64>), Failure> {
    let server = testbed.serve(DATABASE).await?;
    let account = account.at(server.address());
    load::each_once(server.address(), 1, vec![account.get_as(&list.short, list.media_type)]).await?;
    sleep(Duration::from_secs(1)).await;
    let rest = server.memory();
    server.reset_peak()?;
    Ok((server, account, rest))
}
