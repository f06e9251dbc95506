//! The whole job on other clouds, and with an archive on another cloud than the store's.

use std::path::Path;

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::Value;

use crate::support::gcs::Gcs;
use crate::support::{
    self, Event, Store, archived, azure, job, live, put, s3, series, servers, sorted, tenant_keys,
};

/// A store and an archive, and what a job needs to reach both.
struct Places {
    envs: Vec<(&'static str, String)>,
    hot: (String, Store),
    cold: (String, Store),
    class: &'static str,
}

/// A job with half of its rows expired.
struct Job {
    places: Places,
    directory: tempfile::TempDir,
    old: Vec<Event>,
    new: Vec<Event>,
    cutoff: DateTime<Utc>,
}

impl Job {
    /// Six raw files of 120 rows, the older half of which is to be archived.
    async fn begin(places: Places) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let now = Utc::now();
        let cutoff = now - TimeDelta::days(30);
        let events = series(0, 120, now - TimeDelta::minutes(1), TimeDelta::hours(12));
        let ingested = directory.path().join("ingested");
        std::fs::create_dir(&ingested).unwrap();
        for (i, part) in events.chunks(20).enumerate() {
            let file = support::parquet(&support::batch(part));
            std::fs::write(ingested.join(format!("{i}.parquet")), &file).unwrap();
            put(
                &places.hot.1,
                &format!("acme/2026-01/events-{i}.parquet"),
                file,
            )
            .await;
        }
        let (old, new) = events
            .into_iter()
            .partition(|e| e.at < cutoff.timestamp_micros());
        let config = format!(
            "store = \"{}\"\n[retention.tenants]\nacme = \"30d\"\n[archive]\nurl = \
             \"{}\"\nstorage_class = \"{}\"\n[sweep]\norphan_grace = \"0s\"\n",
            places.hot.0, places.cold.0, places.class
        );
        std::fs::write(directory.path().join("icepack.toml"), config).unwrap();
        Self {
            places,
            directory,
            old,
            new,
            cutoff,
        }
    }

    #[track_caller]
    fn json(&self, code: i32, args: &[&str]) -> Value {
        let config = self.directory.path().join("icepack.toml");
        let args = [&["--config", config.to_str().unwrap(), "--json"], args].concat();
        job::json(&self.places.envs, code, args)
    }

    /// One pass, after which every row is where it belongs.
    async fn pass(&self) {
        let doctor = self.json(0, &["doctor"]);
        let checks = doctor["checks"].as_array().unwrap();
        assert!(checks.iter().all(|c| c["health"] == "good"), "{doctor}");
        let report = self.json(0, &["run"]);
        let ledger = &report["tenants"][0]["ledger"];
        let rows = ["rows_in", "rows_kept", "rows_archived"].map(|name| ledger[name].as_u64());
        assert_eq!(rows, [Some(120), Some(60), Some(60)], "{report}");
        let hot = &self.places.hot.1;
        assert_eq!(live(hot, "acme").await, sorted(self.new.clone()));
        assert_eq!(
            tenant_keys(hot, "acme").await.len(),
            1,
            "no original is left"
        );
        assert_eq!(self.json(0, &["run"])["totals"]["files_compacted"], 0);
    }

    /// The archive object, relative to the archive.
    async fn object(&self) -> String {
        let keys = tenant_keys(&self.places.cold.1, "acme").await;
        keys.into_iter().find(|k| k.ends_with(".parquet")).unwrap()
    }

    /// Reads everything from downloaded files, without any code of icepack's.
    async fn check_rows(&self) {
        let at = self.directory.path();
        for (name, store) in [("live", &self.places.hot.1), ("cold", &self.places.cold.1)] {
            std::fs::create_dir(at.join(name)).unwrap();
            let keys = tenant_keys(store, "acme").await;
            for key in keys.iter().filter(|key| key.ends_with(".parquet")) {
                let file = at.join(name).join(Path::new(key).file_name().unwrap());
                std::fs::write(file, support::get(store, key).await).unwrap();
            }
        }
        let path = |name: &str| at.join(name).display().to_string();
        let cutoff = self.cutoff.to_rfc3339();
        let args = [
            "--ingested",
            &path("ingested"),
            "--live",
            &path("live"),
            "--archive",
            &path("cold"),
            "--ttl-cutoff",
            &cutoff,
        ];
        let out = job::check_rows(&[], &args);
        let (said, wrong) = (job::text(&out.stdout), job::text(&out.stderr));
        assert!(out.status.success(), "{said}{wrong}");
    }

    /// The archived rows come back as another tenant.
    async fn restore(&self) {
        let report = self.json(0, &["restore", "--tenant", "acme"]);
        assert_eq!(report["tenants"][0]["status"], "done", "{report}");
        let hot = &self.places.hot.1;
        assert_eq!(live(hot, "restored-acme").await, sorted(self.old.clone()));
        assert_eq!(live(hot, "acme").await, sorted(self.new.clone()));
    }

    async fn verify_deep(&self) {
        let verified = self.json(0, &["verify", "--deep"]);
        assert_eq!(
            (
                &verified["rows_read"],
                verified["findings"].as_array().map(Vec::len)
            ),
            (&Value::from(120), Some(0)),
            "{verified}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_and_an_archive_on_azure() {
    let Some(endpoint) = servers::azurite() else {
        return;
    };
    let container = azure::container(&endpoint, "azure").await;
    let at = |name: &str| {
        (
            format!("az://{container}/{name}"),
            azure::store(&endpoint, &container, name),
        )
    };
    let job = Job::begin(Places {
        envs: azure::environment(&endpoint),
        hot: at("hot"),
        cold: at("cold"),
        class: "Cool",
    })
    .await;
    job.pass().await;
    let object = job.object().await;
    let blob = format!("{container}/cold/{object}");
    assert_eq!(azure::tier(&endpoint, &blob).await, "Cool");
    assert_eq!(
        archived(&job.places.cold.1, "acme").await,
        sorted(job.old.clone())
    );
    job.check_rows().await;
    job.verify_deep().await;
    job.restore().await;
}

/// It shows no checksums, and knows no classes.
#[tokio::test(flavor = "multi_thread")]
async fn a_store_and_an_archive_on_ceph() {
    let Some(endpoint) = servers::ceph() else {
        return;
    };
    let bucket = s3::bucket(&endpoint, "ceph").await;
    let at = |name: &str| {
        (
            format!("s3://{bucket}/{name}"),
            s3::store(&endpoint, &bucket, name),
        )
    };
    let job = Job::begin(Places {
        envs: s3::environment(&endpoint),
        hot: at("hot"),
        cold: at("cold"),
        class: "STANDARD",
    })
    .await;
    job.pass().await;
    job.check_rows().await;
    job.verify_deep().await;
    job.restore().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_and_an_archive_on_google() {
    let gcs = Gcs::start(true).await;
    let job = Job::begin(Places {
        envs: gcs.environment(),
        hot: ("gs://events/hot".into(), gcs.store("hot")),
        cold: ("gs://events/cold".into(), gcs.store("cold")),
        class: "COLDLINE",
    })
    .await;
    job.pass().await;
    let object = job.object().await;
    assert_eq!(gcs.class(&format!("cold/{object}")), "COLDLINE");
    let receipt = object.replace(".parquet", ".receipt.json");
    assert_eq!(gcs.class(&format!("cold/{receipt}")), "STANDARD");
    assert_eq!(
        archived(&job.places.cold.1, "acme").await,
        sorted(job.old.clone())
    );
    job.check_rows().await;
    job.verify_deep().await;
    // Google's client tells no class, and the receipt does.
    let planned = job.json(0, &["restore", "--tenant", "acme", "--dry-run"]);
    assert_eq!(
        planned["tenants"][0]["objects"][0]["storage_class"],
        "COLDLINE"
    );
    assert!(
        planned["prices"]
            .as_str()
            .unwrap()
            .contains("cloud.google.com"),
        "{planned}"
    );
    job.restore().await;
}

/// From S3 to the tier of Azure that cannot be read, and back.
#[tokio::test(flavor = "multi_thread")]
async fn an_archive_on_another_cloud_that_must_be_thawed() {
    let (Some(s3), Some(azurite)) = (servers::fastest(), servers::azurite()) else {
        return;
    };
    let bucket = s3::bucket(&s3, "crossed").await;
    let container = azure::container(&azurite, "crossed").await;
    let job = Job::begin(Places {
        envs: [s3::environment(&s3), azure::environment(&azurite)].concat(),
        hot: (format!("s3://{bucket}/hot"), s3::store(&s3, &bucket, "hot")),
        cold: (
            format!("az://{container}/cold"),
            azure::store(&azurite, &container, "cold"),
        ),
        class: "Archive",
    })
    .await;
    job.pass().await;
    let object = job.object().await;
    let blob = format!("{container}/cold/{object}");
    assert_eq!(azure::tier(&azurite, &blob).await, "Archive");
    let receipt = blob.replace(".parquet", ".receipt.json");
    assert_ne!(
        azure::tier(&azurite, &receipt).await,
        "Archive",
        "it is read at once"
    );

    let verified = job.json(0, &["verify", "--deep"]);
    assert_eq!(verified["rows_read"], 60, "the store's alone: {verified}");
    let planned = job.json(0, &["restore", "--tenant", "acme", "--dry-run"]);
    let seen = &planned["tenants"][0]["objects"][0];
    assert_eq!(
        (
            &seen["storage_class"],
            &seen["state"],
            &seen["thaw_minutes"]
        ),
        (
            &"Archive".into(),
            &"frozen".into(),
            &serde_json::json!([0, 900])
        ),
        "{planned}"
    );
    assert!(seen["cost"].as_f64() > Some(0.0), "{planned}");
    assert!(
        planned["prices"].as_str().unwrap().contains("azure"),
        "{planned}"
    );

    // Azurite thaws at once.
    job.restore().await;
    assert_eq!(azure::tier(&azurite, &blob).await, "Hot");
    job.check_rows().await;
    job.verify_deep().await;
}
