//! Logs: to standard error, one line a request, failures once where the request ends. And traces, if they are exported.
//!
//! No token, password, body or clear email is ever handed to either.

pub mod metrics;
#[cfg(feature = "otel")]
pub mod otlp;
pub mod scrape;
pub mod trace_context;

use std::io::{IsTerminal, stderr};

use tracing_subscriber::{
    EnvFilter, Layer, filter::ParseError, fmt, layer::SubscriberExt, registry, registry::LookupSpan, util::SubscriberInitExt,
};
use url::Url;

use crate::config::{Log, LogFormat};

/// Why there is no log.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// It is no filter.
    #[error("log.level: {0}")]
    Level(#[from] ParseError),
    /// There is no exporter for it.
    #[cfg(feature = "otel")]
    #[error("tracing.otlp_endpoint: {0}")]
    Exporter(#[from] opentelemetry_otlp::ExporterBuildError),
}

/// To be kept while there are requests: dropped, it exports what is not exported yet.
#[derive(Debug, Default)]
#[must_use]
pub struct Telemetry {
    #[cfg(feature = "otel")]
    _exporting: Option<otlp::Exporting>,
}

/// Starts logging, and exporting if it is told where to. A second call, as between tests of one process, changes nothing.
///
/// # Errors
/// A setting is not what it has to be.
#[cfg_attr(not(feature = "otel"), expect(unused_variables, reason = "settings have none where none can be used"))]
pub fn init(settings: &Log, otlp_endpoint: Option<&Url>) -> Result<Telemetry, TelemetryError> {
    let filter = EnvFilter::builder().parse(&settings.level)?;
    #[cfg(feature = "otel")]
    let filter = filter.add_directive(otlp::unlogged()?);
    #[cfg(feature = "otel")]
    if let Some(endpoint) = otlp_endpoint {
        let (exporting, layer) = otlp::start(endpoint)?;
        // Each with a filter of its own: what is not logged is exported all the same.
        let _first = registry().with(layer).with(lines(settings.format).with_filter(filter)).try_init();
        return Ok(Telemetry { _exporting: Some(exporting) });
    }
    let _first = registry().with(filter).with(lines(settings.format)).try_init();
    Ok(Telemetry::default())
}

/// What writes the lines.
fn lines<S: tracing::Subscriber + for<'a> LookupSpan<'a>>(format: LogFormat) -> Box<dyn Layer<S> + Send + Sync> {
    match format {
        LogFormat::Text => fmt::layer().with_target(false).with_ansi(stderr().is_terminal()).with_writer(stderr).boxed(),
        LogFormat::Json => fmt::layer().json().flatten_event(true).with_span_list(false).with_target(false).with_writer(stderr).boxed(),
    }
}

/// The method, if it is one of HTTP's own. Any other is a word of a client's, which must become neither a label nor an attribute.
pub(crate) fn known_method(method: &str) -> Option<&'static str> {
    const METHODS: [&str; 7] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];
    METHODS.into_iter().find(|known| *known == method)
}
