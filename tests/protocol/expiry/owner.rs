//! Without an archive, rows are dropped only where the owner said so. By the binary: the library's
//! defaults are another matter.

use tempfile::TempDir;

use super::*;
use crate::support::job;

/// A store of a tenant called `system`, with 30 rows that are so old.
struct Owned {
    root: TempDir,
    rows: Vec<Event>,
}

impl Owned {
    fn new(days: i64) -> Self {
        let root = TempDir::new().unwrap();
        let rows = series(
            0,
            30,
            Utc::now() - TimeDelta::days(days),
            TimeDelta::minutes(1),
        );
        let folder = root.path().join("hot/system");
        std::fs::create_dir_all(&folder).unwrap();
        for (i, part) in rows.chunks(10).enumerate() {
            std::fs::write(
                folder.join(format!("{i}.parquet")),
                support::parquet(&batch(part)),
            )
            .unwrap();
        }
        Self { root, rows }
    }

    /// A command with this configuration, that ends with 0: what it prints, and its log.
    #[track_caller]
    fn command(
        &self,
        name: &str,
        config: &str,
        envs: &[(&'static str, String)],
    ) -> (String, String) {
        let file = self.root.path().join("icepack.toml");
        std::fs::write(&file, config).unwrap();
        let mut args = vec![
            "--config".to_owned(),
            file.display().to_string(),
            "--store".to_owned(),
            self.root.path().join("hot").display().to_string(),
        ];
        args.insert(0, name.to_owned());
        args.push("--json".to_owned());
        let out = job::run(envs, args);
        let (stdout, stderr) = (job::text(&out.stdout), job::text(&out.stderr));
        assert_eq!(out.status.code(), Some(0), "{config}\n{stdout}\n{stderr}");
        (stdout, stderr)
    }

    /// A pass: the rows that it kept, archived and expired, and its log.
    #[track_caller]
    fn pass(&self, config: &str, envs: &[(&'static str, String)]) -> ((u64, u64, u64), String) {
        let (stdout, stderr) = self.command("run", config, envs);
        let json: serde_json::Value = serde_json::from_str(&stdout).unwrap();
        let of = |name: &str| json["totals"]["ledger"][name].as_u64().unwrap();
        (
            (of("rows_kept"), of("rows_archived"), of("rows_expired")),
            stderr,
        )
    }

    async fn live(&self) -> Vec<Event> {
        let hot: Store = Arc::new(
            object_store::local::LocalFileSystem::new_with_prefix(self.root.path().join("hot"))
                .unwrap(),
        );
        live(&hot, "system").await
    }
}

/// What says so.
const HINT: &str = "tenant `system` keeps its rows: a TTL of 30d is built in for it, but there is \
                    no archive, and the configuration does not say that they may be dropped; set \
                    retention.tenants.system to \"30d\" or \"forever\", archive.url, or \
                    retention.drop = true";

#[tokio::test]
async fn the_built_in_ttl_alone_drops_nothing() {
    let owned = Owned::new(60);
    for config in [
        "",
        "[retention]\ndefault_ttl = \"forever\"\n",
        "[retention]\ndrop = false\n",
        "[retention.tenants]\nsys = \"1d\"\n",
    ] {
        assert_eq!(
            owned.command("plan", config, &[]).1.matches(HINT).count(),
            1,
            "{config}"
        );
        let (_, log) = owned.pass(config, &[]);
        assert_eq!(log.matches(HINT).count(), 1, "{config}: {log}");
        assert_eq!(owned.live().await, sorted(owned.rows.clone()), "{config}");
    }
}

#[tokio::test]
async fn a_ttl_that_the_owner_wrote_drops_rows() {
    let env = |name, value: &str| vec![(name, value.to_owned())];
    for (config, envs) in [
        ("[retention.tenants]\nsystem = \"30d\"\n", Vec::new()),
        ("[retention.tenants]\n\"sys*\" = \"40d\"\n", Vec::new()),
        ("[tenants.system.retention]\nttl = \"30d\"\n", Vec::new()),
        ("[retention]\ndefault_ttl = \"50d\"\n", Vec::new()),
        ("[retention]\ndrop = true\n", Vec::new()),
        ("", env("ICEPACK_RETENTION_DROP", "true")),
        ("", env("ICEPACK_RETENTION_DEFAULT_TTL", "31d")),
    ] {
        let owned = Owned::new(60);
        let (fates, log) = owned.pass(config, &envs);
        assert_eq!(
            (fates, log.contains("keeps its rows")),
            ((0, 0, 30), false),
            "{config} {envs:?}: {log}"
        );
        assert_eq!(owned.live().await, []);
    }
}

/// What is built in does not shorten what the owner wrote, nor the other way round.
#[tokio::test]
async fn the_longer_of_the_two_holds() {
    for (days, config, kept) in [
        (40, "[retention]\ndefault_ttl = \"50d\"\n", 30),
        (20, "[retention]\ndefault_ttl = \"10d\"\n", 30),
        (40, "[retention]\ndefault_ttl = \"10d\"\n", 0),
        (60, "[retention.tenants]\n\"sys*\" = \"forever\"\n", 30),
    ] {
        let owned = Owned::new(days);
        let (fates, _) = owned.pass(config, &[]);
        assert_eq!(fates, (kept, 0, 30 - kept), "{days} days old: {config}");
    }
}

#[tokio::test]
async fn with_an_archive_the_built_in_ttl_holds() {
    let owned = Owned::new(60);
    let (fates, log) = owned.pass(
        &format!(
            "[archive]\nurl = \"{}\"\n",
            owned.root.path().join("cold").display()
        ),
        &[],
    );
    assert_eq!(
        (fates, log.contains("keeps its rows")),
        ((0, 30, 0), false),
        "{log}"
    );
}
