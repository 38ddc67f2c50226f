//! The soak: three replicas and a Postgres under load while they are killed in every way, and then the proof.
//!
//! Ends with 0 if nothing was lost or doubled, 1 if something was or the soak itself failed, and 2 if
//! too little was killed in the middle of something to say so.

mod api;
mod chaos;
mod client;
mod cluster;
mod history;
mod replica;
mod report;

use std::{
    error::Error,
    fs,
    io::{Write as _, stderr},
    os::unix::fs::{DirBuilderExt, PermissionsExt},
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
    time::{Duration, Instant},
};

use clap::Parser;
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::watch,
    task::JoinSet,
    time::{sleep, timeout},
};

use self::{
    api::Api,
    chaos::Chaos,
    client::Town,
    cluster::Cluster,
    history::History,
    replica::Replica,
    report::{Report, Verdict},
};

const REPLICAS: usize = 3;
const CLIENTS: usize = 24;
const CARDS: usize = 40;
const SET_ASIDE: usize = 6;

/// How long clients may take to finish what they are at: an operation's own patience and one more answer.
const CLIENTS_END: Duration = Duration::from_secs(90);

/// Kills replicas and Postgres under load, and proves that no cent was lost and none counted twice.
#[derive(Debug, Parser)]
struct Arguments {
    /// How long to go on.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=1440))]
    minutes: u64,
    /// The core-api to put under load.
    #[arg(long)]
    binary: PathBuf,
    /// An empty or new folder for the history, the logs and the database; kept. Without one it is
    /// a temporary folder, which is removed if the soak passes.
    #[arg(long)]
    folder: Option<PathBuf>,
    /// The address of a service that runs already, such as behind a balancer: nothing is started then, and what
    /// is to die is killed by somebody else. Its quota has to be out of the way.
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
        Ok(Verdict::Void) => ExitCode::from(2),
        Err(error) => {
            let _unheard = writeln!(stderr(), "the soak itself failed: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Waits for Ctrl-C or SIGTERM. What is dropped then takes the replicas and Postgres with it.
async fn interrupted() {
    let Ok(mut terminate) = signal(SignalKind::terminate()) else { return };
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        _ = terminate.recv() => {}
    }
}

async fn run(arguments: &Arguments) -> Result<Verdict, Box<dyn Error>> {
    let folder = arguments.folder.clone().unwrap_or_else(|| format!("/tmp/core-api-soak-{}", std::process::id()).into());
    prepare(&folder)?;
    let folder = folder.canonicalize()?;
    let binary = arguments.binary.canonicalize().map_err(|error| format!("{}: {error}", arguments.binary.display()))?;
    say(&format!("soaking for {} minutes in {}", arguments.minutes, folder.display()));
    let report = match (&arguments.through, &arguments.database_url) {
        (Some(base), Some(url)) => soak_through(base, url, arguments.minutes, &binary, &folder).await?,
        _ => soak(arguments.minutes, &binary, &folder).await?,
    };
    let verdict = report.print()?;
    if verdict == Verdict::Pass && arguments.folder.is_none() {
        fs::remove_dir_all(&folder)?;
    } else {
        say(&format!("what happened is in {}", folder.display()));
    }
    Ok(verdict)
}

async fn soak(minutes: u64, binary: &Path, folder: &Path) -> Result<Report, Box<dyn Error>> {
    let cluster = Cluster::start(&folder.join("postgres"), &folder.join("postgres.log")).await?;
    let url = cluster.url()?;
    let replicas = (0..REPLICAS).map(|index| Replica::start(binary, &url, folder.join(format!("replica-{index}.log"))));
    let replicas = replicas.collect::<Result<Vec<_>, _>>()?;
    let bases = replicas.iter().map(Replica::base).collect();
    let history_file = folder.join("history.jsonl");
    let api = Arc::new(Api::new(bases, History::create(&history_file)?)?);
    let mut chaos = Chaos::new(cluster, replicas);
    chaos.settle(&api).await?;
    let mut crowd = Crowd::gather(&api).await?;
    chaos.revived = 0;

    // Chaos first, clients after it: the last kill is felt too.
    let (stop_chaos, chaos_stopped) = watch::channel(false);
    let timer = async {
        pass(minutes, &api).await;
        stop_chaos.send_replace(true);
        Ok(())
    };
    tokio::try_join!(chaos.run(chaos_stopped), timer)?;
    chaos.settle(&api).await?;
    let undecided = crowd.disperse().await?;
    api.history.flush()?;

    say("checking");
    let mut report = Report::new(minutes, &api.history.tally, Some(&chaos), undecided);
    report.check(&history_file, &url).await?;
    report.verify_ledger(binary, &url).await?;
    let Chaos { cluster, mut replicas, .. } = chaos;
    for replica in &mut replicas {
        replica.end().await?;
    }
    cluster.stop().await?;
    report.read_logs(folder, REPLICAS)?;
    Ok(report)
}

/// The clients and the proof alone.
async fn soak_through(base: &str, url: &str, minutes: u64, binary: &Path, folder: &Path) -> Result<Report, Box<dyn Error>> {
    let history_file = folder.join("history.jsonl");
    let api = Arc::new(Api::new(vec![base.to_owned()], History::create(&history_file)?)?);
    let mut crowd = Crowd::gather(&api).await?;
    pass(minutes, &api).await;
    let undecided = crowd.disperse().await?;
    api.history.flush()?;
    say("checking");
    let mut report = Report::new(minutes, &api.history.tally, None, undecided);
    report.check(&history_file, url).await?;
    report.verify_ledger(binary, url).await?;
    Ok(report)
}

/// Clients at work.
struct Crowd {
    town: Arc<Town>,
    clients: JoinSet<()>,
    end: watch::Sender<bool>,
}

impl Crowd {
    /// Logs in, makes the cards, and begins.
    async fn gather(api: &Arc<Api>) -> Result<Self, Box<dyn Error>> {
        api.login("").await?;
        let mut cards = Vec::new();
        for _ in 0..CARDS {
            cards.push(api.create_card().await?);
        }
        let town = Arc::new(Town::new(Arc::clone(api), cards, SET_ASIDE));
        let (end, ended) = watch::channel(false);
        let mut clients = JoinSet::new();
        for client in 0..CLIENTS {
            clients.spawn(Arc::clone(&town).live(client, ended.clone()));
        }
        Ok(Self { town, clients, end })
    }

    /// Lets everybody finish, and tries once more what has no answer. How many stay without one.
    async fn disperse(&mut self) -> Result<usize, Box<dyn Error>> {
        self.end.send_replace(true);
        let all_ended = async { while self.clients.join_next().await.is_some() {} };
        timeout(CLIENTS_END, all_ended).await.map_err(|_| "the clients did not end")?;
        Ok(self.town.resolve().await)
    }
}

/// Lets time pass, and says how far things are.
async fn pass(minutes: u64, api: &Api) {
    let (began, whole) = (Instant::now(), Duration::from_secs(minutes * 60));
    while began.elapsed() < whole {
        sleep(whole.saturating_sub(began.elapsed()).min(Duration::from_secs(30))).await;
        say(&format!("{} s: {} attempts", began.elapsed().as_secs(), api.history.tally.attempts.get()));
    }
}

/// Takes only a folder that is new or empty: what an earlier soak found stays there to be looked at.
fn prepare(folder: &Path) -> Result<(), Box<dyn Error>> {
    fs::DirBuilder::new().recursive(true).mode(0o755).create(folder)?;
    if fs::read_dir(folder)?.next().is_some() {
        return Err(format!("{} is not empty", folder.display()).into());
    }
    // The user that Postgres runs as must be able to pass through, whatever the umask.
    Ok(fs::set_permissions(folder, fs::Permissions::from_mode(0o755))?)
}

fn say(line: &str) {
    let _unheard = writeln!(stderr(), "{line}");
}
