//! Stores of every layout: what is merged, archived and restored stays in its tenant's folders, and
//! what is no tenant's stays as it is.

use std::sync::Arc;
use std::time::Duration;

use chrono::TimeDelta;
use icepack::archive::{Archive, ArchiveOptions};
use icepack::clock::ManualClock;
use icepack::pass::Selection;
use icepack::restore::RestoreRequest;
use icepack::{CompactionConfig, CompactionManager, Error};
use icepack_core::model::layout::{Layout, ONLY_TENANT};
use icepack_core::model::names::Tenant;
use icepack_core::model::policy::CompactionStrategy;
use icepack_core::model::restore::RestoreStatus;

use crate::archive::restore::{clock, everything, now, plain, restorer};
use crate::support::{
    Event, Store, eager, get, keys, memory, put, put_events, read_all, series, sorted,
};

/// A tenant: its name, the folders that its writers use, and whether a key is its, as a person sees
/// it.
type Own = (&'static str, &'static [&'static str], fn(&str) -> bool);

/// What a store of a layout holds.
struct Shape {
    layout: &'static str,
    tenants: &'static [Own],
    /// Files that are no tenant's.
    strangers: &'static [&'static str],
}

const SHAPES: &[Shape] = &[
    Shape {
        layout: "topics/{tenant}/**",
        tenants: &[
            (
                "orders",
                &["topics/orders/partition=1/", "topics/orders/partition=0/"],
                |key| key.starts_with("topics/orders/"),
            ),
            ("users", &["topics/users/2026/"], |key| {
                key.starts_with("topics/users/")
            }),
        ],
        strangers: &[
            "x.parquet",
            "other/x.parquet",
            "topics/x.parquet",
            "topics/_tmp/x.parquet",
        ],
    },
    Shape {
        layout: "tenant_id={tenant}/**",
        tenants: &[
            ("acme", &["tenant_id=acme/"], |key| {
                key.starts_with("tenant_id=acme/")
            }),
            ("acme-eu", &["tenant_id=acme-eu/a/"], |key| {
                key.starts_with("tenant_id=acme-eu/")
            }),
        ],
        strangers: &["acme/x.parquet", "tenant=acme/x.parquet"],
    },
    Shape {
        layout: "*/tenant={tenant}/**",
        tenants: &[
            (
                "acme",
                &["2026-01-01/tenant=acme/", "2026-01-02/tenant=acme/"],
                |key| key.split('/').nth(1) == Some("tenant=acme"),
            ),
            ("globex", &["2026-01-02/tenant=globex/a/"], |key| {
                key.split('/').nth(1) == Some("tenant=globex")
            }),
        ],
        strangers: &[
            "_tmp/tenant=acme/x.parquet",
            "2026-01-01/x.parquet",
            "tenant=acme/x.parquet",
        ],
    },
    Shape {
        layout: "{schema}/{table}/**",
        tenants: &[
            (
                "public.orders",
                &["public/orders/", "public/orders/2026/"],
                |key| key.starts_with("public/orders/"),
            ),
            ("a..b.c", &["a.b/c/"], |key| key.starts_with("a.b/c/")),
            ("a.b..c", &["a/b.c/"], |key| key.starts_with("a/b.c/")),
        ],
        strangers: &["x.parquet", "public/x.parquet", "public/_tmp/x.parquet"],
    },
    Shape {
        layout: "**",
        tenants: &[(ONLY_TENANT, &["", "a/", "a/b/"], |key| {
            !key.starts_with('_')
        })],
        strangers: &["_tmp/x.parquet", "a/_x.parquet"],
    },
];

/// A store of a shape and its archive.
struct World<'a> {
    shape: &'a Shape,
    hot: Store,
    cold: Store,
    clock: Arc<ManualClock>,
    /// By the tenants of the shape: rows that stay, and rows that expire.
    fresh: Vec<Vec<Event>>,
    old: Vec<Vec<Event>>,
}

impl<'a> World<'a> {
    fn new(shape: &'a Shape) -> Self {
        Self {
            shape,
            hot: memory(),
            cold: memory(),
            clock: clock(1),
            fresh: vec![Vec::new(); shape.tenants.len()],
            old: vec![Vec::new(); shape.tenants.len()],
        }
    }

    fn manager(&self) -> CompactionManager {
        let mut config = CompactionConfig {
            layout: Layout::parse(self.shape.layout).unwrap(),
            strategy: CompactionStrategy::FullCompaction,
            min_files_to_compact: 2,
            ..eager()
        };
        config.retention.default_ttl = Some(Duration::from_secs(30 * 86_400));
        let archive = Archive::new(
            Arc::clone(&self.cold),
            "memory://cold",
            ArchiveOptions::default(),
        );
        config.archive = Some(Arc::new(archive));
        CompactionManager::new(Arc::clone(&self.hot), config).with_clock(self.clock.clone())
    }

    /// Three files in each folder of each tenant, half of their rows too old; and the strangers'.
    async fn fill(&mut self, round: usize) {
        for (t, (_, folders, _)) in self.shape.tenants.iter().enumerate() {
            for (f, folder) in folders.iter().enumerate() {
                for file in 0..3 {
                    let first = 10 * (file + 3 * (f + 3 * (t + 4 * round)));
                    let rows = |first, days| {
                        series(first, 5, now() - TimeDelta::days(days), TimeDelta::hours(1))
                    };
                    let (old, fresh) = (rows(first, 60), rows(first + 5, 1));
                    let both = [old.clone(), fresh.clone()].concat();
                    put_events(&self.hot, &format!("{folder}{round}-{file}.parquet"), &both).await;
                    self.fresh[t].extend(fresh);
                    self.old[t].extend(old);
                }
            }
        }
        for key in self.shape.strangers {
            put(&self.hot, key, "somebody's").await;
        }
    }

    async fn pass(&self) -> u64 {
        let report = self.manager().run_pass(&Selection::all()).await.unwrap();
        let errors: Vec<_> = report
            .tenants
            .iter()
            .filter_map(|t| t.error.as_ref())
            .collect();
        assert!(errors.is_empty(), "{}: {errors:?}", self.shape.layout);
        report.totals.counters.files_compacted
    }

    /// Every row is where it belongs, once.
    async fn check(&self) {
        let layout = self.shape.layout;
        let manager = self.manager();
        let mut names = manager.discover_tenants().await.unwrap();
        let mut wanted: Vec<&str> = self.shape.tenants.iter().map(|t| t.0).collect();
        names.sort();
        wanted.sort_unstable();
        assert_eq!(names, wanted, "{layout}");
        let views = manager.live_views(&Selection::all()).await.unwrap();
        let cold = keys(&self.cold).await;
        for (t, (name, folders, is_own)) in self.shape.tenants.iter().enumerate() {
            let view = views.iter().find(|v| v.tenant.as_str() == *name).unwrap();
            let live: Vec<String> = view.files.iter().map(|f| f.key.clone()).collect();
            let rows = sorted(read_all(&self.hot, &live).await);
            assert_eq!(rows, sorted(self.fresh[t].clone()), "{layout} {name}");
            let in_folders = |key: &String| {
                let end = key.rfind('/').map_or(0, |at| at + 1);
                folders.contains(&&key[..end])
            };
            assert!(live.iter().all(in_folders), "{layout} {live:?}");
            // Nothing else of the tenant is left.
            let stored: Vec<String> = keys(&self.hot)
                .await
                .into_iter()
                .filter(|k| is_own(k) && !self.shape.strangers.contains(&k.as_str()))
                .collect();
            assert_eq!(sorted_keys(&live), stored, "{layout} {name}");
            let objects: Vec<String> = cold
                .iter()
                .filter(|k| is_own(k) && k.ends_with(".parquet"))
                .cloned()
                .collect();
            assert!(objects.iter().all(in_folders), "{layout} {objects:?}");
            let rows = sorted(read_all(&self.cold, &objects).await);
            assert_eq!(rows, sorted(self.old[t].clone()), "{layout} {name}");
        }
        for key in self.shape.strangers {
            assert_eq!(get(&self.hot, key).await, "somebody's", "{layout} {key}");
        }
        let verified = manager.verify(&Selection::all(), true).await.unwrap();
        assert!(
            verified.findings.is_empty(),
            "{layout}: {:?}",
            verified.findings
        );
    }

    /// Brings the rows of a tenant back into `back`, as another where the layout knows others.
    async fn restore(&self, back: &Store, t: usize) -> (String, Vec<String>) {
        let mut restorer = restorer(plain(&self.cold), back, &self.clock);
        restorer.layout = Layout::parse(self.shape.layout).unwrap();
        let (name, _, _) = self.shape.tenants[t];
        let one = Selection::parse(vec![name.to_owned()]).unwrap();
        let into = (!restorer.layout.has_placeholder()).then(|| Tenant::parse(name).unwrap());
        let request = RestoreRequest {
            selection: one,
            into,
            ..everything()
        };
        let done = restorer.run(&request).await.unwrap().tenants.remove(0);
        assert_eq!(done.error, None, "{}", self.shape.layout);
        assert_eq!(done.status, RestoreStatus::Done);
        let again = restorer.run(&request).await.unwrap().tenants.remove(0);
        assert_eq!((again.status, again.rows), (RestoreStatus::Already, 0));
        (done.into.to_string(), done.files)
    }
}

fn sorted_keys(keys: &[String]) -> Vec<String> {
    let mut keys = keys.to_vec();
    keys.sort();
    keys
}

#[tokio::test]
async fn rows_stay_in_the_folders_of_their_tenants() {
    for shape in SHAPES {
        let mut world = World::new(shape);
        for round in 0..2 {
            world.fill(round).await;
            assert!(world.pass().await > 0, "{}", shape.layout);
            world.check().await;
            let before = keys(&world.hot).await;
            assert_eq!(world.pass().await, 0, "{}", shape.layout);
            let kept = |keys: Vec<String>| -> Vec<String> {
                let is_record = |k: &String| k.starts_with("_icepack/runs/");
                keys.into_iter().filter(|k| !is_record(k)).collect()
            };
            assert_eq!(
                kept(keys(&world.hot).await),
                kept(before),
                "{}",
                shape.layout
            );
            world.clock.advance(TimeDelta::minutes(1));
        }
    }
}

#[tokio::test]
async fn archived_rows_come_back_into_a_folder_of_the_tenant_that_they_are_restored_as() {
    for shape in SHAPES {
        let mut world = World::new(shape);
        world.fill(0).await;
        world.pass().await;
        for (t, (name, _, is_own)) in shape.tenants.iter().enumerate() {
            let back = memory();
            let (into, files) = world.restore(&back, t).await;
            let layout = Layout::parse(shape.layout).unwrap();
            let into_tenant = Tenant::parse(&into).unwrap().within(&layout);
            for file in &files {
                assert!(into_tenant.owns(file), "{} {file}", shape.layout);
                let as_first = file.replace(&format!("restored-{}", first(name)), first(name));
                assert!(is_own(&as_first), "{} {file}", shape.layout);
            }
            let rows = sorted(read_all(&back, &files).await);
            assert_eq!(
                rows,
                sorted(world.old[t].clone()),
                "{} {name}",
                shape.layout
            );
        }
    }
}

/// The text of a name's first placeholder, where it has no dot.
fn first(name: &str) -> &str {
    name.split('.').next().unwrap()
}

/// A restore as a tenant that the layout has no folder for says so, before anything is written.
#[tokio::test]
async fn rows_are_not_restored_as_a_tenant_that_the_layout_does_not_know() {
    for (layout, name, into, says) in [
        ("**", ONLY_TENANT, None, "say --as default"),
        ("**", ONLY_TENANT, Some("acme"), "say --as default"),
        (
            "{schema}/{table}/**",
            "public.orders",
            Some("acme"),
            "name another tenant with --as",
        ),
    ] {
        let shape = SHAPES.iter().find(|s| s.layout == layout).unwrap();
        let mut world = World::new(shape);
        world.fill(0).await;
        world.pass().await;
        let back = memory();
        let mut restorer = restorer(plain(&world.cold), &back, &world.clock);
        restorer.layout = Layout::parse(layout).unwrap();
        let request = RestoreRequest {
            selection: Selection::parse(vec![name.to_owned()]).unwrap(),
            into: into.map(|name| Tenant::parse(name).unwrap()),
            ..everything()
        };
        let error = restorer.run(&request).await.unwrap_err();
        assert!(
            matches!(&error, Error::Usage(why) if why.contains(says) && why.contains(layout)),
            "{error}"
        );
        let written = keys(&back).await;
        assert!(
            written.iter().all(|k| k.starts_with("_icepack/_probe/")),
            "{written:?}"
        );
    }
}

/// Under another layout the manifest's files lie elsewhere: nothing is touched, and the message
/// names the setting.
#[tokio::test]
async fn a_layout_that_the_store_was_not_compacted_by_is_refused() {
    let mut world = World::new(&SHAPES[0]);
    world.fill(0).await;
    world.pass().await;
    let mut config = eager();
    config.strategy = CompactionStrategy::FullCompaction;
    let before = keys(&world.hot).await;
    let other =
        CompactionManager::new(Arc::clone(&world.hot), config).with_clock(world.clock.clone());
    let report = other.run_pass(&Selection::all()).await.unwrap();
    let error = |name: &str| {
        let found = report.tenants.iter().find(|t| t.tenant == name).unwrap();
        found.error.clone().unwrap_or_default()
    };
    assert!(
        error("orders").contains("if `layout` was changed, set it back"),
        "{}",
        error("orders")
    );
    assert!(
        error("topics").contains("a snapshot of another tenant"),
        "{}",
        error("topics")
    );
    let kept: Vec<String> = keys(&world.hot).await;
    assert!(before.iter().all(|k| kept.contains(k)));
}

/// State of a tenant that no folder is of is told, and published nowhere.
#[tokio::test]
async fn state_that_no_folder_is_of_is_refused() {
    let shape = SHAPES
        .iter()
        .find(|s| s.layout == "{schema}/{table}/**")
        .unwrap();
    let mut world = World::new(shape);
    world.fill(0).await;
    world.pass().await;
    let config = CompactionConfig {
        layout: Layout::parse("**").unwrap(),
        strategy: CompactionStrategy::FullCompaction,
        ..eager()
    };
    let other =
        CompactionManager::new(Arc::clone(&world.hot), config).with_clock(world.clock.clone());
    let report = other.run_pass(&Selection::all()).await.unwrap();
    assert_eq!(report.totals.counters.files_compacted, 0);
    for (name, says) in [
        ("public.orders", "no folder is its by layout"),
        (ONLY_TENANT, "a snapshot of another tenant"),
    ] {
        let found = report.tenants.iter().find(|t| t.tenant == name).unwrap();
        assert!(
            found.error.as_ref().is_some_and(|e| e.contains(says)),
            "{found:?}"
        );
    }
    let one = other.compact_tenant("acme").await.unwrap_err();
    assert!(
        one.to_string().contains("no key is tenant `acme`'s"),
        "{one}"
    );
}

/// A folder at a placeholder whose text is no name is told, and the others go on.
#[tokio::test]
async fn a_folder_that_can_be_no_tenant_is_refused_by_its_name() {
    for (layout, own, odd) in [
        (
            "tenant_id={tenant}/**",
            "tenant_id=a/",
            "tenant_id=__HIVE_DEFAULT_PARTITION__",
        ),
        ("topics/{tenant}/**", "topics/a/", "topics/b%2Fc"),
        (
            "*/tenant={tenant}/**",
            "2026/tenant=a/",
            "2026/tenant=b%2Fc",
        ),
        ("{s}/{t}/**", "a/b/", "a/c%2Fd"),
    ] {
        let hot = memory();
        for (i, rows) in series(0, 20, now(), TimeDelta::hours(1))
            .chunks(5)
            .enumerate()
        {
            put_events(&hot, &format!("{own}{i}.parquet"), rows).await;
        }
        put(&hot, &format!("{odd}/x.parquet"), "somebody's").await;
        let config = CompactionConfig {
            layout: Layout::parse(layout).unwrap(),
            strategy: CompactionStrategy::FullCompaction,
            ..eager()
        };
        let manager = CompactionManager::new(Arc::clone(&hot), config).with_clock(clock(1));
        let report = manager.run_pass(&Selection::all()).await.unwrap();
        assert_eq!(report.totals.counters.files_compacted, 4, "{layout}");
        let told: Vec<_> = report
            .tenants
            .iter()
            .filter_map(|t| t.error.clone())
            .collect();
        assert!(
            told.len() == 1 && told[0].contains(&format!("`{odd}`")),
            "{told:?}"
        );
        assert_eq!(get(&hot, &format!("{odd}/x.parquet")).await, "somebody's");
    }
}

/// Tenants in the folder of a table would be part of it.
#[tokio::test]
async fn tenants_in_the_folder_of_a_table_are_refused() {
    for (layout, inside, state, outside) in [
        (
            "topics/{t}/**",
            "topics/a",
            "topics/_delta_log/00000000000000000000.json",
            None,
        ),
        (
            "topics/{t}/**",
            "topics/a",
            "_delta_log/00000000000000000000.json",
            None,
        ),
        ("tenant_id={t}/**", "tenant_id=a", "_spark_metadata/0", None),
        (
            "{s}/{t}/**",
            "public/a",
            "public/.hoodie/hoodie.properties",
            Some("other/a"),
        ),
        (
            "*/t={t}/**",
            "2026/t=a",
            "2026/_delta_log/00000000000000000000.json",
            None,
        ),
    ] {
        let hot = memory();
        for folder in [Some(inside), outside].into_iter().flatten() {
            for (i, rows) in series(0, 20, now(), TimeDelta::hours(1))
                .chunks(5)
                .enumerate()
            {
                put_events(&hot, &format!("{folder}/{i}.parquet"), rows).await;
            }
        }
        put(&hot, state, "{}").await;
        let config = CompactionConfig {
            layout: Layout::parse(layout).unwrap(),
            strategy: CompactionStrategy::FullCompaction,
            ..eager()
        };
        let name = config
            .layout
            .tenant_of(&format!("{inside}/x"))
            .unwrap()
            .unwrap();
        let manager = CompactionManager::new(Arc::clone(&hot), config).with_clock(clock(1));
        let report = manager.run_pass(&Selection::all()).await.unwrap();
        let done = if outside.is_some() { 4 } else { 0 };
        assert_eq!(report.totals.counters.files_compacted, done, "{layout}");
        let table = state.rsplit_once('/').unwrap().0;
        let told: Vec<_> = report
            .tenants
            .iter()
            .filter_map(|t| t.error.clone())
            .collect();
        assert!(
            told.len() == 1 && told[0].contains(&format!("`{table}`")),
            "{told:?}"
        );
        let one = manager.compact_tenant(name.as_str()).await.unwrap_err();
        assert!(one.to_string().contains(&format!("`{table}`")), "{one}");
    }
}

/// A table lies where the tenant's files do. Where they have no one place, there is one for all.
#[cfg(feature = "delta")]
#[tokio::test]
async fn tables_lie_in_the_folders_of_their_tenants() {
    use icepack_core::model::publish::{Layout as TableLayout, Publish};

    for shape in SHAPES {
        let mut world = World::new(shape);
        world.fill(0).await;
        let manager = |layout| {
            let config = CompactionConfig {
                publish: Some(Publish {
                    layout,
                    keep: Duration::ZERO,
                }),
                ..world.manager().config().clone()
            };
            CompactionManager::new(Arc::clone(&world.hot), config).with_clock(world.clock.clone())
        };
        let all = Selection::all();
        let layout = Layout::parse(shape.layout).unwrap();
        let tables = if layout.has_wildcard() {
            let refused = manager(TableLayout::PerTenant)
                .run_pass(&all)
                .await
                .unwrap_err();
            assert!(
                refused.to_string().contains("needs one folder"),
                "{refused}"
            );
            let report = manager(TableLayout::Shared).run_pass(&all).await.unwrap();
            assert!(
                report.tenants.iter().all(|t| t.error.is_none()),
                "{report:?}"
            );
            vec![String::new()]
        } else {
            for _ in 0..2 {
                let report = manager(TableLayout::PerTenant)
                    .run_pass(&all)
                    .await
                    .unwrap();
                assert!(
                    report.tenants.iter().all(|t| t.error.is_none()),
                    "{report:?}"
                );
            }
            let place = |name: &str| {
                Tenant::parse(name)
                    .unwrap()
                    .within(&layout)
                    .prefix()
                    .unwrap()
            };
            shape.tenants.iter().map(|t| place(t.0)).collect()
        };
        let logs: Vec<String> = keys(&world.hot)
            .await
            .into_iter()
            .filter_map(|k| {
                Some(
                    k.strip_suffix("_delta_log/00000000000000000000.json")?
                        .to_owned(),
                )
            })
            .collect();
        assert_eq!(sorted_keys(&tables), logs, "{}", shape.layout);
        for (t, (name, ..)) in shape.tenants.iter().enumerate() {
            let views = world.manager().live_views(&all).await.unwrap();
            let view = views.iter().find(|v| v.tenant.as_str() == *name).unwrap();
            let live: Vec<String> = view.files.iter().map(|f| f.key.clone()).collect();
            let rows = sorted(read_all(&world.hot, &live).await);
            assert_eq!(
                rows,
                sorted(world.fresh[t].clone()),
                "{} {name}",
                shape.layout
            );
        }
    }
}

/// What a pass under a wildcard sends where nothing is to be done: a listing for many tenants.
#[tokio::test]
async fn a_wildcard_costs_a_listing_for_many_tenants_that_need_nothing() {
    let hot = memory();
    let tenants = 32;
    for t in 0..tenants {
        let rows = series(10 * t, 6, now(), TimeDelta::hours(1));
        for (i, rows) in rows.chunks(2).enumerate() {
            put_events(&hot, &format!("2026/t={t:02}/{i}.parquet"), rows).await;
        }
    }
    let config = CompactionConfig {
        layout: Layout::parse("*/t={t}/**").unwrap(),
        ..eager()
    };
    let manager = CompactionManager::new(Arc::clone(&hot), config).with_clock(clock(1));
    let first = manager.run_pass(&Selection::all()).await.unwrap();
    assert_eq!(first.totals.counters.files_compacted, 3 * tenants as u64);
    let second = manager.run_pass(&Selection::all()).await.unwrap();
    assert_eq!(second.totals.counters.files_compacted, 0);
    let lists: u64 = second
        .tenants
        .iter()
        .map(|t| t.counters.requests.list)
        .sum();
    assert!(lists < tenants as u64, "{lists} listings by themselves");
}
