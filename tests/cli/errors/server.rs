//! Servers that answer as S3 does when it does not do what it was asked: with the true bodies of
//! AWS, and behind a certificate that nobody trusts.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::Arc;

use ring::rand::SystemRandom;
use ring::signature::{Ed25519KeyPair, KeyPair};
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use rustls::{ServerConfig, ServerConnection};

/// What is said to every request: a status line, further headers, a body.
#[derive(Debug, Clone)]
pub struct Answer {
    pub status: &'static str,
    pub headers: &'static str,
    pub body: String,
}

impl Answer {
    /// An error as S3 writes it: code, message, and whatever else is in the body.
    pub fn error(status: &'static str, code: &str, message: &str, more: &str) -> Self {
        let body = format!(
            "<?xml version=\"1.0\" \
             encoding=\"UTF-8\"?>\n<Error><Code>{code}</Code><Message>{message}</\
             Message>{more}<RequestId>4442587FB7D0A2F9</RequestId><HostId>abc=</HostId></Error>"
        );
        Self {
            status,
            headers: "",
            body,
        }
    }

    fn reply(&self, method: &str) -> String {
        let body = if method == "HEAD" { "" } else { &self.body };
        format!(
            "HTTP/1.1 {}\r\nContent-Type: application/xml\r\nServer: \
             AmazonS3\r\n{}Content-Length: {}\r\nConnection: close\r\n\r\n{body}",
            self.status,
            self.headers,
            body.len()
        )
    }
}

/// Answers everything with `answer`, for as long as the process lives; its URL.
pub fn always(answer: Answer) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            let answer = answer.clone();
            std::thread::spawn(move || {
                if let Some((method, _)) = request(&mut stream) {
                    let _ = stream.write_all(answer.reply(&method).as_bytes());
                }
            });
        }
    });
    url
}

/// The same over TLS with a certificate that it signed itself; its URL, and the certificate as PEM.
pub fn self_signed(answer: Answer) -> (String, String) {
    let (certificate, key) = certificate();
    let pem = format!(
        "-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n",
        base64(&certificate)
    );
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth();
    let config = Arc::new(
        config
            .with_single_cert(
                vec![CertificateDer::from(certificate)],
                PrivatePkcs8KeyDer::from(key).into(),
            )
            .unwrap(),
    );
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("https://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            let (answer, config) = (answer.clone(), Arc::clone(&config));
            std::thread::spawn(move || {
                let mut connection = ServerConnection::new(config).unwrap();
                let mut tls = rustls::Stream::new(&mut connection, &mut stream);
                if let Some((method, _)) = request(&mut tls) {
                    let _ = tls.write_all(answer.reply(&method).as_bytes());
                    tls.conn.send_close_notify();
                    let _ = tls.flush();
                }
            });
        }
    });
    (url, pem)
}

/// The method and the target of a request, which is read to its end.
pub fn request(stream: &mut impl Read) -> Option<(String, String)> {
    let (mut bytes, mut chunk) = (Vec::new(), [0; 4096]);
    loop {
        let n = stream.read(&mut chunk).ok().filter(|n| *n > 0)?;
        bytes.extend_from_slice(&chunk[..n]);
        let Some(end) = bytes.windows(4).position(|w| w == b"\r\n\r\n") else {
            continue;
        };
        let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
        let length = head.lines().find_map(|l| {
            let (name, value) = l.split_once(':')?;
            name.eq_ignore_ascii_case("content-length")
                .then(|| value.trim().parse().unwrap())
        });
        if bytes.len() >= end + 4 + length.unwrap_or(0) {
            let mut words = head.split_whitespace();
            return Some((words.next()?.to_owned(), words.next()?.to_owned()));
        }
    }
}

/// X.509 by hand: a key of this moment, named 127.0.0.1, good until 2099, signed by itself. And its
/// key, as PKCS#8.
fn certificate() -> (Vec<u8>, Vec<u8>) {
    let pkcs8 = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new())
        .unwrap()
        .as_ref()
        .to_vec();
    let pair = Ed25519KeyPair::from_pkcs8(&pkcs8).unwrap();
    let ed25519 = tlv(0x30, &tlv(0x06, &[43, 101, 112]));
    let name = tlv(
        0x30,
        &tlv(
            0x31,
            &tlv(
                0x30,
                &[tlv(0x06, &[85, 4, 3]), tlv(0x0c, b"self-signed")].concat(),
            ),
        ),
    );
    let validity = tlv(
        0x30,
        &[tlv(0x17, b"250101000000Z"), tlv(0x18, b"20990101000000Z")].concat(),
    );
    let bits = |bytes: &[u8]| tlv(0x03, &[&[0], bytes].concat());
    let key = tlv(
        0x30,
        &[ed25519.clone(), bits(pair.public_key().as_ref())].concat(),
    );
    let address = tlv(0x30, &tlv(0x87, &[127, 0, 0, 1]));
    let extensions = tlv(
        0xa3,
        &tlv(
            0x30,
            &tlv(
                0x30,
                &[tlv(0x06, &[85, 29, 17]), tlv(0x04, &address)].concat(),
            ),
        ),
    );
    let version = tlv(0xa0, &tlv(0x02, &[2]));
    let tbs = tlv(
        0x30,
        &[
            version,
            tlv(0x02, &[1]),
            ed25519.clone(),
            name.clone(),
            validity,
            name,
            key,
            extensions,
        ]
        .concat(),
    );
    let signature = bits(pair.sign(&tbs).as_ref());
    (tlv(0x30, &[tbs, ed25519, signature].concat()), pkcs8)
}

fn tlv(tag: u8, content: &[u8]) -> Vec<u8> {
    let len = content.len();
    let length = match len {
        0..128 => vec![len as u8],
        128..256 => vec![0x81, len as u8],
        _ => vec![0x82, (len >> 8) as u8, len as u8],
    };
    [vec![tag], length, content.to_vec()].concat()
}

fn base64(bytes: &[u8]) -> String {
    use base64::Engine;
    base64::engine::general_purpose::STANDARD.encode(bytes)
}
