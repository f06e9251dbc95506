//! Snapshots that are copied into larger ones, through the binary, and read by other programs.

use crate::support;

use std::fs;
use std::path::{Path, PathBuf};

use chrono::{DateTime, TimeDelta, Utc};
use fastrand::Rng;
use support::{Event, batch, event, job, parquet};

/// Events a second apart with 600 characters that hardly compress.
fn events(count: usize, first: DateTime<Utc>) -> Vec<Event> {
    let mut rng = Rng::with_seed(7);
    let text = |rng: &mut Rng| (0..600).map(|_| rng.alphanumeric()).collect();
    (0..count)
        .map(|n| Event {
            payload: text(&mut rng),
            ..event(n, first + TimeDelta::seconds(n as i64))
        })
        .collect()
}

struct Place {
    dir: tempfile::TempDir,
}

impl Place {
    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// A pass with snapshots of about `target`. What it logs.
    fn pass(&self, target: &str) -> String {
        let config = format!(
            "[compaction]\nmin_files_to_compact = 1\nsmall_file_threshold = \
             \"1MiB\"\ntarget_file_size = \"{target}\"\n"
        );
        fs::write(self.path("icepack.toml"), config).unwrap();
        let store = self.path("data");
        let args = [
            "run",
            "--config",
            &text(&self.path("icepack.toml")),
            "--store",
            &text(&store),
            "--log-level",
            "debug",
        ];
        let out = job::run(&[], args);
        let log = job::text(&out.stderr);
        assert!(out.status.success(), "{}{log}", job::text(&out.stdout));
        log
    }

    fn live(&self) -> Vec<String> {
        job::expect(&[], 0, ["ls", "--store", &text(&self.path("data"))])
            .lines()
            .map(str::to_owned)
            .collect()
    }
}

fn text(path: &Path) -> String {
    path.display().to_string()
}

#[test]
fn other_programs_read_what_was_copied() {
    if std::env::var_os("ICEPACK_TEST_PYTHON").is_none() {
        return;
    }
    let place = Place {
        dir: tempfile::tempdir().unwrap(),
    };
    fs::create_dir_all(place.path("data/acme")).unwrap();
    fs::create_dir_all(place.path("in")).unwrap();
    // Within one month, whenever that is.
    let all = events(24_000, DateTime::from_timestamp(1_760_000_000, 0).unwrap());
    // Each is small, so that the first pass takes it: 300 KB.
    // Files of one age are taken in the order of their names.
    for (i, part) in all.chunks(500).enumerate() {
        let bytes = parquet(&batch(part));
        fs::write(place.path(&format!("data/acme/{i:02}.parquet")), &bytes).unwrap();
        fs::write(place.path(&format!("in/{i:02}.parquet")), &bytes).unwrap();
    }
    let log = place.pass("2MiB");
    assert!(!log.contains("copied without decoding"), "{log}");
    let small = place.live();
    assert!(small.len() >= 4, "{small:?}");

    let log = place.pass("64MiB");
    assert_eq!(
        log.matches("copied without decoding").count(),
        small.len(),
        "{log}"
    );
    let large = place.live();
    assert_eq!(large.len(), 1, "{large:?}");

    let list = place.path("live.txt");
    fs::write(&list, large.join("\n")).unwrap();
    fs::write(place.path("none.txt"), "").unwrap();
    let out = job::check_rows(
        &[],
        &[
            "--ingested",
            &text(&place.path("in")),
            "--live",
            &text(&list),
            "--archive",
            &text(&place.path("none.txt")),
        ],
    );
    assert!(
        out.status.success(),
        "{}{}",
        job::text(&out.stdout),
        job::text(&out.stderr)
    );
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/python/check_filters.py");
    let out = job::python().arg(script).args(&large).output().unwrap();
    assert!(
        out.status.success(),
        "{}{}",
        job::text(&out.stdout),
        job::text(&out.stderr)
    );
    // Every row, against the manifest's fingerprint.
    job::expect(
        &[],
        0,
        ["verify", "--deep", "--store", &text(&place.path("data"))],
    );
}
