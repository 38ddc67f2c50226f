//! Slow clients: how much longer others wait while so many connections send nothing, half a head, or a byte a second.
//!
//! Turn by turn without and with them, since a shared machine is not the same from one minute to the next.
//! Ends with 0 if the others hardly notice and every slow connection is closed by its deadline, else with 1.

mod crowd;
mod load;
mod report;
mod server;

use std::{
    error::Error,
    io::{Write as _, stderr},
    path::PathBuf,
    process::ExitCode,
    sync::Arc,
    time::Duration,
};

use clap::Parser;
use nix::sys::resource::{Resource, getrlimit, setrlimit};

use self::{crowd::Crowd, load::Load, report::Report, server::Server};

/// Measures what slow clients cost the others.
#[derive(Debug, Parser)]
struct Arguments {
    /// The core-api to measure.
    #[arg(long)]
    binary: PathBuf,
    /// How many slow connections at once.
    #[arg(long, default_value_t = 2_000, value_parser = clap::value_parser!(u32).range(3..=10_000))]
    connections: u32,
    /// How many turns of each kind.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=100))]
    turns: u32,
    /// How long a turn is; longer than the server's deadlines, so that it has to close and accept meanwhile.
    #[arg(long, default_value_t = 15, value_parser = clap::value_parser!(u64).range(1..=600))]
    seconds: u64,
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let ended = tokio::select! {
        ended = run(&arguments) => ended,
        _ = tokio::signal::ctrl_c() => Err("interrupted".into()),
    };
    match ended {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            say(&format!("the measurement itself failed: {error}"));
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: &Arguments) -> Result<bool, Box<dyn Error>> {
    // Each connection is a file here as well.
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE)?;
    setrlimit(Resource::RLIMIT_NOFILE, most.min(20_000), most)?;
    let server = Server::start(&arguments.binary)?;
    let load = Arc::new(Load::prepare(server.base()).await?);
    let turn = Duration::from_secs(arguments.seconds);
    let mut report = Report::new(arguments.connections);
    // The first requests of a process are slower than any that follow.
    load.run(Duration::from_secs(3)).await?;
    for number in 1..=arguments.turns {
        say(&format!("turn {number} of {}", arguments.turns));
        report.without.extend(load.run(turn).await?);
        let crowd = Crowd::gather(server.address(), arguments.connections).await?;
        report.with.extend(load.run(turn).await?);
        report.closed.extend(crowd.disperse().await?);
    }
    server.stop()?;
    report.print()
}

fn say(line: &str) {
    let _unheard = writeln!(stderr(), "{line}");
}
