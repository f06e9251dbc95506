//! A restore from an archive of class DEEP_ARCHIVE, which a small server here plays.

use std::collections::BTreeSet;
use std::io::Write;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use tempfile::TempDir;

use crate::errors::server::request;
use crate::support::{job, s3};

/// The objects that are being thawed, by their paths.
type Thawing = Arc<Mutex<BTreeSet<String>>>;

/// Serves the files below `root` as those of a bucket, as S3 does for what is read of an archive.
fn serve(root: PathBuf) -> (String, Thawing) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let thawing = Thawing::default();
    let asked = Arc::clone(&thawing);
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let (root, asked) = (root.clone(), Arc::clone(&asked));
            std::thread::spawn(move || answer(stream, &root, &asked));
        }
    });
    (url, thawing)
}

fn answer(mut stream: TcpStream, root: &Path, thawing: &Thawing) -> Option<()> {
    let (method, target) = request(&mut stream)?;
    let (path, query) = target.split_once('?').unwrap_or((&target, ""));
    let key = path
        .trim_start_matches('/')
        .split_once('/')
        .map_or("", |(_, key)| key);
    let file = root.join(decoded(key));
    let (status, headers, body) = match method.as_str() {
        "GET" if key.is_empty() => ("200 OK", String::new(), listing(root, query)),
        "POST" if query.contains("restore") => {
            thawing.lock().unwrap().insert(key.to_owned());
            ("202 Accepted", String::new(), Vec::new())
        }
        "GET" | "HEAD" if file.is_file() => {
            let mut headers =
                "ETag: \"a\"\r\nLast-Modified: Sun, 01 Nov 2026 00:00:00 GMT\r\n".to_owned();
            if key.ends_with(".parquet") {
                headers += "x-amz-storage-class: DEEP_ARCHIVE\r\n";
                if thawing.lock().unwrap().contains(key) {
                    headers += "x-amz-restore: ongoing-request=\"true\"\r\n";
                }
            }
            ("200 OK", headers, std::fs::read(file).unwrap())
        }
        _ => ("404 Not Found", String::new(), Vec::new()),
    };
    let length = body.len();
    let body = if method == "HEAD" { Vec::new() } else { body };
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: application/xml\r\n{headers}Content-Length: {length}\r\n\
         Connection: close\r\n\r\n"
    );
    stream.write_all(&[head.as_bytes(), &body].concat()).ok()
}

fn decoded(text: &str) -> String {
    let mut parts = text.split('%');
    let mut out = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (code, rest) = part.split_at(2);
        out.push(char::from(u8::from_str_radix(code, 16).unwrap()));
        out.push_str(rest);
    }
    out
}

/// A listing of all below a prefix, or with a delimiter of what is directly in it.
fn listing(root: &Path, query: &str) -> Vec<u8> {
    let parameter = |name: &str| {
        let mut pairs = query.split('&').filter_map(|p| p.split_once('='));
        pairs.find(|(n, _)| *n == name).map(|(_, v)| decoded(v))
    };
    let (prefix, delimiter) = (
        parameter("prefix").unwrap_or_default(),
        parameter("delimiter"),
    );
    let (mut contents, mut folders) = (String::new(), BTreeSet::new());
    for (key, size) in files(root, root) {
        let Some(rest) = key.strip_prefix(&prefix) else {
            continue;
        };
        match rest.find('/').filter(|_| delimiter.is_some()) {
            Some(end) => {
                folders.insert(format!("{prefix}{}", &rest[..=end]));
            }
            None => {
                contents += &format!(
                    "<Contents><Key>{key}</Key><LastModified>2026-11-01T00:00:00.000Z</LastModified><ETag>\"a\"</ETag><Size>{size}</Size></Contents>"
                );
            }
        }
    }
    let folders: String = folders
        .iter()
        .map(|f| format!("<CommonPrefixes><Prefix>{f}</Prefix></CommonPrefixes>"))
        .collect();
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?><ListBucketResult><Name>cold</Name><Prefix>{prefix}</Prefix><KeyCount>1</KeyCount><MaxKeys>1000</MaxKeys><IsTruncated>false</IsTruncated>{contents}{folders}</ListBucketResult>"
    )
    .into_bytes()
}

/// The keys and sizes of all files, in the order of keys.
fn files(root: &Path, folder: &Path) -> Vec<(String, u64)> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(root, &path));
        } else {
            let key = path.strip_prefix(root).unwrap().display().to_string();
            found.push((key, path.metadata().unwrap().len()));
        }
    }
    found.sort();
    found
}

/// A store, and what was archived of it, which a bucket has by now.
fn archived() -> (TempDir, String, Thawing) {
    let dir = TempDir::new().unwrap();
    let path = |name: &str| dir.path().join(name).display().to_string();
    let envs = [
        ("ICEPACK_STORE", path("data")),
        ("ICEPACK_ARCHIVE_URL", path("cold")),
        ("ICEPACK_ARCHIVE_MIN_OBJECT_SIZE", "1".to_owned()),
    ];
    job::expect(&envs, 0, ["-q", "demo", "--tenants", "system=12x50"]);
    job::expect(&envs, 0, ["-q", "run"]);
    let (url, thawing) = serve(dir.path().join("cold"));
    (dir, url, thawing)
}

#[test]
fn a_restore_that_only_asked_for_the_thaw_is_not_done_yet() {
    let (dir, endpoint, thawing) = archived();
    let mut envs = s3::environment(&endpoint);
    envs.push((
        "ICEPACK_STORE",
        dir.path().join("data").display().to_string(),
    ));
    let restore = ["restore", "--archive", "s3://cold", "--tenant", "system"];
    let plan = job::expect(
        &envs,
        0,
        [&restore[..], &["--dry-run", "--tier", "Expedited"]].concat(),
    );
    assert!(
        plan.contains("reading that costs about $0.00")
            && plan
                .contains("DEEP_ARCHIVE has no tier Expedited: its objects are thawed as Standard")
            && plan.contains("would thaw 1 object (tier Standard)"),
        "{plan}"
    );
    assert!(
        thawing.lock().unwrap().is_empty(),
        "who only looks thaws nothing"
    );
    for attempt in ["asks", "finds that it was asked for"] {
        let ran = job::run(&envs, restore);
        let (out, err) = (job::text(&ran.stdout), job::text(&ran.stderr));
        assert_eq!(ran.status.code(), Some(6), "{attempt}: {out}{err}");
        assert!(out.contains("1 object being thawed (tier Bulk)"), "{out}");
        assert!(
            err.contains(
                "icepack: not restored yet: 1 of 1 tenant being thawed, which takes up to 2d"
            ),
            "{err}"
        );
    }
    assert_eq!(thawing.lock().unwrap().len(), 1);
    assert!(!dir.path().join("data/restored-system").exists());
}
