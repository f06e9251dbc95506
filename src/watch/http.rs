//! `/healthz` and `/metrics`.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

use super::HealthState;

/// Connections at once. Whoever opens more waits: a scraper and a probe are all that is expected.
const CONNECTIONS: usize = 32;

/// A connection that says nothing for so long is closed.
const PATIENCE: Duration = Duration::from_secs(10);

/// After an error of the socket itself, as when the process has too many files open.
const PAUSE: Duration = Duration::from_millis(200);

/// Answers on `listener` until the process ends.
pub async fn serve(listener: TcpListener, health: Arc<HealthState>) {
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else {
            return;
        };
        match listener.accept().await {
            Ok((stream, _)) => {
                let health = Arc::clone(&health);
                tokio::spawn(async move {
                    answer(stream, health).await;
                    drop(place);
                });
            }
            Err(e) => {
                tracing::warn!("cannot take a connection for /healthz and /metrics: {e}");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

async fn answer(stream: TcpStream, health: Arc<HealthState>) {
    let service = service_fn(move |request| {
        let reply = reply(&request, &health);
        async move { Ok::<_, Infallible>(reply) }
    });
    let mut server = hyper::server::conn::http1::Builder::new();
    server
        .timer(TokioTimer::new())
        .header_read_timeout(PATIENCE);
    if let Err(e) = server.serve_connection(TokioIo::new(stream), service).await {
        tracing::debug!("a connection for /healthz and /metrics broke off: {e}");
    }
}

fn reply(request: &Request<Incoming>, health: &HealthState) -> Response<Full<Bytes>> {
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        return text(StatusCode::METHOD_NOT_ALLOWED, "only GET\n".to_owned());
    }
    match request.uri().path() {
        "/healthz" => match health.unhealthy_reason() {
            None => text(StatusCode::OK, "ok\n".to_owned()),
            Some(why) => text(StatusCode::SERVICE_UNAVAILABLE, format!("{why}\n")),
        },
        "/metrics" => match health.metrics().clone() {
            Some(metrics) => text(StatusCode::OK, metrics),
            None => text(
                StatusCode::SERVICE_UNAVAILABLE,
                "no pass was made yet\n".to_owned(),
            ),
        },
        _ => text(
            StatusCode::NOT_FOUND,
            "there are /healthz and /metrics\n".to_owned(),
        ),
    }
}

fn text(status: StatusCode, body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    response.headers_mut().insert(
        CONTENT_TYPE,
        HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8"),
    );
    response
}
