//! Every setting: its name, its type, its default and what it is for.
//!
//! A field is all there is to say of a setting. The file, the environment, `config show`, the
//! reference in `docs/configuration.md` and the chart's schema follow from these structs.

use std::collections::BTreeMap;
use std::time::Duration;

#[cfg(feature = "cli")]
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::value::*;
use crate::archive::Verify;
use crate::store::Location;
use crate::store::credentials::Connection;
use crate::store::retry::RetryPolicy;
use crate::telemetry::metrics::deliver;
use crate::{Result, RetentionConfig};
use icepack_core::model::manifest::ChecksumAlgorithm;
use icepack_core::model::policy::{Codec, CompactionStrategy, Encodings, Rewritten, Within};
use icepack_core::model::price;
use icepack_core::model::publish::Layout;
use icepack_core::model::time_column::TimeColumn;
use icepack_core::model::units::{DAY, HOUR, MIB};

/// Defines a section of the settings. A default stands behind its field, as in the syntax that Rust
/// has planned for it; a field without one has the default of its type.
macro_rules! section {
    (@default) => { Default::default() };
    (@default $default:expr) => { $default };
    (
        $(#[$about:meta])*
        pub struct $name:ident {
            $($(#[$doc:meta])* $field:ident: $kind:ty $(= $default:expr)?,)*
        }
    ) => {
        $(#[$about])*
        #[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
        #[cfg_attr(feature = "cli", derive(JsonSchema))]
        #[serde(default, deny_unknown_fields)]
        pub struct $name {
            $($(#[$doc])* pub $field: $kind,)*
        }

        impl Default for $name {
            fn default() -> Self {
                Self { $($field: section!(@default $($default)?),)* }
            }
        }
    };
}

section! {
    /// All settings, as `icepack.toml` has them.
    pub struct Values {
        /// Where the tenants are: `s3://bucket/prefix`, a directory, `file:///dir` or `memory://`;
        /// `gs://` and `az://` with those cargo features.
        store: Option<Address>,
        /// Where the tenants are below the store: a pattern of folders with placeholders, like
        /// `topics/{tenant}/**`. `*` is any one folder above a tenant. `**` makes the whole store
        /// one tenant named `default`. Do not change it once icepack has compacted the store.
        layout: KeyLayout = KeyLayout(Default::default()),
        /// What dates a row. `ts`: a timestamp, a date, or text by ISO 8601. `ts as s`, `ms`, `us`
        /// or `ns`: a number since 1970. `ts as %d/%m/%Y %H:%M:%S`: text by a format. Text without a
        /// zone is UTC. `event.time`: a field of a struct. `path dt=%Y-%m-%d/hour=%H`: the folder. `none`:
        /// nothing, so that rows cannot expire. Backticks stand around a name that reads otherwise.
        timestamp_column: Dating = Dating(TimeColumn::default()),
        /// The column that identifies a row, or a list of columns that do so together. Of rows with
        /// equal values in all columns one is kept, where they have an id. Unset, or where an id is
        /// null, every row is kept. The variable takes a text with commas between the names.
        id_column: Names = Names(Vec::new()),
        /// How snapshots are encoded. Every reader knows `plain`. `delta` is smaller, but
        /// fastparquet and older versions of Athena and Impala cannot read it.
        encodings: Encoding = Encoding(Encodings::Plain),
        /// Memory for the whole process, whatever the data. The least is 96 MiB.
        memory_limit: PositiveSize = PositiveSize(512 * MIB),
        /// Where data goes that does not fit into memory. Unset: the system's temporary directory.
        spill_dir: Option<FilePath>,
        /// No group is begun after this long. The rest waits for the next pass.
        max_duration: Option<PositivePeriod>,
        /// Tenants that are worked on at once.
        concurrency: Count = Count(4),
        /// The time between the beginnings of two passes of `watch`, or of a service that embeds
        /// the library.
        interval: PositivePeriod = PositivePeriod(HOUR),
        /// Whether each pass puts the HTML report into the store, as `_icepack/report.html`. This
        /// costs a look at each tenant and a GET for each of the last 200 passes.
        report: Switch = Switch(false),
        /// Keys below the store that are not looked at, like `acme/lake/**`. Use it where a tenant
        /// is refused because of files that are not icepack's. The variable takes a text with
        /// commas between the globs.
        exclude: Globs = Globs(Default::default()),
        /// Which files are taken, as globs on their names, like `*.parq`. `*` takes every name that
        /// is not hidden. Where a name does not end in `.parquet`, `.parq` or `.pq`, the first bytes
        /// of the file decide. The variable takes a text with commas between the globs.
        files: FileGlobs = FileGlobs(Default::default()),
        /// Which files are merged, and into what.
        compaction: Compaction,
        /// How snapshots are written.
        parquet: Parquet,
        /// How long rows are kept.
        retention: Retention,
        /// Where expired rows go.
        archive: Archive,
        /// When files are deleted that are not needed any more.
        sweep: Sweep,
        /// Tables for other engines.
        publish: Publish,
        /// Where metrics go.
        metrics: Metrics,
        /// What `plan` reckons with: first-tier list prices, without discounts and data
        /// transfer.
        prices: Prices,
        /// What single tenants do differently, by their name or a glob.
        tenants: BTreeMap<String, Tenant>,
    }
}

section! {
    /// `[compaction]`
    pub struct Compaction {
        /// Which files a pass takes: small ones; those older than 24 h; or all.
        strategy: Strategy = Strategy(CompactionStrategy::SizeBased),
        /// Which files may be merged with each other: those of one `folder`, where the result lies
        /// too; or all of a `tenant`, whose results lie in folders of months.
        within: Scope = Scope(Within::Folder),
        /// Fewer files than this are left alone until one is older than `max_raw_age`.
        min_files_to_compact: Count = Count(3),
        /// A file below this size is small. Others stay as they are until their rows expire.
        small_file_threshold: Size = Size(10 * MIB),
        /// Snapshots are cut at about this size.
        target_file_size: PositiveSize = PositiveSize(128 * MIB),
        /// No snapshot is made larger. Where the rest of a merge is too small for a file, the last
        /// one takes it along, up to a fifth above `target_file_size`.
        max_file_size: PositiveSize = PositiveSize(256 * MIB),
        /// Small raw files of this age are compacted however few there are. Large files, and those
        /// alone in their folder, stay as they are.
        max_raw_age: PositivePeriod = PositivePeriod(DAY),
        /// A raw file that was written more recently is left alone: it may still be replaced. The
        /// store's time of its last write counts.
        min_raw_age: Period = Period(Duration::ZERO),
        /// What becomes of a file under a name whose first file was compacted, where its rows are
        /// others: it is left alone and told (`set-aside`), or taken in as new (`append`). The same
        /// rows are never taken in again.
        rewritten: OfRewritten = OfRewritten(Rewritten::SetAside),
        /// Whether a column that has integers of 64 bits in some files of a folder and floats in
        /// others becomes one of doubles (`double`). A double holds integers up to 2^53 exactly:
        /// files with larger ones stay apart. With `lossless`, all such files are compacted apart.
        widen: Widening = Widening(false),
        /// The zone of times without one, where a column has a zone in other files of the folder.
        /// They become one column then. Unset: such files are compacted apart.
        assume_zone: Option<AssumedZone>,
    }
}

section! {
    /// `[parquet]`
    pub struct Parquet {
        /// What the pages of snapshots are compressed with: `none`, `snappy`, `gzip`, `lz4_raw`, or
        /// `zstd(N)` with a level from 1 to 22. `compression_columns` says otherwise for single
        /// columns, like `{ payload = "zstd(9)" }`.
        compression: Compression = Compression(Codec::default()),
        /// What the pages of single columns are compressed with.
        compression_columns: BTreeMap<String, Compression>,
        /// A row group of a snapshot ends at about this many bytes, and at 1,048,576 rows. Unset, or
        /// where it is more than memory allows: at what memory allows. The least is 64 KiB.
        row_group_size: Option<PositiveSize>,
        /// Columns that get a bloom filter. Those that had one in all inputs keep it in any case.
        bloom_filter: Names = Names(Vec::new()),
    }
}

section! {
    /// `[retention]`
    pub struct Retention {
        /// How long rows are kept, by their own time. `[retention.tenants]` says otherwise for a
        /// name or a glob.
        default_ttl: Ttl = Ttl(None),
        /// How long a row may be overdue before its file is rewritten for its sake alone.
        slack: Period = Period(DAY),
        /// A TTL below an hour is refused without it.
        allow_short_ttl: Switch = Switch(false),
        /// Whether the built-in 30 days of tenant `system` may drop rows where there is no archive.
        /// A TTL that is written down needs no such permission.
        drop: Switch = Switch(false),
        /// A pass that would expire more of a tenant's rows is refused for that tenant. 100 turns
        /// this off.
        max_expire_percent: Percent = Percent(100),
        /// How long the rows of single tenants are kept, by their name or a glob.
        tenants: BTreeMap<String, Ttl> = built_in_ttls(),
    }
}

fn built_in_ttls() -> BTreeMap<String, Ttl> {
    let built_in = RetentionConfig::default().per_tenant_ttl;
    built_in
        .into_iter()
        .map(|(tenant, ttl)| (tenant, Ttl(ttl)))
        .collect()
}

section! {
    /// `[archive]`
    pub struct Archive {
        /// Where expired rows go before they are dropped; never the store, nor inside it. Unset:
        /// they are dropped.
        url: Option<Address>,
        /// The class of archive objects, as the archive's cloud calls it: STANDARD_IA, ONEZONE_IA,
        /// GLACIER_IR, GLACIER or DEEP_ARCHIVE on S3; NEARLINE, COLDLINE or ARCHIVE on Google's;
        /// Cool, Cold or Archive on Azure; or any other that the store has.
        storage_class: Option<Text>,
        /// Expired rows wait for one another until they have this many bytes, or the slack is over.
        min_object_size: Size = Size(8 * MIB),
        /// What proves an object before anything is deleted: the server's checksum, or every row
        /// read back.
        verify: Proof = Proof(Verify::Checksum),
        /// The checksum of uploads to S3, verified by the server.
        checksum: Checksum = Checksum(ChecksumAlgorithm::Crc64Nvme),
        /// The archive's server. Unset: the store's.
        endpoint: Option<Endpoint>,
        /// The archive's region. Unset: the store's.
        region: Option<Text>,
        /// The AWS profile for the archive. Unset: the store's credentials.
        profile: Option<Text>,
        /// The encryption of archive objects. Unset: the bucket's.
        sse: Option<Sse>,
        /// The KMS key for `aws:kms`.
        kms_key_id: Option<Text>,
        /// Whether archive objects get the tags `tenant`, `from`, `to` and `run`.
        tagging: Switch = Switch(true),
        /// Locks archive objects. The bucket must have object lock.
        object_lock_mode: Option<LockMode>,
        /// How many days they are locked.
        object_lock_days: Option<Count>,
        /// The longest pause between two tries of an upload.
        retry_max_interval: PositivePeriod = PositivePeriod(RetryPolicy::default().max_interval),
        /// How long an upload is tried again where the failure may pass.
        retry_max_elapsed: Period = Period(RetryPolicy::default().max_elapsed),
    }
}

section! {
    /// `[sweep]`
    pub struct Sweep {
        /// How long compacted originals are kept for readers that still have their names.
        delete_delay: Period = Period(Duration::ZERO),
        /// How long the files of an unfinished run are kept.
        orphan_grace: Period = Period(DAY),
    }
}

section! {
    /// `[publish]`
    pub struct Publish {
        /// Whether a Delta table follows what is live, for engines that know nothing of icepack.
        /// Needs the cargo feature `delta`.
        delta: Switch = Switch(false),
        /// Whether symlink manifests list what is live, for Athena, Trino and Presto.
        symlink: Switch = Switch(false),
        /// A table for each tenant, or one at the root with the column `tenant`.
        layout: TableLayout = TableLayout(Layout::PerTenant),
        /// How long files stay that a table or a manifest names no more.
        keep: Period = Period(7 * DAY),
    }
}

section! {
    /// `[metrics]`
    pub struct Metrics {
        /// Each pass replaces this file with its metrics, for the node exporter's textfile
        /// collector.
        file: Option<FilePath>,
        /// Each pass pushes its metrics there. A push that fails is a warning.
        pushgateway: Option<WebAddress>,
        /// A push that takes longer is given up, so that a Pushgateway that does not answer cannot
        /// hold up the end of a job.
        push_timeout: PositivePeriod = PositivePeriod(Duration::from_secs(10)),
        /// The group in the Pushgateway.
        job: Text = Text("icepack".to_owned()),
        /// The instance in the Pushgateway. Unset: the store.
        instance: Option<Text>,
        /// Tenants with samples of their own: the worst of each metric. The rest is one sample.
        max_tenants: Count = Count(deliver::MOST_TENANTS),
    }
}

section! {
    /// `[prices]`
    pub struct Prices {
        /// The region that the prices are of, as `plan` says it.
        region: Text = Text(price::Prices::default().region),
        /// When the prices were looked up.
        date: Text = Text(price::Prices::default().date),
        /// Where the prices were looked up.
        source: Text = Text(price::Prices::default().source),
        /// The currency of the prices.
        currency: Text = Text(price::Prices::default().currency),
        #[serde(rename = "STANDARD")]
        standard: ClassPrice = listed("STANDARD"),
        #[serde(rename = "STANDARD_IA")]
        standard_ia: ClassPrice = listed("STANDARD_IA"),
        #[serde(rename = "ONEZONE_IA")]
        onezone_ia: ClassPrice = listed("ONEZONE_IA"),
        #[serde(rename = "GLACIER_IR")]
        glacier_ir: ClassPrice = listed("GLACIER_IR"),
        #[serde(rename = "GLACIER")]
        glacier: ClassPrice = listed("GLACIER"),
        #[serde(rename = "DEEP_ARCHIVE")]
        deep_archive: ClassPrice = listed("DEEP_ARCHIVE"),
        #[serde(rename = "NEARLINE")]
        nearline: ClassPrice = listed("NEARLINE"),
        #[serde(rename = "COLDLINE")]
        coldline: ClassPrice = listed("COLDLINE"),
        #[serde(rename = "ARCHIVE")]
        archive: ClassPrice = listed("ARCHIVE"),
        #[serde(rename = "AZURE_HOT")]
        azure_hot: ClassPrice = listed("AZURE_HOT"),
        #[serde(rename = "AZURE_COOL")]
        azure_cool: ClassPrice = listed("AZURE_COOL"),
        #[serde(rename = "AZURE_COLD")]
        azure_cold: ClassPrice = listed("AZURE_COLD"),
        #[serde(rename = "AZURE_ARCHIVE")]
        azure_archive: ClassPrice = listed("AZURE_ARCHIVE"),
    }
}

section! {
    /// What one storage class costs.
    pub struct ClassPrice {
        /// For a GB and a month; a GB is 2^30 bytes.
        storage: Price = Price(0.0),
        /// For 1,000 PUT, COPY or LIST requests.
        put: Price = Price(0.0),
        /// For 1,000 GET or HEAD requests.
        get: Price = Price(0.0),
        /// For a GB that is read or thawed.
        retrieval: Price = Price(0.0),
        /// For a GB that is thawed with tier Bulk.
        retrieval_bulk: Price = Price(0.0),
        /// Days that an object is billed for at least.
        minimum_days: Days = Days(0),
    }
}

/// The list price of a class.
fn listed(class: &str) -> ClassPrice {
    let listed = price::Prices::default();
    listed
        .classes
        .get(class)
        .map_or_else(ClassPrice::default, |price| ClassPrice {
            storage: Price(price.storage),
            put: Price(price.put),
            get: Price(price.get),
            retrieval: Price(price.retrieval),
            retrieval_bulk: Price(price.retrieval_bulk),
            minimum_days: Days(price.minimum_days),
        })
}

impl From<&ClassPrice> for price::ClassPrice {
    fn from(of: &ClassPrice) -> Self {
        Self {
            storage: of.storage.0,
            put: of.put.0,
            get: of.get.0,
            retrieval: of.retrieval.0,
            retrieval_bulk: of.retrieval_bulk.0,
            minimum_days: of.minimum_days.0,
        }
    }
}

impl From<&Prices> for price::Prices {
    fn from(prices: &Prices) -> Self {
        let classes = [
            ("STANDARD", &prices.standard),
            ("STANDARD_IA", &prices.standard_ia),
            ("ONEZONE_IA", &prices.onezone_ia),
            ("GLACIER_IR", &prices.glacier_ir),
            ("GLACIER", &prices.glacier),
            ("DEEP_ARCHIVE", &prices.deep_archive),
            ("NEARLINE", &prices.nearline),
            ("COLDLINE", &prices.coldline),
            ("ARCHIVE", &prices.archive),
            ("AZURE_HOT", &prices.azure_hot),
            ("AZURE_COOL", &prices.azure_cool),
            ("AZURE_COLD", &prices.azure_cold),
            ("AZURE_ARCHIVE", &prices.azure_archive),
        ];
        Self {
            region: prices.region.0.clone(),
            date: prices.date.0.clone(),
            source: prices.source.0.clone(),
            currency: prices.currency.0.clone(),
            classes: classes
                .map(|(class, price)| (class.to_owned(), price.into()))
                .into(),
        }
    }
}

section! {
    /// What one tenant does differently.
    pub struct Tenant {
        /// What dates the tenant's rows. Unset: the general `timestamp_column`.
        timestamp_column: Option<Dating>,
        /// The general `[compaction]` with the tenant's own keys laid over it.
        compaction: Compaction,
        /// `[tenants.NAME.retention]`
        retention: TenantRetention,
    }
}

section! {
    /// How long one tenant's rows are kept.
    pub struct TenantRetention {
        /// The same as an entry of `[retention.tenants]`, where it is put when it is read.
        ttl: Option<Ttl>,
    }
}

impl Values {
    /// The store.
    ///
    /// # Errors
    /// [`crate::Error::Usage`] where none is set, or what is set is not one.
    pub fn store(&self) -> Result<Location> {
        Location::parse(self.store.as_ref().map_or("", |address| &address.0))
    }
}

impl Archive {
    /// The archive, if there is one.
    ///
    /// # Errors
    /// [`crate::Error::Usage`] where what is set is not a store.
    pub fn location(&self) -> Result<Option<Location>> {
        self.url
            .as_ref()
            .map(|address| Location::parse(&address.0))
            .transpose()
    }

    /// The class of its objects. Nothing but an object store has classes; that it is ignored
    /// elsewhere is a warning.
    pub fn class(&self) -> Option<String> {
        let has_classes = matches!(
            self.location(),
            Ok(Some(Location::S3 { .. } | Location::Cloud { .. }))
        );
        let class = self.storage_class.as_ref().filter(|_| has_classes)?;
        Some(class.0.clone())
    }

    /// How its server is reached, where that differs from the store's.
    pub fn connection(&self) -> Connection {
        let text = |text: &Option<Text>| text.as_ref().map(|t| t.0.clone());
        Connection {
            endpoint: self.endpoint.as_ref().map(|address| address.0.clone()),
            region: text(&self.region),
            profile: text(&self.profile),
        }
    }
}

impl From<&Retention> for RetentionConfig {
    fn from(retention: &Retention) -> Self {
        let tenants = retention.tenants.iter();
        Self {
            default_ttl: retention.default_ttl.0,
            per_tenant_ttl: tenants
                .map(|(tenant, ttl)| (tenant.clone(), ttl.0))
                .collect(),
        }
    }
}
