//! The job inside a service: a task that makes a pass when one is due, and that the service watches
//! and stops. `cargo run --example embedded`
//!
//! Several services may do this on one store, because commits are conditional.

use std::sync::Arc;
use std::time::Duration;

use arrow::array::{ArrayRef, RecordBatch, StringArray, TimestampMicrosecondArray};
use icepack::progress::{Event, Progress};
use icepack::{CompactionConfig, CompactionManager, CompactionStats, CompactionTask};
use object_store::ObjectStoreExt;
use object_store::memory::InMemory;
use parquet::arrow::ArrowWriter;
use tokio::sync::Notify;

/// What the service does with what it hears. It must not block: it is called from the tasks that do
/// the work.
struct Ears {
    done: Arc<Notify>,
}

impl Progress for Ears {
    fn on(&self, event: Event<'_>) {
        match event {
            Event::Planned { tenants, bytes } => {
                println!("{tenants} tenants have something to do, {bytes} bytes")
            }
            Event::TenantDone { report } => {
                println!("{}: {}", report.tenant, report.status.as_str());
                self.done.notify_one();
            }
            // There will be others.
            _ => {}
        }
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!(
        "{} passes compacted something",
        serve().await?.total_compactions
    );
    Ok(())
}

/// The service, from its beginning to its end.
pub async fn serve() -> Result<CompactionStats, Box<dyn std::error::Error>> {
    // The service's own store: anything that object_store opens.
    let store = Arc::new(InMemory::new());
    for file in 0..3 {
        store
            .put(
                &format!("acme/{file}.parquet").into(),
                events(file * 10)?.into(),
            )
            .await?;
    }
    let config = CompactionConfig {
        compaction_interval_seconds: 3600,
        max_duration: Some(Duration::from_secs(1800)),
        ..CompactionConfig::default()
    };
    let done = Arc::new(Notify::new());
    let manager = Arc::new(
        CompactionManager::new(store, config).with_progress(Arc::new(Ears {
            done: Arc::clone(&done),
        })),
    );

    // Looks every second whether a pass is due; the store remembers when the last one was, whoever
    // made it.
    let task = tokio::spawn(CompactionTask::new(Arc::clone(&manager), 1).run());

    // Here the service does what it is for, until it is told to end; this one has seen enough when
    // a tenant is done.
    done.notified().await;

    // The task ends at the next safe point, and nothing is half-committed.
    manager.stop_handle().stop();
    if let Err(e) = task.await {
        eprintln!("the task broke off: {e}");
    }
    Ok(manager.stats())
}

/// Ten events, a minute apart.
fn events(first: i64) -> Result<Vec<u8>, Box<dyn std::error::Error>> {
    let ids = Arc::new(StringArray::from_iter_values(
        (first..first + 10).map(|n| format!("event-{n}")),
    )) as ArrayRef;
    let times = Arc::new(TimestampMicrosecondArray::from_iter_values(
        (first..first + 10).map(|n| 1_760_000_000_000_000 + n * 60_000_000),
    )) as ArrayRef;
    let rows = RecordBatch::try_from_iter([("event_id", ids), ("timestamp", times)])?;
    let mut writer = ArrowWriter::try_new(Vec::new(), rows.schema(), None)?;
    writer.write(&rows)?;
    Ok(writer.into_inner()?)
}
