"""Reads a partitioned Delta table with several engines, and its files by the names of their folders.

    read_partitions.py TABLE KEYS FILE…

KEYS are the partition columns, with commas between them. One line of JSON: {reader: [[event_id, value…], …]}, with the rows in order. `folders` is DuckDB on
each FILE by its folders alone, and `nulls` the ids that delta-rs' SQL finds where the last column is null.
"""

import json
import sys

import duckdb
import polars as pl
import pyarrow as pa
from deltalake import DeltaTable, QueryBuilder

from leave import leave

url, keys, *files = sys.argv[1:]
columns = ["event_id", *keys.split(",")]
names = ", ".join(columns)
table = DeltaTable(url)
dataset = table.to_pyarrow_dataset()
by_folders = f"SELECT {names} FROM read_parquet($1, hive_partitioning = true, hive_types_autocast = false)"


def sql(query):
    return pa.table(QueryBuilder().register("events", table).execute(query)).to_pylist()


def rows(found):
    return sorted(([row[c] for c in columns] for row in found), key=str)


read = {
    "delta_rs": table.to_pyarrow_table(columns=columns).to_pylist(),
    "delta_rs_sql": sql(f"SELECT {names} FROM events"),
    "polars": pl.scan_delta(url).select(columns).collect().to_dicts(),
    "duckdb": duckdb.sql(f"SELECT {names} FROM dataset").to_arrow_table().to_pylist(),
    "folders": duckdb.execute(by_folders, [files]).to_arrow_table().to_pylist(),
}
answer = {name: rows(found) for name, found in read.items()}
answer["nulls"] = sorted(row["event_id"] for row in sql(f"SELECT event_id FROM events WHERE {columns[-1]} IS NULL"))
print(json.dumps(answer))
leave()
