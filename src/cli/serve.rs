//! `core-api serve`: serves until a signal stops it.

use std::fmt::Write as _;

use secrecy::ExposeSecret;
use tokio::signal::unix::{SignalKind, signal};

use super::{Failure, print, variables};
use crate::{
    app::{Postgres, SANDBOX_LOGINS, Server},
    config::{Environment, Settings},
    service::error::chain,
    telemetry,
};

pub(super) async fn serve() -> Result<(), Failure> {
    let settings = Settings::from_variables(variables()?)?;
    let _telemetry = telemetry::init(&settings.log, settings.tracing.otlp_endpoint.as_ref())?;
    // Registered before Postgres starts, so that Ctrl-C stops that in order as well.
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
    // Dropping an unfinished start stops the Postgres that it has started.
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

/// Prints how to start using the sandbox. Production only logs its address.
fn greet(settings: &Settings, server: &Server) -> Result<(), Failure> {
    let address = server.address()?;
    if settings.environment == Environment::Production {
        tracing::info!(%address, "serving");
        return Ok(());
    }
    let (mut logins, mut keys) = (String::new(), String::new());
    for ((_, email, password), key) in SANDBOX_LOGINS.iter().zip(server.sandbox_keys()) {
        // Writing to a string cannot fail.
        let _written = writeln!(logins, "    {email:<20} {password}");
        let key = key.as_ref().map_or("revoked or rolled", ExposeSecret::expose_secret);
        let _written = writeln!(keys, "    {email:<20} {key}");
    }
    let (_, email, password) = SANDBOX_LOGINS[0];
    let greeting = format_args!(
        "\nThe Core API sandbox is up at http://{address}\nGuide and interactive reference: http://{address}/docs\n\nLogins:\n{logins}\nNetwork keys, of the accounts of these logins:\n{keys}\nTry it:\n    \
         curl -X POST http://{address}/auth/login -H 'Content-Type: application/json' -d '{{\"email\":\"{email}\",\"password\":\"{password}\"}}'\n\n\
         Ctrl-C stops it; its data stays.\n"
    );
    // The server serves also if nobody reads this.
    if let Err(failure) = print(&greeting).or_else(|failure| if failure.is_closed_pipe() { Ok(()) } else { Err(failure) }) {
        tracing::warn!(cause = chain(&failure), "the address and the logins could not be printed");
    }
    Ok(())
}
