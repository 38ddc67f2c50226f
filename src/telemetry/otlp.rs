//! Exports each request as a server span by OTLP over HTTP.
//!
//! An exported span has the target [`TARGET`]. The log ignores that target, and the exporter ignores all others. So nothing
//! that this crate or the exporter's HTTP client logs can be exported by accident.

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
use tracing_subscriber::{Layer, filter::filter_fn, registry::LookupSpan};
use url::Url;

use super::{known_method, trace_context::TraceContext};

/// The target of every exported span. The log leaves it out.
pub(super) const TARGET: &str = "core_api::exported";

/// The most spans that wait for the collector, a few hundred bytes each. Further spans are dropped.
const MAX_QUEUED_SPANS: usize = 8_192;

/// How long a batch may take, including retries.
const EXPORT_TIMEOUT: Duration = Duration::from_secs(5);

/// How long the last spans may delay the exit of the process.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(3);

/// Exports spans. Dropping it exports the remaining ones and stops.
#[derive(Debug)]
pub struct ExporterGuard(SdkTracerProvider);

impl Drop for ExporterGuard {
    fn drop(&mut self) {
        if let Err(error) = self.0.shutdown_with_timeout(FLUSH_TIMEOUT) {
            tracing::warn!(cause = %error, "the last spans were not exported");
        }
    }
}

/// Starts exporting to a collector, which need not be reachable yet.
pub(super) fn start<S>(endpoint: &Url) -> Result<(ExporterGuard, impl Layer<S> + use<S>), ExporterBuildError>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    let traces = format!("{}/v1/traces", endpoint.as_str().trim_end_matches('/'));
    let exporter = SpanExporter::builder().with_http().with_endpoint(traces).with_timeout(EXPORT_TIMEOUT).build()?;
    let exporter = LoggedExporter { exporter, failing: AtomicBool::new(false) };
    let batches = BatchConfigBuilder::default().with_max_queue_size(MAX_QUEUED_SPANS).build();
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
    Ok((ExporterGuard(provider), layer))
}

/// Logs once when exports start to fail and once when they work again, instead of for every batch.
#[derive(Debug)]
struct LoggedExporter {
    exporter: SpanExporter,
    failing: AtomicBool,
}

impl Export for LoggedExporter {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let exported = self.exporter.export(batch).await;
        let was_failing = self.failing.swap(exported.is_err(), Ordering::Relaxed);
        match &exported {
            Err(error) if !was_failing => tracing::warn!(cause = %error, "spans cannot be exported and are dropped"),
            Ok(()) if was_failing => tracing::info!("spans are exported again"),
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

/// A request's span. Without an exporter it is disabled and costs nothing.
pub(crate) struct ServerSpan(Span);

impl ServerSpan {
    /// Starts the span, in the caller's trace if there is one.
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
            // This fails only for a span that has already started, and this one has not.
            let _set = span.set_parent(Context::new().with_remote_span_context(caller));
        }
        Self(span)
    }

    /// Ends the span. It records the route and never the path, which can contain private data.
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
