"""Reads a published Delta table again and again, with readers that nobody here wrote, while passes work on it and are killed.

    read_table.py --table PATH_OR_URL --cutoff MICROS --copies DIR --live COMMAND…

Reads every version there is, each with delta-rs and with another reader, until standard input ends. Then it reads all versions once more (time travel), and
asks delta-rs what it thinks of the table. What must hold, for every version:

- no row is there twice;
- a row that is not past its time is in every version after the first that it is in;
- every version that there ever was can still be read: the test keeps files for longer than it lasts.

And at the end:

- the rows that are not past their time are exactly those of the files in --copies, each once;
- a dry run of vacuum finds no file that COMMAND (`icepack ls`) prints, and a dry run of repair finds none that is missing.

Prints one line of JSON and exits 0; or what is wrong, and exits 1.
"""

import argparse
import collections
import json
import os
import pathlib
import select
import subprocess
import sys

import datafusion
import duckdb
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from deltalake import DeltaTable, QueryBuilder
from deltalake.exceptions import TableNotFoundError

from leave import leave

COLUMNS = ["event_id", "timestamp"]


def storage_options():
    """For a table on S3, from the variables that the job has."""
    options = {name: os.environ[name] for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_REGION", "AWS_ENDPOINT_URL") if name in os.environ}
    return options | {"AWS_ALLOW_HTTP": "true", "AWS_VIRTUAL_HOSTED_STYLE_REQUEST": "false"} if options else {}


class Readers:
    """Each gives the rows of a version as an Arrow table."""

    def __init__(self, table, options):
        self.table, self.options = table, options

    def open(self, version=None):
        return DeltaTable(self.table, version=version, storage_options=self.options)

    def delta_rs(self, version):
        return self.open(version).to_pyarrow_table(columns=COLUMNS)

    def delta_rs_sql(self, version):
        found = QueryBuilder().register("events", self.open(version)).execute("SELECT event_id, timestamp FROM events")
        return pa.table(found.read_all() if hasattr(found, "read_all") else found)

    def polars(self, version):
        scan = pl.scan_delta(self.table, version=version, storage_options=self.options or None)
        return scan.select(COLUMNS).collect().to_arrow()

    def duckdb(self, version):
        events = self.open(version).to_pyarrow_dataset()  # noqa: F841: DuckDB finds it by its name
        return duckdb.sql("SELECT event_id, timestamp FROM events").to_arrow_table()

    def datafusion(self, version):
        context = datafusion.SessionContext()
        context.register_dataset("events", self.open(version).to_pyarrow_dataset())
        return context.sql("SELECT event_id, timestamp FROM events").to_arrow_table()

    OTHERS = ("delta_rs_sql", "polars", "duckdb", "datafusion")


class Book:
    """What was read so far."""

    def __init__(self, cutoff):
        self.cutoff = cutoff
        self.reads = collections.Counter()
        self.rows = self.doubles = self.misses = 0
        self.versions = {}
        self.faults = []

    def note(self, version, name, table):
        self.reads[name] += 1
        self.rows += table.num_rows
        ids = table["event_id"].to_pylist()
        seen = collections.Counter(ids)
        twice = [i for i, n in seen.items() if n > 1]
        if twice:
            self.doubles += len(twice)
            self.faults.append(f"version {version} by {name}: {len(twice)} rows twice, as {twice[:3]}")
        times = pc.cast(pc.cast(table["timestamp"], pa.timestamp("us")), pa.int64()).to_pylist()
        kept = frozenset(i for i, at in zip(ids, times) if at >= self.cutoff)
        before = self.versions.setdefault(version, (frozenset(seen), kept))
        if before[0] != frozenset(seen):
            self.faults.append(f"version {version} by {name}: other rows than before ({len(seen)}, {len(before[0])})")
        older = [v for v in self.versions if v < version]
        if older:
            missing = self.versions[max(older)][1] - kept
            if missing:
                self.misses += len(missing)
                self.faults.append(f"version {version} by {name}: {len(missing)} rows of version {max(older)} are missing, as {sorted(missing)[:3]}")


def stopped():
    return bool(select.select([sys.stdin], [], [], 0)[0])


def follow(readers, book):
    """Reads each new version with two readers, and old ones between, until it is told to stop."""
    turn = 0
    while not stopped():
        try:
            newest = readers.open().version()
        except TableNotFoundError:
            select.select([sys.stdin], [], [], 0.1)
            continue
        new = [v for v in range(newest + 1) if v not in book.versions]
        for version in new or [turn % (newest + 1)]:
            other = Readers.OTHERS[turn % len(Readers.OTHERS)]
            for name in ("delta_rs", other):
                book.note(version, name, getattr(readers, name)(version))
            turn += 1
        turn += not new


def finish(readers, book, arguments):
    newest = readers.open().version()
    for version in range(newest + 1):
        for name in ("delta_rs", "polars"):
            book.note(version, name, getattr(readers, name)(version))
    for name in Readers.OTHERS:
        book.note(newest, name, getattr(readers, name)(newest))

    expected = collections.Counter()
    for path in sorted(pathlib.Path(arguments.copies).glob("*.parquet")):
        table = pq.read_table(path, columns=COLUMNS)
        at = pc.cast(pc.cast(table["timestamp"], pa.timestamp("us")), pa.int64())
        expected.update(table.filter(pc.greater_equal(at, arguments.cutoff))["event_id"].to_pylist())
    kept = book.versions[newest][1]
    if kept != frozenset(expected):
        lost, strange = frozenset(expected) - kept, kept - frozenset(expected)
        book.misses += len(lost)
        book.faults.append(f"at the end {len(lost)} rows are missing and {len(strange)} are nobody's")

    table = readers.open()
    live = subprocess.run(arguments.live, check=True, capture_output=True, text=True).stdout.splitlines()
    doomed = table.vacuum(retention_hours=0, dry_run=True, enforce_retention_duration=False)
    for path in doomed:
        if any(key.endswith(path) for key in live):
            book.faults.append(f"vacuum would delete {path}, which is live")
    repair = table.repair(dry_run=True)
    if repair["files_removed"]:
        book.faults.append(f"repair finds missing files: {repair}")
    named = {uri.rsplit("/", 1)[-1] for uri in table.file_uris()}
    if named != {key.rsplit("/", 1)[-1] for key in live}:
        book.faults.append("the table's files are not the live ones")
    counted = sum(json.loads(a)["numRecords"] for a in stats(table))
    if counted != len(book.versions[newest][0]):
        book.faults.append(f"statistics tell of {counted} rows, and there are {len(book.versions[newest][0])}")
    return {"history": collections.Counter(entry["operation"] for entry in table.history()), "vacuum": len(doomed)}


def stats(table):
    """The statistics of each file, as they stand in the log."""
    actions = pa.table(table.get_add_actions())
    return [json.dumps({"numRecords": n}) for n in actions["num_records"].to_pylist()]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--table", required=True)
    parser.add_argument("--cutoff", type=int, required=True)
    parser.add_argument("--copies", required=True)
    parser.add_argument("--live", nargs=argparse.REMAINDER, required=True)
    arguments = parser.parse_args()
    readers, book = Readers(arguments.table, storage_options()), Book(arguments.cutoff)
    follow(readers, book)
    more = finish(readers, book, arguments)
    if book.faults:
        print("\n".join(book.faults[:20]))
        return 1
    print(json.dumps({"versions": len(book.versions), "reads": book.reads, "rows": book.rows, "doubles": book.doubles, "misses": book.misses, **more}))
    return 0


if __name__ == "__main__":
    leave(main())
