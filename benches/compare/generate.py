"""Raw event files as services write them: small, snappy, in time order, each overlapping its neighbour by half."""

import argparse
import datetime as dt
import pathlib

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

TYPES = pa.array(
    [
        "order.placed", "order.paid", "order.shipped", "cart.item_added", "cart.item_removed",
        "user.login", "user.logout", "page.viewed", "payment.failed", "heartbeat",
    ]
)  # fmt: skip
WORDS = pa.array(
    "alpha bravo charlie delta echo foxtrot golf hotel india juliet kilo lima mike november oscar papa quebec romeo sierra tango".split()
)
SCHEMA = pa.schema(
    [
        pa.field("event_id", pa.string(), nullable=False),
        pa.field("event_type", pa.string(), nullable=False),
        pa.field("entity_id", pa.string(), nullable=False),
        pa.field("payload", pa.string(), nullable=False),
        pa.field("timestamp", pa.timestamp("us"), nullable=False),
        pa.field("metadata", pa.string()),
        pa.field("version", pa.uint64(), nullable=False),
    ]
)


def join(*parts):
    """Texts put together, row by row."""
    columns = [pa.scalar(p) if isinstance(p, str) else p.cast(pa.string()) for p in parts]
    return pc.binary_join_element_wise(*columns, "")


def events(rng, rows, times):
    """`rows` events at `times` (microseconds since 1970)."""
    digits = pa.array(np.frombuffer(rng.bytes(16 * rows).hex().encode(), dtype="S32").astype("U32"))
    cut = lambda a, b: pc.utf8_slice_codeunits(digits, a, b)  # noqa: E731
    session, tail = cut(0, 13), cut(24, 32)
    quantity = rng.integers(1, 9, rows)
    word = lambda: WORDS.take(pa.array(rng.integers(0, len(WORDS), rows)))  # noqa: E731
    payload = join(
        '{"amount_cents":', pa.array(rng.integers(100, 1_000_000, rows)), ',"currency":"EUR","qty":', pa.array(quantity),
        ',"note":"', word(), " ", word(), " ", word(), '","session":"', session, '"}',
    )  # fmt: skip
    metadata = join('{"source":"web-', pa.array(quantity), '","trace":"', tail, '"}')
    return pa.table(
        [
            join(cut(0, 8), "-", cut(8, 12), "-", cut(12, 16), "-", cut(16, 20), "-", cut(20, 32)),
            TYPES.take(pa.array(rng.integers(0, len(TYPES), rows))),
            join("entity-", pa.array(rng.zipf(1.3, rows) % 50_000)),
            payload,
            pa.array(times, pa.timestamp("us")),
            pc.if_else(pa.array(quantity > 4), metadata, pa.scalar(None, pa.string())),
            pa.array(np.ones(rows, dtype=np.uint64)),
        ],
        schema=SCHEMA,
    )


def generate(out, tenant, files, rows, days, end, seed=7, overlap=True):
    """Writes `files` files of `rows` events that span `days` up to `end` (seconds since 1970); gives the bytes written."""
    rng = np.random.default_rng(seed)
    end, span = end * 1_000_000, int(days * 86_400e6)
    total = 0
    for i in range(files):
        base = end - span + span * i // files
        # Half of a file's slot lies in the next one's, or none of it. The last file stays in the past.
        slot = span * 3 // (2 * files) + 1 if overlap else span // files
        times = np.sort(base + rng.integers(0, slot, rows)).clip(max=end)
        at = dt.datetime.fromtimestamp(base / 1e6, dt.UTC)
        path = pathlib.Path(out, tenant, f"{at:%Y-%m}", f"events-{at:%Y%m%dT%H%M%S}-{i:06d}.parquet")
        path.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(events(rng, rows, times), path, compression="snappy", row_group_size=rows)
        total += path.stat().st_size
    return total


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out")
    parser.add_argument("--tenant", default="acme")
    parser.add_argument("--files", type=int, default=400)
    parser.add_argument("--rows", type=int, default=10_000)
    parser.add_argument("--days", type=float, default=30)
    parser.add_argument("--end", type=int, required=True, help="seconds since 1970")
    given = parser.parse_args()
    print(generate(given.out, given.tenant, given.files, given.rows, given.days, given.end))
