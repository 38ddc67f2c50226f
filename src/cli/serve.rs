//! `core-api serve`: until a signal says that it is enough.

use std::fmt::Write as _;

use tokio::signal::unix::{SignalKind, signal};

use super::{Failure, variables};
use crate::{
    app::{Postgres, SANDBOX_LOGINS, Server},
    config::{Environment, Settings},
    telemetry,
};

pub(super) async fn serve() -> Result<(), Failure> {
    let settings = Settings::from_variables(variables())?;
    let _until_served = telemetry::init(&settings.log, settings.tracing.otlp_endpoint.as_ref())?;
    // From here on, so that a Ctrl-C while Postgres starts ends it in order as well.
    let mut interrupt = signal(SignalKind::interrupt()).map_err(Failure::Signals)?;
    let mut terminate = signal(SignalKind::terminate()).map_err(Failure::Signals)?;
    let mut hangup = signal(SignalKind::hangup()).map_err(Failure::Signals)?;
    let mut stop = Box::pin(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            _ = hangup.recv() => {}
        }
    });
    // Whatever is dropped on the way stops what it started.
    let started = tokio::select! {
        started = start(&settings) => started?,
        () = &mut stop => return Ok(()),
    };
    let (postgres, server) = started;
    greet(&settings, &server)?;
    server.serve(stop).await?;
    Ok(postgres.close()?)
}

async fn start(settings: &Settings) -> Result<(Postgres, Server), Failure> {
    let postgres = Postgres::open(settings).await?;
    let server = Server::start(settings, postgres.options.clone()).await?;
    Ok((postgres, server))
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
