//! What storage costs, by class. Amounts are in the table's currency; a GB is 2^30 bytes, as AWS
//! bills it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The class that data is in which nobody put anywhere else.
pub const STANDARD: &str = "STANDARD";

/// The classes that have prices: S3's, Google's, and Azure's tiers.
pub const CLASSES: [&str; 13] = [
    STANDARD,
    "STANDARD_IA",
    "ONEZONE_IA",
    "GLACIER_IR",
    "GLACIER",
    "DEEP_ARCHIVE",
    "NEARLINE",
    "COLDLINE",
    "ARCHIVE",
    "AZURE_HOT",
    "AZURE_COOL",
    "AZURE_COLD",
    "AZURE_ARCHIVE",
];

/// Azure's tiers by the names of [`CLASSES`]. Without the prefix, its `Archive` and Google's
/// `ARCHIVE` would be one setting.
const AZURE_TIERS: [(&str, &str); 4] = [
    ("Hot", "AZURE_HOT"),
    ("Cool", "AZURE_COOL"),
    ("Cold", "AZURE_COLD"),
    ("Archive", "AZURE_ARCHIVE"),
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

/// Where the built-in prices of Google's classes are from.
const GOOGLE: &str = "us-central1, 2026-11-30 (https://cloud.google.com/storage/pricing)";

/// Where the built-in prices of Azure's tiers are from.
const AZURE: &str =
    "eastus2 LRS, 2026-11-30 (https://azure.microsoft.com/pricing/details/storage/blobs/)";

impl Prices {
    /// The prices of a class, by the name that its cloud has for it.
    pub fn class(&self, name: &str) -> Option<&ClassPrice> {
        let azure = AZURE_TIERS.iter().find(|(tier, _)| *tier == name);
        self.classes.get(azure.map_or(name, |(_, row)| row))
    }

    /// Where and when the prices of a class held, and who said so.
    pub fn origin(&self, class: &str) -> String {
        let is_built_in = self.class(class) == Self::default().class(class);
        match class {
            "NEARLINE" | "COLDLINE" | "ARCHIVE" if is_built_in => GOOGLE.to_owned(),
            "Hot" | "Cool" | "Cold" | "Archive" if is_built_in => AZURE.to_owned(),
            _ => format!("{}, {} ({})", self.region, self.date, self.source),
        }
    }
}

impl Default for Prices {
    /// List prices, first tier: AWS's of us-east-1, Google's of us-central1, Azure's of eastus2 with
    /// local redundancy. They may have changed since, and contracts have prices of their own:
    /// `[prices]` takes what holds for you.
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
            row(0.01, 0.01, 0.001, 0.01, 0.01, 30),
            row(0.004, 0.02, 0.01, 0.02, 0.02, 90),
            row(0.0012, 0.05, 0.05, 0.05, 0.05, 365),
            row(0.0184, 0.005, 0.0004, 0.0, 0.0, 0),
            row(0.01, 0.01, 0.001, 0.01, 0.01, 30),
            row(0.0036, 0.018, 0.01, 0.03, 0.03, 90),
            row(0.002, 0.01, 0.5, 0.02, 0.02, 180),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tier_of_azure_and_a_class_of_google_are_two_rows() {
        let mut prices = Prices::default();
        let of = |prices: &Prices, class| prices.class(class).map(|p| p.minimum_days);
        assert_eq!(of(&prices, "Archive"), Some(180));
        assert_eq!(of(&prices, "ARCHIVE"), Some(365));
        assert_eq!(of(&prices, "Tepid"), None);
        assert!(prices.origin("Archive").contains("azure"));
        assert!(prices.origin("ARCHIVE").contains("google"));
        assert!(prices.origin("GLACIER").contains("aws"));
        prices.classes.get_mut("ARCHIVE").unwrap().put = 1.0;
        prices.source = "our contract".to_owned();
        assert!(prices.origin("ARCHIVE").contains("our contract"));
    }
}
