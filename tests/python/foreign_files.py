"""Writes Parquet files as other people's programs do: each writer, in all its types, with extreme values, for `try_files.py`.

    foreign_files.py FOLDER

What a writer of this machine's version does not know is left out, and said. GeoPandas is used where it is installed.
"""

import datetime as dt
import decimal
import json
import pathlib
import sys
import traceback

import duckdb
import fastparquet
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

import leaf_types

ROWS = 5
WORDS = ["", "a", "Grüße-日本-🧊", None, "y" * 300]
CODECS = ["none", "snappy", "gzip", "brotli", "lz4", "zstd"]
T = dt.datetime(2026, 11, 1, 2, 30)


def times(n=ROWS):
    return pa.array([T + dt.timedelta(seconds=i) for i in range(n)], pa.timestamp("us", "UTC"))


# ------------------------------------------------------------------------------------------------ pyarrow


def by_pyarrow():
    """Name, values of a column or a whole table, options."""
    for name, values, options in leaf_types.columns():
        yield name, values, options
    text = pa.array(WORDS)
    yield "string-view", text.cast(pa.string_view()), {}
    yield "binary-view", pa.array([b"", b"\0", b"x" * 40, None, b"z"]).cast(pa.binary_view()), {}
    yield "large-binary", pa.array([b"", b"\0", None], pa.large_binary()), {}
    for value in (pa.string(), pa.large_string(), pa.binary(), pa.int64(), pa.int8(), pa.float64(), pa.date32(), pa.timestamp("us"), pa.decimal128(21, 2)):
        some = pa.array([1, 2, None, 1, 2], pa.int64())
        values = pa.array([b"a", b"b", None, b"a", b"b"]) if pa.types.is_binary(value) else some.cast(pa.string()) if "string" in str(value) else some
        values = values.cast(pa.int32()).cast(value) if pa.types.is_date(value) else values.cast(value)
        yield f"dictionary-{value}".replace("[", "-").replace("]", ""), values.dictionary_encode(), {}
    yield "dictionary-int8-key", text.dictionary_encode().cast(pa.dictionary(pa.int8(), pa.string())), {}
    yield "dictionary-ordered", pa.DictionaryArray.from_arrays(pa.array([0, 1, None, 1]), ["low", "high"], ordered=True), {}
    yield "dictionary-in-struct", pa.StructArray.from_arrays([text.dictionary_encode()], ["d"]), {}
    yield "dictionary-in-list", pa.ListArray.from_arrays([0, 2, 2, 5], text.dictionary_encode()), {}
    for bits in (32, 64):
        if hasattr(pa, f"decimal{bits}"):
            yield f"decimal{bits}", pa.array([decimal.Decimal("-12.34"), None, decimal.Decimal("0.01")], getattr(pa, f"decimal{bits}")(6, 2)), {}
    yield "decimal-negative-scale", pa.array([decimal.Decimal("1200"), None], pa.decimal128(5, -2)), {}
    yield "large-list", pa.array([[1, None], [], None], pa.large_list(pa.int64())), {}
    yield "fixed-size-list", pa.array([[1, None], [3, 4], None], pa.list_(pa.int32(), 2)), {}
    yield "list-view", pa.array([[1], [], None], pa.list_view(pa.int64())), {}
    yield "list-of-required", pa.array([[1], [], None], pa.list_(pa.field("item", pa.int64(), False))), {}
    yield "list-named-item", pa.array([[1], [], None], pa.list_(pa.field("item", pa.int64()))), {"use_compliant_nested_type": False}
    yield "list-of-lists", pa.array([[[1], None, []], [], None, [[None, 2]]], pa.list_(pa.list_(pa.int64()))), {}
    yield "list-of-structs", pa.array([[{"a": 1, "b": "x"}, None], [], None], pa.list_(pa.struct({"a": pa.int64(), "b": pa.string()}))), {}
    yield "struct-of-required", pa.array([{"a": 1}, None], pa.struct([pa.field("a", pa.int64(), False)])), {}
    yield "struct-of-list-of-map", pa.array([{"l": [[("k", 1)]]}, {"l": None}, None], pa.struct({"l": pa.list_(pa.map_(pa.string(), pa.int64()))})), {}
    yield "map-of-structs", pa.array([[("k", {"a": 1})], None], pa.map_(pa.string(), pa.struct({"a": pa.int64()}))), {}
    yield "map-sorted", pa.array([[("k", 1)], None], pa.map_(pa.string(), pa.int64(), keys_sorted=True)), {}
    if hasattr(pa, "bool8"):
        yield "bool8", pa.ExtensionArray.from_storage(pa.bool8(), pa.array([0, 1, None], pa.int8())), {}
    yield "tensor", pa.ExtensionArray.from_storage(pa.fixed_shape_tensor(pa.int32(), [2]), pa.array([[1, 2], [3, 4]], pa.list_(pa.int32(), 2))), {}
    for zone in ("Europe/Berlin", "+05:30", "UTC"):
        yield f"zone-{zone}".replace("/", "-"), pa.array([T, None], pa.timestamp("us", zone)), {}
    mixed = pa.table({"timestamp": times(), "i": pa.array(range(ROWS)), "s": text, "l": pa.array([[i] * i for i in range(ROWS)])})
    for codec in CODECS:
        for page in ("1.0", "2.0"):
            yield f"codec-{codec}-v{page}", mixed, {"compression": codec, "data_page_version": page}
    for version in ("1.0", "2.4", "2.6"):
        yield f"version-{version}", mixed, {"version": version}
    yield "no-arrow-schema", mixed, {"store_schema": False}
    yield "page-index-crc", mixed, {"write_page_index": True, "write_page_checksum": True}
    yield "no-statistics-no-dictionary", mixed, {"write_statistics": False, "use_dictionary": False}
    yield "bloom", mixed, {"bloom_filter_options": {"i": True, "s": {"ndv": 100, "fpp": 0.01}}}
    for encoding, kind in (("BYTE_STREAM_SPLIT", "i"), ("DELTA_BINARY_PACKED", "i"), ("DELTA_LENGTH_BYTE_ARRAY", "s"), ("DELTA_BYTE_ARRAY", "s")):
        yield f"encoding-{encoding}", mixed, {"use_dictionary": False, "column_encoding": {kind: encoding}}
    required = [pa.field("timestamp", pa.timestamp("us", "UTC"), False), pa.field("n", pa.int64(), False), pa.field("s", pa.string(), False)]
    yield "required", pa.table([times(), pa.array(range(ROWS)), pa.array(["x"] * ROWS)], pa.schema(required)), {}
    ids = [pa.field(n, t, metadata={"PARQUET:field_id": str(i), "comment": "own"}) for i, (n, t) in enumerate([("timestamp", pa.timestamp("us", "UTC")), ("n", pa.int64())], 7)]
    inner = pa.struct([pa.field("a", pa.int64(), metadata={"PARQUET:field_id": "12"})])
    ids += [pa.field("s", inner, metadata={"PARQUET:field_id": "11"}), pa.field("l", pa.list_(pa.field("element", pa.int32(), metadata={"PARQUET:field_id": "14"})), metadata={"PARQUET:field_id": "13"})]
    yield "field-ids", pa.table([times(2), pa.array([1, 2]), pa.array([{"a": 1}, None], inner), pa.array([[1], None], pa.list_(pa.int32()))], pa.schema(ids)), {}
    names = ["", " ", "a.b", 'q"uote', "Ünï", "x`y", "list", "timestamp "]
    yield "odd-names", pa.table({"timestamp": times(2), **{n: [1, None] for n in names}}), {}
    yield "own-pairs", mixed.replace_schema_metadata({"owner": "me", "empty": "", "json": '{"a": 1}'}), {}
    yield "no-rows", mixed.slice(0, 0), {}
    yield "one-row", mixed.slice(0, 1), {}
    yield "only-a-time", mixed.select(["timestamp"]), {}
    yield "sorted", mixed, {"sorting_columns": [pq.SortingColumn(0)]}


def write_pyarrow(folder, name, values, options):
    table = values if isinstance(values, pa.Table) else pa.table({"timestamp": times(len(values)), "x": values})
    pq.write_table(table, folder / f"{name}.parquet", **options)


# ------------------------------------------------------------------------------------------------ DuckDB

DUCKDB = {
    **{kind: f"(CASE i WHEN 0 THEN {low} WHEN 1 THEN {high} WHEN 2 THEN NULL ELSE i END)::{kind}" for kind, low, high in (
        ("TINYINT", -128, 127), ("SMALLINT", -32768, 32767), ("INTEGER", -2147483648, 2147483647), ("BIGINT", "-9223372036854775808", "9223372036854775807"),
        ("UTINYINT", 0, 255), ("USMALLINT", 0, 65535), ("UINTEGER", 0, 4294967295), ("UBIGINT", 0, "18446744073709551615"),
        ("HUGEINT", "-170141183460469231731687303715884105728", "170141183460469231731687303715884105727"),
    )},
    **{f"DECIMAL({p},{s})": f"(CASE i WHEN 0 THEN NULL WHEN 1 THEN '-{'9' * (p - s)}.{'9' * s}' ELSE '0' END)::DECIMAL({p},{s})" for p, s in ((4, 1), (9, 4), (18, 0), (18, 9), (38, 10))},
    "UHUGEINT": "CASE i WHEN 2 THEN NULL ELSE '340282366920938463463374607431768211455'::UHUGEINT END",
    "FLOAT": "CASE i WHEN 0 THEN 'nan' WHEN 1 THEN '-inf' WHEN 2 THEN NULL WHEN 3 THEN '-0.0' ELSE '3.4e38' END::FLOAT",
    "DOUBLE": "CASE i WHEN 0 THEN 'nan' WHEN 1 THEN 'inf' WHEN 2 THEN NULL WHEN 3 THEN '-0.0' ELSE '5e-324' END::DOUBLE",
    "BOOLEAN": "CASE WHEN i = 2 THEN NULL ELSE i % 2 = 0 END",
    "VARCHAR": "CASE i WHEN 0 THEN '' WHEN 1 THEN NULL ELSE repeat('ü🧊', i::INT) END",
    "BLOB": "CASE i WHEN 0 THEN ''::BLOB WHEN 1 THEN NULL ELSE '\\x00\\xFF'::BLOB END",
    "BIT": "CASE i WHEN 1 THEN NULL ELSE '0101'::BIT END",
    "DATE": "CASE i WHEN 0 THEN DATE '0001-01-01' WHEN 1 THEN DATE '9999-12-31' WHEN 2 THEN NULL ELSE DATE '1970-01-01' END",
    "TIME": "CASE i WHEN 0 THEN TIME '00:00:00' WHEN 1 THEN TIME '23:59:59.999999' ELSE NULL END",
    "TIME_NS": "CASE i WHEN 0 THEN '00:00:00'::TIME_NS WHEN 1 THEN '23:59:59.999999999'::TIME_NS ELSE NULL END",
    "TIMETZ": "CASE i WHEN 0 THEN TIMETZ '00:00:00+00' WHEN 1 THEN TIMETZ '12:34:56.789+05:30' ELSE NULL END",
    "TIMESTAMP": "CASE i WHEN 0 THEN TIMESTAMP '0001-01-01' WHEN 1 THEN TIMESTAMP '9999-12-31 23:59:59.999999' WHEN 2 THEN NULL ELSE TIMESTAMP '1969-12-31 23:59:59.999999' END",
    "TIMESTAMP_S": "CASE i WHEN 0 THEN NULL ELSE '2026-11-01 00:00:01'::TIMESTAMP_S END",
    "TIMESTAMP_MS": "CASE i WHEN 0 THEN NULL ELSE '2026-11-01 00:00:01.234'::TIMESTAMP_MS END",
    "TIMESTAMP_NS": "CASE i WHEN 0 THEN NULL ELSE '2026-11-01 00:00:01.234567891'::TIMESTAMP_NS END",
    "TIMESTAMPTZ": "CASE i WHEN 0 THEN TIMESTAMPTZ '0001-01-01 00:00:00+00' WHEN 1 THEN NULL ELSE TIMESTAMPTZ '2026-03-29 02:30:00+01' END",
    "INTERVAL": "CASE i WHEN 0 THEN INTERVAL 0 DAY WHEN 1 THEN NULL ELSE to_months(13) + to_days(400) + to_milliseconds(123456789) END",
    "UUID": "CASE i WHEN 0 THEN '00000000-0000-0000-0000-000000000000'::UUID WHEN 1 THEN NULL ELSE 'ffffffff-ffff-ffff-ffff-ffffffffffff'::UUID END",
    "JSON": "CASE i WHEN 0 THEN 'null'::JSON WHEN 1 THEN NULL ELSE '{\"a\": [1, \"ü\"]}'::JSON END",
    "ENUM": "CASE i WHEN 0 THEN NULL ELSE 'b'::ENUM('a', 'b') END",
    "ARRAY": "CASE i WHEN 1 THEN NULL ELSE [i, NULL, 3]::INTEGER[3] END",
    "LIST": "CASE i WHEN 0 THEN [] WHEN 1 THEN NULL ELSE [i, NULL] END",
    "STRUCT": "CASE i WHEN 1 THEN NULL ELSE {'a': i, 'b': NULL::VARCHAR, 'c': {'d': [i]}} END",
    "MAP": "CASE i WHEN 0 THEN MAP {} WHEN 1 THEN NULL ELSE MAP {'k': i, 'l': NULL} END",
    "UNION": "union_value(n := i)",
    "VARIANT": "{'a': i, 'b': ['x', NULL]}::VARIANT",
    "GEOMETRY": "CASE i WHEN 1 THEN NULL ELSE 'POINT(1 2)'::GEOMETRY END",
    "NULL": "NULL",
    "BIGNUM": "123456789012345678901234567890123456789012345::BIGNUM",
    "LIST_OF_UUID": "['ffffffff-ffff-ffff-ffff-ffffffffffff'::UUID, NULL]",
    "STRUCT_OF_JSON_INTERVAL": "{'j': '{}'::JSON, 'i': to_months(1) + to_days(2)}",
}


def by_duckdb():
    for name, sql in DUCKDB.items():
        yield name, sql, ""
    for codec in ("uncompressed", "snappy", "gzip", "brotli", "lz4_raw", "zstd"):
        for version in ("V1", "V2"):
            yield f"codec-{codec}-{version}", "CASE i WHEN 1 THEN NULL ELSE i::VARCHAR END", f", COMPRESSION {codec}, PARQUET_VERSION {version}"
    yield "own-pairs", "i", ", KV_METADATA {owner: 'me', note: 'ü'}"
    yield "field-ids", "{'a': i}", ", FIELD_IDS {timestamp: 3, x: {__duckdb_field_id: 4, a: 5}}"
    yield "geoparquet", "'POINT(1 2)'::GEOMETRY", ", GEOPARQUET_VERSION 'V1'"


def write_duckdb(folder, name, sql, options):
    path = folder / f"{name.replace('(', '-').replace(')', '').replace(',', '-')}.parquet"
    time = """TIMESTAMPTZ '2026-11-01 00:00:00+00' + to_seconds(i) AS "timestamp" """
    duckdb.sql(f"COPY (SELECT {time}, {sql} AS x FROM range({ROWS}) t(i)) TO '{path}' (FORMAT parquet{options})")


# ------------------------------------------------------------------------------------------------ Polars


def by_polars():
    for kind in ("Int8", "Int16", "Int32", "Int64", "UInt8", "UInt16", "UInt32", "UInt64", "Int128", "UInt128"):
        if (kind_of := getattr(pl, kind, None)) is None:
            continue
        low, high = pl.select(a=kind_of.min(), b=kind_of.max()).row(0)
        yield kind, pl.Series("x", [low, high, None, 0], dtype=kind_of)
    yield "Float32", pl.Series("x", [float("nan"), float("-inf"), None, -0.0, 3.4e38], dtype=pl.Float32)
    yield "Float64", pl.Series("x", [float("nan"), float("inf"), None, -0.0, 5e-324])
    if hasattr(pl, "Float16"):
        yield "Float16", pl.Series("x", [float("nan"), 1.5, None], dtype=pl.Float16)
    yield "Boolean", pl.Series("x", [True, False, None])
    yield "String", pl.Series("x", WORDS)
    yield "Binary", pl.Series("x", [b"", b"\0\xff", None])
    yield "Decimal", pl.Series("x", [decimal.Decimal("-99999.99"), None], dtype=pl.Decimal(38, 2))
    yield "Date", pl.Series("x", [dt.date(1, 1, 1), dt.date(9999, 12, 31), None])
    yield "Time", pl.Series("x", [dt.time(0), dt.time(23, 59, 59, 999999), None])
    for unit in ("ms", "us", "ns"):
        yield f"Duration-{unit}", pl.Series("x", [dt.timedelta(days=-1), dt.timedelta(days=1), None], dtype=pl.Duration(unit))
        for zone in (None, "UTC", "Europe/Berlin"):
            yield f"Datetime-{unit}-{zone}".replace("/", "-"), pl.Series("x", [T, None], dtype=pl.Datetime(unit)).dt.replace_time_zone(zone)
    yield "Categorical", pl.Series("x", ["a", "b", None, "a"], dtype=pl.Categorical)
    yield "Enum", pl.Series("x", ["b", None, "a"], dtype=pl.Enum(["a", "b", "never"]))
    yield "Null", pl.Series("x", [None, None])
    yield "List", pl.Series("x", [[1, None], [], None])
    yield "List-of-Enum", pl.Series("x", [["a"], None], dtype=pl.List(pl.Enum(["a", "b"])))
    yield "Array", pl.Series("x", [[1, 2], None], dtype=pl.Array(pl.Int64, 2))
    yield "Array-2d", pl.Series("x", [[[1, 2], [3, 4]]], dtype=pl.Array(pl.Int16, (2, 2)))
    yield "Struct", pl.Series("x", [{"a": 1, "b": {"c": ["x", None]}}, None])
    for codec in ("uncompressed", "snappy", "gzip", "brotli", "lz4", "zstd"):
        yield f"codec-{codec}", pl.Series("x", WORDS)


def write_polars(folder, name, series):
    options = {"compression": name.removeprefix("codec-")} if name.startswith("codec-") else {}
    frame = pl.DataFrame({"timestamp": pl.Series([T + dt.timedelta(seconds=i) for i in range(len(series))], dtype=pl.Datetime("us", "UTC")), "x": series})
    frame.write_parquet(folder / f"{name}.parquet", **options)


# ------------------------------------------------------------------------------------------------ pandas and fastparquet


def frames():
    stamps = pd.date_range("2026-11-01", periods=ROWS, freq="s", tz="UTC")
    base = pd.DataFrame({"timestamp": stamps, "i": range(ROWS), "s": WORDS, "f": [0.5, np.nan, np.inf, -np.inf, -0.0]})
    yield "plain", base
    yield "index-named", base.set_index("s")
    yield "index-time", base.set_index("timestamp")
    yield "index-multi", base.set_index(["i", "s"])
    yield "index-range", base.set_index(pd.RangeIndex(10, 10 + ROWS, name="r"))
    yield "columns-named", base.rename_axis(columns="what")
    yield "category", base.assign(c=pd.Categorical(["b", "a", None, "a", "b"], categories=["a", "b", "never"]))
    yield "category-ordered", base.assign(c=pd.Categorical(["lo", "hi", None, "lo", "hi"], ["lo", "hi"], ordered=True))
    yield "category-of-numbers", base.assign(c=pd.Categorical([3, 1, 3, 1, None]))
    yield "nullable", base.assign(a=pd.array([1, None, 3, 4, 5], "Int16"), b=pd.array([True, None, False, True, True], "boolean"), c=pd.array(["x", None, "", "y", "z"], "string"))
    yield "zone", base.assign(z=stamps.tz_convert("America/New_York"))
    yield "naive", base.assign(n=stamps.tz_localize(None))
    yield "duration", base.assign(d=pd.to_timedelta(range(ROWS), unit="s"))
    yield "bytes", base.assign(b=[b"\0", b"", None, b"\xff", b"x"])


def pandas_only():
    yield from frames()
    base = next(frames())[1]
    yield "period", base.assign(p=pd.period_range("2026-01", periods=ROWS, freq="M"))
    yield "interval", base.assign(v=pd.interval_range(0, ROWS))
    yield "decimal", base.assign(d=[decimal.Decimal("1.5"), None, decimal.Decimal("-2.25"), decimal.Decimal(0), decimal.Decimal(9)])
    yield "lists", base.assign(d=[[1], [], None, [2, 3], [4]])
    yield "dicts", base.assign(d=[{"a": 1}, None, {"a": 2}, {"a": None}, {"a": 3}])
    attributes = base.copy()
    attributes.attrs = {"source": "somewhere"}
    yield "attributes", attributes
    yield "unicode-names", base.rename(columns={"i": "größe"})


def write_pandas(folder, name, frame):
    frame.to_parquet(folder / f"{name}.parquet", engine="pyarrow")


def by_fastparquet():
    for name, frame in frames():
        yield name, frame, {}
    base = next(frames())[1]
    yield "int96", base, {"times": "int96"}
    yield "no-nulls", base.drop(columns="s"), {"has_nulls": False}
    yield "json", base.assign(o=[{"a": 1}, None, {}, {"b": [2]}, {}]), {"object_encoding": {"o": "json", "s": "utf8"}}
    yield "own-pairs", base, {"custom_metadata": {"owner": "me"}}
    for codec in ("UNCOMPRESSED", "SNAPPY", "GZIP", "BROTLI", "ZSTD", "LZ4_RAW"):
        yield f"codec-{codec}", base, {"compression": codec}


def write_fastparquet(folder, name, frame, options):
    fastparquet.write(str(folder / f"{name}.parquet"), frame, **options)


# ------------------------------------------------------------------------------------------------ GeoParquet


def by_geopandas():
    try:
        import geopandas
        from shapely.geometry import LineString, Point, Polygon
    except ImportError:
        print("left out: GeoPandas is not installed", file=sys.stderr)
        return
    stamps = pd.date_range("2026-11-01", periods=3, freq="s", tz="UTC")
    shapes = [Point(1, 2), None, Polygon([(0, 0), (1, 0), (1, 1)])]
    for crs in (None, "EPSG:4326", "EPSG:3857"):
        frame = geopandas.GeoDataFrame({"timestamp": stamps, "n": range(3)}, geometry=shapes, crs=crs)
        yield f"wkb-{crs}".replace(":", "-"), frame, {}
    two = geopandas.GeoDataFrame({"timestamp": stamps}, geometry=[Point(i, i) for i in range(3)], crs="EPSG:4326")
    two["other"] = geopandas.GeoSeries([LineString([(0, 0), (i, 1)]) for i in range(3)], crs="EPSG:3857")
    yield "two-geometries", two, {}
    points = geopandas.GeoDataFrame({"timestamp": stamps}, geometry=[Point(i, i) for i in range(3)], crs="EPSG:4326")
    yield "geoarrow", points, {"geometry_encoding": "geoarrow", "schema_version": "1.1.0"}
    yield "bbox", points, {"write_covering_bbox": True}


def write_geopandas(folder, name, frame, options):
    frame.to_parquet(folder / f"{name}.parquet", **options)


def by_hand():
    """GeoParquet as its text says, where GeoPandas is not installed."""
    point = bytes.fromhex("0101000000000000000000f03f0000000000000040")
    column = {"encoding": "WKB", "geometry_types": ["Point"], "bbox": [1, 2, 1, 2], "crs": None}
    geo = json.dumps({"version": "1.1.0", "primary_column": "g", "columns": {"g": column}})
    yield "geoparquet", pa.table({"timestamp": times(2), "g": [point, None]}, metadata={"geo": geo})


def write_hand(folder, name, table):
    pq.write_table(table, folder / f"{name}.parquet")


WRITERS = {
    "pyarrow": (by_pyarrow, write_pyarrow),
    "duckdb": (by_duckdb, write_duckdb),
    "polars": (by_polars, write_polars),
    "pandas": (pandas_only, write_pandas),
    "fastparquet": (by_fastparquet, write_fastparquet),
    "geopandas": (by_geopandas, write_geopandas),
    "hand": (by_hand, write_hand),
}


def cases(writer):
    """Each case, also behind one whose values this version cannot make."""
    try:
        yield from WRITERS[writer][0]()
    except Exception:  # noqa: BLE001
        print(f"left out: the rest of {writer}: {traceback.format_exc(limit=-1)}", file=sys.stderr)


def main(folder):
    for writer, (_, write) in WRITERS.items():
        place = pathlib.Path(folder) / writer
        place.mkdir(parents=True, exist_ok=True)
        for name, *what in cases(writer):
            try:
                write(place, name, *what)
            except Exception as e:  # noqa: BLE001: whatever a writer does not know
                print(f"left out: {writer} {name}: {type(e).__name__}: {str(e)[:120]}", file=sys.stderr)
                (place / f"{name}.parquet").unlink(missing_ok=True)


if __name__ == "__main__":
    main(sys.argv[1])
