//! What others do to a table, and what is known of it without publishing.

use std::collections::BTreeSet;
use std::sync::Arc;

use object_store::ObjectStore;

use icepack_core::model::file::Listed;
use icepack_core::model::names::{DELTA_LOG, Tenant};
use icepack_core::model::plan::Inventory;
use icepack_core::model::publish::{Layout, Place, PublishReport};
use icepack_core::plan::publish as plan;
use icepack_parquet::Error as ReadError;

use super::table::{self, Change, Table};
use super::{Error, MAX_ROUNDS, Publisher, Result, SharedLog, log, stranger};

impl<L> Publisher<L> {
    /// That nobody else has taken files out of the table that are still there.
    pub(super) async fn check_strangers(
        &self,
        log: &log::Log,
        inventory: &Inventory,
    ) -> Result<(), L> {
        let strangers = log::strangers(&self.store, &self.place.log(), log).await?;
        let prefix = self.place.prefix();
        let there: BTreeSet<&str> = inventory.listing.iter().map(|f| f.key.as_str()).collect();
        for stranger in strangers.iter().rev() {
            let (mut kept, mut first) = (0, None);
            for path in &stranger.removed {
                let key = format!("{prefix}{path}");
                // A file that is gone may leave the table: that mends it.
                if there.contains(key.as_str())
                    || (!self.place.tenant.owns(&key) && log::exists(&self.store, &key).await?)
                {
                    kept += 1;
                    first.get_or_insert(path);
                }
            }
            let Some(first) = first else { continue };
            let log = self.place.log();
            let told = stranger.told(&prefix, first, kept, &log);
            return Err(self.refused(&told));
        }
        Ok(())
    }

    /// That the table is one of ours, and shows what icepack keeps.
    ///
    /// # Errors
    /// As [`Self::publish`].
    pub async fn check(&self) -> Result<(), L> {
        let mut cache = self.log.0.lock().await;
        let log = log::fetch(&self.store, &self.place.log(), &mut cache).await?;
        if log.files.is_empty() {
            return Ok(());
        }
        self.opened(&log, |_| Ok(())).await?;
        let inventory = (self.live)().await.map_err(Error::Live)?;
        self.check_strangers(&log, &inventory).await
    }

    /// Whether the table is known to show `inventory`, so that there is nothing to publish: by its
    /// newest version alone, which costs a GET where `ours` shows the log; in a shared table, by
    /// what was read of it before, too, which costs a LIST. Anything that goes wrong says no:
    /// whoever publishes finds out.
    pub async fn is_current(&self, inventory: &Inventory, ours: &[Listed]) -> bool {
        let Ok(wanted) = plan::wanted(&self.place.tenant, inventory) else {
            return false;
        };
        let digest = plan::digest(&wanted, self.publish.keep);
        let apps = [
            table::app_digest(&self.place),
            table::app_manifest(&self.place),
        ];
        let found = match self.place.layout {
            Layout::PerTenant => match log::newest(&self.store, &self.place.log(), ours).await {
                Ok(Some(newest)) => apps.map(|id| stranger::application(&newest, &id)),
                _ => return false,
            },
            Layout::Shared => match self.told(&apps).await {
                Some(found) => found,
                None => return false,
            },
        };
        let [known, manifest] = found;
        let head = inventory.head.as_ref();
        // What head retired may go only once no head before it can be published.
        let is_newest = head.is_none_or(|m| m.retired.is_empty() || manifest == Some(m.version));
        is_newest && known == Some(digest)
    }

    /// What applications say in a shared table; none where somebody else wrote to it, or it cannot be
    /// read.
    async fn told(&self, apps: &[String; 2]) -> Option<[Option<u64>; 2]> {
        let mut cache = self.log.0.lock().await;
        let folder = self.place.log();
        let log = log::fetch(&self.store, &folder, &mut cache).await.ok()?;
        let strangers = log::strangers(&self.store, &folder, &log).await.ok()?;
        let [first, second] = apps.clone();
        let ask =
            move |table: &Table| Ok([table.application(&first)?, table.application(&second)?]);
        match self.opened(&log, ask).await {
            Ok((_, found)) if strangers.is_empty() => Some(found),
            _ => None,
        }
    }

    /// Takes a tenant that is no more out of a shared table: its files are gone, and readers of the
    /// other tenants would fail at them.
    ///
    /// # Errors
    /// As [`Self::publish`].
    pub async fn leave(&self) -> Result<PublishReport, L> {
        let mut report = PublishReport::default();
        let mut cache = self.log.0.lock().await;
        for _ in 0..MAX_ROUNDS {
            let log = log::fetch(&self.store, &self.place.log(), &mut cache).await?;
            let strangers = log::strangers(&self.store, &self.place.log(), &log).await?;
            if strangers.iter().any(|s| !s.removed.is_empty()) {
                // Those who look at it refuse, and must not find a version of ours on top.
                return Ok(report);
            }
            let (table, published) = self.opened(&log, Table::published).await?;
            let change = Change {
                remove: published.files.into_keys().collect(),
                data_change: true,
                ..Change::default()
            };
            if change.remove.is_empty() {
                return Ok(report);
            }
            let removed = change.remove.len() as u64;
            if self.put(table, change, &mut report).await?.is_some() {
                report.files_removed += removed;
                return Ok(report);
            }
        }
        Err(self.too_often())
    }
}

/// The tenants whose files a shared table names, as far as `tenant_of` knows them.
///
/// # Errors
/// Of the store; where the table cannot be read, in a sentence.
pub async fn tenants(
    store: &Arc<dyn ObjectStore>,
    log: &SharedLog,
    tenant_of: impl Fn(&str) -> Option<Tenant>,
) -> icepack_parquet::Result<BTreeSet<Tenant>> {
    let mut cache = log.0.lock().await;
    let found = log::fetch(store, DELTA_LOG, &mut cache).await?;
    // The table is the same, whoever asks.
    let Some(place) = Tenant::parse("all").ok().map(|tenant| Place {
        tenant,
        layout: Layout::Shared,
    }) else {
        return Ok(BTreeSet::new());
    };
    let work = move || {
        let table = Table::open(place, found.files)?;
        if table.foreign().is_some() {
            return Ok(Vec::new());
        }
        table.all_files()
    };
    let failed = |why| ReadError::local("cannot read the shared table", why);
    let files = tokio::task::spawn_blocking(work)
        .await
        .map_err(|e| ReadError::local("cannot read the shared table", e))?
        .map_err(failed)?;
    Ok(files.iter().filter_map(|key| tenant_of(key)).collect())
}
