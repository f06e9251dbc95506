"""The same job from and to a bucket: SeaweedFS on this machine, near and far. Ratios of runs that follow each other, and their medians: the CPU time is that of the tool alone."""

import contextlib
import json
import pathlib
import shutil
import statistics
import subprocess
import sys
import time

from pyarrow import fs

import generate

HERE = pathlib.Path(__file__).parent
ROOT = HERE.parent.parent
BUCKET = "bench"
KEYS = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "testtest", "AWS_REGION": "us-east-1"}
FILES, ROWS = 400, 10_000


@contextlib.contextmanager
def server(work):
    """A server of its own; its URL."""
    script, folder = ROOT / "scripts" / "s3-server.sh", work / "seaweedfs"
    url = subprocess.run([script, "start", "seaweedfs", folder], stdout=subprocess.PIPE, text=True, check=True).stdout.strip()
    try:
        yield url
    finally:
        subprocess.run([script, "stop", folder], check=True)


@contextlib.contextmanager
def wire(url):
    """The same server, 30 ms and 100 MB/s away."""
    line = subprocess.Popen([sys.executable, HERE / "wire.py", url.rsplit(":", 1)[1]], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        yield f"http://127.0.0.1:{line.stdout.readline().strip()}"
    finally:
        line.stdin.close()
        line.wait()


def client(url):
    return fs.S3FileSystem(
        access_key=KEYS["AWS_ACCESS_KEY_ID"], secret_key=KEYS["AWS_SECRET_ACCESS_KEY"], endpoint_override=url, region="us-east-1", allow_bucket_creation=True
    )


def fetched(store, prefix, target):
    """The Parquet files below `prefix`, in a directory."""
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir()
    found = [f for f in store.get_file_info(fs.FileSelector(prefix, recursive=True)) if f.is_file and f.path.endswith(".parquet") and "/_" not in f.path]
    for i, file in enumerate(sorted(found, key=lambda f: f.path)):
        fs.copy_files(file.path, str(target / f"{i:06}.parquet"), source_filesystem=store, destination_filesystem=fs.LocalFileSystem())
    return sorted(target.rglob("*.parquet"))


class Contest:
    def __init__(self, bench, url, data, rows_of, run):
        self.bench, self.url, self.data, self.rows_of, self.run = bench, url, data, rows_of, run
        self.near = client(url)
        pins = HERE / "duckdb-bucket.txt"
        made = subprocess.run([ROOT / "scripts" / "pinned-venv.sh", "compare-duckdb", pins], stdout=subprocess.PIPE, text=True, check=False)
        self.pythons = {"duckdb-s3": f"{made.stdout.strip()}/bin/python"} if made.returncode == 0 else {}

    def prepare(self):
        self.near.create_dir(BUCKET)
        fs.copy_files(str(self.data), f"{BUCKET}/raw", source_filesystem=fs.LocalFileSystem(), destination_filesystem=self.near)

    def own(self, url):
        """A pass over a copy of the files."""
        prefix = f"{BUCKET}/own"
        fs.copy_files(f"{BUCKET}/raw", prefix, source_filesystem=self.near, destination_filesystem=self.near)
        config = self.bench.work / "icepack.toml"
        config.write_text(f'store = "s3://{prefix}"\n')
        output, figures = self.run([self.bench.icepack, "--config", str(config), "--json", "-q", "run"], AWS_ENDPOINT_URL=url, **KEYS)
        figures["requests"] = json.loads(output)["requests"]
        return prefix, figures

    def peer(self, name, url):
        prefix = f"{BUCKET}/out"
        python = self.pythons.get(name, sys.executable)
        command = [python, str(HERE / "contenders.py"), name, f"{BUCKET}/raw", prefix]
        output, figures = self.run(command, AWS_ENDPOINT_URL=url, AWS_ALLOW_HTTP="true", **KEYS)
        return prefix, figures | json.loads(output)

    def turns(self, url, names, repeat, check):
        """Every tool in turns."""
        seen = {name: [] for name in names}
        want = self.rows_of(sorted(self.data.rglob("*.parquet")))
        for turn in range(repeat):
            # The first of a turn is another each time.
            for name in names[turn % len(names) :] + names[: turn % len(names)]:
                prefix, figures = self.own(url) if name == "icepack" else self.peer(name, url)
                if check and turn == 0:
                    got = self.rows_of(fetched(self.near, prefix, self.bench.work / "fetched"))
                    assert got == want, (name, got, want)
                self.near.delete_dir(prefix)
                seen[name].append(figures)
                print(f"  {name:14} {figures['wall']:7.2f} s {figures['cpu']:7.2f} s CPU {figures['mib']:6.0f} MiB", file=sys.stderr)
        return seen


def ratios(seen):
    """Of each peer: icepack's wall and CPU time by its own, as medians of the turns."""
    own = seen["icepack"]
    ratio = lambda peer, key: statistics.median(a[key] / b[key] for a, b in zip(own, peer, strict=True))  # noqa: E731
    return {name: {key: ratio(runs, key) for key in ("wall", "cpu")} for name, runs in seen.items() if name != "icepack"}


def cases(bench, rows_of, run, files=FILES):
    """The job near and far."""
    data = bench.work / "raw"
    shutil.rmtree(data, ignore_errors=True)
    total = generate.generate(data, "acme", files, ROWS, 30, int(time.time()))
    found = {"files": files, "rows": files * ROWS, "bytes": total, "repeat": bench.repeat}
    with server(bench.work) as url:
        contest = Contest(bench, url, data, rows_of, run)
        contest.prepare()
        names = ["icepack", "polars-s3", "pyarrow-s3", *contest.pythons]
        for place, at in (("near", contextlib.nullcontext(url)), ("far", wire(url))):
            with at as address:
                print(f"a bucket that is {place}, {files} files", file=sys.stderr)
                seen = contest.turns(address, names, bench.repeat, place == "near")
            middle = {n: {k: statistics.median(r[k] for r in runs) for k in ("wall", "cpu", "mib")} for n, runs in seen.items()}
            found[place] = {"tools": middle, "ratios": ratios(seen), "requests": seen["icepack"][-1]["requests"]}
    shutil.rmtree(data)
    return found
