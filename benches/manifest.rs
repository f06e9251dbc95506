//! A manifest of 50,000 snapshots: read, changed, written. `cargo bench --bench manifest`.

use std::hint::black_box;

use chrono::{DateTime, TimeDelta, Utc};
use criterion::{Criterion, criterion_group, criterion_main};
use icepack::protocol::discover::decode;
use icepack_core::model::file::{Micros, RowStats, Snapshot};
use icepack_core::model::manifest::{
    Edit, Ledger, Manifest, Observed, RetireReason, Retired, Stamp,
};
use icepack_core::model::names::{FileId, Place, Tenant, snapshot_key};
use icepack_core::plan::commit::apply;
use ulid::Ulid;

const SNAPSHOTS: u64 = 50_000;

fn at(hour: u64) -> DateTime<Utc> {
    DateTime::UNIX_EPOCH
        + TimeDelta::days(20_000)
        + TimeDelta::hours(i64::try_from(hour).unwrap_or(0))
}

fn stamp(n: u128) -> Stamp {
    Stamp {
        run_id: FileId::NIL,
        commit_id: FileId(Ulid::from_parts(0, n)),
        at: at(0),
    }
}

fn snapshot(tenant: &Tenant, n: u64) -> Snapshot {
    let (from, to) = (
        Micros::from_datetime(at(n)),
        Micros::from_datetime(at(n + 1)),
    );
    let id = FileId(Ulid::from_parts(
        u64::try_from(at(n).timestamp_millis()).unwrap_or(0),
        u128::from(n),
    ));
    let stats = RowStats {
        rows: 1_000_000,
        min: Some(from),
        max: Some(to),
        ..RowStats::default()
    };
    Snapshot {
        key: snapshot_key(&Place::Month(tenant.clone()), tenant, from, to, id),
        id,
        size: 128 << 20,
        etag: Some(format!("\"{n:032x}\"")),
        schema: None,
        dated_by: Some("timestamp".into()),
        stats,
    }
}

fn manifest(tenant: &Tenant) -> Manifest {
    let mut head = Manifest::first(tenant.clone(), stamp(0));
    head.snapshots = (0..SNAPSHOTS).map(|n| snapshot(tenant, n)).collect();
    head
}

/// Four snapshots become one.
fn edit(head: &Manifest) -> Edit {
    let mut edit = Edit::new(FileId::NIL, stamp(1).commit_id);
    let mut merged = snapshot(&head.tenant, SNAPSHOTS);
    for s in head.snapshots.iter().take(4) {
        let (key, size, etag, rows) = (s.key.clone(), s.size, s.etag.clone(), s.stats.rows);
        edit.retire.push(Retired {
            key,
            size,
            etag,
            rows,
            fingerprint: None,
            remembered: None,
            found: None,
            at: at(0),
            reason: RetireReason::Compacted,
        });
        edit.ledger += Ledger {
            rows_in: rows,
            rows_kept: rows,
            ..Ledger::default()
        };
    }
    merged.stats.rows = edit.ledger.rows_kept;
    edit.add.push(merged);
    edit
}

fn benches(c: &mut Criterion) {
    let Ok(tenant) = Tenant::parse("acme") else {
        return;
    };
    let head = manifest(&tenant);
    let edit = edit(&head);
    let Ok(body) = serde_json::to_vec(&head) else {
        return;
    };
    let seen = Observed::since(&head);
    // A refused edit or a manifest that is not read would be measured as a fast one.
    assert!(
        apply(&head, &edit, &seen, stamp(1))
            .is_ok_and(|next| next.snapshots.len() as u64 == SNAPSHOTS - 3)
    );
    assert!(decode(&tenant, 1, &body).is_ok_and(|found| found == head));
    let mut group = c.benchmark_group("manifest of 50,000 snapshots");
    group.bench_function("read", |b| b.iter(|| decode(&tenant, 1, black_box(&body))));
    group.bench_function("apply", |b| {
        b.iter(|| apply(black_box(&head), &edit, &seen, stamp(1)))
    });
    group.bench_function("write", |b| b.iter(|| serde_json::to_vec(black_box(&head))));
    group.bench_function("read, apply and write", |b| {
        b.iter(|| {
            let next = decode(&tenant, 1, black_box(&body))
                .ok()
                .and_then(|head| apply(&head, &edit, &seen, stamp(1)).ok());
            next.map(|next| serde_json::to_vec(&next))
        });
    });
    group.finish();
}

criterion_group! {
    name = all;
    config = Criterion::default().sample_size(10);
    targets = benches
}
criterion_main!(all);
