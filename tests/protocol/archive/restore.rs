//! Restoring: thaws that take their time, attempts that break off, ranges, holds, and archives that
//! are not what they say.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, TimeDelta, Utc};
use icepack::archive::{
    Archive, ArchiveBackend, ArchiveOptions, Attributes, ObjectStoreBackend, Stored, Thaw,
};
use icepack::clock::{Clock, ManualClock};
use icepack::pass::{Selection, StopHandle};
use icepack::restore::{RestoreRequest, Restorer};
use icepack::store::counting::RequestCounters;
use icepack::store::object_writer::upload::{Destination, StoreDestination};
use icepack::store::retry::RetryPolicy;
use icepack::{CompactionConfig, CompactionManager};
use icepack_core::model::file::Micros;
use icepack_core::model::names::Tenant;
use icepack_core::model::restore::{ColdState, RestoreStatus, TenantRestore, Tier};
use icepack_dst::faults::{Fault, Process, Schedule, Side};
use object_store::ObjectStoreExt;
use object_store::path::Path;

use super::support::{
    Event, Store, archived, eager, get, keys, live, memory, put, put_events, seed, series, sorted,
};

const ARCHIVE: &str = "memory://cold";

pub fn now() -> DateTime<Utc> {
    DateTime::from_timestamp(1_790_000_000, 0).unwrap()
}

/// An archive with rows of `acme` in three objects, and those rows.
pub async fn cold() -> (Store, Vec<Event>) {
    let (hot, cold) = (memory(), memory());
    let clock = Arc::new(ManualClock::new(now(), 1));
    for n in 0..3 {
        let end = now() - TimeDelta::days(60 - 10 * n);
        let events = series(
            1_000 * usize::try_from(n).unwrap(),
            100,
            end,
            TimeDelta::hours(1),
        );
        for (i, part) in events.chunks(25).enumerate() {
            put_events(&hot, &format!("acme/{n}-{i}.parquet"), part).await;
        }
        let mut config = eager();
        config
            .retention
            .set("acme", Some(Duration::from_secs(30 * 86_400)));
        config.archive = Some(Arc::new(Archive::new(
            Arc::clone(&cold),
            ARCHIVE,
            ArchiveOptions::default(),
        )));
        let result = CompactionManager::new(Arc::clone(&hot), config)
            .with_clock(clock.clone())
            .compact()
            .await
            .unwrap();
        assert_eq!((result.ledger.rows_archived, result.errors.len()), (100, 0));
    }
    let rows = archived(&cold, "acme").await;
    assert_eq!(rows.len(), 300);
    (cold, rows)
}

pub fn restorer(
    cold: Arc<dyn ArchiveBackend>,
    store: &Store,
    clock: &Arc<ManualClock>,
) -> Restorer {
    Restorer {
        cold,
        archive: ARCHIVE.into(),
        store: Arc::clone(store),
        destination: Arc::new(StoreDestination {
            store: Arc::clone(store),
            attributes: Default::default(),
            retry: RetryPolicy::NEVER,
        }),
        into: "memory://back".into(),
        layout: Default::default(),
        time_columns: icepack::TimeColumns::default(),
        memory: 64 << 20,
        prices: Default::default(),
        clock: Arc::clone(clock) as Arc<dyn Clock>,
        stop: StopHandle::default(),
    }
}

pub fn plain(cold: &Store) -> Arc<ObjectStoreBackend> {
    Arc::new(ObjectStoreBackend {
        store: Arc::clone(cold),
        retry: RetryPolicy::NEVER,
        send_class: false,
    })
}

pub fn everything() -> RestoreRequest {
    RestoreRequest {
        selection: Selection::all(),
        from: None,
        to: None,
        into: None,
        tier: Tier::Bulk,
        days: 7,
        hold: Duration::from_secs(10 * 86_400),
        wait: None,
        dry_run: false,
        again: false,
    }
}

pub async fn restore(
    cold: &Store,
    store: &Store,
    clock: &Arc<ManualClock>,
    request: &RestoreRequest,
) -> icepack::Result<TenantRestore> {
    Ok(restorer(plain(cold), store, clock)
        .run(request)
        .await?
        .tenants
        .remove(0))
}

pub fn clock(seed: u64) -> Arc<ManualClock> {
    Arc::new(ManualClock::new(now(), seed))
}

#[tokio::test]
async fn rows_in_range_come_back_once_however_often_they_are_asked_for() {
    let (cold, rows) = cold().await;
    let (back, clock) = (memory(), clock(2));
    let (from, to) = (rows[120].at, rows[250].at);
    let request = RestoreRequest {
        from: Some(Micros(from)),
        to: Some(Micros(to)),
        ..everything()
    };
    let first = restore(&cold, &back, &clock, &request).await.unwrap();
    assert_eq!(
        (first.status, first.rows, first.files.len()),
        (RestoreStatus::Done, 130, 2),
        "{first:?}"
    );
    assert_eq!(live(&back, "restored-acme").await, rows[120..250]);
    let again = restore(&cold, &back, &clock, &request).await.unwrap();
    assert_eq!(
        (again.status, again.hold),
        (RestoreStatus::Already, first.hold)
    );

    let overlapping = restore(&cold, &back, &clock, &everything()).await.unwrap();
    assert_eq!(overlapping.status, RestoreStatus::Failed);
    assert!(
        overlapping.error.unwrap().contains("--as"),
        "another copy of the same rows must be asked for by name"
    );
    let elsewhere = RestoreRequest {
        into: Some(Tenant::parse("all").unwrap()),
        ..everything()
    };
    assert_eq!(
        restore(&cold, &back, &clock, &elsewhere)
            .await
            .unwrap()
            .rows,
        300
    );
    for (from, to) in [(None, Some(from)), (Some(to), None)] {
        let rest = RestoreRequest {
            from: from.map(Micros),
            to: to.map(Micros),
            ..everything()
        };
        assert_eq!(
            restore(&cold, &back, &clock, &rest).await.unwrap().status,
            RestoreStatus::Done
        );
    }
    assert_eq!(live(&back, "restored-acme").await, rows);
    let nothing = RestoreRequest {
        from: Some(Micros(now().timestamp_micros())),
        ..everything()
    };
    assert_eq!(
        restore(&cold, &back, &clock, &nothing)
            .await
            .unwrap()
            .status,
        RestoreStatus::Empty
    );
}

#[tokio::test]
async fn a_dry_run_writes_nothing() {
    let (cold, _) = cold().await;
    let back = memory();
    let plan = restore(
        &cold,
        &back,
        &clock(2),
        &RestoreRequest {
            dry_run: true,
            ..everything()
        },
    )
    .await
    .unwrap();
    assert_eq!(
        (plan.status, plan.objects.len()),
        (RestoreStatus::Planned, 3)
    );
    assert_eq!(keys(&back).await, [] as [String; 0]);
}

#[tokio::test]
async fn restored_rows_are_held_and_expire_after_that() {
    let (cold, rows) = cold().await;
    let (back, clock) = (memory(), clock(2));
    let held = restore(&cold, &back, &clock, &everything()).await.unwrap();
    assert_eq!(held.held_until, Some(now() + TimeDelta::days(10)));
    let pass = || {
        let mut config = CompactionConfig {
            min_files_to_compact: 2,
            ..eager()
        };
        config.retention.default_ttl = Some(Duration::from_secs(86_400));
        CompactionManager::new(Arc::clone(&back), config).with_clock(clock.clone())
    };
    let result = pass().compact().await.unwrap();
    assert_eq!(
        (result.files_compacted, result.ledger.rows_expired),
        (3, 0),
        "they are compacted like all others, and do not expire: {result:?}"
    );
    assert_eq!(live(&back, "restored-acme").await, rows);
    assert_eq!(
        restore(&cold, &back, &clock, &everything())
            .await
            .unwrap()
            .status,
        RestoreStatus::Already,
        "the files are gone, the hold remembers"
    );
    clock.advance(TimeDelta::days(11));
    let result = pass().compact().await.unwrap();
    assert_eq!(result.ledger.rows_expired, 300, "{result:?}");
    let over = restore(&cold, &back, &clock, &everything()).await.unwrap();
    assert_eq!(
        over.status,
        RestoreStatus::Already,
        "once more only if it is asked for"
    );
    let again = restore(
        &cold,
        &back,
        &clock,
        &RestoreRequest {
            again: true,
            ..everything()
        },
    )
    .await
    .unwrap();
    assert_eq!((again.status, again.rows), (RestoreStatus::Done, 300));
    assert_eq!(live(&back, "restored-acme").await, rows);
}

#[tokio::test]
async fn an_attempt_that_dies_at_any_call_is_gone_on_with_and_doubles_nothing() {
    let (cold, rows) = cold().await;
    let total = {
        let process = Process::new(Schedule::clean());
        let back: Store = process.store(&memory(), Side::Hot, None);
        restore(&cold, &back, &clock(2), &everything())
            .await
            .unwrap();
        process.calls().len()
    };
    assert!(total > 20, "{total}");
    for applied in [false, true] {
        for calls in 1..=total {
            let inner = memory();
            let process = Process::new(Schedule::one(calls, Fault::Die { applied }));
            let dying: Store = process.store(&inner, Side::Hot, None);
            let _ = restore(&cold, &dying, &clock(2), &everything()).await;
            // A pass in between takes what it may take, sweeps, and forgets.
            let config = CompactionConfig {
                min_files_to_compact: 1,
                ..eager()
            };
            let between = clock(3);
            between.advance(TimeDelta::days(2));
            CompactionManager::new(Arc::clone(&inner), config)
                .with_clock(between)
                .compact()
                .await
                .unwrap();
            let end = restore(&cold, &inner, &clock(4), &everything())
                .await
                .unwrap();
            assert!(
                matches!(end.status, RestoreStatus::Done | RestoreStatus::Already),
                "applied {applied}, call {calls} of {total}: {end:?}"
            );
            assert_eq!(
                live(&inner, "restored-acme").await,
                rows,
                "applied {applied}, call {calls} of {total}"
            );
        }
    }
    println!(
        "restore: died at each of {total} calls, before and after it: {} cases",
        2 * total
    );
}

/// An archive whose objects thaw when the script says so.
#[derive(Debug)]
struct Scripted {
    inner: Arc<ObjectStoreBackend>,
    /// What the next look at each object shows; the last stays.
    states: Mutex<VecDeque<ColdState>>,
    objects: usize,
    looks: Mutex<usize>,
    thawed: Mutex<Vec<(String, Tier)>>,
}

#[async_trait]
impl ArchiveBackend for Scripted {
    fn reader(&self) -> Store {
        self.inner.reader()
    }

    fn destination(
        &self,
        attributes: Attributes,
        requests: &Arc<RequestCounters>,
    ) -> Arc<dyn Destination> {
        self.inner.destination(attributes, requests)
    }

    async fn head(&self, _: &str, _: &Arc<RequestCounters>) -> icepack::Result<Option<Stored>> {
        let mut looks = self.looks.lock().unwrap();
        *looks += 1;
        let mut states = self.states.lock().unwrap();
        let state = *states.front().unwrap();
        if looks.is_multiple_of(self.objects) && states.len() > 1 {
            states.pop_front();
        }
        let thaw = match state {
            ColdState::Thawing => Some(Thaw::InProgress),
            ColdState::Readable { until } => Some(Thaw::Done { until }),
            ColdState::Frozen | ColdState::Missing => None,
        };
        Ok(Some(Stored {
            class: Some("DEEP_ARCHIVE".into()),
            thaw,
            ..Stored::default()
        }))
    }

    async fn thaw(&self, key: &str, tier: Tier, _: u16) -> icepack::Result<()> {
        self.thawed.lock().unwrap().push((key.to_owned(), tier));
        Ok(())
    }
}

fn scripted(cold: &Store, states: &[ColdState]) -> Arc<Scripted> {
    let states = Mutex::new(states.iter().copied().collect());
    Arc::new(Scripted {
        inner: plain(cold),
        states,
        objects: 3,
        looks: Mutex::default(),
        thawed: Mutex::default(),
    })
}

#[tokio::test(start_paused = true)]
async fn a_thaw_is_asked_for_once_and_waited_for() {
    let (cold, rows) = cold().await;
    let (back, clock) = (memory(), clock(2));
    let readable = ColdState::Readable {
        until: Some(now() + TimeDelta::days(1)),
    };

    // Without --wait: asked for, then over to the caller; a second call while it thaws asks for
    // nothing.
    let frozen = scripted(&cold, &[ColdState::Frozen, ColdState::Thawing]);
    let first = restorer(frozen.clone(), &back, &clock)
        .run(&RestoreRequest {
            tier: Tier::Expedited,
            ..everything()
        })
        .await
        .unwrap()
        .tenants
        .remove(0);
    assert_eq!(first.status, RestoreStatus::Thawing);
    assert_eq!(first.objects[0].thaw_minutes, Some((540, 720)));
    let thawed = frozen.thawed.lock().unwrap().clone();
    assert_eq!(thawed.len(), 3);
    assert!(
        thawed.iter().all(|(_, tier)| *tier == Tier::Standard),
        "DEEP_ARCHIVE knows no Expedited"
    );
    let second = restorer(frozen.clone(), &back, &clock)
        .run(&everything())
        .await
        .unwrap()
        .tenants
        .remove(0);
    assert_eq!(
        (second.status, frozen.thawed.lock().unwrap().len()),
        (RestoreStatus::Thawing, 3)
    );
    assert_eq!(
        keys(&back)
            .await
            .iter()
            .filter(|k| !k.contains("_probe"))
            .count(),
        0,
        "nothing is written before everything can be read"
    );

    // With --wait: until it is there. The pauses are the runtime's own, and pass at once.
    let slow = scripted(
        &cold,
        &[
            ColdState::Frozen,
            ColdState::Thawing,
            ColdState::Thawing,
            readable,
        ],
    );
    let wait = RestoreRequest {
        wait: Some(Duration::from_secs(3_600)),
        ..everything()
    };
    let end = restorer(slow.clone(), &back, &clock)
        .run(&wait)
        .await
        .unwrap()
        .tenants
        .remove(0);
    assert_eq!((end.status, end.rows), (RestoreStatus::Done, 300));
    assert_eq!(live(&back, "restored-acme").await, rows);
}

#[tokio::test]
async fn an_archive_that_is_not_what_its_receipts_say_gives_nothing_back() {
    let (cold, rows) = cold().await;
    let object = keys(&cold)
        .await
        .into_iter()
        .find(|k| k.ends_with(".parquet"))
        .unwrap();
    let body = cold
        .get(&Path::from(object.as_str()))
        .await
        .unwrap()
        .bytes()
        .await
        .unwrap();

    // Another file of the same size cannot be made easily: rows of another object, whose size the
    // receipt contradicts.
    cold.put(
        &Path::from(object.as_str()),
        bytes::Bytes::from_static(b"PAR1").into(),
    )
    .await
    .unwrap();
    let back = memory();
    let damaged = restore(&cold, &back, &clock(2), &everything())
        .await
        .unwrap();
    assert_eq!(damaged.status, RestoreStatus::Failed, "{damaged:?}");
    assert!(damaged.error.unwrap().contains("bytes"));
    assert_eq!(live(&back, "restored-acme").await.len(), 0);

    cold.delete(&Path::from(object.as_str())).await.unwrap();
    let missing = restore(&cold, &memory(), &clock(2), &everything())
        .await
        .unwrap();
    assert_eq!(missing.status, RestoreStatus::Refused);
    assert!(
        missing
            .error
            .unwrap()
            .contains("is not there, though its receipt is")
    );

    // A receipt that promises a row more: the rows are read to the end, and none is taken.
    cold.put(&Path::from(object.as_str()), body.into())
        .await
        .unwrap();
    let key = object.replace(".parquet", ".receipt.json");
    let receipt = cold
        .get(&Path::from(key.as_str()))
        .await
        .unwrap()
        .bytes()
        .await
        .unwrap();
    let mut lying: serde_json::Value = serde_json::from_slice(&receipt).unwrap();
    lying["rows"] = 101.into();
    cold.put(
        &Path::from(key.as_str()),
        serde_json::to_vec(&lying).unwrap().into(),
    )
    .await
    .unwrap();
    let back = memory();
    let refused = restore(&cold, &back, &clock(2), &everything())
        .await
        .unwrap();
    assert_eq!(refused.status, RestoreStatus::Refused, "{refused:?}");
    assert!(
        refused
            .error
            .unwrap()
            .contains("does not hold what its receipt says")
    );
    cold.put(&Path::from(key.as_str()), receipt.into())
        .await
        .unwrap();
    // The same attempt goes on once the archive is mended.
    let mended = restore(&cold, &back, &clock(3), &everything())
        .await
        .unwrap();
    assert_eq!(
        (mended.status, live(&back, "restored-acme").await),
        (RestoreStatus::Done, rows)
    );
}

#[tokio::test]
async fn two_restores_at_once_make_one() {
    let (cold, rows) = cold().await;
    let back = memory();
    let (a, b) = (clock(2), clock(3));
    let all = everything();
    let (first, second) = tokio::join!(
        restore(&cold, &back, &a, &all),
        restore(&cold, &back, &b, &all)
    );
    let ends = [first.unwrap().status, second.unwrap().status];
    assert!(ends.contains(&RestoreStatus::Done), "{ends:?}");
    assert_eq!(live(&back, "restored-acme").await, rows, "{ends:?}");
}

#[tokio::test]
async fn rows_come_back_into_a_tenant_that_lives() {
    let (cold, rows) = cold().await;
    let (back, clock) = (memory(), clock(2));
    let own = seed(&back, "acme", 4, 25, now() - TimeDelta::hours(1)).await;
    let into = RestoreRequest {
        into: Some(Tenant::parse("acme").unwrap()),
        ..everything()
    };
    assert_eq!(
        restore(&cold, &back, &clock, &into).await.unwrap().status,
        RestoreStatus::Done
    );
    let mut config = eager();
    config
        .retention
        .set("acme", Some(Duration::from_secs(5 * 86_400)));
    let result = CompactionManager::new(Arc::clone(&back), config)
        .with_clock(clock)
        .compact()
        .await
        .unwrap();
    assert_eq!((result.files_compacted, result.ledger.rows_expired), (7, 0));
    assert_eq!(live(&back, "acme").await, sorted([rows, own].concat()));
}

/// Somebody takes a restore for dead and begins it again: both find a file absent, and the slower
/// one writes it when a pass has merged and deleted the other's.
#[tokio::test]
async fn a_file_that_a_second_process_writes_last_doubles_nothing() {
    let (cold, rows) = cold().await;
    let (back, clock) = (memory(), clock(2));
    let done = restore(&cold, &back, &clock, &everything()).await.unwrap();
    assert_eq!(
        (done.status, done.rows, done.files.len()),
        (RestoreStatus::Done, 300, 3)
    );
    let mut in_hand = Vec::new();
    for file in &done.files {
        in_hand.push((file, get(&back, file).await));
    }
    let pass = async || {
        let config = CompactionConfig {
            min_files_to_compact: 1,
            ..eager()
        };
        let result = CompactionManager::new(Arc::clone(&back), config)
            .with_clock(clock.clone())
            .compact()
            .await
            .unwrap();
        assert_eq!(result.errors.len(), 0, "{:?}", result.errors);
        keys(&back)
            .await
            .into_iter()
            .filter(|k| k.contains("/restored."))
            .count()
    };
    assert_eq!(pass().await, 0, "merged and deleted");
    for (file, body) in in_hand {
        put(&back, file, body).await;
        assert_eq!(live(&back, "restored-acme").await, rows);
    }
    assert_eq!(pass().await, 0, "copies of what was merged");
    assert_eq!(live(&back, "restored-acme").await, rows);
    // Once the hold is over nothing of it has to be remembered.
    clock.advance(TimeDelta::days(11));
    pass().await;
    let newest = keys(&back)
        .await
        .into_iter()
        .rfind(|k| k.starts_with("_icepack/restored-acme/manifest/"))
        .unwrap();
    let head: icepack_core::model::manifest::Manifest =
        serde_json::from_slice(&get(&back, &newest).await).unwrap();
    assert_eq!((head.retired.len(), head.holds[0].files.len()), (0, 0));
    assert_eq!(live(&back, "restored-acme").await, rows);
}
