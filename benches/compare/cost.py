"""What a terabyte costs: requests that are counted and CPU seconds that are measured, on SeaweedFS, at list prices.

Each kind of files is packed in two sizes, and the difference counts: what a pass costs in any case is in neither figure.
"""

import json
import pathlib
import shutil
import sys
import time

from pyarrow import fs

import bucket
import generate

TB = 1e12
GB = 2**30

# Rows of a file (some 95 bytes each), files of a folder, and folders.
CASES = [(100, 500, 1), (100, 10, 50), (1_000, 200, 1), (1_000, 10, 20), (10_000, 60, 1), (10_000, 10, 6), (80_000, 8, 1)]
LARGER = 3

COMPUTE = {"what": "AWS Fargate, Linux on x86, a vCPU for an hour", "usd": 0.04048, "source": "https://aws.amazon.com/fargate/pricing/", "date": "2026-03"}
# By object and by GB of 2^30 bytes.
MANAGED = [
    {"what": "Amazon S3 Tables, binpack", "object": 0.002 / 1e3, "gb": 0.005, "source": "https://aws.amazon.com/s3/pricing/", "date": "2025-07"},
    {
        "what": "Cloudflare R2 Data Catalog",
        "object": 2.0 / 1e6,
        "gb": 0.005,
        "source": "https://developers.cloudflare.com/r2/data-catalog/platform/pricing/",
        "date": "no date",
    },
]


def data(path, rows, files, folders):
    """`files` files in each of `folders` folders; their bytes."""
    shutil.rmtree(path, ignore_errors=True)
    made = path.with_name("made")
    shutil.rmtree(made, ignore_errors=True)
    total = generate.generate(made, "acme", files * folders, rows, 30, int(time.time()))
    for i, file in enumerate(sorted(made.rglob("*.parquet"))):
        folder = path / "acme" / f"device={i % folders:04}"
        folder.mkdir(parents=True, exist_ok=True)
        file.rename(folder / f"{i:06}.parquet")
    shutil.rmtree(made)
    return total


def packed(bench, store, url, run, case):
    """Requests and CPU seconds of a pass over such files."""
    source, prefix = bench.work / "cost", f"{bucket.BUCKET}/cost"
    total = data(source, *case)
    fs.copy_files(str(source), prefix, source_filesystem=fs.LocalFileSystem(), destination_filesystem=store)
    config = bench.work / "icepack.toml"
    config.write_text(f'store = "s3://{prefix}"\n')
    output, figures = run([bench.icepack, "--config", str(config), "--json", "-q", "run"], AWS_ENDPOINT_URL=url, **bucket.KEYS)
    report = json.loads(output)
    store.delete_dir(prefix)
    _, files, folders = case
    assert report["totals"]["files_compacted"] == files * folders, report["totals"]
    return {"bytes": total, "files": files * folders, "cpu": figures["cpu"]} | report["requests"]


def price_list(bench, run, url):
    """That of the program."""
    config = bench.work / "icepack.toml"
    config.write_text(f'store = "s3://{bucket.BUCKET}/empty"\n')
    output, _ = run([bench.icepack, "--config", str(config), "--json", "plan"], AWS_ENDPOINT_URL=url, **bucket.KEYS)
    return json.loads(output)["prices"]


def a_terabyte(small, large, prices):
    """What the difference costs, for 10^12 bytes of it."""
    more = {key: large.get(key, 0) - small.get(key, 0) for key in large}
    scale = TB / more["bytes"]
    of = prices["classes"]["STANDARD"]
    writes = more["put"] + more["list"] + more.get("copy", 0)
    reads = more["get"] + more["head"]
    requests = (writes * of["put"] + reads * of["get"]) / 1e3 * scale
    hours = more["cpu"] / 3600 * scale
    return {
        "file": more["bytes"] / more["files"],
        "files": more["files"] * scale,
        "writes": writes * scale,
        "reads": reads * scale,
        "hours": hours,
        "requests_usd": requests,
        "cpu_usd": hours * COMPUTE["usd"],
        "managed_usd": [m["object"] * more["files"] * scale + m["gb"] * TB / GB for m in MANAGED],
    }


def cases(bench, run):
    """Each kind, for a terabyte."""
    found = []
    with bucket.server(pathlib.Path(bench.work)) as url:
        store = bucket.client(url)
        store.create_dir(bucket.BUCKET)
        prices = price_list(bench, run, url)
        for rows, files, folders in CASES:
            # A folder more is a folder's work more; of one folder, its files are more.
            larger = (rows, files * LARGER, folders) if folders == 1 else (rows, files, folders * LARGER)
            small, large = (packed(bench, store, url, run, case) for case in ((rows, files, folders), larger))
            found.append({"in_folder": files if folders > 1 else None} | a_terabyte(small, large, prices))
            print(f"  {found[-1]}", file=sys.stderr)
    return {"cases": found, "prices": {key: prices[key] for key in ("region", "date", "source")} | prices["classes"]["STANDARD"]}
