"""Merges Parquet files that somebody else wrote, each with a copy of itself, and compares what others read before and after.

    try_files.py --icepack BINARY [--limit MIB] [--timeout SECONDS] [--parallel N] [--every N] [--json FILE] FOLDER...

Of each file there is a store with one tenant: the file, and its rows in the opposite order, as pyarrow writes them. Where that would be a file of other columns, the second
is a copy. After a pass, one of these is said of the file:

    merged    DuckDB, pyarrow and Polars read the same rows, columns and types, and its Parquet schema and key-value pairs are what they were
    left      all its bytes are what they were, and icepack says why
    emptied   it had no rows, and no file is left: see docs/limits.md
    CHANGED   anything else

Exits 1 where a file was changed, or icepack failed or was silent. `scripts/try-files.sh` runs it with the pinned packages.
"""

import argparse
import base64
import collections
import hashlib
import json
import multiprocessing
import os
import pathlib
import re
import shutil
import struct
import subprocess
import sys
import tempfile
import time

import duckdb
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

SUFFIXES = (".parquet", ".parq", ".pq", ".geoparquet")
# Where icepack can do without a column that dates rows, this is the setting for it.
NONE = "none"
DATE = "icepack_time"
# A pass over two small files that takes longer hangs.
PASS_SECONDS = 60


def found(folders, limit):
    """Files that are called Parquet, or begin and end as such."""
    for folder in map(pathlib.Path, folders):
        for path in sorted([folder] if folder.is_file() else folder.rglob("*")):
            if path.is_file() and not path.is_symlink() and path.stat().st_size <= limit and is_parquet(path):
                yield path


def is_parquet(path):
    if path.name.endswith(SUFFIXES):
        return True
    with open(path, "rb") as file:
        head = file.read(4)
        return head in (b"PAR1", b"PARE") and path.stat().st_size > 8


# ------------------------------------------------------------------------------------------------ what readers see


def values(array):
    """The values of an Arrow array; times as the integers that stand in the file, and floats as their bits."""
    if isinstance(array, pa.ChunkedArray):
        array = array.combine_chunks()
    if isinstance(array, pa.ChunkedArray):
        return [v for chunk in array.chunks for v in values(chunk)]
    kind = array.type
    if isinstance(kind, pa.BaseExtensionType):
        return values(array.storage)
    if pa.types.is_dictionary(kind):
        return values(array.dictionary_decode())
    if pa.types.is_struct(kind):
        names = [kind.field(i).name for i in range(kind.num_fields)]
        columns = [values(array.field(i)) for i in range(kind.num_fields)]
        rows = [list(zip(names, row)) for row in zip(*columns)] if columns else [[]] * len(array)
        return [row if valid else None for row, valid in zip(rows, array.is_valid().to_pylist())]
    if pa.types.is_map(kind):
        keys, items, starts = values(array.keys), values(array.items), array.offsets.to_pylist()
        pairs = list(zip(keys, items))
        return [pairs[a:b] if valid else None for a, b, valid in zip(starts, starts[1:], array.is_valid().to_pylist())]
    if pa.types.is_fixed_size_list(kind):
        inner, size = values(array.values), kind.list_size
        start = array.offset
        return [inner[(start + i) * size : (start + i + 1) * size] if valid else None for i, valid in enumerate(array.is_valid().to_pylist())]
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        inner, starts = values(array.values), array.offsets.to_pylist()
        return [inner[a:b] if valid else None for a, b, valid in zip(starts, starts[1:], array.is_valid().to_pylist())]
    if pa.types.is_temporal(kind) and kind.bit_width in (32, 64):
        return array.view(pa.int32() if kind.bit_width == 32 else pa.int64()).to_pylist()
    if pa.types.is_floating(kind):
        form = {16: ">e", 32: ">f", 64: ">d"}[kind.bit_width]
        bits = lambda v: None if v is None else "nan" if v != v else struct.pack(form, v).hex()  # noqa: E731
        return [bits(v) for v in array.to_pylist()]
    return array.to_pylist()


def digest(rows):
    """A multiset, as few bytes."""
    lines = sorted(hashlib.sha256(repr(row).encode()).hexdigest() for row in rows)
    return [len(lines), hashlib.sha256("".join(lines).encode()).hexdigest()]


def int96(path):
    """Columns of INT96: DuckDB and pyarrow know no zone for them; icepack writes them as instants in microseconds."""
    schema = pq.ParquetFile(path).schema
    return {schema.column(i).path.split(".")[0] for i in range(len(schema)) if schema.column(i).physical_type == "INT96"}


def without_zone(kind, name, instants):
    return re.sub(r"timestamp\[(us|ns)[^\]]*\]", "timestamp[us]", str(kind)) if name in instants else str(kind)


def shown(kind, name, instants):
    """A type as pyarrow shows it. A snapshot has more words than a file, and its dictionaries keys of 32 bits."""
    return re.sub(r"indices=u?int(8|16|32|64)", "indices", without_zone(kind, name, instants))


def by_pyarrow(paths, instants):
    rows, kinds = [], set()
    for path in paths:
        file = pq.ParquetFile(path, **({"coerce_int96_timestamp_unit": "us"} if instants else {}))
        table = file.read()
        if DATE in table.column_names:
            table = table.drop_columns([DATE])
        fields = [[f.name, shown(f.type, f.name, instants), f.nullable, sorted(told(f))] for f in table.schema]
        kinds.add(json.dumps(fields))
        rows += zip(*map(values, table.columns)) if table.num_columns else [()] * table.num_rows
    return {"types": sorted(kinds), "rows": digest(rows)}


def told(field):
    """What a field says of itself, and those in it."""
    own = [(field.name, k.decode(), v.decode(errors="replace")) for k, v in (field.metadata or {}).items()]
    kind = field.type
    inner = [kind.field(i) for i in range(kind.num_fields)] if not isinstance(kind, (pa.BaseExtensionType, pa.DictionaryType)) else []
    return own + [t for f in inner for t in told(f)]


def by_duckdb(paths, instants):
    connection = duckdb.connect()
    connection.execute("SET TimeZone = 'UTC'")
    rows, kinds = [], set()
    for path in paths:
        table = f"read_parquet('{str(path).replace(chr(39), chr(39) * 2)}', hive_partitioning = false)"
        columns = [(name, kind) for name, kind, *_ in connection.execute(f"DESCRIBE SELECT * FROM {table}").fetchall() if name != DATE]
        as_utc = lambda name, kind: re.sub(r"TIMESTAMP(_NS| WITH TIME ZONE)?", "TIMESTAMP", kind) if name in instants else kind  # noqa: E731
        kinds.add(json.dumps([[name, as_utc(name, kind)] for name, kind in columns]))
        quoted = [f'"{name.replace(chr(34), chr(34) * 2)}"' for name, _ in columns]
        texts = ", ".join(f"regexp_replace({q}::VARCHAR, '\\+00', '', 'g')" if n in instants else f"{q}::VARCHAR" for q, (n, _) in zip(quoted, columns))
        rows += connection.execute(f"SELECT {texts} FROM {table}").fetchall() if columns else []
    return {"types": sorted(kinds), "rows": digest(rows)}


def by_polars(paths, instants):
    kinds = set()
    for path in paths:
        kind = lambda k: re.sub(r"Datetime\([^)]*\)", "Datetime", str(k))  # noqa: E731
        kinds.add(json.dumps([[n, kind(k) if n in instants else str(k)] for n, k in pl.read_parquet_schema(path).items() if n != DATE]))
    return {"types": sorted(kinds)}


def by_parquet(paths, _):
    """The schema as it is in the file, but for what is only spelled differently, and the pairs on which all files agree."""
    schemas, pairs = set(), None
    for path in paths:
        file = pq.ParquetFile(path)
        schemas.add(json.dumps(spelled(str(file.schema))))
        own = {k.decode(): base64.b64encode(v).decode() for k, v in (file.metadata.metadata or {}).items() if not k.startswith(b"icepack.")}
        own = {k: "an Arrow schema" if k == "ARROW:schema" else v for k, v in own.items()}
        pairs = own if pairs is None else {k: v for k, v in pairs.items() if own.get(k) == v}
    return {"types": sorted(schemas), "pairs": pairs}


INT96 = re.compile(r" int96 field_id=(\S+) ([^;]*?);")
# What icepack makes of it, see docs/rfcs/0015-types.md.
INSTANT = r" int64 field_id=\1 \2 (Timestamp(isAdjustedToUTC=true, timeUnit=microseconds, is_from_converted_type=false));"


def spelled(schema):
    """A line for each leaf or group. The name of the root is nobody's."""
    lines = [re.sub(r"\s+", " ", line.strip()) for line in schema.splitlines()]
    lines = [line for line in lines if DATE not in line and "ParquetSchema object" not in line]
    lines = [re.sub(r", force_set_converted_type=\w+", "", line) for line in lines]
    # All integers of these widths are signed unless they say otherwise.
    lines = [re.sub(r" \(Int\(bitWidth=(32|64), isSigned=true\)\)", "", line) for line in lines]
    # The bytes of a decimal are the writer's to choose.
    lines = [INT96.sub(INSTANT, line) for line in lines]
    lines = [re.sub(r" (int32|int64|binary|fixed_len_byte_array\(\d+\)) (field_id=\S+ .*\(Decimal\()", r" decimal \2", line) for line in lines]
    return ["root {" if re.match(r"(required|repeated|optional) group .*schema ?\{|.*group field_id=\S+ (\S+ )?\{", line) and i == 0 else line for i, line in enumerate(lines)]


READERS = {"pyarrow": by_pyarrow, "duckdb": by_duckdb, "polars": by_polars, "parquet": by_parquet}


def seen(paths, instants):
    """What each reader says; or that it cannot read them."""
    told = {}
    for name, reader in READERS.items():
        try:
            told[name] = reader(paths, instants)
        except BaseException as e:  # noqa: BLE001: Polars panics, and whatever these libraries do with what they do not know
            told[name] = {"unread": f"{type(e).__name__}: {str(e)[:200]}"}
    return told


def differences(before, after):
    return [difference(f"{reader} {what}", before[reader].get(what), after[reader].get(what)) for reader in READERS for what in changed(before[reader], after[reader])]


def changed(before, after):
    if "unread" in before:
        return
    if "unread" in after:
        yield "unread"
    elif "types" in before and set(after["types"]) - set(before["types"]) or len(after["types"]) > len(before["types"]):
        yield "types"
    if "rows" in before and "rows" in after and before["rows"] != after["rows"]:
        yield "rows"
    if "pairs" in before and "pairs" in after and before["pairs"] != after["pairs"]:
        yield "pairs"


def difference(what, before, after):
    """Only the parts that differ."""
    parts = lambda v: [json.dumps(p) for p in (sum(map(json.loads, v), []) if what.endswith("types") else v.items() if isinstance(v, dict) else [v])]  # noqa: E731
    if before is None or after is None:
        return f"{what}: {after}"[:600]
    a, b = parts(before), parts(after)
    gone, new = [p for p in a if p not in b], [p for p in b if p not in a]
    short = lambda ps: " ".join(p[:160] for p in ps[:6])  # noqa: E731
    return f"{what}: {short(gone)} -> {short(new)}"


# ------------------------------------------------------------------------------------------------ one file


def twin(path, to, reverse=True):
    """The rows of `path` in the opposite order, if pyarrow writes a file of the same columns; else a copy."""
    try:
        file = pq.ParquetFile(path)
        table = file.read()
        if table.num_rows < 2 or int96(path):
            raise ValueError("a copy will do")
        turned = table.take(pa.array(range(table.num_rows - 1, -1, -1)))
        pq.write_table(turned, to, store_schema=b"ARROW:schema" in (file.metadata.metadata or {}))
        own = lambda p: (by_parquet([p], None), str(pq.read_schema(p)))  # noqa: E731
        if own(path) != own(to):
            raise ValueError("it has other columns")
        return "turned"
    except BaseException:  # noqa: BLE001
        shutil.copyfile(path, to)
        return "copied"


def dated(path, to):
    """The same with a column that dates its rows, for a program that needs one. False where pyarrow cannot."""
    try:
        file = pq.ParquetFile(path)
        table = file.read()
        times = pa.array([1_790_000_000_000_000] * table.num_rows, pa.timestamp("us"))
        pq.write_table(table.append_column(DATE, times), to, store_schema=b"ARROW:schema" in (file.metadata.metadata or {}))
        return True
    except BaseException:  # noqa: BLE001
        return False


def time_column(path):
    try:
        return next((f.name for f in pq.read_schema(path) if pa.types.is_timestamp(f.type)), None)
    except Exception:  # noqa: BLE001: DuckDB may know
        try:
            table = f"read_parquet('{path}')"
            return next((n for n, k, *_ in duckdb.connect().execute(f"DESCRIBE SELECT * FROM {table}").fetchall() if k.startswith("TIMESTAMP")), None)
        except Exception:  # noqa: BLE001
            return None


def hashes(store):
    return {str(p): hashlib.sha256(p.read_bytes()).hexdigest() for p in sorted((store / "t").rglob("*")) if p.is_file()}


def passed(icepack, store, column):
    (store / "icepack.toml").write_text(f"timestamp_column = {json.dumps(column)}\n[compaction]\nmin_files_to_compact = 2\nsmall_file_threshold = '100MiB'\n")
    env = {k: v for k, v in os.environ.items() if not k.startswith(("ICEPACK_", "AWS_", "OTEL_"))}
    command = [icepack, "run", "--json", "--log-format", "json", "--config", str(store / "icepack.toml"), "--store", str(store / "s")]
    return subprocess.run(command, capture_output=True, text=True, env=env, timeout=PASS_SECONDS)


def reasons(ran, store):
    """Why icepack left files alone, in its own words."""
    found = []
    heads = sorted((store / "s/_icepack/t/manifest").glob("*.json"))
    if heads:
        found += [q["reason"] for q in json.loads(heads[-1].read_text()).get("quarantined", [])]
    try:
        tenants = json.loads(ran.stdout)["tenants"]
    except (ValueError, KeyError):
        tenants = []
    found += [t["error"] for t in tenants if t.get("error")] + [str(a) for t in tenants for a in t.get("set_aside", [])]
    if not found and ran.returncode not in (0, 3):
        found = [ran.stderr.strip().splitlines()[-1] if ran.stderr.strip() else f"exit {ran.returncode}"]
    return sorted(set(found))


def judge(icepack, path, knows_none):
    """What becomes of one file, as [verdict, words, how its second was made]."""
    with tempfile.TemporaryDirectory() as room:
        room = pathlib.Path(room)
        store, tenant = room, room / "s/t"
        tenant.mkdir(parents=True)
        one, other = tenant / "a.parquet", tenant / "b.parquet"
        column, made = time_column(path), ""
        if column is None and not knows_none and dated(path, one):
            column, made = DATE, "dated, "
        else:
            shutil.copyfile(path, one)
        column = column or (NONE if knows_none else "timestamp")
        made += twin(one, other)
        try:
            instants = int96(one)
        except Exception:  # noqa: BLE001
            instants = set()
        before, was = seen([one, other], instants), hashes(room / "s")
        ran = passed(icepack, store, column)
        now = hashes(room / "s")
        why = reasons(ran, store)
        if now == was:
            if "panicked" in ran.stderr or ran.returncode in (101, -6, -9, -11):
                return ["CHANGED", f"icepack failed with {ran.returncode}: {ran.stderr[-300:]}", made]
            return ["left", "; ".join(why), made] if why else ["CHANGED", f"left alone without a reason (exit {ran.returncode})", made]
        files = [pathlib.Path(p) for p in now]
        if any(p in now and now[p] != was[p] for p in was):
            return ["CHANGED", "an input was overwritten", made]
        if not files:
            return ["emptied", "there were files without rows, and now there is none", made]
        found = differences(before, seen(files, instants))
        if found:
            return ["CHANGED", "; ".join(found), made]
        unread = [r for r in ("pyarrow", "duckdb") if "unread" in before[r]]
        if why:
            return ["left", f"one of the two files: {'; '.join(why)}", made]
        return ["merged", f"unread by {' and '.join(unread)}" if unread else "INT96 became TIMESTAMP(us, UTC)" if instants else "", made]


def worker(icepack, path, knows_none, pipe):
    # What libraries print of broken files is nobody's business.
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    try:
        pipe.send(judge(icepack, path, knows_none))
    except BaseException as e:  # noqa: BLE001
        pipe.send(["CHANGED", f"not judged: {type(e).__name__}: {e}", ""])
    os._exit(0)


def knows_none(icepack):
    with tempfile.TemporaryDirectory() as room:
        room = pathlib.Path(room)
        (room / "s/t").mkdir(parents=True)
        for name in "ab":
            pq.write_table(pa.table({"x": [1]}), room / f"s/t/{name}.parquet")
        passed(icepack, room, NONE)
        return len(list((room / "s/t").glob("*.parquet"))) == 1


# ------------------------------------------------------------------------------------------------ all of them


def sweep(arguments):
    """Each file in a process of its own: readers crash on some."""
    context = multiprocessing.get_context("fork")
    none = knows_none(arguments.icepack)
    waiting, running, results = list(found(arguments.folders, arguments.limit << 20))[:: arguments.every][::-1], [], []
    while waiting or running:
        while waiting and len(running) < arguments.parallel:
            path = waiting.pop()
            ours, theirs = context.Pipe()
            process = context.Process(target=worker, args=(arguments.icepack, path, none, theirs))
            process.start()
            theirs.close()
            running.append((path, process, ours, time.monotonic()))
        for job in list(running):
            path, process, pipe, began = job
            verdict = None
            if pipe.poll(0.02):
                try:
                    verdict = pipe.recv()
                except EOFError:
                    process.join()
                    verdict = ["unjudged", f"a reader ended its process ({process.exitcode})", ""]
            elif time.monotonic() - began > arguments.timeout:
                process.kill()
                verdict = ["unjudged", f"the readers were not done after {arguments.timeout} s", ""]
            if verdict:
                process.join()
                running.remove(job)
                results.append([str(path), *verdict])
                print(f"{verdict[0]:8} {path}  {verdict[1]}" + (f"  ({verdict[2]})" if verdict[2] else ""), flush=True)
    return results


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--icepack", required=True)
    parser.add_argument("--limit", type=int, default=4)
    parser.add_argument("--timeout", type=int, default=120)
    parser.add_argument("--parallel", type=int, default=2)
    parser.add_argument("--every", type=int, default=1, help="of so many files, the first")
    parser.add_argument("--json")
    parser.add_argument("folders", nargs="+")
    arguments = parser.parse_args()
    arguments.icepack = os.path.abspath(arguments.icepack)
    results = sweep(arguments)
    if arguments.json:
        pathlib.Path(arguments.json).write_text(json.dumps(results, indent=1))
    counts = collections.Counter(verdict for _, verdict, *_ in results)
    why = collections.Counter(re.sub(r"`[^`]*`", "`…`", words) for _, verdict, words, _ in results if verdict == "left")
    print(f"\n{len(results)} files: " + ", ".join(f"{counts[v]} {v}" for v in ("merged", "left", "emptied", "CHANGED", "unjudged")))
    for words, times in why.most_common():
        print(f"{times:6} left: {words}")
    return 1 if counts["CHANGED"] or not results else 0


if __name__ == "__main__":
    sys.exit(main())
