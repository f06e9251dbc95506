"""What a store in a directory holds, by its files alone: what the report is compared with.

    page_figures.py STORE ARCHIVE --keep TENANT=DAYS … --now SECONDS
"""

import argparse
import json
import pathlib
from datetime import UTC

import pyarrow.parquet as pq

DAY = 86_400


def data_files(root: pathlib.Path) -> list[pathlib.Path]:
    """All Parquet files outside icepack's own folder."""
    found = [path for path in root.rglob("*.parquet") if "_icepack" not in path.relative_to(root).parts]
    return sorted(found)


def times(path: pathlib.Path) -> list[float]:
    column = pq.read_table(path, columns=["timestamp"])["timestamp"]
    return [value.timestamp() if value.tzinfo else value.replace(tzinfo=UTC).timestamp() for value in column.to_pylist()]


def tenant(folder: pathlib.Path, keep: int | None, now: float) -> dict:
    files = data_files(folder)
    found = {
        "bytes": sum(path.stat().st_size for path in files),
        "folders": len({path.parent for path in files}),
        "rows": 0,
    }
    if keep is None:
        return found
    stamps = [stamp for path in files for stamp in times(path)]
    found["rows"] = len(stamps)
    found["first"] = min(stamps) + keep * DAY
    # Two minutes on both sides: the page was made a little earlier.
    for days in (7, 30):
        cutoff = now + (days - keep) * DAY
        found[f"in {days} days"] = [sum(stamp < cutoff + aside for stamp in stamps) for aside in (-120, 120)]
    return found


def main() -> None:
    args = argparse.ArgumentParser()
    args.add_argument("store", type=pathlib.Path)
    args.add_argument("archive", type=pathlib.Path)
    args.add_argument("--keep", action="append", default=[])
    args.add_argument("--now", type=float, required=True)
    given = args.parse_args()
    keep = {name: int(days) for name, days in (pair.split("=") for pair in given.keep)}
    folders = [path for path in given.store.iterdir() if path.is_dir() and path.name != "_icepack"]
    archived = data_files(given.archive)
    print(
        json.dumps(
            {
                "tenants": {f.name: tenant(f, keep.get(f.name), given.now) for f in folders},
                "archived": {"objects": len(archived), "bytes": sum(path.stat().st_size for path in archived)},
            }
        )
    )


if __name__ == "__main__":
    main()
