//! What a manager reports without changing anything: plans, status and the live view.

use std::sync::Arc;

use futures::{StreamExt, TryStreamExt, stream};
use object_store::ObjectStore;
use tracing::Instrument;

use super::manager::CompactionManager;
use super::outcome::failure;
use super::scan::{Extent, SCANS_AT_ONCE, TenantListing, TenantScan};
use super::{Selection, broke_off, footers, publish};
use crate::budget::Budget;
use crate::error::{Error, Result};
use crate::inspect::doctor::{self, Doctor};
use crate::inspect::verify::Verifier;
use crate::page::{self, Labels};
use crate::protocol::{discover, runs};
use crate::store::html;
use icepack_core::model::inspect::{
    Check, DoctorReport, Failure, Health, LastError, LastRun, LiveView, Overview, PlanReport,
    StatusReport, TenantStatus, VerifyReport,
};
use icepack_core::model::manifest::Manifest;
use icepack_core::model::names::Tenant;
use icepack_core::model::plan::Plan;
use icepack_core::model::price::STANDARD;
use icepack_core::model::record::RunRecord;
use icepack_core::model::report::SCHEMA_VERSION;
use icepack_core::plan::intake::Keep;
use icepack_core::plan::money::{self, Pricing};
use icepack_core::plan::{attention, expiry, live, shard, status};

/// Records that the report shows: all that are kept.
const RUNS_SHOWN: usize = 200;

impl CompactionManager {
    /// The plan of what [`Self::run_pass`] would do now. Nothing is written.
    ///
    /// # Errors
    /// [`Error::Store`] where the root cannot be listed. A tenant's own error is in the report.
    pub async fn plan(&self, selection: &Selection) -> Result<PlanReport> {
        self.check_store().await?;
        let TenantListing {
            tenants,
            refused,
            root,
            mut unmatched,
            ..
        } = self.own_tenants(selection).await?;
        if selection.is_all() {
            let beside = discover::beside(self.store.as_ref(), &self.config.layout);
            unmatched.extend(beside.await?);
        } else {
            unmatched.clear();
        }
        let rules = self.config.input_rules();
        unmatched.retain(|folder| rules.sees(folder.trim_end_matches('/')));
        let spread = self.spread().await?;
        let scans = tenants
            .into_iter()
            .filter(|t| self.scans(t, &spread))
            .map(|tenant| {
                let (manager, name, is_spread) =
                    (self.clone(), tenant.clone(), spread.contains(&tenant));
                let planned = async move { manager.plan_one(&tenant, is_spread).await };
                // A task of its own: planning is work for every core.
                let task = tokio::spawn(planned.in_current_span());
                async move {
                    let planned = task.await.unwrap_or_else(|e| Err(broke_off(e)));
                    planned.map_err(|e| failure(&name, &e))
                }
            });
        let (plans, mut failures) = found_and_failed(scans).await;
        failures.extend(refused.into_iter().map(|r| Failure {
            tenant: r.tenant,
            status: r.status,
            error: r.error.unwrap_or_default(),
        }));
        Ok(PlanReport {
            schema_version: SCHEMA_VERSION,
            plans,
            prices: self.config.prices.clone(),
            failures,
            root,
            unmatched,
        })
    }

    async fn plan_one(&self, tenant: &Tenant, spread: bool) -> Result<Plan> {
        let budget = Budget::of(self.config.memory_limit);
        let TenantScan {
            inventory,
            mut plan,
            ..
        } = self
            .scan(&self.store, tenant, budget, Extent::Whole)
            .await?;
        self.check_dates(&plan, inventory.head.as_ref(), budget)
            .await?;
        // So is a table that somebody else has made or changed.
        for follower in publish::followers(self, &self.store, tenant) {
            if let Err(refused @ Error::Refused(_)) = follower.check().await {
                return Err(refused);
            }
        }
        let survey = self.survey(&self.store, &plan, budget).await;
        let policy = self.config.policy_for(tenant.as_str());
        plan.expiry = expiry::of(&plan, inventory.head.as_ref(), &survey, &policy);
        let spread = spread || shard::is_giant(&plan);
        // What this shard does is what it costs.
        let mut plan = shard::share(plan, self.config.shard, spread);
        let archive = self.config.archive.as_ref();
        let pricing = Pricing {
            prices: &self.config.prices,
            class: archive.and_then(|a| a.storage_class()).unwrap_or(STANDARD),
            copies: archive.is_some_and(|a| a.copies()),
        };
        plan.estimate = Some(money::estimate(&plan, &policy, &pricing));
        Ok(plan)
    }

    /// What a pass would refuse is no plan: where no row of the tenant was ever dated, and no file
    /// can be, the setting is wrong.
    async fn check_dates(
        &self,
        plan: &Plan,
        head: Option<&Manifest>,
        budget: Budget,
    ) -> Result<()> {
        let column = &self
            .config
            .policy_for(plan.tenant.as_str())
            .timestamp_column;
        if head.is_some_and(|head| head.has_dated(column.as_str())) {
            return Ok(());
        }
        let limit = budget.prescan / (SCANS_AT_ONCE * footers::DATED_AT_ONCE) as u64;
        match footers::undatable(&self.store, plan, column, limit, self.clock.now()).await {
            Some((key, why)) => Err(Error::Usage(format!(
                "no file of tenant `{}` can be dated, and a pass would fail: in `{key}`, {why}",
                plan.tenant
            ))),
            None => Ok(()),
        }
    }

    /// How the tenants stand.
    ///
    /// # Errors
    /// [`Error::Store`] where the root or the run records cannot be read. A tenant's own error is
    /// in the report.
    pub async fn status(&self, selection: &Selection) -> Result<StatusReport> {
        let tenants = self.selected(selection).await?;
        let scans = tenants.into_iter().map(|tenant| async move {
            let rules = self.config.input_rules();
            let found = discover::inventory(self.store.as_ref(), &tenant, &rules, Keep::All);
            let found = found.await.map_err(|e| failure(&tenant, &e))?;
            let policy = self.config.policy_for(tenant.as_str());
            Ok(TenantStatus {
                left_alone: found.left,
                ..status::of(&tenant, &found.inventory, &policy, self.clock.now())
            })
        });
        let (tenants, failures) = found_and_failed(scans).await;
        let runs = runs::summary(self.store.as_ref(), self.clock.now()).await?;
        let short = |record: Option<RunRecord>| record.as_ref().map(LastRun::from);
        Ok(StatusReport {
            schema_version: SCHEMA_VERSION,
            tenants,
            failures,
            last_errors: of_selected(runs.errors, selection),
            last_run: short(runs.last),
            last_success: short(runs.success),
            last_failure: short(runs.failure),
        })
    }

    /// How the tenants stand and what the last passes did: what [`crate::page::html`] draws. Costs
    /// a look at each tenant, and a GET for each record.
    ///
    /// # Errors
    /// As [`Self::status`].
    pub async fn overview(&self, selection: &Selection) -> Result<Overview> {
        let StatusReport {
            schema_version,
            tenants,
            failures,
            ..
        } = self.status(selection).await?;
        let runs = runs::recent(self.store.as_ref(), RUNS_SHOWN, self.clock.now()).await?;
        Ok(Overview {
            schema_version,
            at: self.clock.now(),
            is_part: !selection.is_all(),
            prices: self.config.prices.clone(),
            tenants,
            failures,
            last_errors: of_selected(attention::last_errors(&runs), selection),
            runs,
        })
    }

    /// Draws the report of all tenants and puts it into the store, as [`crate::page::KEY`]. It
    /// takes the place of the one before: nothing reads it but people.
    ///
    /// # Errors
    /// As [`Self::overview`], and where it cannot be put.
    pub async fn publish_report(&self, labels: &Labels) -> Result<()> {
        let html = page::html(&self.overview(&Selection::all()).await?, labels)?;
        html::page(self.store.as_ref(), page::KEY, html).await
    }

    /// What a reader should read, by tenant: every row once, at one version. Of a tenant with
    /// somebody else's state, no files and why.
    ///
    /// # Errors
    /// Of the store; [`Error::Conflict`] where a tenant is committed to without pause.
    pub async fn live_views(&self, selection: &Selection) -> Result<Vec<LiveView>> {
        let tenants = self.selected(selection).await?;
        let scans = stream::iter(tenants).map(|tenant| async move {
            let mut found =
                discover::live_inventory(&self.store, &tenant, &self.config().input_rules())
                    .await?;
            // Readers ask for times by the column that dates a row now.
            let column = &self.config().policy_for(tenant.as_str()).timestamp_column;
            if let Some(head) = &mut found.inventory.head {
                for s in &mut head.snapshots {
                    s.stats = s.stats_by(column);
                }
                head.adopted.retain(|a| a.dated_by == column.as_str());
            }
            let view = live::view(&tenant, &found.inventory);
            let mut refused = found
                .left
                .refusal(&tenant)
                .filter(|_| found.left.misleads(found.inventory.head.is_some()));
            for follower in publish::followers(self, &self.store, &tenant) {
                if let (None, Err(Error::Refused(why))) = (&refused, follower.check().await) {
                    refused = Some(why);
                }
            }
            Ok::<LiveView, Error>(if refused.is_some() {
                LiveView {
                    files: Vec::new(),
                    refused,
                    ..view
                }
            } else {
                view
            })
        });
        scans.buffered(SCANS_AT_ONCE).try_collect().await
    }

    /// Whether store and archive hold what the heads say; `deep` reads every row back.
    ///
    /// # Errors
    /// Of the store. What is wrong with the data is in the report.
    pub async fn verify(&self, selection: &Selection, deep: bool) -> Result<VerifyReport> {
        let tenants = self.selected(selection).await?;
        self.check_archive().await?;
        let verifier = Verifier {
            store: Arc::clone(&self.store),
            archive: self.archive_reader().await?,
            place: self
                .config()
                .archive
                .as_ref()
                .map(|archive| archive.description()),
            time_columns: self.config().time_columns(),
            deep,
            rules: self.config().input_rules(),
        };
        verifier.verify(&tenants).await
    }

    /// Whether store and archive keep the promises that safety rests on. Writes and removes probes
    /// under `_icepack/_probe/`.
    ///
    /// # Errors
    /// Where the archive cannot be opened. What fails is in the report.
    pub async fn doctor(&self) -> Result<DoctorReport> {
        let (target, reader) = (self.config.archive.as_ref(), self.archive_reader().await?);
        let probe = |store: &Arc<dyn ObjectStore>, name| Doctor {
            store: Arc::clone(store),
            target: name,
            storage_class: target.and_then(|a| a.storage_class().map(str::to_owned)),
            clock: Arc::clone(&self.clock),
        };
        let mut checks = probe(&self.store, "store").examine_store().await;
        checks.extend(self.check_names().await);
        if let Some(reader) = &reader {
            checks.extend(probe(reader, "archive").examine_archive().await);
        }
        Ok(doctor::report(checks))
    }

    /// Whether a directory can hold the files of every tenant.
    async fn check_names(&self) -> Option<Check> {
        self.staged
            .store
            .as_ref()
            .or(self.staged.archive.as_ref())?;
        // That it cannot be listed is found by another check.
        let found = discover::tenants(self.store.as_ref(), &self.config.layout)
            .await
            .ok()?;
        let refused = found.tenants.iter().filter_map(|t| self.staged.refuses(t));
        let refused: Vec<String> = refused.collect();
        let (health, detail) = match refused.as_slice() {
            [] => (
                Health::Good,
                "every tenant's name is short enough for a directory".to_owned(),
            ),
            [one] => (Health::Bad, one.clone()),
            [first, others @ ..] => (
                Health::Bad,
                format!("{first} ({} more such names)", others.len()),
            ),
        };
        Some(Check {
            target: "store".to_owned(),
            name: "names".to_owned(),
            health,
            detail,
        })
    }

    async fn archive_reader(&self) -> Result<Option<Arc<dyn ObjectStore>>> {
        match &self.config.archive {
            Some(archive) => archive.reader().await,
            None => Ok(None),
        }
    }

    /// The tenants that `selection` includes.
    async fn selected(&self, selection: &Selection) -> Result<Vec<Tenant>> {
        self.check_store().await?;
        Ok(self.tenants(selection).await?.tenants)
    }
}

/// The errors of the tenants that `selection` includes. A folder that is no tenant has its own too.
fn of_selected(mut errors: Vec<LastError>, selection: &Selection) -> Vec<LastError> {
    errors.retain(|e| {
        selection.is_all() || Tenant::parse(&e.tenant).is_ok_and(|t| selection.includes(&t))
    });
    errors
}

/// What each scan found, and what kept the others from it, in order.
async fn found_and_failed<T>(
    scans: impl Iterator<Item = impl Future<Output = Result<T, Failure>>>,
) -> (Vec<T>, Vec<Failure>) {
    let results: Vec<_> = stream::iter(scans).buffered(SCANS_AT_ONCE).collect().await;
    let (mut found, mut failures) = (Vec::new(), Vec::new());
    for result in results {
        match result {
            Ok(t) => found.push(t),
            Err(f) => failures.push(f),
        }
    }
    (found, failures)
}
