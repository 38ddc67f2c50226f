//! The whole benchmark, from start to end.

use std::{fs, sync::Arc, time::Duration};

use bench::{
    Failure, Testbed, allow_open_files,
    postgres::{NAME, Postgres},
    progress,
    server::Server,
};
use clap::ValueEnum as _;
use tokio::time::sleep;

use crate::{
    Arguments, Line,
    account::{Account, Keyed},
    deliveries, growth, hashes, idle, lists,
    load::{self, Requests},
    pgbench::{Pgbench, Script},
    plan::{self, BESIDE, Run, Work},
    report::Report,
    sample::{Sample, median},
    table::{milliseconds, rate},
};

/// More connections than any measurement opens.
const SETTINGS: [(&str, &str); 1] = [("CORE_API__SERVER__MAX_CONNECTIONS", "8192")];

/// The number of server starts for that line.
const STARTS: usize = 3;

/// The maximum memory of the server after load, in megabytes.
const MAX_MEMORY: u64 = 100;

/// The time between the last request and that measurement.
const REST: Duration = Duration::from_secs(8);

/// The state while rates are measured. The server is dropped before its database.
#[derive(Debug)]
struct Bench<'a> {
    server: Server,
    account: Account,
    /// The other account, whose feed is on.
    with_feed: Option<Account>,
    /// The next key; no key is used twice.
    next_key: u64,
    time: Duration,
    pgbench: Pgbench,
    testbed: &'a Testbed,
}

/// Measures the requested lines.
pub async fn run(arguments: &Arguments) -> Result<Report, Failure> {
    allow_open_files(12_000)?;
    let testbed = Testbed::create("bench", &arguments.binary, &SETTINGS).await?;
    let pgbench = Pgbench::prepare(&testbed.postgres, testbed.folder.path().to_owned())?;
    let mut report = Report::on(machine(&testbed.postgres, &pgbench, arguments).await?);
    if Line::value_variants().iter().any(|line| line.is_rate() && arguments.wants(*line)) {
        rates(&testbed, pgbench, arguments, &mut report).await?;
    }
    if arguments.wants(Line::Idle) {
        idle::measure(&testbed, &mut report).await?;
    }
    if arguments.wants(Line::Deliveries) {
        deliveries::measure(&testbed, &mut report).await?;
    }
    if arguments.wants(Line::Growth) {
        growth::measure(&testbed, arguments, &mut report).await?;
    }
    if arguments.wants(Line::Lists) {
        lists::measure(&testbed, arguments, &mut report).await?;
    }
    Ok(report)
}

/// Measures the rates of one server.
async fn rates(testbed: &Testbed, pgbench: Pgbench, arguments: &Arguments, report: &mut Report) -> Result<(), Failure> {
    let (server, starts) = start(testbed, arguments.wants(Line::Start)).await?;
    progress("creating 5,000 cards");
    let mut account = Account::log_in(server.address()).await?;
    account.create_cards().await?;
    if [Line::Purchases, Line::Payments, Line::Limits, Line::Transfers].into_iter().any(|line| arguments.wants(line)) {
        account.prepare_purchases().await?;
    }
    if arguments.wants(Line::Limits) {
        account.create_limited_cards().await?;
    }
    let mut with_feed = None;
    if arguments.wants(Line::Feed) {
        let mut account = Account::with_feed(server.address()).await?;
        account.create_cards().await?;
        with_feed = Some(account);
    }
    if arguments.wants(Line::Page) {
        account.create_movements().await?;
    }
    let time = Duration::from_secs(arguments.seconds);
    let mut bench = Bench { server, account, with_feed, next_key: 0, time, pgbench, testbed };

    // The first requests warm up caches and connections.
    bench.run((Work::Spread, 256)).await?;
    let entries = plan::entries(|line| arguments.wants(line));
    let mut done = Vec::new();
    for turn in 1..=arguments.turns {
        bench.account.log_in_again().await?;
        let mut runs = plan::turn(&entries);
        if turn % 2 == 0 {
            // A disk that slows down under sustained writes favours the earlier runs.
            runs.reverse();
        }
        for run in runs {
            let sample = bench.run(run).await?;
            progress(&format!("turn {turn}: {:?}, {} clients: {}/s", run.0, run.1, rate(sample.rate)));
            done.push((run, sample));
        }
    }
    for entry in &entries {
        report.line(entry, &done);
    }
    if arguments.wants(Line::Start) {
        report.start(median(starts));
    }
    if arguments.wants(Line::Memory) {
        // By then the allocator has returned the memory that it kept for reuse.
        sleep(REST).await;
        report.memory("after load", bench.server.memory(), Some(MAX_MEMORY));
    }
    bench.server.stop().await
}

/// Starts a server on a migrated database, and returns the times of its starts in microseconds.
async fn start(testbed: &Testbed, several: bool) -> Result<(Server, Vec<u64>), Failure> {
    let mut starts = Vec::new();
    let mut server = testbed.serve(NAME).await?;
    for _ in 0..if several { STARTS } else { 1 } {
        server.stop().await?;
        server = testbed.serve(NAME).await?;
        starts.push(u64::try_from(server.startup.as_micros())?);
    }
    Ok((server, starts))
}

/// The description of the machine.
async fn machine(postgres: &Postgres, pgbench: &Pgbench, arguments: &Arguments) -> Result<String, Failure> {
    let model = fs::read_to_string("/proc/cpuinfo").ok().and_then(|text| {
        let line = text.lines().find(|line| line.starts_with("model name"))?;
        Some(format!(" of {}", line.split_once(':')?.1.trim()))
    });
    let version = postgres.query("postgres", "show server_version")?;
    let alone = pgbench.run(postgres, Script::Spread, 1, Duration::from_secs(arguments.seconds)).await?;
    let commit = 100_000_000 / alone.rate.max(1);
    Ok(format!(
        "{} cores{}, shared by the service, Postgres and the load generator; PostgreSQL {version}, durable; a commit of a single pgbench \
         client takes {}. Medians of {} runs of {} s.",
        hashes::cores(),
        model.unwrap_or_default(),
        milliseconds(commit),
        arguments.turns,
        arguments.seconds
    ))
}

impl Bench<'_> {
    fn keyed(&self, what: Keyed) -> Arc<Requests> {
        let (each, key_at) = self.account.keyed(what);
        Requests::keyed(each, key_at, self.next_key)
    }

    fn captured(&self, what: Keyed) -> Arc<Requests> {
        Requests::captured(self.account.clone(), self.account.keyed(what), self.next_key)
    }

    /// Runs a workload. A checkpoint before it flushes earlier writes, so that no run pays for another.
    async fn run(&mut self, (work, clients): Run) -> Result<Sample, Failure> {
        self.testbed.postgres.query("postgres", "checkpoint")?;
        let requests = match work {
            Work::Pgbench(script) => return self.pgbench.run(&self.testbed.postgres, script, clients, self.time).await,
            Work::Argon2 => return hashes::run(self.time).await,
            Work::Spread => Requests::plain(self.account.top_ups()),
            Work::Keys => self.keyed(Keyed::TopUp),
            Work::Purchases => self.keyed(Keyed::Purchase),
            Work::Authorize => self.keyed(Keyed::Authorization),
            Work::AuthorizeHot => self.keyed(Keyed::HotAuthorization),
            Work::AuthorizeAndCapture => self.captured(Keyed::Authorization),
            Work::AuthorizeAndCaptureHot => self.captured(Keyed::HotAuthorization),
            Work::AuthorizeLimited => self.keyed(Keyed::LimitedAuthorization),
            Work::AuthorizeShared => self.keyed(Keyed::SharedAuthorization),
            Work::Transfers => self.keyed(Keyed::Transfer),
            Work::Fed => Requests::plain(self.with_feed.as_ref().map(Account::top_ups).unwrap_or_default()),
            Work::Hot => Requests::plain(self.account.hot_top_up()),
            Work::Others | Work::OthersBesideSpread | Work::OthersBesideHot => Requests::plain(self.account.other_top_ups()),
            Work::Read => Requests::plain(self.account.reads()),
            Work::FirstPage => Requests::plain(self.account.first_page()),
            Work::LastPage => Requests::plain(self.account.last_page()),
            Work::Login => Requests::plain(Account::logins()),
        };
        let beside = match work {
            Work::OthersBesideSpread => Some(self.account.top_ups()),
            Work::OthersBesideHot => Some(self.account.hot_top_up()),
            Work::Spread
            | Work::Keys
            | Work::Purchases
            | Work::Authorize
            | Work::AuthorizeHot
            | Work::AuthorizeAndCapture
            | Work::AuthorizeAndCaptureHot
            | Work::AuthorizeLimited
            | Work::AuthorizeShared
            | Work::Transfers
            | Work::Fed
            | Work::Hot
            | Work::Others
            | Work::Read
            | Work::FirstPage
            | Work::LastPage
            | Work::Login
            | Work::Pgbench(_)
            | Work::Argon2 => None,
        };
        let sample = async {
            let (address, time) = (self.server.address(), self.time);
            let ours = load::run(address, clients, &requests, time);
            match beside.map(Requests::plain) {
                Some(beside) => Ok(tokio::try_join!(ours, load::run(address, BESIDE, &beside, time))?.0),
                None => ours.await,
            }
        };
        let sample = sample.await;
        self.next_key = self.next_key.max(requests.next_key());
        sample.map_err(|error| format!("{work:?}, {clients} clients: {error}").into())
    }
}
