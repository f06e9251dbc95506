"""One tool, one job, in a process of its own: prints wall and CPU seconds of the job alone, without what it takes to start Python.

Each is used as its own documentation says, with zstd and otherwise its defaults.
"""

import json
import os
import pathlib
import resource
import sys
import time


def files(source):
    return sorted(str(p) for p in pathlib.Path(source).rglob("*.parquet"))


def polars_sort(source, out):
    import polars as pl

    return lambda: pl.scan_parquet(files(source)).sort("timestamp").sink_parquet(f"{out}/out.parquet", compression="zstd", mkdir=True)


def polars_concat(source, out):
    import polars as pl

    return lambda: pl.scan_parquet(files(source)).sink_parquet(f"{out}/out.parquet", compression="zstd", mkdir=True)


def duckdb_copy(source, out, order):
    import duckdb

    pathlib.Path(out).mkdir(parents=True)
    connection = duckdb.connect()
    names = ", ".join(f"'{f}'" for f in files(source))
    query = f"COPY (SELECT * FROM read_parquet([{names}]) {order}) TO '{out}/out.parquet' (FORMAT parquet, COMPRESSION zstd)"
    return lambda: connection.execute(query)


def delta_table(source):
    """A table over the files where they lie. Delta has no unsigned numbers: the log calls `version` a long."""
    from deltalake import DeltaTable, convert_to_deltalake

    convert_to_deltalake(source)
    return DeltaTable(source)


def delta_optimize(source, out, zorder, target=128 << 20):
    from deltalake import WriterProperties

    del out
    table = delta_table(source)
    properties = WriterProperties(compression="ZSTD")
    if zorder:
        return lambda: table.optimize.z_order(["timestamp"], target_size=target, writer_properties=properties)
    return lambda: table.optimize.compact(target_size=target, writer_properties=properties)


def copy(source, out):
    import shutil

    def work():
        pathlib.Path(out).mkdir(parents=True)
        for i, name in enumerate(files(source)):
            shutil.copyfile(name, f"{out}/{i}.parquet")

    return work


def polars_s3(source, out):
    import polars as pl

    options = {"aws_endpoint_url": os.environ["AWS_ENDPOINT_URL"], "aws_allow_http": "true"}
    scan = pl.scan_parquet(f"s3://{source}/**/*.parquet", storage_options=options)
    return lambda: scan.sort("timestamp").sink_parquet(f"s3://{out}/out.parquet", compression="zstd", storage_options=options)


def pyarrow_s3(source, out):
    """Its files are read and sorted as one table: a data set has no sort that spills."""
    import pyarrow.dataset as ds
    import pyarrow.parquet as pq
    from pyarrow import fs

    store = fs.S3FileSystem(endpoint_override=os.environ["AWS_ENDPOINT_URL"])

    def work():
        table = ds.dataset(source, format="parquet", filesystem=store).to_table().sort_by("timestamp")
        pq.write_table(table, f"{out}/out.parquet", filesystem=store, compression="zstd")

    return work


def duckdb_s3(source, out):
    import duckdb
    import duckdb_extension_httpfs

    own = pathlib.Path(duckdb_extension_httpfs.__file__).parent
    connection = duckdb.connect(config={"autoinstall_known_extensions": "false"})
    connection.execute(f"LOAD '{next(own.rglob('*.duckdb_extension'))}'")
    at = os.environ["AWS_ENDPOINT_URL"].removeprefix("http://")
    key, secret = os.environ["AWS_ACCESS_KEY_ID"], os.environ["AWS_SECRET_ACCESS_KEY"]
    connection.execute(f"CREATE SECRET (TYPE s3, KEY_ID '{key}', SECRET '{secret}', REGION 'us-east-1', ENDPOINT '{at}', URL_STYLE 'path', USE_SSL false)")
    query = f"COPY (SELECT * FROM read_parquet('s3://{source}/**/*.parquet') ORDER BY timestamp) TO 's3://{out}/out.parquet' (FORMAT parquet, COMPRESSION zstd)"
    return lambda: connection.execute(query)


JOBS = {
    "polars-s3": polars_s3,
    "pyarrow-s3": pyarrow_s3,
    "duckdb-s3": duckdb_s3,
    "polars": polars_sort,
    "polars-concat": polars_concat,
    "duckdb": lambda s, o: duckdb_copy(s, o, "ORDER BY timestamp"),
    "duckdb-concat": lambda s, o: duckdb_copy(s, o, ""),
    "delta-compact": lambda s, o: delta_optimize(s, o, zorder=False),
    "delta-concat": lambda s, o: delta_optimize(s, o, zorder=False, target=4 << 30),
    "delta-zorder": lambda s, o: delta_optimize(s, o, zorder=True),
    "copy": copy,
}


def main():
    name, source, out = sys.argv[1:]
    job = JOBS[name](source, out)
    before, start = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter()
    job()
    wall, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_SELF)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    print(json.dumps({"wall": wall, "cpu": cpu}))


if __name__ == "__main__":
    main()
