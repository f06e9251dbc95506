"""Files of every leaf type, and what pyarrow and DuckDB find in them.

    leaf_types.py make STORE     a tenant for each type, of three files with extreme values
    leaf_types.py odd STORE      a tenant for each thing that must be left alone
    leaf_types.py expire STORE   INT96 in the timestamp column, far in the future
    leaf_types.py tell STORE     what is in each tenant: its leaf by Parquet, its type and values by pyarrow and by DuckDB
"""

import collections
import datetime as dt
import decimal
import glob
import json
import math
import os
import struct
import sys

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

UTC = dt.timezone.utc
START = dt.datetime(2026, 11, 1, tzinfo=UTC)
# DuckDB cannot read times at the ends of 64 bits.
WIDE = "wide-"
I64 = [-(2**63), -(2**63) + 1, -1, 0, 1, 2**63 - 1, None]


def ints(data_type):
    bits = data_type.bit_width
    low, high = (0, 2**bits - 1) if pa.types.is_unsigned_integer(data_type) else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
    return pa.array([low, low + 1, 0, high - 1, high, None], data_type)


def digits(precision, scale, data_type):
    with decimal.localcontext(prec=100):
        most = decimal.Decimal(10**precision - 1).scaleb(-scale)
        return pa.array([-most, decimal.Decimal(0).scaleb(-scale), decimal.Decimal(1).scaleb(-scale), most, None], data_type)


def floats(data_type, form):
    tiny = {"e": 2**-24, "f": 2**-149, "d": 5e-324}[form]
    most = {"e": 65504.0, "f": 3.4028234663852886e38, "d": sys.float_info.max}[form]
    return pa.array([-0.0, 0.0, tiny, -most, most, math.inf, -math.inf, math.nan, None], data_type)


def raw(data_type, values):
    """Values as the integers that stand in the file."""
    stored = pa.int32() if data_type.bit_width == 32 else pa.int64()
    return pa.array(values, stored).view(data_type)


def columns():
    """By tenant: the values of a column `x`, and options of the writer."""
    yield "bool", pa.array([True, False, None]), {}
    for t in (pa.int8(), pa.int16(), pa.int32(), pa.int64(), pa.uint8(), pa.uint16(), pa.uint32(), pa.uint64()):
        yield str(t), ints(t), {}
    for t, form in ((pa.float16(), "e"), (pa.float32(), "f"), (pa.float64(), "d")):
        yield f"float-{form}", floats(t, form), {}
    for p, s in ((5, 2), (9, 9), (18, 3), (38, 10)):
        yield f"decimal-{p}-{s}", digits(p, s, pa.decimal128(p, s)), {}
        yield f"decimal-{p}-{s}-int", digits(p, s, pa.decimal128(p, s)), {"store_decimal_as_integer": True}
    yield "decimal-76-5", digits(76, 5, pa.decimal256(76, 5)), {}
    yield "string", pa.array(["", "a\0b", "Ünï-日本-🧊", "x" * 5000, None]), {}
    yield "large-string", pa.array(["", "b", None], pa.large_string()), {"store_schema": False}
    yield "binary", pa.array([b"", b"\0\xff", bytes(range(256)), None]), {}
    yield "fixed", pa.array([b"\0\0\0", b"\xff\xff\xff", None], pa.binary(3)), {}
    yield "date32", raw(pa.date32(), [-(2**31), -719162, 0, 2932896, 2**31 - 1, None]), {}
    yield "date64", raw(pa.date64(), [d * 86_400_000 if d is not None else None for d in (-719162, 0, 2932896, None)]), {}
    yield "time32-ms", raw(pa.time32("ms"), [0, 86_399_999, None]), {}
    yield "time64-us", raw(pa.time64("us"), [0, 86_399_999_999, None]), {}
    yield "time64-ns", raw(pa.time64("ns"), [0, 86_399_999_999_999, None]), {}
    for unit in ("ms", "us", "ns"):
        for zone in (None, "UTC"):
            yield f"{WIDE}timestamp-{unit}-{zone}", raw(pa.timestamp(unit, zone), I64), {"version": "2.6"}
    yield "timestamp-ms", raw(pa.timestamp("ms"), [-62135596800000, -1, 0, 253402300799999, None]), {}
    yield "timestamp-us", raw(pa.timestamp("us", "UTC"), [-62135596800000000, -1, 0, 253402300799999999, None]), {}
    yield "timestamp-ns", raw(pa.timestamp("ns"), [-9000000000000000001, -1, 0, 9000000000000000001, None]), {}
    yield "timestamp-s", raw(pa.timestamp("s"), [-62135596800, 0, 253402300799, None]), {}
    for unit in ("s", "ms", "us", "ns"):
        yield f"duration-{unit}", raw(pa.duration(unit), I64), {}
    yield "uuid", pa.ExtensionArray.from_storage(pa.uuid(), pa.array([bytes(16), bytes([255]) * 16, None], pa.binary(16))), {}
    yield "json", pa.ExtensionArray.from_storage(pa.json_(pa.string()), pa.array(['{"a":1}', "[]", None])), {}
    yield "opaque", pa.ExtensionArray.from_storage(pa.opaque(pa.int64(), "t", "v"), pa.array([1, -1, None])), {}
    yield "null", pa.nulls(3), {}
    yield "list", pa.array([[], [-(2**63), None, 2**63 - 1], None], pa.list_(pa.int64())), {}
    yield "list-date64", pa.array([[dt.date(1, 1, 1), None], [], None], pa.list_(pa.date64())), {}
    yield "struct", pa.array([{"a": "x", "t": dt.time(1, 2, 3)}, {"a": None, "t": None}, None], pa.struct({"a": pa.string(), "t": pa.time64("us")})), {}
    yield "map", pa.array([[("k", 1), ("l", None)], [], None], pa.map_(pa.string(), pa.int32())), {}
    far = [dt.datetime(1, 1, 1), dt.datetime(9999, 12, 31, 23, 59, 59, 999999), dt.datetime(1969, 12, 31, 23, 59, 59, 999999), dt.datetime(2600, 1, 1), None]
    yield "int96", pa.array(far, pa.timestamp("us")), {"use_deprecated_int96_timestamps": True, "store_schema": False}
    yield "int96-hint", pa.array(far, pa.timestamp("us")), {"use_deprecated_int96_timestamps": True}


SQL = {
    "duckdb-uuid": "uuid() ",
    "duckdb-json": "json_object('n', range)",
    "duckdb-interval": "to_months(range::INT * 500000000) + to_days((range * 536870911)::INT) + to_milliseconds(range * 1000000001)",
    "duckdb-interval-list": "[to_months(range::INT), NULL, to_days(range::INT)]",
    "duckdb-timetz": "TIMETZ '23:59:59.999999+00'",
    "duckdb-time": "TIME '23:59:59.999999'",
    "duckdb-enum": "'a'::ENUM('a', 'b')",
    "duckdb-variant": "{'a': range, 'b': ['x', NULL]}::VARIANT",
    "duckdb-hugeint": "170141183460469231731687303715884105727::HUGEINT",
    "duckdb-bit": "'101'::BIT",
    "duckdb-geometry": "'POINT(1 2)'::GEOMETRY",
}


def put(store, tenant, name, table, pairs=None, **options):
    os.makedirs(f"{store}/{tenant}", exist_ok=True)
    with pq.ParquetWriter(f"{store}/{tenant}/{name}.parquet", table.schema, **options) as writer:
        writer.write_table(table)
        if pairs:
            writer.add_key_value_metadata(pairs)


def times(count, file):
    return pa.array([START + dt.timedelta(minutes=file, seconds=i) for i in range(count)], pa.timestamp("us", "UTC"))


def make(store):
    for tenant, values, options in columns():
        for file in range(3):
            put(store, tenant, f"f{file}", pa.table({"timestamp": times(len(values), file), "x": values}), **options)
    for file in range(3):
        # As pandas says which column is the index.
        named = pa.table({"timestamp": times(2, file), "x": ["a", "b"]}, metadata={"pandas": '{"index_columns": ["x"]}', "file": str(file)})
        put(store, "pairs", f"f{file}", named)
    for tenant, sql in SQL.items():
        os.makedirs(f"{store}/{tenant}")
        for file in range(3):
            time = f"TIMESTAMPTZ '2026-11-01 00:00:00+00' + to_minutes(range + {file})"
            duckdb.sql(f"""COPY (SELECT {time} AS "timestamp", {sql} AS x FROM range(5)) TO '{store}/{tenant}/f{file}.parquet'""")


def odd(store):
    int96 = {"use_deprecated_int96_timestamps": True, "store_schema": False}
    for file in range(3):
        one = times(1, file)
        put(store, "int96-nanos", f"f{file}", pa.table({"timestamp": one, "x": raw(pa.timestamp("ns"), [1])}), **int96)
        put(store, "one-file", f"f{file}", pa.table({"timestamp": one, "userId": [1], "userid": [2]}))
        spark = pa.table({"timestamp": one, "x": raw(pa.timestamp("us"), [1])})
        put(store, "spark", f"f{file}", spark, pairs={"org.apache.spark.legacyINT96": ""}, **int96)
        put(store, "two-files", f"a{file}", pa.table({"timestamp": one, "userId": [1]}))
        put(store, "two-files", f"b{file}", pa.table({"timestamp": one, "userid": [2]}))


def expire(store):
    old, far = dt.datetime(2026, 1, 1), dt.datetime(2604, 1, 1)
    for file in range(3):
        time = pa.array([old, far, dt.datetime(9999, 12, 31)], pa.timestamp("us"))
        put(store, "acme", f"f{file}", pa.table({"timestamp": time, "n": [1, 2, file + 3]}), use_deprecated_int96_timestamps=True, store_schema=False)


def canon(value):
    if isinstance(value, float):
        return "nan" if math.isnan(value) else struct.pack(">d", value).hex()
    if isinstance(value, dict):
        return {k: canon(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [canon(v) for v in value]
    return value if value is None or isinstance(value, (bool, int, str)) else repr(value)


def flat(column):
    """The values, times as the integers that stand in the file."""
    column = column.combine_chunks()
    if isinstance(column.type, pa.BaseExtensionType):
        column = column.storage
    if pa.types.is_temporal(column.type):
        column = column.view(pa.int32() if column.type.bit_width == 32 else pa.int64())
    return column.to_pylist()


def leaf(column):
    """What Parquet says of it, but for the bytes that a decimal is kept in, and for signed numbers that are called so although all are."""
    physical, logical, converted, length = column.physical_type, str(column.logical_type), column.converted_type, column.length
    if converted == "DECIMAL":
        physical, length = None, None
    if logical.startswith("Int(") and converted in ("INT_32", "INT_64"):
        logical, converted = "None", "NONE"
    return [column.path, physical, logical, converted, length]


def leaves(path):
    schema = pq.ParquetFile(path).schema
    return [leaf(schema.column(i)) for i in range(len(schema))]


def by_duckdb(path):
    return duckdb.sql(f"SELECT typeof(x), x::VARCHAR FROM read_parquet('{path}')").fetchall()


def tell(store):
    duckdb.sql("SET TimeZone = 'UTC'")
    told = {}
    for tenant in sorted(os.listdir(store)):
        files = sorted(glob.glob(f"{store}/{tenant}/**/*.parquet", recursive=True))
        if tenant == "_icepack" or not files:
            continue
        found = {"leaves": [], "types": [], "pairs": [], "pyarrow": collections.Counter(), "duckdb": collections.Counter()}
        for path in files:
            micros = {"coerce_int96_timestamp_unit": "us"}
            table = pq.ParquetFile(path, **micros).read()
            found["leaves"].append(leaves(path))
            found["types"].append([[f.name, str(f.type)] for f in table.schema if f.name != "timestamp"])
            found["pairs"].append((table.schema.metadata or {}).get(b"pandas", b"").decode())
            rows = zip(*[flat(table.column(c)) for c in sorted(table.column_names)])
            found["pyarrow"].update(json.dumps(canon(row)) for row in rows)
            if "x" in table.column_names and WIDE not in tenant:
                found["duckdb"].update(json.dumps(row) for row in by_duckdb(path))
        distinct = lambda lists: [json.loads(text) for text in sorted({json.dumps(one) for one in lists})]
        told[tenant] = {**found, "leaves": distinct(found["leaves"]), "types": distinct(found["types"]), "pairs": distinct(found["pairs"])}
    print(json.dumps(told, sort_keys=True))


if __name__ == "__main__":
    {"make": make, "odd": odd, "expire": expire, "tell": tell}[sys.argv[1]](sys.argv[2])
