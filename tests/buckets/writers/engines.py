"""Engines and libraries, each written by itself; Spark's were written before, by `spark/make.py`. Hive's, Trino's and Flink's are imitations."""

import pathlib
import random
import shutil

import dask.dataframe as dd
import duckdb
import fastparquet
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq

from .common import START, HOUR, ROWS, Table, bucket, days, events, files, files_of_day, put, uid

SPARK = pathlib.Path(__file__).resolve().parents[1] / "spark"


@bucket("spark", Table("events/visits", "hive"))
def spark(store):
    """Escaped values, a null partition, `.crc` files and the staging of a job that is at work."""
    shutil.copytree(SPARK / "micros", store, dirs_exist_ok=True)


@bucket("spark_int96", Table("events/clicks", "hive"))
def spark_int96(store):
    shutil.copytree(SPARK / "int96", store, dirs_exist_ok=True)


@bucket("spark_bucketed", Table("warehouse/visits", readers=("duckdb", "pyarrow", "polars", "spark_buckets")))
def spark_bucketed(store):
    """A bucketed table: names of files say the bucket."""
    shutil.copytree(SPARK / "bucketed", store, dirs_exist_ok=True)


@bucket("spark_stream", Table("events/sink"))
def spark_stream(store):
    """A streaming sink: its log says which files count."""
    shutil.copytree(SPARK / "stream", store, dirs_exist_ok=True)


def named(store, folder, name):
    for day, first in days(2):
        for n, table in enumerate(files_of_day(day, first, time=pa.timestamp("ms"))):
            put(store / folder / f"dt={day:%Y-%m-%d}" / name(day, first, n), table)


@bucket("hive", Table("warehouse/visits", "hive", suffix=""))
def hive(store):
    named(store, "warehouse/visits", lambda _day, _first, n: f"{n:06}_0")
    staging = store / "warehouse/visits/.hive-staging_hive_2026-01-01_00-00-00_000_1/-ext-10000"
    put(staging / "000000_0", events(0))


@bucket("trino", Table("warehouse/visits", "hive", suffix=""))
def trino(store):
    named(store, "warehouse/visits", lambda day, first, n: f"{day:%Y%m%d}_0000{n:02}_00001_abcde_{uid('trino', first, n)}")


@bucket("flink", Table("warehouse/visits", "hive", suffix=""))
def flink(store):
    """Finished parts, and one that is in progress."""
    named(store, "warehouse/visits", lambda _day, first, n: f"part-{uid('flink', first // 100)}-0-{n}")
    progress = store / f"warehouse/visits/dt=2026-01-01/.part-{uid('flink', 0)}-0-9.inprogress.{uid('progress')}"
    progress.write_bytes(b"PAR1 not done")


@bucket("pyarrow", Table("events/visits", "hive"))
def pyarrow(store):
    """Values that must be escaped, a null partition, nanoseconds in a zone, nullability and metadata of the schema's own."""
    for n, table in enumerate(files(0, time=pa.timestamp("ns", "Europe/Berlin"))):
        # Five rows of each folder in each file.
        table = pa.concat_tables([table] * 3).append_column("kind", pa.array(["a b/ü=%", None, "c"] * ROWS)).append_column("shard", pa.array([n % 2] * 3 * ROWS, pa.int32()))
        ids = pa.array([uid(n, i) for i in range(3 * ROWS)])
        fields = [f.with_nullable(f.name != "event_id").with_metadata({"comment": f.name}) for f in table.schema]
        table = table.set_column(0, "event_id", ids).cast(pa.schema(fields, {"owner": "team a"}))
        for part in range(3):
            ds.write_dataset(
                table.slice(part * ROWS, ROWS),
                store / "events/visits",
                format="parquet",
                partitioning=ds.partitioning(pa.schema([("kind", pa.string()), ("shard", pa.int32())]), flavor="hive"),
                basename_template=f"part-{n}-{part}-{{i}}.parquet",
                existing_data_behavior="overwrite_or_ignore",
            )


@bucket("pyarrow_folders", Table("events", {"year": "int32", "month": "int32"}))
def pyarrow_folders(store):
    """Folders that are values without keys."""
    for n, table in enumerate(files(0)):
        table = table.append_column("year", pa.array([2026] * ROWS, pa.int32())).append_column("month", pa.array([i % 2 + 1 for i in range(ROWS)], pa.int32()))
        ds.write_dataset(
            table,
            store / "events",
            format="parquet",
            partitioning=ds.partitioning(pa.schema([("year", pa.int32()), ("month", pa.int32())])),
            basename_template=f"part-{n}-{{i}}.parquet",
            existing_data_behavior="overwrite_or_ignore",
        )


@bucket("pyarrow_metadata", Table("events/visits", readers=("duckdb", "pyarrow", "polars", "pyarrow_metadata")))
def pyarrow_metadata(store):
    """With `_metadata`, which names each file of the folder, and `_common_metadata`."""
    where, found = store / "events/visits", []
    for n, table in enumerate(files(0)):
        put(where / f"part-{n}.parquet", table, metadata_collector=found)
        found[-1].set_file_path(f"part-{n}.parquet")
    pq.write_metadata(table.schema, where / "_common_metadata")
    pq.write_metadata(table.schema, where / "_metadata", found)


def frame(table):
    """Without what pandas types batch by batch: decimals by their values, integers by whether one is missing."""
    return table.drop_columns(["tags", "geo", "amount", "user_id"]).to_pandas()


@bucket("pandas", Table("events/visits", "hive", readers=("duckdb", "pyarrow", "polars", "pandas")))
def pandas(store):
    """`to_parquet(partition_cols=…)`: names by chance, an index, a category."""
    for n, table in enumerate(files(0, time=pa.timestamp("ns", "UTC"))):
        data = frame(table)
        data["country"] = ["de", "fr", "de"] * 2
        data["level"] = pd.Categorical(["low", "high"] * 3)
        data = data.set_index("event_id")
        data.to_parquet(store / "events/visits", partition_cols=["country"], basename_template=f"{uid('pandas', n).replace('-', '')}-{{i}}.parquet")


@bucket("pandas_flat", Table("events/visits", readers=("duckdb", "pyarrow", "polars", "pandas")))
def pandas_flat(store):
    """Its default index is a range that the file's metadata says, not a column."""
    (store / "events/visits").mkdir(parents=True)
    for n, table in enumerate(files(0, time=pa.timestamp("ns"))):
        frame(table).to_parquet(store / f"events/visits/batch_{n}.parquet")


@bucket("polars", Table("events/visits", "hive", readers=("duckdb", "polars")))
def polars(store):
    """The key is in the files too, which pyarrow does not read beside a folder of that name."""
    data = pl.from_arrow(pa.concat_tables(files(0)))
    n = len(data)
    data = data.with_columns(country=pl.Series(["de", "fr", "é t"] * (n // 3)), small=pl.Series(range(n), dtype=pl.UInt16), waited=pl.duration(seconds=pl.lit(5)))
    data.write_parquet(pl.PartitionBy(store / "events/visits", key="country", max_rows_per_file=2), mkdir=True)


@bucket("duckdb", Table("events/visits", "hive"))
def duckdb_copy(store):
    """`COPY … PARTITION_BY`, appended to: its own types, and months without a zero."""
    (store / "events").mkdir()
    db = duckdb.connect()
    db.execute("SET TimeZone='UTC'; SET threads=1")
    for n, table in enumerate(files(0)):
        db.register("batch", table)
        db.execute(
            f"""COPY (SELECT *, uuid_of.u, timestamp::TIMESTAMPTZ AS zoned, timestamp::TIMESTAMP_NS AS nanos, '{{"a": 1}}'::JSON AS doc,
                     TIME '01:02:03.000004' AS clock, user_id::UTINYINT & 7 AS tiny, ['a', NULL]::VARCHAR[] AS list, MAP {{'k': 1}} AS map, ratio::FLOAT AS single,
                     year(timestamp) AS year, month(timestamp) AS month, ['de', 'f r'][1 + user_id % 2] AS country
                FROM (SELECT * REPLACE (coalesce(user_id, 0) % 100 AS user_id) FROM batch) t, LATERAL (SELECT t.event_id::UUID AS u) uuid_of)
                TO '{store}/events/visits' (FORMAT parquet, PARTITION_BY (year, month, country), OVERWRITE_OR_IGNORE, FILENAME_PATTERN 'data_{n}_{{i}}')"""
        )


@bucket("tailpipe", Table("lake", "hive"))
def tailpipe(store):
    """DuckDB's writer again, and a folder for each of table, partition, index and day."""
    for day, first in days(2):
        for n, table in enumerate(files_of_day(day, first, time=pa.timestamp("us"), column="tp_timestamp")):
            folder = store / f"lake/tp_table=nginx_access_log/tp_partition=dev/tp_index=default/tp_date={day:%Y-%m-%d}"
            folder.mkdir(parents=True, exist_ok=True)
            duckdb.from_arrow(table).write_parquet(str(folder / f"data_20260101{n:06}_0.parquet"))


@bucket("fastparquet", Table("events/visits", "hive", readers=("duckdb", "pyarrow", "polars", "fastparquet")))
def fastparquet_hive(store):
    """`file_scheme="hive"`: `_metadata` names each file."""
    (store / "events").mkdir()
    for n, table in enumerate(files(0)):
        data = frame(table).drop(columns=["born"])
        data["country"] = ["de", "fr", "de"] * 2
        fastparquet.write(str(store / "events/visits"), data, file_scheme="hive", partition_on=["country"], append=n > 0, write_index=False)


@bucket("dask", Table("events/visits", "hive", readers=("duckdb", "pyarrow", "polars", "dask")))
def dask(store):
    (store / "events").mkdir()
    data = pd.concat([frame(t).assign(country=["de", "fr", "de"] * 2) for t in files(0)], ignore_index=True)
    dd.from_pandas(data, npartitions=5, sort=False).to_parquet(str(store / "events/visits"), partition_on=["country"], write_index=False, compute_kwargs={"scheduler": "sync"})
