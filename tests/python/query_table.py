"""Prints what delta-rs' SQL, and Polars' where it can, make of a Delta table.

    query_table.py TABLE SQL

The table is called `events`. One line of JSON: {"delta_rs": rows, "polars": rows or the error}.
"""

import json
import sys

import polars as pl
import pyarrow as pa
from deltalake import DeltaTable, QueryBuilder

from leave import leave
from read_table import storage_options

table, sql = sys.argv[1:]
options = storage_options()
delta = DeltaTable(table, storage_options=options)
found = QueryBuilder().register("events", delta).execute(sql)
answer = {"delta_rs": pa.table(found.read_all() if hasattr(found, "read_all") else found).to_pylist()}
try:
    frame = pl.scan_delta(table, storage_options=options or None)
    answer["polars"] = pl.SQLContext(events=frame).execute(sql, eager=True).to_dicts()
except pl.exceptions.PolarsError as e:
    answer["polars"] = f"{type(e).__name__}: {e}"
print(json.dumps(answer, default=str))
leave()
