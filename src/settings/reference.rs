//! `docs/configuration.md`, from the very tables that read the settings.

use std::fmt::Write;

use super::keys::{self, Draft, PRICE_KEYS};
use icepack_core::model::price::CLASSES;

/// A setting in words: its path, what is written there, and what it means.
type Entry = (&'static str, &'static str, &'static str);

/// Every setting outside `[prices.CLASS]`. A test asks for each key of the tables, and for no
/// other.
const ENTRIES: &[Entry] = &[
    (
        "store",
        "address",
        "Where the tenants are: `s3://bucket/prefix`, a directory, `file:///dir`, `memory://`; \
         `gs://` and `az://` with those features",
    ),
    (
        "timestamp_column",
        "text",
        "The column that dates a row: a timestamp of any unit, with or without a zone",
    ),
    (
        "id_column",
        "text",
        "The column that identifies a row. Of rows with the same id, time and content one is \
         kept; where a file has no such column, nothing is a duplicate",
    ),
    (
        "encodings",
        "plain, delta",
        "How snapshots are encoded: as every reader knows it; or smaller, with deltas, which \
         fastparquet and older versions of Athena and Impala cannot read",
    ),
    (
        "memory_limit",
        "size",
        "For the whole process, whatever the data",
    ),
    (
        "spill_dir",
        "path",
        "Where what does not fit into memory goes; unset: the system's temporary directory",
    ),
    (
        "max_duration",
        "duration",
        "No group is begun after this long; the rest waits for the next pass",
    ),
    ("concurrency", "count", "Tenants worked on at once"),
    (
        "interval",
        "duration",
        "Between the beginnings of two passes of `watch`, or of a service that embeds the library",
    ),
    (
        "report",
        "true, false",
        "Whether each pass puts the HTML report into the store, as `_icepack/report.html`. Costs \
         a look at each tenant, and a GET for each of the last 200 passes",
    ),
    (
        "exclude",
        "list of globs",
        "Keys below the store that are not looked at, like `acme/lake/**`: what is not icepack's, \
         where a tenant is refused for it. In the variable a comma is between two",
    ),
    (
        "compaction.strategy",
        "size, time, full",
        "Which files a pass takes: small ones; those older than 24 h; everything",
    ),
    (
        "compaction.min_files_to_compact",
        "count",
        "Fewer are left alone …",
    ),
    (
        "compaction.small_file_threshold",
        "size",
        "Files under this are small",
    ),
    (
        "compaction.target_file_size",
        "size",
        "Snapshots are cut at about this size",
    ),
    (
        "compaction.max_file_size",
        "size",
        "No group holds more, but for a single larger file",
    ),
    (
        "compaction.max_raw_age",
        "duration",
        "… but no raw file is left alone for longer than this",
    ),
    (
        "retention.default_ttl",
        "duration, forever",
        "How long rows are kept, by their own time; `[retention.tenants]` says otherwise for a \
         name or a glob",
    ),
    (
        "retention.slack",
        "duration",
        "How long a row may be overdue before its file is rewritten for its sake alone",
    ),
    (
        "retention.allow_short_ttl",
        "true, false",
        "A TTL under an hour is refused without it",
    ),
    (
        "retention.drop",
        "true, false",
        "Whether rows may be dropped without an archive by the built-in 30 days of tenant \
         `system` alone; a TTL that is written down needs no such word",
    ),
    (
        "retention.max_expire_percent",
        "percent",
        "A pass that would expire more of a tenant's rows is refused for that tenant; 100 is off",
    ),
    (
        "archive.url",
        "address",
        "Where expired rows go before they are dropped; never the store nor inside it. Unset: \
         they are dropped",
    ),
    (
        "archive.storage_class",
        "text",
        "Of archive objects: STANDARD_IA, ONEZONE_IA, GLACIER_IR, GLACIER, DEEP_ARCHIVE, or any \
         other that the store has",
    ),
    (
        "archive.min_object_size",
        "size",
        "Expired rows wait for one another until they have so many bytes, or the slack is over",
    ),
    (
        "archive.verify",
        "checksum, readback",
        "What proves an object before anything is deleted: the server's checksum, or every row \
         read back",
    ),
    (
        "archive.checksum",
        "crc64nvme, sha256",
        "Of uploads to S3, verified by the server",
    ),
    (
        "archive.endpoint",
        "URL",
        "Of the archive's server; unset: the store's",
    ),
    (
        "archive.region",
        "text",
        "Of the archive; unset: the store's",
    ),
    (
        "archive.profile",
        "text",
        "The AWS profile for the archive; unset: the store's credentials",
    ),
    (
        "archive.sse",
        "AES256, aws:kms",
        "Encryption of archive objects; unset: the bucket's",
    ),
    ("archive.kms_key_id", "text", "The KMS key for `aws:kms`"),
    (
        "archive.tagging",
        "true, false",
        "Whether archive objects get the tags `tenant`, `from`, `to` and `run`",
    ),
    (
        "archive.object_lock_mode",
        "GOVERNANCE, COMPLIANCE",
        "Locks archive objects; the bucket must have object lock",
    ),
    ("archive.object_lock_days", "count", "For so many days"),
    (
        "archive.retry_max_interval",
        "duration",
        "The longest pause between two tries of an upload",
    ),
    (
        "archive.retry_max_elapsed",
        "duration",
        "How long an upload that fails for passing reasons is tried again",
    ),
    (
        "sweep.delete_delay",
        "duration",
        "Compacted originals are kept this long for readers that still have their names",
    ),
    (
        "sweep.orphan_grace",
        "duration",
        "What an unfinished run left is kept this long",
    ),
    (
        "publish.delta",
        "true, false",
        "A Delta table follows what is live, for engines that know nothing of icepack; needs the \
         cargo feature `delta`",
    ),
    (
        "publish.layout",
        "per-tenant, shared",
        "A table for each tenant, or one at the root with the column `tenant`",
    ),
    (
        "publish.keep",
        "duration",
        "How long files stay that only older versions of a table name",
    ),
    (
        "metrics.file",
        "path",
        "Each pass replaces this file with its metrics, for the node exporter's textfile collector",
    ),
    (
        "metrics.pushgateway",
        "URL",
        "Each pass pushes its metrics there; that it cannot is a warning",
    ),
    ("metrics.job", "text", "The group in the Pushgateway"),
    (
        "metrics.instance",
        "text",
        "The instance in the Pushgateway; unset: the store",
    ),
    (
        "metrics.max_tenants",
        "count",
        "Tenants with samples of their own: the worst of each metric; the rest is one sample",
    ),
    (
        "prices.region",
        "text",
        "What `plan` says of its figures: whose prices they are",
    ),
    ("prices.date", "text", "From when"),
    ("prices.source", "text", "From where"),
    ("prices.currency", "text", "In what"),
];

const PRICES: &[(&str, &str)] = &[
    ("storage", "For a GB and a month; a GB is 2^30 bytes"),
    ("put", "For 1,000 PUT, COPY or LIST requests"),
    ("get", "For 1,000 GET or HEAD requests"),
    ("retrieval", "For a GB that is read or thawed"),
    ("retrieval_bulk", "For a GB that is thawed with tier Bulk"),
    ("minimum_days", "Days that an object is billed for at least"),
];

const INTRODUCTION: &str = "\
# Configuration

Generated from the program's own tables: do not edit, `UPDATE_GOLDEN=1 cargo test --lib settings` \
                            writes it anew.

A flag beats the `ICEPACK_*` variable, which beats `icepack.toml`, which beats the default, key by \
                            key. Unknown keys are errors, with the line and the nearest
key that there is. `icepack config show` prints every setting and where it came from; `icepack \
                            init` writes a first file for a store. The file is `./icepack.toml`,
or what `--config` or `ICEPACK_CONFIG` name.

A **size** is a number with a unit: `10MiB`, `1.5 GiB`, `64kB`; a plain number is bytes. A \
                            **duration** is `30d`, `24h`, `1h 30m`. An empty variable counts as \
                            unset.
Credentials are in no file of icepack: they come from the AWS chain, as `AWS_REGION`, \
                            `AWS_ENDPOINT_URL` and `AWS_ALLOW_HTTP` do.
";

const TENANTS: &str = "\
## For single tenants

A name or a glob; a name beats a glob, a longer glob a shorter one.

```toml
[retention.tenants]
system = \"30d\"                  # built in for this one tenant, where there is an archive
\"eu-*\" = \"400d\"
audit = \"forever\"

[tenants.acme.compaction]        # any key of [compaction]
target_file_size = \"256MiB\"

[tenants.acme.retention]         # the same as an entry of [retention.tenants]
ttl = \"90d\"
```
";

/// The reference of every setting, as Markdown.
pub fn reference() -> String {
    let mut out = INTRODUCTION.to_owned();
    let draft = Draft::default();
    let mut section = None;
    for path in keys::scalar_paths().iter().filter(|p| !is_price(p)) {
        let of = path.split_once('.').map_or("", |(section, _)| section);
        if section != Some(of) {
            let title = if of.is_empty() {
                "At the top".to_owned()
            } else {
                format!("`[{of}]`")
            };
            let _ = write!(
                out,
                "\n## {title}\n\n| key | value | default | variable | |\n| --- | --- | --- | --- \
                 | --- |\n"
            );
            section = Some(of);
        }
        let (kind, meaning) = entry(path).unwrap_or_default();
        let name = path.rsplit('.').next().unwrap_or(path);
        let _ = writeln!(
            out,
            "| `{name}` | {kind} | {} | `{}` | {meaning} |",
            default_of(&draft, path),
            keys::env_name(path)
        );
    }
    out.push_str(
        "\n## `[prices.CLASS]`\n\nWhat `plan` reckons with: first-tier list prices, without \
         discounts and data transfer.\n\n| class |",
    );
    PRICE_KEYS
        .iter()
        .for_each(|k| out.push_str(&format!(" `{}` |", k.name)));
    out.push_str("\n| --- |");
    PRICE_KEYS.iter().for_each(|_| out.push_str(" --: |"));
    for class in CLASSES {
        let _ = write!(out, "\n| `{class}` |");
        PRICE_KEYS.iter().for_each(|k| {
            out.push_str(&format!(
                " {} |",
                default_of(&draft, &keys::price_path(class, k.name)).trim_matches('`')
            ))
        });
    }
    let _ = writeln!(
        out,
        "\n\nThe variable of `prices.GLACIER.put` is `{}`.\n",
        keys::env_name("prices.GLACIER.put")
    );
    for (name, meaning) in PRICES {
        let _ = writeln!(out, "- `{name}`: {meaning}.");
    }
    out + "\n" + TENANTS
}

fn is_price(path: &str) -> bool {
    PRICE_KEYS
        .iter()
        .any(|k| path.ends_with(&format!(".{}", k.name)) && path.split('.').count() == 3)
}

fn entry(path: &str) -> Option<(&'static str, &'static str)> {
    ENTRIES
        .iter()
        .find(|(p, ..)| *p == path)
        .map(|(_, kind, meaning)| (*kind, *meaning))
}

fn default_of(draft: &Draft, path: &str) -> String {
    let text = keys::show_one(draft, path).text;
    if text == "-" {
        "unset".to_owned()
    } else {
        format!("`{text}`")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/configuration.md");

    #[test]
    fn every_key_is_explained_and_nothing_else_is() {
        let paths: Vec<String> = keys::scalar_paths()
            .into_iter()
            .filter(|p| !is_price(p))
            .collect();
        let explained: Vec<&str> = ENTRIES.iter().map(|(p, ..)| *p).collect();
        assert_eq!(explained, paths, "in the order in which they are shown");
        assert_eq!(
            PRICES.iter().map(|(n, _)| *n).collect::<Vec<_>>(),
            PRICE_KEYS.iter().map(|k| k.name).collect::<Vec<_>>()
        );
        assert!(
            keys::COMPACTION_KEYS
                .iter()
                .all(|k| entry(&format!("compaction.{}", k.name)).is_some())
        );
    }

    #[test]
    fn the_reference_is_what_the_code_says() {
        let wanted = reference();
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            std::fs::write(FILE, &wanted).unwrap();
        }
        let found = std::fs::read_to_string(FILE).unwrap_or_default();
        assert!(
            found == wanted,
            "docs/configuration.md is stale: UPDATE_GOLDEN=1 cargo test --lib settings"
        );
    }
}
