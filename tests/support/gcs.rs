//! Google Cloud Storage's XML API, as object_store's client asks it, in this process: no server of
//! it that understands a PUT with a precondition can be installed here. It is written to Google's
//! documentation, so it shows that the client and the job go together, and nothing of the service.
//!
//! <https://cloud.google.com/storage/docs/xml-api/reference-headers>

use std::collections::{BTreeMap, HashMap};
use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use chrono::Utc;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Method, Request, Response};
use hyper_util::rt::TokioIo;
use object_store::gcp::GoogleCloudStorageBuilder;
use object_store::prefix::PrefixStore;
use tokio::net::TcpListener;

use super::Store;

type Reply = hyper::http::response::Builder;

/// Keys in a page of a listing.
const PAGE: usize = 1_000;

#[derive(Clone)]
struct Object {
    body: Bytes,
    generation: u64,
    class: String,
    modified: chrono::DateTime<Utc>,
}

impl Object {
    /// As the XML API gives it for what was written in one request: not the generation, and the same
    /// for the same bytes.
    fn etag(&self) -> String {
        format!("\"{:x}\"", xxhash_rust::xxh3::xxh3_128(&self.body))
    }
}

#[derive(Default)]
struct Bucket {
    objects: BTreeMap<String, Object>,
    uploads: HashMap<String, (String, BTreeMap<u32, Bytes>)>,
    /// Every object that ever was, by its generation: the bucket is versioned.
    versions: HashMap<String, Object>,
    /// The newest generation.
    last: u64,
}

/// A server with one bucket, `events`.
pub struct Gcs {
    pub endpoint: String,
    bucket: Arc<Mutex<Bucket>>,
}

impl Gcs {
    /// Starts one on a port of 127.0.0.1. One that does not honour preconditions answers as if they
    /// were not there.
    pub async fn start(honours: bool) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let bucket = Arc::<Mutex<Bucket>>::default();
        let shared = Arc::clone(&bucket);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let bucket = Arc::clone(&shared);
                let service =
                    service_fn(move |request| answer(request, Arc::clone(&bucket), honours));
                tokio::spawn(
                    hyper::server::conn::http1::Builder::new()
                        .serve_connection(TokioIo::new(stream), service),
                );
            }
        });
        Self { endpoint, bucket }
    }

    fn account(&self) -> String {
        format!(
            r#"{{"private_key":"none","private_key_id":"none","client_email":"none","disable_oauth":true,"gcs_base_url":"{}"}}"#,
            self.endpoint
        )
    }

    /// What the environment of a job that uses it looks like.
    pub fn environment(&self) -> Vec<(&'static str, String)> {
        vec![("GOOGLE_SERVICE_ACCOUNT_KEY", self.account())]
    }

    /// The bucket as a store, below `prefix`.
    pub fn store(&self, prefix: &str) -> Store {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let store = GoogleCloudStorageBuilder::new()
            .with_bucket_name("events")
            .with_service_account_key(self.account())
            .build()
            .unwrap();
        Arc::new(PrefixStore::new(store, prefix))
    }

    /// The class that an object was put with.
    pub fn class(&self, key: &str) -> String {
        self.bucket.lock().unwrap().objects[key].class.clone()
    }
}

async fn answer(
    request: Request<Incoming>,
    bucket: Arc<Mutex<Bucket>>,
    honours: bool,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let (parts, body) = request.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    let decoded = percent_encoding::percent_decode_str(parts.uri.path()).decode_utf8_lossy();
    let key = decoded
        .trim_start_matches('/')
        .strip_prefix("events")
        .map(|key| key.trim_start_matches('/').to_owned());
    let query: HashMap<String, String> =
        url::form_urlencoded::parse(parts.uri.query().unwrap_or_default().as_bytes())
            .into_owned()
            .collect();
    let header = |name: &str| {
        let value = parts.headers.get(name)?;
        Some(value.to_str().unwrap().to_owned())
    };
    let mut bucket = bucket.lock().unwrap();
    let reply = match key {
        None => failed(404, "NoSuchBucket"),
        Some(key) if key.is_empty() => list(&bucket, &query),
        Some(key) => match parts.method {
            Method::GET | Method::HEAD => {
                let found = match query.get("generation") {
                    Some(version) => bucket.versions.get(version),
                    None => bucket.objects.get(&key),
                };
                get(found, &parts.method, &header)
            }
            Method::PUT if query.contains_key("partNumber") => put_part(&mut bucket, &query, body),
            Method::PUT => put(&mut bucket, &key, &header, body, honours),
            Method::POST if query.contains_key("uploads") => {
                let id = ulid::Ulid::generate().to_string();
                let class = header("x-goog-storage-class").unwrap_or("STANDARD".into());
                bucket.uploads.insert(id.clone(), (class, BTreeMap::new()));
                xml(&format!(
                    "<InitiateMultipartUploadResult><UploadId>{id}</UploadId></InitiateMultipartUploadResult>"
                ))
            }
            Method::POST => complete(&mut bucket, &key, &query),
            Method::DELETE if query.contains_key("uploadId") => {
                bucket.uploads.remove(&query["uploadId"]);
                empty(Response::builder().status(204))
            }
            Method::DELETE => match bucket.objects.remove(&key) {
                Some(_) => empty(Response::builder().status(204)),
                None => failed(404, "NoSuchKey"),
            },
            _ => failed(405, "MethodNotAllowed"),
        },
    };
    Ok(reply)
}

fn get(
    found: Option<&Object>,
    method: &Method,
    header: &dyn Fn(&str) -> Option<String>,
) -> Response<Full<Bytes>> {
    let Some(object) = found else {
        return failed(404, "NoSuchKey");
    };
    let (etag, time) = (object.etag(), object.modified);
    let is_any = |tags: &str| tags == "*" || tags.split(',').any(|tag| tag.trim() == etag);
    let when = |name: &str| {
        let text = header(name)?;
        Some(
            chrono::DateTime::parse_from_rfc2822(&text)
                .unwrap()
                .timestamp(),
        )
    };
    // As RFC 9110 orders them.
    if header("if-match").map_or_else(
        || when("if-unmodified-since").is_some_and(|limit| time.timestamp() > limit),
        |tags| !is_any(&tags),
    ) {
        return failed(412, "PreconditionFailed");
    }
    if header("if-none-match").map_or_else(
        || when("if-modified-since").is_some_and(|limit| time.timestamp() <= limit),
        |tags| is_any(&tags),
    ) {
        return empty(Response::builder().status(304));
    }
    let reply = described(Response::builder(), object).header(
        "last-modified",
        time.format("%a, %d %b %Y %H:%M:%S GMT").to_string(),
    );
    let size = object.body.len();
    if *method == Method::HEAD {
        return empty(reply.header("content-length", size));
    }
    let Some(range) = header("range") else {
        return reply.body(Full::new(object.body.clone())).unwrap();
    };
    let (from, to) = range.trim_start_matches("bytes=").split_once('-').unwrap();
    let (from, to) = match (from.parse::<usize>(), to.parse::<usize>()) {
        (Ok(from), Ok(to)) => (from, (to + 1).min(size)),
        (Ok(from), Err(_)) => (from, size),
        (Err(_), Ok(last)) => (size.saturating_sub(last), size),
        (Err(_), Err(_)) => (size, size),
    };
    if from >= to {
        return failed(416, "InvalidRange");
    }
    reply
        .status(206)
        .header("content-range", format!("bytes {from}-{}/{size}", to - 1))
        .body(Full::new(object.body.slice(from..to)))
        .unwrap()
}

fn put(
    bucket: &mut Bucket,
    key: &str,
    header: &dyn Fn(&str) -> Option<String>,
    body: Bytes,
    honours: bool,
) -> Response<Full<Bytes>> {
    let wanted = header("x-goog-if-generation-match").map(|g| g.parse::<u64>().unwrap());
    let there = bucket
        .objects
        .get(key)
        .map_or(0, |object| object.generation);
    if honours && wanted.is_some_and(|wanted| wanted != there) {
        return failed(412, "PreconditionFailed");
    }
    let class = header("x-goog-storage-class").unwrap_or("STANDARD".into());
    if !["STANDARD", "NEARLINE", "COLDLINE", "ARCHIVE"].contains(&class.as_str()) {
        return failed(400, "InvalidStorageClass");
    }
    let body = match header("x-goog-copy-source") {
        None => body,
        Some(source) => {
            let source = percent_encoding::percent_decode_str(&source).decode_utf8_lossy();
            match bucket.objects.get(source.trim_start_matches("events/")) {
                Some(object) => object.body.clone(),
                None => return failed(404, "NoSuchKey"),
            }
        }
    };
    empty(described(
        Response::builder(),
        store(bucket, key, body, class),
    ))
}

fn store<'a>(bucket: &'a mut Bucket, key: &str, body: Bytes, class: String) -> &'a Object {
    // Generations are times in microseconds, and grow.
    bucket.last = u64::try_from(Utc::now().timestamp_micros())
        .unwrap()
        .max(bucket.last + 1);
    let object = Object {
        body,
        generation: bucket.last,
        class,
        modified: Utc::now(),
    };
    let version = object.generation.to_string();
    bucket.versions.insert(version, object.clone());
    bucket.objects.insert(key.to_owned(), object);
    &bucket.objects[key]
}

fn put_part(
    bucket: &mut Bucket,
    query: &HashMap<String, String>,
    body: Bytes,
) -> Response<Full<Bytes>> {
    let Some((_, parts)) = bucket.uploads.get_mut(&query["uploadId"]) else {
        return failed(404, "NoSuchUpload");
    };
    let number = query["partNumber"].parse().unwrap();
    parts.insert(number, body);
    empty(Response::builder().header("etag", format!("\"part-{number}\"")))
}

fn complete(
    bucket: &mut Bucket,
    key: &str,
    query: &HashMap<String, String>,
) -> Response<Full<Bytes>> {
    let Some((class, parts)) = bucket.uploads.remove(&query["uploadId"]) else {
        return failed(404, "NoSuchUpload");
    };
    let body = parts.into_values().collect::<Vec<_>>().concat();
    let object = store(bucket, key, body.into(), class);
    let tag = object.etag().replace('"', "&quot;");
    xml(&format!(
        "<CompleteMultipartUploadResult><ETag>{tag}</ETag></CompleteMultipartUploadResult>"
    ))
}

fn list(bucket: &Bucket, query: &HashMap<String, String>) -> Response<Full<Bytes>> {
    let of = |name: &str| query.get(name).map_or("", String::as_str);
    let (prefix, delimiter) = (of("prefix"), of("delimiter"));
    let after = of("continuation-token").max(of("start-after"));
    let (mut found, mut folders, mut next) = (String::new(), Vec::<String>::new(), String::new());
    let mut shown = 0;
    for (key, object) in &bucket.objects {
        let Some(rest) = key.strip_prefix(prefix).filter(|_| key.as_str() > after) else {
            continue;
        };
        let folder = (!delimiter.is_empty())
            .then(|| rest.find(delimiter))
            .flatten()
            .map(|at| format!("{prefix}{}{delimiter}", &rest[..at]));
        if let Some(folder) = folder {
            if folders.last() != Some(&folder) && !after.starts_with(&folder) {
                folders.push(folder);
                shown += 1;
            }
        } else {
            shown += 1;
            found += &format!(
                "<Contents><Key>{}</Key><Size>{}</Size><LastModified>{}</LastModified><ETag>{}</ETag></Contents>",
                escaped(key),
                object.body.len(),
                object
                    .modified
                    .to_rfc3339_opts(chrono::SecondsFormat::Millis, true),
                object.etag().replace('"', "&quot;"),
            );
        }
        if shown == PAGE {
            next = format!(
                "<NextContinuationToken>{}</NextContinuationToken>",
                escaped(key)
            );
            break;
        }
    }
    let folders: String = folders
        .iter()
        .map(|folder| {
            format!(
                "<CommonPrefixes><Prefix>{}</Prefix></CommonPrefixes>",
                escaped(folder)
            )
        })
        .collect();
    xml(&format!(
        "<ListBucketResult>{found}{folders}{next}</ListBucketResult>"
    ))
}

fn described(reply: Reply, object: &Object) -> Reply {
    reply
        .header("etag", object.etag())
        .header("x-goog-generation", object.generation)
        .header("x-goog-storage-class", &object.class)
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}

fn empty(reply: Reply) -> Response<Full<Bytes>> {
    reply.body(Full::default()).unwrap()
}

fn xml(text: &str) -> Response<Full<Bytes>> {
    Response::new(Full::new(Bytes::from(text.to_owned())))
}

fn failed(status: u16, code: &str) -> Response<Full<Bytes>> {
    let text = format!("<Error><Code>{code}</Code><Message>{code}</Message></Error>");
    Response::builder()
        .status(status)
        .body(Full::new(Bytes::from(text)))
        .unwrap()
}
