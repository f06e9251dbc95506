"""What services of AWS write."""

import json

import pyarrow as pa

from .common import HOUR, Table, bucket, days, events, files, files_of_day, put, stamps, times, uid

DATES = {"year": "int32", "month": "string", "day": "string", "hour": "string"}


def arrival(store, prefix, **options):
    for day, first in days(2):
        for hour in (0, 13):
            for n, table in enumerate(files(first + hour * 100, start=day + HOUR * hour, step=HOUR / 40, **options)):
                name = f"events-1-{day:%Y-%m-%d}-{hour:02}-{n * 5:02}-12-{uid(prefix, first, hour, n)}.parquet"
                put(store / f"{prefix}{day:%Y/%m/%d}/{hour:02}/{name}", table, use_deprecated_int96_timestamps=options.get("time") is None)


@bucket("firehose", Table("events", DATES))
def firehose(store):
    """Folders by arrival. Its serializer writes a Glue `timestamp` as INT96."""
    arrival(store, "events/")


@bucket("firehose_millis", Table("events", DATES))
def firehose_millis(store):
    arrival(store, "events/", time=pa.timestamp("ms"))


@bucket("firehose_text", Table("events", DATES))
def firehose_text(store):
    """The same where the Glue schema calls the time a `string`."""
    arrival(store, "events/", time="text")


@bucket("firehose_root", Table("", DATES))
def firehose_root(store):
    """Without a prefix: the year is the first folder."""
    arrival(store, "", time=pa.timestamp("ms"))


@bucket("firehose_dynamic", Table("events", "hive"))
def firehose_dynamic(store):
    """Dynamic partitioning, by a key of the record and by time."""
    for t, customer in enumerate(("acme", "globex")):
        for day, first in days(2):
            for n, table in enumerate(files_of_day(day, first + t * 500, time=pa.timestamp("ms"))):
                name = f"events-1-{day:%Y-%m-%d}-00-{n * 5:02}-12-{uid(customer, first, n)}.parquet"
                put(store / f"events/customer_id={customer}/dt={day:%Y-%m-%d}/{name}", table)


def flow(first, count=6, *, start, step, **_):
    at = times(first, count, start, step)
    text = lambda values: pa.array(values, pa.string())
    return pa.table(
        {
            "version": pa.array([2] * count, pa.int32()),
            "account_id": text(["123456789012"] * count),
            "interface_id": text([f"eni-{n % 3:08x}" for n in range(first, first + count)]),
            "srcaddr": text([f"10.0.{n % 4}.{n % 250}" for n in range(first, first + count)]),
            "dstport": pa.array([443 + n % 5 for n in range(first, first + count)], pa.int32()),
            "bytes": pa.array([n * 917 for n in range(first, first + count)], pa.int64()),
            "start": stamps(at, "s"),
            "end": stamps([a + HOUR / 60 for a in at], "s"),
            "action": text(["ACCEPT" if n % 3 else "REJECT" for n in range(first, first + count)]),
        }
    )


@bucket("vpc_flow_logs", Table("AWSLogs/123456789012/vpcflowlogs", {"region": "string", "year": "int32", "month": "string", "day": "string"}))
def flow_logs(store):
    for region in ("eu-west-1", "us-east-1"):
        for day, first in days(2):
            for n, table in enumerate(files_of_day(day, first, flow)):
                name = f"123456789012_vpcflowlogs_{region}_fl-0a1b2c3d_{day:%Y%m%d}T{n:02}00Z_{uid(region, first, n)[:8]}.log.parquet"
                put(store / f"AWSLogs/123456789012/vpcflowlogs/{region}/{day:%Y/%m/%d}/{name}", table, compression="gzip")


@bucket("vpc_flow_logs_hive", Table("AWSLogs", "hive"))
def flow_logs_hive(store):
    """Hive-compatible prefixes, by the hour."""
    for day, first in days(2):
        for n, table in enumerate(files(first, flow, start=day, step=HOUR / 40)):
            folder = f"AWSLogs/aws-account-id=123456789012/aws-service=vpcflowlogs/aws-region=eu-west-1/year={day:%Y}/month={day:%m}/day={day:%d}/hour=00"
            put(store / folder / f"123456789012_vpcflowlogs_eu-west-1_fl-0a1b2c3d_{day:%Y%m%d}T0{n}00Z_{uid(first, n)[:8]}.log.parquet", table, compression="gzip")


def ocsf(first, count=6, *, start, step, **_):
    table = events(first, count, time="ms", column="time", start=start, step=step)
    return table.select(["time", "event_id", "ok", "note", "geo"]).append_column("class_uid", pa.array([3002] * count, pa.int32()))


@bucket("security_lake", Table("ext/OKTA", "hive"), Table("ext/CROWDSTRIKE", "hive"))
def security_lake(store):
    """Custom sources side by side below `ext`: OCSF, epoch milliseconds, zstd."""
    for source in ("OKTA", "CROWDSTRIKE"):
        for day, first in days(2):
            for n, table in enumerate(files_of_day(day, first, ocsf)):
                put(store / f"ext/{source}/region=eu-west-1/accountId=123456789012/eventDay={day:%Y%m%d}/{uid(source, first, n)}.parquet", table, compression="zstd")


def usage(first, count=6, **options):
    table = events(first, count, time=pa.timestamp("ms"), column="line_item_usage_start_date", **options)
    return table.select(["event_id", "line_item_usage_start_date", "ratio", "note"]).rename_columns(
        ["identity_line_item_id", "line_item_usage_start_date", "line_item_unblended_cost", "product_region"]
    )


@bucket("cost_and_usage", Table("billing/cur2/data", "hive"))
def cost_and_usage(store):
    """Data Exports: chunks of a month, and beside them a manifest that names each of them."""
    for month, first in (("2025-12", 0), ("2026-01", 100)):
        made = []
        for n, table in enumerate(files(first, usage)):
            name = f"billing/cur2/data/BILLING_PERIOD={month}/cur2-{n + 1:05}.snappy.parquet"
            put(store / name, table)
            made.append(f"s3://bucket/{name}")
        manifest = store / f"billing/cur2/metadata/BILLING_PERIOD={month}/cur2-Manifest.json"
        manifest.parent.mkdir(parents=True)
        manifest.write_text(json.dumps({"version": "1.0", "dataFiles": made}))


@bucket("athena_ctas", Table("results/daily", "hive", suffix=""))
def athena_ctas(store):
    """`CREATE TABLE AS`: names without a suffix, and a list of them beside the folder."""
    for day, first in days(2):
        for n, table in enumerate(files_of_day(day, first, time=pa.timestamp("ms"))):
            put(store / f"results/daily/dt={day:%Y-%m-%d}/{day:%Y%m%d}_101010_{n:05}_abcde_{uid('ctas', first, n)}", table, compression="gzip")
