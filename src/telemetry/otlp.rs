//! Each request as a span of a server, exported by OTLP over HTTP.
//!
//! What is exported is a span of its own, with the target [`TARGET`]: the log does not see it, and the exporter sees nothing
//! else. So whatever is logged, by this crate or by the exporter's own HTTP client, is never exported by accident.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use opentelemetry::{
    Context, KeyValue,
    trace::{SpanContext, SpanId, TraceContextExt as _, TraceFlags, TraceId, TraceState, TracerProvider as _},
};
use opentelemetry_otlp::{ExporterBuildError, SpanExporter, WithExportConfig as _};
use opentelemetry_sdk::{
    Resource,
    error::OTelSdkResult,
    trace::{BatchConfigBuilder, BatchSpanProcessor, Sampler, SdkTracerProvider, SpanData, SpanExporter as Export},
};
use tracing::{Span, Subscriber, field::Empty, level_filters::LevelFilter};
use tracing_opentelemetry::OpenTelemetrySpanExt as _;
use tracing_subscriber::{
    Layer,
    filter::{Directive, ParseError, filter_fn},
    registry::LookupSpan,
};
use url::Url;

use super::{known_method, trace_context::TraceContext};

const TARGET: &str = "core_api::exported";

/// Spans that wait for the collector; one more is dropped. Some hundred bytes each.
const QUEUE: usize = 8_192;

/// How long a batch may take, with all that is tried again.
const EXPORT: Duration = Duration::from_secs(5);

/// How long the last spans may hold up the end of the process.
const FLUSH: Duration = Duration::from_secs(3);

/// Exports until it is dropped, and then what is left.
#[derive(Debug)]
pub struct Exporting(SdkTracerProvider);

impl Drop for Exporting {
    fn drop(&mut self) {
        if let Err(error) = self.0.shutdown_with_timeout(FLUSH) {
            tracing::warn!(cause = %error, "the last spans were not exported");
        }
    }
}

/// Keeps what is exported out of the log.
pub(super) fn unlogged() -> Result<Directive, ParseError> {
    format!("{TARGET}=off").parse()
}

/// Begins to export to a collector, which may be away.
pub(super) fn start<S>(endpoint: &Url) -> Result<(Exporting, impl Layer<S> + use<S>), ExporterBuildError>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    let traces = format!("{}/v1/traces", endpoint.as_str().trim_end_matches('/'));
    let exporter = SpanExporter::builder().with_http().with_endpoint(traces).with_timeout(EXPORT).build()?;
    let exporter = Watched { exporter, away: AtomicBool::new(false) };
    let batches = BatchConfigBuilder::default().with_max_queue_size(QUEUE).build();
    let version = KeyValue::new("service.version", env!("CARGO_PKG_VERSION"));
    let provider = SdkTracerProvider::builder()
        .with_resource(Resource::builder_empty().with_service_name("core-api").with_attribute(version).build())
        .with_sampler(Sampler::ParentBased(Box::new(Sampler::AlwaysOn)))
        .with_span_processor(BatchSpanProcessor::new(exporter, batches))
        .build();
    let layer = tracing_opentelemetry::layer()
        .with_tracer(provider.tracer("core-api"))
        .with_context_activation(false)
        .with_location(false)
        .with_threads(false)
        .with_target(false)
        .with_tracked_inactivity(false)
        .with_filter(filter_fn(|metadata| metadata.target() == TARGET).with_max_level_hint(LevelFilter::INFO));
    Ok((Exporting(provider), layer))
}

/// Says once that the collector is away, and once that it is back, instead of for every batch.
#[derive(Debug)]
struct Watched {
    exporter: SpanExporter,
    away: AtomicBool,
}

impl Export for Watched {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let exported = self.exporter.export(batch).await;
        let was_away = self.away.swap(exported.is_err(), Ordering::Relaxed);
        match &exported {
            Err(error) if !was_away => tracing::warn!(cause = %error, "spans cannot be exported and are dropped"),
            Ok(()) if was_away => tracing::info!("spans are exported again"),
            _ => {}
        }
        exported
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.exporter.shutdown_with_timeout(timeout)
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.exporter.force_flush()
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.exporter.set_resource(resource);
    }
}

/// A request's span. Where nothing is exported it is none, and costs nothing.
pub(crate) struct ServerSpan(Span);

impl ServerSpan {
    /// It begins now, in the caller's trace if there is one.
    pub(crate) fn begin(caller: Option<&TraceContext>) -> Self {
        let span = tracing::info_span!(
            target: TARGET,
            parent: None,
            "request",
            otel.kind = "server",
            otel.name = Empty,
            otel.status_code = Empty,
            http.request.method = Empty,
            http.route = Empty,
            http.response.status_code = Empty,
        );
        if let Some(caller) = caller.filter(|_| !span.is_disabled()) {
            let flags = if caller.sampled { TraceFlags::SAMPLED } else { TraceFlags::NOT_SAMPLED };
            let (trace, parent) = (TraceId::from(caller.trace_id.0), SpanId::from(caller.parent_id));
            let caller = SpanContext::new(trace, parent, flags, true, TraceState::NONE);
            // It is refused only once the span has begun, and it has not.
            let _set = span.set_parent(Context::new().with_remote_span_context(caller));
        }
        Self(span)
    }

    /// It ends now. The route and never the path: a path can hold what should not be exported.
    pub(crate) fn end(self, method: &str, route: Option<&str>, status: u16) {
        if self.0.is_disabled() {
            return;
        }
        let (attribute, name) = known_method(method).map_or(("_OTHER", "HTTP"), |known| (known, known));
        self.0.record("http.request.method", attribute);
        match route {
            Some(route) => self.0.record("otel.name", format!("{name} {route}")).record("http.route", route),
            None => self.0.record("otel.name", name),
        };
        self.0.record("http.response.status_code", i64::from(status));
        if status >= 500 {
            self.0.record("otel.status_code", "ERROR");
        }
    }
}
