//! The measurement from its beginning to its end.

use std::{fs, time::Duration};

use clap::ValueEnum as _;
use tokio::time::sleep;

use crate::{
    Arguments, Failure, Line,
    account::Account,
    allow_open_files,
    ground::Ground,
    growth, hashes, idle, lists,
    load::{self, Requests},
    pgbench::{Pgbench, Script},
    plan::{self, BESIDE, Run, Work},
    postgres::{NAME, Postgres},
    report::Report,
    sample::{Sample, median},
    server::Server,
    table::{milliseconds, rate},
    tell,
};

/// How often the server is started for that line.
const STARTS: usize = 3;

/// The most memory that the server should have after load, in megabytes.
const MOST_MEMORY: u64 = 100;

/// How long after the last request that is looked at.
const REST: Duration = Duration::from_secs(8);

/// What is going on while rates are measured. The server is dropped before its database.
#[derive(Debug)]
struct Bench<'a> {
    server: Server,
    account: Account,
    /// Keys are never used twice.
    next_key: u64,
    time: Duration,
    pgbench: Pgbench,
    ground: &'a Ground,
}

/// Measures what is wanted.
pub async fn run(arguments: &Arguments) -> Result<Report, Failure> {
    let binary = arguments.binary.canonicalize().map_err(|error| format!("{}: {error}", arguments.binary.display()))?;
    allow_open_files(12_000)?;
    let ground = Ground::lay(binary).await?;
    let pgbench = Pgbench::prepare(&ground.postgres, ground.folder.path().to_owned())?;
    let mut report = Report::on(machine(&ground.postgres, &pgbench, arguments).await?);
    if Line::value_variants().iter().any(|line| line.is_of_rates() && arguments.wants(*line)) {
        rates(&ground, pgbench, arguments, &mut report).await?;
    }
    if arguments.wants(Line::Idle) {
        idle::measure(&ground, &mut report).await?;
    }
    if arguments.wants(Line::Growth) {
        growth::measure(&ground, arguments, &mut report).await?;
    }
    if arguments.wants(Line::Lists) {
        lists::measure(&ground, arguments, &mut report).await?;
    }
    Ok(report)
}

/// What one server does for as long as it is asked.
async fn rates(ground: &Ground, pgbench: Pgbench, arguments: &Arguments, report: &mut Report) -> Result<(), Failure> {
    let (server, starts) = start(ground, arguments.wants(Line::Start)).await?;
    tell("making 5,000 cards");
    let mut account = Account::log_in(server.address()).await?;
    account.make_cards().await?;
    if arguments.wants(Line::Purchases) {
        account.make_cards_pay().await?;
    }
    if arguments.wants(Line::Page) {
        account.make_movements().await?;
    }
    let time = Duration::from_secs(arguments.seconds);
    let mut bench = Bench { server, account, next_key: 0, time, pgbench, ground };

    // The first requests fill caches and open connections.
    bench.run((Work::Spread, 256)).await?;
    let entries = plan::entries(|line| arguments.wants(line));
    let mut done = Vec::new();
    for turn in 1..=arguments.turns {
        bench.account.log_in_again().await?;
        let mut runs = plan::turn(&entries);
        if turn % 2 == 0 {
            // A disk that is fast until it has had its fill favours whoever comes first.
            runs.reverse();
        }
        for run in runs {
            let sample = bench.run(run).await?;
            tell(&format!("turn {turn}: {:?}, {} clients: {}/s", run.0, run.1, rate(sample.rate)));
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
        // What is kept for the next moment's work is given back by then.
        sleep(REST).await;
        report.memory("after load", bench.server.memory(), Some(MOST_MEMORY));
    }
    bench.server.stop().await
}

/// A server on a database that is migrated, and how long its starts took, in microseconds.
async fn start(ground: &Ground, several: bool) -> Result<(Server, Vec<u64>), Failure> {
    let mut starts = Vec::new();
    let mut server = ground.serve(NAME).await?;
    for _ in 0..if several { STARTS } else { 1 } {
        server.stop().await?;
        server = ground.serve(NAME).await?;
        starts.push(u64::try_from(server.took.as_micros())?);
    }
    Ok((server, starts))
}

/// What all of this is worth something on.
async fn machine(postgres: &Postgres, pgbench: &Pgbench, arguments: &Arguments) -> Result<String, Failure> {
    let model = fs::read_to_string("/proc/cpuinfo").ok().and_then(|text| {
        let line = text.lines().find(|line| line.starts_with("model name"))?;
        Some(format!(" of {}", line.split_once(':')?.1.trim()))
    });
    let version = postgres.ask("postgres", "show server_version")?;
    let alone = pgbench.run(postgres, Script::Spread, 1, Duration::from_secs(arguments.seconds)).await?;
    let commit = 100_000_000 / alone.rate.max(1);
    Ok(format!(
        "{} cores{}, shared by the service, Postgres and the load; PostgreSQL {version}, durable; a commit of one pgbench client takes {}. \
         Medians of {} runs of {} s.",
        hashes::cores(),
        model.unwrap_or_default(),
        milliseconds(commit),
        arguments.turns,
        arguments.seconds
    ))
}

impl Bench<'_> {
    /// One run. What was written before it is on the disk before it begins, so that neither pays for the other.
    async fn run(&mut self, (work, clients): Run) -> Result<Sample, Failure> {
        self.ground.postgres.ask("postgres", "checkpoint")?;
        let requests = match work {
            Work::Pgbench(script) => return self.pgbench.run(&self.ground.postgres, script, clients, self.time).await,
            Work::Argon2 => return hashes::run(self.time).await,
            Work::Spread => Requests::plain(self.account.top_ups()),
            Work::Keys | Work::Purchases => {
                let (each, key_at) = self.account.keyed(work == Work::Purchases);
                Requests::keyed(each, key_at, self.next_key)
            }
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
            _ => None,
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
        if matches!(work, Work::Keys | Work::Purchases) {
            self.next_key = requests.next_key();
        }
        sample.map_err(|error| format!("{work:?}, {clients} clients: {error}").into())
    }
}
