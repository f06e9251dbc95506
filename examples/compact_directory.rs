//! Compacts a directory: `cargo run --example compact_directory -- ./data`, where
//! `./data/<tenant>/**.parquet` are raw files.
//!
//! Without a directory, it makes one with some small files.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::{ArrayRef, RecordBatch, StringArray, TimestampMicrosecondArray};
use icepack::pass::Selection;
use icepack::{CompactionConfig, CompactionManager};
use object_store::local::LocalFileSystem;
use parquet::arrow::ArrowWriter;

type Result<T, E = Box<dyn std::error::Error>> = std::result::Result<T, E>;

#[tokio::main]
async fn main() -> Result<()> {
    match std::env::args_os().nth(1) {
        Some(directory) => compact(Path::new(&directory)).await,
        None => {
            let made = tempfile::tempdir()?;
            write_events(made.path())?;
            compact(made.path()).await
        }
    }
}

/// One pass over the tenants in `root`, and what to read afterwards.
pub async fn compact(root: &Path) -> Result<()> {
    // `with_fsync`: what a manifest names must be on the disk before the manifest is.
    let store = Arc::new(LocalFileSystem::new_with_prefix(root)?.with_fsync(true));
    let mut config = CompactionConfig::default();
    config
        .retention
        .set("eu-*", Some(Duration::from_secs(400 * 86_400)));
    // It knows the directory too, so that what a killed process was writing there can be removed.
    let manager = CompactionManager::new(store, config).with_directory(root);

    for plan in &manager.plan(&Selection::all()).await?.plans {
        for group in &plan.groups {
            println!(
                "{}: {} files, because: {}",
                plan.tenant,
                group.inputs.len(),
                group.reason
            );
        }
    }
    let result = manager.compact().await?;
    println!(
        "{} files of {} bytes became {} bytes; {} rows",
        result.files_compacted, result.bytes_before, result.bytes_after, result.events_compacted
    );
    for (tenant, error) in &result.errors {
        eprintln!("{tenant}: {error}");
    }
    // What to read from now on: every row once.
    for view in manager.live_views(&Selection::all()).await? {
        for file in &view.files {
            println!("{}", root.join(&file.key).display());
        }
    }
    Ok(())
}

/// Five small files of one tenant.
pub fn write_events(root: &Path) -> Result<()> {
    let folder = root.join("acme/incoming");
    std::fs::create_dir_all(&folder)?;
    for file in 0..5_i64 {
        let minutes = file * 100..(file + 1) * 100;
        let ids = Arc::new(StringArray::from_iter_values(
            minutes.clone().map(|n| format!("event-{n}")),
        )) as ArrayRef;
        let times = Arc::new(TimestampMicrosecondArray::from_iter_values(
            minutes.map(|n| 1_760_000_000_000_000 + n * 60_000_000),
        )) as ArrayRef;
        let rows = RecordBatch::try_from_iter([("event_id", ids), ("timestamp", times)])?;
        let mut writer = ArrowWriter::try_new(
            std::fs::File::create(folder.join(format!("{file}.parquet")))?,
            rows.schema(),
            None,
        )?;
        writer.write(&rows)?;
        writer.close()?;
    }
    Ok(())
}
