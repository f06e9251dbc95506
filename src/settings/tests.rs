//! Settings as a user meets them: three layers, slips, and values that do not fit together.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::layers::*;
use super::*;
use crate::CompactionConfig;
use crate::archive::{Archive, ArchivePlace, ArchiveTarget, Encryption, LockFor, Verify};
use crate::clock::SystemClock;
use crate::store::Location;
use crate::telemetry::metrics::deliver::Push;
use icepack_core::model::manifest::ChecksumAlgorithm;
#[cfg(feature = "delta")]
use icepack_core::model::publish::{Layout, Publish};
use icepack_core::model::shard::Shard;
use icepack_core::model::symlink::Symlink;

fn layers(file: &str, env: &[(&str, &str)], flags: &[FlagValue]) -> Layers {
    Layers {
        file: (!file.is_empty()).then(|| (PathBuf::from("icepack.toml"), file.to_owned())),
        env: Environment::new(env.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))),
        flags: flags.to_vec(),
    }
}

fn flag(flag: &'static str, path: &'static str, value: &str) -> FlagValue {
    FlagValue {
        flag,
        path,
        value: value.to_owned(),
    }
}

fn from_file(text: &str) -> Settings {
    Settings::resolve(&layers(text, &[], &[])).unwrap()
}

fn refused(file: &str, env: &[(&str, &str)]) -> String {
    let error = Settings::resolve(&layers(file, env, &[])).unwrap_err();
    assert_eq!(error.exit_code(), 2);
    let text = error.to_string();
    assert!(!text.contains('\n'), "{text}");
    text
}

fn days(n: u64) -> Option<Duration> {
    Some(Duration::from_secs(n * 86_400))
}

/// The example of the documentation, with every section there is.
const FULL: &str = r#"
store = "s3://events/prod"
timestamp_column = "at"
id_column = ["id", "part"]
memory_limit = "512MiB"
spill_dir = "/scratch"
max_duration = "1h 30m"
concurrency = 2
interval = "2h"
files = ["*.parquet", "*.parq"]
[compaction]
strategy = "time"
min_files_to_compact = 5
small_file_threshold = 1048576
target_file_size = "64MiB"
max_file_size = "100MB"
max_raw_age = "12h"
min_raw_age = "15m"
rewritten = "append"
widen = "double"
assume_zone = "UTC"
[retention]
default_ttl = "365d"
slack = "6h"
max_expire_percent = 60
[retention.tenants]
"eu-*" = "90d"
audit = "forever"
[archive]
url = "s3://events-cold/prod"
storage_class = "DEEP_ARCHIVE"
min_object_size = "16MiB"
checksum = "SHA256"
endpoint = "https://cold:9000"
region = "eu-1"
profile = "cold"
kms_key_id = "alias/cold"
tagging = false
object_lock_mode = "GOVERNANCE"
object_lock_days = 90
retry_max_interval = "5s"
retry_max_elapsed = "1m"
[sweep]
delete_delay = "15m"
orphan_grace = "48h"
[prices]
region = "eu-central-1"
currency = "EUR"
[prices.DEEP_ARCHIVE]
storage = 0.0018
put = 1
minimum_days = 181
[tenants.acme.compaction]
strategy = "full"
target_file_size = "90MiB"
[tenants.acme.retention]
ttl = "7d"
"#;

/// The class of the archive's objects, and whether it copies from the store.
fn archive_of(settings: &Settings) -> (Option<String>, bool) {
    let place = ArchivePlace {
        location: settings.archive().unwrap().unwrap(),
        connection: settings.archive_connection(),
        options: settings.archive_options(),
    };
    let store = settings.store().unwrap_or(Location::Memory);
    let archive = Archive::at(place, &store, Arc::new(SystemClock::default()));
    (archive.storage_class().map(str::to_owned), archive.copies())
}

#[test]
fn every_key_of_the_file_arrives() {
    let settings = from_file(FULL);
    let c = settings.compaction_config();
    assert_eq!(
        (
            c.timestamp_column.as_str(),
            c.id_columns.join(", ").as_str(),
            c.memory_limit
        ),
        ("at", "id, part", 512 << 20)
    );
    let prices = &c.prices;
    let deep = prices.classes["DEEP_ARCHIVE"];
    assert_eq!(
        (
            prices.region.as_str(),
            prices.currency.as_str(),
            prices.date.len()
        ),
        ("eu-central-1", "EUR", 10)
    );
    assert_eq!(
        (deep.storage, deep.put, deep.minimum_days, deep.retrieval),
        (0.0018, 1.0, 181, 0.02),
        "what is not given stays as it was"
    );
    assert_eq!(
        archive_of(&settings),
        (Some("DEEP_ARCHIVE".to_owned()), false),
        "another endpoint cannot copy"
    );
    assert_eq!(
        (c.max_expire_percent, c.archive_min_object_size),
        (60, 16 << 20)
    );
    assert_eq!(c.input_rules().files.patterns(), ["*.parquet", "*.parq"]);
    assert_eq!(c.min_raw_age.as_secs(), 900);
    assert_eq!(c.rewritten, icepack_core::model::policy::Rewritten::Append);
    assert!(c.uniting.widen_to_double && c.uniting.assume_utc);
    assert_eq!(
        (c.spill_dir, c.max_duration),
        (Some("/scratch".into()), Some(Duration::from_secs(5400)))
    );
    assert_eq!((c.concurrency, c.compaction_interval_seconds), (2, 7200));
    assert_eq!(
        (
            c.strategy.short(),
            c.min_files_to_compact,
            c.small_file_threshold
        ),
        ("time", 5, 1 << 20)
    );
    assert_eq!(
        (c.target_file_size, c.max_file_size, c.max_raw_age.as_secs()),
        (64 << 20, 100_000_000, 43_200)
    );
    assert_eq!(
        (c.retention.ttl_for("other"), c.slack.as_secs()),
        (days(365), 21_600)
    );
    assert_eq!(
        (c.delete_delay.as_secs(), c.orphan_grace.as_secs()),
        (900, 172_800)
    );
    assert_eq!(settings.store().unwrap().to_string(), "s3://events/prod");
    assert_eq!(
        settings.archive().unwrap().unwrap().to_string(),
        "s3://events-cold/prod"
    );
    let archive = settings.archive_options();
    assert_eq!(
        (
            archive.storage_class.as_deref(),
            archive.verify,
            archive.checksum
        ),
        (
            Some("DEEP_ARCHIVE"),
            Verify::Checksum,
            ChecksumAlgorithm::Sha256
        )
    );
    assert_eq!(
        (archive.encryption, archive.tagging),
        (Encryption::Kms(Some("alias/cold".into())), false)
    );
    assert_eq!(
        archive.lock,
        Some(LockFor {
            mode: "GOVERNANCE".into(),
            days: 90
        })
    );
    let connection = settings.archive_connection();
    assert_eq!(
        (
            connection.endpoint.as_deref(),
            connection.region.as_deref(),
            connection.profile.as_deref()
        ),
        (Some("https://cold:9000"), Some("eu-1"), Some("cold"))
    );
    assert_eq!(
        (
            archive.retry.max_interval.as_secs(),
            archive.retry.max_elapsed.as_secs()
        ),
        (5, 60)
    );
    assert_eq!(settings.warnings(), [] as [&str; 0]);
}

#[test]
#[cfg(feature = "delta")]
fn what_is_published_is_told() {
    let c = from_file("[publish]\ndelta = true\nlayout = \"shared\"\nkeep = \"36h\"")
        .compaction_config();
    assert_eq!(
        c.publish,
        Some(Publish {
            layout: Layout::Shared,
            keep: Duration::from_secs(129_600)
        })
    );
    let c = from_file("[publish]\ndelta = true").compaction_config();
    assert_eq!(
        c.publish,
        Some(Publish {
            layout: Layout::PerTenant,
            keep: Duration::from_secs(7 * 86_400)
        })
    );
    let both = from_file("[publish]\nsymlink = true\nkeep = \"1d\"");
    assert_eq!(both.compaction_config().publish, None);
    assert_eq!(
        both.compaction_config().symlink,
        Some(Symlink {
            root: None,
            keep: Duration::from_secs(86_400)
        })
    );
    assert_eq!(both.warnings(), [] as [&str; 0]);
    let idle = from_file("[publish]\nkeep = \"1d\"");
    assert_eq!(idle.compaction_config().publish, None);
    assert_eq!(
        idle.warnings(),
        ["publish.keep (icepack.toml:2) does nothing without publish.delta or publish.symlink"]
    );
}

#[test]
#[cfg(feature = "delta")]
fn what_cannot_be_published_is_refused() {
    let asked = from_file("[publish]\ndelta = true");
    assert!(super::check::check_publish(&asked, true, &mut Vec::new()).is_ok());
    let error = super::check::check_publish(&asked, false, &mut Vec::new())
        .unwrap_err()
        .to_string();
    assert!(error.contains("without the feature `delta`"), "{error}");
}

#[test]
fn tenants_have_their_own_rules() {
    let c = from_file(FULL).compaction_config();
    assert_eq!(c.policy_for("acme").target_file_size, 90 << 20);
    assert_eq!(c.policy_for("acme").strategy.short(), "full");
    assert_eq!(c.policy_for("globex").target_file_size, 64 << 20);
    let ttl = |t| c.retention.ttl_for(t);
    assert_eq!(
        (ttl("acme"), ttl("eu-1"), ttl("audit"), ttl("globex")),
        (days(7), days(90), None, days(365))
    );
    // A table of the user's own adds to what is built in.
    assert_eq!(ttl("system"), days(30));
    assert_eq!(
        from_file("[retention.tenants]\nsystem = \"forever\"")
            .compaction_config()
            .retention
            .ttl_for("system"),
        None
    );
}

#[test]
fn without_a_file_the_defaults_are_the_library_s() {
    let settings = Settings::resolve(&layers("", &[], &[])).unwrap();
    let (mut ours, default) = (settings.compaction_config(), CompactionConfig::default());
    // But for what is built in for one tenant: without an archive and a word of the owner, nothing
    // of it is dropped.
    assert_eq!(ours.retention.ttl_for("system"), None);
    ours.retention
        .set("system", default.retention.ttl_for("system"));
    assert_eq!(format!("{ours:?}"), format!("{default:?}"));
    assert!(
        settings
            .store()
            .unwrap_err()
            .to_string()
            .contains("--store")
    );
    assert!(
        settings
            .all()
            .iter()
            .all(|(_, _, source)| *source == Source::Default)
    );
}

#[test]
fn what_is_built_in_for_a_tenant_drops_no_row_by_itself() {
    let archive = "[archive]\nurl = \"/cold\"\n";
    for (file, ttl, said) in [
        ("", None, true),
        ("[retention]\ndefault_ttl = \"forever\"", None, true),
        ("[retention]\ndefault_ttl = \"10d\"", Some(30), false),
        ("[retention]\ndefault_ttl = \"90d\"", Some(90), false),
        ("[retention.tenants]\n\"s*\" = \"90d\"", Some(90), false),
        ("[retention.tenants]\nsystem = \"10d\"", Some(10), false),
        ("[retention.tenants]\nsystem = \"forever\"", None, false),
        ("[retention]\ndrop = true", Some(30), false),
        (archive, Some(30), false),
    ] {
        let settings = from_file(file);
        let found = settings.compaction_config().retention.ttl_for("system");
        assert_eq!(
            (found, settings.kept("system").is_some()),
            (ttl.map(|d| Duration::from_secs(d * 86_400)), said),
            "{file}"
        );
        assert_eq!(settings.kept("acme"), None);
    }
}

#[test]
fn a_slip_in_a_tenants_name_is_found() {
    let settings = from_file(
        "[retention.tenants]\ngloebx = \"90d\"\nnewcomer = \"90d\"\n\"glob*\" = \"1d\"\n\
         [tenants.acmee.compaction]\nmin_files_to_compact = 7\n\
         [tenants.globexx.retention]\nttl = \"7d\"",
    );
    let slips = settings.slips(&["acme", "globex", "initech"]);
    let [acmee, globexx, gloebx] = slips.as_slice() else {
        panic!("{slips:?}")
    };
    assert_eq!(
        acmee,
        "tenants.acmee: no tenant is called `acmee`; did you mean `acme`?"
    );
    assert!(
        gloebx.starts_with("retention.tenants.gloebx (") && gloebx.ends_with("mean `globex`?"),
        "{gloebx}"
    );
    assert!(globexx.contains("`globexx`"), "{globexx}");
    assert!(settings.slips(&[]).is_empty());
}

#[test]
fn a_flag_beats_the_environment_beats_the_file_key_by_key() {
    let file = "store = \"/file\"\nmemory_limit = \"1GiB\"\n[compaction]\nmin_files_to_compact = 7";
    let env = [("ICEPACK_STORE", "/env"), ("ICEPACK_MEMORY_LIMIT", "2GiB")];
    let flags = [flag("--store", "store", "/flag")];
    let settings = Settings::resolve(&layers(file, &env, &flags)).unwrap();
    let shown = |path: &str| {
        settings
            .all()
            .into_iter()
            .find(|(p, _, _)| p == path)
            .map(|(_, v, s)| (v.text, s.to_string()))
            .unwrap()
    };
    assert_eq!(shown("store"), ("/flag".into(), "flag --store".into()));
    assert_eq!(
        shown("memory_limit"),
        ("2GiB".into(), "environment ICEPACK_MEMORY_LIMIT".into())
    );
    assert_eq!(
        shown("compaction.min_files_to_compact"),
        ("7".into(), "icepack.toml:4".into())
    );
    assert_eq!(shown("sweep.orphan_grace"), ("1d".into(), "default".into()));
    assert_eq!(
        shown("retention.tenants.system"),
        ("forever".into(), "default".into()),
        "without an archive nothing is dropped by what is built in"
    );
}

#[test]
fn an_empty_variable_counts_as_unset() {
    let settings = Settings::resolve(&layers(
        "store = \"/file\"",
        &[("ICEPACK_STORE", ""), ("ICEPACK_TYPO", " ")],
        &[],
    ))
    .unwrap();
    assert_eq!(settings.store().unwrap().to_string(), "/file");
}

/// A value that is right for each scalar setting, so that a new one cannot be forgotten in the
/// environment.
fn example(path: &str) -> &'static str {
    match path {
        "store" => "/data",
        "layout" => "topics/{tenant}/**",
        "archive.url" => "s3://cold/x",
        "archive.storage_class" => "GLACIER_IR",
        "timestamp_column" | "id_column" | "spill_dir" => "name",
        "concurrency" | "compaction.min_files_to_compact" => "5",
        "compaction.strategy" => "full",
        "compaction.rewritten" => "append",
        "compaction.within" => "tenant",
        "compaction.widen" => "double",
        "compaction.assume_zone" => "UTC",
        "encodings" => "delta",
        "parquet.compression" => "zstd(9)",
        "parquet.row_group_size" => "64MiB",
        "parquet.bloom_filter" => "user_id, event_id",
        "retention.allow_short_ttl" | "retention.drop" => "true",
        "archive.verify" => "readback",
        "archive.checksum" => "sha256",
        "archive.endpoint" => "http://127.0.0.1:9000",
        "archive.region" | "archive.profile" | "archive.kms_key_id" => "cold",
        "archive.sse" => "aws:kms",
        "archive.tagging" => "false",
        "report" => "true",
        "exclude" => "acme/lake/**, x/{a,b}/*",
        "files" => "*.parquet, *.{parq,PARQUET}",
        "archive.object_lock_mode" => "COMPLIANCE",
        "archive.object_lock_days" => "30",
        "memory_limit" | "compaction.target_file_size" | "compaction.max_file_size" => "200MiB",
        "compaction.small_file_threshold" | "archive.min_object_size" => "1MiB",
        "retention.max_expire_percent" => "60",
        // Without the feature, `true` is refused.
        "publish.delta" | "publish.symlink" => "false",
        "publish.layout" => "shared",
        "metrics.pushgateway" => "http://gate:9091",
        "metrics.max_tenants" => "7",
        "metrics.file" | "metrics.job" | "metrics.instance" => "x",
        price if price.starts_with("prices.") => "5",
        _ => "36h",
    }
}

#[test]
fn every_scalar_key_has_its_variable() {
    let paths: Vec<&str> = schema::SETTINGS
        .iter()
        .map(|(path, _)| path.as_str())
        .collect();
    assert_eq!(paths.len(), 141);
    let env: Vec<(String, String)> = paths
        .iter()
        .map(|p| (schema::env_name(p), example(p).to_owned()))
        .collect();
    let given = Layers {
        env: Environment::new(env),
        ..Layers::default()
    };
    let settings = Settings::resolve(&given).unwrap();
    for path in &paths {
        assert_eq!(
            settings.source(path),
            Source::Env(schema::env_name(path)),
            "{path}"
        );
    }
    assert_eq!(
        schema::env_name("compaction.target_file_size"),
        "ICEPACK_COMPACTION_TARGET_FILE_SIZE"
    );
    assert_eq!(settings.compaction_config().target_file_size, 200 << 20);
}

#[test]
fn an_unknown_variable_is_an_error_unless_somebody_else_set_it() {
    assert_eq!(
        refused("", &[("ICEPACK_MEMORY_LIMT", "1GiB")]),
        "unknown environment variable ICEPACK_MEMORY_LIMT: did you mean ICEPACK_MEMORY_LIMIT?"
    );
    assert!(refused("", &[("ICEPACK_ARCHIVE", "/x")]).contains("ICEPACK_ARCHIVE_URL"));
    assert!(refused("", &[("ICEPACK_XYZZY", "1")]).contains("config show"));
    let foreign = [
        ("ICEPACK_SERVICE_HOST", "10.0.0.1"),
        ("ICEPACK_SERVICE_PORT_HTTP", "80"),
        ("ICEPACK_PORT", "tcp://10.0.0.1:80"),
        ("ICEPACK_PORT_80_TCP_ADDR", "10.0.0.1"),
        ("ICEPACK_METRICS_SERVICE_HOST", "10.0.0.2"),
        ("ICEPACK_METRICS_PORT", "tcp://10.0.0.2:80"),
        ("ICEPACK_CONFIG", "x.toml"),
        ("ICEPACK_LOG", "debug"),
        ("ICEPACK_TEST_S3", "1"),
        ("ICEPACK_SKIP_S3", "1"),
    ];
    assert!(Settings::resolve(&layers("", &foreign, &[])).is_ok());
}

#[test]
fn a_slip_in_the_file_is_answered_with_the_line_and_the_right_word() {
    for (file, says) in [
        (
            "store = \"/d\"\n\n[compaction]\ntarget_file_sise = 1",
            "icepack.toml:4: unknown key `compaction.target_file_sise`: did you mean \
             `target_file_size`?",
        ),
        (
            "stor = \"/d\"",
            "icepack.toml:1: unknown key `stor`: did you mean `store`?",
        ),
        (
            "[compactoin]\nstrategy = \"full\"",
            "icepack.toml:1: unknown key `compactoin`: did you mean `compaction`?",
        ),
        (
            "[sweep]\nmemory_limit = \"1GiB\"",
            "icepack.toml:2: unknown key `sweep.memory_limit`: `memory_limit` belongs to the top \
             of the file, before the first [section]",
        ),
        (
            "delete_delay = \"1h\"",
            "icepack.toml:1: unknown key `delete_delay`: `delete_delay` belongs into [sweep]",
        ),
        (
            "[archive]\nquux = 1",
            "icepack.toml:2: unknown key `archive.quux`: known here: url, storage_class, \
             min_object_size, verify, checksum, ",
        ),
        (
            "[tenants.acme.compaction]\nstratgy = \"full\"",
            "icepack.toml:2: unknown key `tenants.acme.compaction.stratgy`: did you mean \
             `strategy`?",
        ),
        (
            "[tenants.acme]\nttl = \"1d\"",
            "icepack.toml:2: unknown key `tenants.acme.ttl`: write [tenants.acme.compaction] or \
             [tenants.acme.retention]",
        ),
        (
            "[tenants.acme.retention]\nttll = \"1d\"",
            "icepack.toml:2: unknown key `tenants.acme.retention.ttll`: did you mean `ttl`?",
        ),
    ] {
        let text = refused(file, &[]);
        assert!(text.starts_with(says), "{text}\nexpected {says}");
    }
}

#[test]
fn a_wrong_value_is_answered_with_the_line_and_an_example() {
    for (file, says) in [
        (
            "memory_limit = \"plenty\"",
            "icepack.toml:1: memory_limit: `plenty` is not a size",
        ),
        (
            "interval = 3600",
            "icepack.toml:1: interval: 3600 is not a duration",
        ),
        (
            "concurrency = 0",
            "icepack.toml:1: concurrency: 0 is not possible here",
        ),
        (
            "concurrency = -1",
            "icepack.toml:1: concurrency: -1 is not possible here",
        ),
        (
            "memory_limit = 1.5",
            "icepack.toml:1: memory_limit: 1.5 is not possible here",
        ),
        (
            "[prices.GLACIER]\nput = -0.5",
            "icepack.toml:2: prices.GLACIER.put: -0.5 is not a price",
        ),
        (
            "[prices.GLACIER]\nminimum_days = 1.5",
            "icepack.toml:2: prices.GLACIER.minimum_days: 1.5 is not possible here",
        ),
        (
            "[prices.GLACIER]\nputs = 1",
            "icepack.toml:2: unknown key `prices.GLACIER.puts`: did you mean `put`?",
        ),
        (
            "[prices.GLACEIR]\nput = 1",
            "icepack.toml:1: unknown key `prices.GLACEIR`: did you mean `GLACIER`?",
        ),
        (
            "[prices]\nGLACIER = 1",
            "icepack.toml:2: `prices.GLACIER` is a section",
        ),
        (
            "store = 5",
            "icepack.toml:1: store: a number is not expected here",
        ),
        (
            "store = [\"/a\"]",
            "icepack.toml:1: store: a list is not expected here",
        ),
        (
            "[compaction]\nstrategy = \"fast\"",
            "icepack.toml:2: compaction.strategy: `fast` is not a strategy: use size, time or full",
        ),
        (
            "[retention]\ndefault_ttl = \"0\"",
            "icepack.toml:2: retention.default_ttl: 0 could mean",
        ),
        (
            "[retention.tenants]\nacme = 0",
            "icepack.toml:2: retention.tenants.acme: 0 could mean",
        ),
        (
            "[retention.tenants]\n\"a/b\" = \"1d\"",
            "icepack.toml:2: `a/b` cannot be a tenant's name",
        ),
        ("[retention.tenants]\n\"[\" = \"1d\"", "icepack.toml:2: "),
        (
            "compaction = 5",
            "icepack.toml:1: `compaction` is a section",
        ),
        ("store = ", "icepack.toml:1: this is not TOML"),
        (
            "files = []",
            "icepack.toml:1: files: no file would be taken",
        ),
        (
            "files = [\"2026/*.parquet\"]",
            "icepack.toml:1: files: `2026/*.parquet` takes no file: write globs on names",
        ),
        (
            "exclude = [\"a/**\", 5]",
            "icepack.toml:1: exclude: this list must hold nothing but texts",
        ),
        (
            "[tenants]\nacme = 5",
            "icepack.toml:2: `tenants.acme` is a section: write [tenants.acme] and its keys below it",
        ),
        (
            "[tenants.\"eu-*\".compaction]\nmax_raw_age = \"soon\"",
            "icepack.toml:2: tenants.\"eu-*\".compaction.max_raw_age: `soon` is not a duration",
        ),
        (
            "[retention.tenants]\nacme = \"1d\"\n[tenants.acme.retention]\nttl = \"2d\"",
            "icepack.toml:4: the TTL of `acme` is also set in line 2",
        ),
    ] {
        let text = refused(file, &[]);
        assert!(text.starts_with(says), "{text}\nexpected {says}");
    }
    assert!(
        refused("", &[("ICEPACK_SWEEP_DELETE_DELAY", "5")])
            .starts_with("environment ICEPACK_SWEEP_DELETE_DELAY: `5` is not a duration")
    );
    let replaced = refused("memory_limit = \"x\"", &[("ICEPACK_MEMORY_LIMIT", "1GiB")]);
    assert!(
        replaced.starts_with("icepack.toml:1: memory_limit: `x` is not a size"),
        "{replaced}"
    );
    let bad = Settings::resolve(&layers(
        "",
        &[],
        &[flag("--memory-limit", "memory_limit", "x")],
    ))
    .unwrap_err();
    assert!(
        bad.to_string()
            .starts_with("--memory-limit: `x` is not a size")
    );
}

#[test]
fn a_push_has_its_own_time() {
    let file = "[metrics]\npushgateway = \"http://gate\"\ninstance = \"prod\"\n";
    for (own, seconds) in [("", 10), ("push_timeout = \"2s\"", 2)] {
        let settings = from_file(&format!("{file}{own}"));
        let url = url::Url::parse("http://gate").unwrap();
        let timeout = Duration::from_secs(seconds);
        let push = Push::new(url, "icepack", "prod", Shard::WHOLE, timeout);
        assert_eq!(settings.metrics(Shard::WHOLE).unwrap().push, Some(push));
    }
}

#[test]
fn a_ttl_of_minutes_must_be_confirmed() {
    let text = refused("[retention.tenants]\nacme = \"30m\"", &[]);
    assert!(
        text.starts_with("icepack.toml:2: retention.tenants.acme is 30m")
            && text.contains("allow_short_ttl"),
        "{text}"
    );
    let settings = from_file("[retention]\nallow_short_ttl = true\ndefault_ttl = \"5s\"");
    assert_eq!(
        settings.compaction_config().retention.ttl_for("x"),
        Some(Duration::from_secs(5))
    );
}

#[test]
fn sizes_must_fit_together_for_everybody() {
    let text = refused("[compaction]\nmax_file_size = \"64MiB\"", &[]);
    assert_eq!(
        text,
        "compaction.target_file_size (128MiB, default) is above compaction.max_file_size (64MiB, \
         icepack.toml:2): lower the first or raise the second"
    );
    let text = refused(
        "[tenants.acme.compaction]\ntarget_file_size = \"1GiB\"",
        &[],
    );
    assert!(
        text.starts_with(
            "tenants.acme.compaction.target_file_size (1GiB, icepack.toml:2) is above \
             compaction.max_file_size"
        ),
        "{text}"
    );
    let odd = from_file(
        "[compaction]\nsmall_file_threshold = \
         \"200MiB\"\n[tenants.acme.compaction]\nmin_files_to_compact = 9",
    );
    assert_eq!(odd.warnings().len(), 1, "{:?}", odd.warnings());
}

#[test]
fn an_archive_in_the_store_is_refused_and_both_are_named() {
    let text = refused(
        "store = \"s3://b/hot\"\n[archive]\nurl = \"s3://b/hot/cold\"",
        &[],
    );
    assert!(
        text.starts_with(
            "the archive s3://b/hot/cold (icepack.toml:3) overlaps the store s3://b/hot \
             (icepack.toml:1)"
        ),
        "{text}"
    );
    assert!(
        refused(
            "store = \"/d/hot\"",
            &[("ICEPACK_ARCHIVE_URL", "/d/hot/../hot")]
        )
        .contains("overlaps")
    );
}

#[test]
fn a_storage_class_is_looked_at() {
    let warnings = |file: &str| from_file(file).warnings().join("\n");
    let directory = from_file("[archive]\nurl = \"/cold\"\nstorage_class = \"GLACIER\"");
    assert_eq!(archive_of(&directory), (None, false));
    assert!(
        warnings("[archive]\nurl = \"/cold\"\nstorage_class = \"GLACIER\"").contains("ignored")
    );
    assert!(warnings("[archive]\nstorage_class = \"GLACIER\"").contains("without archive.url"));
    for (url, class, whose) in [
        ("az://c/x", "ARCHIVE", "Azure's: did you mean Archive?"),
        (
            "gs://c/x",
            "Coldline",
            "Google Cloud Storage's: did you mean COLDLINE?",
        ),
    ] {
        let said = warnings(&format!(
            "[archive]\nurl = \"{url}\"\nstorage_class = \"{class}\""
        ));
        assert!(said.contains(whose), "{said}");
    }
    for (url, class) in [("az://c/x", "Archive"), ("gs://c/x", "ARCHIVE")] {
        assert_eq!(
            warnings(&format!(
                "[archive]\nurl = \"{url}\"\nstorage_class = \"{class}\""
            )),
            ""
        );
    }
    assert!(
        warnings("[archive]\nurl = \"s3://c\"\nstorage_class = \"DEEP_ARCHIV\"")
            .contains("did you mean DEEP_ARCHIVE")
    );
    assert_eq!(
        warnings("[archive]\nurl = \"s3://c\"\nstorage_class = \"HOUSE_BRAND_COLD\""),
        ""
    );
}

#[test]
fn what_an_archive_on_s3_is_told_must_fit_together() {
    let s3 = |rest: &str| format!("[archive]\nurl = \"s3://c\"\n{rest}");
    let refused = |rest: &str| {
        Settings::resolve(&layers(&s3(rest), &[], &[]))
            .unwrap_err()
            .to_string()
    };
    let text = refused("storage_class = \"GLACIER\"\nverify = \"readback\"");
    assert!(
        text.starts_with(
            "archive.verify (icepack.toml:4): objects of class GLACIER cannot be read back"
        ) && text.contains("GLACIER_IR"),
        "{text}"
    );
    assert!(
        refused("object_lock_mode = \"GOVERNANCE\"").contains("needs archive.object_lock_days")
    );
    assert!(refused("object_lock_days = 7").contains("needs archive.object_lock_mode"));
    assert!(refused("sse = \"AES256\"\nkms_key_id = \"k\"").contains("aws:kms"));
    assert!(refused("checksum = \"md5\"").contains("use crc64nvme or sha256"));
    let directory = from_file("[archive]\nurl = \"/cold\"\nkms_key_id = \"k\"");
    assert_eq!(
        directory.warnings(),
        ["archive.kms_key_id (icepack.toml:3) is ignored: /cold is not on S3"]
    );
}

#[test]
fn a_strategy_on_the_command_line_is_for_every_tenant() {
    let file = "[tenants.acme.compaction]\nstrategy = \"time\"\ntarget_file_size = \"1MiB\"";
    let given = layers(
        file,
        &[],
        &[flag("--strategy", "compaction.strategy", "full")],
    );
    let c = Settings::resolve(&given).unwrap().compaction_config();
    assert_eq!(
        (
            c.policy_for("acme").strategy.short(),
            c.policy_for("acme").target_file_size
        ),
        ("full", 1 << 20)
    );
}

#[test]
fn a_store_that_is_none_says_where_it_stands() {
    let settings = from_file("store = \"ftp://x\"");
    assert!(
        settings
            .store()
            .unwrap_err()
            .to_string()
            .starts_with("icepack.toml:1: store: `ftp://x` is not a store")
    );
}

#[test]
fn a_named_file_must_exist() {
    let missing = PathBuf::from("/nonexistent/icepack.toml");
    let error = Layers::read(Some(missing), Environment::default(), Vec::new())
        .unwrap_err()
        .to_string();
    assert!(
        error.starts_with("cannot read the configuration file `/nonexistent/icepack.toml`"),
        "{error}"
    );
}

#[test]
fn complaints_are_lines_whatever_they_repeat() {
    refused("store = \"/d\\nx\"\n[archive]\nurl = \"/d\\nx\"", &[]);
    refused("[archive]\nurl = \"a\\nb://c\"", &[]);
    refused("", &[("ICEPACK_CONCURRENCY", "1\n2")]);
    let odd = from_file("[archive]\nurl = \"/c\"\nstorage_class = \"A\\nB\"");
    assert!(odd.warnings()[0].contains("A\\nB"), "{:?}", odd.warnings());
}

#[test]
fn a_pattern_that_is_too_much_is_refused_and_not_met_later() {
    for pattern in [
        "?".repeat(1_000_000),
        "{a*,b?}".repeat(50_000),
        "[!a-z]".repeat(100_000),
    ] {
        let text = refused(&format!("[retention.tenants]\n'{pattern}' = \"1d\""), &[]);
        assert!(text.len() < 1_000, "{} bytes", text.len());
    }
    let mut retention = crate::RetentionConfig::default();
    retention.set("?".repeat(1_000_000), days(1));
    assert!(retention.ttl_for("acme").is_none());
}

#[test]
fn patterns_of_any_letters_are_shown_as_keys() {
    let settings = from_file("[retention.tenants]\n'a\"\\*' = \"1d\"\n\"\\u0001*\" = \"2d\"");
    let keys: Vec<_> = settings
        .all()
        .into_iter()
        .map(|(path, ..)| path)
        .filter(|p| p.contains('*'))
        .collect();
    assert_eq!(
        keys,
        [
            r#"retention.tenants."\u0001*""#,
            r#"retention.tenants."a\"\\*""#
        ]
    );
}

#[test]
fn the_file_of_this_folder_may_be_of_another_store() {
    let store = |url: &str| [flag("--store", "store", url)];
    let file = "store = \"s3://other/prod\"\n";
    let warnings = |layers: &Layers| Settings::resolve(layers).unwrap().warnings().join("\n");
    let odd = warnings(&layers(file, &[], &store("s3://events/prod")));
    assert_eq!(
        odd,
        "icepack.toml:1: this file is for the store s3://other/prod, and its other settings hold \
         for s3://events/prod (flag --store) too: name another file with --config if that is not \
         meant"
    );
    let same = store("s3://other/prod");
    let spelled = "store = \"s3://other/prod/\"\n";
    assert_eq!(
        warnings(&layers(spelled, &[], &same)),
        "",
        "another spelling"
    );
    assert_eq!(warnings(&layers(file, &[], &[])), "");
    assert_eq!(
        warnings(&layers("report = true\n", &[], &store("s3://events/prod"))),
        ""
    );
    let mut named = layers(file, &[("ICEPACK_STORE", "s3://events/prod")], &[]);
    named.file = Some((PathBuf::from("prod.toml"), file.to_owned()));
    assert_eq!(warnings(&named), "", "who names the file means it");
}

#[test]
fn a_spill_dir_that_does_not_exist_is_warned_of() {
    let missing = |dir: &str| from_file(&format!("spill_dir = \"{dir}\"\n")).missing_places();
    let odd = missing("/nowhere/at/all").unwrap();
    assert!(
        odd.starts_with("spill_dir (icepack.toml:1): `/nowhere/at/all` is not a directory"),
        "{odd}"
    );
    assert_eq!((missing("/"), from_file("").missing_places()), (None, None));
}
