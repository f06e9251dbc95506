use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use object_store::memory::InMemory;
use ulid::Ulid;

use super::*;
use icepack_core::model::counters::Counters;
use icepack_core::model::report::{SCHEMA_VERSION, Status, TenantReport};

fn at(n: usize) -> DateTime<Utc> {
    DateTime::from_timestamp(1_777_000_000, 0).unwrap()
        + TimeDelta::minutes(i64::try_from(n).unwrap())
}

fn pass(n: usize, status: Status) -> RunReport {
    let totals = TenantReport {
        tenant: "total".into(),
        status,
        counters: Counters {
            files_compacted: 1,
            ..Counters::default()
        },
        ..TenantReport::default()
    };
    let run_id = FileId(Ulid::from_parts(n as u64 + 1, 0));
    RunReport {
        schema_version: SCHEMA_VERSION,
        run_id,
        started_at: at(n),
        duration_ms: 1,
        tenants: Vec::new(),
        requests: totals.counters.requests,
        totals,
        found: None,
    }
}

async fn recorded(store: &dyn ObjectStore, n: usize, status: Status, shard: Shard) -> RunRecord {
    record(store, &pass(n, status), None, shard).await.unwrap()
}

#[tokio::test]
async fn two_hundred_records_stay_and_the_sums_go_on() {
    let store = InMemory::new();
    for n in 0..230 {
        recorded(&store, n, Status::Done, Shard::WHOLE).await;
    }
    let keys = list(&store, at(1_000)).await.unwrap();
    assert_eq!(keys.len(), KEEP);
    let last = last(&store, Shard::WHOLE, at(1_000))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(
        (
            last.sums.passes,
            last.sums.counters.files_compacted,
            last.report.started_at
        ),
        (230, 230, at(229))
    );
}

#[tokio::test]
async fn each_shard_has_its_own_last_pass_and_sums() {
    let store = InMemory::new();
    let shards: Vec<Shard> = (0..4).map(|i| Shard::new(i, 4).unwrap()).collect();
    for n in 0..40 {
        recorded(&store, n, Status::Done, shards[n % 4]).await;
    }
    // One that is alone from now on.
    for n in 40..60 {
        recorded(&store, n, Status::Done, shards[0]).await;
    }
    let third = last(&store, shards[3], at(1_000)).await.unwrap().unwrap();
    assert_eq!((third.report.started_at, third.sums.passes), (at(39), 10));
    assert_eq!(
        last(&store, shards[0], at(1_000))
            .await
            .unwrap()
            .unwrap()
            .sums
            .passes,
        30
    );
    assert!(
        last(&store, Shard::WHOLE, at(1_000))
            .await
            .unwrap()
            .is_none()
    );
}

#[tokio::test]
async fn the_summary_finds_a_success_behind_many_failures() {
    let store = InMemory::new();
    recorded(&store, 0, Status::Done, Shard::WHOLE).await;
    for n in 1..100 {
        recorded(&store, n, Status::Failed, Shard::WHOLE).await;
    }
    let found = summary(&store, at(1_000)).await.unwrap();
    assert_eq!(found.last.unwrap().report.started_at, at(99));
    assert_eq!(found.failure.unwrap().report.started_at, at(99));
    assert_eq!(found.success.unwrap().report.started_at, at(0));
}

#[tokio::test]
async fn a_damaged_record_is_passed_over() {
    let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    recorded(store.as_ref(), 0, Status::Done, Shard::WHOLE).await;
    let broken = key(&pass(1, Status::Done));
    store
        .put(&path(&broken).unwrap(), PutPayload::from_static(b"{"))
        .await
        .unwrap();
    assert_eq!(
        last(store.as_ref(), Shard::WHOLE, at(1_000))
            .await
            .unwrap()
            .unwrap()
            .report
            .started_at,
        at(0)
    );
    assert_eq!(
        recorded(store.as_ref(), 2, Status::Done, Shard::WHOLE)
            .await
            .sums
            .passes,
        2
    );
}

#[tokio::test]
async fn a_record_of_the_future_has_its_place_by_the_stores_time() {
    let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let now = || crate::clock::Clock::now(&crate::clock::SystemClock::default());
    let minutes = |of: DateTime<Utc>| usize::try_from((of - at(0)).num_minutes()).unwrap();
    let ahead = minutes(now()) + 5_000_000;
    recorded(store.as_ref(), ahead, Status::Done, Shard::WHOLE).await;
    let written = now();
    let found = last(store.as_ref(), Shard::WHOLE, now())
        .await
        .unwrap()
        .unwrap();
    assert_eq!(found.claimed, Some(at(ahead)));
    assert!(
        found.report.started_at <= written && found.last_success.unwrap() <= written,
        "{:?}",
        found.report.started_at
    );
    // The next one carries its sums on, and is the newest.
    let next = minutes(now()) + 1;
    let record = recorded(store.as_ref(), next, Status::Done, Shard::WHOLE).await;
    assert_eq!((record.sums.passes, record.claimed), (2, None));
    let found = last(store.as_ref(), Shard::WHOLE, at(next + 1))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(
        (found.report.started_at, found.sums.passes, found.claimed),
        (at(next), 2, None)
    );
    let both = recent(store.as_ref(), 2, at(next + 1)).await.unwrap();
    assert_eq!(
        both.iter().map(|r| r.claimed.is_some()).collect::<Vec<_>>(),
        [true, false]
    );
}
