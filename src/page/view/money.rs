//! What keeping and archiving cost. Each figure says what it is made from; what nobody recorded is
//! said to be unknown.

use chrono::{DateTime, TimeDelta, Utc};

use super::parts::Tile;
use super::{Labels, sums};
use crate::format::{count, minute, plural, size};
use icepack_core::model::counters::Counters;
use icepack_core::model::estimate::Amount;
use icepack_core::model::inspect::{Overview, TenantStatus};
use icepack_core::model::price::{ClassPrice, Prices, STANDARD};
use icepack_core::plan::money;

/// As the price list reckons.
const MONTH: TimeDelta = TimeDelta::days(30);

pub(in crate::page) struct Money {
    pub tiles: Vec<Tile>,
    /// What all of it rests on, and what it does not say.
    pub notes: Vec<String>,
}

/// What the figures are made from.
struct Basis<'a> {
    o: &'a Overview,
    prices: &'a Prices,
    /// Of the archive's objects.
    class: &'a str,
    /// Of all passes on record.
    done: Counters,
}

pub(super) fn of(o: &Overview, labels: &Labels) -> Money {
    let basis = Basis {
        o,
        prices: &o.prices,
        class: labels.archive_class.as_deref().unwrap_or(STANDARD),
        done: sums(&o.runs, |r| r.sums.counters).fold(Counters::default(), |a, b| a + b),
    };
    let mut tiles = vec![basis.keeping()];
    if labels.archive.is_some() || basis.done.archived_objects > 0 {
        tiles.extend([
            basis.archive(),
            basis.saved_per_month(),
            basis.saved_so_far(),
        ]);
    }
    tiles.extend([basis.requests(), basis.fewer()]);
    Money {
        tiles,
        notes: basis.notes(labels.is_billed),
    }
}

impl Basis<'_> {
    fn amount(&self, amount: f64) -> String {
        Amount(amount, &self.prices.currency).to_string()
    }

    /// The amount, or that there is no price for it.
    fn shown(&self, amount: Option<f64>) -> String {
        amount.map_or_else(|| "unknown".to_owned(), |a| self.amount(a))
    }

    fn price(&self, class: &str, pick: fn(&ClassPrice) -> f64) -> String {
        self.prices.class(class).map_or_else(
            || format!("[prices] has none for {class}"),
            |p| format!("{class} at {}", self.amount(pick(p))),
        )
    }

    fn keeping(&self) -> Tile {
        let sum = |pick: fn(&TenantStatus) -> u64| self.o.tenants.iter().map(pick).sum::<u64>();
        let (bytes, retired) = (sum(|t| t.listed_bytes), sum(|t| t.retired_bytes));
        let waiting = if retired > 0 {
            format!(
                ", {} of it compacted and waiting to be deleted",
                size(retired)
            )
        } else {
            String::new()
        };
        Tile::new(
            "keeping the data files, a month",
            self.shown(money::holding(self.prices, STANDARD, 1, bytes)),
            format!(
                "{} listed in the store{waiting}; {} a GB",
                size(bytes),
                self.price(STANDARD, |p| p.storage)
            ),
        )
    }

    /// Whether the class bills objects as larger than they may be.
    fn at_least(&self) -> &'static str {
        if self.done.archived_objects > 0
            && money::billed(self.class, 0).0 > 0
            && money::billed(self.class, 0).1 == 0
        {
            "at least "
        } else {
            ""
        }
    }

    fn archived(&self) -> (u64, u64) {
        (self.done.archived_objects, self.done.archived_bytes)
    }

    fn archive(&self) -> Tile {
        let (objects, bytes) = self.archived();
        let held = money::holding(self.prices, self.class, objects, bytes);
        let overhead = match money::billed(self.class, 0) {
            (0, _) => "",
            (_, 0) => ", small objects as 128 KiB",
            _ => ", and 40 KiB more for each object",
        };
        Tile::new(
            "the archive, a month",
            format!("{}{}", self.at_least(), self.shown(held)),
            format!(
                "{} with {}, by the passes on record; {} a GB{overhead}",
                plural(objects, "object"),
                size(bytes),
                self.price(self.class, |p| p.storage)
            ),
        )
    }

    /// What so much of the archive saves a month; negative where it costs more.
    fn saving(&self, objects: u64, bytes: u64) -> Option<f64> {
        Some(
            money::holding(self.prices, STANDARD, objects, bytes)?
                - money::holding(self.prices, self.class, objects, bytes)?,
        )
    }

    fn saved_per_month(&self) -> Tile {
        let (objects, bytes) = self.archived();
        let hot = money::holding(self.prices, STANDARD, objects, bytes);
        let at_most = if self.at_least().is_empty() {
            ""
        } else {
            "at most "
        };
        Tile::new(
            "saved by archiving, a month",
            format!("{at_most}{}", self.shown(self.saving(objects, bytes))),
            format!(
                "the archived bytes in {STANDARD} would cost {}",
                self.shown(hot)
            ),
        )
    }

    /// What each pass archived, from its day on; what passes archived that are not on the page any
    /// more, from the first that is.
    fn saved_so_far(&self) -> Tile {
        let archived = |c: &Counters| (c.archived_objects, c.archived_bytes);
        let mut parts: Vec<(DateTime<Utc>, (u64, u64))> = self
            .o
            .runs
            .iter()
            .map(|r| (r.report.started_at, archived(&r.report.totals.counters)))
            .collect();
        let told = parts.iter().fold((0, 0), |(n, b), (_, (objects, bytes))| {
            (n + objects, b + bytes)
        });
        let (objects, bytes) = self.archived();
        let earlier = (objects.saturating_sub(told.0), bytes.saturating_sub(told.1));
        let first = parts.first().map(|(at, _)| *at);
        parts.extend(first.map(|at| (at, earlier)));
        let saved = parts.iter().try_fold(0.0, |sum, (at, (objects, bytes))| {
            Some(sum + self.saving(*objects, *bytes)? * months(self.o.at - *at))
        });
        let (at_least, since) = if earlier.0 > 0 {
            let since = first.map(minute).unwrap_or_default();
            (
                "at least ",
                format!("; what was archived before {since} counts from then"),
            )
        } else {
            ("", String::new())
        };
        Tile::new(
            "saved by archiving, so far",
            format!("{at_least}{}", self.shown(saved)),
            format!(
                "each pass's archived bytes, from its day on, by the difference of the two prices of \
                 storage{since}; requests and restores are not taken off"
            ),
        )
    }

    fn requests(&self) -> Tile {
        let (objects, _) = self.archived();
        let cost = money::requests(self.prices, &self.done.requests, objects, self.class);
        let put = |class: &str| {
            let price = self.prices.class(class);
            self.shown(price.map(|p| p.put))
        };
        let get = self.prices.classes.get(STANDARD).map(|p| p.get);
        let archived = if objects > 0 && self.class != STANDARD {
            format!(
                ", and for each object of the archive {}'s {}",
                self.class,
                put(self.class)
            )
        } else {
            String::new()
        };
        Tile::new(
            "requests of the passes, so far",
            self.shown(cost),
            format!(
                "{} on record; in {STANDARD} a thousand cost {} where they write{archived}, {} where \
                 they read",
                count(self.done.requests.total()),
                put(STANDARD),
                self.shown(get)
            ),
        )
    }

    /// A reader of everything asks for each file once at least.
    fn fewer(&self) -> Tile {
        let snapshots: u64 = self.o.tenants.iter().map(|t| t.snapshots).sum();
        let taken = self.done.raw_sizes.total();
        let now = snapshots + self.done.archived_objects;
        let name = "fewer files for readers";
        if self.o.is_part {
            return Tile::new(
                name,
                "unknown",
                "the passes' records are of all tenants, this page is not",
            );
        }
        let fewer = taken.saturating_sub(now);
        let cost = self
            .prices
            .classes
            .get(STANDARD)
            .map(|p| to_f64(fewer) / 1_000.0 * p.get);
        Tile::new(
            name,
            count(fewer),
            format!(
                "{} were taken in by the passes on record; their rows are in {} and {} of the \
                 archive, or have expired. At one GET a file, {} less for each read of everything",
                plural(taken, "raw file"),
                plural(snapshots, "snapshot"),
                plural(self.done.archived_objects, "object"),
                self.shown(cost)
            ),
        )
    }

    fn notes(&self, is_billed: bool) -> Vec<String> {
        let p = self.prices;
        let mut notes = vec![format!(
            "Prices: {}{}, {} ({}); yours go into [prices]. A GB is 2^30 bytes, a month has 30 days.",
            if is_billed {
                ""
            } else {
                "as if on S3: those of "
            },
            p.region,
            p.date,
            p.source
        )];
        notes.push(
            "Not known here, and not counted: old versions in a bucket that keeps them, \
             manifests, receipts and other small state, restores, what readers ask, taxes and \
             discounts."
                .to_owned(),
        );
        if self.o.is_part {
            notes.push(
                "Some tenants only were looked at; what was archived and asked is of all."
                    .to_owned(),
            );
            return notes;
        }
        let rows: u64 = self.o.tenants.iter().map(|t| t.rows_archived).sum();
        let told = self.done.ledger.rows_archived;
        if told < rows {
            notes.push(format!(
                "The manifests have {} archived rows, the passes on record {}: how many bytes the \
                 others have is not known, and they are in no figure.",
                count(rows),
                count(told)
            ));
        }
        if self.o.tenants.iter().any(|t| t.rows_expired > 0) {
            notes.push(
                "How many bytes the dropped rows had was not recorded: what that saves is not \
                 known."
                    .to_owned(),
            );
        }
        notes
    }
}

fn months(passed: TimeDelta) -> f64 {
    to_f64(u64::try_from(passed.num_seconds()).unwrap_or(0))
        / to_f64(u64::try_from(MONTH.num_seconds()).unwrap_or(1))
}

#[allow(clippy::cast_precision_loss, reason = "money is shown with two digits")]
fn to_f64(n: u64) -> f64 {
    n as f64
}
