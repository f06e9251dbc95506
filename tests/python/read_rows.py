"""Reads Parquet files with pyarrow for a test, so that what it compares does not come from the decoder under test.

Standard input: for each file its length in decimal and a newline, then its bytes. Standard output: for each file a line of JSON, its rows
in order, each an object of texts by column, nulls left out. A text depends on what a value is and not on how it is laid out; the
in-memory half of the same is `tests/support/oracle.rs`.
"""

import base64
import json
import sys

import pyarrow as pa
import pyarrow.parquet as pq

NANOSECONDS = {"s": 1_000_000_000, "ms": 1_000_000, "us": 1_000, "ns": 1}


def number(value):
    # 3.0 is 3: an integer that was widened is still itself.
    if isinstance(value, float) and value.is_integer():
        return f"n:{int(value)}"
    return f"n:{value!r}"


def quoted(text):
    return json.dumps(text, ensure_ascii=False)


def texts(array):
    """Each value of an array as text, none for null."""
    kind = array.type
    if pa.types.is_dictionary(kind):
        return texts(array.dictionary_decode())
    if pa.types.is_timestamp(kind):
        unit = NANOSECONDS[kind.unit]
        return [None if v is None else f"t:{v * unit}" for v in array.cast(pa.int64()).to_pylist()]
    if pa.types.is_date32(kind):
        return [None if v is None else f"d:{v}" for v in array.cast(pa.int32()).to_pylist()]
    if pa.types.is_struct(kind):
        fields = [(kind.field(i).name, texts(column)) for i, column in enumerate(array.flatten())]
        rows = [",".join(f"{name}={quoted(values[i])}" for name, values in fields) for i in range(len(array))]
        return [f"{{{row}}}" if valid else None for row, valid in zip(rows, array.is_valid().to_pylist())]
    if pa.types.is_map(kind):
        return [None if not v.is_valid else f"<{pairs(v.values)}>" for v in array]
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        return [None if not v.is_valid else f"[{','.join(map(quoted, texts(v.values)))}]" for v in array]
    if pa.types.is_boolean(kind):
        show = lambda v: f"o:{str(v).lower()}"
    elif pa.types.is_integer(kind) or pa.types.is_floating(kind):
        show = number
    elif pa.types.is_decimal(kind):
        show = lambda v: f"m:{v:f}"
    elif pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        show = lambda v: f"s:{v}"
    elif pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_binary_view(kind):
        show = lambda v: f"b:{list(v)}"
    else:
        raise TypeError(f"the oracle knows no {kind}")
    return [None if v is None else show(v) for v in array.to_pylist()]


def pairs(entries):
    keys, values = (texts(column) for column in entries.flatten())
    return ",".join(f"{quoted(k)}={quoted(v)}" for k, v in zip(keys, values))


def note(metadata):
    """Parquet has no whole seconds: columns of them are plain integers, and a note of their writer says what they are."""
    if not metadata or b"ARROW:schema" not in metadata:
        return {}
    schema = pa.ipc.read_schema(pa.py_buffer(base64.b64decode(metadata[b"ARROW:schema"])))
    return {field.name: field.type for field in schema if pa.types.is_timestamp(field.type) and field.type.unit == "s"}


def rows(body):
    # INT96 has nanoseconds of any day; as 64 bits of them it would wrap.
    file = pq.ParquetFile(pa.BufferReader(body), coerce_int96_timestamp_unit="us", page_checksum_verification=True)
    table, noted = file.read(use_threads=False), note(file.metadata.metadata)
    columns = []
    for name, column in zip(table.column_names, table.columns):
        array = column.combine_chunks()
        columns.append((name, texts(array.cast(noted[name]) if name in noted else array)))
    return [{name: values[i] for name, values in columns if values[i] is not None} for i in range(table.num_rows)]


def main():
    stdin, stdout = sys.stdin.buffer, sys.stdout
    while line := stdin.readline():
        body = stdin.read(int(line))
        stdout.write(json.dumps(rows(body), ensure_ascii=False))
        stdout.write("\n")
        stdout.flush()


if __name__ == "__main__":
    main()
