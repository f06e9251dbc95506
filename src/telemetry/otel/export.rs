//! Exports spans: they are collected in a queue, and a thread of their own sends them in batches.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use opentelemetry::propagation::TextMapPropagator;
use opentelemetry::trace::TracerProvider;
use opentelemetry::{Context, ContextGuard, Key, KeyValue};
use opentelemetry_otlp::{Protocol, SpanExporter, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::SdkTracerProvider;
use tracing::{Level, Metadata, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::registry::LookupSpan;

use super::Spans;
use super::config::{self, OtlpConfig};
use super::health::{ExportHealth, ReportingClient, ReportingExporter};
use crate::telemetry::metrics::deliver::shown;

/// The exporter of the program's spans.
pub struct Traces {
    provider: SdkTracerProvider,
    health: Arc<ExportHealth>,
    /// What started this program, if `TRACEPARENT` names it.
    parent: Context,
}

impl Traces {
    /// As the environment asks; none where it does not. An error says why there are none although
    /// it does. Not to be called within the runtime.
    pub fn start() -> Result<Option<Self>, String> {
        let Some(config) = config::of_process()? else {
            return Ok(None);
        };
        let health = Arc::new(ExportHealth::new(&config));
        let provider = SdkTracerProvider::builder()
            .with_resource(resource())
            .with_batch_exporter(ReportingExporter {
                inner: exporter(&config, &health)?,
                health: Arc::clone(&health),
            })
            .build();
        Ok(Some(Self {
            provider,
            health,
            parent: parent(),
        }))
    }

    /// Takes the spans of passes, and of what is logged within them the warnings and errors.
    pub fn layer<S: Subscriber + for<'a> LookupSpan<'a> + Send + Sync>(&self) -> Spans<S> {
        let tracer = self.provider.tracer("icepack");
        // The parent is the span around a span, whatever thread it is on. Lines of code tell nothing
        // about a pass.
        let layer = tracing_opentelemetry::layer()
            .with_tracer(tracer)
            .with_context_activation(false);
        let layer = layer
            .with_location(false)
            .with_threads(false)
            .with_target(false)
            .with_level(false)
            .with_tracked_inactivity(false);
        layer.with_filter(filter_fn(belongs)).boxed()
    }

    /// While the guard lives, spans that begin on this thread without one around them are children
    /// of what started this program.
    pub fn attach(&self) -> ContextGuard {
        self.parent.clone().attach()
    }

    /// Sends what there is, without waiting for it.
    pub fn flush(&self) {
        let provider = self.provider.clone();
        drop(tokio::task::spawn_blocking(move || provider.force_flush()));
    }

    /// Sends what there is, waits for that until `limit`, and ends.
    pub async fn finish(&self, limit: Duration) {
        let provider = self.provider.clone();
        let ended =
            tokio::task::spawn_blocking(move || provider.shutdown_with_timeout(limit)).await;
        if !matches!(ended, Ok(Ok(()))) {
            self.health.failed(&format!(
                "the last spans were not taken within {} s",
                limit.as_secs_f64()
            ));
        }
    }
}

fn belongs(metadata: &Metadata<'_>) -> bool {
    metadata.target().starts_with("icepack")
        && (metadata.is_span() || *metadata.level() <= Level::WARN)
}

/// Headers are read from the environment by the exporter itself.
fn exporter(config: &OtlpConfig, health: &Arc<ExportHealth>) -> Result<SpanExporter, String> {
    let client = ReportingClient::new(config.timeout, Arc::clone(health))
        .map_err(|e| format!("cannot make an HTTP client for traces: {e}; no traces are sent"))?;
    SpanExporter::builder()
        .with_http()
        .with_http_client(client)
        .with_protocol(if config.is_json {
            Protocol::HttpJson
        } else {
            Protocol::HttpBinary
        })
        .with_timeout(config.timeout)
        .with_endpoint(config.endpoint.as_str())
        .build()
        // The error repeats the endpoint, and with it a password.
        .map_err(|_| {
            let endpoint = shown(&config.endpoint);
            format!("{endpoint} cannot be sent to; no traces are sent")
        })
}

/// Who sends: by the environment, else this program's name and version.
fn resource() -> Resource {
    let from_env = Resource::builder().build();
    let given = |name: &'static str| from_env.get(&Key::new(name)).map(|v| v.to_string());
    let mut builder = Resource::builder();
    if given("service.name").is_none_or(|name| name.starts_with("unknown_service")) {
        builder = builder.with_service_name("icepack");
    }
    if given("service.version").is_none() {
        builder =
            builder.with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")));
    }
    builder.build()
}

/// From `TRACEPARENT` and `TRACESTATE`, which are W3C's headers as variables.
fn parent() -> Context {
    let given = ["traceparent", "tracestate"]
        .into_iter()
        .filter_map(|name| Some((name.to_owned(), std::env::var(name.to_uppercase()).ok()?)));
    TraceContextPropagator::new()
        .extract_with_context(&Context::new(), &given.collect::<HashMap<_, _>>())
}
