//! Delivers metrics: to a file for the node exporter, and to a Pushgateway.

use std::fmt;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use url::Url;

use crate::error::{Error, Result};
use crate::store::install_crypto;
use icepack_core::model::shard::Shard;

/// The number of tenants with samples of their own, by default.
pub const MOST_TENANTS: usize = 50;

/// Where metrics go after a pass.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Targets {
    /// A file ending in `.prom`, for the node exporter's textfile collector.
    pub file: Option<PathBuf>,
    pub push: Option<Push>,
    /// Tenants with samples of their own, for each metric.
    pub most_tenants: usize,
}

impl Targets {
    /// Whether anybody wants metrics.
    pub fn is_empty(&self) -> bool {
        self.file.is_none() && self.push.is_none()
    }

    /// Hands `text` to all of them. One that fails is warned about: a pass is no worse for it.
    pub async fn deliver(&self, text: &str) {
        if let Some(file) = &self.file
            && let Err(e) = write_file(file, text)
        {
            tracing::warn!("{e}");
        }
        if let Some(push) = &self.push
            && let Err(e) = push.put(text).await
        {
            tracing::warn!("{e}");
        }
    }
}

/// Replaces the file in one step: whoever reads it never sees half of one.
///
/// # Errors
/// [`Error::Local`].
pub fn write_file(file: &Path, text: &str) -> Result<()> {
    let failed = |e: &dyn fmt::Display| {
        Error::local(
            format!("cannot write the metrics to `{}`", file.display()),
            format!("{e}; check metrics.file"),
        )
    };
    let directory = file
        .parent()
        .filter(|d| !d.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    if !directory.is_dir() {
        return Err(failed(&format_args!(
            "there is no directory `{}`",
            directory.display()
        )));
    }
    let mut builder = tempfile::Builder::new();
    // The collector, which is another user, reads what ends in .prom.
    builder.prefix(".icepack-").suffix(".tmp");
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o644));
    let mut temporary = builder.tempfile_in(directory).map_err(|e| failed(&e))?;
    temporary
        .write_all(text.as_bytes())
        .map_err(|e| failed(&e))?;
    temporary.persist(file).map_err(|e| failed(&e.error))?;
    Ok(())
}

/// A group of a Pushgateway. What is put replaces all that the group held.
#[derive(Clone, PartialEq, Eq)]
pub struct Push {
    url: Url,
    job: String,
    instance: String,
    shard: Shard,
    timeout: Duration,
}

impl fmt::Debug for Push {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Push")
            .field("url", &shown(&self.url))
            .field("job", &self.job)
            .field("instance", &self.instance)
            .finish()
    }
}

impl Push {
    /// Pushes to the group of `job`, `instance` and, where there are several, `shard`. A push that
    /// takes longer than `timeout` is given up.
    pub fn new(url: Url, job: &str, instance: &str, shard: Shard, timeout: Duration) -> Self {
        Self {
            url,
            job: job.to_owned(),
            instance: instance.to_owned(),
            shard,
            timeout,
        }
    }

    /// Replaces the group.
    ///
    /// # Errors
    /// [`Error::Local`].
    pub async fn put(&self, text: &str) -> Result<()> {
        let failed = |why: String| {
            Error::local(
                format!("cannot push the metrics to {}", shown(&self.url)),
                format!("{why}; check metrics.pushgateway"),
            )
        };
        install_crypto();
        let client = reqwest::Client::builder()
            .timeout(self.timeout)
            .build()
            .map_err(|e| failed(e.to_string()))?;
        let request = client
            .put(self.group())
            .header("content-type", "text/plain; version=0.0.4")
            .body(text.to_owned());
        // An error's own text would repeat the URL, and with it a password.
        let reply = request
            .send()
            .await
            .map_err(|e| failed(cause(&e.without_url())))?;
        let status = reply.status();
        if status.is_success() {
            return Ok(());
        }
        let why = reply.text().await.unwrap_or_default();
        Err(failed(format!(
            "it answered {status}: {}",
            why.trim().chars().take(300).collect::<String>()
        )))
    }

    fn group(&self) -> Url {
        let mut url = self.url.clone();
        let shard = if self.shard.is_part() {
            format!("/shard/{}-of-{}", self.shard.index, self.shard.count)
        } else {
            String::new()
        };
        let path = format!(
            "{}/metrics/{}/{}{shard}",
            url.path().trim_end_matches('/'),
            label("job", &self.job),
            label("instance", &self.instance)
        );
        url.set_path(&path);
        url
    }
}

/// A label of the group in the URL's path; what a path cannot hold as it is goes in as base64.
fn label(name: &str, value: &str) -> String {
    let plain = !value.is_empty()
        && value
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b))
        && !value.starts_with('.');
    if plain {
        return format!("{name}/{value}");
    }
    let encoded = URL_SAFE_NO_PAD.encode(value);
    format!(
        "{name}@base64/{}",
        if encoded.is_empty() { "=" } else { &encoded }
    )
}

/// The URL without its password.
pub fn shown(url: &Url) -> String {
    let mut url = url.clone();
    if url.password().is_some() && url.set_password(Some("***")).is_err() {
        return url.host_str().unwrap_or_default().to_owned();
    }
    url.to_string()
}

/// The innermost cause: those around it say that it was a request.
pub fn cause(error: &dyn std::error::Error) -> String {
    std::iter::successors(Some(error), |e| e.source())
        .last()
        .map(ToString::to_string)
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn push(url: &str, instance: &str, shard: Shard) -> Push {
        let timeout = Duration::from_millis(200);
        Push::new(
            Url::parse(url).unwrap(),
            "icepack",
            instance,
            shard,
            timeout,
        )
    }

    #[test]
    fn the_group_is_in_the_path() {
        let group = |url, instance, shard| push(url, instance, shard).group().to_string();
        assert_eq!(
            group("http://gate:9091", "prod", Shard::WHOLE),
            "http://gate:9091/metrics/job/icepack/instance/prod"
        );
        assert_eq!(
            group("http://gate/below/", "prod", Shard::new(1, 4).unwrap()),
            "http://gate/below/metrics/job/icepack/instance/prod/shard/1-of-4"
        );
        assert_eq!(
            group("http://gate", "s3://b/p", Shard::WHOLE),
            "http://gate/metrics/job/icepack/instance@base64/czM6Ly9iL3A"
        );
        assert_eq!(
            group("http://gate", "", Shard::WHOLE),
            "http://gate/metrics/job/icepack/instance@base64/="
        );
    }

    #[test]
    fn a_password_is_not_shown() {
        let push = push("http://me:hunter2@gate:9091", "prod", Shard::WHOLE);
        assert!(!format!("{push:?}").contains("hunter2"));
        assert_eq!(shown(&push.url), "http://me:***@gate:9091/");
    }

    #[tokio::test]
    async fn a_push_that_fails_says_where_and_not_the_password() {
        let push = push("http://me:hunter2@127.0.0.1:1", "prod", Shard::WHOLE);
        let text = push.put("").await.unwrap_err().to_string();
        assert!(
            text.starts_with("cannot push the metrics to http://me:***@127.0.0.1:1/: ")
                && text.ends_with("check metrics.pushgateway"),
            "{text}"
        );
        assert!(!text.contains("hunter2"), "{text}");
    }

    #[tokio::test]
    async fn a_push_without_an_answer_is_given_up() {
        // It takes connections, and nobody reads from them.
        let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", silent.local_addr().unwrap());
        let push = push(&url, "prod", Shard::WHOLE);
        let given_up = tokio::time::timeout(Duration::from_secs(5), push.put("")).await;
        let text = given_up.unwrap().unwrap_err().to_string();
        assert!(text.contains("timed out"), "{text}");
    }

    #[test]
    fn the_file_is_replaced_and_others_may_read_it() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("icepack.prom");
        write_file(&file, "old").unwrap();
        write_file(&file, "new").unwrap();
        assert_eq!(std::fs::read_to_string(&file).unwrap(), "new");
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
        #[cfg(unix)]
        assert_eq!(
            std::os::unix::fs::PermissionsExt::mode(
                &std::fs::metadata(&file).unwrap().permissions()
            ) & 0o777,
            0o644
        );
        let text = write_file(&dir.path().join("none/x.prom"), "")
            .unwrap_err()
            .to_string();
        assert!(
            text.contains("none/x.prom") && text.ends_with("check metrics.file"),
            "{text}"
        );
    }
}
