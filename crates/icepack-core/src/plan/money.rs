//! The requests of a plan, and the cost of it and of its archive. Pure arithmetic over a price
//! list; a GB is 2^30 bytes, a month has 30 days.

use crate::model::estimate::{Cost, Estimate, Objects, Warning};
use crate::model::inputs::is_called_parquet;
use crate::model::names::{FileKind, classify};
use crate::model::plan::{Group, GroupKind, Plan, PlannedInput};
use crate::model::policy::Policy;
use crate::model::price::{Prices, STANDARD};
use crate::model::report::Requests;
use crate::model::units::KIB;
use crate::plan::batch::batch_sizes;
use crate::plan::cutting::FileSize;

/// Classes whose objects must be thawed carry an index, billed in the class, …
const INDEX: u64 = 32 * KIB;
/// … and a name, billed as STANDARD.
const NAME: u64 = 8 * KIB;

/// In the other cold classes of S3 and Azure no object is billed as smaller. Nowhere is a smaller one worth it.
const MIN_BILLED: u64 = 128 * KIB;

/// What a class adds to objects is worth a word above this share of their bytes.
const MUCH_OVERHEAD_PERCENT: f64 = 5.0;

/// Larger objects are read and written in pieces of about this.
const PIECE: u64 = 16 << 20;

/// A column is read row group by row group. Common writers make them of about this size.
const ROW_GROUP: u64 = 128 << 20;

/// Keys in a page of a listing and in a bulk delete.
const PAGE: u64 = 1_000;

/// Copies in one commit.
const COPIES_A_COMMIT: u64 = 64;

/// The prices that estimates use.
#[derive(Debug, Clone, Copy)]
pub struct Pricing<'a> {
    /// Of every class.
    pub prices: &'a Prices,
    pub class: &'a str,
    /// Whether the store copies into the archive by itself.
    pub copies: bool,
}

/// Bytes of an object of `size` that are billed in its class, and besides in STANDARD.
pub fn billed(class: &str, size: u64) -> (u64, u64) {
    match class {
        "GLACIER" | "DEEP_ARCHIVE" => (size.saturating_add(INDEX), NAME),
        // Azure's: of accounts since July 2026, and from July 2027 of all.
        "STANDARD_IA" | "ONEZONE_IA" | "GLACIER_IR" | "Cool" | "Cold" | "Archive" => {
            (size.max(MIN_BILLED), 0)
        }
        _ => (size, 0),
    }
}

/// The cost of keeping objects of these bytes in a class for a month; none where the list has no
/// price for it.
pub fn per_month(prices: &Prices, class: &str, objects: &[u64]) -> Option<f64> {
    let (own, standard) = (
        prices.class(class)?.storage,
        prices.class(STANDARD)?.storage,
    );
    let sum = |pick: fn((u64, u64)) -> u64| {
        objects.iter().fold(0_u64, |sum, size| {
            sum.saturating_add(pick(billed(class, *size)))
        })
    };
    Some(gb(sum(|b| b.0)) * own + gb(sum(|b| b.1)) * standard)
}

/// As [`per_month`], of so many objects of which only the bytes of all together are known: the least
/// that it can be. In classes that bill small objects as larger ones it may be more.
pub fn holding(prices: &Prices, class: &str, objects: u64, bytes: u64) -> Option<f64> {
    let (own, name) = billed(class, 0);
    let empty = objects.saturating_mul(own);
    let own = if name > 0 {
        bytes.saturating_add(empty)
    } else {
        bytes.max(empty)
    };
    Some(
        gb(own) * prices.class(class)?.storage
            + gb(objects.saturating_mul(name)) * prices.classes.get(STANDARD)?.storage,
    )
}

/// What requests cost where `archived` of those that write made objects of `class`, and all others
/// are billed as STANDARD; none where the list has no price for it.
pub fn requests(prices: &Prices, asked: &Requests, archived: u64, class: &str) -> Option<f64> {
    let hot = prices.classes.get(STANDARD)?;
    let more = if archived > 0 {
        prices.class(class)?.put - hot.put
    } else {
        0.0
    };
    Some(
        thousands(asked.put + asked.list + asked.copy) * hot.put
            + thousands(asked.get + asked.head) * hot.get
            + thousands(archived) * more,
    )
}

#[allow(clippy::cast_precision_loss, reason = "money is shown with two digits")]
fn gb(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1_u32 << 30)
}

#[allow(clippy::cast_precision_loss, reason = "money is shown with two digits")]
fn thousands(n: u64) -> f64 {
    n as f64 / 1_000.0
}

/// The requests and costs of a plan. Its expiry must be known.
pub fn estimate(plan: &Plan, policy: &Policy, pricing: &Pricing<'_>) -> Estimate {
    let none: &[u64] = &[];
    let sizes = plan.expiry.as_ref().map_or(none, |e| &e.object_bytes);
    let asked = Asked::by(plan, policy, pricing.copies, sizes);
    let cost = cost(plan, policy, pricing, &asked, sizes);
    let warnings = if sizes.is_empty() {
        Vec::new()
    } else {
        warnings(pricing, sizes, cost.as_ref())
    };
    let outputs = plan.groups.iter().map(|g| outputs(g, policy)).sum();
    Estimate {
        requests: asked.store + asked.archive,
        outputs,
        objects: Objects::of(sizes),
        cost,
        warnings,
    }
}

/// About the snapshots that a group becomes, at most: its bytes may compress better than they do.
fn outputs(group: &Group, policy: &Policy) -> u64 {
    if group.is_expiry() || group.kind == GroupKind::Adopt {
        0
    } else {
        FileSize::of(policy).files(group.bytes())
    }
}

fn cost(
    plan: &Plan,
    policy: &Policy,
    pricing: &Pricing<'_>,
    asked: &Asked,
    sizes: &[u64],
) -> Option<Cost> {
    let prices = pricing.prices;
    let (hot, cold) = (prices.classes.get(STANDARD)?, prices.class(pricing.class));
    let keeping = per_month(
        prices,
        STANDARD,
        &[plan.expiry.as_ref().map_or(0, |e| e.bytes_expiring)],
    )?;
    let (archiving_once, archived) = if sizes.is_empty() {
        (0.0, 0.0)
    } else {
        // Beginning an upload and its parts are billed as STANDARD, and so are receipts; what
        // completes an object, or copies it, as its class.
        let objects = sizes.len() as u64;
        let others =
            asked
                .archive
                .put
                .saturating_sub(if asked.archive.copy > 0 { 0 } else { objects });
        let reads = thousands(asked.archive.get + asked.archive.head) * hot.get;
        (
            thousands(objects) * cold?.put + thousands(others) * hot.put + reads,
            per_month(prices, pricing.class, sizes)?,
        )
    };
    let store = asked.store;
    let requests_once = thousands(store.put + store.list + store.copy) * hot.put
        + thousands(store.get + store.head) * hot.get
        + archiving_once;
    let saved = keeping - archived;
    Some(Cost {
        currency: prices.currency.clone(),
        storage_class: policy.archive.map(|_| pricing.class.to_owned()),
        requests_once,
        archiving_once,
        keeping_per_month: keeping,
        archived_per_month: archived,
        saved_per_month: saved,
        break_even_months: (saved > 0.0).then(|| archiving_once / saved),
    })
}

fn warnings(pricing: &Pricing<'_>, sizes: &[u64], cost: Option<&Cost>) -> Vec<Warning> {
    let class = pricing.class;
    let storage_class = || class.to_owned();
    let objects = Objects::of(sizes);
    let mut found = Vec::new();
    let small = sizes.iter().filter(|s| **s < MIN_BILLED).count() as u64;
    if small > 0 && billed(class, 0) != (0, 0) {
        found.push(Warning::SmallObjects {
            objects: small,
            of: objects.count,
            under_bytes: MIN_BILLED,
            smallest_bytes: objects.smallest_bytes,
        });
    }
    let (index, name) = billed(class, 0);
    let overhead =
        100.0 * gb(objects.count.saturating_mul(index + name)) / gb(objects.bytes.max(1));
    if name > 0 && overhead > MUCH_OVERHEAD_PERCENT {
        found.push(Warning::Overhead {
            storage_class: storage_class(),
            bytes_per_object: index + name,
            percent: overhead,
        });
    }
    let Some(cost) = cost else {
        found.push(Warning::NoPrice {
            storage_class: storage_class(),
        });
        return found;
    };
    let currency = || cost.currency.clone();
    if let Some(days) = pricing
        .prices
        .class(class)
        .map(|p| p.minimum_days)
        .filter(|days| *days > 0)
    {
        let amount = cost.archived_per_month * thousands(days) * 1_000.0 / 30.0;
        found.push(Warning::MinimumDuration {
            storage_class: storage_class(),
            days,
            amount,
            currency: currency(),
        });
    }
    if cost.saved_per_month < 0.0 {
        found.push(Warning::CostsMore {
            more_per_month: -cost.saved_per_month,
            currency: currency(),
        });
    }
    found
}

/// Requests by where they go.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Asked {
    store: Requests,
    archive: Requests,
}

impl Asked {
    /// About what a plan asks: each input is read and each output written in pieces of [`PIECE`],
    /// each batch of groups is one commit, and each commit a PUT and a LIST.
    fn by(plan: &Plan, policy: &Policy, copies: bool, sizes: &[u64]) -> Self {
        let raw = plan
            .skipped
            .iter()
            .filter(|s| classify(&plan.tenant, &s.key) != FileKind::Other)
            .count();
        let files = (plan.groups.iter().map(|g| g.inputs.len()).sum::<usize>() + raw) as u64;
        // Manifests and files are listed, and head is read.
        let look = Requests {
            list: 1 + files.div_ceil(PAGE).max(1),
            get: u64::from(plan.head_version > 0),
            ..Requests::default()
        };
        let mut asked = Self {
            store: look,
            ..Self::default()
        };
        if plan.groups.is_empty() {
            return asked;
        }
        asked.store.put += u64::from(plan.head_version == 0);
        let copies = copies && policy.archive.is_some();
        for group in &plan.groups {
            asked.group(group, policy, copies);
        }
        let commits = batch_sizes(&plan.groups).len() as u64;
        asked.store.put += commits;
        asked.store.list += commits;
        asked.receive(plan, copies, sizes);
        let taken = plan
            .groups
            .iter()
            .filter(|g| g.kind != GroupKind::Adopt)
            .map(|g| g.inputs.len() as u64)
            .sum::<u64>();
        // Cleaning up: head and the files are looked at again, what was retired is deleted, and
        // head forgets it.
        let sweep = Requests {
            get: 1,
            list: look.list + 1,
            delete: taken.div_ceil(PAGE),
            put: 1,
            ..Requests::default()
        };
        asked.store += sweep;
        asked
    }

    fn group(&mut self, group: &Group, policy: &Policy, copies: bool) {
        let inputs = group.inputs.len() as u64;
        if group.kind == GroupKind::Expire && policy.archive.is_some() {
            let more = inputs.div_ceil(COPIES_A_COMMIT) - 1;
            self.store.put += more;
            self.store.list += more;
        }
        let count = |wanted: fn(&PlannedInput) -> bool| {
            group.inputs.iter().filter(|i| wanted(i)).count() as u64
        };
        let sum = |gets: fn(u64) -> u64| group.inputs.iter().map(|i| gets(i.size)).sum::<u64>();
        let gets = match group.kind {
            GroupKind::Expire if policy.archive.is_none() => {
                // Whether each is still the one that was read.
                self.store.head += count(|i| !i.is_snapshot());
                0
            }
            // What a receipt says of a raw file, only its rows tell.
            GroupKind::Expire if copies => {
                let raw = group.inputs.iter().filter(|i| !i.is_snapshot());
                raw.map(|i| 1 + i.size.saturating_sub(1) / PIECE).sum()
            }
            GroupKind::Merge | GroupKind::Expire => sum(|size| 1 + size.saturating_sub(1) / PIECE),
            GroupKind::Adopt => sum(|size| 1 + size.div_ceil(ROW_GROUP)),
        };
        if gets > 0 {
            // Where the name does not say that it is Parquet, the first bytes are asked for.
            let unclear = count(|i| !i.is_snapshot() && !is_called_parquet(&i.key));
            self.store.get += gets + unclear;
        }
        let outputs = outputs(group, policy);
        self.store.put += outputs * puts(group.bytes() / outputs.max(1));
    }

    /// The archive's objects, each with a receipt.
    fn receive(&mut self, plan: &Plan, copies: bool, sizes: &[u64]) {
        let whole = plan
            .groups
            .iter()
            .filter(|g| g.kind == GroupKind::Expire)
            .map(|g| g.inputs.len() as u64)
            .sum::<u64>();
        let copied = if copies {
            whole.min(sizes.len() as u64)
        } else {
            0
        };
        self.archive.copy += copied;
        self.archive.head += copied;
        self.archive.put += sizes.len() as u64;
        if copied == 0 {
            self.archive.put += sizes.iter().map(|s| puts(*s)).sum::<u64>();
        } else {
            self.archive.put += (sizes.len() as u64).saturating_sub(copied);
        }
    }
}

/// One, or the beginning, the parts and the end of an upload.
fn puts(size: u64) -> u64 {
    if size <= PIECE {
        1
    } else {
        size.div_ceil(PIECE) + 2
    }
}

#[cfg(test)]
mod tests;
