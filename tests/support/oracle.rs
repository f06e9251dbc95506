//! Rows as plain text, whatever columns and layouts they came in, and what a naive compactor makes
//! of them: concatenate, drop exact copies, filter.
//!
//! What goes in is taken from memory. What came out is read by pyarrow: the decoder under test
//! would not see what it changes itself.

use std::collections::{BTreeMap, HashMap};
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Stdio};
use std::sync::{LazyLock, Mutex};

use arrow::array::types::*;
use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{DataType, TimeUnit};
use bytes::Bytes;

use super::job;

/// One row.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Row {
    /// Nanoseconds since 1970; a null comes before all.
    pub at: Option<i128>,
    /// Whether it has an id, without which it is never a copy of another.
    pub has_id: bool,
    /// Its columns by name, nulls left out: a column that is absent is one of nulls.
    pub values: BTreeMap<String, String>,
}

/// Rows and how often each is there.
pub type Bag = BTreeMap<Row, u64>;

pub fn bag(rows: impl IntoIterator<Item = Row>) -> Bag {
    let mut bag = Bag::new();
    for row in rows {
        *bag.entry(row).or_default() += 1;
    }
    bag
}

pub fn total(bag: &Bag) -> u64 {
    bag.values().sum()
}

/// Both together.
pub fn sum(a: &Bag, b: &Bag) -> Bag {
    let mut all = a.clone();
    for (row, n) in b {
        *all.entry(row.clone()).or_default() += n;
    }
    all
}

/// Without copies: a row that has an id is there once.
pub fn without_copies(rows: &Bag) -> Bag {
    rows.iter()
        .map(|(row, n)| (row.clone(), if row.has_id { 1 } else { *n }))
        .collect()
}

/// Whether a cutoff in nanoseconds takes the row: dated, in or after 2000, and before the cutoff.
pub fn is_expired(row: &Row, cutoff: i128) -> bool {
    const Y2000: i128 = 946_684_800_000_000_000;
    row.at.is_some_and(|at| at >= Y2000 && at < cutoff)
}

/// Python, which reads for us as long as we run.
struct Reader {
    _python: Child,
    ask: ChildStdin,
    answer: BufReader<ChildStdout>,
    /// Most files are read again and again.
    known: HashMap<Bytes, Vec<Row>>,
}

static READER: LazyLock<Mutex<Reader>> = LazyLock::new(|| {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/python/read_rows.py");
    // It ends with its input, when this process does.
    let mut python = job::python()
        .arg(script)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let (ask, answer) = (
        python.stdin.take().unwrap(),
        BufReader::new(python.stdout.take().unwrap()),
    );
    Mutex::new(Reader {
        _python: python,
        ask,
        answer,
        known: HashMap::new(),
    })
});

/// The rows of a Parquet file in the order of the file, by pyarrow.
pub fn read(bytes: Bytes) -> Vec<Row> {
    let mut reader = READER
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner);
    if let Some(rows) = reader.known.get(&bytes) {
        return rows.clone();
    }
    writeln!(reader.ask, "{}", bytes.len()).unwrap();
    reader.ask.write_all(&bytes).unwrap();
    reader.ask.flush().unwrap();
    let mut line = String::new();
    reader.answer.read_line(&mut line).unwrap();
    let values: Vec<BTreeMap<String, String>> = serde_json::from_str(&line)
        .unwrap_or_else(|e| panic!("pyarrow cannot read a file: {e}: {line}"));
    let rows: Vec<Row> = values.into_iter().map(row).collect();
    if reader.known.len() > 10_000 {
        reader.known.clear();
    }
    reader.known.insert(bytes, rows.clone());
    rows
}

fn row(values: BTreeMap<String, String>) -> Row {
    let at = values
        .get("timestamp")
        .map(|t| t.strip_prefix("t:").unwrap().parse().unwrap());
    Row {
        at,
        has_id: values.contains_key("event_id"),
        values,
    }
}

pub fn rows(batch: &RecordBatch) -> Vec<Row> {
    let schema = batch.schema();
    let values = |i: usize| {
        schema
            .fields()
            .iter()
            .zip(batch.columns())
            .filter_map(|(f, a)| Some((f.name().clone(), text(a.as_ref(), i)?)))
            .collect()
    };
    (0..batch.num_rows()).map(|i| row(values(i))).collect()
}

/// A value as text that depends on what it is and not on how it is laid out; none for null.
fn text(a: &dyn Array, i: usize) -> Option<String> {
    use DataType as T;
    if a.is_null(i) {
        return None;
    }
    macro_rules! int {
        ($t:ty) => {
            format!("n:{}", a.as_primitive::<$t>().value(i))
        };
    }
    Some(match a.data_type() {
        T::Int8 => int!(Int8Type),
        T::Int16 => int!(Int16Type),
        T::Int32 => int!(Int32Type),
        T::Int64 => int!(Int64Type),
        T::UInt8 => int!(UInt8Type),
        T::UInt16 => int!(UInt16Type),
        T::UInt32 => int!(UInt32Type),
        T::UInt64 => int!(UInt64Type),
        // 3.0 prints as 3: an integer that was widened is still itself.
        T::Float32 => format!("n:{}", f64::from(a.as_primitive::<Float32Type>().value(i))),
        T::Float64 => format!("n:{}", a.as_primitive::<Float64Type>().value(i)),
        T::Boolean => format!("o:{}", a.as_boolean().value(i)),
        T::Date32 => format!("d:{}", a.as_primitive::<Date32Type>().value(i)),
        T::Timestamp(unit, _) => format!("t:{}", nanos(a, i, *unit)),
        T::Decimal128(..) => format!(
            "m:{}",
            a.as_primitive::<Decimal128Type>().value_as_string(i)
        ),
        T::Utf8 => format!("s:{}", a.as_string::<i32>().value(i)),
        T::LargeUtf8 => format!("s:{}", a.as_string::<i64>().value(i)),
        T::Utf8View => format!("s:{}", a.as_string_view().value(i)),
        T::Binary => format!("b:{:?}", a.as_binary::<i32>().value(i)),
        T::LargeBinary => format!("b:{:?}", a.as_binary::<i64>().value(i)),
        T::BinaryView => format!("b:{:?}", a.as_binary_view().value(i)),
        T::Dictionary(..) => {
            let a = a.as_any_dictionary();
            return text(a.values().as_ref(), a.normalized_keys()[i]);
        }
        T::List(_) => list(a.as_list::<i32>().value(i).as_ref()),
        T::LargeList(_) => list(a.as_list::<i64>().value(i).as_ref()),
        T::Map(..) => {
            let entries = a.as_map().value(i);
            let pair = |n| {
                format!(
                    "{}={}",
                    quoted(entries.column(0).as_ref(), n),
                    quoted(entries.column(1).as_ref(), n)
                )
            };
            format!(
                "<{}>",
                (0..entries.len()).map(pair).collect::<Vec<_>>().join(",")
            )
        }
        T::Struct(fields) => {
            let a = a.as_struct();
            let field = |(f, c): (&arrow::datatypes::FieldRef, &arrow::array::ArrayRef)| {
                format!("{}={}", f.name(), quoted(c.as_ref(), i))
            };
            format!(
                "{{{}}}",
                fields
                    .iter()
                    .zip(a.columns())
                    .map(field)
                    .collect::<Vec<_>>()
                    .join(",")
            )
        }
        other => panic!("the oracle knows no {other}"),
    })
}

/// A value within another, as JSON.
fn quoted(a: &dyn Array, i: usize) -> String {
    serde_json::to_string(&text(a, i)).unwrap()
}

fn list(items: &dyn Array) -> String {
    format!(
        "[{}]",
        (0..items.len())
            .map(|i| quoted(items, i))
            .collect::<Vec<_>>()
            .join(",")
    )
}

fn nanos(a: &dyn Array, i: usize, unit: TimeUnit) -> i128 {
    match unit {
        TimeUnit::Second => {
            i128::from(a.as_primitive::<TimestampSecondType>().value(i)) * 1_000_000_000
        }
        TimeUnit::Millisecond => {
            i128::from(a.as_primitive::<TimestampMillisecondType>().value(i)) * 1_000_000
        }
        TimeUnit::Microsecond => {
            i128::from(a.as_primitive::<TimestampMicrosecondType>().value(i)) * 1_000
        }
        TimeUnit::Nanosecond => i128::from(a.as_primitive::<TimestampNanosecondType>().value(i)),
    }
}
