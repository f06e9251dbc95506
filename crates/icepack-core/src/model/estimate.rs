//! Estimates of a pass, before it is made: rows that expire, requests, archive objects and money.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::file::TimeSpread;
use super::names::Key;
use super::report::Requests;

/// The rows of raw files by their times, as the footers tell: for each file that could be read, its
/// row groups. Nothing is decided by it that could not be wrong: a footer may lie.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FooterScan {
    pub files: BTreeMap<Key, Vec<TimeSpread>>,
}

impl FooterScan {
    /// Rows of all files.
    pub fn rows(&self) -> u64 {
        self.files
            .values()
            .flatten()
            .fold(0, |sum, e| sum.saturating_add(e.amount))
    }
}

/// The rows that a pass is expected to expire.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Expiry {
    /// Seconds that rows are kept.
    pub ttl_s: u64,
    /// The tenant's rows: those of its snapshots, of the raw files that are adopted, and of those
    /// that the pass takes.
    pub rows: u64,
    /// Those of them that would expire. Exact where whole files do; within a file rows count as
    /// spread evenly over its time.
    pub rows_expiring: u64,
    /// About their bytes, as they are stored now.
    pub bytes_expiring: u64,
    /// Their share of the rows.
    pub percent: f64,
    /// More than this is refused; 100 is off.
    pub max_percent: u8,
    /// Raw files that the pass takes and whose rows or times are not known: their footers could
    /// not be read, or have no statistics.
    pub files_unknown: u64,
    /// Bytes of each archive object that would be written; empty without an archive.
    pub object_bytes: Vec<u64>,
}

impl Expiry {
    /// Whether a run would refuse it.
    pub fn is_too_much(&self) -> bool {
        exceeds(self.rows_expiring, self.rows, self.max_percent)
    }
}

/// Whether `part` is more than `percent` of `whole`.
pub fn exceeds(part: u64, whole: u64, percent: u8) -> bool {
    percent < 100 && u128::from(part) * 100 > u128::from(whole) * u128::from(percent)
}

/// The expected requests of a pass, and the costs of these and of the archive.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Estimate {
    /// About so many requests, to store and archive.
    pub requests: Requests,
    /// About so many snapshots would be written. Cuts between months or days, where a piece is
    /// worth a file, add some.
    #[serde(default)]
    pub outputs: u64,
    /// The archive objects that would be written, without their receipts.
    pub objects: Objects,
    /// None where there is no price for the archive's class.
    pub cost: Option<Cost>,
    /// Notes for a person about the archive's cost. None of them refuses the plan.
    pub warnings: Vec<Warning>,
}

/// Number and sizes of objects.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Objects {
    pub count: u64,
    pub bytes: u64,
    pub smallest_bytes: u64,
    pub largest_bytes: u64,
}

impl Objects {
    /// Those of objects of these sizes, in bytes.
    pub fn of(sizes: &[u64]) -> Self {
        Self {
            count: sizes.len() as u64,
            bytes: sizes.iter().fold(0, |sum, s| sum.saturating_add(*s)),
            smallest_bytes: sizes.iter().min().copied().unwrap_or(0),
            largest_bytes: sizes.iter().max().copied().unwrap_or(0),
        }
    }
}

/// Amounts in `currency`. What expires is compared with keeping it where it is, in class STANDARD.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Cost {
    /// `USD`
    pub currency: String,
    /// The archive's class; none where expired rows are dropped.
    pub storage_class: Option<String>,
    /// Cost of all requests of this pass, those that write the archive among them.
    pub requests_once: f64,
    /// Cost of the requests that write the archive: objects and receipts.
    pub archiving_once: f64,
    /// Cost of keeping what would expire where it is.
    pub keeping_per_month: f64,
    /// Cost of keeping it in the archive, with what a class bills on top of the bytes.
    pub archived_per_month: f64,
    /// The first less the second; negative where the archive costs more.
    pub saved_per_month: f64,
    /// Months until `archiving_once` is saved; none where it never is.
    pub break_even_months: Option<f64>,
}

/// A warning about the archive's cost.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "what")]
pub enum Warning {
    /// Objects that are billed, or burdened, as if they were larger.
    SmallObjects {
        objects: u64,
        of: u64,
        under_bytes: u64,
        smallest_bytes: u64,
    },
    /// What a class adds to each object is a large part of what is billed.
    Overhead {
        storage_class: String,
        /// Added to each.
        bytes_per_object: u64,
        /// Of the objects' own bytes.
        percent: f64,
    },
    /// Objects are billed for so long even if they are deleted sooner.
    MinimumDuration {
        storage_class: String,
        /// Days.
        days: u64,
        /// What they cost for that long.
        amount: f64,
        /// Of `amount`.
        currency: String,
    },
    /// The archive costs more than keeping the rows where they are.
    CostsMore {
        /// A month more.
        more_per_month: f64,
        /// Of the amount.
        currency: String,
    },
    /// There is no price for the archive's class.
    NoPrice { storage_class: String },
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let size = |bytes: &u64| bytesize::ByteSize(*bytes);
        match self {
            Self::SmallObjects {
                of: 1,
                under_bytes,
                smallest_bytes,
                ..
            } => {
                write!(
                    f,
                    "an archive object of {} is under {}: raise retention.slack, so that more \
                     rows go together",
                    size(smallest_bytes),
                    size(under_bytes)
                )
            }
            Self::SmallObjects {
                objects,
                of,
                under_bytes,
                smallest_bytes,
            } => write!(
                f,
                "{objects} of {of} archive objects would be under {} (the smallest {}): raise \
                 retention.slack, so that more rows go together",
                size(under_bytes),
                size(smallest_bytes)
            ),
            Self::Overhead {
                storage_class,
                bytes_per_object,
                percent,
            } => {
                write!(
                    f,
                    "{storage_class} adds {} to each object, here {percent:.0}% of their bytes: \
                     fewer, larger objects cost less",
                    size(bytes_per_object)
                )
            }
            Self::MinimumDuration {
                storage_class,
                days,
                amount,
                currency,
            } => {
                write!(
                    f,
                    "{storage_class} bills at least {days} days, here {}, however soon an object \
                     is deleted",
                    Amount(*amount, currency)
                )
            }
            Self::CostsMore {
                more_per_month,
                currency,
            } => {
                write!(
                    f,
                    "the archive would cost {} a month more than keeping these rows where they are",
                    Amount(*more_per_month, currency)
                )
            }
            Self::NoPrice { storage_class } => write!(
                f,
                "there is no price for {storage_class}, so that nothing is said of what the \
                 archive costs"
            ),
        }
    }
}

/// An amount of money for people, in a currency: `$12.30`, `$0.0042`, `1.20 EUR`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Amount<'a>(pub f64, pub &'a str);

impl fmt::Display for Amount<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(amount, currency) = *self;
        let tiny = amount.abs() < 0.000_001 && amount != 0.0;
        let sign = if tiny {
            "under "
        } else if amount < 0.0 {
            "-"
        } else {
            ""
        };
        let digits = match amount.abs() {
            0.0 => "0".to_owned(),
            _ if tiny => "0.000001".to_owned(),
            // Two digits that say something.
            a if a < 0.095 => format!(
                "{a:.*}",
                (2..8)
                    .find(|n| a >= 0.95 / 10_f64.powi(*n))
                    .map_or(7, |n| usize::try_from(n + 1).unwrap_or(7))
            ),
            a => format!("{a:.2}"),
        };
        if currency == "USD" {
            write!(f, "{sign}${digits}")
        } else {
            write!(f, "{sign}{digits} {currency}")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_have_two_digits_that_say_something() {
        for (amount, text) in [
            (0.0, "$0"),
            (1e-9, "under $0.000001"),
            (12.3, "$12.30"),
            (0.1, "$0.10"),
            (0.5, "$0.50"),
            (0.094, "$0.094"),
            (0.042, "$0.042"),
            (0.0042, "$0.0042"),
            (0.000_012_3, "$0.000012"),
            (-1.5, "-$1.50"),
        ] {
            assert_eq!(Amount(amount, "USD").to_string(), text, "{amount}");
        }
        assert_eq!(Amount(1.2, "EUR").to_string(), "1.20 EUR");
    }
}
