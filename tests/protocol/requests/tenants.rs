//! What many tenants cost that need nothing: a listing serves many of them, and nothing is
//! concluded from it but that.

use std::sync::Arc;

use chrono::{TimeDelta, Utc};
use icepack::pass::Selection;
use icepack::{CompactionConfig, CompactionManager};
use icepack_core::model::report::{RunReport, Status, TenantReport};
use icepack_core::model::shard::Shard;
use object_store::memory::InMemory;

use super::{FOLDERS, MARKER, PROBE, RECORD};
use crate::requests::recorder::{Kind, PAGE, Recorder};
use crate::support::{
    Event, Store, live, mark, put, put_events, seed, series, sorted, tenant_keys,
};

const TENANTS: usize = 250;

/// A tenant with a file that is none of ours.
const EMPTY: &str = "tenant-0100_";

/// A few tenants beside them have names that are in another order with a `/` behind them, and
/// folders of others lie in between.
fn names() -> Vec<String> {
    let odd = [
        "tenant-0003-",
        "tenant-0003-b",
        "tenant-0003.b",
        "tenant-00030",
        "Tenant",
    ]
    .map(str::to_owned);
    (0..TENANTS)
        .map(|n| format!("tenant-{n:04}"))
        .chain(odd)
        .collect()
}

struct World {
    store: Arc<InMemory>,
    recorder: Recorder,
    rows: Vec<(String, Vec<Event>)>,
    /// Files that arrived since: a name is used once.
    arrived: usize,
}

impl World {
    /// Every tenant is packed.
    async fn packed() -> Self {
        let store = Arc::new(InMemory::new());
        let recorder = Recorder::over(&store);
        let hot: Store = store.clone();
        mark(&hot).await;
        let mut rows = Vec::new();
        for name in names() {
            rows.push((
                name.clone(),
                seed(&hot, &name, 3, 2, Utc::now() - TimeDelta::hours(1)).await,
            ));
        }
        for key in [
            "_temporary/0/part.parquet",
            "tenant-0100_/.keep",
            ".trash/x",
            "tenant-0007.parquet",
            "zzz.txt",
        ] {
            put(&hot, key, "x").await;
        }
        let world = Self {
            store,
            recorder,
            rows,
            arrived: 0,
        };
        let report = world.pass().await;
        assert_eq!(
            (
                report.totals.counters.files_compacted,
                report.totals.counters.files_written
            ),
            (3 * names().len() as u64, names().len() as u64)
        );
        world
    }

    async fn pass(&self) -> RunReport {
        let manager = CompactionManager::new(self.recorder.store(), CompactionConfig::default());
        manager.run_pass(&Selection::all()).await.unwrap()
    }

    async fn arrive(&mut self, tenant: usize) {
        let hot: Store = self.store.clone();
        let name = &mut self.rows[tenant];
        for n in 0..3 {
            let events = series(
                1_000 + n * 10,
                10,
                Utc::now() - TimeDelta::minutes(1),
                TimeDelta::seconds(1),
            );
            let key = format!("{}/new-{}.parquet", name.0, self.arrived);
            put_events(&hot, &key, &events).await;
            name.1.extend(events);
            self.arrived += 1;
        }
    }

    async fn check_rows(&self) {
        let hot: Store = self.store.clone();
        for (name, rows) in &self.rows {
            assert_eq!(live(&hot, name).await, sorted(rows.clone()), "{name}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn tenants_that_need_nothing_share_their_listings() {
    let mut world = World::packed().await;
    let tenants = names().len() as u64;
    world.recorder = Recorder::over(&world.store);
    let report = world.pass().await;
    let all = world.recorder.log().bill(|_| true);
    let looked_at = report
        .tenants
        .iter()
        .filter(|t| t.counters.requests.list > 0)
        .count() as u64;
    println!("{tenants} tenants that need nothing: {all:?}, {looked_at} of them looked at");
    assert_eq!(report.totals.status, Status::Idle);
    assert_eq!(report.tenants.len() as u64, tenants + 1);
    // One GET of a head each, if there is one; and where it is looked at all the same, two
    // listings.
    assert_eq!(all.get, PROBE.get + MARKER + tenants + RECORD.get);
    let head = |t: &TenantReport| u64::from(t.tenant != EMPTY);
    assert!(report.tenants.iter().all(|t| t.counters.requests.total()
        == head(t) + if t.counters.requests.list > 0 { 2 } else { 0 }));
    let fixed = (PROBE + RECORD).list + FOLDERS;
    let shared = all.list - fixed - 2 * looked_at;
    // At both ends of a range, there are pages that are not full of its keys.
    let keys = world.store_keys().await;
    assert!(
        shared <= (keys.div_ceil(PAGE) + 2 * 5) as u64,
        "{shared} shared listings for {keys} keys"
    );
    assert!(
        all.total() <= 2 * tenants,
        "{} requests for {tenants} tenants",
        all.total()
    );
    let found = report.found.unwrap();
    assert_eq!(
        (found.tenants, found.raw_files, found.snapshots),
        (tenants + 1, 0, tenants)
    );
}

impl World {
    /// A pass of one of four shards.
    async fn pass_of_shard(&self, index: u32) -> RunReport {
        let config = CompactionConfig {
            shard: Shard::new(index, 4).unwrap(),
            ..CompactionConfig::default()
        };
        let manager = CompactionManager::new(self.recorder.store(), config);
        manager.run_pass(&Selection::all()).await.unwrap()
    }

    async fn store_keys(&self) -> usize {
        let hot: Store = self.store.clone();
        crate::support::keys(&hot).await.len()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_has_work_is_looked_at_and_done() {
    let mut world = World::packed().await;
    let busy = [0, 3, 99, 100, 101, TENANTS - 1, TENANTS, TENANTS + 4];
    for tenant in busy {
        world.arrive(tenant).await;
    }
    let report = world.pass().await;
    let mut done: Vec<&str> = report
        .tenants
        .iter()
        .filter(|t| t.status == Status::Done)
        .map(|t| t.tenant.as_str())
        .collect();
    let mut want: Vec<&str> = busy.iter().map(|t| world.rows[*t].0.as_str()).collect();
    done.sort_unstable();
    want.sort_unstable();
    assert_eq!(done, want);
    world.check_rows().await;
    assert_eq!(world.pass().await.totals.status, Status::Idle);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listing_that_hides_files_delays_their_tenant_and_harms_nothing() {
    let mut world = World::packed().await;
    world.arrive(42).await;
    let name = world.rows[42].0.clone();
    let hot: Store = world.store.clone();
    for hidden in [
        format!("{name}/new-0.parquet"),
        name.clone(),
        format!("_icepack/{name}"),
    ] {
        world.recorder.hide(&hidden);
        // One pass in sixteen looks at it whatever a hint says: that none of four hundred does has
        // not been seen since the world began.
        let mut passes = 0;
        while tenant_keys(&hot, &name)
            .await
            .iter()
            .any(|key| key.contains("/new-"))
        {
            assert_eq!(world.pass().await.totals.error, None);
            passes += 1;
            assert!(passes < 400, "{name} is passed over for ever");
        }
        println!("`{hidden}` hidden: seen in pass {passes}");
        world.check_rows().await;
        world.arrive(42).await;
    }
    assert!(world.recorder.log().count(Kind::Delete, &name) > 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn shards_share_listings_too() {
    let mut world = World::packed().await;
    world.recorder = Recorder::over(&world.store);
    let (mut looked_at, mut found) = (0, 0);
    for index in 0..4 {
        let report = world.pass_of_shard(index).await;
        assert_eq!(report.totals.status, Status::Idle);
        let is_looked_at = |t: &&TenantReport| t.counters.requests.list > 0;
        looked_at += report.tenants.iter().filter(is_looked_at).count();
        found += report.found.unwrap().tenants;
    }
    let all = world.recorder.log().bill(|_| true);
    println!("four shards: {all:?}, {looked_at} tenants looked at");
    assert_eq!(
        found,
        names().len() as u64 + 1,
        "each tenant is one shard's"
    );
    assert!(looked_at < 50, "{looked_at} tenants were looked at");
    assert!(all.list < 250, "a look at each would be 512 listings");
    // What has work is done all the same, each by its own shard.
    let busy = [0, 41, 99, 100, 101, TENANTS - 1, TENANTS + 4];
    for tenant in busy {
        world.arrive(tenant).await;
    }
    let mut done = 0;
    for index in 0..4 {
        let report = world.pass_of_shard(index).await;
        done += report
            .tenants
            .iter()
            .filter(|t| t.status == Status::Done)
            .count();
    }
    assert_eq!(done, busy.len());
    world.check_rows().await;
}

/// More files than the plans of a pass may hold: it goes on until all are done.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_too_much_for_one_look_is_done_in_rounds() {
    let store = Arc::new(InMemory::new());
    let hot: Store = store.clone();
    let mut rows: Vec<(String, Vec<Event>)> = Vec::new();
    for (tenant, folders) in [("large", 30), ("small", 2), ("tiny", 1)] {
        let mut events = Vec::new();
        for folder in 0..folders {
            for file in 0..4 {
                let at = 1_000 * folder + 10 * file;
                let some = series(
                    at,
                    3,
                    Utc::now() - TimeDelta::hours(1),
                    TimeDelta::seconds(1),
                );
                put_events(&hot, &format!("{tenant}/f{folder}/{file}.parquet"), &some).await;
                events.extend(some);
            }
        }
        rows.push((tenant.to_owned(), events));
    }
    let config = CompactionConfig {
        files_at_once: 24,
        ..CompactionConfig::default()
    };
    let manager = CompactionManager::new(hot.clone(), config);
    let report = manager.run_pass(&Selection::all()).await.unwrap();
    assert_eq!(report.totals.error, None);
    let counters = &report.totals.counters;
    assert_eq!(
        (counters.files_compacted, counters.files_deleted),
        (132, 132)
    );
    assert_eq!(report.found.unwrap().raw_files, 132);
    for (tenant, events) in rows {
        assert_eq!(live(&hot, &tenant).await, sorted(events), "{tenant}");
    }
}
