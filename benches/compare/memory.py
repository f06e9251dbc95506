"""What must fit into the memory limit whatever it is: a peak for each."""

import shutil
import sys

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

import generate

LIMIT = 512
END = 1_790_000_000_000_000


def overlapping(path):
    """10,000 files that all cover the same month."""
    rng = np.random.default_rng(1)
    base = generate.events(rng, 50, np.zeros(50, dtype=np.int64))
    for i in range(10_000):
        times = pa.array(np.sort(END - rng.integers(0, 30 * 86_400_000_000, 50)), pa.timestamp("us"))
        pq.write_table(base.set_column(4, generate.SCHEMA.field(4), times), path / f"{i:05}.parquet", compression="snappy")
    return {}


def fewer_overlapping(path):
    """1,500 files of 2,000 rows that all cover the same month."""
    rng = np.random.default_rng(6)
    base = generate.events(rng, 2_000, np.zeros(2_000, dtype=np.int64))
    for i in range(1_500):
        times = pa.array(np.sort(END - rng.integers(0, 30 * 86_400_000_000, 2_000)), pa.timestamp("us"))
        pq.write_table(base.set_column(4, generate.SCHEMA.field(4), times), path / f"{i:05}.parquet", compression="snappy")
    return {}


def in_no_order(path, size):
    rng = np.random.default_rng(2)
    with pq.ParquetWriter(path / "unsorted.parquet", generate.SCHEMA, compression="snappy") as writer:
        file = path / "unsorted.parquet"
        while file.stat().st_size < size:
            times = END - rng.integers(0, 30 * 86_400_000_000, 200_000)
            writer.write_table(generate.events(rng, 200_000, times))
    return {"[compaction]\nstrategy": '"full"'}


def unsorted(path):
    """One file of 2 GiB in no order."""
    return in_no_order(path, 2 << 30)


def less_unsorted(path):
    """One file of 300 MB in no order."""
    return in_no_order(path, 300_000_000)


def wide_rows(path):
    """600 rows of 1 MiB, in files of 20."""
    rng = np.random.default_rng(3)
    for i in range(30):
        times = pa.array(np.sort(END - rng.integers(0, 30 * 86_400_000_000, 20)), pa.timestamp("us"))
        body = pa.array([rng.bytes(1 << 19).hex() for _ in range(20)])
        ids = pa.array([f"{i}-{k}" for k in range(20)])
        pq.write_table(pa.table({"event_id": ids, "timestamp": times, "body": body}), path / f"{i:02}.parquet", compression="snappy")
    return {"[compaction]\nstrategy": '"full"'}


def many_columns(path):
    """8 files of 4,000 columns and 2,000 rows."""
    rng = np.random.default_rng(4)
    for i in range(8):
        times = pa.array(np.sort(END - rng.integers(0, 30 * 86_400_000_000, 2_000)), pa.timestamp("us"))
        columns = {"event_id": pa.array([f"{i}-{k}" for k in range(2_000)]), "timestamp": times}
        columns |= {f"c{c}": pa.array(rng.integers(0, 1_000, 2_000)) for c in range(4_000)}
        pq.write_table(pa.table(columns), path / f"{i}.parquet", compression="snappy")
    return {"[compaction]\nstrategy": '"full"'}


def bombs(path):
    """6 files of a few KB whose one dictionary value of 64 KiB stands for 20,000 rows: 1.3 GB each once unfolded."""
    rng = np.random.default_rng(5)
    for i in range(6):
        times = pa.array(np.sort(END - rng.integers(0, 30 * 86_400_000_000, 20_000)), pa.timestamp("us"))
        ids = pa.array([f"{i}-{k}" for k in range(20_000)])
        body = pa.DictionaryArray.from_arrays(pa.array(np.zeros(20_000, dtype=np.int32)), pa.array(["x" * 65_536])).cast(pa.string())
        pq.write_table(pa.table({"event_id": ids, "timestamp": times, "body": body}), path / f"{i}.parquet", compression="zstd", use_dictionary=["body"])
    return {}


def cases(bench):
    """Peak memory of a pass over each, with the default limit."""
    found = {}
    for case in (overlapping, fewer_overlapping, unsorted, less_unsorted, wide_rows, many_columns, bombs):
        data = bench.work / "memory"
        shutil.rmtree(data, ignore_errors=True)
        (data / "acme").mkdir(parents=True)
        settings = case(data / "acme")
        _, figures = bench.own(data, "".join(f"{k} = {v}\n" for k, v in settings.items()))
        # On S3 everything is fetched into memory or onto the spill disk; on a directory files are read where they lie.
        print(f"  {case.__name__:14} {figures['wall']:7.2f} s {figures['mib']:6.0f} MiB of {LIMIT}", file=sys.stderr)
        found[case.__name__] = {"what": case.__doc__, "limit": LIMIT, **figures}
    return found
