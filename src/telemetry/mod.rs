//! Logs: to standard error, one line a request, failures once where the request ends.
//!
//! No token, password, body or clear email is ever handed to the log.

pub mod metrics;
pub mod scrape;
pub mod trace_context;

use std::io::{IsTerminal, stderr};

use tracing_subscriber::{EnvFilter, filter::ParseError, fmt, layer::SubscriberExt, util::SubscriberInitExt};

use crate::config::{Log, LogFormat};

/// Starts logging. A second call, as between tests of one process, changes nothing.
///
/// # Errors
/// `log.level` is no filter.
pub fn init(settings: &Log) -> Result<(), ParseError> {
    let filter = EnvFilter::builder().parse(&settings.level)?;
    let registry = tracing_subscriber::registry().with(filter);
    let _first = match settings.format {
        LogFormat::Text => registry.with(fmt::layer().with_target(false).with_ansi(stderr().is_terminal()).with_writer(stderr)).try_init(),
        LogFormat::Json => {
            registry.with(fmt::layer().json().flatten_event(true).with_span_list(false).with_target(false).with_writer(stderr)).try_init()
        }
    };
    Ok(())
}
