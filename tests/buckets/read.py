"""Reads the tables in buckets as their users do, and says what was in them.

    read.py DIR [NAME …]             digests, as JSON
    read.py --rows DIR NAME [TABLE]  every row, as text

A digest is `{bucket: {table: {reader: {"columns": [[name, type], …], "folders": {folder: {"rows": …, "row": hash, "values": {column: hash}}}}}}}`. Rows, and the
values of a column, are multisets: their order says nothing. A reader that knows no folders says all of its rows are in `.`. One that fails says `{"error": …}`.
"""

import collections
import hashlib
import json
import os
import pathlib
import re
import sys

sys.path[:0] = [str(pathlib.Path(__file__).resolve().parents[1] / "python")]

import dask  # noqa: E402
import dask.dataframe  # noqa: E402
import deltalake  # noqa: E402
import duckdb  # noqa: E402
import fastparquet  # noqa: E402
import pandas as pd  # noqa: E402
import polars as pl  # noqa: E402
import pyarrow as pa  # noqa: E402
import pyarrow.dataset as ds  # noqa: E402
import pyarrow.parquet as pq  # noqa: E402
from pyiceberg.table import StaticTable  # noqa: E402

from leave import leave  # noqa: E402
from writers import BUCKETS  # noqa: E402

DB = duckdb.connect()
DB.execute("SET TimeZone='UTC'; SET threads=1")


def visible(path, suffix):
    """The files that engines on Hadoop's file formats take for data."""
    found = []
    for folder, folders, names in os.walk(path):
        folders[:] = [f for f in folders if not f.startswith(("_", "."))]
        found += [os.path.join(folder, n) for n in names if n.endswith(suffix) and not n.startswith(("_", "."))]
    return sorted(found)


def told(columns, rows, folders=None):
    """Columns as they are, rows by folder."""
    by_folder = collections.defaultdict(list)
    for row, folder in zip(rows, folders or ["."] * len(rows), strict=True):
        by_folder[folder].append([repr(value) for value in row])
    return {"columns": columns, "folders": {f: sorted(r) for f, r in sorted(by_folder.items())}}


def folder(path, file):
    return os.path.relpath(os.path.dirname(file), path)


def arrow_rows(table):
    return [tuple(r.values()) for r in table.to_pylist()]


def arrow_columns(schema):
    return [[f.name, f"{f.type}{'' if f.nullable else ' not null'}"] for f in schema]


def of_duckdb(path, t):
    files = visible(path, t.suffix) if t.suffix == "" else f"{path}/**/*{t.suffix}"
    source = f"read_parquet({files!r}, hive_partitioning={str(t.partitions == 'hive').lower()}, union_by_name={str(t.drift).lower()}, filename=true)"
    columns = [[name, kind] for name, kind, *_ in DB.execute(f"DESCRIBE FROM {source}").fetchall() if name != "filename"]
    rows = DB.execute(f"SELECT filename, CAST(COLUMNS(* EXCLUDE filename) AS VARCHAR) FROM {source}").fetchall()
    return told(columns, [r[1:] for r in rows], [folder(path, r[0]) for r in rows])


def of_pyarrow(path, t):
    partitioning = t.partitions
    if isinstance(partitioning, dict):
        partitioning = ds.partitioning(pa.schema([(name, pa.type_for_alias(kind)) for name, kind in partitioning.items()]))
    if t.suffix == "":
        source = ds.dataset(visible(path, ""), format="parquet", partitioning=partitioning, partition_base_dir=path)
    else:
        source = ds.dataset(path, format=ds.ParquetFileFormat(), partitioning=partitioning, exclude_invalid_files=True)
    names = source.schema.names
    table = source.to_table([*names, "__filename"])
    rows = arrow_rows(table.select(names))
    return told(arrow_columns(source.schema), rows, [folder(path, f) for f in table["__filename"].to_pylist()])


def of_polars(path, t):
    files = visible(path, "") if t.suffix == "" else f"{path}/**/*{t.suffix}"
    hive = t.partitions == "hive"
    data = pl.scan_parquet(files, hive_partitioning=hive, include_file_paths="__filename").collect()
    places = [folder(path, f) for f in data["__filename"].to_list()]
    data = data.drop("__filename")
    return told([[n, str(k)] for n, k in data.schema.items()], arrow_rows(data.to_arrow()), places)


def of_frame(data):
    """A frame of pandas: its index is part of it, unless that only counts."""
    columns = [[n, str(k)] for n, k in data.dtypes.items()]
    rows = list(data.itertuples(index=False, name=None))
    if not isinstance(data.index, pd.RangeIndex):
        columns.append([f"index {data.index.name}", str(data.index.dtype)])
        rows = [(*r, i) for r, i in zip(rows, data.index, strict=True)]
    return told(columns, rows)


def of_pandas(path, _):
    return of_frame(pd.read_parquet(path))


def of_fastparquet(path, _):
    return of_frame(fastparquet.ParquetFile(path).to_pandas())


def of_dask(path, _):
    return of_frame(dask.dataframe.read_parquet(path).compute(scheduler="sync").reset_index(drop=True))


def of_pyarrow_metadata(path, _):
    table = ds.parquet_dataset(f"{path}/_metadata").to_table()
    return told(arrow_columns(table.schema), arrow_rows(table))


def of_spark_buckets(path, _):
    """As Spark opens a bucketed table: rows by the bucket that a file's name says, and no file without one."""
    files = visible(path, ".parquet")
    buckets = [re.fullmatch(r".*_(\d+)(?:\..*)?", os.path.basename(f)) for f in files]
    if None in buckets:
        raise ValueError("a file without a bucket")
    tables = [pq.read_table(f, partitioning=None) for f in files]
    rows = [arrow_rows(t) for t in tables]
    return told(arrow_columns(tables[0].schema), [r for part in rows for r in part], [b[1] for b, part in zip(buckets, rows, strict=True) for _ in part])


def of_delta(path, _):
    table = pa.table(deltalake.DeltaTable(path).to_pyarrow_table())
    return told(arrow_columns(table.schema), arrow_rows(table))


def of_iceberg(path, _):
    newest = max(pathlib.Path(path).glob("metadata/*.metadata.json"))
    table = StaticTable.from_metadata(str(newest)).scan().to_arrow()
    return told(arrow_columns(table.schema), arrow_rows(table))


READERS = {
    "duckdb": of_duckdb,
    "pyarrow": of_pyarrow,
    "polars": of_polars,
    "pandas": of_pandas,
    "fastparquet": of_fastparquet,
    "dask": of_dask,
    "pyarrow_metadata": of_pyarrow_metadata,
    "spark_buckets": of_spark_buckets,
    "delta": of_delta,
    "iceberg": of_iceberg,
}


def read(reader, path, table):
    try:
        found = READERS[reader](str(path), table)
    except Exception as e:  # What a reader says of a table that it cannot read is part of the digest.
        return {"error": f"{type(e).__name__}: {e}".replace(str(path), "…")[:300]}
    if table.drift:
        # Columns stand in the order in which the files' names bring them up.
        order = sorted(range(len(found["columns"])), key=lambda n: found["columns"][n])
        pick = lambda values: [values[n] for n in order]
        found = {"columns": pick(found["columns"]), "folders": {f: sorted(map(pick, rows)) for f, rows in found["folders"].items()}}
    return found


def digest(found):
    if "error" in found:
        return found
    sha = lambda values: hashlib.sha256("\n".join(values).encode()).hexdigest()[:16]
    names = [name for name, _ in found["columns"]]

    def of_folder(rows):
        columns = zip(*rows, strict=True)
        return {"rows": len(rows), "row": sha(map(repr, rows)), "values": {n: sha(sorted(c)) for n, c in zip(names, columns, strict=True)}}

    return found | {"folders": {f: of_folder(rows) for f, rows in found["folders"].items()}}


if __name__ == "__main__":
    args = [a for a in sys.argv[1:] if a != "--rows"]
    whole = len(args) < len(sys.argv) - 1
    root = pathlib.Path(args[0]).resolve()
    if whole:
        for table in BUCKETS[args[1]][1]:
            if table.path in args[2:] or not args[2:]:
                for reader in table.readers:
                    print(f"== {table.path or '.'} by {reader}")
                    print(json.dumps(read(reader, root / args[1] / table.path, table), indent=1, ensure_ascii=False))
    else:
        names = args[1:] or [n for n in BUCKETS if (root / n).is_dir()]
        print(json.dumps({n: {t.path or ".": {r: digest(read(r, root / n / t.path, t)) for r in t.readers} for t in BUCKETS[n][1]} for n in names}))
    leave()
