//! Runner and store tell different times: nothing expires that only one of them calls old.

use icepack::clock::{Clock, SystemClock};
use icepack::protocol::discover;
use icepack_core::model::names::{FileId, Tenant};
use icepack_core::model::report::TenantReport;
use ulid::Ulid;

use super::*;

/// A machine whose clock is set wrong by so much.
#[derive(Debug, Default)]
struct Wrong {
    own: SystemClock,
    by: TimeDelta,
}

impl Clock for Wrong {
    fn now(&self) -> DateTime<Utc> {
        self.own.now() + self.by
    }

    fn mint(&self, floor: FileId) -> FileId {
        let id = self.own.mint(FileId::NIL).0;
        let at = u64::try_from(self.now().timestamp_millis())
            .unwrap()
            .max(floor.0.timestamp_ms() + 1);
        FileId(Ulid::from_parts(at, id.random()))
    }

    fn monotonic_ms(&self) -> u64 {
        self.own.monotonic_ms()
    }
}

impl Lab {
    /// A pass by a machine whose clock is set wrong.
    async fn wrong_pass(&self, by: TimeDelta) -> RunReport {
        let clock = Arc::new(Wrong {
            by,
            ..Wrong::default()
        });
        CompactionManager::new(Arc::clone(&self.hot), self.config.clone())
            .with_clock(clock)
            .run_pass(&Selection::all())
            .await
            .unwrap()
    }
}

fn tenant<'a>(report: &'a RunReport, name: &str) -> &'a TenantReport {
    report.tenants.iter().find(|t| t.tenant == name).unwrap()
}

const YEARS: TimeDelta = TimeDelta::days(3_652);

/// As raw files, and once they are in a snapshot.
#[tokio::test]
async fn a_tenant_whose_rows_would_expire_by_a_clock_that_is_years_ahead_is_refused() {
    for compacted in [false, true] {
        for has_archive in [false, true] {
            let mut lab = Lab::new(has_archive);
            lab.config.retention.set("acme", Some(DAY * 365));
            let rows = lab.ingest("acme", 0, lab.days_ago(1)).await;
            if compacted {
                lab.pass().await;
            }
            let others = lab.ingest("forever", 0, lab.days_ago(1)).await;
            let before = tenant_keys(&lab.hot, "acme").await;
            let report = lab.wrong_pass(YEARS).await;
            assert_eq!(
                (
                    tenant(&report, "acme").status,
                    tenant(&report, "forever").status
                ),
                (Status::Refused, Status::Done),
                "{report:?}"
            );
            assert_eq!(
                tenant(&report, "acme").error.clone().unwrap(),
                "refused: this machine's clock is 3652 days ahead of the store's, and 40 of the \
                 40 rows of tenant `acme` would expire by one of them: nothing was done for this \
                 tenant; set the clock (NTP), then run again"
            );
            assert_eq!(tenant_keys(&lab.hot, "acme").await, before);
            assert_eq!(
                (live(&lab.hot, "acme").await, keys(&lab.cold).await.len()),
                (sorted(rows), 0)
            );
            assert_eq!(
                (
                    live(&lab.hot, "forever").await,
                    tenant(&report, "forever").counters.files_compacted
                ),
                (sorted(others), 4)
            );
        }
    }
}

#[tokio::test]
async fn a_tenant_whose_rows_would_expire_by_the_stores_clock_alone_is_refused_too() {
    let lab = Lab::new(false);
    let rows = lab.ingest("acme", 0, lab.days_ago(60)).await;
    let report = lab.wrong_pass(-YEARS).await;
    assert_eq!(
        (report.totals.status, report.totals.counters.ledger.rows_in),
        (Status::Refused, 0),
        "{report:?}"
    );
    assert!(
        report.tenants[0]
            .error
            .clone()
            .unwrap()
            .contains("clock is 3652 days behind the store's"),
        "{report:?}"
    );
    assert_eq!(live(&lab.hot, "acme").await, sorted(rows));
}

/// The merge goes on, and no row leaves in it.
#[tokio::test]
async fn a_tenant_none_of_whose_rows_would_expire_is_compacted_all_the_same() {
    let lab = Lab::new(false);
    let rows = lab.ingest("acme", 0, lab.days_ago(1)).await;
    let report = lab.wrong_pass(TimeDelta::days(2)).await;
    assert_eq!(
        (
            report.totals.status,
            report.totals.counters.ledger.rows_kept
        ),
        (Status::Done, 40),
        "{report:?}"
    );
    assert_eq!(live(&lab.hot, "acme").await, sorted(rows));
}

/// Files that tell nothing before they are read: what they hold is kept.
#[tokio::test]
async fn rows_that_no_footer_tells_of_are_kept_while_the_clocks_differ() {
    let lab = Lab::new(false);
    let rows = series(0, 40, lab.days_ago(60), TimeDelta::minutes(10));
    for (i, part) in rows.chunks(10).enumerate() {
        let batch = batch(part);
        let properties = WriterProperties::builder()
            .set_statistics_enabled(EnabledStatistics::None)
            .build();
        let mut w = ArrowWriter::try_new(Vec::new(), batch.schema(), Some(properties)).unwrap();
        w.write(&batch).unwrap();
        put(
            &lab.hot,
            &format!("acme/{i}.parquet"),
            w.into_inner().unwrap(),
        )
        .await;
    }
    let report = lab.wrong_pass(YEARS).await;
    assert_eq!(
        (
            report.totals.status,
            report.totals.counters.ledger.rows_kept,
            report.totals.counters.ledger.rows_expired
        ),
        (Status::Done, 40, 0),
        "{report:?}"
    );
    assert_eq!(live(&lab.hot, "acme").await, sorted(rows));
}

#[tokio::test]
async fn within_the_hour_the_earlier_clock_decides() {
    for (by, kept) in [
        (TimeDelta::minutes(50), 40),
        (TimeDelta::minutes(-50), 40),
        (TimeDelta::zero(), 0),
    ] {
        let lab = Lab::new(false);
        // Expired 20 minutes ago by the true time if `by` is behind, in 20 minutes if it is ahead,
        // and at all events by a true clock.
        let end =
            lab.days_ago(30) + TimeDelta::minutes(if by > TimeDelta::zero() { 20 } else { -20 });
        let end = if by == TimeDelta::zero() {
            lab.days_ago(31)
        } else {
            end
        };
        for (i, part) in series(0, 40, end, TimeDelta::milliseconds(1))
            .chunks(10)
            .enumerate()
        {
            put_events(&lab.hot, &format!("acme/{i}.parquet"), part).await;
        }
        let report = lab.wrong_pass(by).await;
        assert_eq!(
            (
                report.totals.status,
                report.totals.counters.ledger.rows_kept,
                report.totals.counters.ledger.rows_expired
            ),
            (Status::Done, kept, 40 - kept),
            "{by}"
        );
    }
}

#[tokio::test]
async fn a_clock_that_is_ahead_shortens_no_delay() {
    let mut lab = Lab::new(false);
    lab.config.delete_delay = Duration::from_secs(1_800);
    lab.ingest("acme", 0, lab.days_ago(1)).await;
    lab.wrong_pass(TimeDelta::zero()).await;
    assert_eq!(
        tenant_keys(&lab.hot, "acme").await.len(),
        5,
        "four originals wait"
    );
    let report = lab.wrong_pass(TimeDelta::minutes(50)).await;
    assert_eq!(
        (
            report.totals.counters.files_deleted,
            tenant_keys(&lab.hot, "acme").await.len()
        ),
        (0, 5),
        "{report:?}"
    );
    // Nor does one that is behind: it writes down the store's time of what it retires.
    let lab = Lab {
        hot: memory(),
        ..lab
    };
    lab.ingest("acme", 0, lab.days_ago(1)).await;
    lab.wrong_pass(TimeDelta::minutes(-50)).await;
    let report = lab.wrong_pass(TimeDelta::zero()).await;
    assert_eq!(
        (
            report.totals.counters.files_deleted,
            tenant_keys(&lab.hot, "acme").await.len()
        ),
        (0, 5),
        "{report:?}"
    );
}

#[tokio::test]
async fn what_a_clock_that_is_ahead_mints_is_not_above_every_floor() {
    let mut lab = Lab::new(false);
    lab.config.retention.set("acme", None);
    let rows = lab.ingest("acme", 0, lab.days_ago(1)).await;
    lab.wrong_pass(YEARS).await;
    let head = discover::head(lab.hot.as_ref(), &Tenant::parse("acme").unwrap(), 0)
        .await
        .unwrap()
        .unwrap();
    let (minted, now) = (head.snapshots[0].id.minted_at(), Utc::now());
    assert!(minted <= now + TimeDelta::hours(1), "{minted}");
    assert!(
        (head.committed_at - now).abs() < TimeDelta::minutes(5),
        "{}",
        head.committed_at
    );
    let records: Vec<_> = keys(&lab.hot)
        .await
        .into_iter()
        .filter(|k| k.starts_with("_icepack/runs/"))
        .collect();
    assert!(
        records.iter().all(|k| k.as_str()
            < format!(
                "_icepack/runs/{}",
                (now + TimeDelta::days(1)).format("%Y-%m-%d")
            )
            .as_str()),
        "{records:?}"
    );
    assert_eq!(live(&lab.hot, "acme").await, sorted(rows));
}
