//! Random worlds against the naive merge, with much and with little memory.

use super::*;

const UNITS: [TimeUnit; 4] = [
    TimeUnit::Second,
    TimeUnit::Millisecond,
    TimeUnit::Microsecond,
    TimeUnit::Nanosecond,
];

fn events(random: &mut Random, pool: &[Event]) -> Vec<Event> {
    let count = if random.chance(5) {
        0
    } else {
        random.below(600)
    };
    let start = T0 + i64::try_from(random.below(3_000)).unwrap();
    let width = 1 + random.below(2_000);
    let mut all: Vec<Event> = (0..count)
        .map(|i| {
            if !pool.is_empty() && random.chance(15) {
                return pool[usize::try_from(random.below(pool.len() as u64)).unwrap()].clone();
            }
            let seconds = start + i64::try_from(random.below(width)).unwrap();
            let mut e = event(
                &format!("e{}", random.below(1 << 20)),
                seconds,
                &format!("p{i}-{}", "x".repeat(random.below(60) as usize)),
            );
            if random.chance(3) {
                e.id = None;
            }
            if random.chance(2) {
                e.seconds = None;
            }
            if random.chance(1) {
                e.seconds = Some(i64::try_from(random.below(1_000)).unwrap());
            }
            e
        })
        .collect();
    if random.chance(60) {
        all.sort_by_key(|e| e.seconds);
    }
    all
}

/// Budgets: enough, hardly any, and next to none, which sorts and merges in several passes on disk.
const BUDGETS: [u64; 3] = [256 << 20, 2 << 20, 1];

async fn world(seed: u64, files: &[Vec<Event>], random: &mut Random) -> World {
    let mut w = World::new();
    w.spec.cut = if random.chance(50) {
        Period::Day
    } else {
        Period::Month
    };
    w.spec.min_piece = if random.chance(50) { 1 } else { 8 << 20 };
    w.spec.size.target = 1 + random.below(200 << 10);
    w.prefetch = 1 + usize::try_from(seed % 5).unwrap();
    for (i, f) in files.iter().enumerate() {
        let unit = UNITS[usize::try_from(random.below(4)).unwrap()];
        let batch = rows(f, unit, None);
        w.raw(
            &format!("{i:03}"),
            foreign(&batch, 1 + usize::try_from(random.below(500)).unwrap()),
        )
        .await;
    }
    w
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn any_files_come_out_as_the_naive_merge_has_them() {
    for seed in 1..=25 {
        let mut random = Random(seed);
        let mut files: Vec<Vec<Event>> = Vec::new();
        for _ in 0..1 + random.below(14) {
            let pool = files.last().cloned().unwrap_or_default();
            files.push(events(&mut random, &pool));
        }
        let want = naive(&files);
        let cutoff = random
            .chance(50)
            .then(|| T0 + i64::try_from(random.below(4_000)).unwrap());
        let mut w = world(seed, &files, &mut random).await;
        w.spec.cutoff = cutoff.map(|c| Micros(c * 1_000_000));
        let (gone, kept): (Vec<_>, Vec<_>) = want
            .into_iter()
            .partition(|e| cutoff.is_some_and(|c| expired(e, c)));
        let total: usize = files.iter().map(Vec::len).sum();
        for budget in BUDGETS {
            w.memory = budget;
            let (out, batches) = w.merge_collecting().await;
            assert_eq!(
                w.read(&out.snapshots).await,
                kept,
                "seed {seed}, budget {budget}"
            );
            assert_eq!(
                batches
                    .iter()
                    .flat_map(|b| events_of(&b.batch))
                    .collect::<Vec<_>>(),
                gone,
                "seed {seed}, budget {budget}"
            );
            assert_eq!(
                out.deduplicated as usize,
                total - kept.len() - gone.len(),
                "seed {seed}, budget {budget}"
            );
            assert!(w.is_clean());
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn snapshots_merge_with_raw_files_as_if_all_were_raw() {
    for seed in 101..=110 {
        let mut random = Random(seed);
        let files: Vec<Vec<Event>> = (0..8).map(|_| events(&mut random, &[])).collect();
        let mut w = world(seed, &files[..5], &mut random).await;
        let first = w.merge().await;
        w.spec.inputs.clear();
        w.take(&first.snapshots);
        for (i, f) in files[5..].iter().enumerate() {
            w.events(&format!("more-{i}"), f).await;
        }
        for budget in BUDGETS {
            w.memory = budget;
            let out = w.merge().await;
            let sorted = |mut all: Vec<Event>| {
                all.sort_by(|a, b| {
                    (a.seconds, &a.id, &a.payload).cmp(&(b.seconds, &b.id, &b.payload))
                });
                all
            };
            assert_eq!(
                sorted(w.read(&out.snapshots).await),
                sorted(naive(&files)),
                "seed {seed}, budget {budget}"
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn little_memory_goes_through_the_disk_in_several_passes() {
    let mut w = World::new();
    let mut files: Vec<Vec<Event>> = Vec::new();
    for f in 0..24 {
        let mut events = span(&format!("{f}-"), T0 + f..T0 + f + 400);
        if f % 3 == 0 {
            events.reverse();
        }
        w.events(&format!("{f}"), &events).await;
        files.push(events);
    }
    // One that is too large to be sorted in memory, or to be fetched whole.
    let mut random = Random(3);
    let mut large: Vec<Event> = (0..30_000)
        .map(|i| {
            event(
                &format!("L{i}"),
                T0 + i,
                &format!("{:x}", random.below(u64::MAX)),
            )
        })
        .collect();
    large.reverse();
    w.events("large", &large).await;
    files.push(large);
    let roomy = w.merge().await;
    assert_eq!(roomy.spilled_runs, 0);
    w.memory = 1;
    let tight = w.merge().await;
    assert!(tight.spilled_runs > 24, "{}", tight.spilled_runs);
    assert_eq!(
        w.read(&tight.snapshots).await,
        w.read(&roomy.snapshots).await
    );
    assert!(w.is_clean());
}
