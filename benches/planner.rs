//! A plan over the files of one tenant: `cargo bench --bench planner`.

use std::hint::black_box;

use chrono::{DateTime, TimeDelta, Utc};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use icepack::CompactionConfig;
use icepack_core::model::file::{Listed, Micros, RowStats, Snapshot};
use icepack_core::model::manifest::{Manifest, Stamp};
use icepack_core::model::names::{FileId, Place, Tenant, snapshot_key};
use icepack_core::model::plan::Inventory;
use icepack_core::model::units::MIB;
use icepack_core::plan::compaction;
use ulid::Ulid;

fn at(hour: i64) -> DateTime<Utc> {
    DateTime::UNIX_EPOCH + TimeDelta::days(20_000) + TimeDelta::hours(hour)
}

/// So many files, `raw` in a hundred of them raw and the others finished snapshots.
fn inventory(tenant: &Tenant, files: i64, raw: i64) -> Inventory {
    let mut head = Manifest::first(
        tenant.clone(),
        Stamp {
            run_id: FileId::NIL,
            commit_id: FileId::NIL,
            at: at(0),
        },
    );
    let mut listing = Vec::new();
    for n in 0..files {
        let mut listed = Listed {
            key: format!("acme/2024-10/{n:012}.parquet"),
            size: MIB,
            etag: Some(format!("\"{n:032x}\"")),
            modified: at(n),
        };
        if n % 100 >= raw {
            let (from, to) = (
                Micros::from_datetime(at(n)),
                Micros::from_datetime(at(n + 1)),
            );
            let id = FileId(Ulid::from_parts(
                u64::try_from(at(n).timestamp_millis()).unwrap_or(0),
                u128::from(n.unsigned_abs()),
            ));
            let stats = RowStats {
                rows: 1,
                min: Some(from),
                max: Some(to),
                ..RowStats::default()
            };
            listed.key = snapshot_key(&Place::Month(tenant.clone()), tenant, from, to, id);
            listed.size = 100 * MIB;
            head.snapshots.push(Snapshot {
                key: listed.key.clone(),
                id,
                size: listed.size,
                etag: listed.etag.clone(),
                schema: None,
                dated_by: Some("timestamp".into()),
                stats,
            });
        }
        listing.push(listed);
    }
    Inventory {
        head: Some(head),
        listing,
    }
}

fn plan(c: &mut Criterion) {
    let Ok(tenant) = Tenant::parse("acme") else {
        return;
    };
    let policy = CompactionConfig::default().policy_for("acme");
    let mut group = c.benchmark_group("plan");
    for files in [10_000_u32, 100_000] {
        for (what, raw) in [
            ("raw files", 100),
            ("finished snapshots", 0),
            ("half and half", 50),
        ] {
            let inventory = inventory(&tenant, i64::from(files), raw);
            group.throughput(Throughput::Elements(u64::from(files)));
            group.bench_function(BenchmarkId::new(what, files), |b| {
                b.iter(|| compaction::plan(&tenant, black_box(&inventory), &policy, at(200_000)))
            });
        }
    }
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(10);
    targets = plan
}
criterion_main!(benches);
