"""Small stores, and the commands that print something of each kind about them."""

import datetime
import json
import os
import pathlib
import shutil
import signal
import subprocess
from collections.abc import Iterator

import pyarrow as pa
import pyarrow.parquet as pq

from .program import Program

Documents = Iterator[tuple[str, object]]
DAY = datetime.timedelta(days=1)


def documents(program: Program) -> Documents:
    """Every kind of document, with the command that printed it."""
    for of in (demo, watched, priced, configured, proposed, odd_files, names_again, ages, columns, expired, published):
        yield from of(program)


def rows(count: int, age: datetime.timedelta = DAY, **more) -> pa.Table:
    """Rows a second apart, the newest of which is so old."""
    newest = datetime.datetime.now(datetime.UTC) - age
    at = pa.array([newest - datetime.timedelta(seconds=n) for n in range(count)], pa.timestamp("us", "UTC"))
    return pa.table({"timestamp": at, "n": pa.array(range(count), pa.int64()), **more})


def put(program: Program, key: str, table: pa.Table | bytes, written: datetime.timedelta | None = None) -> pathlib.Path:
    path = program.room / key
    path.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(table, bytes):
        path.write_bytes(table)
    else:
        pq.write_table(table, path)
    if written:
        at = path.stat().st_mtime - written.total_seconds()
        os.utime(path, (at, at))
    return path


def put_small(program: Program, folder: str, age: datetime.timedelta = DAY) -> None:
    for n in range(3):
        put(program, f"{folder}/{n}.parquet", rows(5 + n, age))


def demo(program: Program) -> Documents:
    places = ("--store", "demo", "--archive", "demo-cold")
    yield "demo", program.json("demo", "--store", "demo", "--files", "5", "--rows", "100")
    yield "init", program.json("init", "--store", "demo")
    yield "plan", program.json("plan", *places)
    yield "run", program.json("run", *places)
    yield "status", program.json("status", *places)
    yield "ls", program.json("ls", *places)
    yield "verify", program.json("verify", "--deep", *places)
    yield "doctor", program.json("doctor", *places)
    yield "restore", program.json("restore", *places, "--tenant", "system", "--dry-run")
    yield "restore", program.json("restore", *places, "--tenant", "system")
    yield "plan", program.json("plan", *places)
    yield "status", program.json("status", *places)
    yield "report", program.json("report", *places)


def watched(program: Program) -> Documents:
    command = [program.icepack, "--quiet", "watch", "--json", "--store", "demo"]
    environment = program.environment | {"ICEPACK_INTERVAL": "1s"}
    with subprocess.Popen(command, cwd=program.room, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        line = process.stdout.readline()
        process.send_signal(signal.SIGTERM)
        process.communicate()
    yield "watch", json.loads(line)


def priced(program: Program) -> Documents:
    """Plans with an archive on S3, which is not asked for anything."""
    put_small(program, "priced/acme", age=60 * DAY)
    ttl = {"ICEPACK_RETENTION_DEFAULT_TTL": "30d"}
    for storage_class in ("DEEP_ARCHIVE", "GLACIER_IR", "OUTPOSTS"):
        yield "plan", program.json("plan", "--store", "priced", "--archive", "s3://cold/x", ICEPACK_ARCHIVE_STORAGE_CLASS=storage_class, **ttl)


def configured(program: Program) -> Documents:
    (program.room / "some.toml").write_text('store = "demo"\n[retention]\nslack = "2d"\n', encoding="utf-8")
    yield "config show", program.json("--config", "some.toml", "config", "show", "--tenant", "acme", ICEPACK_CONCURRENCY="2")


def proposed(program: Program) -> Documents:
    """Two layouts are possible, a Delta table lies in one tenant, and one folder has no tenant."""
    put_small(program, "shop/topics/orders")
    put_small(program, "shop/topics/payments")
    put(program, "shop/topics/lake/_delta_log/00000000000000000000.json", b"{}")
    put(program, "shop/other/1.parquet", rows(5))
    yield "init", program.json("init", "--store", "shop")
    layout = {"ICEPACK_LAYOUT": "topics/{tenant}/**"}
    yield "plan", program.json("plan", "--store", "shop", **layout)
    yield "run", program.json("run", "--store", "shop", **layout)
    yield "status", program.json("status", "--store", "shop", **layout)
    yield "ls", program.json("ls", "--store", "shop", **layout)
    yield "report", program.json("report", "--store", "shop", **layout)


def odd_files(program: Program) -> Documents:
    put_small(program, "odd/acme")
    put(program, "odd/acme/broken.parquet", b"PAR1 not at all")
    put(program, "odd/acme/notes.csv", b"a,b")
    put(program, "odd/1.parquet", rows(5))
    yield "run", program.json("run", "--store", "odd")
    yield "verify", program.json("verify", "--store", "odd")
    snapshot = next((program.room / "odd/acme").glob("snapshot.*"))
    (program.room / "odd/acme/copies").mkdir()
    shutil.copy(snapshot, program.room / "odd/acme/copies")
    yield "plan", program.json("plan", "--store", "odd")
    yield "status", program.json("status", "--store", "odd")


def names_again(program: Program) -> Documents:
    """A raw file that waits to be deleted, one whose name came again, and one that was just written."""
    put_small(program, "again/acme")
    yield "run", program.json("run", "--store", "again", ICEPACK_SWEEP_DELETE_DELAY="7d")
    put(program, "again/acme/0.parquet", rows(50))
    yield "plan", program.json("plan", "--store", "again", ICEPACK_SWEEP_DELETE_DELAY="7d")
    yield "run", program.json("run", "--store", "again", ICEPACK_SWEEP_DELETE_DELAY="7d")
    put(program, "again/acme/new.parquet", rows(5))
    yield "plan", program.json("plan", "--store", "again", ICEPACK_COMPACTION_MIN_RAW_AGE="1h")


def ages(program: Program) -> Documents:
    """A file that waited long, and one that is adopted: where rows expire, a file alone in its folder stays as it is."""
    for n in range(2):
        put(program, f"ages/acme/old/{n}.parquet", rows(5), written=2 * DAY)
    undated = rows(5).set_column(0, "timestamp", pa.array([None, *rows(4)["timestamp"].to_pylist()], pa.timestamp("us", "UTC")))
    put(program, "ages/acme/alone/1.parquet", undated, written=2 * DAY)
    ttl = {"ICEPACK_RETENTION_DEFAULT_TTL": "30d"}
    yield "plan", program.json("plan", "--store", "ages", **ttl)
    yield "run", program.json("run", "--store", "ages", **ttl)
    yield "plan", program.json("plan", "--store", "ages", **ttl)
    # Its rows are overdue now.
    yield "plan", program.json("plan", "--store", "ages", ICEPACK_RETENTION_DEFAULT_TTL="1h", ICEPACK_RETENTION_SLACK="1h")


def columns(program: Program) -> Documents:
    """Files of two schema classes; then another column dates the rows, which some of them lack."""
    for n in range(3):
        put(program, f"classes/acme/number-{n}.parquet", rows(5, code=pa.array(range(5), pa.int64())))
        put(program, f"classes/acme/text-{n}.parquet", rows(5, code=pa.array(list("abcde")), seen=rows(5)["timestamp"]))
    yield "run", program.json("run", "--store", "classes")
    yield "plan", program.json("plan", "--store", "classes")
    yield "status", program.json("status", "--store", "classes")
    yield "plan", program.json("plan", "--store", "classes", ICEPACK_TIMESTAMP_COLUMN="seen")
    yield "run", program.json("run", "--store", "classes", ICEPACK_TIMESTAMP_COLUMN="seen")
    yield "plan", program.json("plan", "--store", "classes", ICEPACK_TIMESTAMP_COLUMN="seen")


def expired(program: Program) -> Documents:
    """Rows that have just expired, and wait for a better archive object."""
    put_small(program, "expired/acme", age=10 * DAY)
    yield "run", program.json("run", "--store", "expired")
    yield "plan", program.json("plan", "--store", "expired", "--archive", "expired-cold", ICEPACK_RETENTION_DEFAULT_TTL="235h")
    yield "run", program.json("run", "--store", "expired", ICEPACK_RETENTION_DEFAULT_TTL="100h")


def published(program: Program) -> Documents:
    """A Delta table, which takes a program with the feature `delta`, and symlink manifests."""
    put_small(program, "published/acme")
    yield "run", program.json("run", "--store", "published", ICEPACK_PUBLISH_DELTA="true", ICEPACK_PUBLISH_SYMLINK="true")
