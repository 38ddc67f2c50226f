//! Slow clients: how much longer others wait while many connections send nothing, half a head, or a byte a second.
//!
//! Turns without and with slow clients alternate, since a shared machine varies from minute to minute. Exits with 0 if the
//! others are hardly affected and every slow connection is closed by its deadline, and with 1 otherwise.

mod crowd;
mod load;
mod report;

use std::{path::PathBuf, process::ExitCode, sync::Arc, time::Duration};

use bench::{Failure, Testbed, allow_open_files, interrupted, postgres::NAME, progress};
use clap::Parser;

use self::{crowd::Crowd, load::Load, report::Report};

/// Measures how slow clients affect the others.
#[derive(Debug, Parser)]
struct Arguments {
    /// The core-api binary.
    #[arg(long)]
    binary: PathBuf,
    /// The number of concurrent slow connections.
    #[arg(long, default_value_t = 2_000, value_parser = clap::value_parser!(u32).range(3..=10_000))]
    connections: u32,
    /// The number of turns with and without slow clients.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=100))]
    turns: u32,
    /// The length of a turn in seconds. It exceeds the server's timeouts, so that the server closes and accepts connections.
    #[arg(long, default_value_t = 15, value_parser = clap::value_parser!(u64).range(1..=600))]
    seconds: u64,
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let ended = tokio::select! {
        ended = run(&arguments) => ended,
        () = interrupted() => Err("interrupted".into()),
    };
    match ended {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            progress(&format!("the measurement failed: {error}"));
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: &Arguments) -> Result<bool, Failure> {
    allow_open_files(u64::from(arguments.connections) + 1_000)?;
    let testbed = Testbed::create("slow", &arguments.binary, &[("CORE_API__LOG__LEVEL", "warn")]).await?;
    let server = testbed.serve(NAME).await?;
    let load = Arc::new(Load::prepare(server.address()).await?);
    let turn = Duration::from_secs(arguments.seconds);
    let mut report = Report::new(arguments.connections);
    // The first requests of a process are slower than later ones.
    load.run(Duration::from_secs(3)).await?;
    for number in 1..=arguments.turns {
        progress(&format!("turn {number} of {}", arguments.turns));
        report.without.extend(load.run(turn).await?);
        let crowd = Crowd::gather(server.address(), arguments.connections).await?;
        report.with.extend(load.run(turn).await?);
        report.closed.extend(crowd.disperse().await?);
    }
    server.stop().await?;
    report.print()
}
