"""Checks that readers which skip by what a footer says find in Parquet files what a full scan finds.

    check_filters.py [--timestamp-column NAME] FILE...

For each file the rows of time ranges at the borders of its row groups, and around every few rows, are asked for by a filter, of
pyarrow and of DuckDB, and compared with the rows that a scan of the whole file has in that range. Every column must have an
index of pages, and statistics that agree with its row group.

Prints one line and exits 0; or the first difference, and exits 1.
"""

import argparse
import sys

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

RANGES = 24


class Difference(Exception):
    """A reader that skips found other rows."""


def borders(table, metadata, column):
    """The times of the first row of each row group, and of every few rows; the first and the last of all."""
    rows, at = [], 0
    for group in range(metadata.num_row_groups):
        rows.append(at)
        at += metadata.row_group(group).num_rows
    rows += range(0, table.num_rows, max(1, table.num_rows // RANGES))
    rows.append(table.num_rows - 1)
    return sorted({table.column(column)[row].value for row in rows})


def check_footer(path, table, metadata, column):
    at = 0
    for group in range(metadata.num_row_groups):
        described = metadata.row_group(group)
        rows = table.slice(at, described.num_rows)
        at += described.num_rows
        for leaf in range(described.num_columns):
            chunk = described.column(leaf)
            if not (chunk.has_offset_index and chunk.has_column_index and chunk.is_stats_set):
                raise Difference(f"{path}: column {chunk.path_in_schema} of row group {group} has no statistics, or no index of pages")
            if chunk.path_in_schema == column:
                found = pc.min_max(rows.column(column)).as_py()
                if (chunk.statistics.min, chunk.statistics.max) != (found["min"], found["max"]):
                    raise Difference(f"{path}: row group {group} has times {found}, and its statistics say {chunk.statistics}")
    if at != table.num_rows:
        raise Difference(f"{path}: {table.num_rows} rows, and its row groups have {at}")


def key(table):
    """All columns of all rows, in an order of their own."""
    return sorted(map(repr, zip(*(table.column(name).to_pylist() for name in sorted(table.column_names)), strict=True)))


def check_ranges(path, table, metadata, column):
    times = borders(table, metadata, column)
    kind = table.schema.field(column).type
    ranges = 0
    for low, high in zip(times, [*times[1:], times[-1] + 1], strict=True):
        low, high = pa.scalar(low, kind), pa.scalar(high, kind)
        expression = (pc.field(column) >= low) & (pc.field(column) < high)
        want = key(table.filter(expression))
        by_arrow = key(pq.read_table(path, filters=expression))
        query = f'SELECT * FROM read_parquet(?) WHERE "{column}" >= ? AND "{column}" < ?'
        by_duckdb = duckdb.sql(query, params=[path, low.as_py(), high.as_py()]).to_arrow_table().cast(table.schema)
        for name, found in (("pyarrow", by_arrow), ("DuckDB", key(by_duckdb))):
            if found != want:
                raise Difference(f"{path}: {name} finds {len(found)} rows from {low} to {high}, and a scan {len(want)}")
        ranges += 1
    return ranges


def check(path, column):
    metadata = pq.read_metadata(path)
    # One thread, and no filter: nothing is skipped.
    table = pq.ParquetFile(path).read(use_threads=False)
    check_footer(path, table, metadata, column)
    return table.num_rows, metadata.num_row_groups, check_ranges(path, table, metadata, column)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--timestamp-column", default="timestamp")
    parser.add_argument("files", nargs="+")
    arguments = parser.parse_args()
    try:
        found = [check(path, arguments.timestamp_column) for path in arguments.files]
    except Difference as difference:
        print(difference)
        return 1
    rows, groups, ranges = (sum(numbers) for numbers in zip(*found, strict=True))
    print(f"{len(found)} files, {rows} rows in {groups} row groups: {ranges} ranges of time are found as a scan finds them")
    return 0


if __name__ == "__main__":
    sys.exit(main())
