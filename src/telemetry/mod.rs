//! Logs on standard error: one line per request, and each failure once, where its request ends. Traces, if exported.
//!
//! Neither contains tokens, passwords, bodies or plain emails.

pub mod metrics;
#[cfg(feature = "otel")]
pub mod otlp;
pub mod scrape;
pub mod trace_context;

use std::io::{IsTerminal, stderr};

use tracing::{Level, Metadata, level_filters::LevelFilter};
use tracing_subscriber::{
    Layer,
    filter::{FilterExt, Targets, filter_fn},
    fmt,
    layer::{Filter, SubscriberExt},
    registry,
    registry::LookupSpan,
    util::SubscriberInitExt,
};
use url::Url;

use crate::config::{Log, LogFilter, LogFormat};

/// Why telemetry cannot start.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// The exporter could not be built.
    #[cfg(feature = "otel")]
    #[error("the exporter of tracing.otlp_endpoint cannot start")]
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
    #[cfg(feature = "otel")]
    if let Some(endpoint) = otlp_endpoint {
        let (exporter, layer) = otlp::start(endpoint)?;
        let _first = registry().with(layer).with(log(settings)).try_init();
        return Ok(Telemetry { _exporter: Some(exporter) });
    }
    let _first = registry().with(log(settings)).try_init();
    Ok(Telemetry::default())
}

/// The log. It has a filter of its own: the log level must not limit the export.
fn log<S: tracing::Subscriber + for<'a> LookupSpan<'a>>(settings: &Log) -> impl Layer<S> + use<S> {
    lines(settings.format).with_filter(filter(&settings.level))
}

/// What is logged: what the setting says, and always the warnings about security.
fn filter<S>(setting: &LogFilter) -> impl Filter<S> + use<S> {
    let levels = Targets::new().with_targets(setting.modules.iter().cloned()).with_default(setting.level);
    #[cfg(feature = "otel")]
    let levels = levels.with_target(otlp::TARGET, LevelFilter::OFF);
    levels.or(filter_fn(is_always_logged).with_max_level_hint(LevelFilter::INFO))
}

/// A failed login to an email that no user has is recorded in the log alone, so no filter may hide it. A warning about
/// security has the field `event`. The spans around it have the id of the request.
fn is_always_logged(metadata: &Metadata<'_>) -> bool {
    if metadata.is_span() {
        return metadata.target().starts_with("core_api::http");
    }
    *metadata.level() <= Level::WARN && metadata.target().starts_with("core_api") && metadata.fields().field("event").is_some()
}

/// The layer that writes log lines. A line that cannot be written, to a closed pipe or a full disk, is lost: the layer's
/// own report of that would go to standard error as well, and panic.
fn lines<S: tracing::Subscriber + for<'a> LookupSpan<'a>>(format: LogFormat) -> Box<dyn Layer<S> + Send + Sync> {
    match format {
        LogFormat::Text => {
            fmt::layer().with_target(false).with_ansi(stderr().is_terminal()).with_writer(stderr).log_internal_errors(false).boxed()
        }
        LogFormat::Json => fmt::layer()
            .json()
            .flatten_event(true)
            .with_span_list(false)
            .with_target(false)
            .with_writer(stderr)
            .log_internal_errors(false)
            .boxed(),
    }
}

/// The method if HTTP defines it. A client can invent any other, so that must become neither a label nor an attribute.
pub(crate) fn known_method(method: &str) -> Option<&'static str> {
    const METHODS: [&str; 7] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];
    METHODS.into_iter().find(|known| *known == method)
}
