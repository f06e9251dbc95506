//! A store of more files than memory has room for: their keys are made when they are listed.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use chrono::{DateTime, Utc};
use icepack_dst::intercept::{InterceptStore, Kind, Page, Reply};
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{ListResult, ObjectMeta, ObjectStore};

const PAGE: usize = 1_000;

/// Files of one size and time in folders of tenants, in the order of their keys. What else is put
/// is kept in memory.
#[derive(Debug, Clone, Copy)]
pub struct Keys {
    pub tenants: usize,
    /// Of each tenant.
    pub folders: usize,
    /// Of each folder.
    pub files: usize,
    /// Size of a file in bytes.
    pub size: u64,
    pub modified: DateTime<Utc>,
}

impl Keys {
    /// The number of the files.
    pub fn count(&self) -> usize {
        self.tenants * self.folders * self.files
    }

    /// Such a store, and a counter of the keys that it lists.
    pub fn store(self) -> (Arc<dyn ObjectStore>, Arc<AtomicU64>) {
        let (inner, listed) = (Arc::new(InMemory::new()), Arc::<AtomicU64>::default());
        let counter = Arc::clone(&listed);
        let store = InterceptStore::new(inner as Arc<dyn ObjectStore>, move |request, call| {
            let counter = Arc::clone(&counter);
            async move {
                let below = request.key.as_ref().to_owned();
                match request.kind {
                    _ if below.starts_with("_icepack") => call.await,
                    Kind::List | Kind::Page => {
                        let page = self.page(&below, request.after.as_ref());
                        counter.fetch_add(page.entries.len() as u64, Ordering::Relaxed);
                        Ok(Reply::Page(page))
                    }
                    Kind::Folders if below.is_empty() => Ok(Reply::Folders(self.root())),
                    _ => call.await,
                }
            }
        });
        (Arc::new(store), listed)
    }

    fn key(&self, n: usize) -> String {
        let (folder, file) = (n / self.files, n % self.files);
        let (tenant, folder) = (folder / self.folders, folder % self.folders);
        let id = (n as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        format!("tenant-{tenant:06}/device={folder:06}/part-{file:06}-{id:016x}.parquet")
    }

    /// The first file whose key `is_behind`.
    fn first(&self, is_behind: impl Fn(&str) -> bool) -> usize {
        let (mut low, mut high) = (0, self.count());
        while low < high {
            let middle = usize::midpoint(low, high);
            if is_behind(&self.key(middle)) {
                high = middle;
            } else {
                low = middle + 1;
            }
        }
        low
    }

    fn page(&self, below: &str, after: Option<&Path>) -> Page {
        let below = if below.is_empty() {
            String::new()
        } else {
            format!("{below}/")
        };
        let start = match after {
            Some(after) => {
                let after: &str = after.as_ref();
                self.first(|key| *key > *after && *key >= *below)
            }
            None => self.first(|key| *key >= *below),
        };
        let mut entries = Vec::with_capacity(PAGE);
        let mut next = None;
        for n in start..self.count() {
            let key = self.key(n);
            if !key.starts_with(&below) {
                break;
            }
            if entries.len() == PAGE {
                next = Some(Path::from(self.key(n - 1)));
                break;
            }
            entries.push(Ok(ObjectMeta {
                location: Path::from(key),
                last_modified: self.modified,
                size: self.size,
                e_tag: Some(format!("\"{n:032x}\"")),
                version: None,
            }));
        }
        Page { entries, next }
    }

    fn root(&self) -> ListResult {
        let tenants = (0..self.tenants).map(|t| Path::from(format!("tenant-{t:06}")));
        ListResult {
            common_prefixes: tenants.collect(),
            objects: Vec::new(),
            extensions: object_store::Extensions::default(),
        }
    }
}

/// A line of `/proc/self/status` in MiB; none on other systems.
pub fn memory(line: &str) -> Option<f64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let kib = status.lines().find_map(|l| {
        l.strip_prefix(line)?
            .split_whitespace()
            .next()?
            .parse::<f64>()
            .ok()
    })?;
    Some(kib / 1_024.0)
}

/// Does `work`, and tells how many MiB it took at most beyond what there was.
pub async fn at_most<T>(work: impl Future<Output = T>) -> (T, Option<f64>) {
    // The highest mark is that of now from here on.
    let _ = std::fs::write("/proc/self/clear_refs", "5");
    let before = memory("VmRSS:");
    let done = work.await;
    let more = memory("VmHWM:").zip(before);
    (done, more.map(|(peak, before)| peak - before))
}
