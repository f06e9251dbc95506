"""Writes the Spark buckets beside this script, with pyspark 4.0.1 and a Java. It was run once; the tests copy what it left.

    python make.py [NAME …]

`staging` of a job that is at work is what Spark's committer leaves while it is: files of finished tasks, moved into `_temporary`.
"""

import datetime
import decimal
import pathlib
import shutil
import sys

from pyspark.sql import SparkSession, functions as F, types as T

HERE = pathlib.Path(__file__).resolve().parent
UTC = datetime.timezone.utc
START = datetime.datetime(2026, 1, 1, tzinfo=UTC)


def session(int96):
    kind = "INT96" if int96 else "TIMESTAMP_MICROS"
    spark = (
        SparkSession.builder.master("local[1]")
        .config("spark.sql.session.timeZone", "UTC")
        .config("spark.sql.parquet.outputTimestampType", kind)
        .config("spark.sql.shuffle.partitions", "1")
        .config("spark.ui.enabled", "false")
        .config("spark.sql.warehouse.dir", (HERE / "bucketed" / "warehouse").as_uri())
        .getOrCreate()
    )
    spark.conf.set("spark.sql.parquet.outputTimestampType", kind)
    return spark


def rows(first, count):
    return [
        (
            n,
            START + datetime.timedelta(minutes=47 * n, microseconds=n),
            START + datetime.timedelta(minutes=13 * n),
            decimal.Decimal(n * 101).scaleb(-2),
            datetime.date(2026, 1, 1 + n % 28),
            None if n % 5 == 0 else f"text {n} ä",
            {"page": n % 7, "from": [f"r{n % 3}"]},
        )
        for n in range(first, first + count)
    ]


SCHEMA = T.StructType(
    [
        T.StructField("id", T.LongType()),
        T.StructField("timestamp", T.TimestampType()),
        T.StructField("local_time", T.TimestampNTZType()),
        T.StructField("amount", T.DecimalType(12, 2)),
        T.StructField("day", T.DateType()),
        T.StructField("note", T.StringType()),
        T.StructField("view", T.StructType([T.StructField("page", T.IntegerType()), T.StructField("from", T.ArrayType(T.StringType()))])),
    ]
)


def frame(spark, first, count):
    zoneless = [(a, b, c.replace(tzinfo=None), d, e, f, g) for a, b, c, d, e, f, g in rows(first, count)]
    return spark.createDataFrame(zoneless, SCHEMA).coalesce(1)


def append(data, where, *keys):
    data.write.mode("append").partitionBy(*keys).parquet(str(where))


def micros():
    """Escaped values, a null partition, staging of a job that is at work."""
    spark, where = session(False), HERE / "micros" / "events" / "visits"
    for batch in range(5):
        data = frame(spark, batch * 9, 9).withColumn("ts", F.expr("date_trunc('DAY', timestamp)")).withColumn(
            "kind", F.when(F.col("id") % 3 == 0, F.lit("a b/c%d=e")).when(F.col("id") % 3 == 1, F.lit("plain"))
        )
        append(data.where("day(ts) = 1"), where, "ts", "kind")
    staged = where / "_temporary" / "0" / "task_202601020000000000_0001_m_000000" / "ts=2026-01-01 00%3A00%3A00" / "kind=plain"
    staged.mkdir(parents=True)
    for part in (where / "ts=2026-01-01 00%3A00%3A00" / "kind=plain").glob("part-*.parquet"):
        shutil.copy(part, staged / part.name)
    (where / "_temporary" / "0" / "_temporary").mkdir(parents=True)
    (where / "_temporary" / "0" / "_temporary" / ".keep").touch()


def int96():
    """What Spark wrote before it had `outputTimestampType`, and still does for Hive."""
    spark, where = session(True), HERE / "int96" / "events" / "clicks"
    for batch in range(5):
        append(frame(spark, batch * 8, 8).withColumn("month", F.expr("month(timestamp)")).withColumn("bucket", F.expr("id % 2")), where, "month", "bucket")


def stream():
    """The sink of a streaming query: its `_spark_metadata` alone says which files count."""
    spark = session(False)
    source, where = HERE / "stream-in", HERE / "stream" / "events" / "sink"
    frame(spark, 0, 12).write.parquet(str(source))
    query = (
        spark.readStream.schema(SCHEMA)
        .parquet(str(source))
        .writeStream.format("parquet")
        .option("checkpointLocation", str(HERE / "stream-state"))
        .option("path", str(where))
        .trigger(availableNow=True)
        .start()
    )
    query.awaitTermination()
    shutil.rmtree(source)
    shutil.rmtree(HERE / "stream-state")
    # It names its files by where they lay.
    log = where / "_spark_metadata" / "0"
    log.write_text(log.read_text().replace(where.as_uri(), "file:///bucket/events/sink"))
    log.with_name(".0.crc").unlink()


def bucketed():
    """`bucketBy`: the end of a file's name says its bucket, and Spark fails where it does not."""
    for batch in range(3):
        frame(session(False), batch * 8, 8).write.mode("append").bucketBy(2, "id").sortBy("id").saveAsTable("visits")


if __name__ == "__main__":
    for make in (micros, int96, stream, bucketed):
        if make.__name__ in (sys.argv[1:] or ["micros", "int96", "stream", "bucketed"]):
            shutil.rmtree(HERE / make.__name__, ignore_errors=True)
            make()
