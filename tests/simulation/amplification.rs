//! Write amplification: ninety days of hourly passes, in virtual time, by the planner that the job
//! uses.
//!
//! Strategy `full` is not here: it rewrites everything whenever something arrives, which is what it
//! is asked for.
//!
//! `cargo test --test simulation amplification:: -- --nocapture` prints the figures.

#![allow(clippy::cast_precision_loss, reason = "a test prints ratios")]

mod world;

use std::time::Duration;

use chrono::TimeDelta;
use icepack::CompactionConfig;
use icepack_core::model::policy::{ArchivePolicy, CompactionStrategy, Policy};
use icepack_core::model::units::{KIB, MIB};
use world::{Figures, Rows, World, at};

const DAYS: i64 = 90;

/// How a tenant's files come.
#[derive(Debug, Clone, Copy)]
enum Kind {
    /// Twelve files an hour.
    Steady,
    /// A little, and every five days in three hours 400 files of 4 MiB.
    Bursty,
    /// Steady, but a third of the rows is up to a day late, and a tenth up to two weeks.
    Late,
    /// A small file every other hour.
    Trickling,
    /// Four files a day of a few rows each.
    Dripping,
}

const KINDS: [Kind; 5] = [
    Kind::Steady,
    Kind::Bursty,
    Kind::Late,
    Kind::Trickling,
    Kind::Dripping,
];

/// The same numbers for the same seed.
struct Random(u64);

impl Random {
    fn below(&mut self, n: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % n
    }

    /// About `size`: between half of it and half more.
    fn about(&mut self, size: u64) -> u64 {
        size / 2 + self.below(size + 1)
    }
}

impl Kind {
    /// The files of an hour, with a scale in percent of their usual size.
    fn files(self, hour: i64, random: &mut Random, scale: u64) -> Vec<Rows> {
        let sizes = |n: u64, size: u64, random: &mut Random| {
            (0..n)
                .map(|_| random.about(size * scale / 100))
                .collect::<Vec<_>>()
        };
        let now = |sizes: Vec<u64>| {
            sizes
                .into_iter()
                .map(|size| Rows::from([(hour, size)]))
                .collect()
        };
        match self {
            Self::Steady => now(sizes(12, MIB, random)),
            Self::Bursty if hour % 120 < 3 => now(sizes(133, 4 * MIB, random)),
            Self::Bursty => now(sizes(1, 64 * KIB, random)),
            Self::Late => sizes(12, MIB, random)
                .into_iter()
                .map(|size| late(hour, size, random))
                .collect(),
            Self::Trickling if hour % 2 == 0 => now(sizes(1, 16 * KIB, random)),
            Self::Dripping if hour % 6 == 0 => now(sizes(1, 2 * KIB, random)),
            Self::Trickling | Self::Dripping => Vec::new(),
        }
    }
}

fn late(hour: i64, size: u64, random: &mut Random) -> Rows {
    let mut rows = Rows::from([(hour, size * 6 / 10)]);
    for (share, hours) in [(3, 24), (1, 14 * 24)] {
        let at = hour - i64::try_from(random.below(hours)).unwrap();
        *rows.entry(at).or_default() += size * share / 10;
    }
    rows
}

fn live(kind: Kind, policy: &Policy, scale: u64, compressed: u64) -> Figures {
    let mut world = World::new(policy.clone(), compressed);
    let mut random = Random(1);
    for hour in 0..DAYS * 24 {
        for rows in kind.files(hour, &mut random, scale) {
            world.arrive(
                rows,
                at(hour) + TimeDelta::minutes(i64::try_from(random.below(60)).unwrap()),
            );
        }
        world.pass(at(hour + 1));
    }
    world.figures
}

fn usual() -> Policy {
    CompactionConfig::default().policy_for("acme")
}

fn with_ttl(days: u64) -> Policy {
    Policy {
        ttl: Some(Duration::from_secs(days * 86_400)),
        ..usual()
    }
}

/// Files of which many are finished in ninety days.
fn small(policy: Policy) -> Policy {
    Policy {
        target_file_size: 4 * MIB,
        max_file_size: 8 * MIB,
        small_file_threshold: MIB,
        ..policy
    }
}

fn with_archive(policy: Policy) -> Policy {
    Policy {
        archive: Some(ArchivePolicy {
            min_object_size: 8 * MIB,
        }),
        ..policy
    }
}

fn by_age(policy: Policy) -> Policy {
    Policy {
        strategy: CompactionStrategy::TimeBased,
        ..policy
    }
}

/// Lives of every kind of tenant; prints and judges them. `scale` is the usual size of files in
/// percent, `compressed` that of a snapshot by its raw files.
fn check(what: &str, policy: &Policy, scale: u64, compressed: u64) {
    let mut table = format!("{what}; a snapshot has {compressed}% of the bytes of its raw files\n");
    table += &format!(
        "{:<10} {:>10} {:>12} {:>6} {:>7} {:>6} {:>6} {:>8} {:>7}\n",
        "tenant", "MiB in", "MiB written", "ratio", "passes", "files", "bound", "fullest", "median"
    );
    let lives = KINDS.map(|kind| {
        (
            format!("{kind:?}").to_lowercase(),
            live(kind, policy, scale, compressed),
        )
    });
    for (name, f) in &lives {
        let (mib, ratio) = (|n: u64| n as f64 / MIB as f64, f.amplification());
        let line = format!(
            "{name:<10} {:>10.1} {:>12.1} {ratio:>6.2} {:>7}",
            mib(f.ingested),
            mib(f.written),
            f.passes
        );
        table += &format!(
            "{line} {:>6} {:>6} {:>7}% {:>6}%\n",
            f.files, f.allowed, f.crowded, f.median
        );
    }
    println!("{table}");
    for (name, f) in lives {
        assert!(
            f.passes > 0 && f.ingested > 0,
            "{what}, {name}: nothing was ever done"
        );
        assert!(
            f.written <= 4 * f.ingested,
            "{what}, {name}: {:.2} bytes written for each that came in",
            f.amplification()
        );
        assert!(
            f.crowded <= 100,
            "{what}, {name}: there were {}% of the files that may be",
            f.crowded
        );
    }
}

#[test]
fn by_size() {
    check("strategy size, kept for ever", &usual(), 100, 50);
}

#[test]
fn by_size_where_nothing_compresses() {
    check("strategy size, kept for ever", &usual(), 100, 100);
}

#[test]
fn by_size_where_much_compresses() {
    check("strategy size, kept for ever", &usual(), 100, 20);
}

#[test]
fn by_size_with_many_finished_files() {
    check(
        "strategy size, target 4 MiB, kept for ever",
        &small(usual()),
        10,
        50,
    );
}

#[test]
fn by_size_for_a_month() {
    check("strategy size, 30 days", &with_ttl(30), 100, 50);
}

#[test]
fn by_size_for_a_month_with_many_finished_files() {
    check(
        "strategy size, target 4 MiB, 30 days",
        &small(with_ttl(30)),
        10,
        50,
    );
}

#[test]
fn by_size_for_a_month_with_an_archive() {
    check(
        "strategy size, 30 days, archived",
        &with_archive(with_ttl(30)),
        100,
        50,
    );
}

#[test]
fn by_size_for_a_week() {
    check("strategy size, 7 days", &with_ttl(7), 100, 50);
}

#[test]
fn by_age_for_ever_and_for_a_month() {
    check("strategy time, kept for ever", &by_age(usual()), 100, 50);
    check("strategy time, 30 days", &by_age(with_ttl(30)), 100, 50);
}
