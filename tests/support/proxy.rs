//! A bad network: a proxy on 127.0.0.1 between the job and a server, which now and then answers for
//! the server, loses what it was to carry, or cuts it short. What happens to the n-th request is
//! drawn from a seed.
//!
//! It carries one request a connection and changes no byte of one, so that signatures, which cover
//! the Host header, stay right.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use fastrand::Rng;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// What happens to a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fate {
    /// It is carried, and the reply.
    Carried,
    /// It is carried late.
    Delayed,
    /// 503 SlowDown; the server never sees it.
    SlowDown,
    /// 500; the server never sees it.
    ErrorBefore,
    /// 500, after the server has done it.
    ErrorAfter,
    /// The connection is reset before the server sees it.
    ResetBefore,
    /// The connection is reset after the server has done it: the reply is lost.
    ResetAfter,
    /// The reply breaks off in its middle.
    Truncated,
    /// 403 AccessDenied; the server never sees it.
    Denied,
    /// The last byte of the request's body arrives as another.
    Garbled,
    /// 503 with the wish to be left alone for so many seconds; the server never sees it.
    RetryAfter(u32),
}

/// What is known of a request before it is carried.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// `PUT`
    pub method: String,
    /// `/bucket/key?uploadId=7`
    pub target: String,
    /// Whether the server is asked to copy.
    pub copies: bool,
    /// Bytes of its body.
    pub body: usize,
}

type Rule = Box<dyn Fn(&Request) -> Fate + Send + Sync>;

/// Of a hundred requests, how many meet each fate. The rest is carried.
const PERCENT: [(Fate, u32); 7] = [
    (Fate::Delayed, 4),
    (Fate::SlowDown, 2),
    (Fate::ErrorBefore, 1),
    (Fate::ErrorAfter, 1),
    (Fate::ResetBefore, 1),
    (Fate::ResetAfter, 2),
    (Fate::Truncated, 1),
];

/// A running proxy. It ends with the runtime it was started on.
pub struct Proxy {
    /// Its URL.
    pub endpoint: String,
    state: Arc<State>,
}

struct State {
    server: String,
    rng: Mutex<Rng>,
    rule: Option<Rule>,
    tally: Mutex<BTreeMap<Fate, usize>>,
    seen: Mutex<Vec<Request>>,
}

impl Proxy {
    /// Starts one in front of `endpoint`.
    pub async fn start(endpoint: &str, seed: u64) -> Self {
        Self::begin(endpoint, seed, None).await
    }

    /// One that decides by `rule`, request by request, and remembers them.
    pub async fn ruled(
        endpoint: &str,
        rule: impl Fn(&Request) -> Fate + Send + Sync + 'static,
    ) -> Self {
        Self::begin(endpoint, 0, Some(Box::new(rule))).await
    }

    async fn begin(endpoint: &str, seed: u64, rule: Option<Rule>) -> Self {
        let server = endpoint
            .strip_prefix("http://")
            .unwrap()
            .trim_end_matches('/')
            .to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let state = Arc::new(State {
            server,
            rng: Mutex::new(Rng::with_seed(seed)),
            rule,
            tally: Mutex::default(),
            seen: Mutex::default(),
        });
        let shared = Arc::clone(&state);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                // Clients that are killed break their connections; that is no news.
                tokio::spawn(serve(client, Arc::clone(&shared)));
            }
        });
        Self { endpoint, state }
    }

    /// The requests so far, where a rule decides.
    pub fn seen(&self) -> Vec<Request> {
        self.state.seen.lock().unwrap().clone()
    }

    /// How many requests have met which fate.
    pub fn tally(&self) -> BTreeMap<Fate, usize> {
        self.state.tally.lock().unwrap().clone()
    }
}

impl State {
    fn decide(&self, request: &[u8]) -> (Fate, Duration) {
        let Some(rule) = &self.rule else {
            return self.draw();
        };
        let request = Request::of(request);
        let fate = rule(&request);
        self.seen.lock().unwrap().push(request);
        *self.tally.lock().unwrap().entry(fate).or_default() += 1;
        (fate, Duration::ZERO)
    }

    fn draw(&self) -> (Fate, Duration) {
        let mut rng = self.rng.lock().unwrap();
        let mut left = rng.u32(0..100);
        let pause = Duration::from_millis(rng.u64(20..400));
        let mut fate = Fate::Carried;
        for (candidate, percent) in PERCENT {
            if left < percent {
                fate = candidate;
                break;
            }
            left -= percent;
        }
        *self.tally.lock().unwrap().entry(fate).or_default() += 1;
        (fate, pause)
    }
}

async fn serve(mut client: TcpStream, state: Arc<State>) -> io::Result<()> {
    let mut request = read_request(&mut client).await?;
    let (fate, pause) = state.decide(&request);
    match fate {
        Fate::SlowDown => {
            return error(
                &mut client,
                "503 Slow Down",
                "SlowDown",
                "Please reduce your request rate.",
            )
            .await;
        }
        Fate::RetryAfter(seconds) => {
            return error(
                &mut client,
                &format!("503 Slow Down\r\nRetry-After: {seconds}"),
                "SlowDown",
                "Please reduce your request rate.",
            )
            .await;
        }
        Fate::Denied => {
            return error(
                &mut client,
                "403 Forbidden",
                "AccessDenied",
                "Access Denied",
            )
            .await;
        }
        Fate::Garbled => {
            if let Some(last) = request.last_mut() {
                *last ^= 1;
            }
        }
        Fate::ErrorBefore => {
            return error(
                &mut client,
                "500 Internal Server Error",
                "InternalError",
                "We encountered an internal error.",
            )
            .await;
        }
        Fate::ResetBefore => return reset(&client),
        Fate::Delayed => tokio::time::sleep(pause).await,
        Fate::Carried | Fate::ErrorAfter | Fate::ResetAfter | Fate::Truncated => {}
    }
    let mut server = TcpStream::connect(&state.server).await?;
    server.write_all(&request).await?;
    let reply = read_reply(&mut server, request.starts_with(b"HEAD ")).await?;
    match fate {
        Fate::ResetAfter => reset(&client),
        Fate::ErrorAfter => {
            error(
                &mut client,
                "500 Internal Server Error",
                "InternalError",
                "We encountered an internal error.",
            )
            .await
        }
        Fate::Truncated => client.write_all(&reply[..reply.len() / 2]).await,
        _ => client.write_all(&reply).await,
    }
}

impl Request {
    fn of(bytes: &[u8]) -> Self {
        let len = bytes
            .windows(4)
            .position(|w| w == b"\r\n\r\n")
            .map_or(bytes.len(), |at| at + 4);
        let head = String::from_utf8_lossy(&bytes[..len]);
        let mut words = head.split(' ').map(str::to_owned);
        let (method, target) = (
            words.next().unwrap_or_default(),
            words.next().unwrap_or_default(),
        );
        Self {
            method,
            target,
            copies: head.to_ascii_lowercase().contains("x-amz-copy-source:"),
            body: bytes.len() - len,
        }
    }
}

/// The next close is a reset.
fn reset(client: &TcpStream) -> io::Result<()> {
    client.set_zero_linger()
}

async fn error(client: &mut TcpStream, status: &str, code: &str, message: &str) -> io::Result<()> {
    let body = format!(
        "<?xml version=\"1.0\" \
         encoding=\"UTF-8\"?><Error><Code>{code}</Code><Message>{message}</Message></Error>"
    );
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: application/xml\r\nConnection: \
         close\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    client.write_all(format!("{head}{body}").as_bytes()).await
}

/// A message's head, with the empty line that ends it, and what has come of its body.
struct Head {
    bytes: Vec<u8>,
    len: usize,
}

impl Head {
    async fn read(stream: &mut TcpStream) -> io::Result<Self> {
        let mut bytes = Vec::with_capacity(16 << 10);
        loop {
            if let Some(at) = bytes.windows(4).position(|w| w == b"\r\n\r\n") {
                return Ok(Self { bytes, len: at + 4 });
            }
            if stream.read_buf(&mut bytes).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }

    fn field(&self, name: &str) -> Option<String> {
        let text = String::from_utf8_lossy(&self.bytes[..self.len]);
        let fields = text.lines().skip(1).filter_map(|line| line.split_once(':'));
        fields
            .filter(|(n, _)| n.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.trim().to_owned())
            .next()
    }

    fn status(&self) -> u16 {
        String::from_utf8_lossy(&self.bytes[..self.len])
            .split(' ')
            .nth(1)
            .and_then(|s| s.parse().ok())
            .unwrap_or(0)
    }

    /// Reads on until the whole message is there.
    async fn body(mut self, stream: &mut TcpStream) -> io::Result<Vec<u8>> {
        let chunked = self
            .field("transfer-encoding")
            .is_some_and(|v| v.eq_ignore_ascii_case("chunked"));
        let length = self
            .field("content-length")
            .and_then(|v| v.parse::<usize>().ok());
        loop {
            let body = &self.bytes[self.len..];
            let whole = match length {
                _ if chunked => chunks_end(body),
                Some(length) => body.len() >= length,
                None => true,
            };
            if whole {
                return Ok(self.bytes);
            }
            if stream.read_buf(&mut self.bytes).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }
}

/// Whether a body in chunks is there to its last, empty one.
fn chunks_end(mut body: &[u8]) -> bool {
    loop {
        let Some(at) = body.windows(2).position(|w| w == b"\r\n") else {
            return false;
        };
        let size = String::from_utf8_lossy(&body[..at]);
        let size = usize::from_str_radix(size.split(';').next().unwrap_or("").trim(), 16).unwrap();
        let Some(rest) = body.get(at + 2 + size + 2..) else {
            return false;
        };
        if size == 0 {
            return true;
        }
        body = rest;
    }
}

async fn read_request(client: &mut TcpStream) -> io::Result<Vec<u8>> {
    Head::read(client).await?.body(client).await
}

/// The reply as it came, but that it says that the connection ends with it.
async fn read_reply(server: &mut TcpStream, to_head: bool) -> io::Result<Vec<u8>> {
    let head = loop {
        let head = Head::read(server).await?;
        if head.status() != 100 {
            break head;
        }
    };
    let len = head.len;
    let bodiless = to_head || matches!(head.status(), 204 | 304);
    let reply = if bodiless {
        head.bytes
    } else {
        head.body(server).await?
    };
    let kept = |line: &&str| {
        !line.to_ascii_lowercase().starts_with("connection:")
            && !line.to_ascii_lowercase().starts_with("keep-alive:")
    };
    let fields = String::from_utf8_lossy(&reply[..len - 4]);
    let fields: Vec<_> = fields.split("\r\n").filter(kept).collect();
    Ok([
        format!("{}\r\nConnection: close\r\n\r\n", fields.join("\r\n")).as_bytes(),
        &reply[len..],
    ]
    .concat())
}
