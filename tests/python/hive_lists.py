"""Reads symlink manifests by Hive's own `SymlinkTextInputFormat`, which comes with PySpark, while passes work on the store.

    hive_lists.py PATH_OF_THE_MANIFESTS LOOKS ROWS

Hive's class says which files a partition has; pyarrow reads them. In each look every file must be there, no event twice, and ROWS of them of November 2026. Prints one
line of JSON.
"""

import collections
import json
import pathlib
import sys
from datetime import datetime, timezone

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pyspark.sql import SparkSession

from leave import leave

SINCE = datetime(2026, 11, 1, tzinfo=timezone.utc)


class Hive:
    """The input format, in the virtual machine of Spark."""

    def __init__(self):
        spark = SparkSession.builder.master("local[1]").config("spark.ui.enabled", "false").getOrCreate()
        self.jvm, self.hadoop = spark._jvm, spark._jsc.hadoopConfiguration()

    def files(self, folder):
        mapred = self.jvm.org.apache.hadoop.mapred
        job = mapred.JobConf(self.hadoop)
        mapred.FileInputFormat.setInputPaths(job, f"file:{folder}")
        splits = self.jvm.org.apache.hadoop.hive.ql.io.SymlinkTextInputFormat().getSplits(job, 1)
        return sorted({split.getTargetSplit().getPath().toString() for split in splits})


def look(hive, place, rows):
    """One look at every partition: how many rows were read."""
    events, seen = [], 0
    for manifest in sorted(place.rglob("manifest")):
        for file in hive.files(manifest.parent):
            # Hadoop's paths escape nothing.
            read = pq.read_table(file.removeprefix("file:"), partitioning=None)
            seen += read.num_rows
            events += read.filter(pc.greater_equal(read["timestamp"], pa.scalar(SINCE, read["timestamp"].type)))["event_id"].to_pylist()
    twice = [e for e, n in collections.Counter(events).items() if n > 1]
    if twice or len(events) != rows:
        raise SystemExit(f"Hive's format finds {len(events)} rows of November, {rows} are there; twice: {twice[:3]}")
    return seen


def main():
    place, looks, rows = pathlib.Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    hive = Hive()
    seen = sum(look(hive, place, rows) for _ in range(looks))
    print(json.dumps({"looks": looks, "rows": seen}))
    return 0


if __name__ == "__main__":
    leave(main())
