"""What the writers share: the list of buckets, and rows whose times and values follow from their numbers alone.

Times begin at `START`; the tests let what is before noon of that day expire.
"""

import dataclasses
import datetime
import decimal
import uuid

import pyarrow as pa
import pyarrow.parquet as pq

START = datetime.datetime(2026, 1, 1)
HOUR = datetime.timedelta(hours=1)
DAY = 24 * HOUR
FILES = 5
ROWS = 6


@dataclasses.dataclass
class Table:
    """A folder that somebody reads as a table, and by what means."""

    # Below the store; the empty text is the store itself.
    path: str
    # "hive", or names and types of the folders in their order, or nothing where folders say nothing.
    partitions: object = None
    readers: tuple = ("duckdb", "pyarrow", "polars")
    # Readers unite the files' columns by name.
    drift: bool = False
    # What a name ends with; "" is every file that is not hidden, as Hive reads a folder.
    suffix: str = ".parquet"
    # What one more reader, which knows the table by its state, opens.
    state: str = ""


BUCKETS = {}


def bucket(name, *tables):
    """Registers a function that writes the bucket `name` into an empty directory."""

    def register(write):
        assert name not in BUCKETS
        BUCKETS[name] = (write, tables)
        return write

    return register


def uid(*parts):
    return str(uuid.uuid5(uuid.NAMESPACE_OID, "/".join(map(str, parts))))


def times(first, count, start=START, step=HOUR * 2):
    return [start + step * (n - first) for n in range(first, first + count)]


def stamps(values, kind):
    """`values`, which are UTC, as a column of `kind`: a timestamp of any unit and zone, epochs as int64 or double, or ISO text."""
    if kind == "text":
        return pa.array([v.isoformat(timespec="milliseconds") + "Z" for v in values])
    micros = pa.array(values, pa.timestamp("us")).cast(pa.int64())
    if isinstance(kind, str):
        each = {"s": 1_000_000, "ms": 1_000, "us": 1, "double": 1_000_000}[kind]
        return pa.array([m / each if kind == "double" else m // each for m in micros.to_pylist()], pa.float64() if kind == "double" else pa.int64())
    return pa.array(values, pa.timestamp("us", kind.tz)).cast(kind)


def events(first, count=ROWS, *, time=pa.timestamp("us"), column="timestamp", start=START, step=HOUR * 2):
    """Rows `first` to `first + count`, of many types."""
    numbers = range(first, first + count)
    return pa.table(
        {
            "event_id": [uid("event", n) for n in numbers],
            column: stamps(times(first, count, start, step), time),
            "user_id": pa.array([None if n % 7 == 3 else n * 1_000_003 for n in numbers], pa.int64()),
            "amount": pa.array([decimal.Decimal(n * 137 - 400).scaleb(-2) for n in numbers], pa.decimal128(12, 2)),
            "ratio": [n / 3 for n in numbers],
            "ok": [n % 2 == 0 for n in numbers],
            "born": pa.array([datetime.date(2026, 1, 1 + n % 28) for n in numbers]),
            "note": [None if n % 4 == 1 else f"note {n} ä€" for n in numbers],
            "tags": pa.array([[f"t{n % 3}", None] if n % 3 else [] for n in numbers], pa.list_(pa.string())),
            "geo": pa.array([{"lat": n / 7, "label": None if n % 5 == 0 else f"p{n}"} for n in numbers], pa.struct([("lat", pa.float64()), ("label", pa.string())])),
        }
    )


def put(path, table, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, path, **({"compression": "snappy"} | options))


def days(count=3):
    """Days, and the number of each day's first row. A day's rows are 45 minutes apart, so that they stay in it."""
    return [(START + DAY * d, d * FILES * ROWS) for d in range(count)]


def files(first, make=events, *, start=START, step=HOUR * 2, **options):
    """The tables of one folder's files, one after another in time."""
    return [make(first + f * ROWS, start=start + step * f * ROWS, step=step, **options) for f in range(FILES)]


def files_of_day(day, first, make=events, **options):
    return files(first, make, start=day, step=HOUR * 3 / 4, **options)
