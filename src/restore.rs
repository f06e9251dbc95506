//! Restores archived rows: **select → thaw → hold → copy → done**. It needs the archive alone: its
//! objects and receipts.
//!
//! The rows come back as raw files of a tenant and are compared with the receipts on the way. A hold
//! in that tenant's manifest is committed first. It names the files, keeps passes from taking them
//! before all are there, and keeps their rows from expiring at once. Re-running the command resumes
//! an interrupted restore and does nothing if it already finished.

mod rows;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use futures::{StreamExt, TryStreamExt, stream};
use object_store::ObjectStore;

use crate::TimeColumns;
use crate::archive::receipts::receipts;
use crate::archive::{ArchiveBackend, Stored};
use crate::clock::Clock;
use crate::error::{Error, Result};
use crate::pass::{Selection, StopHandle};
use crate::progress::TOLD;
use crate::protocol::commit::Committer;
use crate::protocol::discover;
use crate::protocol::preflight::preflight;
use crate::store::object_writer::upload::Destination;
use icepack_core::model::file::Micros;
use icepack_core::model::hold::{Hold, Restored};
use icepack_core::model::layout::{Layout, ONLY_TENANT};
use icepack_core::model::manifest::{Manifest, Observed, Receipt};
use icepack_core::model::names::{FileId, Key, Tenant};
use icepack_core::model::price::{Prices, STANDARD};
use icepack_core::model::report::SCHEMA_VERSION;
use icepack_core::model::restore::{
    ColdState, RestoreObject, RestoreReport, RestoreStatus, TenantRestore, Tier, Wanted,
};
use icepack_core::plan::restore::{self as plan, RestoreProgress};
use rows::Copying;

/// Objects looked at, or asked to be thawed, at once.
const AT_ONCE: usize = 16;

/// What to restore.
#[derive(Debug, Clone)]
pub struct RestoreRequest {
    pub selection: Selection,
    /// No row is older.
    pub from: Option<Micros>,
    /// Every row is older.
    pub to: Option<Micros>,
    /// The tenant that they come back as, where it is one tenant's; else each comes back as
    /// `restored-<tenant>`.
    pub into: Option<Tenant>,
    /// How objects are thawed.
    pub tier: Tier,
    /// How long thawed objects stay readable.
    pub days: u16,
    /// How long the rows do not expire again.
    pub hold: Duration,
    /// Waits until everything is thawed, looking this often.
    pub wait: Option<Duration>,
    /// Only looks.
    pub dry_run: bool,
    /// Once more, though the same rows were restored before and may still live.
    pub again: bool,
}

/// Restores from one archive into one store.
#[derive(Debug, Clone)]
pub struct Restorer {
    pub cold: Arc<dyn ArchiveBackend>,
    /// As receipts call it.
    pub archive: String,
    /// Where the rows go.
    pub store: Arc<dyn ObjectStore>,
    /// How files are put there.
    pub destination: Arc<dyn Destination>,
    /// As messages call it.
    pub into: String,
    /// Of both places.
    pub layout: Layout,
    /// What dates rows whose receipts do not say it.
    pub time_columns: TimeColumns,
    /// Bytes of memory for the data.
    pub memory: u64,
    /// What reading the archive costs.
    pub prices: Prices,
    pub clock: Arc<dyn Clock>,
    /// Stops it between two objects, and while it waits.
    pub stop: StopHandle,
}

/// One tenant's part.
struct Part<'a> {
    restorer: &'a Restorer,
    request: &'a RestoreRequest,
    run_id: FileId,
    /// Of every object of the tenant.
    all: Vec<Receipt>,
    /// Of those whose rows are wanted.
    receipts: Vec<Receipt>,
    report: &'a mut TenantRestore,
}

impl Restorer {
    /// Restores what `request` asks for. A tenant's own error is in the report.
    ///
    /// # Errors
    /// Where the archive cannot be listed, or the store breaks a promise that safety rests on.
    pub async fn run(&self, request: &RestoreRequest) -> Result<RestoreReport> {
        let tenants = self.tenants(request).await?;
        let run_id = self.clock.mint(FileId::NIL);
        if !request.dry_run {
            // A restore commits: the same store that a pass would refuse must not be used.
            preflight(&self.store, run_id).await?;
        }
        let mut report = RestoreReport {
            schema_version: SCHEMA_VERSION,
            archive: self.archive.clone(),
            into: self.into.clone(),
            from: request.from,
            to: request.to,
            tier: request.tier,
            currency: self.prices.currency.clone(),
            prices: String::new(),
            tenants: Vec::new(),
        };
        for tenant in tenants {
            report
                .tenants
                .push(self.tenant(tenant, request, run_id).await?);
        }
        let objects = report.tenants.iter().flat_map(|t| &t.objects);
        let class = objects.filter_map(|o| o.storage_class.as_deref()).next();
        report.prices = self.prices.origin(class.unwrap_or(STANDARD));
        Ok(report)
    }

    async fn tenants(&self, request: &RestoreRequest) -> Result<Vec<Tenant>> {
        let reader = self.cold.reader();
        let archived = discover::tenants(reader.as_ref(), &self.layout).await?;
        let archived = archived.tenants;
        // Of a tenant that is in the store, nothing has expired yet.
        if request.selection.missing(&archived).is_some() {
            let live = discover::tenants(self.store.as_ref(), &self.layout).await?;
            let known = [archived.as_slice(), live.tenants.as_slice()].concat();
            if let Some(name) = request.selection.missing(&known) {
                return Err(Error::Usage(format!(
                    "--tenant: there is no tenant `{name}`, neither in the archive {} nor in {}: \
                     a tenant has the name of its folder",
                    self.archive, self.into
                )));
            }
        }
        let found: Vec<Tenant> = archived
            .into_iter()
            .filter(|t| request.selection.includes(t))
            .collect();
        if request.into.is_some() && found.len() > 1 {
            let names: Vec<&str> = found.iter().map(Tenant::as_str).collect();
            return Err(Error::Usage(format!(
                "--as names one tenant, and {} are restored ({}): their rows would be mixed; \
                 restore them one by one",
                found.len(),
                names.join(", ")
            )));
        }
        Ok(found)
    }

    async fn tenant(
        &self,
        tenant: Tenant,
        request: &RestoreRequest,
        run_id: FileId,
    ) -> Result<TenantRestore> {
        let into = match &request.into {
            Some(into) => into.clone(),
            None => Tenant::parse(&format!("restored-{tenant}"))
                .map_err(|e| Error::Usage(format!("--as is needed: {e}")))?,
        };
        let into = into.within(&self.layout);
        if !into.has_place() {
            return Err(Error::Usage(format!(
                "no key is tenant `{into}`'s by layout = {:?}, so rows cannot be restored as it: {}",
                self.layout.as_str(),
                if self.layout.has_placeholder() {
                    "name another tenant with --as, like those that `icepack status` lists"
                        .to_owned()
                } else {
                    format!("say --as {ONLY_TENANT}, and another store with --into")
                }
            )));
        }
        let mut report = TenantRestore {
            tenant: tenant.clone(),
            into,
            status: RestoreStatus::Empty,
            error: None,
            objects: Vec::new(),
            hold: None,
            held_until: None,
            rows: 0,
            files: Vec::new(),
            bytes: 0,
            cost: 0.0,
        };
        let found = receipts(self.cold.reader().as_ref(), &tenant).await;
        let all = match found {
            Ok(found) => found.into_receipts(&tenant),
            Err(e) => return Ok(failed(report, &e)),
        };
        let receipts = plan::select(plan::distinct(all.clone()), request.from, request.to);
        let part = Part {
            restorer: self,
            request,
            run_id,
            all,
            receipts,
            report: &mut report,
        };
        match part.run(&tenant).await {
            Ok(()) => Ok(report),
            Err(e) => Ok(failed(report, &e)),
        }
    }
}

fn failed(report: TenantRestore, e: &Error) -> TenantRestore {
    if !matches!(e, Error::Stopped) {
        tracing::error!(target: TOLD, tenant = %report.tenant, "restore: {e}");
    }
    let status = if matches!(e, Error::Refused(_)) {
        RestoreStatus::Refused
    } else {
        RestoreStatus::Failed
    };
    TenantRestore {
        status,
        error: Some(e.to_string()),
        ..report
    }
}

impl Part<'_> {
    async fn run(mut self, tenant: &Tenant) -> Result<()> {
        if self.receipts.is_empty() {
            return Ok(());
        }
        self.head_objects().await?;
        let asked = Restored {
            archive: self.restorer.archive.clone(),
            tenant: tenant.clone(),
            from: self.request.from,
            to: self.request.to,
        };
        let head = discover::head(self.restorer.store.as_ref(), &self.report.into, 0).await?;
        // Known before anything is thawed, which costs money.
        match self.turn(head.as_ref(), &asked)? {
            None => return Ok(()),
            // Its objects may be others than those that would be chosen today.
            Some(Turn::GoOn(_)) => self.head_objects().await?,
            Some(Turn::Begin(_)) => {}
        }
        if self.request.dry_run {
            self.report.status = RestoreStatus::Planned;
            return Ok(());
        }
        self.thaw().await?;
        if !self.await_thaw().await? {
            self.report.status = RestoreStatus::Thawing;
            return Ok(());
        }
        let Some((head, hold)) = self.begin(asked).await? else {
            return Ok(());
        };
        self.copy(&hold).await?;
        self.finish(head, hold).await
    }

    /// Asks the archive for the state of each object.
    async fn head_objects(&mut self) -> Result<()> {
        let (cold, now) = (&self.restorer.cold, self.restorer.clock.now());
        let requests = Arc::default();
        let heads = stream::iter(&self.receipts).map(|r| cold.head(&r.key, &requests));
        let seen: Vec<_> = heads.buffered(AT_ONCE).try_collect().await?;
        let priced = |(r, seen): (&Receipt, Option<Stored>)| {
            let state = seen
                .as_ref()
                .map_or(ColdState::Missing, |stored| stored.state(now));
            // What the store does not tell, the receipt does.
            let class = seen
                .and_then(|stored| stored.class)
                .or_else(|| r.storage_class.clone().filter(|_| !cold.tells_attributes()));
            object(r, class, state, self.request, &self.restorer.prices)
        };
        self.report.objects = self.receipts.iter().zip(seen).map(priced).collect();
        // What is thawed already is paid for, and not counted again by a later look.
        if self.report.cost == 0.0 {
            self.report.cost = self.report.objects.iter().filter_map(|o| o.cost).sum();
        }
        match self
            .report
            .objects
            .iter()
            .find(|o| o.state == ColdState::Missing)
        {
            Some(o) => Err(Error::Refused(format!(
                "the archive object `{}` ({} rows) is not there, though its receipt is: bring it \
                 back from an older version; look for lifecycle rules that delete in the archive",
                o.key, o.rows
            ))),
            None => Ok(()),
        }
    }

    /// What there is to do, by the holds of the tenant that the rows go to. None where they are
    /// there already.
    fn turn(&mut self, head: Option<&Manifest>, asked: &Restored) -> Result<Option<Turn>> {
        let Some(head) = head else {
            return Ok(Some(Turn::Begin(Vec::new())));
        };
        match plan::progress(
            head,
            asked,
            self.receipts.clone(),
            self.request.again,
            self.restorer.clock.now(),
        ) {
            RestoreProgress::New(todo, again) => {
                self.narrow(todo);
                Ok(Some(Turn::Begin(again)))
            }
            RestoreProgress::Begun(hold) => {
                self.resume(&hold)?;
                Ok(Some(Turn::GoOn(hold)))
            }
            RestoreProgress::Overlaps(hold) => Err(overlapping(&self.report.into, &hold)),
            RestoreProgress::Done(hold) | RestoreProgress::Over(hold) => {
                self.report.status = RestoreStatus::Already;
                (self.report.hold, self.report.held_until) = (Some(hold.id), Some(hold.until));
                Ok(None)
            }
        }
    }

    /// Leaves out the objects whose rows were brought back before.
    fn narrow(&mut self, todo: Vec<Receipt>) {
        let before = self.receipts.len() - todo.len();
        if before > 0 {
            tracing::info!(tenant = %self.report.tenant, objects = before, "were restored before, and are left out");
            self.report
                .objects
                .retain(|o| todo.iter().any(|r| r.key == o.key));
            self.report.cost = self.report.objects.iter().filter_map(|o| o.cost).sum();
        }
        self.receipts = todo;
    }

    /// An attempt that broke off had chosen its objects: it goes on with the same, whatever the
    /// archive has got since.
    fn resume(&mut self, hold: &Hold) -> Result<()> {
        let chosen = hold.brings().unwrap_or_default();
        let newer = self
            .receipts
            .iter()
            .filter(|r| !chosen.contains(&r.id))
            .count();
        if newer > 0 {
            tracing::warn!(tenant = %self.report.tenant, objects = newer, "were archived after this restore began, and are not part of it: run the same command once more when this is done");
        }
        self.receipts = plan::select(
            self.all
                .iter()
                .filter(|r| chosen.contains(&r.id))
                .cloned()
                .collect(),
            None,
            None,
        );
        let files: BTreeSet<Key> = self
            .files(hold.id, &hold.files)
            .into_iter()
            .map(|w| w.file)
            .collect();
        let lost: Vec<&str> = hold
            .files
            .iter()
            .map(String::as_str)
            .filter(|f| !files.contains(*f))
            .collect();
        match lost.first() {
            None => Ok(()),
            Some(first) => Err(Error::Refused(format!(
                "a restore that broke off cannot go on: the receipts of {} of its {} archive \
                 objects are not there any more, the first for `{first}`; bring them back from \
                 older versions",
                lost.len(),
                hold.files.len()
            ))),
        }
    }

    fn files(&self, hold: FileId, recorded: &[Key]) -> Vec<Wanted> {
        plan::files(&self.report.into, hold, &self.receipts, recorded)
    }

    async fn thaw(&mut self) -> Result<()> {
        let frozen: Vec<_> = self
            .report
            .objects
            .iter_mut()
            .filter(|o| o.state == ColdState::Frozen)
            .collect();
        if frozen.is_empty() {
            return Ok(());
        }
        let (cold, tier, days) = (&self.restorer.cold, self.request.tier, self.request.days);
        tracing::info!(tenant = %self.report.tenant, objects = frozen.len(), tier = tier.name(), days, "asking for objects to be thawed");
        let asks = stream::iter(frozen).map(|o| async move {
            let tier = plan::tier_for(o.storage_class.as_deref().unwrap_or_default(), tier);
            cold.thaw(&o.key, tier, days).await?;
            o.state = ColdState::Thawing;
            Ok::<_, Error>(())
        });
        asks.buffer_unordered(AT_ONCE).try_collect().await
    }

    /// Whether everything can be read: now, or once it was waited for.
    async fn await_thaw(&mut self) -> Result<bool> {
        loop {
            let waiting = |objects: &[RestoreObject]| {
                objects
                    .iter()
                    .filter(|o| !matches!(o.state, ColdState::Readable { .. }))
                    .count()
            };
            if waiting(&self.report.objects) > 0 {
                self.head_objects().await?;
            }
            let left = waiting(&self.report.objects);
            let Some(poll) = self.request.wait.filter(|_| left > 0) else {
                return Ok(left == 0);
            };
            tracing::info!(tenant = %self.report.tenant, left, of = self.report.objects.len(), "waiting for objects to be thawed");
            self.pause(poll).await?;
        }
    }

    /// In short steps, so that a signal is heard.
    async fn pause(&self, poll: Duration) -> Result<()> {
        let step = Duration::from_millis(250).min(poll);
        let mut left = poll;
        while !left.is_zero() {
            if self.restorer.stop.is_stopped() {
                return Err(Error::Stopped);
            }
            tokio::time::sleep(step.min(left)).await;
            left = left.saturating_sub(step);
        }
        Ok(())
    }

    /// Commits the hold, or finds the one of an earlier attempt. None where another one was
    /// quicker.
    async fn begin(&mut self, asked: Restored) -> Result<Option<(Manifest, Hold)>> {
        let Restorer { store, clock, .. } = self.restorer;
        let into = self.report.into.clone();
        let committer = Committer::new(
            Arc::clone(store),
            into.clone(),
            Arc::clone(clock),
            self.run_id,
        );
        let head = match discover::head(store.as_ref(), &into, 0).await? {
            Some(head) => head,
            None => committer.begin().await?,
        };
        let again = match self.turn(Some(&head), &asked)? {
            None => return Ok(None),
            Some(Turn::GoOn(hold)) => {
                tracing::info!(tenant = %into, hold = %hold.id, "going on with a restore that broke off");
                return Ok(Some((head, hold)));
            }
            Some(Turn::Begin(again)) => again,
        };
        let id = clock.mint(FileId::NIL);
        let hold = Hold {
            id,
            restored: asked,
            oldest: plan::oldest(&self.receipts, self.request.from),
            until: self.until(clock.now()),
            objects: self.receipts.iter().map(|r| r.id).collect(),
            files: self.files(id, &[]).into_iter().map(|w| w.file).collect(),
            done: false,
        };
        let mut edit = committer.edit();
        (edit.hold, edit.again) = (Some(hold.clone()), again);
        let seen = Observed::since(&head);
        Ok(Some((committer.commit(head, &edit, seen).await?, hold)))
    }

    fn until(&self, now: DateTime<Utc>) -> DateTime<Utc> {
        TimeDelta::from_std(self.request.hold)
            .ok()
            .and_then(|hold| now.checked_add_signed(hold))
            .unwrap_or(DateTime::<Utc>::MAX_UTC)
    }

    async fn copy(&mut self, hold: &Hold) -> Result<()> {
        for w in self.files(hold.id, &hold.files) {
            if self.restorer.stop.is_stopped() {
                return Err(Error::Stopped);
            }
            let (from, to) = (self.request.from, self.request.to);
            let written = Copying {
                restorer: self.restorer,
                wanted: &w,
                from,
                to,
            }
            .run()
            .await?;
            if let Some((rows, bytes)) = written {
                tracing::info!(tenant = %self.report.into, file = w.file, rows, "restored");
                self.report.rows += rows;
                self.report.bytes += bytes;
                self.report.files.push(w.file);
            }
        }
        Ok(())
    }

    /// Commits that everything is there.
    async fn finish(&mut self, head: Manifest, hold: Hold) -> Result<()> {
        let Restorer { store, clock, .. } = self.restorer;
        let committer = Committer::new(
            Arc::clone(store),
            self.report.into.clone(),
            Arc::clone(clock),
            self.run_id,
        );
        let mut edit = committer.edit();
        let until = self.until(clock.now());
        (self.report.hold, self.report.held_until) = (Some(hold.id), Some(until));
        edit.hold = Some(Hold {
            done: true,
            until,
            ..hold
        });
        let seen = Observed::since(&head);
        committer.commit(head, &edit, seen).await?;
        self.report.status = RestoreStatus::Done;
        Ok(())
    }
}

/// How a restore goes on.
enum Turn {
    /// With a hold of its own; these, which are over, brought rows that it knowingly brings again.
    Begin(Vec<FileId>),
    /// With the hold of an attempt that broke off.
    GoOn(Hold),
}

/// Two restores of one row would make two rows of it.
fn overlapping(into: &Tenant, hold: &Hold) -> Error {
    let at = |t: Option<Micros>, none: &str| t.map_or_else(|| none.to_owned(), |t| t.to_string());
    let (from, to) = (
        at(hold.restored.from, "the beginning"),
        at(hold.restored.to, "the end"),
    );
    let state = if hold.done {
        "were restored before"
    } else {
        "are being restored: finish that first, by the same command"
    };
    Error::Usage(format!(
        "rows of {} from {from} to {to} {state}, into tenant {into}; restore what lies outside \
         that range, or use --as to bring all of it back as another tenant; once its hold is \
         over, --again brings the rows once more",
        hold.restored.tenant
    ))
}

fn object(
    receipt: &Receipt,
    storage_class: Option<String>,
    state: ColdState,
    request: &RestoreRequest,
    prices: &Prices,
) -> RestoreObject {
    let class = storage_class.as_deref().unwrap_or(STANDARD);
    let tier = plan::tier_for(class, request.tier);
    let frozen = matches!(state, ColdState::Frozen | ColdState::Thawing);
    RestoreObject {
        key: receipt.key.clone(),
        size: receipt.size,
        rows: receipt.stats.rows,
        from: receipt.stats.min,
        to: receipt.stats.max,
        state,
        tier: frozen.then_some(tier),
        thaw_minutes: plan::thaw_minutes(class, tier).filter(|_| frozen),
        cost: plan::cost(
            prices,
            class,
            receipt.size,
            frozen.then_some((tier, request.days)),
        ),
        storage_class,
    }
}
