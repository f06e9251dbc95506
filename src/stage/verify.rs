//! Does the store hold what head says, and the archive what its receipts say?

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use futures::{StreamExt, TryStreamExt, stream};
use object_store::ObjectStore;

use super::discover;
use crate::error::{Error, Result};
use crate::invariants::{Difference, is_kept};
use crate::model::file::{Listed, RowStats, Snapshot};
use crate::model::inspect::{Finding, Severity, VerifyReport};
use crate::model::manifest::{Manifest, Receipt};
use crate::model::names::{self, Tenant};
use crate::model::report::SCHEMA_VERSION;
use crate::parquet_io::read_stats;
use crate::plan::{commit, sweep};

/// Objects looked at at once.
const AT_ONCE: usize = 8;

/// Looks at tenants.
#[derive(Debug, Clone)]
pub struct Verifier {
    /// The hot store.
    pub store: Arc<dyn ObjectStore>,
    /// The cold one, if it is to be looked at too.
    pub archive: Option<Arc<dyn ObjectStore>>,
    /// The column that dates a row.
    pub timestamp_column: String,
    /// Whether every row is read back.
    pub deep: bool,
}

/// One tenant's findings.
struct Findings<'a> {
    tenant: &'a Tenant,
    report: &'a mut VerifyReport,
}

impl Findings<'_> {
    fn add(&mut self, severity: Severity, key: &str, what: impl Into<String>, mend: &str) {
        let (tenant, key) = (self.tenant.to_string(), key.to_owned());
        self.report.findings.push(Finding { tenant, key, severity, what: what.into(), mend: mend.to_owned() });
    }
}

impl Verifier {
    /// Verifies `tenants`.
    ///
    /// # Errors
    /// [`Error::Store`] where something cannot be listed or fetched for another reason than that it is not there.
    pub async fn verify(&self, tenants: &[Tenant]) -> Result<VerifyReport> {
        let mut report = VerifyReport {
            schema_version: SCHEMA_VERSION,
            deep: self.deep,
            tenants: tenants.len() as u64,
            snapshots: 0,
            archives: 0,
            rows_read: 0,
            findings: Vec::new(),
        };
        for tenant in tenants {
            let mut findings = Findings { tenant, report: &mut report };
            match discover::live_inventory(&self.store, tenant).await {
                Ok(found) => {
                    let head = found.head.as_ref();
                    match head {
                        Some(head) => self.hot(head, &found.listing, &mut findings).await?,
                        None => no_manifest(tenant, &found.listing, &mut findings),
                    }
                    self.cold(head, &mut findings).await?;
                }
                Err(Error::Refused(why)) => {
                    findings.add(Severity::Broken, &names::manifest_dir(tenant), why, "bring the manifest back from a backup or an older version of the object")
                }
                Err(e) => return Err(e),
            }
        }
        report.findings.sort_by(|a, b| (b.severity, &a.tenant, &a.key).cmp(&(a.severity, &b.tenant, &b.key)));
        Ok(report)
    }

    async fn hot(&self, head: &Manifest, listing: &[Listed], findings: &mut Findings<'_>) -> Result<()> {
        findings.report.snapshots += head.snapshots.len() as u64;
        let listed: BTreeMap<&str, &Listed> = listing.iter().map(|f| (f.key.as_str(), f)).collect();
        let mut readable = Vec::new();
        for s in &head.snapshots {
            let found = listed.get(s.key.as_str()).map(|l| (l.size, l.etag.as_deref()));
            match is_kept(s.size, s.etag.as_deref(), found) {
                Err(Difference::Missing) => findings.add(
                    Severity::Broken,
                    &s.key,
                    format!("{} rows are missing: the manifest names this snapshot, the store does not have it", s.stats.rows),
                    "bring the object back from a backup or an older version; look for lifecycle rules or scripts that delete in this prefix",
                ),
                Err(Difference::Size(bytes)) => findings.add(
                    Severity::Broken,
                    &s.key,
                    format!("it has {bytes} bytes, the manifest says {}", s.size),
                    "bring the object back from a backup or an older version",
                ),
                Err(Difference::Tag) => {
                    findings.add(
                        Severity::Warning,
                        &s.key,
                        "its ETag is not the one that was written: it was copied or replaced",
                        "run `icepack verify --deep`: if the rows are right, nothing needs to be done",
                    );
                    readable.push(s);
                }
                Ok(()) => readable.push(s),
            }
        }
        if !commit::totals_balance(head) {
            findings.add(
                Severity::Broken,
                &names::manifest_key(findings.tenant, head.version),
                format!("the books of the tenant's life do not balance: {:?}", head.totals),
                "please report this, with the manifests of the tenant",
            );
        }
        for q in &head.quarantined {
            findings.add(
                Severity::Warning,
                &q.key,
                format!("quarantined since {}: {}", q.at.format("%Y-%m-%d"), q.reason),
                "mend or replace the file (it is then tried again), or move it away",
            );
        }
        for (id, f) in sweep::orphans(head, listing) {
            let when = if id < head.floor {
                "the next pass deletes it"
            } else {
                "a pass deletes it once it is older than the orphan grace, unless a run under way commits it"
            };
            findings.add(Severity::Note, &f.key, "no manifest names it: left by a run that did not finish, or under way", when);
        }
        if self.deep {
            self.rows(&readable, findings).await?;
        }
        Ok(())
    }

    /// Reads every row of the snapshots back.
    async fn rows(&self, snapshots: &[&Snapshot], findings: &mut Findings<'_>) -> Result<()> {
        let snapshots: Vec<Snapshot> = snapshots.iter().copied().cloned().collect();
        let reads = stream::iter(snapshots).map(|s| async move {
            let stats = self.stats(Arc::clone(&self.store), s.key.clone(), s.size).await;
            (s, stats)
        });
        let mut reads = reads.buffered(AT_ONCE.min(2));
        while let Some((s, stats)) = reads.next().await {
            compare(&s.key, &s.stats, stats, findings)?;
        }
        Ok(())
    }

    async fn stats(&self, store: Arc<dyn ObjectStore>, key: String, size: u64) -> Result<RowStats> {
        read_stats(store, key, size, &self.timestamp_column).await
    }

    /// Compares archive objects, receipts and what head still has to say about them.
    async fn cold(&self, head: Option<&Manifest>, findings: &mut Findings<'_>) -> Result<()> {
        let Some(archive) = &self.archive else { return Ok(()) };
        let tenant = findings.tenant;
        let listing = discover::list(archive.as_ref(), tenant).await?;
        let objects: BTreeMap<&str, u64> = listing.iter().filter(|f| f.key.ends_with(".parquet")).map(|f| (f.key.as_str(), f.size)).collect();
        let keys: Vec<_> = listing.iter().filter(|f| f.key.ends_with(".receipt.json")).map(|f| f.key.clone()).collect();
        let reads = stream::iter(keys).map(|key| async move {
            let receipt = discover::receipt(archive.as_ref(), &key).await?;
            Ok::<_, Error>((key, receipt))
        });
        let receipts: Vec<_> = reads.buffered(AT_ONCE).try_collect().await?;
        let mut counted = BTreeSet::new();
        for (key, receipt) in &receipts {
            match receipt {
                Ok(r) if r.is_of(tenant) && r.receipt_key() == *key => {
                    counted.insert(r.key.as_str());
                    self.archived(archive, r, &objects, findings).await?;
                }
                Ok(r) => {
                    findings.add(Severity::Broken, key, format!("it is the receipt of `{}` of tenant `{}`", r.key, r.tenant), "somebody moved it: put it back")
                }
                Err(why) => {
                    findings.add(Severity::Broken, key, format!("the receipt cannot be read: {why}"), "bring it back from a backup or an older version")
                }
            }
        }
        for r in head.map_or(&[][..], |m| &m.archives) {
            if counted.insert(&r.key) {
                findings.add(Severity::Note, &r.key, "its receipt is not written yet", "the next pass writes it");
                self.archived(archive, r, &objects, findings).await?;
            }
        }
        for key in objects.keys().filter(|k| !counted.contains(*k)) {
            findings.add(
                Severity::Warning,
                key,
                "an archive object without a receipt does not count: a run broke off before its commit",
                "its rows are still in the store or in another object; delete it by hand if its cost matters",
            );
        }
        Ok(())
    }

    async fn archived(&self, archive: &Arc<dyn ObjectStore>, r: &Receipt, objects: &BTreeMap<&str, u64>, findings: &mut Findings<'_>) -> Result<()> {
        findings.report.archives += 1;
        // The archive may have changed the tag: a restore or a change of the storage class does.
        match is_kept(r.size, None, objects.get(r.key.as_str()).map(|size| (*size, None))) {
            Err(Difference::Missing) => findings.add(
                Severity::Broken,
                &r.key,
                format!("{} archived rows are missing: the object is not there", r.stats.rows),
                "bring it back from an older version; look for lifecycle rules that delete in the archive",
            ),
            Err(Difference::Size(size)) => {
                findings.add(Severity::Broken, &r.key, format!("it has {size} bytes, the receipt says {}", r.size), "bring it back from an older version")
            }
            Ok(()) if self.deep => {
                let stats = self.stats(Arc::clone(archive), r.key.clone(), r.size).await;
                if let Err(Error::Store { source, .. }) = &stats
                    && format!("{source:?}").contains("InvalidObjectState")
                {
                    findings.add(Severity::Note, &r.key, "it is frozen, its rows were not read", "restore it first to read it");
                    return Ok(());
                }
                compare(&r.key, &r.stats, stats, findings)?;
            }
            Ok(()) | Err(Difference::Tag) => {}
        }
        Ok(())
    }
}

fn no_manifest(tenant: &Tenant, listing: &[Listed], findings: &mut Findings<'_>) {
    for f in listing.iter().filter(|f| matches!(names::classify(tenant, &f.key), names::FileKind::Snapshot(_))) {
        findings.add(Severity::Broken, &f.key, "a snapshot, but the tenant has no manifest", "bring `_icepack/` back from where the snapshots came from");
    }
}

/// Compares what was written with what was read.
fn compare(key: &str, said: &RowStats, read: Result<RowStats>, findings: &mut Findings<'_>) -> Result<()> {
    match read {
        Ok(found) => {
            findings.report.rows_read += found.rows;
            if found != *said {
                findings.add(
                    Severity::Broken,
                    key,
                    format!("its rows are not the ones that were written: {found:?} instead of {said:?}"),
                    "bring the object back from a backup or an older version",
                );
            }
            Ok(())
        }
        Err(Error::Input { reason, .. }) => {
            findings.add(Severity::Broken, key, format!("it cannot be read: {reason}"), "bring the object back from a backup or an older version");
            Ok(())
        }
        // Compacted between the listing and the read.
        Err(Error::Gone(_)) => Ok(()),
        Err(e) => Err(e),
    }
}
