"""icepack beside Polars, DuckDB, delta-rs and PyArrow at the same jobs, in one run on one machine: every figure is worth only what it is beside the others.

Each job runs in a process of its own, in turns, on files that are in the page cache. Outputs are checked: the same rows, in order where that was asked.
"""

import argparse
import json
import os
import pathlib
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

import duckdb

import bucket
import cost
import generate
import memory
import report

HERE = pathlib.Path(__file__).parent
GROUP = ["event_id", "event_type", "entity_id", "payload", "timestamp", "metadata", "version"]


def run(command, **env):
    """Runs a process: its output, wall and CPU seconds, peak memory in MiB."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("ICEPACK_", "AWS_", "OTEL_"))}
    with tempfile.NamedTemporaryFile() as figures:
        measured = [sys.executable, "-I", "-S", str(HERE / "measure.py"), figures.name, *command]
        done = subprocess.run(measured, stdout=subprocess.PIPE, env=environment | env, check=False)
        if done.returncode:
            sys.exit(f"{command}: status {done.returncode}")
        return done.stdout, json.loads(pathlib.Path(figures.name).read_text())


def link(source, target):
    """The files of `source` under other names: no tool changes a file, icepack and delta-rs delete some."""
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(source, target, copy_function=os.link)


def flat(source, target):
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir()
    for i, path in enumerate(sorted(source.rglob("*.parquet"))):
        os.link(path, target / f"{i:06}.parquet")


def warm(source):
    for path in source.rglob("*.parquet"):
        path.read_bytes()


def size(paths):
    return sum(p.stat().st_size for p in paths)


class Bench:
    def __init__(self, given):
        self.work, self.icepack, self.repeat = pathlib.Path(given.work), given.icepack, given.repeat

    def own(self, source, config="", command="run", store=None):
        """A pass of icepack over a copy of `source`."""
        store = store or self.work / "store"
        if source:
            link(source, store)
        path = self.work / "icepack.toml"
        path.write_text(f'store = "{store}"\n{config}')
        output, figures = run([self.icepack, "--config", str(path), "--json", "-q", command])
        totals = json.loads(output)
        figures["requests"] = totals["requests"]
        figures["ledger"] = totals["totals"]["ledger"]
        return sorted(store.rglob("snapshot.*.parquet")), figures

    def peer(self, name, source):
        out = self.work / "out"
        shutil.rmtree(out, ignore_errors=True)
        if name.startswith("delta"):
            out = self.work / "delta"
            flat(source, out)
            source = out
        output, figures = run([sys.executable, str(HERE / "contenders.py"), name, str(source), str(out)])
        figures |= json.loads(output)
        made = [p for p in sorted(out.rglob("*.parquet")) if not name.startswith("delta") or p.name.startswith("part-")]
        return made, figures

    def contest(self, source, names, own_config, rows, ordered, repeat):
        """Every tool in turns; medians."""
        warm(source)
        seen = {name: [] for name in names}
        want = rows_of(sorted(source.rglob("*.parquet")))
        assert want["rows"] == rows, want
        for turn in range(repeat):
            for name in names:
                made, figures = self.own(source, own_config) if name == "icepack" else self.peer(name, source)
                figures |= {"bytes": size(made), "files": len(made)}
                if turn == 0:
                    got = rows_of(made)
                    assert got == want, (name, got, want)
                    if name in ordered:
                        assert all(is_sorted(p) for p in made), f"{name} did not sort"
                seen[name].append(figures)
                print(f"  {name:14} {figures['wall']:7.2f} s {figures['cpu']:7.2f} s CPU {figures['mib']:6.0f} MiB", file=sys.stderr)
        return {name: middle(runs) for name, runs in seen.items()}


def middle(runs):
    numbers = {k: statistics.median(r[k] for r in runs) for k in ("wall", "cpu", "mib", "bytes", "files")}
    return runs[-1] | numbers


def rows_of(paths):
    """Count and content of all rows, whatever their order. `version` is a long for delta-rs."""
    names = ", ".join(f"'{p}'" for p in paths)
    columns = ", ".join("version::BIGINT" if c == "version" else c for c in GROUP)
    query = f"SELECT count(*), sum(hash({columns})::HUGEINT) FROM read_parquet([{names}])"
    rows, content = duckdb.sql(query).fetchall()[0]
    return {"rows": rows, "content": str(content)}


def is_sorted(path):
    query = f"SELECT count(*) FROM (SELECT timestamp < lag(timestamp) OVER (ORDER BY file_row_number) AS back FROM read_parquet('{path}', file_row_number = true)) WHERE back"
    return duckdb.sql(query).fetchall()[0][0] == 0


def sorted_compaction(bench, scales):
    results = []
    for scale in scales:
        files = max(3, round(400 * scale))
        print(f"sorted compaction, {files} files", file=sys.stderr)
        data = bench.work / "raw"
        shutil.rmtree(data, ignore_errors=True)
        total = generate.generate(data, "acme", files, 10_000, 30, int(time.time()))
        names = ["icepack", "polars", "duckdb", "delta-compact"] + (["delta-zorder"] if scale <= 1 else [])
        found = bench.contest(data, names, "", files * 10_000, ("icepack", "polars", "duckdb"), bench.repeat if scale <= 1 else 1)
        results.append({"files": files, "rows": files * 10_000, "bytes": total, "tools": found})
        if scale == 1:
            results[-1]["archive"] = archive(bench, data)
    return results


def archive(bench, data):
    """The same pass with nothing expired, and with half of the rows expired into an archive."""
    runs = {"kept": [], "archived": []}
    for _ in range(bench.repeat):
        for name, ttl in (("kept", "3650d"), ("archived", "15d")):
            cold = bench.work / "cold"
            shutil.rmtree(cold, ignore_errors=True)
            # The ceiling on what a pass may expire is for real life.
            config = f'[retention]\ndefault_ttl = "{ttl}"\nmax_expire_percent = 100\n[archive]\nurl = "{cold}"\n'
            made, figures = bench.own(data, config)
            runs[name].append(figures | {"bytes": size(made), "files": len(made)})
    return {name: middle(r) for name, r in runs.items()}


def large_merge(bench):
    """Ten sorted snapshots of some 128 MiB to one: disjoint, and each overlapping the next at its end, as what is packed from overlapping files does."""
    return {
        "disjoint": merge_of_ten(bench, False, ["icepack", "polars-concat", "duckdb-concat", "delta-concat", "copy"]),
        # Here it takes a sort: whoever only puts files together would be wrong.
        "overlapping": merge_of_ten(bench, True, ["icepack", "polars", "copy"]),
    }


def merge_of_ten(bench, overlap, names):
    print(f"merging large snapshots, {'overlapping at their ends' if overlap else 'disjoint'}", file=sys.stderr)
    data, store, files = bench.work / "raw", bench.work / "large", bench.work / "large-files"
    for folder in (data, store, files):
        shutil.rmtree(folder, ignore_errors=True)
    # Within one month, so that no snapshot is cut by it.
    generate.generate(data, "acme", 2_700, 10_000, 15, 1_790_000_000, overlap=overlap)
    # What is read is twice what is written.
    target = '[compaction]\ntarget_file_size = "256MiB"\nmax_file_size = "300MiB"\n'
    bench.own(data, target, store=store)
    shutil.rmtree(data)
    made = sorted(store.rglob("snapshot.*.parquet"))
    want = rows_of(made)
    flat(store / "acme", files)
    warm(files)
    seen = {name: [] for name in names}
    for turn in range(bench.repeat):
        for name in names:
            if name == "icepack":
                copy = bench.work / "store"
                link(store, copy)
                config = '[compaction]\ntarget_file_size = "4GiB"\nmax_file_size = "8GiB"\nmin_files_to_compact = 2\n'
                out, figures = bench.own(None, config, store=copy)
            else:
                out, figures = bench.peer(name, files)
            if turn == 0:
                assert rows_of(out) == want, name
                assert name != "icepack" or all(is_sorted(p) for p in out), "not sorted"
            seen[name].append(figures | {"bytes": size(out), "files": len(out)})
            print(f"  {name:14} {figures['wall']:7.2f} s {figures['cpu']:7.2f} s CPU {figures['mib']:6.0f} MiB", file=sys.stderr)
    return {"files": len(made), "bytes": size(made), "rows": want["rows"], "tools": {n: middle(r) for n, r in seen.items()}}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--icepack", required=True, help="the release binary")
    parser.add_argument("--work", required=True, help="a directory with room for some 12 GB")
    parser.add_argument("--scales", default="0.1,1,10")
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--parts", default="sorted,large,memory,bucket,cost")
    parser.add_argument("--bucket-files", type=int, default=bucket.FILES, help="files of 10,000 rows in the bucket")
    parser.add_argument("--results", required=True, help="figures as JSON; what is there of other parts stays")
    parser.add_argument("--docs", help="where performance.md, its pictures and scale.md go")
    given = parser.parse_args()
    pathlib.Path(given.work).mkdir(parents=True, exist_ok=True)
    bench, results = Bench(given), pathlib.Path(given.results)
    found = json.loads(results.read_text()) if results.exists() else {}
    found["machine"] = report.machine(given.icepack)
    for part in filter(None, given.parts.split(",")):
        match part:
            case "sorted":
                found[part] = sorted_compaction(bench, [float(s) for s in given.scales.split(",")])
            case "large":
                found[part] = large_merge(bench)
            case "memory":
                found[part] = memory.cases(bench)
            case "bucket":
                found[part] = bucket.cases(bench, rows_of, run, given.bucket_files)
            case "cost":
                found[part] = cost.cases(bench, run)
        results.write_text(json.dumps(found, indent=1))
    if given.docs:
        report.write(found, pathlib.Path(given.docs))


if __name__ == "__main__":
    main()
