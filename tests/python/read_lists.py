"""Reads symlink manifests again and again, as Hive's `SymlinkTextInputFormat` does, while passes work on the store and are killed.

    read_lists.py --table PATH_OR_URL --cutoff MICROS --copies DIR

Lists the partitions, reads each manifest, and then every file that it names: by DuckDB, Polars and pyarrow in turn. What must hold, for every look at a partition:

- every file that the manifest names is there until it was read;
- no row is there twice;
- a row that is not past its time and was seen once is seen in every later look.

When standard input ends it looks once more. Then the rows that are not past their time must be exactly those of the files in --copies, each once. Prints one line of
JSON and exits 0; or what is wrong, and exits 1.
"""

import argparse
import collections
import json
import os
import pathlib
import select
import sys
from urllib.parse import urlsplit

import boto3
import duckdb
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.fs as fs
import pyarrow.parquet as pq

from leave import leave
from read_table import storage_options

COLUMNS = ["event_id", "timestamp"]


class Table:
    """The folder of a table's manifests."""

    def __init__(self, place):
        self.files, self.is_s3 = fs.LocalFileSystem(), place.startswith("s3://")
        if self.is_s3:
            self.client = boto3.client("s3")
            endpoint = urlsplit(os.environ["AWS_ENDPOINT_URL"])
            self.files = fs.S3FileSystem(endpoint_override=endpoint.netloc, scheme=endpoint.scheme, request_timeout=60)
        self.place = self.path(place)

    def path(self, address):
        """What the file system calls the file of an address, in which nothing is escaped."""
        return address.removeprefix("s3://").removeprefix("file://")

    def partitions(self):
        """The manifests of each partition's folder."""
        found = {}
        for info in self.files.get_file_info(fs.FileSelector(self.place, recursive=True, allow_not_found=True)):
            below = info.path.removeprefix(self.place).strip("/")
            if info.type == fs.FileType.File and not any(name.startswith(("_", ".")) for name in below.split("/")):
                found.setdefault(below.rpartition("/")[0], []).append(info.path)
        return found

    def addresses(self, manifest):
        if self.is_s3:
            # In one request. pyarrow asks for the size first, and reads so many bytes of what may have been replaced since.
            bucket, _, key = manifest.partition("/")
            return self.client.get_object(Bucket=bucket, Key=key)["Body"].read().decode().splitlines()
        with self.files.open_input_stream(manifest) as stream:
            return stream.read().decode().splitlines()

    def pyarrow(self, addresses):
        return pa.concat_tables(pq.read_table(self.path(a), filesystem=self.files, columns=COLUMNS, partitioning=None) for a in addresses)

    def polars(self, addresses):
        options = storage_options() or None
        return pl.scan_parquet(addresses, storage_options=options, hive_partitioning=False).select(COLUMNS).collect().to_arrow()

    def duckdb(self, addresses):
        # It reads S3 with an extension that it downloads: not here.
        if self.is_s3:
            return self.pyarrow(addresses)
        paths = [self.path(a) for a in addresses]
        return duckdb.read_parquet(paths).project("event_id, timestamp").to_arrow_table()

    READERS = ("pyarrow", "polars", "duckdb")


class Book:
    """What was read so far."""

    def __init__(self, cutoff):
        self.cutoff, self.reads = cutoff, collections.Counter()
        self.rows = self.doubles = self.misses = 0
        self.seen, self.faults = {}, []

    def look(self, table, name):
        """Reads every partition; the rows that are not past their time."""
        found = set()
        for partition, manifests in sorted(table.partitions().items()):
            addresses = [a for m in manifests for a in table.addresses(m)]
            if not addresses:
                continue
            try:
                read = getattr(table, name)(addresses)
            except Exception as error:
                self.misses += 1
                self.faults.append(f"{name} cannot read {partition}: {error}")
                continue
            self.note(partition, name, read)
            found |= self.seen[partition]
        return found

    def note(self, partition, name, read):
        self.reads[name] += 1
        self.rows += read.num_rows
        ids = [str(i) for i in read["event_id"].to_pylist()]
        twice = [i for i, n in collections.Counter(ids).items() if n > 1]
        if twice:
            self.doubles += len(twice)
            self.faults.append(f"{partition} by {name}: {len(twice)} rows twice, as {twice[:3]}")
        times = pc.cast(pc.cast(read["timestamp"], pa.timestamp("us")), pa.int64()).to_pylist()
        kept = {i for i, at in zip(ids, times) if at >= self.cutoff}
        missing = self.seen.get(partition, set()) - kept
        if missing:
            self.misses += len(missing)
            self.faults.append(f"{partition} by {name}: {len(missing)} rows are missing that were there, as {sorted(missing)[:3]}")
        self.seen[partition] = kept


def main():
    parser = argparse.ArgumentParser()
    for name in ("--table", "--cutoff", "--copies"):
        parser.add_argument(name, required=True)
    arguments = parser.parse_args()
    table, book, turn = Table(arguments.table), Book(int(arguments.cutoff)), 0
    while not select.select([sys.stdin], [], [], 0)[0]:
        book.look(table, Table.READERS[turn % len(Table.READERS)])
        turn += 1
    expected = collections.Counter()
    for path in pathlib.Path(arguments.copies).glob("*.parquet"):
        copy = pq.read_table(path, columns=COLUMNS)
        at = pc.cast(pc.cast(copy["timestamp"], pa.timestamp("us")), pa.int64())
        expected.update(copy.filter(pc.greater_equal(at, book.cutoff))["event_id"].to_pylist())
    for name in Table.READERS:
        found = book.look(table, name)
        if found != set(expected):
            book.misses += len(set(expected) - found)
            book.faults.append(f"at the end {name} misses {len(set(expected) - found)} rows, and {len(found - set(expected))} are nobody's")
    if book.faults:
        print("\n".join(book.faults[:20]))
        return 1
    print(json.dumps({"looks": turn, "reads": book.reads, "rows": book.rows, "doubles": book.doubles, "misses": book.misses}))
    return 0


if __name__ == "__main__":
    leave(main())
