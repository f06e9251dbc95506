//! A collector of traces that behaves as it is told.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value};
use opentelemetry_proto::tonic::trace::v1::span::Event;
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use prost::Message;
use tokio::net::TcpListener;
use tokio::sync::watch;

/// Nothing here takes so long; what does, has failed.
const PATIENCE: Duration = Duration::from_secs(120);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Manner {
    Takes,
    Answers(u16),
    /// Reads the request, and that is all.
    Silent,
}

/// A request as it came.
#[derive(Debug, Clone)]
pub struct Post {
    pub path: String,
    pub headers: BTreeMap<String, String>,
    pub body: Vec<u8>,
}

impl Post {
    fn decode(&self) -> ExportTraceServiceRequest {
        match self.headers["content-type"].as_str() {
            "application/x-protobuf" => ExportTraceServiceRequest::decode(&self.body[..]).unwrap(),
            "application/json" => serde_json::from_slice(&self.body).unwrap(),
            other => panic!("not OTLP: {other}"),
        }
    }
}

/// A span in the words of the tests.
#[derive(Debug, Clone)]
pub struct Span {
    pub name: String,
    pub trace: Vec<u8>,
    pub id: Vec<u8>,
    pub parent: Vec<u8>,
    pub fields: BTreeMap<String, String>,
    /// The description, where the status is an error.
    pub error: Option<String>,
    pub events: Vec<Event>,
    pub nanos: (u64, u64),
}

impl Span {
    pub fn number(&self, field: &str) -> u64 {
        self.fields[field].parse().unwrap()
    }
}

pub struct Collector {
    address: SocketAddr,
    posts: watch::Receiver<Vec<Post>>,
    _stays: Arc<Mutex<watch::Sender<Vec<Post>>>>,
}

impl Collector {
    pub async fn start(manner: Manner) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (sender, posts) = watch::channel(Vec::new());
        let sender = Arc::new(Mutex::new(sender));
        let stays = Arc::clone(&sender);
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let sender = Arc::clone(&sender);
                let service =
                    service_fn(move |request| answer(request, manner, Arc::clone(&sender)));
                tokio::spawn(
                    hyper::server::conn::http1::Builder::new()
                        .serve_connection(TokioIo::new(stream), service),
                );
            }
        });
        Self {
            address,
            posts,
            _stays: stays,
        }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub fn posts(&self) -> Vec<Post> {
        self.posts.borrow().clone()
    }

    pub fn spans(&self) -> Vec<Span> {
        self.posts()
            .iter()
            .flat_map(|p| p.decode().resource_spans)
            .flat_map(|r| r.scope_spans)
            .flat_map(|s| s.spans)
            .map(Span::from)
            .collect()
    }

    /// What is said of whoever sent the spans.
    pub fn resource(&self) -> BTreeMap<String, String> {
        self.posts()
            .iter()
            .flat_map(|p| p.decode().resource_spans)
            .filter_map(|r| r.resource)
            .flat_map(|r| r.attributes)
            .map(field)
            .collect()
    }

    /// Until what has come is enough.
    pub async fn until(&self, enough: impl Fn(&Self) -> bool) {
        let mut posts = self.posts.clone();
        let come = async {
            while !enough(self) {
                posts.changed().await.unwrap();
            }
        };
        tokio::time::timeout(PATIENCE, come)
            .await
            .expect("it does not come");
    }
}

async fn answer(
    request: Request<Incoming>,
    manner: Manner,
    sender: Arc<Mutex<watch::Sender<Vec<Post>>>>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let path = request.uri().path().to_owned();
    let headers = request
        .headers()
        .iter()
        .map(|(n, v)| (n.to_string(), v.to_str().unwrap().to_owned()))
        .collect();
    let body = request
        .into_body()
        .collect()
        .await
        .unwrap()
        .to_bytes()
        .to_vec();
    sender.lock().unwrap().send_modify(|posts| {
        posts.push(Post {
            path,
            headers,
            body,
        })
    });
    let (status, body) = match manner {
        Manner::Takes => (200, ExportTraceServiceResponse::default().encode_to_vec()),
        Manner::Answers(status) => (status, b"no".to_vec()),
        Manner::Silent => std::future::pending().await,
    };
    Ok(Response::builder()
        .status(status)
        .body(Full::new(body.into()))
        .unwrap())
}

fn field(pair: KeyValue) -> (String, String) {
    (pair.key, text(pair.value))
}

fn text(value: Option<AnyValue>) -> String {
    match value.and_then(|v| v.value) {
        Some(any_value::Value::StringValue(s)) => s,
        Some(any_value::Value::IntValue(n)) => n.to_string(),
        Some(any_value::Value::BoolValue(b)) => b.to_string(),
        other => format!("{other:?}"),
    }
}

impl From<opentelemetry_proto::tonic::trace::v1::Span> for Span {
    fn from(s: opentelemetry_proto::tonic::trace::v1::Span) -> Self {
        let error = s
            .status
            .filter(|s| s.code() == StatusCode::Error)
            .map(|s| s.message);
        Self {
            name: s.name,
            trace: s.trace_id,
            id: s.span_id,
            parent: s.parent_span_id,
            fields: s.attributes.into_iter().map(field).collect(),
            error,
            events: s.events,
            nanos: (s.start_time_unix_nano, s.end_time_unix_nano),
        }
    }
}
