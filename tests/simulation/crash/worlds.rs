//! The worlds: each is ready for the pass that is to be killed.

use std::sync::Arc;
use std::time::Duration;

use chrono::TimeDelta;
use icepack::{CompactionConfig, CompactionStrategy};
use icepack_core::model::file::Micros;
use icepack_core::model::names::{self, FileId, Place, Tenant};
use icepack_core::model::pages::PageSizes;
use icepack_core::model::policy::Rewritten;
#[cfg(feature = "delta")]
use icepack_core::model::publish::{Layout, Publish};
use icepack_core::model::symlink::{GRACE, Symlink};
use icepack_core::model::units::DAY;
use icepack_dst::faults::{Fault, Kind, Schedule};
use ulid::Ulid;

#[cfg(feature = "delta")]
use crate::support::delta;
use crate::support::world::{ROOT, World};
use crate::support::{batch, event, parquet, put};

fn hours(n: i64) -> TimeDelta {
    TimeDelta::hours(n)
}

async fn raws(w: &mut World, tenant: &str, prefix: &str, files: usize, age: TimeDelta) {
    for i in 0..files {
        let back = age - TimeDelta::minutes(10 * i64::try_from(i).unwrap());
        w.ingest(tenant, &format!("2026-05/{prefix}-{i}.parquet"), 6, back)
            .await;
    }
}

/// Files of which every second row is past its time.
async fn mixed(w: &mut World, tenant: &str, files: usize) {
    for i in 0..files {
        let at = |n: usize| {
            w.time.now() - TimeDelta::days(if n.is_multiple_of(2) { 50 } else { 1 })
                + TimeDelta::minutes(i64::try_from(i * 10 + n).unwrap())
        };
        let events = (0..6).map(|n| event(500 + i * 6 + n, at(n))).collect();
        w.ingest_events(tenant, &format!("2026-05/mixed-{i}.parquet"), events)
            .await;
    }
}

fn keep_30_days(w: &mut World) {
    w.config.retention.set("acme", Some(DAY * 30));
}

async fn clean_pass(w: &mut World) {
    w.pass(Schedule::clean()).await.clean().unwrap();
    w.time.advance(hours(1));
}

/// Two tenants with nothing but files to pack.
pub async fn plain() -> World {
    let mut w = World::new(false, false);
    raws(&mut w, "acme", "a", 4, hours(3)).await;
    raws(&mut w, "globex", "g", 3, hours(5)).await;
    w
}

/// Pages of one folder each, and none that stays for nothing.
const SMALL: PageSizes = PageSizes {
    inline: 0,
    entries: 1,
    pages: 1_000,
    unnamed: 0,
};

/// Three folders with a page each, and new files in two of them.
pub async fn pages() -> World {
    let mut w = World::new(false, false);
    w.config.page_sizes = SMALL;
    for (n, folder) in ["a", "b", "c"].into_iter().enumerate() {
        some(
            &mut w,
            folder,
            "first",
            4,
            30 + 10 * i64::try_from(n).unwrap(),
        )
        .await;
    }
    clean_pass(&mut w).await;
    for folder in ["a", "c"] {
        some(&mut w, folder, "next", 3, 3).await;
    }
    w
}

/// The same with more new files than one look may keep: a pass goes on in rounds.
pub async fn rounds() -> World {
    let mut w = pages().await;
    w.config.files_at_once = 4;
    some(&mut w, "d", "other", 4, 5).await;
    w
}

async fn some(w: &mut World, folder: &str, name: &str, files: usize, age: i64) {
    for i in 0..files {
        let back = hours(age) - TimeDelta::minutes(10 * i64::try_from(i).unwrap());
        w.ingest("acme", &format!("{folder}/{name}-{i}.parquet"), 6, back)
            .await;
    }
}

/// Rows to archive in one folder, and a page that nobody needs.
pub async fn pages_expire() -> World {
    let mut w = World::new(false, true);
    w.config.page_sizes = SMALL;
    keep_30_days(&mut w);
    some(&mut w, "a", "old", 4, 29 * 24).await;
    some(&mut w, "b", "young", 4, 24).await;
    some(&mut w, "c", "young", 4, 24).await;
    clean_pass(&mut w).await;
    w.time.advance(hours(48));
    some(&mut w, "b", "new", 3, 2).await;
    w
}

/// The pass after an upgrade makes the first pages, of what is left of an older one too: files that
/// wait to be deleted, and names that are remembered.
pub async fn first_pages() -> World {
    let mut w = World::new(false, false);
    for folder in ["a", "b"] {
        some(&mut w, folder, "first", 4, 30).await;
    }
    clean_pass(&mut w).await;
    w.config.page_sizes = SMALL;
    some(&mut w, "b", "next", 3, 2).await;
    w
}

/// Rows to archive and rows to keep in the same files.
pub async fn retention() -> World {
    let mut w = World::new(false, true);
    keep_30_days(&mut w);
    mixed(&mut w, "acme", 4).await;
    w
}

/// A snapshot of which every row has expired, and new files.
async fn whole_file(has_archive: bool) -> World {
    let mut w = World::new(false, has_archive);
    keep_30_days(&mut w);
    raws(&mut w, "acme", "old", 4, hours(29 * 24)).await;
    clean_pass(&mut w).await;
    w.time.advance(hours(48));
    raws(&mut w, "acme", "new", 3, hours(2)).await;
    w
}

pub async fn whole_file_dropped() -> World {
    whole_file(false).await
}

pub async fn whole_file_archived() -> World {
    whole_file(true).await
}

/// Snapshots of which every row has expired, an archive that copies them, and new files.
pub async fn whole_files_copied() -> World {
    let mut w = World::new(false, true);
    w.copies = Some(Arc::default());
    keep_30_days(&mut w);
    // Snapshots of a few rows are worth an object, or none would be copied.
    w.config.archive_min_object_size = 0;
    let usual = w.config.clone();
    // A snapshot of each.
    w.config.strategy = CompactionStrategy::FullCompaction;
    w.config.target_file_size = 1_000;
    for i in 0..3 {
        w.ingest(
            "acme",
            &format!("2026-05/old-{i}.parquet"),
            30,
            hours(29 * 24 - 26 * i),
        )
        .await;
    }
    clean_pass(&mut w).await;
    w.config = usual;
    w.time.advance(hours(80));
    raws(&mut w, "acme", "new", 3, hours(2)).await;
    w
}

async fn all_expired(has_archive: bool) -> World {
    let mut w = World::new(false, has_archive);
    keep_30_days(&mut w);
    raws(&mut w, "acme", "old", 4, hours(60 * 24)).await;
    w
}

pub async fn all_dropped() -> World {
    all_expired(false).await
}

pub async fn all_archived() -> World {
    all_expired(true).await
}

/// One file of four is none.
pub async fn quarantine() -> World {
    let mut w = World::new(false, false);
    raws(&mut w, "acme", "good", 3, hours(3)).await;
    w.ingest_garbage("acme", "2026-05/bad.parquet").await;
    w
}

/// What a pass that was killed before its first delete left, an output that nobody committed, and
/// new files.
pub async fn orphans() -> World {
    let mut w = World::new(false, true);
    keep_30_days(&mut w);
    mixed(&mut w, "acme", 4).await;
    let calls = w.fork().pass(Schedule::clean()).await.process.calls();
    let first = calls
        .iter()
        .position(|c| c.kind == Kind::Delete && c.key.starts_with("acme/"))
        .unwrap();
    w.pass(Schedule::one(first + 1, Fault::Die { applied: false }))
        .await;
    let tenant = Tenant::parse("acme").unwrap();
    let id = FileId(Ulid::from_parts(
        w.time.now().timestamp_millis().cast_unsigned(),
        4711,
    ));
    let row = event(900, w.time.now() - hours(2));
    let at = Micros(row.at);
    put(
        &w.hot,
        &names::snapshot_key(&Place::Month(tenant.clone()), &tenant, at, at, id),
        parquet(&batch(&[row])),
    )
    .await;
    w.time.advance(hours(1));
    raws(&mut w, "acme", "new", 3, hours(2)).await;
    w
}

/// A small snapshot that is merged upwards with more files than are fetched at once.
pub async fn tiers() -> World {
    let mut w = World::new(false, false);
    raws(&mut w, "acme", "first", 3, hours(9)).await;
    clean_pass(&mut w).await;
    raws(&mut w, "acme", "more", 12, hours(4)).await;
    w
}

/// More manifests than are kept, the old ones older than a day.
pub async fn prune() -> World {
    let mut w = World::new(false, false);
    for round in 0..8 {
        raws(&mut w, "acme", &format!("r{round}"), 3, hours(2)).await;
        clean_pass(&mut w).await;
    }
    w.time.advance(hours(25));
    raws(&mut w, "acme", "new", 3, hours(2)).await;
    w
}

/// Several groups, each of several snapshots.
pub async fn pieces() -> World {
    let mut w = World::new(false, false);
    w.config.target_file_size = 1_000;
    w.config.max_file_size = 2_000;
    w.config.small_file_threshold = 20_000;
    for i in 0..3 {
        w.ingest(
            "acme",
            &format!("2026-05/p-{i}.parquet"),
            120,
            hours(40 - 3 * i),
        )
        .await;
    }
    w
}

/// Objects of several parts, read by ranges.
pub async fn multipart() -> World {
    let mut w = World::new(false, false);
    let mut rng = fastrand::Rng::with_seed(5);
    // The least share of memory there is, so that fewer megabytes are worth an upload in parts.
    w.config.memory_limit = 0;
    for i in 0..3 {
        let mut events = Vec::new();
        for n in 0..28 {
            let mut row = event(
                100 * (i + 1) + n,
                w.time.now() - hours(3) + TimeDelta::minutes(i64::try_from(3 * n + i).unwrap()),
            );
            row.payload = std::iter::repeat_with(|| rng.alphanumeric())
                .take(200_000)
                .collect();
            events.push(row);
        }
        w.ingest_events("acme", &format!("2026-05/big-{i}.parquet"), events)
            .await;
    }
    w
}

/// A directory, rows to archive, a file that is none.
pub async fn directory() -> World {
    let mut w = World::new(true, true);
    keep_30_days(&mut w);
    mixed(&mut w, "acme", 3).await;
    w.ingest_garbage("acme", "2026-05/bad.parquet").await;
    w
}

/// Two passes that take the same files; outputs are not collected before an hour, so the loser
/// rebases.
pub async fn same_inputs() -> World {
    let mut w = World::new(false, true);
    keep_30_days(&mut w);
    w.config.orphan_grace = Duration::from_secs(3600);
    mixed(&mut w, "acme", 3).await;
    w
}

/// One pass takes the old files, another (see [`small_only`]) the small ones.
pub async fn disjoint_inputs() -> World {
    let mut w = World::new(false, false);
    w.config.orphan_grace = Duration::from_secs(3600);
    w.config.strategy = CompactionStrategy::TimeBased;
    w.config.max_raw_age = DAY * 300;
    for i in 0..3 {
        w.ingest(
            "acme",
            &format!("2026-05/old-{i}.parquet"),
            200,
            hours(70 - 4 * i),
        )
        .await;
    }
    w.time.advance(hours(30));
    raws(&mut w, "acme", "small", 3, hours(3)).await;
    w
}

/// The configuration of the other pass in [`disjoint_inputs`].
pub fn small_only(w: &World) -> CompactionConfig {
    CompactionConfig {
        strategy: CompactionStrategy::SizeBased,
        small_file_threshold: 4_000,
        ..w.config.clone()
    }
}

/// Names that come again after their files were packed and deleted: two with the same rows, one with
/// others. And new files.
pub async fn names_again() -> World {
    let mut w = World::new(false, true);
    keep_30_days(&mut w);
    let mut first = Vec::new();
    for i in 0..3 {
        let name = format!("2026-05/again-{i}.parquet");
        let rows = w.ingest("acme", &name, 6, hours(9)).await;
        first.push((name, rows));
    }
    clean_pass(&mut w).await;
    for (name, rows) in &first[1..] {
        w.ingest_again("acme", name, rows).await;
    }
    w.ingest("acme", &first[0].0, 5, hours(3)).await;
    raws(&mut w, "acme", "new", 3, hours(2)).await;
    w
}

/// The same where other rows are taken in.
pub async fn names_again_appended() -> World {
    let mut w = names_again().await;
    w.config.rewritten = Rewritten::Append;
    w
}

/// No file is small, and rows expire.
fn good_files(has_archive: bool, directory: bool) -> World {
    let mut w = World::new(directory, has_archive);
    keep_30_days(&mut w);
    w.config.small_file_threshold = 1;
    w
}

/// Files that stay, and one that is none.
pub async fn adopting() -> World {
    let mut w = good_files(true, false);
    raws(&mut w, "acme", "good", 3, hours(3)).await;
    w.ingest_garbage("acme", "2026-05/bad.parquet").await;
    w
}

/// Of files that stayed, some have expired whole, some in part, and others are new.
async fn adopted(has_archive: bool, directory: bool) -> World {
    let mut w = good_files(has_archive, directory);
    // They expire in three hours.
    raws(&mut w, "acme", "old", 2, hours(30 * 24 - 3)).await;
    raws(&mut w, "acme", "young", 1, hours(24)).await;
    let ages = [30 * 24 - 3, 30 * 24 - 3, 24, 24].map(hours);
    let events = ages.into_iter().enumerate();
    let events = events.map(|(n, age)| event(500 + n, w.time.now() - age));
    let events = events.collect();
    w.ingest_events("acme", "2026-05/mixed.parquet", events)
        .await;
    // One of its rows never expires.
    let expires = event(600, w.time.now() - hours(30 * 24 - 3));
    let stays = event(601, "1999-12-31T23:59:59Z".parse().unwrap());
    w.ingest_events("acme", "2026-05/undated.parquet", vec![expires, stays])
        .await;
    clean_pass(&mut w).await;
    assert_eq!(w.adopted().await, 5);
    w.time.advance(hours(5));
    raws(&mut w, "acme", "new", 2, hours(2)).await;
    w
}

pub async fn adopted_dropped() -> World {
    adopted(false, false).await
}

pub async fn adopted_archived() -> World {
    adopted(true, false).await
}

pub async fn adopted_directory() -> World {
    adopted(false, true).await
}

/// Retired files wait an hour.
pub async fn delayed_deletes() -> World {
    let mut w = World::new(false, true);
    keep_30_days(&mut w);
    w.config.delete_delay = Duration::from_secs(3600);
    mixed(&mut w, "acme", 3).await;
    clean_pass(&mut w).await;
    raws(&mut w, "acme", "new", 3, hours(2)).await;
    w
}

/// Readers have symlink manifests. All that can be published happens, and some of what left them is
/// due to be deleted.
async fn with_lists(directory: bool, folder: &str) -> World {
    let mut w = World::new(directory, true);
    w.config.symlink = Some(Symlink {
        root: Some(ROOT.to_owned()),
        keep: Duration::ZERO,
    });
    w.config.delete_delay = GRACE + Duration::from_secs(60);
    keep_30_days(&mut w);
    for i in 0..3 {
        let key = format!("{folder}/first-{i}.parquet");
        w.ingest("acme", &key, 6, hours(2)).await;
    }
    clean_pass(&mut w).await;
    w.time.advance(hours(1));
    for i in 0..3 {
        let key = format!("{folder}/new-{i}.parquet");
        w.ingest("acme", &key, 6, hours(2)).await;
    }
    // All that is in this one is past its time at once: it is listed by nobody, or for a moment.
    w.ingest("acme", &format!("{folder}/old.parquet"), 6, hours(24 * 50))
        .await;
    w.ingest_garbage("acme", &format!("{folder}/bad.parquet"))
        .await;
    w
}

pub async fn listed() -> World {
    with_lists(false, "2026-05").await
}

pub async fn listed_directory() -> World {
    with_lists(true, "2026-05").await
}

/// The rows of one partition are past their time, so that its manifest becomes empty.
pub async fn listed_in_partitions() -> World {
    let mut w = with_lists(false, "dt=2026-05-01/h=12%3A30").await;
    // Folders of other keys would make no one table.
    w.arrivals = "dt=2026-05-01/h=12%3A30";
    for i in 0..2 {
        let key = format!("dt=2026-04-01/h=7/gone-{i}.parquet");
        w.ingest("acme", &key, 6, hours(24 * 50)).await;
    }
    w
}

/// Readers have a table. All that can be published happens: files come, rows move and expire, one
/// file is none.
#[cfg(feature = "delta")]
async fn with_table(directory: bool) -> World {
    let mut w = World::new(directory, true);
    w.config.publish = Some(Publish {
        layout: Layout::PerTenant,
        keep: Duration::ZERO,
    });
    keep_30_days(&mut w);
    mixed(&mut w, "acme", 3).await;
    clean_pass(&mut w).await;
    raws(&mut w, "acme", "new", 3, hours(2)).await;
    w.ingest_garbage("acme", "2026-05/bad.parquet").await;
    w
}

#[cfg(feature = "delta")]
pub async fn published() -> World {
    with_table(false).await
}

#[cfg(feature = "delta")]
pub async fn published_directory() -> World {
    with_table(true).await
}

/// The next version is the tenth: a checkpoint is due.
#[cfg(feature = "delta")]
pub async fn published_often() -> World {
    let mut w = World::new(false, false);
    w.config.publish = Some(Publish {
        layout: Layout::PerTenant,
        keep: Duration::ZERO,
    });
    w.config.min_files_to_compact = 3;
    loop {
        let published = delta::versions(&w.hot, "acme").await.len();
        if published >= 9 {
            break;
        }
        raws(&mut w, "acme", &format!("v{published}"), 1, hours(2)).await;
        clean_pass(&mut w).await;
    }
    raws(&mut w, "acme", "new", 3, hours(2)).await;
    w
}
