//! Good files of tenants whose rows expire: their time column is read once, and they stay as they
//! are until their rows expire.
//!
//! `cargo test --test protocol adoption:: -- --nocapture` prints the bytes.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use arrow::array::{Array, ArrayRef, RecordBatch, TimestampMicrosecondArray};
use chrono::{DateTime, TimeDelta, Utc};
use icepack::archive::{Archive, ArchiveOptions};
use icepack::clock::ManualClock;
use icepack::pass::Selection;
use icepack::restore::RestoreRequest;
use icepack::{CompactionConfig, CompactionManager};
use icepack_core::model::file::Micros;
use icepack_core::model::inspect::LiveFile;
use icepack_core::model::manifest::Manifest;
use icepack_core::model::plan::{GroupKind, SkipReason};
use icepack_core::model::report::{RunReport, Status};
use icepack_core::model::restore::RestoreStatus;
use icepack_core::model::units::{DAY, HOUR, MIB};
use icepack_core::plan::live;
use icepack_dst::intercept::{InterceptStore, Kind, Reply};
use icepack_dst::memory::{Time, TimedMemory};
use object_store::ObjectStoreExt;
use object_store::path::Path;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use crate::archive::restore::{everything, restore};
use crate::support::copy_archive::CopyArchive;
use crate::support::process_clock::ProcessClock;
use crate::support::{
    Event, Store, archived, batch, eager, event, get, keys, parquet, put, put_events, read_all,
    series, sorted, tenant_keys,
};

/// Bytes to and from a store, by the key.
#[derive(Debug, Default)]
pub struct Traffic {
    pub got: BTreeMap<String, u64>,
    put: BTreeMap<String, u64>,
    gets: usize,
}

impl Traffic {
    /// Of keys that begin so: read, and written.
    pub fn below(&self, prefix: &str) -> (u64, u64) {
        let sum = |of: &BTreeMap<String, u64>| {
            of.iter()
                .filter(|(key, _)| key.starts_with(prefix))
                .map(|(_, bytes)| bytes)
                .sum()
        };
        (sum(&self.got), sum(&self.put))
    }
}

/// A tenant, and what its passes read and write.
pub struct Lab {
    /// As the tests see it.
    pub hot: Store,
    /// As passes see it.
    watched: Store,
    pub cold: Store,
    pub time: Time,
    traffic: Arc<Mutex<Traffic>>,
    pub config: CompactionConfig,
}

impl Lab {
    /// Tenant `acme` keeps its rows for thirty days, and no file of it is small.
    pub fn new(has_archive: bool) -> Self {
        let time = Time::at("2026-05-20T12:00:00Z".parse().unwrap());
        let memory = TimedMemory::new(time.clone());
        let (hot, cold) = (memory.store(), TimedMemory::new(time.clone()).store());
        let traffic = Arc::new(Mutex::new(Traffic::default()));
        let seen = Arc::clone(&traffic);
        let watched = InterceptStore::new(memory.store(), move |request, call| {
            let seen = Arc::clone(&seen);
            async move {
                let reply = call.await?;
                let mut seen = seen.lock().unwrap();
                let key = request.key.to_string();
                match (&reply, request.kind) {
                    (Reply::Got(got), Kind::Get) => {
                        *seen.got.entry(key).or_default() += got.range.end - got.range.start;
                        seen.gets += 1;
                    }
                    (_, Kind::Put | Kind::Part) => {
                        let bytes = request.body.content_length() as u64;
                        *seen.put.entry(key).or_default() += bytes;
                    }
                    _ => {}
                }
                Ok(reply)
            }
        });
        let mut config = CompactionConfig {
            small_file_threshold: 1,
            archive_min_object_size: 0,
            ..eager()
        };
        config.retention.set("acme", Some(DAY * 30));
        if has_archive {
            config.archive = Some(Arc::new(Archive::new(
                Arc::clone(&cold),
                "memory://cold",
                ArchiveOptions::default(),
            )));
        }
        Self {
            hot,
            watched: Arc::new(watched),
            cold,
            time,
            traffic,
            config,
        }
    }

    /// The archive takes whole files by copies.
    fn copies(&mut self) {
        let rows = Archive::new(
            Arc::clone(&self.cold),
            "memory://cold",
            ArchiveOptions::default(),
        );
        self.config.archive = Some(Arc::new(CopyArchive {
            rows,
            hot: Arc::clone(&self.hot),
            cold: Arc::clone(&self.cold),
            copies: Arc::default(),
        }));
    }

    /// A file of ten rows, a minute apart, the first so many days ago.
    async fn ingest(&self, name: &str, days_ago: i64) -> Vec<Event> {
        let first = usize::try_from(days_ago).unwrap() * 100;
        let end = self.time.now() - TimeDelta::days(days_ago) + TimeDelta::minutes(9);
        let events = series(first, 10, end, TimeDelta::minutes(1));
        put_events(&self.hot, &format!("acme/{name}"), &events).await;
        events
    }

    pub fn manager(&self) -> CompactionManager {
        CompactionManager::new(Arc::clone(&self.watched), self.config.clone())
            .with_clock(Arc::new(ProcessClock::new(self.time.clone(), 7)))
    }

    /// A pass, and what it read and wrote.
    pub async fn pass(&self) -> (RunReport, Traffic) {
        *self.traffic.lock().unwrap() = Traffic::default();
        let report = self.manager().run_pass(&Selection::all()).await.unwrap();
        // No two passes are of one moment.
        self.time.advance(TimeDelta::seconds(1));
        (report, std::mem::take(&mut *self.traffic.lock().unwrap()))
    }

    /// A pass before whose requests of a kind somebody puts other rows in the place of `x.parquet`.
    async fn pass_that_meets(&self, rows: &[Event], kind: Kind) -> RunReport {
        let (hot, file) = (Arc::clone(&self.hot), parquet(&batch(rows)));
        let replacing = InterceptStore::new(Arc::clone(&self.hot), move |request, call| {
            let (hot, file) = (Arc::clone(&hot), file.clone());
            async move {
                if request.kind == kind && request.key.as_ref() == "acme/x.parquet" {
                    put(&hot, "acme/x.parquet", file).await;
                }
                call.await
            }
        });
        CompactionManager::new(Arc::new(replacing), self.config.clone())
            .with_clock(Arc::new(ProcessClock::new(self.time.clone(), 8)))
            .run_pass(&Selection::all())
            .await
            .unwrap()
    }

    /// A pass that adopts so many files, and does nothing else.
    async fn adopts(&self, files: u64) -> Traffic {
        let (report, traffic) = self.pass().await;
        let counted = &report.totals.counters;
        assert_eq!(
            (
                report.totals.status,
                counted.files_adopted,
                counted.files_compacted
            ),
            (Status::Done, files, 0),
            "{report:?}"
        );
        assert_eq!(
            traffic.below("acme/").1,
            0,
            "nothing of the tenant is written"
        );
        traffic
    }

    /// A pass that finds nothing to do, and reads no data to find it.
    pub async fn idle(&self) {
        let before = keys(&self.hot).await.len();
        let (report, traffic) = self.pass().await;
        let done = (report.totals.status, report.totals.counters.files_adopted);
        assert_eq!(done, (Status::Idle, 0), "{report:?}");
        assert_eq!(traffic.below("acme/"), (0, 0), "{traffic:?}");
        // The record of the pass.
        assert_eq!(keys(&self.hot).await.len(), before + 1);
    }

    pub async fn head(&self) -> Manifest {
        let all = keys(&self.hot).await;
        let last = all
            .iter()
            .rfind(|k| k.starts_with("_icepack/acme/manifest/"));
        serde_json::from_slice(&get(&self.hot, last.unwrap()).await).unwrap()
    }

    pub async fn live_files(&self) -> Vec<LiveFile> {
        let views = self.manager().live_views(&Selection::all()).await.unwrap();
        views.into_iter().flat_map(|v| v.files).collect()
    }

    async fn live(&self) -> Vec<Event> {
        let files = self.live_files().await;
        let keys: Vec<String> = files.into_iter().map(|f| f.key).collect();
        sorted(read_all(&self.hot, &keys).await)
    }

    async fn archived(&self) -> Vec<Event> {
        archived(&self.cold, "acme").await
    }
}

/// Rows whose payload cannot be compressed, a second apart.
fn heavy(first: usize, rows: usize, end: DateTime<Utc>) -> Vec<Event> {
    let mut rng = fastrand::Rng::with_seed(first as u64);
    let mut events = series(first, rows, end, TimeDelta::seconds(1));
    for e in &mut events {
        e.payload = (0..1_000).map(|_| rng.alphanumeric()).collect();
    }
    events
}

#[tokio::test]
async fn a_first_pass_over_good_files_writes_manifests_only() {
    let mut lab = Lab::new(true);
    lab.config.small_file_threshold = MIB;
    let mut bytes = 0;
    for n in 0..4 {
        let end = lab.time.now() - TimeDelta::days(3 * n + 1);
        let rows = heavy(usize::try_from(n).unwrap() * 10_000, 8_000, end);
        let file = parquet(&batch(&rows));
        bytes += file.len() as u64;
        put(&lab.hot, &format!("acme/dt={n}/part.parquet"), file).await;
    }
    lab.time.advance(TimeDelta::days(2));
    let report = lab.manager().plan(&Selection::all()).await.unwrap();
    let [group] = report.plans[0].groups.as_slice() else {
        panic!("{report:?}")
    };
    assert_eq!((group.kind, group.inputs.len()), (GroupKind::Adopt, 4));
    assert_eq!(
        group.reason.to_string(),
        "when the rows of 4 files are from is not known: `timestamp` alone is read, and no file is \
         written"
    );

    let traffic = lab.adopts(4).await;
    let ((read, _), (_, written)) = (traffic.below("acme/"), traffic.below("_icepack/"));
    println!(
        "4 good files of {bytes} bytes: {read} bytes of them read with {} GETs, {written} bytes \
         written, all below _icepack/",
        traffic.gets
    );
    assert!(read * 20 < bytes, "{read} of {bytes} bytes were read");
    assert!(traffic.put.keys().all(|key| key.starts_with("_icepack/")));
    lab.idle().await;
    let left = tenant_keys(&lab.hot, "acme").await;
    assert_eq!(left.len(), 4, "{left:?}");
    let head = lab.head().await;
    assert_eq!((head.adopted.len(), head.snapshots.len()), (4, 0));
    assert_eq!(head.adopted[0].times.rows, 8_000);

    // Readers who ask for times are told of no file that has none.
    let from = Micros::from_datetime(lab.time.now() - TimeDelta::days(4));
    let views = lab.manager().live_views(&Selection::all()).await.unwrap();
    let view = live::between(views.into_iter().next().unwrap(), Some(from), None);
    let files: Vec<&str> = view.files.iter().map(|f| f.key.as_str()).collect();
    assert_eq!(files, ["acme/dt=0/part.parquet"]);
    let status = lab.manager().status(&Selection::all()).await.unwrap();
    let acme = &status.tenants[0];
    assert_eq!(
        (
            acme.folders,
            acme.raw_files,
            acme.adopted,
            acme.adopted_rows
        ),
        (4, 4, 4, 32_000)
    );
    assert_eq!(
        (acme.oldest_raw_s, acme.overdue_s),
        (None, None),
        "none waits"
    );
}

#[tokio::test]
async fn adopted_files_expire_whole_and_come_back() {
    let lab = Lab::new(true);
    let old = lab.ingest("old.parquet", 20).await;
    let new = lab.ingest("new.parquet", 1).await;
    lab.adopts(2).await;
    lab.time.advance(TimeDelta::days(9));
    lab.idle().await;
    lab.time.advance(TimeDelta::days(2));
    let status = lab.manager().status(&Selection::all()).await.unwrap();
    assert_eq!(
        status.tenants[0].overdue_s.map(|s| s / 3_600),
        Some(24),
        "expired rows of adopted files are counted"
    );
    let (report, traffic) = lab.pass().await;
    let ledger = report.totals.counters.ledger;
    assert_eq!(
        (ledger.rows_in, ledger.rows_archived),
        (10, 10),
        "{report:?}"
    );
    assert!(!traffic.got.contains_key("acme/new.parquet"));
    assert_eq!(
        (lab.archived().await, lab.live().await),
        (sorted(old.clone()), sorted(new))
    );
    lab.idle().await;
    let head = lab.head().await;
    assert_eq!(head.adopted.len(), 1, "what has left is forgotten");

    let clock = Arc::new(ManualClock::new(lab.time.now(), 9));
    let back = restore(&lab.cold, &lab.hot, &clock, &everything())
        .await
        .unwrap();
    assert_eq!(
        (back.status, back.rows),
        (RestoreStatus::Done, 10),
        "{back:?}"
    );
    let restored = tenant_keys(&lab.hot, "restored-acme").await;
    assert_eq!(sorted(read_all(&lab.hot, &restored).await), sorted(old));
}

/// The archive then holds the very bytes. They are read once, for the receipt.
#[tokio::test]
async fn where_the_archive_copies_a_whole_file_goes_as_it_is() {
    let mut lab = Lab::new(true);
    lab.copies();
    let old = lab.ingest("dt=2026-04-30/old.parquet", 20).await;
    let new = lab.ingest("dt=2026-04-30/new.parquet", 1).await;
    let bytes = get(&lab.hot, "acme/dt=2026-04-30/old.parquet").await;
    lab.adopts(2).await;
    lab.time.advance(TimeDelta::days(11));
    let (report, traffic) = lab.pass().await;
    let counters = &report.totals.counters;
    assert_eq!(
        (counters.ledger.rows_archived, counters.copied_objects),
        (10, 1),
        "{report:?}"
    );
    assert!(!traffic.got.contains_key("acme/dt=2026-04-30/new.parquet"));
    let cold = keys(&lab.cold).await;
    let objects: Vec<&String> = cold.iter().filter(|k| k.ends_with(".parquet")).collect();
    assert!(objects[0].starts_with("acme/dt=2026-04-30/archive.acme."));
    assert_eq!(
        (objects.len(), get(&lab.cold, objects[0]).await),
        (1, bytes)
    );
    assert_eq!(lab.live().await, sorted(new));
    lab.idle().await;

    let clock = Arc::new(ManualClock::new(lab.time.now(), 9));
    let back = restore(&lab.cold, &lab.hot, &clock, &everything())
        .await
        .unwrap();
    assert_eq!((back.status, back.rows), (RestoreStatus::Done, 10));
    let restored = tenant_keys(&lab.hot, "restored-acme").await;
    assert_eq!(sorted(read_all(&lab.hot, &restored).await), sorted(old));
}

/// A copy has the order of the file that it is of, and need not be sorted.
#[tokio::test]
async fn a_range_of_a_copy_that_is_not_sorted_comes_back() {
    let mut lab = Lab::new(true);
    lab.copies();
    let end = lab.time.now() - TimeDelta::days(20);
    let rows = series(0, 10, end, TimeDelta::minutes(1));
    let mixed: Vec<Event> = [7, 2, 9, 0, 5, 1, 8, 3, 6, 4]
        .map(|i: usize| rows[i].clone())
        .into();
    put_events(&lab.hot, "acme/old.parquet", &mixed).await;
    lab.adopts(1).await;
    lab.time.advance(TimeDelta::days(11));
    let (report, _) = lab.pass().await;
    assert_eq!(report.totals.counters.copied_objects, 1, "{report:?}");

    let request = RestoreRequest {
        from: Some(Micros(rows[3].at)),
        to: Some(Micros(rows[7].at)),
        ..everything()
    };
    let clock = Arc::new(ManualClock::new(lab.time.now(), 9));
    let back = restore(&lab.cold, &lab.hot, &clock, &request)
        .await
        .unwrap();
    assert_eq!((back.status, back.rows), (RestoreStatus::Done, 4));
    let restored = tenant_keys(&lab.hot, "restored-acme").await;
    let found = read_all(&lab.hot, &restored).await;
    assert_eq!(found.len(), 4);
    assert_eq!(sorted(found), sorted(rows[3..7].to_vec()));
    let file = ParquetRecordBatchReaderBuilder::try_new(get(&lab.hot, &restored[0]).await).unwrap();
    for group in file.metadata().row_groups() {
        assert_eq!(group.sorting_columns(), None, "it says that it is sorted");
    }
}

/// A copy of other rows than those of the receipt would be an archive that lies.
#[tokio::test]
async fn a_file_that_is_replaced_while_it_is_copied_stays() {
    let mut lab = Lab::new(true);
    lab.copies();
    for kind in [Kind::Get, Kind::Head] {
        lab.ingest("x.parquet", 20).await;
        lab.adopts(1).await;
        lab.time.advance(TimeDelta::days(15));
        let rows = series(7, 10, lab.time.now(), TimeDelta::minutes(1));
        let report = lab.pass_that_meets(&rows, kind).await;
        assert_eq!(report.totals.counters.files_compacted, 0, "{report:?}");
        lab.time.advance(TimeDelta::seconds(1));
        assert_eq!(lab.live().await, sorted(rows));
        let head = lab.head().await;
        assert_eq!((head.archives.len(), head.totals.rows_archived), (0, 0));
    }
}

/// What has expired already leaves in the pass that finds it out.
#[tokio::test]
async fn rows_that_have_expired_already_leave_in_the_first_pass() {
    for has_archive in [false, true] {
        let lab = Lab::new(has_archive);
        let old = lab.ingest("old.parquet", 40).await;
        let new = lab.ingest("new.parquet", 1).await;
        let (report, _) = lab.pass().await;
        let counted = &report.totals.counters;
        assert_eq!(
            (counted.files_adopted, counted.files_compacted),
            (2, 1),
            "{report:?}"
        );
        let archived = if has_archive { sorted(old) } else { Vec::new() };
        assert_eq!(
            (lab.archived().await, lab.live().await),
            (archived, sorted(new))
        );
        lab.idle().await;
    }
}

/// Dropped, no byte of a file is read for it: its tag is asked for.
#[tokio::test]
async fn without_an_archive_whole_files_go_unread() {
    let lab = Lab::new(false);
    lab.ingest("old.parquet", 20).await;
    let new = lab.ingest("new.parquet", 1).await;
    lab.adopts(2).await;
    lab.time.advance(TimeDelta::days(11));
    let (report, traffic) = lab.pass().await;
    let ledger = report.totals.counters.ledger;
    assert_eq!(
        (ledger.rows_in, ledger.rows_expired),
        (10, 10),
        "{report:?}"
    );
    assert_eq!(traffic.below("acme/"), (0, 0), "{traffic:?}");
    assert_eq!(lab.live().await, sorted(new));
    assert_eq!(tenant_keys(&lab.hot, "acme").await, ["acme/new.parquet"]);
    lab.idle().await;
}

#[tokio::test]
async fn a_file_that_straddles_the_cutoff_is_left_alone_within_the_slack() {
    let mut lab = Lab::new(true);
    lab.config.slack = 6 * HOUR;
    let end = lab.time.now() - TimeDelta::days(19);
    let rows = series(0, 48, end, TimeDelta::hours(1));
    put_events(&lab.hot, "acme/straddles.parquet", &rows).await;
    lab.adopts(1).await;
    // The oldest row is 47 hours older than the newest, which is 19 days old.
    lab.time
        .advance(TimeDelta::days(30 - 19) - TimeDelta::hours(42));
    lab.idle().await;
    lab.time.advance(TimeDelta::hours(3));
    let cutoff = (lab.time.now() - TimeDelta::days(30)).timestamp_micros();
    let (report, _) = lab.pass().await;
    let (gone, kept): (Vec<_>, Vec<_>) = rows.into_iter().partition(|e| e.at < cutoff);
    assert!(!gone.is_empty() && !kept.is_empty());
    assert_eq!(report.totals.counters.files_compacted, 1, "{report:?}");
    assert_eq!(
        (lab.archived().await, lab.live().await),
        (sorted(gone), sorted(kept))
    );
    lab.idle().await;
}

/// Rows without a time, and rows from before 2000, never expire, and keep their file from going as
/// a whole.
#[tokio::test]
async fn rows_without_a_time_stay() {
    for has_archive in [false, true] {
        let lab = Lab::new(has_archive);
        let old = lab.time.now() - TimeDelta::days(20);
        let undated = event(900, "1999-12-31T23:59:59Z".parse().unwrap());
        let rows = [event(1, old), event(2, old), undated.clone()];
        put_events(&lab.hot, "acme/x.parquet", &rows).await;
        put(&lab.hot, "acme/null.parquet", with_null(&rows[..2])).await;
        lab.adopts(2).await;
        assert!(
            lab.head()
                .await
                .adopted
                .iter()
                .all(|a| a.times.undated == 1)
        );
        lab.time.advance(TimeDelta::days(15));
        let (report, _) = lab.pass().await;
        assert_eq!(report.totals.counters.ledger.rows_kept, 2, "{report:?}");
        let files = lab.live_files().await;
        assert_eq!(files.iter().map(|f| f.undated).sum::<u64>(), 2, "{files:?}");
        lab.idle().await;
    }
}

/// The rows, and another that has no time.
fn with_null(rows: &[Event]) -> Vec<u8> {
    let mut rows = rows.to_vec();
    rows.push(Event {
        id: "event-000901".into(),
        ..rows[0].clone()
    });
    let dated = batch(&rows);
    let schema = dated.schema();
    let columns = schema
        .fields()
        .iter()
        .zip(dated.columns())
        .map(|(f, column)| {
            let column: ArrayRef = if f.name() == "timestamp" {
                let times = column
                    .as_any()
                    .downcast_ref::<TimestampMicrosecondArray>()
                    .unwrap();
                let last = times.len() - 1;
                let some = times
                    .iter()
                    .enumerate()
                    .map(|(i, at)| at.filter(|_| i < last));
                Arc::new(some.collect::<TimestampMicrosecondArray>())
            } else {
                Arc::clone(column)
            };
            (f.name().clone(), column, true)
        });
    parquet(&RecordBatch::try_from_iter_with_nullable(columns.collect::<Vec<_>>()).unwrap())
}

/// What is known of a file is known of one version of it.
#[tokio::test]
async fn a_file_that_is_replaced_is_read_again() {
    for has_archive in [false, true] {
        let lab = Lab::new(has_archive);
        lab.ingest("x.parquet", 20).await;
        lab.adopts(1).await;
        lab.time.advance(TimeDelta::days(15));
        // By the note, every row has expired.
        let rows = lab.ingest("x.parquet", 2).await;
        let files = lab.live_files().await;
        assert_eq!(
            (files[0].from, files[0].to),
            (None, None),
            "nothing is known of it"
        );
        lab.adopts(1).await;
        assert_eq!(lab.live().await, sorted(rows));
        let head = lab.head().await;
        assert_eq!(head.adopted.len(), 1);
        lab.idle().await;
    }
}

/// Between the listing and the commit.
#[tokio::test]
async fn a_file_that_is_replaced_while_it_expires_stays() {
    let lab = Lab::new(false);
    lab.ingest("x.parquet", 20).await;
    lab.adopts(1).await;
    lab.time.advance(TimeDelta::days(15));
    let rows = series(7, 10, lab.time.now(), TimeDelta::minutes(1));
    let report = lab.pass_that_meets(&rows, Kind::Head).await;
    assert_eq!(report.totals.counters.files_compacted, 0, "{report:?}");
    assert_eq!(report.totals.unread.len(), 1, "{report:?}");
    lab.time.advance(TimeDelta::seconds(1));
    lab.adopts(1).await;
    assert_eq!(lab.live().await, sorted(rows));
}

#[tokio::test]
async fn a_file_that_somebody_deleted_is_forgotten() {
    let lab = Lab::new(true);
    lab.ingest("gone.parquet", 20).await;
    let kept = lab.ingest("kept.parquet", 1).await;
    lab.adopts(2).await;
    lab.hot
        .delete(&Path::from("acme/gone.parquet"))
        .await
        .unwrap();
    lab.time.advance(TimeDelta::days(15));
    let (report, _) = lab.pass().await;
    assert!(report.totals.status <= Status::Done, "{report:?}");
    let head = lab.head().await;
    assert_eq!(head.adopted.len(), 1);
    assert_eq!(lab.live().await, sorted(kept));
    lab.idle().await;
}

/// Times are known of a column. By another, nothing is known, and nothing expires by it.
#[tokio::test]
async fn times_of_another_column_are_read_anew() {
    let mut lab = Lab::new(false);
    let rows = [event(1, lab.time.now() - TimeDelta::days(20))];
    let dated = batch(&rows);
    let column = |name: &str| Arc::clone(dated.column_by_name(name).unwrap());
    let now = lab.time.now().timestamp_micros();
    let columns = [
        ("event_id", column("event_id")),
        ("payload", column("payload")),
        ("timestamp", column("timestamp")),
        (
            "created_at",
            Arc::new(TimestampMicrosecondArray::from(vec![now])) as ArrayRef,
        ),
    ];
    let file = parquet(&RecordBatch::try_from_iter(columns).unwrap());
    put(&lab.hot, "acme/x.parquet", file).await;
    lab.adopts(1).await;
    lab.time.advance(TimeDelta::days(15));
    lab.config.timestamp_column = "created_at".parse().unwrap();
    let files = lab.live_files().await;
    assert_eq!(
        (files[0].from, files[0].to),
        (None, None),
        "of another column"
    );
    lab.adopts(1).await;
    assert_eq!(lab.live().await, rows);
    let note = lab.head().await.adopted.remove(0);
    assert_eq!(
        (note.dated_by.as_str(), note.times.min),
        ("created_at", Some(Micros(now)))
    );
    lab.idle().await;
}

/// What a merge would set aside is set aside, and is not read in each pass anew.
#[tokio::test]
async fn files_without_readable_times_are_set_aside_once() {
    let mut lab = Lab::new(true);
    let good = lab.ingest("good.parquet", 1).await;
    put(
        &lab.hot,
        "acme/damaged.parquet",
        b"PAR1 and no more of it PAR1".to_vec(),
    )
    .await;
    let dated = batch(&good);
    let other: Vec<usize> = (0..dated.num_columns()).filter(|i| *i != 4).collect();
    put(
        &lab.hot,
        "acme/undated.parquet",
        parquet(&dated.project(&other).unwrap()),
    )
    .await;
    let (report, _) = lab.pass().await;
    assert_eq!(report.totals.counters.files_adopted, 1, "{report:?}");
    assert_eq!(
        (report.totals.status, report.totals.quarantined),
        (
            Status::Quarantined,
            vec![
                "acme/damaged.parquet".to_owned(),
                "acme/undated.parquet".to_owned()
            ]
        )
    );
    lab.idle().await;
    // Where no file has the column, the setting is wrong, and none is set aside.
    lab.config.timestamp_column = "no_such_column".parse().unwrap();
    let (report, _) = lab.pass().await;
    assert_eq!(report.totals.status, Status::Failed, "{report:?}");
    assert!(
        report.tenants[0]
            .error
            .as_ref()
            .unwrap()
            .contains("none was set aside"),
        "{report:?}"
    );
}

/// The guard counts the rows of adopted files among the tenant's.
#[tokio::test]
async fn what_expires_of_adopted_files_is_a_part_of_them_all() {
    let mut lab = Lab::new(true);
    lab.config.max_expire_percent = 50;
    for n in [20, 19, 2, 1] {
        lab.ingest(&format!("{n}.parquet"), n).await;
    }
    lab.adopts(4).await;
    lab.time.advance(TimeDelta::days(15));
    let plan = lab
        .manager()
        .plan(&Selection::all())
        .await
        .unwrap()
        .plans
        .remove(0);
    let expiry = plan.expiry.unwrap();
    assert_eq!((expiry.rows, expiry.rows_expiring), (40, 20));
    let stay = plan.skipped.iter();
    let stay = stay.filter(|s| matches!(s.reason, SkipReason::Adopted { .. }));
    assert_eq!(stay.count(), 2);
    lab.config.max_expire_percent = 49;
    let (report, _) = lab.pass().await;
    assert_eq!(report.totals.status, Status::Refused, "{report:?}");
    lab.config.max_expire_percent = 50;
    let (report, _) = lab.pass().await;
    assert_eq!(
        report.totals.counters.ledger.rows_archived, 20,
        "{report:?}"
    );
    assert!(lab.head().await.check_paths().is_ok());
}
