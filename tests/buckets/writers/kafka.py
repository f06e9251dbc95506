"""Kafka Connect and its like."""

import pyarrow as pa

from .common import START, HOUR, Table, bucket, days, events, files, files_of_day, put, uid

MILLIS = pa.timestamp("ms", "UTC")


def payments(first, count=6, **options):
    """Another topic: columns of the same names and other types."""
    table = events(first, count, **options)
    return table.set_column(0, "event_id", pa.array(range(first, first + count))).drop_columns(["geo", "tags"])


@bucket("kafka_confluent", Table("topics/orders", "hive"), Table("topics/payments", "hive"))
def confluent(store):
    """The S3 sink with its default partitioner: topic, Kafka partition, first offset."""
    for topic, make in (("orders", events), ("payments", payments)):
        for partition in range(2):
            for n, table in enumerate(files(partition * 1_000, make, time=MILLIS)):
                put(store / f"topics/{topic}/partition={partition}/{topic}+{partition}+{n * 6:010}.snappy.parquet", table)


def timed(store, time):
    for day, first in days(2):
        for hour in range(2):
            for n, table in enumerate(files(first + hour * 500, time=time, start=day + HOUR * 11 * hour, step=HOUR / 40)):
                name = f"orders+0+{first + hour * 500 + n:010}.snappy.parquet"
                put(store / f"topics/orders/year={day:%Y}/month={day:%m}/day={day:%d}/hour={11 * hour:02}/{name}", table)


@bucket("kafka_confluent_time", Table("topics/orders", "hive"))
def confluent_time(store):
    """Its TimeBasedPartitioner."""
    timed(store, MILLIS)


@bucket("kafka_confluent_epoch", Table("topics/orders", "hive"))
def confluent_epoch(store):
    """The same, and a time that is a plain long."""
    timed(store, "ms")


def aiven_rows(first, count=6, **options):
    table = events(first, count, time=MILLIS, **options)
    return pa.table(
        {
            "key": [f"key-{n % 4}" for n in range(first, first + count)],
            "offset": pa.array(range(first, first + count), pa.int64()),
            "timestamp": table["timestamp"],
            "headers": pa.array([[("trace", uid(n).encode())] for n in range(first, first + count)], pa.map_(pa.string(), pa.binary())),
            "value": pa.StructArray.from_arrays([table[c].combine_chunks() for c in ("event_id", "amount", "geo")], ["event_id", "amount", "geo"]),
        }
    )


@bucket("kafka_aiven", Table("ingest"))
def aiven(store):
    """Flat below a prefix: topic, partition, first offset."""
    for partition in range(2):
        for n, table in enumerate(files(partition * 1_000, aiven_rows)):
            put(store / f"ingest/orders-{partition}-{n * 6:020}.parquet", table)


@bucket("kafka_aiven_root", Table(""))
def aiven_root(store):
    """Without a prefix: all files lie in the root of the bucket."""
    for n, table in enumerate(files(0, aiven_rows)):
        put(store / f"orders-0-{n * 6:020}.parquet", table)


@bucket("redpanda_connect", Table("events"))
def redpanda(store):
    """`aws_s3` with a count and a time in its path, after `parquet_encode`: uncompressed, nanoseconds, texts by their lengths' deltas."""
    texts = {c: "DELTA_LENGTH_BYTE_ARRAY" for c in ("event_id", "note")}
    for n, table in enumerate(files(0, time=pa.timestamp("ns", "UTC"))):
        name = f"events/{n + 1}-{int(START.timestamp()) + n}000000000.parquet"
        put(store / name, table, compression="none", use_dictionary=False, column_encoding=texts)
