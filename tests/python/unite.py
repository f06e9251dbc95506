"""Files of one folder whose columns unite, and what pyarrow and DuckDB find once they are one.

    unite.py make STORE    a tenant for each pair of types, of two files
    unite.py check STORE   each tenant is one file with the values of both
"""

import datetime as dt
import decimal
import glob
import os
import sys

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

D = decimal.Decimal
AT = pa.scalar(dt.datetime(2026, 11, 1), pa.timestamp("us"))


def record(**fields):
    return pa.StructArray.from_arrays([pa.array([v], t) for v, t in fields.values()], list(fields))


def one(array):
    """A list of one element, null and empty lists."""
    return pa.ListArray.from_arrays(pa.array([0, 1, 1, 1], pa.int32()), array, mask=pa.array([False, True, False]))


def entry(array):
    return pa.MapArray.from_arrays(pa.array([0, 1], pa.int32()), pa.array(["k"]), array)


LEFT, RIGHT = {"a": (1, pa.int32()), "p": (D("1.50"), pa.decimal128(9, 2))}, {"p": (D("0.1234"), pa.decimal128(9, 4)), "b": ("x", pa.string())}
INNER = [{"a": 1, "p": D("1.50"), "b": None}, {"a": None, "p": D("0.1234"), "b": "x"}]
# The column in each file, and the values of both as one column.
PAIRS = {
    "ints": (pa.array([1, -1], pa.int8()), pa.array([2**62, None], pa.int64()), [1, -1, 2**62, None]),
    "floats": (pa.array([-(2**31)], pa.int32()), pa.array([0.5], pa.float32()), [-(2.0**31), 0.5]),
    "decimals": (pa.array([D("1.50"), None], pa.decimal128(9, 2)), pa.array([D("-0.1234")], pa.decimal128(20, 4)), [D("1.50"), None, D("-0.1234")]),
    "wide-decimals": (pa.array([D(10**39)], pa.decimal256(40, 0)), pa.array([D("0.01")], pa.decimal128(5, 2)), [D(10**39), D("0.01")]),
    "days": (pa.array([dt.date(1969, 12, 31)], pa.date32()), pa.array([dt.date(2026, 11, 1)], pa.date64()), [dt.date(1969, 12, 31), dt.date(2026, 11, 1)]),
    "structs": (record(**LEFT), record(**RIGHT), INNER),
    "lists": (one(record(**LEFT)), one(record(**RIGHT)), [[INNER[0]], None, [], [INNER[1]], None, []]),
    "maps": (entry(record(**LEFT)), entry(record(**RIGHT)), [{"k": INNER[0]}, {"k": INNER[1]}]),
    "deep": (record(s=({"l": [{"a": 1}]}, pa.struct({"l": pa.list_(pa.struct({"a": pa.int8()}))}))), record(s=({"l": [{"c": "y"}], "m": 2}, pa.struct({"l": pa.list_(pa.struct({"c": pa.string()})), "m": pa.int8()}))), [{"s": {"l": [{"a": 1, "c": None}], "m": None}}, {"s": {"l": [{"a": None, "c": "y"}], "m": 2}}]),
    "names": (pa.array([1]), pa.array([2]), [1, 2]),
    "nulls": (pa.nulls(2), pa.array(["x"]), [None, None, "x"]),
}


def make(store):
    for name, (left, right, _) in PAIRS.items():
        os.makedirs(f"{store}/{name}")
        first = 0
        for file, column in enumerate([left, right]):
            n = pa.array(range(first, first + len(column)), pa.int64())
            first += len(column)
            x = "X" if name == "names" and file == 1 else "x"
            table = pa.table({"timestamp": pa.array([AT.as_py()] * len(column), pa.timestamp("us")), "n": n, x: column})
            pq.write_table(table, f"{store}/{name}/f{file}.parquet")


def plain(value):
    if isinstance(value, list) and value and all(isinstance(v, tuple) for v in value):
        return plain(dict(value))
    if isinstance(value, dict):
        return {k: plain(v) for k, v in value.items()}
    return [plain(v) for v in value] if isinstance(value, list) else value


def check(store):
    wrong = []
    for name, (_, _, wanted) in PAIRS.items():
        files = glob.glob(f"{store}/{name}/**/*.parquet", recursive=True)
        if len(files) != 1:
            wrong.append(f"{name}: {sorted(files)}")
            continue
        found = {"pyarrow": pq.read_table(files[0]).sort_by("n").column("x").to_pylist()}
        # DuckDB knows decimals of 38 digits at most.
        if name != "wide-decimals":
            found["duckdb"] = [row[0] for row in duckdb.sql(f"SELECT x FROM read_parquet('{files[0]}') ORDER BY n").fetchall()]
        for judge, values in found.items():
            if plain(values) != wanted:
                wrong.append(f"{name} by {judge}: {values} is not {wanted}")
    if wrong:
        sys.exit("\n".join(wrong))


if __name__ == "__main__":
    {"make": make, "check": check}[sys.argv[1]](sys.argv[2])
