//! Logs on standard error: one line per request, and each failure once, where its request ends. Traces, if exported.
//!
//! Neither contains tokens, passwords, bodies or plain emails.

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

/// Why telemetry cannot start.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// The level is not a valid filter.
    #[error("log.level: {0}")]
    Level(#[from] ParseError),
    /// The exporter could not be built.
    #[cfg(feature = "otel")]
    #[error("tracing.otlp_endpoint: {0}")]
    Exporter(#[from] opentelemetry_otlp::ExporterBuildError),
}

/// Keep this while requests are served. Dropping it exports the remaining spans.
#[derive(Debug, Default)]
#[must_use]
pub struct Telemetry {
    #[cfg(feature = "otel")]
    _exporter: Option<otlp::ExporterGuard>,
}

/// Starts logging, and exporting if there is an endpoint. A second call in one process, as in tests, changes nothing.
///
/// # Errors
/// A setting is not valid.
#[cfg_attr(not(feature = "otel"), expect(unused_variables, reason = "only used with the feature otel"))]
pub fn init(settings: &Log, otlp_endpoint: Option<&Url>) -> Result<Telemetry, TelemetryError> {
    let filter = EnvFilter::builder().parse(&settings.level)?;
    #[cfg(feature = "otel")]
    let filter = filter.add_directive(otlp::not_logged()?);
    #[cfg(feature = "otel")]
    if let Some(endpoint) = otlp_endpoint {
        let (exporter, layer) = otlp::start(endpoint)?;
        // Each layer has its own filter: the log level must not limit the export.
        let _first = registry().with(layer).with(lines(settings.format).with_filter(filter)).try_init();
        return Ok(Telemetry { _exporter: Some(exporter) });
    }
    let _first = registry().with(filter).with(lines(settings.format)).try_init();
    Ok(Telemetry::default())
}

/// The layer that writes log lines.
fn lines<S: tracing::Subscriber + for<'a> LookupSpan<'a>>(format: LogFormat) -> Box<dyn Layer<S> + Send + Sync> {
    match format {
        LogFormat::Text => fmt::layer().with_target(false).with_ansi(stderr().is_terminal()).with_writer(stderr).boxed(),
        LogFormat::Json => fmt::layer().json().flatten_event(true).with_span_list(false).with_target(false).with_writer(stderr).boxed(),
    }
}

/// The method if HTTP defines it. A client can invent any other, so that must become neither a label nor an attribute.
pub(crate) fn known_method(method: &str) -> Option<&'static str> {
    const METHODS: [&str; 7] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];
    METHODS.into_iter().find(|known| *known == method)
}
