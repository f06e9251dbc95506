//! Locations: URLs, and the stores behind them.

use std::path::{Component, Path as FsPath, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use object_store::aws::AmazonS3Builder;
use object_store::local::LocalFileSystem;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::prefix::PrefixStore;
use object_store::{ClientOptions, ObjectStore};
use percent_encoding::percent_decode_str;
use url::Url;

use super::credentials::{self, ChainCredentials, Connection};
use super::local::PlainDirectory;
use super::named::NamedStore;
use super::plain_keys::PlainKeys;
use crate::clock::Clock;
use crate::error::{Error, Result};

/// Racing conditional writes may wait for a lock in some servers (seen: five seconds), and a part
/// may be slow on a thin line.
pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(180);

/// A store's address, understood but not opened.
///
/// ```
/// use icepack::store::Location;
///
/// let store = Location::parse("s3://events/prod")?;
/// assert_eq!(store.display("acme/2026-01/a.parquet"), "s3://events/prod/acme/2026-01/a.parquet");
/// assert!(store.overlaps(&Location::parse("s3://events/prod/cold")?), "no place for an archive");
/// # Ok::<(), icepack::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Location {
    /// A bucket on S3 or something that speaks like it.
    S3 {
        bucket: String,
        /// Without slashes at either end; may be empty.
        prefix: String,
    },
    Directory(PathBuf),
    /// This process's memory, for trying things out.
    Memory,
    /// A store of another cloud, opened by object_store from the URL and the environment.
    Cloud {
        /// `gs` or `az`.
        scheme: String,
        url: Url,
    },
}

impl Location {
    /// Reads `s3://bucket/prefix`, `file:///dir`, a bare path, `memory://`, `gs://…` or `az://…`.
    ///
    /// # Errors
    /// [`Error::Usage`] for anything else.
    pub fn parse(text: &str) -> Result<Self> {
        let usage = |why: String| {
            Error::Usage(format!(
                "`{text}` is not a store: {why}; use s3://bucket/prefix, file:///directory, a \
                 path, or memory://"
            ))
        };
        if text.trim().is_empty() {
            return Err(Error::Usage(
                "no store given: pass --store URL, set ICEPACK_STORE, or put `store = \"…\"` into \
                 icepack.toml"
                    .to_owned(),
            ));
        }
        let Some((scheme, rest)) = text.split_once("://") else {
            return Ok(Self::Directory(PathBuf::from(text)));
        };
        match scheme {
            "s3" | "s3a" => {
                let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
                if bucket.is_empty() {
                    return Err(usage("it names no bucket".to_owned()));
                }
                let prefix = prefix.trim_matches('/').to_owned();
                Path::parse(&prefix).map_err(|e| usage(e.to_string()))?;
                Ok(Self::S3 {
                    bucket: bucket.to_owned(),
                    prefix,
                })
            }
            "file" => {
                let url = Url::parse(text).map_err(|e| usage(e.to_string()))?;
                let path = url
                    .to_file_path()
                    .map_err(|()| usage("it is not an absolute path on this machine".to_owned()))?;
                Ok(Self::Directory(path))
            }
            "memory" => Ok(Self::Memory),
            "gs" | "az" | "abfs" | "abfss" => {
                let url = Url::parse(text).map_err(|e| usage(e.to_string()))?;
                Ok(Self::Cloud {
                    scheme: scheme.to_owned(),
                    url,
                })
            }
            other => Err(usage(format!("`{other}://` is not known"))),
        }
    }

    /// The address that other tools can open: an `s3://` URL, or an absolute path.
    pub fn display(&self, key: &str) -> String {
        let join = |root: String| {
            if key.is_empty() {
                root
            } else {
                format!("{}/{key}", root.trim_end_matches('/'))
            }
        };
        match self {
            Self::S3 { bucket, prefix } if prefix.is_empty() => join(format!("s3://{bucket}")),
            Self::S3 { bucket, prefix } => join(format!("s3://{bucket}/{prefix}")),
            Self::Directory(path) => join(absolute(path).display().to_string()),
            Self::Memory => join("memory://".to_owned()),
            Self::Cloud { url, .. } => join(url.as_str().to_owned()),
        }
    }

    /// The address as a URI, with no escapes but those that it was given with and no slash at its
    /// end: what readers of other systems put before a key.
    pub fn uri(&self) -> String {
        match self {
            Self::Directory(path) => format!("file://{}", real(path).display()),
            _ => self.display("").trim_end_matches('/').to_owned(),
        }
    }

    /// The one name of the place, whatever it was called: links, `..`, slashes at the end and what
    /// a URL needs no more are resolved. It goes into receipts and holds.
    pub fn canonical(&self) -> String {
        match self {
            Self::Directory(path) => real(path).display().to_string(),
            Self::Cloud { url, .. } => {
                let mut url = url.clone();
                url.set_query(None);
                url.set_fragment(None);
                let path = percent_decode_str(url.path())
                    .decode_utf8_lossy()
                    .trim_matches('/')
                    .to_owned();
                url.set_path(&path);
                url.as_str().trim_end_matches('/').to_owned()
            }
            Self::S3 { .. } | Self::Memory => self.to_string(),
        }
    }

    /// Whether one of the two holds, or is, the other, so that what the job does in one would touch
    /// the other.
    pub fn overlaps(&self, other: &Self) -> bool {
        let within = |a: &str, b: &str| {
            a.is_empty()
                || b.is_empty()
                || a == b
                || a.starts_with(&format!("{b}/"))
                || b.starts_with(&format!("{a}/"))
        };
        match (self, other) {
            (
                Self::S3 {
                    bucket: a,
                    prefix: p,
                },
                Self::S3 {
                    bucket: b,
                    prefix: q,
                },
            ) => a == b && within(p, q),
            (Self::Directory(a), Self::Directory(b)) => {
                let (a, b) = (real(a), real(b));
                a.starts_with(&b) || b.starts_with(&a)
            }
            (Self::Memory, Self::Memory) => true,
            (Self::Cloud { scheme: s, url: a }, Self::Cloud { scheme: t, url: b }) => {
                let ((cloud, a, p), (other, b, q)) = (in_cloud(s, a), in_cloud(t, b));
                cloud == other && a == b && within(&p, &q)
            }
            _ => false,
        }
    }
}

impl std::fmt::Display for Location {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.display(""))
    }
}

/// Whether two names that archives gave themselves are of one place. Older versions wrote them down
/// as they were spelled.
pub fn is_same_place(a: &str, b: &str) -> bool {
    let canonical = |name: &str| {
        Location::parse(name)
            .ok()
            .filter(|l| *l != Location::Memory)
            .map(|l| l.canonical())
    };
    a == b || canonical(a).is_some_and(|a| canonical(b) == Some(a))
}

fn absolute(path: &FsPath) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

/// The path as the system goes along it, links and `..` resolved, also where it does not exist yet:
/// `data/../data` and a link to it are one directory.
fn real(path: &FsPath) -> PathBuf {
    let mut here = PathBuf::new();
    for step in absolute(path).components() {
        match step {
            Component::ParentDir => drop(here.pop()),
            step => here.push(step),
        }
        here = here.canonicalize().unwrap_or(here);
    }
    here
}

/// Which bucket of which cloud, and the path in it, as object_store reads a URL: without its query,
/// and decoded.
fn in_cloud(scheme: &str, url: &Url) -> (bool, String, String) {
    let is_google = scheme == "gs";
    let host = url.host_str().unwrap_or_default();
    // `abfss://container@account/…` and `az://container/…` may be one place: the environment tells
    // the account of the latter.
    let bucket = if is_google || url.username().is_empty() {
        host
    } else {
        url.username()
    };
    let path = percent_decode_str(url.path().trim_matches('/'))
        .decode_utf8_lossy()
        .into_owned();
    (is_google, bucket.to_owned(), path)
}

/// A store that is ready for use; keys are relative to its root.
#[derive(Debug, Clone)]
pub struct OpenStore {
    pub store: Arc<dyn ObjectStore>,
    pub location: Location,
    /// The places that hold this one: the parents of a directory, or the shorter prefixes of a
    /// bucket. They are only looked at.
    pub enclosing: Vec<Arc<dyn ObjectStore>>,
}

/// How a store is opened.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct OpenOptions {
    /// A directory that does not exist is made.
    pub create: bool,
    /// For S3.
    pub connection: Connection,
}

/// Opens a store.
///
/// # Errors
/// [`Error::Usage`] where the address or the environment is wrong. That a bucket exists and lets us
/// in, only the first request shows.
pub async fn open(
    location: &Location,
    options: OpenOptions,
    clock: Arc<dyn Clock>,
) -> Result<OpenStore> {
    let mut enclosing = Vec::new();
    let store: Arc<dyn ObjectStore> = match location {
        Location::S3 { bucket, prefix } => {
            let whole: Arc<dyn ObjectStore> = Arc::new(open_s3(bucket, &options, clock).await?);
            let shorter = shorter_prefixes(prefix).map(|p| {
                (
                    format!("s3://{bucket}/{p}"),
                    prefixed(Arc::clone(&whole), p),
                )
            });
            enclosing.extend(shorter.map(|(name, store)| named(store, name)));
            prefixed(whole, prefix)
        }
        Location::Directory(path) => {
            let store = Arc::new(open_directory(path, &options)?);
            enclosing.extend(parents(path));
            store
        }
        Location::Memory => {
            tracing::warn!("memory:// is empty whenever a program starts, and gone when it ends");
            Arc::new(InMemory::new())
        }
        Location::Cloud { scheme, url } => open_cloud(scheme, url)?,
    };
    Ok(OpenStore {
        store: named(store, location.to_string()),
        location: location.clone(),
        enclosing,
    })
}

fn named(store: Arc<dyn ObjectStore>, name: String) -> Arc<dyn ObjectStore> {
    Arc::new(NamedStore::new(store, name))
}

/// `a/b/c` → `a/b`, `a` and the whole bucket.
fn shorter_prefixes(prefix: &str) -> impl Iterator<Item = &str> {
    std::iter::successors((!prefix.is_empty()).then_some(prefix), |p| {
        p.rsplit_once('/').map(|(shorter, _)| shorter)
    })
    .skip(1)
    .chain((!prefix.is_empty()).then_some(""))
}

/// The directories above `path`, the nearest first. One that cannot be opened holds no store that
/// this process could know of.
fn parents(path: &FsPath) -> impl Iterator<Item = Arc<dyn ObjectStore>> {
    let open = |dir: &FsPath| {
        Some(named(
            Arc::new(LocalFileSystem::new_with_prefix(dir).ok()?),
            dir.display().to_string(),
        ))
    };
    real(path)
        .ancestors()
        .skip(1)
        .map(FsPath::to_owned)
        .collect::<Vec<_>>()
        .into_iter()
        .filter_map(move |dir| open(&dir))
}

fn prefixed(store: Arc<dyn ObjectStore>, prefix: &str) -> Arc<dyn ObjectStore> {
    match Path::parse(prefix) {
        Ok(prefix) if !prefix.as_ref().is_empty() => Arc::new(PrefixStore::new(store, prefix)),
        _ => store,
    }
}

fn open_directory(path: &FsPath, options: &OpenOptions) -> Result<PlainDirectory> {
    if options.create {
        std::fs::create_dir_all(path).map_err(|e| {
            Error::Usage(format!(
                "cannot make the directory `{}`: {e}",
                path.display()
            ))
        })?;
    }
    if !path.exists() {
        return Err(Error::Store {
            action: format!("cannot open the store `{}`", path.display()),
            source: object_store::Error::NotFound {
                path: path.display().to_string(),
                source: "no such directory: create it, or check --store".into(),
            },
        });
    }
    if !path.is_dir() {
        return Err(Error::Usage(format!(
            "`{}` is not a directory: a store is a directory with one folder per tenant",
            path.display()
        )));
    }
    let action = || format!("cannot open the directory `{}`", path.display());
    // Without fsync, a power cut after a pass could leave a manifest that names a snapshot whose
    // bytes never reached the disk, its inputs deleted.
    let store = LocalFileSystem::new_with_prefix(path)
        .map_err(|e| Error::store(action(), e))?
        .with_fsync(true);
    PlainDirectory::new(store, path).map_err(|e| Error::local(action(), e))
}

async fn open_s3(
    bucket: &str,
    options: &OpenOptions,
    clock: Arc<dyn Clock>,
) -> Result<object_store::aws::AmazonS3> {
    install_crypto();
    let aws = credentials::load(&options.connection).await;
    let mut builder = s3_from_env().with_bucket_name(bucket);
    let region = aws.region().cloned().unwrap_or(credentials::DEFAULT_REGION);
    if !credentials::is_printable(region.as_ref()) {
        return Err(Error::Usage(
            "the AWS region holds characters that no region has: check AWS_REGION and the profile"
                .to_owned(),
        ));
    }
    builder = builder.with_region(region.as_ref());
    if let Some(provider) = aws.credentials_provider() {
        builder = builder.with_credentials(Arc::new(ChainCredentials::new(provider, clock)));
    }
    let mut client = ClientOptions::new().with_timeout(REQUEST_TIMEOUT);
    if let Some(endpoint) = credentials::endpoint(&aws, &options.connection)? {
        client = client.with_allow_http(endpoint.is_allowed());
        builder = builder.with_endpoint(endpoint.url());
    }
    builder = builder
        .with_client_options(client)
        .with_http_connector(PlainKeys::default());
    builder
        .build()
        .map_err(|e| Error::Usage(format!("cannot open s3://{bucket}: {e}")))
}

/// What the `AWS_…` variables say of a client, without the addresses, which
/// [`credentials::endpoint`] reads and checks. An empty variable is none.
fn s3_from_env() -> AmazonS3Builder {
    use object_store::aws::AmazonS3ConfigKey as Key;
    let given = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
    given
        .filter(|(name, value)| name.starts_with("AWS_") && !value.trim().is_empty())
        .filter_map(|(name, value)| Some((name.to_ascii_lowercase().parse::<Key>().ok()?, value)))
        .filter(|(key, _)| !matches!(key, Key::Endpoint | Key::S3Endpoint))
        .fold(AmazonS3Builder::new(), |builder, (key, value)| {
            builder.with_config(key, value)
        })
}

/// Chooses the TLS implementation for the HTTP client that object_store builds. The first choice of
/// a process stands.
pub(crate) fn install_crypto() {
    if rustls::crypto::CryptoProvider::get_default().is_none() {
        // An error means that another thread was first, with the same.
        let _ = rustls::crypto::ring::default_provider().install_default();
    }
}

fn open_cloud(scheme: &str, url: &Url) -> Result<Arc<dyn ObjectStore>> {
    // Other features may bring the clients along, untried.
    let (feature, built) = if scheme == "gs" {
        ("gcp", cfg!(feature = "gcp"))
    } else {
        ("azure", cfg!(feature = "azure"))
    };
    if !built {
        return Err(not_built_in(scheme, feature, url));
    }
    install_crypto();
    let timeout = format!("{} seconds", REQUEST_TIMEOUT.as_secs());
    let options =
        std::iter::once(("timeout".to_owned(), timeout)).chain(cloud_options(std::env::vars()));
    match object_store::parse_url_opts(url, options) {
        Ok((store, prefix)) => Ok(prefixed(Arc::from(store), prefix.as_ref())),
        Err(e) => Err(Error::Usage(format!(
            "cannot open `{url}`: {e}; check the URL and the environment"
        ))),
    }
}

/// What is said where a cloud is left out of a build.
pub fn not_built_in(scheme: &str, feature: &str, url: &Url) -> Error {
    Error::Usage(format!(
        "cannot open `{url}`: this icepack was built without `{scheme}://`: build it with \
         `--features {feature}`"
    ))
}

/// What the environment says of the clients of other clouds. object_store also understands names
/// without a prefix, such as `TOKEN`, `BUCKET` or `TIMEOUT`. Those may mean anything, so that only
/// the ones that the clouds' own platforms set are taken. An empty variable is none.
pub(crate) fn cloud_options(
    vars: impl Iterator<Item = (String, String)>,
) -> impl Iterator<Item = (String, String)> {
    let is_meant = |name: &str| {
        name.starts_with("azure_")
            || name.starts_with("google_")
            || ["identity_endpoint", "msi_endpoint", "service_account"].contains(&name)
    };
    vars.filter(|(_, value)| !value.trim().is_empty())
        .map(|(name, value)| (name.to_ascii_lowercase(), value))
        .filter(move |(name, _)| is_meant(name))
}

/// A key as object_store's path. Keys come from listings and from [`icepack_core::model::names`], so that
/// a failure means a damaged manifest.
///
/// # Errors
/// [`Error::Refused`] where `key` is not a plain relative key.
pub fn path(key: &str) -> Result<Path> {
    match Path::parse(key) {
        Ok(path) if path.as_ref() == key => Ok(path),
        _ => Err(Error::Refused(format!(
            "`{key}` is not a plain key: no store is asked for it"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Location {
        Location::parse(text).unwrap()
    }

    #[test]
    fn only_variables_of_a_cloud_configure_its_client() {
        let vars = [
            ("AZURE_STORAGE_ACCOUNT_NAME", "events"),
            ("GOOGLE_SERVICE_ACCOUNT", "/key.json"),
            ("IDENTITY_ENDPOINT", "http://localhost:42356/msi/token"),
            ("GOOGLE_BUCKET", " "),
            ("TOKEN", "of something else"),
            ("TIMEOUT", "1"),
            ("BUCKET", "another"),
        ];
        let vars = vars.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let taken: Vec<_> = cloud_options(vars.into_iter())
            .map(|(name, _)| name)
            .collect();
        assert_eq!(
            taken,
            [
                "azure_storage_account_name",
                "google_service_account",
                "identity_endpoint"
            ]
        );
    }

    #[test]
    fn addresses_are_understood() {
        assert_eq!(
            at("s3://b/p/q/"),
            Location::S3 {
                bucket: "b".into(),
                prefix: "p/q".into()
            }
        );
        assert_eq!(
            at("s3://b"),
            Location::S3 {
                bucket: "b".into(),
                prefix: String::new()
            }
        );
        assert_eq!(at("/data"), Location::Directory("/data".into()));
        assert_eq!(at("file:///data"), Location::Directory("/data".into()));
        assert_eq!(at("memory://"), Location::Memory);
        for bad in [
            "",
            "s3://",
            "s3:///x",
            "ftp://x",
            "file://host/x",
            "s3://b/../c",
        ] {
            assert!(Location::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn keys_are_shown_as_other_tools_open_them() {
        assert_eq!(
            at("s3://b/p").display("acme/x.parquet"),
            "s3://b/p/acme/x.parquet"
        );
        assert_eq!(
            at("s3://b").display("acme/x.parquet"),
            "s3://b/acme/x.parquet"
        );
        assert_eq!(
            at("/data/").display("acme/x.parquet"),
            "/data/acme/x.parquet"
        );
    }

    #[test]
    fn a_place_has_one_name() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap();
        std::fs::create_dir(root.join("cold")).unwrap();
        std::os::unix::fs::symlink(root.join("cold"), root.join("link")).unwrap();
        let within = |name: &str| format!("{}/{name}", root.display());
        for name in ["cold", "cold/", "hot/../cold", "link", "link/", "./cold"] {
            assert_eq!(at(&within(name)).canonical(), within("cold"), "{name}");
            assert!(is_same_place(&within(name), &within("cold")), "{name}");
        }
        assert_eq!(
            at(&format!("file://{}", within("cold/"))).canonical(),
            within("cold")
        );
        for (a, b) in [
            ("s3://b/p", "s3a://b/p/"),
            ("gs://b/p", "gs://b/%70/?x=1"),
            ("az://c/a%20b/", "az://c/a b"),
        ] {
            assert_eq!(at(a).canonical(), at(b).canonical(), "{a} {b}");
            assert!(is_same_place(a, b), "{a} {b}");
        }
        for (a, b) in [
            ("s3://b/p", "s3://b/q"),
            ("memory://a", "memory://b"),
            ("az://c/p", "gs://c/p"),
            ("/cold", "s3://cold"),
        ] {
            assert!(!is_same_place(a, b), "{a} {b}");
        }
        assert!(is_same_place("memory://a", "memory://a"));
    }

    #[test]
    fn an_archive_inside_the_store_or_around_it_overlaps() {
        for (a, b) in [
            ("s3://b/hot", "s3://b/hot"),
            ("s3://b", "s3://b/cold"),
            ("s3://b/hot/cold", "s3://b/hot"),
            ("/d/hot", "/d/hot/../hot/cold"),
            ("/d", "file:///d/"),
        ] {
            assert!(at(a).overlaps(&at(b)), "{a} {b}");
        }
        let cloud = [
            ("gs://b/hot", "gs://b/hot?x=1"),
            ("gs://b/hot", "gs://b/h%6ft/cold"),
            (
                "az://c/hot",
                "abfss://c@account.dfs.core.windows.net/hot/cold",
            ),
        ];
        // Neither exists: making the second makes `/none/x`, and then `/none/hot`.
        for (a, b) in cloud
            .into_iter()
            .chain([("/none/hot", "/none/x/../hot/cold")])
        {
            assert!(at(a).overlaps(&at(b)) && at(b).overlaps(&at(a)), "{a} {b}");
        }
        for (a, b) in [
            ("s3://b/hot", "s3://c/hot"),
            ("s3://b/hot", "s3://b/hotter"),
            ("/d/hot", "/d/cold"),
            ("/d", "s3://d"),
            ("/none/hot", "/none/hot/../cold"),
            ("gs://b/x", "az://b/x"),
        ] {
            assert!(!at(a).overlaps(&at(b)), "{a} {b}");
        }
    }
}
