//! What storage costs, by class. Amounts are in the table's currency; a GB is 2^30 bytes, as AWS
//! bills it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The class that data is in which nobody put anywhere else.
pub const STANDARD: &str = "STANDARD";

/// The classes that have prices.
pub const CLASSES: [&str; 6] = [
    STANDARD,
    "STANDARD_IA",
    "ONEZONE_IA",
    "GLACIER_IR",
    "GLACIER",
    "DEEP_ARCHIVE",
];

/// One class.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct ClassPrice {
    /// A GB for a month.
    pub storage: f64,
    /// 1,000 requests that write: PUT, COPY, POST, and LIST.
    pub put: f64,
    /// 1,000 requests that read: GET, HEAD.
    pub get: f64,
    /// A GB read back; where objects must be thawed first, by the Standard tier.
    pub retrieval: f64,
    /// A GB thawed by the Bulk tier; the same as `retrieval` where nothing is thawed.
    pub retrieval_bulk: f64,
    /// Days that are billed however soon an object is deleted.
    pub minimum_days: u64,
}

/// A price list.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Prices {
    pub region: String,
    /// When they were looked up.
    pub date: String,
    /// Where they were looked up.
    pub source: String,
    /// `USD`
    pub currency: String,
    /// By class: those of [`CLASSES`].
    pub classes: BTreeMap<String, ClassPrice>,
}

impl Default for Prices {
    /// AWS's list prices of us-east-1, first tier. They may have changed since, and contracts have
    /// prices of their own: `[prices]` takes what holds for you.
    fn default() -> Self {
        let row = |storage, put, get, retrieval, retrieval_bulk, minimum_days| ClassPrice {
            storage,
            put,
            get,
            retrieval,
            retrieval_bulk,
            minimum_days,
        };
        let rows = [
            row(0.023, 0.005, 0.0004, 0.0, 0.0, 0),
            row(0.0125, 0.01, 0.001, 0.01, 0.01, 30),
            row(0.01, 0.01, 0.001, 0.01, 0.01, 30),
            row(0.004, 0.02, 0.01, 0.03, 0.03, 90),
            row(0.0036, 0.03, 0.0004, 0.01, 0.0, 90),
            row(0.00099, 0.05, 0.0004, 0.02, 0.0025, 180),
        ];
        Self {
            region: "us-east-1".to_owned(),
            date: "2025-06-01".to_owned(),
            source: "https://aws.amazon.com/s3/pricing/".to_owned(),
            currency: "USD".to_owned(),
            classes: CLASSES.iter().map(|c| (*c).to_owned()).zip(rows).collect(),
        }
    }
}
