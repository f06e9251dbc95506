//! Finds the type that holds the values of two types without loss.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef, Fields, TimeUnit};
use icepack_core::model::policy::Uniting;

use super::{UTC, leaf};
use crate::time;

/// The most digits that Spark, DuckDB, Trino and Athena know.
const COMMON_DIGITS: u8 = 38;

/// The most digits that Arrow knows.
const MOST_DIGITS: u8 = 76;

/// For each of `ours`, the place of the one among `theirs` that is the same column or field: of the
/// same name, or of one that differs only in case. An error is the place of one of ours, and of one
/// of theirs that differs from it only in case, where it is not clear what belongs to what.
pub(crate) fn places(ours: &[&str], theirs: &[&str]) -> Result<Vec<Option<usize>>, (usize, usize)> {
    let exact: HashMap<&str, usize> = theirs.iter().enumerate().map(|(i, n)| (*n, i)).collect();
    let mut places: Vec<Option<usize>> = ours.iter().map(|n| exact.get(n).copied()).collect();
    let taken: HashSet<usize> = places.iter().flatten().copied().collect();
    let left = (0..theirs.len()).filter(|i| !taken.contains(i));
    let mut known: Option<HashMap<String, Vec<usize>>> = None;
    for t in left {
        let known = known.get_or_insert_with(|| {
            let mut known: HashMap<String, Vec<usize>> = HashMap::new();
            for (o, name) in ours.iter().enumerate() {
                known.entry(name.to_lowercase()).or_default().push(o);
            }
            known
        });
        match known.get(&theirs[t].to_lowercase()).map(Vec::as_slice) {
            None => {}
            Some([one]) if places[*one].is_none() => places[*one] = Some(t),
            Some(alike) => return Err((alike[0], t)),
        }
    }
    Ok(places)
}

pub(crate) fn names(fields: &[FieldRef]) -> Vec<&str> {
    fields.iter().map(|f| f.name().as_str()).collect()
}

/// The type that holds the values of both without loss.
pub(super) fn widen(a: &DataType, b: &DataType, how: Uniting) -> Option<DataType> {
    use DataType as T;
    if a == b {
        return Some(a.clone());
    }
    if let (Some(x), Some(y)) = (Number::of(a), Number::of(b)) {
        return x.with(y, how);
    }
    match (a, b) {
        (T::Null, other) | (other, T::Null) => Some(other.clone()),
        (T::Timestamp(x, zone), T::Timestamp(y, other)) => {
            let zone = match (zone, other) {
                (zone, other) if zone == other => zone.clone(),
                _ if how.assume_utc => Some(UTC.into()),
                _ => return None,
            };
            Some(T::Timestamp(finer(*x, *y), zone))
        }
        // A day is a day; a time of day keeps its file apart.
        (T::Date32, T::Date64) | (T::Date64, T::Date32) => Some(T::Date32),
        (T::List(x), T::List(y)) => Some(T::List(widen_field(x, y, how)?)),
        (T::FixedSizeList(x, n), T::FixedSizeList(y, m)) if n == m => {
            Some(T::FixedSizeList(widen_field(x, y, how)?, *n))
        }
        (T::Map(x, s), T::Map(y, t)) if s == t => Some(T::Map(widen_field(x, y, how)?, *s)),
        (T::Struct(x), T::Struct(y)) => widen_struct(x, y, how).map(T::Struct),
        _ => decimal(a, b),
    }
}

/// The fields of both, in the order of first appearance. What one lacks may be null.
fn widen_struct(ours: &Fields, theirs: &Fields, how: Uniting) -> Option<Fields> {
    let (own, other) = (names(ours), names(theirs));
    let twice = |names: &[&str]| names.iter().collect::<HashSet<_>>().len() < names.len();
    if twice(&own) || twice(&other) {
        return None;
    }
    let places = places(&own, &other).ok()?;
    let nullable = |f: &FieldRef| Arc::new(Field::clone(f).with_nullable(true));
    let known = ours.iter().zip(&places).map(|(f, place)| match place {
        Some(i) => widen_field(f, &theirs[*i], how),
        None => Some(nullable(f)),
    });
    let new = (0..theirs.len())
        .filter(|i| !places.contains(&Some(*i)))
        .map(|i| Some(nullable(&theirs[i])));
    known
        .chain(new)
        .collect::<Option<Vec<_>>>()
        .map(Fields::from)
}

/// A field that holds the values of both.
pub(super) fn widen_field(a: &Field, b: &Field, how: Uniting) -> Option<FieldRef> {
    let data_type = widen(&leaf::beside(a, b), &leaf::beside(b, a), how)?;
    // A column of nulls brings them along, whatever its schema says.
    let is_nullable = |f: &Field| f.is_nullable() || *f.data_type() == DataType::Null;
    Some(Arc::new(
        Field::new(a.name(), data_type, is_nullable(a) || is_nullable(b))
            .with_metadata(leaf::joined(a, b)?),
    ))
}

fn finer(a: TimeUnit, b: TimeUnit) -> TimeUnit {
    if time::per_second(a) >= time::per_second(b) {
        a
    } else {
        b
    }
}

/// A decimal with as many digits before and behind the point as either has. More than most readers
/// know are made only where a file has so many already.
fn decimal(a: &DataType, b: &DataType) -> Option<DataType> {
    let ((p, s), (q, t)) = (digits(a)?, digits(b)?);
    let scale = s.max(t);
    let whole = (i16::from(p) - i16::from(s)).max(i16::from(q) - i16::from(t));
    let precision = u8::try_from(whole + i16::from(scale)).ok()?;
    if precision <= COMMON_DIGITS {
        Some(DataType::Decimal128(precision, scale))
    } else if precision <= MOST_DIGITS && p.max(q) > COMMON_DIGITS {
        Some(DataType::Decimal256(precision, scale))
    } else {
        None
    }
}

fn digits(data_type: &DataType) -> Option<(u8, i8)> {
    use DataType as T;
    match data_type {
        T::Decimal32(p, s) | T::Decimal64(p, s) | T::Decimal128(p, s) | T::Decimal256(p, s) => {
            Some((*p, *s))
        }
        _ => None,
    }
}

/// A numeric type by kind and bits.
#[derive(Clone, Copy)]
enum Number {
    Signed(u8),
    Unsigned(u8),
    Float(u8),
}

impl Number {
    fn of(data_type: &DataType) -> Option<Self> {
        use DataType as T;
        Some(match data_type {
            T::Int8 => Self::Signed(8),
            T::Int16 => Self::Signed(16),
            T::Int32 => Self::Signed(32),
            T::Int64 => Self::Signed(64),
            T::UInt8 => Self::Unsigned(8),
            T::UInt16 => Self::Unsigned(16),
            T::UInt32 => Self::Unsigned(32),
            T::UInt64 => Self::Unsigned(64),
            T::Float16 => Self::Float(16),
            T::Float32 => Self::Float(32),
            T::Float64 => Self::Float(64),
            _ => return None,
        })
    }

    fn with(self, other: Self, how: Uniting) -> Option<DataType> {
        use DataType as T;
        match (self, other) {
            (Self::Signed(a), Self::Signed(b)) => signed(a.max(b)),
            (Self::Unsigned(a), Self::Unsigned(b)) => Some(match a.max(b) {
                8 => T::UInt8,
                16 => T::UInt16,
                32 => T::UInt32,
                _ => T::UInt64,
            }),
            (Self::Signed(s), Self::Unsigned(u)) | (Self::Unsigned(u), Self::Signed(s)) => {
                signed(s.max(u.saturating_mul(2)))
            }
            (Self::Float(a), Self::Float(b)) => Some(if a.max(b) == 32 {
                T::Float32
            } else {
                T::Float64
            }),
            // A double holds every integer of 32 bits, and not every one of 64.
            (Self::Float(_), Self::Signed(n) | Self::Unsigned(n))
            | (Self::Signed(n) | Self::Unsigned(n), Self::Float(_)) => {
                (n <= 32 || how.widen_to_double).then_some(T::Float64)
            }
        }
    }
}

fn signed(bits: u8) -> Option<DataType> {
    match bits {
        8 => Some(DataType::Int8),
        16 => Some(DataType::Int16),
        32 => Some(DataType::Int32),
        64 => Some(DataType::Int64),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use arrow::datatypes::DataType::*;

    use super::*;

    const LOSSLESS: Uniting = Uniting {
        widen_to_double: false,
        assume_utc: false,
    };

    fn field(name: &str, data_type: DataType) -> Field {
        Field::new(name, data_type, false)
    }

    fn record(fields: Vec<Field>) -> DataType {
        Struct(fields.into())
    }

    fn list(element: DataType) -> DataType {
        List(Arc::new(field("element", element)))
    }

    fn map(value: DataType) -> DataType {
        let entries = record(vec![field("key", Utf8), field("value", value)]);
        Map(Arc::new(field("key_value", entries)), false)
    }

    fn ts(unit: TimeUnit, zone: Option<&str>) -> DataType {
        Timestamp(unit, zone.map(Into::into))
    }

    fn null(name: &str, data_type: DataType) -> Field {
        Field::new(name, data_type, true)
    }

    /// A row each: two types, and what holds both; none where they are apart.
    fn table() -> Vec<(DataType, DataType, Option<DataType>)> {
        use TimeUnit::*;
        let ab = || record(vec![field("a", Int32), field("b", Utf8)]);
        let ba = || record(vec![field("b", Utf8), field("a", Int64)]);
        let ab_wide = || record(vec![field("a", Int64), field("b", Utf8)]);
        let bc = || record(vec![field("b", Utf8), field("c", Boolean)]);
        let abc = || record(vec![null("a", Int32), field("b", Utf8), null("c", Boolean)]);
        vec![
            (Int8, Int32, Some(Int32)),
            (UInt8, UInt64, Some(UInt64)),
            (UInt32, Int8, Some(Int64)),
            (Int16, UInt8, Some(Int16)),
            (UInt64, Int64, None),
            (Int32, Float32, Some(Float64)),
            (Int64, Float64, None),
            (UInt64, Float32, None),
            (Float32, Float64, Some(Float64)),
            (Null, Utf8, Some(Utf8)),
            (Utf8, Binary, None),
            (Utf8, Int64, None),
            (Boolean, Int8, None),
            (Date32, Date64, Some(Date32)),
            (Date32, ts(Second, None), None),
            (
                ts(Second, None),
                ts(Nanosecond, None),
                Some(ts(Nanosecond, None)),
            ),
            (ts(Second, None), ts(Second, Some("UTC")), None),
            (Decimal128(9, 2), Decimal128(7, 4), Some(Decimal128(11, 4))),
            (
                Decimal128(38, 0),
                Decimal128(38, 0),
                Some(Decimal128(38, 0)),
            ),
            (Decimal128(38, 0), Decimal128(38, 1), None),
            (
                Decimal128(38, 2),
                Decimal256(40, 4),
                Some(Decimal256(40, 4)),
            ),
            (Decimal256(76, 0), Decimal128(9, 1), None),
            (Decimal32(9, 2), Decimal128(9, 2), Some(Decimal128(9, 2))),
            (Decimal128(9, 2), Int32, None),
            (Decimal128(9, 2), Float64, None),
            (ab(), ba(), Some(ab_wide())),
            (ab(), bc(), Some(abc())),
            (ab(), record(vec![field("a", Utf8)]), None),
            (ab(), Utf8, None),
            (
                record(vec![field("a", Int32)]),
                record(vec![field("A", Int64)]),
                Some(record(vec![field("a", Int64)])),
            ),
            (list(ab()), list(bc()), Some(list(abc()))),
            (list(Int8), list(Int64), Some(list(Int64))),
            (list(Int8), list(Utf8), None),
            (map(ab()), map(bc()), Some(map(abc()))),
            (
                FixedSizeList(Arc::new(field("element", Float32)), 3),
                FixedSizeList(Arc::new(field("element", Float64)), 3),
                Some(FixedSizeList(Arc::new(field("element", Float64)), 3)),
            ),
            (
                FixedSizeList(Arc::new(field("element", Float32)), 3),
                FixedSizeList(Arc::new(field("element", Float32)), 4),
                None,
            ),
        ]
    }

    #[test]
    fn two_types_are_one_without_loss_or_apart() {
        for (a, b, both) in table() {
            assert_eq!(widen(&a, &b, LOSSLESS), both, "{a} with {b}");
            let names = |t: &DataType| t.to_string().len();
            let other = widen(&b, &a, LOSSLESS);
            assert_eq!(
                other.as_ref().map(names),
                both.as_ref().map(names),
                "{b} with {a}, where only the order may differ"
            );
        }
    }

    #[test]
    fn a_struct_with_two_names_that_differ_in_case_keeps_both() {
        let both = |wide: DataType| record(vec![field("a", wide), field("A", Int32)]);
        let one = record(vec![field("a", Int64)]);
        let united = record(vec![field("a", Int64), null("A", Int32)]);
        assert_eq!(
            widen(&both(Int32), &both(Int64), LOSSLESS),
            Some(both(Int64))
        );
        assert_eq!(widen(&both(Int32), &one, LOSSLESS), Some(united));
        assert_eq!(widen(&one, &both(Int32), LOSSLESS), None);
    }

    #[test]
    fn settings_unite_more() {
        let double = Uniting {
            widen_to_double: true,
            ..LOSSLESS
        };
        let utc = Uniting {
            assume_utc: true,
            ..LOSSLESS
        };
        let (local, zoned) = (
            ts(TimeUnit::Second, None),
            ts(TimeUnit::Millisecond, Some("UTC")),
        );
        assert_eq!(widen(&Int64, &Float32, double), Some(Float64));
        assert_eq!(widen(&UInt64, &Float64, double), Some(Float64));
        assert_eq!(widen(&UInt64, &Int64, double), None);
        assert_eq!(widen(&Int64, &Float32, utc), None);
        assert_eq!(widen(&local, &zoned, utc), Some(zoned.clone()));
        assert_eq!(widen(&zoned, &local, utc), Some(zoned.clone()));
        assert_eq!(widen(&local, &zoned, double), None);
        assert_eq!(
            widen(&list(Int64), &list(Float64), double),
            Some(list(Float64))
        );
    }

    #[test]
    fn names_that_differ_in_case_are_one_where_it_is_clear_which() {
        let found = |ours: &[&str], theirs: &[&str]| places(ours, theirs);
        assert_eq!(found(&["a", "b"], &["b", "c"]), Ok(vec![None, Some(0)]));
        assert_eq!(found(&["a", "B"], &["b", "A"]), Ok(vec![Some(1), Some(0)]));
        assert_eq!(found(&["a", "A"], &["A"]), Ok(vec![None, Some(0)]));
        assert_eq!(found(&["É"], &["é"]), Ok(vec![Some(0)]));
        // Ours is taken by its own name, and theirs has another beside it.
        assert_eq!(found(&["a"], &["a", "A"]), Err((0, 1)));
        assert_eq!(found(&["b"], &["A", "a"]), Ok(vec![None]));
        assert_eq!(found(&["aa", "aA"], &["AA"]), Err((0, 0)));
        assert_eq!(found(&["aa"], &["Aa", "aA"]), Err((0, 1)));
    }
}
