use std::collections::HashSet;

use arrow::array::{Array, AsArray};
use arrow::datatypes::TimestampMicrosecondType;
use clap::Parser;
use object_store::memory::InMemory;

use super::super::args::{Cli, Command};
use super::*;
use crate::store::Location;

const FROM: i64 = 1_777_000_000_000_000;
const TO: i64 = FROM + 600_000_000;

fn args(extra: &[&str]) -> DemoArgs {
    match Cli::parse_from(["icepack", "demo"].iter().chain(extra)).command {
        Command::Demo(args) => args,
        other => panic!("{other:?}"),
    }
}

fn at() -> DateTime<Utc> {
    DateTime::from_timestamp(1_777_297_507, 0).unwrap()
}

fn planned(extra: &[&str]) -> Vec<FileSpec> {
    plan(&args(extra), at()).unwrap()
}

/// Tenants, their files, and the rows of each file.
fn shape(extra: &[&str]) -> Vec<(String, usize, u32)> {
    let files = planned(extra);
    let tenants = files.chunk_by(|a, b| a.tenant == b.tenant);
    tenants
        .map(|files| (files[0].tenant.to_string(), files.len(), files[0].rows))
        .collect()
}

fn batch(seed: u64) -> RecordBatch {
    let file = FileSpec {
        tenant: Tenant::parse("acme").unwrap(),
        key: String::new(),
        seed,
        rows: 2_000,
        from: Micros(FROM),
        to: Micros(TO),
    };
    events(&file).unwrap()
}

fn texts<'a>(batch: &'a RecordBatch, column: &str) -> Vec<&'a str> {
    let column = batch.column_by_name(column).unwrap();
    column.as_string::<i32>().iter().flatten().collect()
}

#[test]
fn the_usual_tenants() {
    let own = |n: &str, files, rows| (n.to_owned(), files, rows);
    assert_eq!(
        shape(&[]),
        [
            own("acme", 400, 10_000),
            own("globex", 40, 2_000),
            own("initech", 12, 500),
            own("system", 8, 1_000),
            own("umbrella", 2, 100)
        ]
    );
    assert_eq!(
        shape(&["--files", "6", "--rows", "50"])[1..],
        [
            own("globex", 4, 10),
            own("initech", 3, 2),
            own("system", 4, 5),
            own("umbrella", 2, 1)
        ]
    );
    assert_eq!(
        shape(&["--tenants", "umbrella,new=3x7,other"]),
        [
            own("umbrella", 2, 100),
            own("new", 3, 7),
            own("other", 400, 10_000)
        ]
    );
}

#[test]
fn wrong_tenants_are_refused() {
    for wrong in ["_x", "a=3", "a=0x5", "a=bxc", "a,a", "..%2f"] {
        assert!(plan(&args(&["--tenants", wrong]), at()).is_err(), "{wrong}");
    }
}

#[test]
fn files_overlap_by_half_and_end_at_the_end() {
    let end = at() - LAG;
    let files = planned(&["--tenants", "acme=10x5"]);
    assert_eq!(files.len(), 10);
    assert_eq!(
        files[0].from,
        Micros::from_datetime(end - TimeDelta::days(30))
    );
    assert_eq!(files[9].to, Micros::from_datetime(end));
    for pair in files.windows(2) {
        let slot = pair[1].from.0 - pair[0].from.0;
        let overlap = pair[0].to.0 - pair[1].from.0;
        assert!((overlap * 2 - slot).abs() <= 2, "{overlap} {slot}");
    }
    assert_eq!(files[0].key, "acme/events-20260328T134407-0.parquet");
    // Other rows need another name.
    let other = planned(&["--tenants", "acme=10x5", "--seed", "2"]);
    assert_eq!(other[0].key, "acme/events-20260328T134407-0-2.parquet");
}

#[test]
fn keys_and_seeds_are_unique_and_repeatable() {
    let all = planned(&[]);
    assert_eq!(all, planned(&[]));
    assert_eq!(
        all.iter().map(|f| &f.key).collect::<HashSet<_>>().len(),
        462
    );
    assert_eq!(
        all.iter().map(|f| f.seed).collect::<HashSet<_>>().len(),
        462
    );
    assert!(all.iter().all(|f| f.tenant.owns(&f.key)));
    let end = Micros::from_datetime(at() - LAG);
    assert!(all.iter().all(|f| f.to <= end), "none is in the future");
}

#[test]
fn half_of_system_has_expired() {
    let files = planned(&["--days", "5", "--tenants", "system"]);
    let cutoff = Micros::from_datetime(at() - TimeDelta::days(30));
    let old = files.iter().filter(|f| f.to <= cutoff).count();
    assert!((2..=5).contains(&old), "{old} of {}", files.len());
}

#[test]
fn the_same_seed_gives_the_same_bytes_and_another_gives_others() {
    let file = planned(&["--rows", "20"]).remove(0);
    assert_eq!(encode(&file).unwrap(), encode(&file).unwrap());
    assert_ne!(batch(1), batch(2));
}

#[test]
fn events_look_real() {
    let batch = batch(1);
    let times = batch.column_by_name("timestamp").unwrap();
    let times = times.as_primitive::<TimestampMicrosecondType>().values();
    assert!(times.is_sorted() && times[0] >= FROM && times[1_999] < TO);
    let ids: HashSet<_> = texts(&batch, "event_id").into_iter().collect();
    assert_eq!(ids.len(), 2_000);
    assert!(
        ids.iter()
            .all(|id| id.len() == 36 && id.as_bytes()[14] == b'4' && id.as_bytes()[19] >= b'8')
    );
    let payloads = texts(&batch, "payload").into_iter();
    for text in payloads.chain(texts(&batch, "metadata")) {
        serde_json::from_str::<serde_json::Value>(text).unwrap();
    }
    assert_eq!(KINDS.iter().map(|(_, weight)| weight).sum::<u32>(), 100);
    let kinds: HashSet<_> = texts(&batch, "event_type").into_iter().collect();
    assert_eq!(kinds.len(), 10);
    let nulls = batch.column_by_name("metadata").unwrap().null_count();
    assert!((800..1_200).contains(&nulls), "{nulls}");
    let entities = texts(&batch, "entity_id").into_iter();
    let first = entities.filter(|e| *e < "entity-00500").count();
    assert!(first > 400, "few entities have many events: {first}");
}

#[test]
fn an_empty_slot_holds_its_first_microsecond() {
    let mut file = planned(&["--tenants", "acme=1x3"]).remove(0);
    file.to = file.from;
    assert_eq!(events(&file).unwrap().num_rows(), 3);
}

#[tokio::test]
async fn what_is_written_is_what_was_planned_and_only_once() {
    let target = OpenStore {
        store: Arc::new(InMemory::new()),
        location: Location::Memory,
        enclosing: Vec::new(),
    };
    let files = || planned(&["--files", "4", "--rows", "20"]);
    let bar = ProgressBar::hidden();
    let report = write(&target, files(), false, &bar).await.unwrap();
    assert_eq!((report.totals.files, report.tenants["acme"].rows), (17, 80));
    let listed: Vec<_> = target.store.list(None).try_collect().await.unwrap();
    assert_eq!(listed.len(), 17);
    assert_eq!(
        listed.iter().map(|o| o.size).sum::<u64>(),
        report.totals.bytes
    );

    let again = write(&target, files(), false, &bar).await.unwrap_err();
    assert!(
        again.exit_code() == 2 && again.to_string().contains("--force-add"),
        "{again}"
    );
    let over = write(&target, files(), true, &bar).await.unwrap_err();
    assert!(
        over.to_string().contains("nothing is overwritten"),
        "{over}"
    );
}
