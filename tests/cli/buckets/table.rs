//! What becomes of each bucket, as it is today: also where that is not yet what it should be.

use std::fmt;

/// A bucket of `tests/buckets/`.
pub struct Bucket {
    pub name: &'static str,
    /// As `ICEPACK_…` variables.
    pub settings: &'static [(&'static str, &'static str)],
    /// The exit codes of a pass, of a second one, and of one with a TTL.
    pub exits: [i32; 3],
    /// Files that are not hidden, after a pass.
    pub after: usize,
    /// What is left alone and why, by `plan` and `run`.
    pub left: &'static str,
    /// Keys that begin so stay as they are.
    pub untouched: &'static [&'static str],
    pub differs: &'static [Differs],
    /// Rows that a TTL lets expire, where that is tried.
    pub archived: u64,
}

/// A reader that sees other types of these columns after a pass, and of no others; and why.
pub struct Differs {
    pub reader: &'static str,
    pub columns: &'static [&'static str],
    pub why: &'static str,
}

impl fmt::Display for Differs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            reader,
            columns,
            why,
        } = self;
        write!(f, "{reader} (types of {}: {why})", columns.join(", "))
    }
}

const fn differs(
    reader: &'static str,
    columns: &'static [&'static str],
    why: &'static str,
) -> Differs {
    Differs {
        reader,
        columns,
        why,
    }
}

/// Nothing special: everything is merged.
const fn merged(name: &'static str, after: usize, archived: u64) -> Bucket {
    Bucket {
        name,
        settings: &[],
        exits: [0; 3],
        after,
        left: "",
        untouched: &[],
        differs: &[],
        archived,
    }
}

/// Everything stays as it is.
const fn left_alone(name: &'static str, exit: i32, files: usize, left: &'static str) -> Bucket {
    Bucket {
        exits: [exit; 3],
        left,
        untouched: &[""],
        ..merged(name, files, 0)
    }
}

/// INT96 is a point in time to some engines and a local time to others. Icepack writes the first.
const INT96: &[Differs] = &[
    differs("duckdb", &["timestamp"], "INT96"),
    differs("pyarrow", &["timestamp"], "INT96"),
    differs("polars", &["timestamp"], "INT96"),
];

pub const BUCKETS: &[Bucket] = &[
    // Kafka Connect and its like.
    Bucket {
        settings: &[("ICEPACK_LAYOUT", "topics/{tenant}/**")],
        ..merged("kafka_confluent", 4, 24)
    },
    Bucket {
        settings: &[("ICEPACK_LAYOUT", "topics/{tenant}/**")],
        ..merged("kafka_confluent_time", 4, 44)
    },
    Bucket {
        settings: &[
            ("ICEPACK_LAYOUT", "topics/{tenant}/**"),
            ("ICEPACK_TIMESTAMP_COLUMN", "timestamp as ms"),
        ],
        ..merged("kafka_confluent_epoch", 4, 44)
    },
    merged("kafka_aiven", 1, 12),
    Bucket {
        settings: &[("ICEPACK_LAYOUT", "**")],
        ..merged("kafka_aiven_root", 1, 6)
    },
    merged("redpanda_connect", 1, 6),
    // Services of AWS.
    Bucket {
        differs: INT96,
        ..merged("firehose", 4, 30)
    },
    merged("firehose_millis", 4, 30),
    merged("firehose_text", 4, 30),
    Bucket {
        settings: &[("ICEPACK_LAYOUT", "**")],
        ..merged("firehose_root", 4, 30)
    },
    merged("firehose_dynamic", 4, 32),
    Bucket {
        settings: &[
            ("ICEPACK_LAYOUT", "AWSLogs/*/vpcflowlogs/{tenant}/**"),
            ("ICEPACK_TIMESTAMP_COLUMN", "start as s"),
        ],
        ..merged("vpc_flow_logs", 4, 32)
    },
    Bucket {
        settings: &[("ICEPACK_TIMESTAMP_COLUMN", "start as s")],
        ..merged("vpc_flow_logs_hive", 2, 30)
    },
    Bucket {
        settings: &[
            ("ICEPACK_LAYOUT", "ext/{tenant}/**"),
            ("ICEPACK_TIMESTAMP_COLUMN", "time as ms"),
        ],
        ..merged("security_lake", 4, 32)
    },
    Bucket {
        settings: &[("ICEPACK_TIMESTAMP_COLUMN", "line_item_usage_start_date")],
        left: "2 not parquet",
        untouched: &["billing/cur2/metadata/"],
        ..merged("cost_and_usage", 4, 12)
    },
    Bucket {
        settings: &[("ICEPACK_FILES", "*")],
        ..merged("athena_ctas", 2, 16)
    },
    // Engines and libraries.
    Bucket {
        left: "19 hidden",
        ..merged("spark", 3, 15)
    },
    Bucket {
        left: "12 hidden",
        differs: INT96,
        ..merged("spark_int96", 2, 15)
    },
    left_alone(
        "spark_bucketed",
        5,
        6,
        "warehouse: refused, a table in buckets",
    ),
    left_alone(
        "spark_stream",
        5,
        1,
        "events: refused, a Spark streaming sink",
    ),
    Bucket {
        settings: &[("ICEPACK_FILES", "*")],
        left: "1 hidden",
        ..merged("hive", 2, 16)
    },
    Bucket {
        settings: &[("ICEPACK_FILES", "*")],
        ..merged("trino", 2, 16)
    },
    Bucket {
        settings: &[("ICEPACK_FILES", "*")],
        left: "1 hidden",
        ..merged("flink", 2, 16)
    },
    merged("pyarrow", 6, 18),
    merged("pyarrow_folders", 2, 6),
    left_alone(
        "pyarrow_metadata",
        5,
        5,
        "events: refused, a file `_metadata`",
    ),
    Bucket {
        // Of one file's words there may be fewer than 128, and of many files' more.
        differs: &[differs("pyarrow", &["level"], "indices of 32 bits")],
        ..merged("pandas", 2, 6)
    },
    merged("pandas_flat", 1, 6),
    merged("polars", 3, 6),
    merged("duckdb", 2, 6),
    Bucket {
        settings: &[("ICEPACK_TIMESTAMP_COLUMN", "tp_timestamp")],
        ..merged("tailpipe", 2, 16)
    },
    left_alone("fastparquet", 5, 10, "events: refused, a file `_metadata`"),
    merged("dask", 2, 6),
    // Log shippers, pipelines and replication.
    merged("vector", 10, 32),
    Bucket {
        settings: &[("ICEPACK_LAYOUT", "application_id={tenant}/**")],
        ..merged("vector_tenants", 4, 32)
    },
    Bucket {
        settings: &[("ICEPACK_LAYOUT", "**")],
        ..merged("vector_default_prefix", 1, 16)
    },
    Bucket {
        settings: &[("ICEPACK_TIMESTAMP_COLUMN", "timestamp as s")],
        ..merged("fluent_bit", 2, 30)
    },
    Bucket {
        settings: &[("ICEPACK_FILES", "*")],
        ..merged("fluent_bit_no_suffix", 2, 30)
    },
    Bucket {
        settings: &[("ICEPACK_LAYOUT", "analytics/{tenant}/**")],
        ..merged("cloudflare_pipelines", 4, 32)
    },
    Bucket {
        settings: &[("ICEPACK_LAYOUT", "{schema}/{table}/**")],
        exits: [3, 3, 3],
        left: "shop.customers: failed, no timestamp column",
        untouched: &["shop/customers/"],
        ..merged("dms", 7, 16)
    },
    Bucket {
        settings: &[
            ("ICEPACK_LAYOUT", "sync/{schema}/{table}/**"),
            ("ICEPACK_TIMESTAMP_COLUMN", "_airbyte_extracted_at"),
        ],
        ..merged("airbyte", 2, 12)
    },
    Bucket {
        settings: &[("ICEPACK_LAYOUT", "*/tenant={tenant}/**")],
        ..merged("dates_before_tenants", 4, 32)
    },
    // As it should be, until rows expire.
    Bucket {
        settings: &[("ICEPACK_COMPACTION_SMALL_FILE_THRESHOLD", "2KiB")],
        ..merged("months_old", 8, 18)
    },
    // Tables with a state of their own, beside files that are nobody's.
    Bucket {
        exits: [5; 3],
        left: "lake: refused, a Delta table",
        untouched: &["lake/"],
        ..merged("delta", 18, 6)
    },
    Bucket {
        exits: [5; 3],
        left: "warehouse: refused, an Iceberg table",
        untouched: &["warehouse/"],
        ..merged("iceberg", 22, 6)
    },
    Bucket {
        exits: [5; 3],
        left: "lake: refused, a Hudi table",
        untouched: &["lake/"],
        ..merged("hudi", 6, 6)
    },
    Bucket {
        exits: [5; 3],
        left: "backup: refused, another icepack store",
        untouched: &["backup/"],
        ..merged("icepack", 6, 6)
    },
];
