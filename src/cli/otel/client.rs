//! Posts batches with the HTTP client that is in the program anyway.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::{Error, Result};
use async_trait::async_trait;
use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response};
use tokio::runtime::Handle;

/// What is read of an answer: it says little more than how many spans were refused.
const LONGEST_ANSWER: usize = 64 << 10;

/// A client for the exporter's own thread, which is none of the runtime's.
#[derive(Debug)]
pub struct Client {
    http: reqwest::Client,
    runtime: Handle,
    last_failure: std::sync::Arc<LastFailure>,
}

/// Why the last request had no answer. The exporter itself only says that it had none.
#[derive(Debug, Default)]
pub struct LastFailure(Mutex<Option<String>>);

impl LastFailure {
    fn set(&self, why: Option<String>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = why;
    }

    /// In a few words.
    pub fn get(&self) -> Option<String> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

impl Client {
    /// One whose requests run on `runtime` and take `timeout` at most.
    ///
    /// # Errors
    /// [`Error::Local`] where there can be no client.
    pub fn new(
        runtime: &Handle,
        timeout: Duration,
        last_failure: std::sync::Arc<LastFailure>,
    ) -> Result<Self> {
        // The first choice of a process stands; this is the same one.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let http = reqwest::Client::builder()
            .timeout(timeout)
            .redirect(reqwest::redirect::Policy::none())
            .build();
        let http = http.map_err(|e| Error::local("cannot make an HTTP client for traces", e))?;
        Ok(Self {
            http,
            runtime: runtime.clone(),
            last_failure,
        })
    }
}

#[async_trait]
impl HttpClient for Client {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let sent = self
            .runtime
            .spawn(post(self.http.clone(), request))
            .await
            .unwrap_or_else(|e| Err(e.to_string()));
        self.last_failure.set(sent.as_ref().err().cloned());
        Ok(sent?)
    }
}

async fn post(http: reqwest::Client, request: Request<Bytes>) -> Result<Response<Bytes>, String> {
    let (parts, body) = request.into_parts();
    let request = http
        .request(parts.method, parts.uri.to_string())
        .headers(parts.headers)
        .body(body);
    let mut reply = request.send().await.map_err(why)?;
    let mut answer = Vec::new();
    while let Some(chunk) = reply.chunk().await.map_err(why)? {
        answer.extend_from_slice(&chunk);
        if answer.len() > LONGEST_ANSWER {
            return Err("its answer is too long".to_owned());
        }
    }
    let mut response = Response::new(Bytes::from(answer));
    *response.status_mut() = reply.status();
    *response.headers_mut() = std::mem::take(reply.headers_mut());
    Ok(response)
}

/// The innermost cause; the URL, which may hold a password, is not in it.
fn why(error: reqwest::Error) -> String {
    let error = error.without_url();
    let causes = std::iter::successors(Some(&error as &dyn std::error::Error), |e| e.source());
    let last = causes.last().map_or_else(String::new, ToString::to_string);
    if error.is_timeout() {
        "it does not answer in time".to_owned()
    } else {
        last
    }
}
