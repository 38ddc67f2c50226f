//! The soak: kills three replicas and Postgres in every way under load, and then proves that no money was lost or doubled.
//!
//! Exits with 0 if nothing was lost or doubled, with 1 if something was or the soak failed, and with 2 if too few kills hit
//! a request to prove anything.

mod answer;
mod api;
mod book;
mod chaos;
#[path = "../../../tests/api/support/citus.rs"]
mod citus;
mod client;
mod cluster;
mod history;
mod mix;
mod node;
mod reader;
mod receiver;
mod replica;
mod report;
mod request;
mod transfers;
mod webhooks;

use std::{
    error::Error,
    fs,
    os::unix::fs::{DirBuilderExt, PermissionsExt},
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
    time::{Duration, Instant},
};

use bench::{interrupted, progress};
use clap::Parser;
use reqwest::Method;
use serde_json::json;
use tokio::{
    sync::watch,
    task::JoinSet,
    time::{sleep, timeout},
};

use self::{
    api::{Api, Login},
    chaos::Chaos,
    client::{Load, Workload},
    cluster::Cluster,
    history::History,
    reader::Reader,
    replica::{Replica, Service},
    report::{Report, Told, Verdict},
    transfers::Transfers,
    webhooks::Webhooks,
};

const REPLICAS: usize = 3;

/// The account that the load is on. One after the other its cards are the hot one.
const MAIN: Login = ("test@example.com", "test123");
const MAIN_LOAD: Load = Load { clients: 24, cards: 40, reserved: 6, limited: 10, hot: 0.3, pause: Duration::ZERO };

/// The account that has webhooks. It does only as much as two endpoints get in time that fail now and then, and of which one
/// waits for each message of a card before it gets the next.
const TOLD: Login = ("admin@company.com", "secure_password");
const TOLD_LOAD: Load = Load { clients: 3, cards: 30, reserved: 4, limited: 0, hot: 0.0, pause: Duration::from_millis(50) };

/// The maximum time for clients to finish: the retries of an operation, and one more answer.
const CLIENTS_TIMEOUT: Duration = Duration::from_secs(90);

/// Kills replicas and Postgres under load, and proves that no cent was lost or doubled.
#[derive(Debug, Parser)]
struct Arguments {
    /// The duration in minutes.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=1440))]
    minutes: u64,
    /// The core-api binary.
    #[arg(long)]
    binary: PathBuf,
    /// An empty or new folder for the history, the logs and the database. It is kept. The default is a temporary
    /// folder, which is removed if the soak passes.
    #[arg(long)]
    folder: Option<PathBuf>,
    /// The base URL of a running service, for example behind a load balancer. The soak then starts and kills nothing
    /// itself. The service needs a quota that is not exhausted.
    #[arg(long, requires = "database_url")]
    through: Option<String>,
    /// The database of that service.
    #[arg(long, requires = "through")]
    database_url: Option<String>,
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let ended = tokio::select! {
        ended = run(&arguments) => ended,
        () = interrupted() => Err("interrupted".into()),
    };
    match ended {
        Ok(Verdict::Pass) => ExitCode::SUCCESS,
        Ok(Verdict::Fail) => ExitCode::FAILURE,
        Ok(Verdict::Inconclusive) => ExitCode::from(2),
        Err(error) => {
            progress(&format!("the soak failed: {error}"));
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: &Arguments) -> Result<Verdict, Box<dyn Error>> {
    let folder = arguments.folder.clone().unwrap_or_else(|| format!("/tmp/core-api-soak-{}", std::process::id()).into());
    prepare(&folder)?;
    let folder = folder.canonicalize()?;
    let binary = arguments.binary.canonicalize().map_err(|error| format!("{}: {error}", arguments.binary.display()))?;
    progress(&format!("soaking for {} minutes in {}", arguments.minutes, folder.display()));
    let report = match (&arguments.through, &arguments.database_url) {
        (Some(base), Some(url)) => soak_through(base, url, arguments.minutes, &binary, &folder).await?,
        _ => soak(arguments.minutes, &binary, &folder).await?,
    };
    let verdict = report.print()?;
    if verdict == Verdict::Pass && arguments.folder.is_none() {
        fs::remove_dir_all(&folder)?;
    } else {
        progress(&format!("the history and the logs are in {}", folder.display()));
    }
    Ok(verdict)
}

async fn soak(minutes: u64, binary: &Path, folder: &Path) -> Result<Report, Box<dyn Error>> {
    let cluster = Cluster::start(folder).await?;
    let (url, logs) = (cluster.url()?, cluster.logs());
    let service = Service { binary: binary.to_owned(), database_url: url.clone(), is_sharded: cluster.is_distributed() };
    let replicas = (0..REPLICAS).map(|index| Replica::start(&service, folder.join(format!("replica-{index}.log"))));
    let replicas = replicas.collect::<Result<Vec<_>, _>>()?;
    let bases: Vec<_> = replicas.iter().map(Replica::base).collect();
    let history = Arc::new(History::create(&folder.join("history"))?);
    let main = Arc::new(Api::new(bases.clone(), MAIN, Arc::clone(&history))?);
    let told = Arc::new(Api::new(bases, TOLD, Arc::clone(&history))?);
    let mut chaos = Chaos::new(cluster, replicas);
    chaos.settle(&main).await?;
    let feeds = [folder.join("feed-main.jsonl"), folder.join("feed-told.jsonl")];
    let readers = [read_feed(&main, &feeds[0]).await?, read_feed(&told, &feeds[1]).await?];
    let webhooks = Webhooks::start(&told, folder.join("messages.jsonl")).await?;
    let mut clients = [Clients::start(&main, MAIN_LOAD).await?, Clients::start(&told, TOLD_LOAD).await?];
    let transfers = Transfers::start(&main).await?;
    chaos.revived = 0;

    // Faults end before the clients do, so that even the last one hits requests.
    let (stop_chaos, chaos_stopped) = watch::channel(false);
    let timer = async {
        wait(minutes, &history).await;
        stop_chaos.send_replace(true);
        Ok(())
    };
    tokio::try_join!(chaos.run(chaos_stopped), timer)?;
    chaos.settle(&main).await?;
    let undecided = finish(&mut clients).await?;
    let moved = transfers.finish().await?;
    progress("sending what waits");
    let max_doubles = Webhooks::max_doubles(chaos.done.values().sum());
    let messages = Some((webhooks.file.clone(), max_doubles));
    let (settled, behind) = webhooks.drain().await?;
    for reader in readers {
        reader.finish().await?;
    }
    history.flush()?;
    chaos.cluster.recover().await?;

    progress("checking");
    let told = Told { feeds: feeds.into(), messages, settled, behind };
    let mut report = Report::new(minutes, &history.tally, Some(&chaos), undecided);
    report.transfers(moved);
    report.check(&folder.join("history"), &told, &url).await?;
    report.verify_ledger(&service).await?;
    let Chaos { cluster, mut replicas, .. } = chaos;
    for replica in &mut replicas {
        replica.stop().await?;
    }
    cluster.stop().await?;
    report.read_logs(folder, REPLICAS, &logs)?;
    Ok(report)
}

/// Runs only the clients, a reader of the feed and the proof. The service may not reach a receiver of webhooks here.
async fn soak_through(base: &str, url: &str, minutes: u64, binary: &Path, folder: &Path) -> Result<Report, Box<dyn Error>> {
    let history = Arc::new(History::create(&folder.join("history"))?);
    let api = Arc::new(Api::new(vec![base.to_owned()], MAIN, Arc::clone(&history))?);
    let feed = folder.join("feed-main.jsonl");
    let reader = read_feed(&api, &feed).await?;
    let mut clients = [Clients::start(&api, MAIN_LOAD).await?];
    let transfers = Transfers::start(&api).await?;
    wait(minutes, &history).await;
    let undecided = finish(&mut clients).await?;
    let moved = transfers.finish().await?;
    let settled = history.now();
    reader.finish().await?;
    history.flush()?;
    progress("checking");
    let told = Told { feeds: vec![feed], messages: None, settled, behind: Vec::new() };
    let mut report = Report::new(minutes, &history.tally, None, undecided);
    report.transfers(moved);
    report.check(&folder.join("history"), &told, url).await?;
    let service = Service { binary: binary.to_owned(), database_url: url.to_owned(), is_sharded: false };
    report.verify_ledger(&service).await?;
    Ok(report)
}

/// Logs in, turns the feed on and follows it.
async fn read_feed(api: &Arc<Api>, file: &Path) -> Result<Reader, Box<dyn Error>> {
    api.login("").await?;
    api.call(Method::PUT, "/events/settings", &json!({"enabled": true})).await?;
    Reader::start(api, file)
}

/// The running clients of an account.
struct Clients {
    workload: Arc<Workload>,
    clients: JoinSet<()>,
    end: watch::Sender<bool>,
}

impl Clients {
    /// Creates the key of the network and the cards, some of them with limits, and starts the clients.
    async fn start(api: &Arc<Api>, load: Load) -> Result<Self, Box<dyn Error>> {
        api.create_network_key().await?;
        let mut cards = Vec::new();
        for _ in 0..load.cards {
            cards.push(api.create_card().await?);
        }
        api.limit(&cards[..load.limited]).await?;
        let workload = Arc::new(Workload::new(Arc::clone(api), cards, load));
        let (end, ended) = watch::channel(false);
        let mut clients = JoinSet::new();
        for client in 0..load.clients {
            clients.spawn(Arc::clone(&workload).run_client(client, ended.clone()));
        }
        Ok(Self { workload, clients, end })
    }
}

/// Stops the clients, retries undecided operations, and returns how many remain undecided.
async fn finish(all: &mut [Clients]) -> Result<usize, Box<dyn Error>> {
    for clients in &*all {
        clients.end.send_replace(true);
    }
    let mut undecided = 0;
    for clients in all {
        let all_ended = async { while clients.clients.join_next().await.is_some() {} };
        timeout(CLIENTS_TIMEOUT, all_ended).await.map_err(|_| "the clients did not end in time")?;
        undecided += clients.workload.resolve().await;
    }
    Ok(undecided)
}

/// Waits for the duration of the soak, and prints the progress.
async fn wait(minutes: u64, history: &History) {
    let (began, whole) = (Instant::now(), Duration::from_secs(minutes * 60));
    while began.elapsed() < whole {
        sleep(whole.saturating_sub(began.elapsed()).min(Duration::from_secs(30))).await;
        progress(&format!("{} s: {} attempts", began.elapsed().as_secs(), history.tally.attempts.get()));
    }
}

/// Accepts only a new or empty folder, to keep the results of earlier soaks.
fn prepare(folder: &Path) -> Result<(), Box<dyn Error>> {
    fs::DirBuilder::new().recursive(true).mode(0o755).create(folder)?;
    if fs::read_dir(folder)?.next().is_some() {
        return Err(format!("{} is not empty", folder.display()).into());
    }
    // The user that Postgres runs as must have access, regardless of the umask.
    Ok(fs::set_permissions(folder, fs::Permissions::from_mode(0o755))?)
}
