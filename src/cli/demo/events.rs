//! Events that look like a shop's: a pure function of a seed.

use std::fmt::Write;
use std::sync::Arc;

use crate::{Error, Result};
use arrow::array::{ArrayRef, RecordBatch, StringBuilder, TimestampMicrosecondArray, UInt64Array};
use arrow::datatypes::{DataType, Field, Schema, TimeUnit};
use fastrand::Rng;
use icepack_core::model::file::Micros;

/// With how many in a hundred events are of each kind.
const KINDS: [(&str, u32); 10] = [
    ("page.viewed", 34),
    ("cart.item_added", 17),
    ("search.performed", 13),
    ("cart.item_removed", 7),
    ("order.placed", 8),
    ("payment.captured", 7),
    ("order.shipped", 6),
    ("session.started", 5),
    ("payment.failed", 2),
    ("order.refunded", 1),
];

const CURRENCIES: [&str; 4] = ["EUR", "USD", "GBP", "JPY"];
const NOTES: [&str; 5] = [
    "",
    "gift wrap",
    "leave at the door",
    "call on arrival – second floor",
    "fragile",
];
const SOURCES: [&str; 4] = ["web", "ios", "android", "partner-api"];

/// Different entities.
const ENTITIES: f64 = 50_000.0;

/// The columns of an event.
pub fn schema() -> Schema {
    let text = |name: &str, nullable| Field::new(name, DataType::Utf8, nullable);
    Schema::new(vec![
        text("event_id", false),
        text("event_type", false),
        text("entity_id", false),
        text("payload", false),
        Field::new(
            "timestamp",
            DataType::Timestamp(TimeUnit::Microsecond, None),
            false,
        ),
        text("metadata", true),
        Field::new("version", DataType::UInt64, false),
    ])
}

/// `rows` events from `from` until just before `to`, in time order.
///
/// # Errors
/// [`Error::Local`], which only a fault of this program can bring about.
pub fn events(seed: u64, rows: usize, from: Micros, to: Micros) -> Result<RecordBatch> {
    let mut rng = Rng::with_seed(seed);
    let times = times(&mut rng, rows, from, to);
    let versions: Vec<u64> = (0..rows).map(|_| skewed(&mut rng, 40.0) + 1).collect();
    let ids = strings(rows, 36, |out| uuid(&mut rng, out))?;
    let kinds = strings(rows, 14, |out| out.write_str(kind(&mut rng)))?;
    let entities = strings(rows, 12, |out| {
        write!(out, "entity-{:05}", skewed(&mut rng, ENTITIES))
    })?;
    let payloads = strings(rows, 110, |out| payload(&mut rng, out))?;
    let columns: Vec<ArrayRef> = vec![
        ids,
        kinds,
        entities,
        payloads,
        Arc::new(TimestampMicrosecondArray::from(times)),
        Arc::new(metadata(&mut rng, rows).finish()),
        Arc::new(UInt64Array::from(versions)),
    ];
    RecordBatch::try_new(Arc::new(schema()), columns)
        .map_err(|e| Error::local("cannot make events", e))
}

fn times(rng: &mut Rng, rows: usize, from: Micros, to: Micros) -> Vec<i64> {
    let end = to.0.max(from.0 + 1);
    let mut times: Vec<i64> = (0..rows).map(|_| rng.i64(from.0..end)).collect();
    times.sort_unstable();
    times
}

fn strings(
    rows: usize,
    len: usize,
    mut write: impl FnMut(&mut StringBuilder) -> std::fmt::Result,
) -> Result<ArrayRef> {
    let mut out = StringBuilder::with_capacity(rows, rows * len);
    for _ in 0..rows {
        write(&mut out).map_err(|e| Error::local("cannot make events", e))?;
        out.append_value("");
    }
    Ok(Arc::new(out.finish()))
}

/// A number below `below`, the small ones much more often: a few customers do most of the buying.
fn skewed(rng: &mut Rng, below: f64) -> u64 {
    (rng.f64().powi(4) * below) as u64
}

/// In the form of a random UUID (version 4).
fn uuid(rng: &mut Rng, out: &mut StringBuilder) -> std::fmt::Result {
    let n = rng.u128(..);
    let (a, b, c, d, e) = (
        (n >> 96) as u32,
        (n >> 80) as u16,
        (n >> 64) as u16 & 0x0fff,
        (n >> 48) as u16 & 0x3fff | 0x8000,
        n as u64 & 0xffff_ffff_ffff,
    );
    write!(out, "{a:08x}-{b:04x}-4{c:03x}-{d:04x}-{e:012x}")
}

fn kind(rng: &mut Rng) -> &'static str {
    let mut n = rng.u32(0..100);
    for (name, weight) in KINDS {
        if n < weight {
            return name;
        }
        n -= weight;
    }
    KINDS[0].0
}

fn payload(rng: &mut Rng, out: &mut StringBuilder) -> std::fmt::Result {
    let currency = CURRENCIES[rng.usize(..CURRENCIES.len())];
    let note = NOTES[rng.usize(..NOTES.len())];
    let (cents, qty, session) = (rng.u32(99..50_000), skewed(rng, 12.0) + 1, rng.u64(..));
    write!(
        out,
        r#"{{"amount_cents":{cents},"currency":"{currency}","qty":{qty},"note":"{note}","session":"{session:016x}"}}"#
    )
}

fn metadata(rng: &mut Rng, rows: usize) -> StringBuilder {
    let mut out = StringBuilder::with_capacity(rows, rows * 24);
    for _ in 0..rows {
        if rng.bool() {
            out.append_null();
        } else {
            let source = SOURCES[rng.usize(..SOURCES.len())];
            out.append_value(format!(
                r#"{{"source":"{source}","app":"3.{}.{}"}}"#,
                rng.u8(0..9),
                rng.u8(0..20)
            ));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{Array, AsArray};
    use arrow::datatypes::TimestampMicrosecondType;
    use std::collections::HashSet;

    const FROM: Micros = Micros(1_777_000_000_000_000);
    const TO: Micros = Micros(1_777_000_600_000_000);

    fn batch(seed: u64) -> RecordBatch {
        events(seed, 2_000, FROM, TO).unwrap()
    }

    fn texts<'a>(batch: &'a RecordBatch, column: &str) -> Vec<Option<&'a str>> {
        batch
            .column_by_name(column)
            .unwrap()
            .as_string::<i32>()
            .iter()
            .collect()
    }

    #[test]
    fn the_same_seed_gives_the_same_events_and_another_gives_others() {
        assert_eq!(batch(1), batch(1));
        assert_ne!(batch(1), batch(2));
    }

    #[test]
    fn times_are_sorted_and_in_their_slot() {
        let batch = batch(1);
        let times = batch
            .column_by_name("timestamp")
            .unwrap()
            .as_primitive::<TimestampMicrosecondType>()
            .values()
            .to_vec();
        assert!(times.is_sorted());
        assert!(times[0] >= FROM.0 && times[1_999] < TO.0);
        assert!(
            events(1, 3, FROM, FROM).unwrap().num_rows() == 3,
            "an empty slot holds its first microsecond"
        );
    }

    #[test]
    fn ids_are_unique_uuids_and_payloads_are_json() {
        let batch = batch(1);
        let ids: HashSet<_> = texts(&batch, "event_id").into_iter().flatten().collect();
        assert_eq!(ids.len(), 2_000);
        assert!(
            ids.iter()
                .all(|id| id.len() == 36 && id.as_bytes()[14] == b'4' && id.as_bytes()[19] >= b'8')
        );
        for text in texts(&batch, "payload")
            .into_iter()
            .chain(texts(&batch, "metadata"))
            .flatten()
        {
            serde_json::from_str::<serde_json::Value>(text).unwrap();
        }
    }

    #[test]
    fn the_mix_is_realistic() {
        let batch = batch(1);
        assert_eq!(KINDS.iter().map(|(_, weight)| weight).sum::<u32>(), 100);
        assert_eq!(
            texts(&batch, "event_type")
                .into_iter()
                .flatten()
                .collect::<HashSet<_>>()
                .len(),
            10
        );
        let nulls = batch.column_by_name("metadata").unwrap().null_count();
        assert!((800..1_200).contains(&nulls), "{nulls}");
        let first = texts(&batch, "entity_id")
            .into_iter()
            .flatten()
            .filter(|e| *e < "entity-00500")
            .count();
        assert!(first > 400, "few entities have many events: {first}");
    }
}
