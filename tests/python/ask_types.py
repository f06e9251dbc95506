"""Asks every reader of docs/reading.md for rows by columns of every type.

    ask_types.py write DIR        writes files with columns of every type and their extremes
    ask_types.py ask TABLE        one line of JSON: how many questions there were, and the wrong answers by reader

What is right is what DuckDB finds in the table's files, without its log.
"""

import datetime as dt
import decimal
import json
import sys

import duckdb
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
from deltalake import DeltaTable, QueryBuilder

from leave import leave

NOW = dt.datetime.now(dt.timezone.utc).replace(microsecond=0)
LONG = "http://x.example/" + "y" * 200
DAY = dt.date(2026, 1, 1)


def days(*values):
    """Of years that Python has no dates for, too."""
    return pa.array(values, pa.int32()).cast(pa.date32())


def columns(n):
    """Three rows: one that is small, one that is large, one that is null, and none of them twice."""
    digits = decimal.Decimal(10) ** 27
    return {
        "timestamp": pa.array([NOW - dt.timedelta(hours=n), NOW - dt.timedelta(minutes=n), NOW], pa.timestamp("us", "UTC")),
        "event_id": [f"{n}-{i}" for i in range(3)],
        "i8": pa.array([-128 + n, 127, None], pa.int8()),
        "i64": pa.array([-(2**63) + n, 2**63 - 1, None], pa.int64()),
        "u32": pa.array([n, 2**32 - 1, None], pa.uint32()),
        "f": pa.array([float(n), float("nan") if n == 1 else 1e300, None]),
        "amount": pa.array([decimal.Decimal(n) + decimal.Decimal("0.99"), decimal.Decimal("99999999.99"), None], pa.decimal128(10, 2)),
        "huge": pa.array([-digits - n, digits + n, None], pa.decimal128(38, 3)),
        "ok": pa.array([n % 2 == 0, True, None]),
        "url": ["a" * n, LONG + str(n), None],
        "tops": ["\U0010ffff" * 40, "z" * 63 + "é", None],
        "octets": pa.array([b"\x00", b"\xff" * 80, None]),
        "ms": pa.array([NOW, NOW + dt.timedelta(days=n), None], pa.timestamp("ms", "UTC")),
        "ltime": pa.array([dt.datetime(1, 1, 1), dt.datetime(9999, 12, 31, 23, 59, 59, 999999), None], pa.timestamp("us")),
        "d_near": days(n, 20_000, None),
        "d_far": days(0, 4_000_000, None) if n else days(-800_000, 1, None),
        "items": [[n], [], None],
        # Some files lack a field, and have the others in another order.
        "nested": [{"b": -n, "a": n} if n % 2 else {"a": n}, {"a": None}, None],
    }


QUESTIONS = [
    *[f"{c} IS NULL" for c in columns(0)],
    *[f"{c} IS NOT NULL" for c in columns(0)],
    "i8 = 127", "i8 < -126", "i8 > 127 - 1",
    "i64 = 9223372036854775807", "i64 < -9223372036854775806", "i64 <> 0",
    "u32 = 4294967295", "u32 <= 1",
    "f < 1.5", "f = 2.0",
    "amount = 1.99", "amount <> 0", "amount > 99999999.98", "amount < 2",
    "huge < 0", "huge > 0", "huge <> 0",
    "ok = true", "ok = false", "NOT ok",
    f"url = '{LONG}1'", "url > 'http://x.example/z'", "url < 'aa'", "url >= 'http'", f"url <> '{LONG}1'",
    "tops > 'zzz'", f"tops = '{'z' * 63}é'",
    "timestamp >= TIMESTAMP '2020-01-01 00:00:00'", "ms < TIMESTAMP '2020-01-01 00:00:00'",
    "ltime < TIMESTAMP '0001-01-02 00:00:00'", "ltime > TIMESTAMP '9999-12-31 00:00:00'",
    "d_near > DATE '2020-01-01'", "d_near < DATE '1970-01-02'", "d_near = DATE '1970-01-02'",
    "d_far >= DATE '2020-01-01'", "d_far < DATE '1900-01-01'", "d_far < DATE '2020-01-01'",
    "old >= TIMESTAMP '2020-01-01 00:00:00'", "old IS NULL", "late = 5", "late IS NULL", "late IS NOT NULL", "late <> 7",
    "amount = 0.99 OR i8 = 127", "late IS NULL AND i8 = 127",
]  # fmt: skip

# What `filters=` of pandas and pyarrow knows, and the same as SQL.
FILTERS = [
    (("amount", "=", decimal.Decimal("1.99")), "amount = 1.99"),
    (("amount", "!=", decimal.Decimal("0.00")), "amount <> 0"),
    (("ok", "=", True), "ok = true"),
    (("url", "=", LONG + "1"), f"url = '{LONG}1'"),
    (("url", "=", "a"), "url = 'a'"),
    (("i64", "=", 2**63 - 1), "i64 = 9223372036854775807"),
    (("f", "<", 1.5), "f < 1.5"),
    (("d_near", ">", dt.date(2020, 1, 1)), "d_near > DATE '2020-01-01'"),
    (("d_far", ">=", dt.date(2020, 1, 1)), "d_far >= DATE '2020-01-01'"),
    (("octets", "=", b"\x00"), "hex(octets) = '00'"),
    (("ms", ">=", dt.datetime(2020, 1, 1, tzinfo=dt.timezone.utc)), "ms >= TIMESTAMP '2020-01-01 00:00:00'"),
    (("late", "=", 5), "late = 5"),
]


def write(folder):
    for n in range(4):
        data = columns(n)
        # A row group for each row: bounds of a file are those of many.
        pq.write_table(pa.table(data), f"{folder}/{n}.parquet", row_group_size=1)
    # Files that do not say what all the others do: without statistics, with a time that has none, and with a column that comes late.
    pq.write_table(pa.table(columns(4)), f"{folder}/4.parquet", write_statistics=False)
    # Such times have no zone: the other columns of times would not fit.
    old = {name: values for name, values in columns(5).items() if name not in ("timestamp", "ms", "ltime")}
    old["old"] = pa.array([NOW, NOW, None], pa.timestamp("ns"))
    pq.write_table(pa.table(old), f"{folder}/5.parquet", use_deprecated_int96_timestamps=True)


def late(folder):
    pq.write_table(pa.table(columns(6) | {"late": pa.array([5, 6, None], pa.int64())}), f"{folder}/6.parquet")


class Readers:
    def __init__(self, table):
        self.table = table

    def delta_rs_sql(self, sql):
        found = QueryBuilder().register("events", DeltaTable(self.table)).execute(f"SELECT count(*) AS n FROM events WHERE {sql}")
        return pa.table(found)["n"][0].as_py()

    def duckdb(self, sql):
        events = DeltaTable(self.table).to_pyarrow_dataset()  # noqa: F841: DuckDB finds it by its name
        return duckdb.sql(f"SELECT count(*) FROM events WHERE {sql}").fetchall()[0][0]

    def polars(self, sql):
        return pl.SQLContext(events=pl.scan_delta(self.table)).execute(f"SELECT count(*) AS n FROM events WHERE {sql}", eager=True).item()

    def polars_pyarrow(self, sql):
        frame = pl.scan_delta(self.table, use_pyarrow=True)
        return pl.SQLContext(events=frame).execute(f"SELECT count(*) AS n FROM events WHERE {sql}", eager=True).item()


def ask(table):
    duckdb.execute("SET TimeZone='UTC'")
    files = DeltaTable(table).file_uris()
    readers, asked, wrong, cannot = Readers(table), 0, [], {}

    def right(sql):
        return duckdb.sql(f"SELECT count(*) FROM read_parquet({files!r}, union_by_name=true) WHERE {sql}").fetchall()[0][0]

    def note(name, question, want, answer):
        nonlocal asked
        try:
            found = answer()
        except Exception as e:  # noqa: BLE001: what it cannot read, it says
            cannot.setdefault(name, []).append(f"{question}: {type(e).__name__}: {str(e)[:100]}")
            return
        asked += 1
        if found != want:
            wrong.append(f"{name}: {question}: {found} of {want}")

    for question in QUESTIONS:
        try:
            want = right(question)
        except duckdb.BinderException:
            continue  # No file has that column any more.
        for name in ("delta_rs_sql", "duckdb", "polars", "polars_pyarrow"):
            note(name, question, want, lambda name=name, question=question: getattr(readers, name)(question))
    nested = {f"{n}-0": {"a": n, "b": -n if n % 2 else None} for n in range(7) if any(f.endswith(f"/{n}.parquet") for f in files) or len(files) == 1 and n != 5}
    table_of = {
        "delta_rs_sql": lambda: pa.table(QueryBuilder().register("events", DeltaTable(table)).execute("SELECT event_id, nested FROM events")),
        "duckdb": lambda: duckdb.from_arrow(DeltaTable(table).to_pyarrow_dataset()).select("event_id, nested").to_arrow_table(),
        "polars": lambda: pl.scan_delta(table).select("event_id", "nested").collect().to_arrow(),
        "polars_pyarrow": lambda: pl.scan_delta(table, use_pyarrow=True).select("event_id", "nested").collect().to_arrow(),
    }
    for name, read in table_of.items():
        note(name, "the fields of structs", nested, lambda read=read: {r["event_id"]: r["nested"] for r in read().to_pylist() if r["event_id"].endswith("-0")})
    for filters, sql in FILTERS:
        want = right(sql)
        columns_asked = ["event_id", filters[0]]
        note("pandas", sql, want, lambda f=filters, c=columns_asked: len(DeltaTable(table).to_pandas(columns=c, filters=[f])))
        note("pyarrow", sql, want, lambda f=filters, c=columns_asked: DeltaTable(table).to_pyarrow_table(columns=c, filters=[f]).num_rows)
    print(json.dumps({"asked": asked, "wrong": wrong, "cannot": cannot}))


if __name__ == "__main__":
    {"write": write, "late": late, "ask": ask}[sys.argv[1]](sys.argv[2])
    leave(0)
