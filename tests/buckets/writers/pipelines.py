"""Log shippers, pipelines and replication."""

import os

import pyarrow as pa

from .common import START, HOUR, ROWS, Table, bucket, days, events, files, files_of_day, put, uid

MICROS = pa.timestamp("us", "UTC")


@bucket("vector", Table("logs", "hive", readers=("duckdb",), drift=True))
def vector(store):
    """The schema is that of each batch: a column less, an integer that is a double, and in one batch a time that is text."""
    for app in ("api", "web"):
        for day, first in days(2):
            tables = files_of_day(day, first, time=MICROS)
            if app == "web":
                tables[3] = files_of_day(day, first, time="text")[3]
            for n, table in enumerate(tables):
                if n == 1:
                    table = table.drop_columns(["note"])
                if n == 2:
                    table = table.set_column(2, "user_id", table["user_id"].cast(pa.float64()))
                put(store / f"logs/application_id={app}/date={day:%Y-%m-%d}/{int(day.timestamp()) + n}-{uid(app, first, n)}.parquet", table, compression="zstd")


@bucket("vector_tenants", Table("", "hive"))
def vector_tenants(store):
    """The application is the first folder."""
    for app in ("api", "web"):
        for day, first in days(2):
            for n, table in enumerate(files_of_day(day, first, time=MICROS)):
                put(store / f"application_id={app}/date={day:%Y-%m-%d}/{int(day.timestamp()) + n}-{uid(app, first, n)}.parquet", table)


@bucket("vector_default_prefix", Table(""))
def vector_default(store):
    """The default `key_prefix` has no slash at its end: no folder, only names that look like one."""
    for day, first in days(2):
        for n, table in enumerate(files_of_day(day, first, time=MICROS)):
            put(store / f"date={day:%Y-%m-%d}{int(day.timestamp()) + n}-{uid('vector', first, n)}.parquet", table)


def fluent(store, time, suffix):
    for day, first in days(2):
        for n, table in enumerate(files(first, time=time, start=day, step=HOUR / 40)):
            put(store / f"logs/dt={day:%Y-%m-%d}/h=00/{uid('fluent', first, n)}{suffix}", table)


@bucket("fluent_bit", Table("logs", "hive"))
def fluent_bit(store):
    """The time is a double: seconds since 1970."""
    fluent(store, "double", ".parquet")


@bucket("fluent_bit_no_suffix", Table("logs", "hive", suffix=""))
def fluent_bit_no_suffix(store):
    fluent(store, "text", "")


@bucket("cloudflare_pipelines", Table("analytics/clicks", "hive"), Table("analytics/views", "hive"))
def cloudflare(store):
    """Streams side by side."""
    for stream in ("clicks", "views"):
        for day, first in days(2):
            for n, table in enumerate(files_of_day(day, first, time=pa.timestamp("ms", "UTC"))):
                table = table if stream == "clicks" else table.drop_columns(["amount"]).append_column("amount", pa.array([str(i) for i in range(ROWS)]))
                put(store / f"analytics/{stream}/year={day:%Y}/month={day:%m}/day={day:%d}/{uid(stream, first, n)}.parquet", table, compression="zstd")


@bucket("dms", Table("shop/orders", {"year": "int32", "month": "string", "day": "string"}), Table("shop/customers"))
def dms(store):
    """Tables of a schema side by side: changes by their day, and a full load. Of the customers no column says a time."""
    for day, first in days(2):
        for n, table in enumerate(files_of_day(day, first, time=pa.timestamp("us"))):
            table = table.add_column(0, "Op", pa.array(["I", "U", "D"] * 2))
            put(store / f"shop/orders/{day:%Y/%m/%d}/{day:%Y%m%d}-{n:02}0512345.parquet", table, compression="none", data_page_version="2.0")
    for n, table in enumerate(files(0)):
        put(store / f"shop/customers/LOAD{n + 1:08X}.parquet", table.select(["user_id", "note", "born"]), compression="none")


@bucket("airbyte", Table("sync/public/orders"), Table("sync/public/users"))
def airbyte(store):
    for stream in ("orders", "users"):
        for n, table in enumerate(files(0, time=pa.timestamp("ms", "UTC"), column="_airbyte_extracted_at")):
            raw = pa.array([uid(stream, n, i) for i in range(ROWS)])
            table = table.drop_columns(["geo"] if stream == "users" else []).add_column(0, "_airbyte_raw_id", raw)
            put(store / f"sync/public/{stream}/2026_01_01_{int(START.timestamp()) + n}000_{n}.parquet", table, compression="none")


@bucket("dates_before_tenants", Table("", "hive"))
def dates_before_tenants(store):
    """A day's folder first, then the tenant's."""
    for day, first in days(2):
        for t, tenant in enumerate(("acme", "globex")):
            for n, table in enumerate(files_of_day(day, first + t * 500)):
                put(store / f"dt={day:%Y-%m-%d}/tenant={tenant}/{uid(tenant, first, n)}.parquet", table)


@bucket("months_old", Table("large", "hive"), Table("lone", "hive"))
def months_old(store):
    """What is as it should be and is old: large files (the test says what is large), and a small one alone in each folder."""
    for day, first in days(2):
        tables = files_of_day(day, first)
        for n, table in enumerate(tables[:3]):
            put(store / f"large/dt={day:%Y-%m-%d}/{n}.parquet", table)
        put(store / f"lone/dt={day:%Y-%m-%d}/0.parquet", tables[0].slice(0, 2).select(["event_id", "timestamp"]))
    for path in store.rglob("*.parquet"):
        os.utime(path, (START.timestamp(), START.timestamp()))
