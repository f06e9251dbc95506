//! Knows whether spans arrive, and why not: the exporter itself only says that there was a network
//! error.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{SpanData, SpanExporter};

use super::config::OtlpConfig;
use crate::telemetry::metrics::deliver::{cause, shown};

/// Warns of a collector that takes no spans: once, and again only after it took some.
#[derive(Debug)]
pub struct ExportHealth {
    endpoint: String,
    port: Option<u16>,
    last_network_error: Mutex<Option<String>>,
    warned: AtomicBool,
}

impl ExportHealth {
    pub fn new(config: &OtlpConfig) -> Self {
        Self {
            endpoint: shown(&config.endpoint),
            port: config.endpoint.port(),
            last_network_error: Mutex::default(),
            warned: AtomicBool::new(false),
        }
    }

    /// Warns, with the last network error where there is one, else with `why`.
    pub fn failed(&self, why: &str) {
        if self.warned.swap(true, Ordering::SeqCst) {
            return;
        }
        let network_error = self.network_error().clone();
        let why = network_error.as_deref().unwrap_or(why);
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

    fn network_error(&self) -> MutexGuard<'_, Option<String>> {
        self.last_network_error
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// The exporter, whose failures are reported.
#[derive(Debug)]
pub struct ReportingExporter {
    pub inner: opentelemetry_otlp::SpanExporter,
    pub health: Arc<ExportHealth>,
}

impl SpanExporter for ReportingExporter {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let sent = self.inner.export(batch).await;
        match &sent {
            Ok(()) => self.health.warned.store(false, Ordering::SeqCst),
            Err(e) => self.health.failed(&e.to_string()),
        }
        sent
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.inner.set_resource(resource);
    }
}

/// The exporter's HTTP client, whose network errors are kept for the warning. It waits on the
/// exporter's own thread.
#[derive(Debug)]
pub struct ReportingClient {
    http: reqwest::blocking::Client,
    health: Arc<ExportHealth>,
}

impl ReportingClient {
    /// The exporter's own client would follow redirects, with the headers that name its user.
    pub fn new(timeout: Duration, health: Arc<ExportHealth>) -> Result<Self, reqwest::Error> {
        // Nothing to do where the process has chosen already: it always chooses this one.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let http = reqwest::blocking::Client::builder()
            .timeout(timeout)
            .redirect(reqwest::redirect::Policy::none())
            .build()?;
        Ok(Self { http, health })
    }
}

#[async_trait]
impl HttpClient for ReportingClient {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let sent = self.http.send_bytes(request).await;
        let reason = sent.as_ref().err().map(|e| reason(e.as_ref()));
        *self.health.network_error() = reason;
        sent
    }
}

/// The innermost cause. The URL, which may hold a password, is only in the causes around it.
fn reason(error: &(dyn std::error::Error + 'static)) -> String {
    match error.downcast_ref::<reqwest::Error>() {
        Some(e) if e.is_timeout() => "it does not answer in time".to_owned(),
        _ => cause(error),
    }
}
