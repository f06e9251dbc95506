//! Spans on their way out: collected in a queue, sent in batches by a thread of their own.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::metrics::deliver::shown;
use opentelemetry::propagation::TextMapPropagator;
use opentelemetry::trace::TracerProvider;
use opentelemetry::{Context, ContextGuard, Key, KeyValue};
use opentelemetry_otlp::{Protocol, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::{SdkTracerProvider, SpanData, SpanExporter};
use tokio::runtime::Handle;
use tracing::{Level, Metadata, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::registry::LookupSpan;

use super::Spans;
use super::client::{Client, LastFailure};
use super::config::{self, Encoding, OtlpConfig};

/// What sends the program's spans.
pub struct Traces {
    provider: SdkTracerProvider,
    luck: Arc<Jitter>,
    /// What started this program, if it said so.
    parent: Context,
}

impl Traces {
    /// As the environment asks; none where it does not. Requests run on `runtime`.
    ///
    /// # Errors
    /// Why there are none although they were asked for.
    pub fn start(runtime: &Handle) -> Result<Option<Self>, String> {
        let Some(config) = config::of_process()? else {
            return Ok(None);
        };
        let luck = Arc::new(Jitter {
            endpoint: shown(&config.endpoint),
            port: config.endpoint.port(),
            last: Arc::default(),
            warned: AtomicBool::new(false),
        });
        let exporter = ReportingExporter {
            inner: exporter(&config, runtime, &luck)?,
            luck: Arc::clone(&luck),
        };
        let provider = SdkTracerProvider::builder()
            .with_resource(resource())
            .with_batch_exporter(exporter)
            .build();
        Ok(Some(Self {
            provider,
            luck,
            parent: parent(),
        }))
    }

    /// Takes the spans of passes, and of what is logged within them the warnings and errors.
    pub fn layer<S: Subscriber + for<'a> LookupSpan<'a> + Send + Sync>(&self) -> Spans<S> {
        let tracer = self.provider.tracer("icepack");
        // The parent is the span around a span, whatever thread it is on. Where the code is says
        // nothing about a pass.
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
            self.luck.failed(&format!(
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

fn exporter(
    config: &OtlpConfig,
    runtime: &Handle,
    luck: &Jitter,
) -> Result<opentelemetry_otlp::SpanExporter, String> {
    let client = Client::new(runtime, config.timeout, Arc::clone(&luck.last))
        .map_err(|e| format!("{e}; no traces are sent"))?;
    let protocol = match config.encoding {
        Encoding::Protobuf => Protocol::HttpBinary,
        Encoding::Json => Protocol::HttpJson,
    };
    // Headers are read from the environment by the exporter.
    let builder = opentelemetry_otlp::SpanExporter::builder()
        .with_http()
        .with_http_client(client)
        .with_protocol(protocol)
        .with_timeout(config.timeout);
    builder
        .with_endpoint(config.endpoint.as_str())
        .build()
        .map_err(|_| format!("{} cannot be sent to; no traces are sent", luck.endpoint))
}

/// Who sends: what the environment says, and this program's name and version where it says nothing.
fn resource() -> Resource {
    let from_env = Resource::builder().build();
    let said = |name: &'static str| from_env.get(&Key::new(name)).map(|v| v.to_string());
    let mut builder = Resource::builder();
    if said("service.name").is_none_or(|name| name.starts_with("unknown_service")) {
        builder = builder.with_service_name("icepack");
    }
    if said("service.version").is_none() {
        builder =
            builder.with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")));
    }
    builder.build()
}

/// `TRACEPARENT` and `TRACESTATE`, as W3C's header would say it.
fn parent() -> Context {
    let given = ["traceparent", "tracestate"]
        .into_iter()
        .filter_map(|name| Some((name.to_owned(), std::env::var(name.to_uppercase()).ok()?)));
    TraceContextPropagator::new()
        .extract_with_context(&Context::new(), &given.collect::<HashMap<_, _>>())
}

/// Whether spans arrive. That they do not is said once, and again only if they did in between.
#[derive(Debug)]
struct Jitter {
    endpoint: String,
    port: Option<u16>,
    last: Arc<LastFailure>,
    warned: AtomicBool,
}

impl Jitter {
    fn failed(&self, why: &str) {
        if self.warned.swap(true, Ordering::SeqCst) {
            return;
        }
        let why = self.last.get().unwrap_or_else(|| why.to_owned());
        let hint = if self.port == Some(4317) {
            " (4317 is mostly for gRPC, and 4318 for HTTP)"
        } else {
            ""
        };
        tracing::warn!(
            "cannot send traces to {}: {why}; no pass is the worse for it; check \
             OTEL_EXPORTER_OTLP_ENDPOINT{hint}, or set OTEL_TRACES_EXPORTER=none",
            self.endpoint
        );
    }
}

/// An exporter whose failures are heard of.
#[derive(Debug)]
struct ReportingExporter<E> {
    inner: E,
    luck: Arc<Jitter>,
}

impl<E: SpanExporter> SpanExporter for ReportingExporter<E> {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let sent = self.inner.export(batch).await;
        match &sent {
            Ok(()) => self.luck.warned.store(false, Ordering::SeqCst),
            Err(e) => self.luck.failed(&e.to_string()),
        }
        sent
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.inner.shutdown_with_timeout(timeout)
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.inner.force_flush()
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.inner.set_resource(resource);
    }
}
