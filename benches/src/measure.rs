//! The measurement from its beginning to its end.

use std::{fs, time::Duration};

use crate::{
    Arguments, Failure, Line,
    account::{self, Account},
    allow_open_files,
    folder::Folder,
    hashes,
    http::Connection,
    load::{self, Requests},
    pgbench::{Pgbench, Script},
    plan::{self, Run, Work},
    postgres::Postgres,
    report::Report,
    sample::{Sample, median},
    server::Server,
    table::{milliseconds, rate},
    tell,
};

/// How often the server is started for that line.
const STARTS: usize = 3;

/// How many connections are open and idle for the last line.
const IDLE: usize = 5_000;

/// What the bench has going. Dropped in this order: the server before its database.
#[derive(Debug)]
struct Bench {
    server: Server,
    pgbench: Pgbench,
    account: Account,
    /// Keys are never used twice.
    next_key: u64,
    time: Duration,
    postgres: Postgres,
}

/// Measures what is wanted.
pub async fn run(arguments: &Arguments) -> Result<Report, Failure> {
    let binary = arguments.binary.canonicalize().map_err(|error| format!("{}: {error}", arguments.binary.display()))?;
    allow_open_files(12_000)?;
    let folder = Folder::make()?;
    let postgres = Postgres::start(folder.path()).await?;
    let pgbench = Pgbench::prepare(&postgres, folder.path().to_owned())?;
    let (server, starts) = start(&binary, &postgres, &folder, arguments.wants(Line::Start)).await?;
    let idle = server.memory();
    tell("making 5,000 cards");
    let mut account = Account::log_in(server.address()).await?;
    account.make_cards().await?;
    if arguments.wants(Line::Page) {
        account.make_movements().await?;
    }
    let time = Duration::from_secs(arguments.seconds);
    let mut bench = Bench { server, pgbench, account, next_key: 0, time, postgres };

    let mut report = Report::on(bench.machine(arguments).await?);
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
        report.memory("after start", idle, false);
        report.memory("after load", bench.server.memory(), true);
        let connections = idle_connections(&bench.server).await?;
        report.memory("with 5,000 idle connections", bench.server.memory(), false);
        drop(connections);
    }
    bench.server.stop().await?;
    Ok(report)
}

/// A server on a database that is migrated, and how long its starts took, in microseconds.
async fn start(binary: &std::path::Path, postgres: &Postgres, folder: &Folder, several: bool) -> Result<(Server, Vec<u64>), Failure> {
    let (database, mut starts) = (postgres.url(), Vec::new());
    let mut server = Server::start(binary, &database, folder.path()).await?;
    for _ in 0..if several { STARTS } else { 1 } {
        server.stop().await?;
        server = Server::start(binary, &database, folder.path()).await?;
        starts.push(u64::try_from(server.took.as_micros())?);
    }
    Ok((server, starts))
}

impl Bench {
    /// One run. What was written before it is on the disk before it begins, so that neither pays for the other.
    async fn run(&mut self, (work, clients): Run) -> Result<Sample, Failure> {
        self.postgres.ask("postgres", "checkpoint")?;
        let requests = match work {
            Work::Pgbench(script) => return self.pgbench.run(&self.postgres, script, clients, self.time).await,
            Work::Argon2 => return hashes::run(self.time).await,
            Work::Spread => Requests::plain(self.account.top_ups()),
            Work::Keys => {
                let (each, key_at) = self.account.top_ups_with_keys();
                Requests::keyed(each, key_at, self.next_key)
            }
            Work::Hot => Requests::plain(self.account.hot_top_up()),
            Work::Read => Requests::plain(self.account.reads()),
            Work::FirstPage => Requests::plain(self.account.first_page()),
            Work::LastPage => Requests::plain(self.account.last_page()),
            Work::Login => Requests::plain(Account::logins()),
        };
        let sample = load::run(self.server.address(), clients, &requests, self.time).await;
        if work == Work::Keys {
            self.next_key = requests.next_key();
        }
        sample.map_err(|error| format!("{work:?}, {clients} clients: {error}").into())
    }

    /// What all of this is worth something on.
    async fn machine(&self, arguments: &Arguments) -> Result<String, Failure> {
        let model = fs::read_to_string("/proc/cpuinfo").ok().and_then(|text| {
            let line = text.lines().find(|line| line.starts_with("model name"))?;
            Some(format!(" of {}", line.split_once(':')?.1.trim()))
        });
        let version = self.postgres.ask("postgres", "show server_version")?;
        let alone = self.pgbench.run(&self.postgres, Script::Spread, 1, self.time).await?;
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
}

/// Connections that have asked once, and are kept open.
async fn idle_connections(server: &Server) -> Result<Vec<Connection>, Failure> {
    let mut connections = Vec::new();
    for _ in 0..IDLE {
        let mut connection = Connection::open(server.address()).await?;
        connection.ask(account::alive()).await?;
        connections.push(connection);
    }
    Ok(connections)
}
