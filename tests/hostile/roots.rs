//! Places that are not what they are given as: an archive as a store, a store as an archive, the
//! two exchanged, one store above or inside another. A pass ends with 5 and has written nothing.
//! Each on a directory and on S3.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use chrono::{TimeDelta, Utc};
use object_store::local::LocalFileSystem;
use serde_json::Value;
use tempfile::TempDir;

use crate::support::{Store, get, job, keys, put_events, s3, series};

/// Somewhere to put places.
struct Ground {
    store: Store,
    url: String,
    envs: Vec<(&'static str, String)>,
    _dir: Option<TempDir>,
}

/// A directory; and a bucket, where there is a server.
async fn grounds() -> Vec<Ground> {
    let ttl = ("ICEPACK_RETENTION_DEFAULT_TTL", "30d".to_owned());
    let dir = TempDir::new().unwrap();
    let store = Arc::new(LocalFileSystem::new_with_prefix(dir.path()).unwrap());
    let mut all = vec![Ground {
        store,
        url: dir.path().display().to_string(),
        envs: vec![ttl.clone()],
        _dir: Some(dir),
    }];
    if let Some(endpoint) = s3::endpoint() {
        let bucket = s3::bucket(&endpoint, "roots").await;
        let mut envs = s3::environment(&endpoint);
        envs.push(ttl);
        all.push(Ground {
            store: s3::store(&endpoint, &bucket, ""),
            url: format!("s3://{bucket}"),
            envs,
            _dir: None,
        });
    }
    all
}

impl Ground {
    fn at(&self, place: &str) -> String {
        format!("{}/{place}", self.url)
    }

    /// Sixty rows of a tenant in three files, of which the twenty of the first are two months old.
    async fn events(&self, tenant: &str) {
        for i in 0..3 {
            let end = Utc::now() - TimeDelta::days(if i == 0 { 60 } else { 1 });
            put_events(
                &self.store,
                &format!("{tenant}/raw-{i}.parquet"),
                &series(i * 20, 20, end, TimeDelta::seconds(10)),
            )
            .await;
        }
    }

    fn pass(&self, store: &str, archive: &str) -> Value {
        job::json(
            &self.envs,
            0,
            [
                "run",
                "--json",
                "--store",
                &self.at(store),
                "--archive",
                &self.at(archive),
            ],
        )
    }

    /// A store `b/hot` of two tenants and an archive `b/cold` after a pass.
    async fn packed(&self) {
        for tenant in ["b/hot/acme", "b/hot/globex"] {
            self.events(tenant).await;
        }
        assert_eq!(
            self.pass("b/hot", "b/cold")["totals"]["ledger"]["rows_archived"],
            40
        );
    }

    /// The same as an earlier version left it: without markers.
    async fn unmark(&self) {
        for marker in ["b/hot/_icepack/store.json", "b/cold/_icepack/archive.json"] {
            object_store::ObjectStoreExt::delete(&self.store, &marker.into())
                .await
                .unwrap();
        }
    }

    async fn tree(&self) -> BTreeMap<String, Bytes> {
        let mut all = BTreeMap::new();
        for key in keys(&self.store).await {
            all.insert(key.clone(), get(&self.store, &key).await);
        }
        all
    }

    /// A command that ends with 5, says `because`, and leaves everything as it was.
    async fn refuses(&self, args: &[&str], because: &str) {
        let before = self.tree().await;
        let ran = job::run(&self.envs, args);
        let said = job::text(&ran.stderr);
        assert_eq!(
            ran.status.code(),
            Some(5),
            "{args:?}: {said}{}",
            job::text(&ran.stdout)
        );
        assert!(said.contains(because), "{args:?}: {said}");
        assert!(
            before == self.tree().await,
            "{args:?}: something was written or deleted"
        );
    }
}

#[tokio::test]
async fn places_say_what_they_are_and_a_second_pass_leaves_it_so() {
    for ground in grounds().await {
        ground.packed().await;
        let marker = |key: &'static str| async {
            serde_json::from_slice::<Value>(&get(&ground.store, key).await).unwrap()
        };
        let (store, archive) = (
            marker("b/hot/_icepack/store.json").await,
            marker("b/cold/_icepack/archive.json").await,
        );
        assert_eq!(
            (&store["kind"], &archive["kind"]),
            (&"store".into(), &"archive".into())
        );
        assert_ne!(store["id"], archive["id"]);
        ground.pass("b/hot", "b/cold");
        assert_eq!(
            (store, archive),
            (
                marker("b/hot/_icepack/store.json").await,
                marker("b/cold/_icepack/archive.json").await
            )
        );
    }
}

#[tokio::test]
async fn a_place_is_not_used_as_what_it_is_not() {
    for ground in grounds().await {
        ground.packed().await;
        for marked in [true, false] {
            if !marked {
                ground.unmark().await;
            }
            let (hot, cold, new) = (ground.at("b/hot"), ground.at("b/cold"), ground.at("b/new"));
            ground
                .refuses(
                    &["run", "--store", &cold],
                    "cold is an archive, and it is given as a store",
                )
                .await;
            ground
                .refuses(
                    &["run", "--store", &cold, "--archive", &hot],
                    "cold is an archive, and it is given as a store",
                )
                .await;
            ground
                .refuses(
                    &["run", "--store", &cold, "--archive", &new],
                    "cold is an archive, and it is given as a store",
                )
                .await;
            if ground.url.starts_with("s3") {
                // A directory would have to exist.
                ground
                    .refuses(
                        &["run", "--store", &new, "--archive", &hot],
                        "hot is a store, and it is given as an archive",
                    )
                    .await;
            }
            for look in ["plan", "status", "ls"] {
                ground
                    .refuses(&[look, "--store", &cold], "cold is an archive")
                    .await;
            }
        }
        // What was there all along is right, and is marked by the next pass.
        ground.pass("b/hot", "b/cold");
        assert!(
            ground
                .tree()
                .await
                .contains_key("b/cold/_icepack/archive.json")
        );
    }
}

#[tokio::test]
async fn a_store_above_or_inside_another_is_refused() {
    for ground in grounds().await {
        ground.packed().await;
        ground
            .refuses(
                &["run", "--store", &ground.at("b")],
                "is a store or an archive of its own",
            )
            .await;
        ground
            .refuses(&["run", "--store", &ground.at("b/hot/acme")], "lies inside")
            .await;
        ground
            .refuses(
                &[
                    "run",
                    "--store",
                    &ground.at("b/hot/acme"),
                    "--archive",
                    &ground.at("c"),
                ],
                "lies inside",
            )
            .await;
        ground.events("other/acme").await;
        ground
            .refuses(
                &[
                    "run",
                    "--store",
                    &ground.at("other"),
                    "--archive",
                    &ground.at("b/hot/cold"),
                ],
                "lies inside",
            )
            .await;
        // Beside each other they do no harm.
        ground.pass("other", "b/colder");
    }
}

#[tokio::test]
async fn a_marker_that_lies_or_is_damaged_is_refused_and_names_the_way_on() {
    for ground in grounds().await {
        ground.packed().await;
        let key = "b/hot/_icepack/store.json";
        let good = get(&ground.store, key).await;
        for (bad, because) in [
            (Bytes::from_static(b"{"), "is damaged"),
            (
                get(&ground.store, "b/cold/_icepack/archive.json").await,
                "calls the place an archive",
            ),
        ] {
            object_store::ObjectStoreExt::put(&ground.store, &key.into(), bad.into())
                .await
                .unwrap();
            ground
                .refuses(&["run", "--store", &ground.at("b/hot")], because)
                .await;
        }
        object_store::ObjectStoreExt::put(&ground.store, &key.into(), good.into())
            .await
            .unwrap();
        ground.pass("b/hot", "b/cold");
    }
}
