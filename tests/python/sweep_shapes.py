"""Writes Parquet files of many shapes, by writers that nobody here wrote, and has them merged: a sound file must not be called damaged.

    sweep_shapes.py --icepack BINARY [--shapes N] [--seed N] [--cells N] [--memory-limits 128MiB,…]

A shape is a writer, a number of columns and rows, their types, and everything that the writer lets one choose about dictionaries, pages, encodings, compression and
row groups. Of each shape there are two files, in a tenant of their own. They are merged anew under each of the memory limits, which batches follow from.
What pyarrow and DuckDB read alike must be merged, and hold the same rows by the word of both of them; what they do not is counted and not judged. Under all limits but the
last a file may be left alone for more memory, if that is the reason that is given.

Prints one line of JSON and exits 0; or what is wrong, and exits 1.
"""

import argparse
import collections
import datetime
import json
import os
import pathlib
import random
import shutil
import subprocess
import sys
import tempfile

import duckdb
import fastparquet
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

WRITERS = ["pyarrow", "pyarrow", "pyarrow", "polars", "duckdb", "pandas", "fastparquet"]
START = int((datetime.datetime.now(datetime.timezone.utc) - datetime.timedelta(days=2)).timestamp()) * 1_000_000
# Shapes of one store.
STORE = 40


class Shape:
    """What `seed` stands for, with so many values at most."""

    def __init__(self, seed, cells):
        self.seed = seed
        self.random = r = random.Random(seed)
        self.writer = r.choice(WRITERS)
        self.columns = r.choice([1, 2, 5, 20, 40, 64, 90, 150, 300])
        fits = [n for n in (1, 10, 1_000, 8_191, 8_192, 8_193, 20_000, 50_000, 100_000) if n * self.columns <= cells]
        self.rows = r.choice(fits or [1])
        flat = self.writer == "fastparquet"
        kinds = list(FLAT) if flat else list(FLAT) + list(NESTED)
        # Mostly one kind, so that each is there in numbers.
        self.kinds = [r.choice(kinds)] * self.columns if r.random() < 0.5 else [r.choice(kinds) for _ in range(self.columns)]
        if r.random() < 0.3:
            self.kinds = ["few_numbers"] * self.columns
        self.options = {"pyarrow": self.pyarrow, "pandas": self.pandas, "polars": self.polars, "duckdb": self.duckdb, "fastparquet": self.fastparquet}[self.writer]()

    def __str__(self):
        kinds = dict(collections.Counter(self.kinds))
        return f"seed {self.seed}: {self.writer}, {self.columns} columns of {kinds}, {self.rows} rows, {self.options}"

    def pyarrow(self):
        r = self.random
        options = {
            "compression": r.choice(["none", "snappy", "gzip", "brotli", "lz4", "zstd"]),
            "version": r.choice(["1.0", "2.4", "2.6"]),
            "data_page_version": r.choice(["1.0", "2.0"]),
            "use_dictionary": r.random() < 0.7,
            "data_page_size": r.choice([64, 1_000, 64 << 10, 1 << 20, 16 << 20]),
            "write_batch_size": r.choice([1, 100, 1_024, 100_000]),
            "dictionary_pagesize_limit": r.choice([100, 10_000, 1 << 20, 16 << 20]),
            "row_group_size": r.choice([100, 5_000, 8_192, 1 << 20]),
            "write_statistics": r.random() < 0.8,
            "write_page_index": r.random() < 0.3,
            "write_page_checksum": r.random() < 0.5,
            "store_schema": r.random() < 0.7,
        }
        # Every page is a call of the writer.
        if options["data_page_size"] < 1_000 and self.rows * self.columns > 20_000:
            options["data_page_size"] = 1_000
        if options["write_batch_size"] == 1 and self.rows * self.columns > 20_000:
            options["write_batch_size"] = 100
        if not options["use_dictionary"]:
            options["column_encoding"] = {f"c{i}": e for i, k in enumerate(self.kinds) if k in FLAT and (e := r.choice(ENCODINGS.get(k, ["PLAIN"])))}
        return options

    def pandas(self):
        return {"compression": self.random.choice(["snappy", "gzip", "zstd", None]), "row_group_size": self.random.choice([1_000, 1 << 20])}

    def polars(self):
        r = self.random
        return {
            "compression": r.choice(["uncompressed", "snappy", "gzip", "brotli", "lz4", "zstd"]),
            "statistics": r.random() < 0.7,
            "row_group_size": r.choice([100, 5_000, None]),
            "data_page_size": r.choice([1_000, 64 << 10, None]),
        }

    def duckdb(self):
        r = self.random
        return {
            "COMPRESSION": r.choice(["uncompressed", "snappy", "gzip", "brotli", "lz4_raw", "zstd"]),
            "PARQUET_VERSION": r.choice(["V1", "V2"]),
            "ROW_GROUP_SIZE": r.choice([2_048, 20_000, 122_880]),
            "DICTIONARY_SIZE_LIMIT": r.choice([1, 100, 10_000]),
        }

    def fastparquet(self):
        r = self.random
        return {
            "compression": r.choice(["UNCOMPRESSED", "SNAPPY", "GZIP", "ZSTD", "LZ4_RAW"]),
            "row_group_offsets": r.choice([1_000, 50_000_000]),
            "stats": r.choice([True, False, "auto"]),
            "has_nulls": r.choice([True, False]) if not any(k in NULLS for k in self.kinds) else True,
        }

    def table(self, start):
        r = self.random
        times = [START + (start + i) * 1_000_000 for i in range(self.rows)]
        if r.random() < 0.3:
            r.shuffle(times)
        columns = {"timestamp": pa.array(times, pa.timestamp("us", "UTC")), "n": pa.array(range(start, start + self.rows), pa.int64())}
        for i, kind in enumerate(self.kinds):
            make, data_type = (FLAT | NESTED)[kind]
            # A column of many repeats what a few values are: Python is slow.
            some = [make(r, j) for j in range(min(self.rows, 997))]
            columns[f"c{i}"] = pa.array((some * (self.rows // max(len(some), 1) + 1))[: self.rows], data_type)
        return pa.table(columns)

    def write(self, path, start):
        table = self.table(start)
        if self.writer == "pyarrow":
            pq.write_table(table, path, **self.options)
        elif self.writer == "pandas":
            table.to_pandas().to_parquet(path, index=False, **self.options)
        elif self.writer == "polars":
            pl.from_arrow(table).write_parquet(path, **self.options)
        elif self.writer == "duckdb":
            rows = table  # noqa: F841: DuckDB finds it by its name
            options = ", ".join(f"{k} {v}" for k, v in self.options.items())
            duckdb.sql(f"COPY rows TO '{path}' (FORMAT parquet, {options})")
        else:
            fastparquet.write(str(path), table.to_pandas(), write_index=False, **self.options)


WORDS = ["", "a", "Grüße", "x" * 40, "y" * 300]
NULLS = {"some_numbers", "nothing", "some_text"}
FLAT = {
    "few_numbers": (lambda r, i: r.randrange(12), pa.int64()),
    "numbers": (lambda r, i: r.randrange(-(1 << 63), 1 << 63), pa.int64()),
    "small_numbers": (lambda r, i: r.randrange(-100, 100), pa.int32()),
    "some_numbers": (lambda r, i: None if r.random() < 0.4 else i, pa.int32()),
    "rising_numbers": (lambda r, i: i, pa.int64()),
    "floats": (lambda r, i: r.random(), pa.float64()),
    "few_floats": (lambda r, i: r.randrange(3) / 2, pa.float32()),
    "yes_or_no": (lambda r, i: r.random() < 0.3, pa.bool_()),
    "few_words": (lambda r, i: r.choice(WORDS), pa.string()),
    "texts": (lambda r, i: f"{r.random()}", pa.string()),
    "long_texts": (lambda r, i: "z" * r.randrange(2_000), pa.string()),
    "some_text": (lambda r, i: None if r.random() < 0.5 else r.choice(WORDS), pa.string()),
    "nothing": (lambda r, i: None, pa.string()),
}
NESTED = {
    "lists": (lambda r, i: [r.randrange(9) for _ in range(r.randrange(5))], pa.list_(pa.int64())),
    "some_lists": (lambda r, i: None if r.random() < 0.3 else [None] * r.randrange(3), pa.list_(pa.int32())),
    "lists_of_words": (lambda r, i: [r.choice(WORDS) for _ in range(r.randrange(3))], pa.list_(pa.string())),
    "long_lists": (lambda r, i: list(range(r.randrange(200))), pa.list_(pa.int32())),
    "structs": (lambda r, i: {"a": i, "b": r.choice(WORDS)}, pa.struct([("a", pa.int64()), ("b", pa.string())])),
    "lists_of_structs": (lambda r, i: [{"a": i}] * r.randrange(3), pa.list_(pa.struct([("a", pa.int64())]))),
}
WHOLE = ["PLAIN", "DELTA_BINARY_PACKED", "BYTE_STREAM_SPLIT"]
TEXT = ["PLAIN", "DELTA_LENGTH_BYTE_ARRAY", "DELTA_BYTE_ARRAY"]
ENCODINGS = {
    **{k: WHOLE for k in ("few_numbers", "numbers", "small_numbers", "some_numbers", "rising_numbers")},
    **{k: ["PLAIN", "BYTE_STREAM_SPLIT"] for k in ("floats", "few_floats")},
    **{k: TEXT for k in ("few_words", "texts", "long_texts", "some_text", "nothing")},
    "yes_or_no": ["PLAIN", "RLE"],
}


def plain(table):
    """Without Arrow's dictionaries, which DuckDB would take for another type."""
    for i, field in enumerate(table.schema):
        if pa.types.is_dictionary(field.type):
            table = table.set_column(i, field.name, table.column(i).cast(field.type.value_type))
    return table


def by_pyarrow(paths, names):
    return added(tally(plain(pq.ParquetFile(p).read()), names) for p in paths)


def by_duckdb(paths, names):
    return added(tally(duckdb.read_parquet(str(p)), names) for p in paths)


def tally(rows, names):
    """How many rows there are, and a sum that is another where one of them is."""
    return duckdb.sql(f"SELECT count(*), sum(hash({names})) FROM rows").limit(1).fetchall()[0]


def added(tallies):
    return tuple(map(sum, zip(*tallies)))


def head(store, tenant):
    versions = sorted((store / "_icepack" / tenant / "manifest").glob("*.json"))
    return json.loads(versions[-1].read_text()) if versions else {}


class Sweep:
    def __init__(self, arguments):
        self.icepack, self.limits = arguments.icepack, arguments.memory_limits.split(",")
        self.counts = collections.Counter()
        self.faults = []

    def judge(self, shapes, dir):
        made = dir / "made"
        sound = {}
        for shape in shapes:
            tenant = f"s{shape.seed}"
            (made / tenant).mkdir(parents=True)
            paths = [made / tenant / f"{i}.parquet" for i in range(2)]
            self.counts["shapes"] += 1
            self.counts[f"by {shape.writer}"] += 1
            names = ", ".join(['"timestamp"', "n"] + [f"c{i}" for i in range(shape.columns)])
            try:
                for i, path in enumerate(paths):
                    shape.write(path, i * shape.rows)
                one, other = by_pyarrow(paths, names), by_duckdb(paths, names)
            except Exception as e:  # noqa: BLE001: whatever these libraries do not know of each other
                self.counts["not written or not read"] += 1
                print(f"left out: {shape}: {type(e).__name__}: {str(e)[:200]}", file=sys.stderr)
                shutil.rmtree(made / tenant)
                continue
            if pq.read_schema(paths[0]) != pq.read_schema(paths[1]):
                # pandas makes a type of what is in a column.
                self.counts["of two types"] += 1
                shutil.rmtree(made / tenant)
            elif one == other:
                sound[tenant] = (shape, names, one)
            else:
                self.counts["read differently"] += 1
                print(f"left out: {shape}: pyarrow reads {one}, DuckDB {other}", file=sys.stderr)
                shutil.rmtree(made / tenant)
        for limit in self.limits:
            store = dir / limit
            shutil.copytree(made, store)
            self.merge(store, limit, sound)
            shutil.rmtree(store)
        shutil.rmtree(made)

    def fault(self, text):
        self.faults.append(text)
        print(text, file=sys.stderr)

    def merge(self, store, limit, sound):
        command = [self.icepack, "run", "--json", "--strategy", "full", "--memory-limit", limit, "--store", str(store)]
        env = {k: v for k, v in os.environ.items() if not k.startswith(("ICEPACK_", "AWS_", "OTEL_"))}
        ran = subprocess.run(command, capture_output=True, text=True, env=env)
        before = len(self.faults)
        for tenant, (shape, names, want) in sound.items():
            self.counts["merges"] += 1
            fault = lambda what: self.fault(f"{shape}\n  with {limit}: {what}")  # noqa: E731
            manifest = head(store, tenant)
            if manifest.get("quarantined"):
                reason = manifest["quarantined"][0]["reason"]
                if limit != self.limits[-1] and reason.endswith("raise `memory_limit`") and "damaged" not in reason:
                    self.counts["left for more memory"] += 1
                else:
                    fault(reason)
                continue
            files = sorted((store / tenant).rglob("*.parquet"))
            if not files or not all(p.name.startswith("snapshot.") for p in files):
                fault(f"not merged: {[p.name for p in files]}")
                continue
            for name, read in (("pyarrow", by_pyarrow), ("DuckDB", by_duckdb)):
                got = read(files, names)
                if got != want:
                    fault(f"{name} read {want} before and {got} afterwards")
        if ran.returncode not in (0, 3) and len(self.faults) == before:
            self.fault(f"exit {ran.returncode} with {limit}: {ran.stderr[-500:]}")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--icepack", required=True)
    parser.add_argument("--shapes", type=int, default=40)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--cells", type=int, default=400_000)
    parser.add_argument("--memory-limits", default="128MiB,512MiB,4GiB")
    arguments = parser.parse_args()
    sweep = Sweep(arguments)
    seeds = range(arguments.seed, arguments.seed + arguments.shapes)
    for first in range(0, len(seeds), STORE):
        with tempfile.TemporaryDirectory() as dir:
            sweep.judge([Shape(seed, arguments.cells) for seed in seeds[first : first + STORE]], pathlib.Path(dir))
        print(f"{dict(sweep.counts)}, {len(sweep.faults)} faults", file=sys.stderr)
    if sweep.faults:
        print(f"{len(sweep.faults)} faults in {json.dumps(sweep.counts)}:\n" + "\n".join(sweep.faults[:20]))
        return 1
    print(json.dumps(sweep.counts))
    return 0


if __name__ == "__main__":
    sys.exit(main())
