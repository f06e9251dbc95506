//! `verify`: compares the store with its manifests, and the archive with its receipts.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use futures::{StreamExt, TryStreamExt, stream};
use object_store::ObjectStore;

use crate::TimeColumns;
use crate::error::{Error, ReadError, Result, Unread};
use crate::format::plural;
use crate::protocol::dating;
use crate::protocol::discover::{self, Looked};
use crate::store::is_same_place;
use icepack_core::model::file::{Listed, RowStats, Snapshot};
use icepack_core::model::inputs::{Left, Rules};
use icepack_core::model::inspect::{AsideKind, Finding, FindingKind, Severity, VerifyReport};
use icepack_core::model::manifest::{Manifest, Receipt};
use icepack_core::model::names::{self, Key, Tenant};
use icepack_core::model::report::SCHEMA_VERSION;
use icepack_core::model::same::shown;
use icepack_core::model::same::{Difference, is_kept};
use icepack_core::model::time_column::TimeColumn;
use icepack_core::plan::sweep::RetiredState;
use icepack_core::plan::{attention, commit, sweep};
use icepack_parquet::read_stats;

/// Objects looked at at once.
const AT_ONCE: usize = 8;

/// Bytes that a footer may take that is only asked for the column that dates its rows.
const FOOTER: u64 = 16 << 20;

/// What brings an object back that the store had.
const BRING_BACK: &str = "bring it back from a backup, or from an older version of the object \
                          (`aws s3api list-object-versions` shows them), then `icepack verify \
                          --deep --tenant TENANT`";

/// Looks at tenants.
#[derive(Debug, Clone)]
pub struct Verifier {
    pub store: Arc<dyn ObjectStore>,
    /// The cold one, if it is to be looked at too.
    pub archive: Option<Arc<dyn ObjectStore>>,
    /// As receipts call it, where that is known.
    pub place: Option<String>,
    /// What dates rows where no manifest and no receipt says it.
    pub time_columns: TimeColumns,
    /// Whether every row is read back.
    pub deep: bool,
    /// What counts as an input.
    pub rules: Rules,
}

/// One tenant's findings.
struct Findings<'a> {
    tenant: &'a Tenant,
    report: &'a mut VerifyReport,
}

impl Findings<'_> {
    /// `mend` may hold `TENANT`, for the tenant's name.
    fn add(
        &mut self,
        severity: Severity,
        kind: FindingKind,
        key: &str,
        what: impl Into<String>,
        mend: &str,
    ) {
        self.report.findings.push(Finding {
            tenant: self.tenant.to_string(),
            key: key.to_owned(),
            severity,
            kind,
            what: what.into(),
            mend: attention::for_tenant(mend, self.tenant),
        });
    }
}

impl Verifier {
    /// Verifies `tenants`.
    ///
    /// # Errors
    /// [`Error::Store`] where something cannot be listed or fetched for another reason than that it
    /// is not there.
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
            let mut findings = Findings {
                tenant,
                report: &mut report,
            };
            match discover::live_inventory(&self.store, tenant, &self.rules).await {
                Ok(Looked {
                    inventory: found,
                    left,
                    ..
                }) => {
                    foreign(&left, &mut findings);
                    let head = found.head.as_ref();
                    match head {
                        Some(head) => self.hot(head, &found.listing, &mut findings).await?,
                        None => no_manifest(tenant, &found.listing, &mut findings),
                    }
                    self.cold(head, &mut findings).await?;
                }
                Err(Error::Refused(why)) => findings.add(
                    Severity::Broken,
                    FindingKind::Manifest,
                    &names::manifest_dir(tenant),
                    why,
                    BRING_BACK,
                ),
                Err(e) => return Err(e),
            }
        }
        report
            .findings
            .sort_by(|a, b| (b.severity, &a.tenant, &a.key).cmp(&(a.severity, &b.tenant, &b.key)));
        Ok(report)
    }

    async fn hot(
        &self,
        head: &Manifest,
        listing: &[Listed],
        findings: &mut Findings<'_>,
    ) -> Result<()> {
        findings.report.snapshots += head.snapshots.len() as u64;
        let listed: BTreeMap<&str, &Listed> = listing.iter().map(|f| (f.key.as_str(), f)).collect();
        let unlisted = head
            .snapshots
            .iter()
            .map(|s| &s.key)
            .filter(|key| !listed.contains_key(key.as_str()))
            .cloned()
            .collect();
        let late = discover::present(&self.store, unlisted).await?;
        let strays: BTreeMap<&Key, &Listed> = sweep::strays(head, listing)
            .into_iter()
            .map(|(f, of)| (of, f))
            .collect();
        let mut readable = Vec::new();
        let mut is_whole = true;
        for s in &head.snapshots {
            let found = listed
                .get(s.key.as_str())
                .map(|l| (l.size, l.etag.as_deref()))
                .or_else(|| late.contains(&s.key).then_some((s.size, None)));
            match is_kept(s.size, s.etag.as_deref(), found) {
                Err(Difference::Missing) => {
                    is_whole = false;
                    let mend = match strays.get(&s.key) {
                        Some(f) => format!(
                            "move `{}` back to this name, then `icepack verify --tenant TENANT`",
                            f.key
                        ),
                        None => format!(
                            "if an older `_icepack/` was brought back, bring back the newest; \
                             else look for lifecycle rules or scripts that delete in this prefix; \
                             {BRING_BACK}"
                        ),
                    };
                    let what = format!(
                        "{} rows are missing: the manifest names this snapshot, the store does \
                         not have it",
                        s.stats.rows
                    );
                    findings.add(Severity::Broken, FindingKind::Missing, &s.key, what, &mend);
                }
                Err(Difference::Size(bytes)) => findings.add(
                    Severity::Broken,
                    FindingKind::Size,
                    &s.key,
                    format!(
                        "it has {bytes} bytes, the manifest says {}: it was cut off or replaced",
                        s.size
                    ),
                    BRING_BACK,
                ),
                Err(Difference::Tag) => {
                    findings.add(
                        Severity::Warning,
                        FindingKind::Tag,
                        &s.key,
                        "its ETag is not the one that was written: it was copied or replaced",
                        "`icepack verify --deep --tenant TENANT`: if the rows are right, nothing \
                         needs to be done",
                    );
                    readable.push(s);
                }
                Ok(()) => readable.push(s),
            }
        }
        if !commit::totals_balance(head) {
            findings.add(
                Severity::Broken,
                FindingKind::Books,
                &names::manifest_key(findings.tenant, head.version),
                format!(
                    "the books of the tenant's life do not balance: {:?}",
                    head.totals
                ),
                "please report this, with the manifests of the tenant",
            );
        }
        // That a file is no Parquet file is no finding.
        for q in attention::data(head) {
            findings.add(
                Severity::Warning,
                FindingKind::Quarantined,
                &q.key,
                format!(
                    "quarantined since {}: {}",
                    q.at.format("%Y-%m-%d"),
                    q.reason
                ),
                AsideKind::Quarantined.mend(),
            );
        }
        orphans(head, listing, is_whole, findings);
        retired(head, listing, findings);
        if self.deep {
            self.rows(&readable, findings).await?;
        }
        Ok(())
    }

    /// Reads every row of the snapshots back.
    async fn rows(&self, snapshots: &[&Snapshot], findings: &mut Findings<'_>) -> Result<()> {
        let snapshots: Vec<Snapshot> = snapshots.iter().copied().cloned().collect();
        let column = &self.time_columns.of(findings.tenant.as_str());
        let reads = stream::iter(snapshots).map(|s| async move {
            let stats = self.written(&s, column).await;
            (s, stats)
        });
        let mut reads = reads.buffered(AT_ONCE.min(2));
        while let Some((s, stats)) = reads.next().await {
            compare(&s.key, &s.stats, stats, findings)?;
        }
        Ok(())
    }

    /// The rows of a snapshot, by the column that dated them when it was written.
    async fn written(&self, s: &Snapshot, own: &TimeColumn) -> Result<RowStats> {
        let column = match &s.dated_by {
            None => dating::column(&self.store, &s.key, FOOTER).await?,
            told => told.clone(),
        };
        let known = column.is_some();
        let found = read_stats(
            Arc::clone(&self.store),
            s.key.clone(),
            s.size,
            column.as_deref().unwrap_or(own.as_str()),
        )
        .await?;
        // Where nobody knows which column the times are of, their difference says nothing.
        let same = RowStats {
            undated: s.stats.undated,
            min: s.stats.min,
            max: s.stats.max,
            ..found
        };
        Ok(if known { found } else { same })
    }

    /// Compares archive objects, receipts and what head still has to say about them.
    async fn cold(&self, head: Option<&Manifest>, findings: &mut Findings<'_>) -> Result<()> {
        let Some(archive) = &self.archive else {
            return Ok(());
        };
        let tenant = findings.tenant;
        let listing = discover::archived(archive.as_ref(), tenant).await?;
        let objects: BTreeMap<&str, u64> = listing
            .iter()
            .filter(|f| f.key.ends_with(".parquet"))
            .map(|f| (f.key.as_str(), f.size))
            .collect();
        let keys: Vec<_> = listing
            .iter()
            .filter(|f| f.key.ends_with(".receipt.json"))
            .map(|f| f.key.clone())
            .collect();
        let reads = stream::iter(keys).map(|key| async move {
            let receipt = discover::receipt(archive.as_ref(), &key).await?;
            Ok::<_, Error>((key, receipt))
        });
        let receipts: Vec<_> = reads.buffered(AT_ONCE).try_collect().await?;
        let (mut counted, mut rows) = (BTreeSet::new(), 0);
        for (key, receipt) in &receipts {
            match receipt {
                Ok(r) if r.is_of(tenant) && r.receipt_key() == *key => {
                    counted.insert(r.key.as_str());
                    rows += r.stats.rows;
                    self.archived(archive, r, &objects, findings).await?;
                }
                Ok(r) => {
                    let what = format!(
                        "it is the receipt of `{}` of tenant `{}`: somebody moved it",
                        r.key, r.tenant
                    );
                    findings.add(
                        Severity::Broken,
                        FindingKind::Misplaced,
                        key,
                        what,
                        "put it back under that object's name, then `icepack verify`",
                    );
                }
                Err(why) => {
                    findings.add(
                        Severity::Broken,
                        FindingKind::Unreadable,
                        key,
                        format!("the receipt cannot be read: {why}"),
                        BRING_BACK,
                    );
                }
            }
        }
        for r in head.map_or(&[][..], |m| &m.archives) {
            if counted.insert(&r.key) {
                rows += r.stats.rows;
                findings.add(
                    Severity::Note,
                    FindingKind::ReceiptDue,
                    &r.key,
                    "its receipt is not written yet",
                    "`icepack run --tenant TENANT` writes it",
                );
                self.archived(archive, r, &objects, findings).await?;
            }
        }
        if let Some(head) = head {
            self.balance(head, rows, findings);
        }
        for key in objects.keys().filter(|k| !counted.contains(*k)) {
            findings.add(
                Severity::Warning,
                FindingKind::NoReceipt,
                key,
                "an archive object without a receipt does not count: a run broke off before its \
                 commit, or somebody deleted the receipt",
                "if no row is missing (`icepack verify --deep --tenant TENANT`), its rows are in \
                 the store or in another object: delete it by hand if its cost matters",
            );
        }
        Ok(())
    }

    /// Holds the rows that this archive has, by its receipts and what head owes it, against those
    /// that were moved to it. It may be one of several.
    fn balance(&self, head: &Manifest, rows: u64, findings: &mut Findings<'_>) {
        let is_this = |place: &str| {
            self.place
                .as_deref()
                .is_some_and(|this| is_same_place(place, this))
        };
        let (here, elsewhere): (Vec<_>, Vec<_>) =
            head.archived.iter().partition(|(place, _)| is_this(place));
        let sum = |places: &[(&String, &u64)]| places.iter().map(|(_, rows)| **rows).sum::<u64>();
        let (here, elsewhere, all) = (sum(&here), sum(&elsewhere), head.totals.rows_archived);
        let name = self.place.as_deref().unwrap_or("this archive");
        let tenant = findings.tenant.to_string();
        let mut add = |severity, of: u64, where_else: &str| {
            let what = format!(
                "{} of {of} archived rows are missing from `{name}`: its receipts hold \
                 {rows}{where_else}",
                of - rows
            );
            findings.add(
                severity,
                FindingKind::Archived,
                &tenant,
                what,
                &format!("look for lifecycle rules that delete in the archive; {BRING_BACK}"),
            );
        };
        if rows < here {
            add(Severity::Broken, here, "");
        } else if self.place.is_some() && rows < all.saturating_sub(elsewhere) {
            // Older versions did not count by archive: where there was only this one, rows are
            // missing.
            add(
                Severity::Warning,
                all - elsewhere,
                "; those of an archive that was used before are not among them",
            );
        }
    }

    async fn archived(
        &self,
        archive: &Arc<dyn ObjectStore>,
        r: &Receipt,
        objects: &BTreeMap<&str, u64>,
        findings: &mut Findings<'_>,
    ) -> Result<()> {
        findings.report.archives += 1;
        // The archive may have changed the tag: a restore or a change of the storage class does.
        match is_kept(
            r.size,
            None,
            objects.get(r.key.as_str()).map(|size| (*size, None)),
        ) {
            Err(Difference::Missing) => findings.add(
                Severity::Broken,
                FindingKind::Missing,
                &r.key,
                format!(
                    "{} archived rows are missing: the object is not there",
                    r.stats.rows
                ),
                &format!("look for lifecycle rules that delete in the archive; {BRING_BACK}"),
            ),
            Err(Difference::Size(size)) => findings.add(
                Severity::Broken,
                FindingKind::Size,
                &r.key,
                format!("it has {size} bytes, the receipt says {}", r.size),
                BRING_BACK,
            ),
            Ok(()) if self.deep => {
                let own = self.time_columns.of(findings.tenant.as_str());
                let column = r.timestamp_column.as_deref().unwrap_or(own.as_str());
                let stats = read_stats(Arc::clone(archive), r.key.clone(), r.size, column)
                    .await
                    .map_err(Error::from);
                if let Err(e) = &stats
                    && e.unread()
                        .is_some_and(|(unread, _)| unread == Unread::Frozen)
                {
                    let thaw =
                        "nothing; `icepack restore --tenant TENANT --wait` thaws and reads it";
                    findings.add(
                        Severity::Note,
                        FindingKind::Frozen,
                        &r.key,
                        "it is frozen, its rows were not read",
                        thaw,
                    );
                    return Ok(());
                }
                compare(&r.key, &r.stats, stats, findings)?;
            }
            Ok(()) | Err(Difference::Tag) => {}
        }
        Ok(())
    }
}

/// What is somebody else's, and keeps passes from the tenant.
fn foreign(left: &Left, findings: &mut Findings<'_>) {
    for (whose, seen) in &left.foreign {
        let what = format!(
            "{}, {} in all: the tenant is left alone",
            whose.as_str(),
            plural(seen.files, "file")
        );
        let name = seen.names.first().map_or("", String::as_str);
        findings.add(
            Severity::Warning,
            FindingKind::Foreign,
            name,
            what,
            "move it out of the tenant's folder, or name it in `exclude`",
        );
    }
}

/// Outputs that head does not name. Where head is not whole, it is no evidence that they are of no
/// use.
fn orphans(head: &Manifest, listing: &[Listed], is_whole: bool, findings: &mut Findings<'_>) {
    for (id, f) in sweep::orphans(head, listing) {
        let left = "no manifest names it: left by a run that did not finish, or under way";
        let (severity, what, mend) = if !is_whole {
            let what = "the manifest names files that are missing, and not this one: it may hold \
                        the only copy of its rows";
            (
                Severity::Warning,
                what,
                "do not delete it: first mend what is missing, then `icepack verify --tenant \
                 TENANT`",
            )
        } else if id > head.commit_id {
            let what = "no manifest names it, and it is younger than the newest manifest: left by \
                        a run that did not finish, under way, or the manifest is an older one";
            let mend = "if an older `_icepack/` was brought back, bring back the newest before \
                        any pass, or give this file a name without `snapshot.`; else nothing: \
                        `icepack run --tenant TENANT` deletes it once it is older than \
                        sweep.orphan_grace, unless a run under way commits it";
            (Severity::Warning, what, mend)
        } else if id < head.floor {
            (
                Severity::Note,
                left,
                "nothing: the next pass deletes it, as `icepack run --tenant TENANT` does",
            )
        } else {
            let mend = "nothing: `icepack run --tenant TENANT` deletes it once it is older than \
                        sweep.orphan_grace, unless a run under way commits it";
            (Severity::Note, left, mend)
        };
        findings.add(severity, FindingKind::Orphan, &f.key, what, mend);
    }
    for (f, of) in sweep::strays(head, listing) {
        let what = format!(
            "it has the name of the live snapshot `{of}`, and lies elsewhere: no pass reads or \
             deletes it"
        );
        let mend = if is_whole {
            "delete it if nobody wants it"
        } else {
            "if it was moved, move it back, then `icepack verify --tenant TENANT`"
        };
        findings.add(Severity::Warning, FindingKind::Orphan, &f.key, what, mend);
    }
}

/// Files under the names of compacted ones that do not show their tags.
fn retired(head: &Manifest, listing: &[Listed], findings: &mut Findings<'_>) {
    for (r, state) in sweep::retired_states(head, listing) {
        match state {
            RetiredState::Waiting
            | RetiredState::Unlisted
            | RetiredState::Held
            | RetiredState::Appended(_) => {}
            RetiredState::Unsettled(f) => {
                let now = shown(f.etag.as_deref());
                let what = r.etag.as_deref().map_or_else(
                    || {
                        format!(
                            "a file of this name was compacted and is gone since {}, and there is \
                             one with ETag {now}",
                            r.at.format("%Y-%m-%d")
                        )
                    },
                    |then| {
                        format!(
                            "it was compacted with ETag {} and has {now} now: copied, or written \
                             again",
                            shown(Some(then))
                        )
                    },
                );
                findings.add(
                    Severity::Note,
                    FindingKind::SetAside,
                    &r.key,
                    what,
                    "nothing: `icepack run --tenant TENANT` compares its rows with those that \
                     were compacted",
                );
            }
            RetiredState::SetAside(f) => {
                findings.add(
                    Severity::Warning,
                    FindingKind::SetAside,
                    &r.key,
                    sweep::contested(&r, f.etag.as_deref()),
                    AsideKind::SetAside.mend(),
                );
            }
        }
    }
}

fn no_manifest(tenant: &Tenant, listing: &[Listed], findings: &mut Findings<'_>) {
    for f in listing.iter().filter(|f| names::is_output(tenant, &f.key)) {
        let (what, mend) = (
            "a snapshot, but the tenant has no manifest",
            "bring `_icepack/` back from where the snapshots came from, then `icepack verify \
             --tenant TENANT`",
        );
        findings.add(Severity::Broken, FindingKind::Manifest, &f.key, what, mend);
    }
}

/// Compares what was written with what was read.
fn compare(
    key: &str,
    said: &RowStats,
    read: Result<RowStats>,
    findings: &mut Findings<'_>,
) -> Result<()> {
    match read {
        Ok(found) => {
            findings.report.rows_read += found.rows;
            if found.rows != said.rows {
                let what = format!(
                    "it holds {} rows, and {} were written: it was replaced",
                    found.rows, said.rows
                );
                findings.add(
                    Severity::Broken,
                    FindingKind::RowCount,
                    key,
                    what,
                    BRING_BACK,
                );
            } else if found != *said {
                let what = format!(
                    "its {} rows are not the ones that were written: fingerprint {} instead of {}",
                    found.rows, found.fingerprint, said.fingerprint
                );
                findings.add(
                    Severity::Broken,
                    FindingKind::Content,
                    key,
                    what,
                    BRING_BACK,
                );
            }
            Ok(())
        }
        Err(Error::Read(ReadError::Input { reason, .. })) => {
            findings.add(
                Severity::Broken,
                FindingKind::Unreadable,
                key,
                format!("it cannot be read: {reason}"),
                BRING_BACK,
            );
            Ok(())
        }
        // Compacted between the listing and the read.
        Err(Error::Read(ReadError::Gone(_) | ReadError::Changed(_))) => Ok(()),
        Err(e) => Err(e),
    }
}
