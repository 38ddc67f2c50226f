//! The command line: parses it, calls one thing, and says on standard error what kept it from working.

use std::{env, error::Error as _, fmt::Write as _, process::ExitCode};

use clap::{Parser, Subcommand};
use tokio::signal::unix::{SignalKind, signal};

use crate::{
    app::{Postgres, SANDBOX_LOGINS, Server, StartError},
    config::{Environment, Settings, SettingsError},
    database, telemetry,
};

/// REST API server for virtual cards.
#[derive(Debug, Parser)]
#[command(name = "core-api", version, about)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve the API (the default). `CORE_API_ENV` is sandbox (the default) or production.
    Serve,
    /// Bring the database's schema up to date, and end.
    Migrate,
}

#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("settings: {0}")]
    Settings(#[from] SettingsError),
    #[error("settings: log.level: {0}")]
    LogLevel(#[from] tracing_subscriber::filter::ParseError),
    #[error(transparent)]
    Start(#[from] StartError),
    #[error(transparent)]
    Database(#[from] database::DatabaseError),
    #[error("cannot listen for signals")]
    Signals(#[source] std::io::Error),
}

/// Runs the command line that this process was started with.
pub async fn run() -> ExitCode {
    let arguments = Arguments::parse();
    let done = match arguments.command.unwrap_or(Command::Serve) {
        Command::Serve => serve().await,
        Command::Migrate => migrate().await,
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            complain(&failure);
            ExitCode::FAILURE
        }
    }
}

fn settings() -> Result<Settings, Failure> {
    // A variable that is not UTF-8 can be none of ours.
    let variables = env::vars_os().filter_map(|(key, value)| Some((key.into_string().ok()?, value.into_string().ok()?)));
    let settings = Settings::from_variables(variables.collect())?;
    telemetry::init(&settings.log)?;
    Ok(settings)
}

async fn serve() -> Result<(), Failure> {
    let settings = settings()?;
    // From here on, so that a Ctrl-C while Postgres starts ends it in order as well.
    let mut interrupt = signal(SignalKind::interrupt()).map_err(Failure::Signals)?;
    let mut terminate = signal(SignalKind::terminate()).map_err(Failure::Signals)?;
    let mut hangup = signal(SignalKind::hangup()).map_err(Failure::Signals)?;
    let stop = async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            _ = hangup.recv() => {}
        }
    };
    let postgres = Postgres::open(&settings).await?;
    let server = Server::start(&settings, postgres.options.clone()).await?;
    greet(&settings, &server)?;
    server.serve(stop).await?;
    Ok(postgres.close()?)
}

async fn migrate() -> Result<(), Failure> {
    let settings = settings()?;
    let postgres = Postgres::open(&settings).await?;
    database::migrate(&postgres.options).await?;
    tracing::info!("the schema is up to date");
    Ok(postgres.close()?)
}

/// Tells a person at a terminal how to begin; production has its log for that.
#[expect(clippy::print_stdout, reason = "this is what the command prints")]
fn greet(settings: &Settings, server: &Server) -> Result<(), Failure> {
    let address = server.address()?;
    if settings.environment == Environment::Production {
        tracing::info!(%address, "serving");
        return Ok(());
    }
    let mut logins = String::new();
    for (_, email, password) in SANDBOX_LOGINS {
        // Writing to a string does not fail.
        let _written = writeln!(logins, "    {email:<20} {password}");
    }
    let (_, email, password) = SANDBOX_LOGINS[0];
    println!(
        "\nThe Core API sandbox is up at http://{address}\n\nLogins:\n{logins}\nTry it:\n    \
         curl -X POST http://{address}/auth/login -H 'Content-Type: application/json' -d '{{\"email\":\"{email}\",\"password\":\"{password}\"}}'\n\n\
         Ctrl-C stops it; its data stays.\n"
    );
    Ok(())
}

#[expect(clippy::print_stderr, reason = "this is where a command says why it failed")]
fn complain(failure: &Failure) {
    let mut text = failure.to_string();
    let mut source = failure.source();
    while let Some(cause) = source {
        // Writing to a string does not fail.
        let _written = write!(text, ": {cause}");
        source = cause.source();
    }
    eprintln!("core-api: {text}");
}
