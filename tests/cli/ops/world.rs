//! A store and an archive in a directory of their own.

use std::path::PathBuf;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use object_store::local::LocalFileSystem;

use crate::support::{self, Event, Store};

/// The status and the body that an address answers with; none where nobody answers.
pub async fn get(url: &str) -> Option<(u16, String)> {
    // The first choice of a process stands.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let reply = reqwest::get(url).await.ok()?;
    Some((reply.status().as_u16(), reply.text().await.ok()?))
}

pub struct World {
    directory: tempfile::TempDir,
    pub store: Store,
}

impl World {
    pub fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let hot = directory.path().join("hot");
        std::fs::create_dir(&hot).unwrap();
        let store = Arc::new(LocalFileSystem::new_with_prefix(hot).unwrap());
        Self { directory, store }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub fn hot(&self) -> PathBuf {
        self.path("hot")
    }

    /// What tells a job where it is.
    pub fn envs(&self) -> Vec<(&'static str, String)> {
        vec![("ICEPACK_STORE", self.hot().display().to_string())]
    }

    pub async fn seed(
        &self,
        tenant: &str,
        files: usize,
        rows: usize,
        end: DateTime<Utc>,
    ) -> Vec<Event> {
        support::seed(&self.store, tenant, files, rows, end).await
    }

    pub async fn put(&self, key: &str, body: &'static [u8]) {
        support::put(&self.store, key, body).await;
    }
}
