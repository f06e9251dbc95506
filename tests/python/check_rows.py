"""Checks, without any of icepack's code, that a store still holds every row that was put into it.

    check_rows.py --ingested DIR_OR_LIST --live LIST --archive LIST
                  [--ttl-cutoff TIME [--live-cutoff TIME]] [--timestamp-column NAME] [--id-column NAME]

A LIST is a text file with one Parquet file a line: a path, or s3://bucket/key, read from $AWS_ENDPOINT_URL with the standard
AWS_* variables. A directory, or an s3:// prefix, stands for every *.parquet below it; a .parquet file for itself.

What must hold:

- The rows ingested, less exact duplicates, are the live rows and the archived rows together, each as often. Duplicates are
  rows with the same id that are equal in every column; a row without an id is nobody's duplicate. Columns are matched by
  name; a missing column is one of nulls; the width of an integer or a float and the unit of a timestamp do not matter.
- No live row is older than the cutoff, and every archived row is. A row without a time, or from before 2000, never expires.
- Each live file named snapshot.* is sorted by time.

Prints one line and exits 0; or the first differences, and exits 1. Exits 2 when something could not be read.
"""

import argparse
import collections
import concurrent.futures
import datetime
import itertools
import os
import pathlib
import sys
import tempfile
import time

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.fs as pafs
import pyarrow.parquet as pq

INGESTED, LIVE, ARCHIVE = range(3)
EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
# Times before this are taken for broken clocks, and such rows are kept for ever.
PLAUSIBLE_FROM = datetime.datetime(2000, 1, 1, tzinfo=datetime.UTC)
NANOSECONDS = {"s": 1_000_000_000, "ms": 1_000_000, "us": 1_000, "ns": 1}
READ_AHEAD = 4


class Unusable(Exception):
    """The question cannot be answered: a file cannot be read, or is not what it should be."""


def microseconds(moment):
    return (moment - EPOCH) // datetime.timedelta(microseconds=1)


def parse_time(text):
    moment = datetime.datetime.fromisoformat(text)
    return moment if moment.tzinfo else moment.replace(tzinfo=datetime.UTC)


def show_time(micros):
    if micros is None:
        return "no time"
    try:
        return (EPOCH + datetime.timedelta(microseconds=micros)).isoformat().replace("+00:00", "Z")
    except OverflowError:
        return f"{micros} µs"


# --- finding and opening files -------------------------------------------------------------------------------------------


class Files:
    """Opens Parquet files by path or URL."""

    def __init__(self):
        self._s3 = None

    def s3(self):
        if self._s3 is None:
            options = {"region": os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION") or "us-east-1"}
            if endpoint := os.environ.get("AWS_ENDPOINT_URL"):
                options["scheme"], _, options["endpoint_override"] = endpoint.rstrip("/").rpartition("://")
            self._s3 = pafs.S3FileSystem(**options)
        return self._s3

    def named_by(self, argument):
        """The Parquet files that a command line argument stands for."""
        if argument.endswith(".parquet"):
            return [argument]
        if argument.startswith("s3://"):
            selector = pafs.FileSelector(argument.removeprefix("s3://").rstrip("/"), recursive=True, allow_not_found=True)
            found = [f"s3://{info.path}" for info in self.s3().get_file_info(selector) if info.is_file]
        elif (path := pathlib.Path(argument)).is_dir():
            found = [str(file) for file in path.rglob("*") if file.is_file()]
        else:
            return [line.strip() for line in path.read_text().splitlines() if line.strip()]
        return sorted(file for file in found if file.endswith(".parquet"))

    def open(self, name):
        try:
            if name.startswith("s3://"):
                # One GET for the whole file: many small requests are slower than the bytes they save.
                with self.s3().open_input_stream(name.removeprefix("s3://")) as stream:
                    return pq.ParquetFile(pa.BufferReader(stream.read()))
            return pq.ParquetFile(name.removeprefix("file://"))
        except (OSError, pa.ArrowException) as error:
            raise Unusable(f"cannot read {name}: {error}") from error

    def open_all(self, names):
        """Opens files in order, a few ahead of the one that is asked for."""
        with concurrent.futures.ThreadPoolExecutor(READ_AHEAD) as pool:
            waiting = collections.deque()
            for name in names:
                waiting.append(pool.submit(self.open, name))
                if len(waiting) > READ_AHEAD:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()


# --- one row, one fingerprint --------------------------------------------------------------------------------------------


class Layout:
    """The columns of a file, and the SQL that makes fingerprints of its rows. Files of one layout are read as one stream."""

    def __init__(self, schema, timestamp_column, id_column):
        self.names = schema.names
        self.kinds = [kind.value_type if pa.types.is_dictionary(kind) else kind for kind in schema.types]
        if len(set(self.names)) < len(self.names):
            raise Unusable(f"two columns have the same name: {', '.join(self.names)}")
        self.time = self.names.index(timestamp_column) if timestamp_column in self.names else None
        self.id = self.names.index(id_column) if id_column in self.names else None
        if self.time is not None and not pa.types.is_timestamp(self.kinds[self.time]):
            raise Unusable(f"column {timestamp_column} is {self.kinds[self.time]}, not a timestamp")

    def __eq__(self, other):
        return (self.names, self.kinds) == (other.names, other.kinds)

    def plain(self, batch):
        """The batch as the SQL below expects it: columns c0, c1, …, timestamps as numbers, no dictionaries."""
        columns = []
        for column, kind in zip(batch.columns, self.kinds):
            if pa.types.is_dictionary(column.type):
                column = column.dictionary_decode()
            columns.append(column.cast(pa.int64()) if pa.types.is_timestamp(kind) else column)
        return pa.RecordBatch.from_arrays(columns, names=[f"c{i}" for i in range(len(columns))])

    def value(self, i):
        """A column less what does not matter in its type, so that equal values have equal hashes."""
        kind = self.kinds[i]
        if pa.types.is_timestamp(kind):
            return f"c{i}::HUGEINT * {NANOSECONDS[kind.unit]}"
        if pa.types.is_integer(kind):
            return f"c{i}::HUGEINT"
        return f"c{i}::DOUBLE" if pa.types.is_floating(kind) else f"c{i}"

    def row_hash(self):
        # The order of columns must not matter, nor a column that is null, so the columns' hashes are combined by xor. DuckDB's hash
        # of (name, value) alone is linear: values swapped between two columns would go unseen. The outer hash ties them together.
        whole = "0::UBIGINT"
        for i, name in enumerate(self.names):
            quoted = name.replace("'", "''")
            whole = f"xor({whole}, CASE WHEN c{i} IS NULL THEN 0 ELSE hash(hash('{quoted}', {self.value(i)})) END)"
        return whole

    def id_hash(self):
        return "NULL::UBIGINT" if self.id is None else f"CASE WHEN c{self.id} IS NOT NULL THEN hash({self.value(self.id)}) END"

    def micros(self):
        if self.time is None:
            return "NULL::BIGINT"
        return f"TRY_CAST(({self.value(self.time)}) // 1000 AS BIGINT)"


class SortCheck:
    """Sees the batches of one file go by and says where time goes backwards. Rows without a time belong at one end."""

    def __init__(self):
        self.fault = None
        self._times = self._known = None
        self._ends = 0

    def see(self, times):
        if self.fault or not len(times):
            return
        known, times = pc.is_valid(times), times.drop_null()
        if self._known is not None:
            known, times = pa.concat_arrays([self._known, known]), pa.concat_arrays([self._times, times])
        self._known, self._times = known[-1:], times[-1:]
        self._ends += pc.sum(pc.not_equal(known[1:], known[:-1])).as_py() or 0
        backwards = pc.index(pc.less(times[1:], times[:-1]), True).as_py()
        if backwards >= 0:
            self.fault = f"{times[backwards + 1]} comes after {times[backwards]}"
        elif self._ends > 1:
            self.fault = "rows without a time stand between rows with one"


# --- the check -----------------------------------------------------------------------------------------------------------


class Check:
    def __init__(self, options, scratch):
        self.options = options
        self.files = Files()
        self.names = []
        self.faults = []
        self.sorted_snapshots = 0
        self.db = duckdb.connect(config={"memory_limit": "3GB", "temp_directory": scratch})
        self.db.execute("CREATE TABLE seen (side UTINYINT, file INTEGER, micros BIGINT, id UBIGINT, hash UBIGINT)")

    def fault(self, text):
        self.faults.append(text)

    def layout(self, name, file):
        try:
            return Layout(file.schema_arrow, self.options.timestamp_column, self.options.id_column)
        except Unusable as error:
            raise Unusable(f"{name}: {error}") from error

    def batches(self, layout, files, sorted_too):
        for number, name, file in files:
            sort_check = SortCheck() if sorted_too and pathlib.PurePath(name).name.startswith("snapshot.") else None
            if sort_check and layout.time is None:
                raise Unusable(f"{name} has no column {self.options.timestamp_column}")
            try:
                for batch in file.iter_batches():
                    if sort_check:
                        sort_check.see(batch.column(layout.time))
                    yield layout.plain(batch).append_column("file", pa.repeat(pa.scalar(number, pa.int32()), len(batch)))
            except (OSError, pa.ArrowException) as error:
                raise Unusable(f"cannot read {name}: {error}") from error
            if sort_check and sort_check.fault:
                self.fault(f"not sorted by time: {name}: {sort_check.fault}")
            elif sort_check:
                self.sorted_snapshots += 1

    def query(self, layout, files, what, where="", sorted_too=False):
        """Runs SQL over the rows of files of one layout, read as one stream; beside c0, c1, … each row has its file's number."""
        trouble = []

        def batches():
            # An exception must not travel through DuckDB: it would come out as one of DuckDB's own.
            try:
                yield from self.batches(layout, files, sorted_too)
            except Unusable as error:
                trouble.append(error)

        empty = [pa.array([], pa.int64() if pa.types.is_timestamp(kind) else kind) for kind in layout.kinds]
        schema = layout.plain(pa.RecordBatch.from_arrays(empty, names=layout.names)).schema.append(pa.field("file", pa.int32()))
        self.db.register("stream", pa.RecordBatchReader.from_batches(schema, batches()))
        rows = self.db.execute(f"{what} FROM stream {where}").fetchall()
        self.db.unregister("stream")
        if trouble:
            raise trouble[0]
        return rows

    def read(self, side, argument):
        names = self.files.named_by(argument)
        if side == INGESTED and not names:
            raise Unusable(f"no Parquet files in {argument}: there is nothing to check")
        first = len(self.names)
        self.names += names
        opened = zip(itertools.count(first), names, self.files.open_all(names))
        laid_out = ((self.layout(name, file), number, name, file) for number, name, file in opened)
        for layout, group in itertools.groupby(laid_out, key=lambda entry: entry[0]):
            files = (entry[1:] for entry in group)
            columns = f"{side}, file, {layout.micros()}, {layout.id_hash()}, {layout.row_hash()}"
            self.query(layout, files, f"INSERT INTO seen SELECT {columns}", sorted_too=side == LIVE)

    def count(self, side):
        return self.db.execute("SELECT count(*) FROM seen WHERE side = ?", [side]).fetchone()[0]

    def check_multiset(self):
        """Each row as often as it must be. A row without an id is nobody's duplicate."""
        self.db.execute(
            """CREATE TABLE wrong AS
            SELECT *, CASE WHEN ingested = 0 THEN 'never ingested' WHEN found < wanted THEN 'lost' ELSE 'doubled' END AS kind
            FROM (SELECT id, hash, min(micros) AS micros, min(file) AS file,
                    count(*) FILTER (side = 0) AS ingested, count(*) FILTER (side > 0) AS found,
                    CASE WHEN id IS NULL THEN ingested ELSE least(ingested, 1) END AS wanted,
                    CASE WHEN $allow THEN ingested ELSE wanted END AS most
                  FROM seen GROUP BY id, hash)
            WHERE found < wanted OR found > most""",
            {"allow": self.options.allow_duplicates},
        )
        for kind, rows in self.db.execute("SELECT kind, count(*) FROM wrong GROUP BY kind ORDER BY kind").fetchall():
            self.fault(f"{kind}: {rows:,} rows")
            query = "SELECT id, hash, micros, ingested, found FROM wrong WHERE kind = ? ORDER BY micros, hash LIMIT ?"
            for id_hash, row_hash, micros, ingested, found in self.db.execute(query, [kind, self.options.show]).fetchall():
                row, files = self.find(id_hash, row_hash)
                self.fault(
                    f"  {kind}: {show_time(micros)} {row}: ingested {ingested} times, found {found} times, in {', '.join(files)}"
                )

    def find(self, id_hash, row_hash):
        """A row, found again by its fingerprint, and the files that hold it."""
        where = "id IS NOT DISTINCT FROM ? AND hash = ?"
        numbers = self.db.execute(f"SELECT DISTINCT file FROM seen WHERE {where} ORDER BY file", [id_hash, row_hash]).fetchall()
        names = [self.names[number] for (number,) in numbers]
        file = self.files.open(names[0])
        layout = self.layout(names[0], file)
        columns = ", ".join(f"c{i}" for i in range(len(layout.names)))
        found = self.query(layout, [(0, names[0], file)], f"SELECT {columns}", f"WHERE {layout.row_hash()} = {row_hash}")[0]
        texts = (f"{name}={value}" for i, (name, value) in enumerate(zip(layout.names, found)) if i != layout.time)
        return " ".join(text if len(text) <= 60 else text[:59] + "…" for text in texts), names

    def check_cutoff(self, side, condition, complaint):
        query = f"SELECT count(*), min(micros), max(micros), min(file) FROM seen WHERE side = {side} AND ({condition})"
        rows, oldest, newest, file = self.db.execute(query).fetchone()
        if rows:
            span = f"{show_time(oldest)} to {show_time(newest)}"
            self.fault(f"{complaint}: {rows:,} rows, {span}, the first in {self.names[file]}")

    def run(self):
        options = self.options
        for side, argument in ((INGESTED, options.ingested), (LIVE, options.live), (ARCHIVE, options.archive)):
            self.read(side, argument)
        self.check_multiset()
        if options.ttl_cutoff:
            cutoff, live_cutoff = microseconds(options.ttl_cutoff), microseconds(options.live_cutoff or options.ttl_cutoff)
            plausible = microseconds(PLAUSIBLE_FROM)
            self.check_cutoff(LIVE, f"micros >= {plausible} AND micros < {live_cutoff}", "live but past the cutoff")
            not_expired = f"micros IS NULL OR micros < {plausible} OR micros >= {cutoff}"
            self.check_cutoff(ARCHIVE, not_expired, "archived but not past the cutoff")

    def verdict(self, seconds):
        ingested, live, archived = (self.count(side) for side in (INGESTED, LIVE, ARCHIVE))
        duplicates = self.db.execute(
            "SELECT count(*) - count(DISTINCT (id, hash)) FROM seen WHERE side = 0 AND id IS NOT NULL"
        ).fetchone()[0]
        cutoff = f", cutoff {self.options.ttl_cutoff.isoformat()}" if self.options.ttl_cutoff else ""
        return (
            f"{'FAILED' if self.faults else 'ok'}: {ingested:,} ingested (of them {duplicates:,} duplicates), {live:,} live, "
            f"{archived:,} archived; {self.sorted_snapshots:,} sorted snapshots{cutoff}; {seconds:.1f} s"
        )


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ingested", required=True, metavar="DIR_OR_LIST")
    parser.add_argument("--live", required=True, metavar="LIST")
    parser.add_argument("--archive", required=True, metavar="LIST")
    parser.add_argument("--ttl-cutoff", type=parse_time, metavar="TIME", help="what is older belongs into the archive")
    parser.add_argument("--live-cutoff", type=parse_time, metavar="TIME", help="live rows may be this old (default: the cutoff)")
    parser.add_argument("--timestamp-column", default="timestamp", metavar="NAME")
    parser.add_argument("--id-column", default="event_id", metavar="NAME")
    parser.add_argument("--allow-duplicates", action="store_true", help="a duplicate that no merge has met yet may still be there")
    parser.add_argument("--show", type=int, default=5, metavar="N", help="differences of each kind to print (default: 5)")
    options = parser.parse_args(arguments)

    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="check_rows.") as scratch:
        check = Check(options, scratch)
        try:
            check.run()
        except (Unusable, OSError) as error:
            print(f"check_rows: {error}", file=sys.stderr)
            return 2
        print(check.verdict(time.monotonic() - began))
        for fault in check.faults:
            print(fault)
        return 1 if check.faults else 0


if __name__ == "__main__":
    sys.exit(main())
