"""Figures to docs/performance.md and a picture."""

import importlib.metadata
import os
import pathlib
import platform
import subprocess

import matplotlib

import cost

matplotlib.use("svg")
import matplotlib.pyplot as plt  # noqa: E402
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter  # noqa: E402

LABELS = {
    "icepack": "icepack",
    "polars": "Polars, sort and sink",
    "polars-concat": "Polars, scan and sink",
    "duckdb": "DuckDB, ordered COPY",
    "duckdb-concat": "DuckDB, COPY",
    "delta-compact": "delta-rs compact (does not sort)",
    "delta-concat": "delta-rs compact",
    "delta-zorder": "delta-rs z-order",
    "copy": "file copy",
    "polars-s3": "Polars, scan, sort and sink",
    "pyarrow-s3": "PyArrow, data set, sort and write",
    "duckdb-s3": "DuckDB, ordered COPY",
}
COLOURS = {"icepack": "#0b6e99", "polars": "#c2410c", "duckdb": "#a16207", "delta-compact": "#6b7280", "delta-zorder": "#9ca3af"}


def machine(icepack):
    model = next((line.split(":")[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name")), platform.processor())
    version = subprocess.run([icepack, "--version"], capture_output=True, text=True, check=True).stdout.split()[1]
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    versions = {"icepack": version} | {p: importlib.metadata.version(p) for p in ("polars", "duckdb", "deltalake")}
    return {"cpu": f"{os.cpu_count()} × {model}, {memory:.0f} GiB", "versions": versions}


def table(head, rows):
    lines = ["| " + " | ".join(head) + " |", "| " + " | ".join("---" for _ in head) + " |"]
    return "\n".join(lines + ["| " + " | ".join(str(c) for c in row) + " |" for row in rows]) + "\n"


def mb(n):
    return f"{n / 1e6:,.0f} MB"


def contest(tools, beside):
    rows = []
    for name, f in tools.items():
        ratio = lambda key: f"{f[key] / tools[beside][key]:.2f}"  # noqa: B023, E731
        rows.append(
            [LABELS[name], f"{f['wall']:.2f}", ratio("wall"), f"{f['cpu']:.2f}", ratio("cpu"), f"{f['mib']:,.0f} MiB", ratio("mib"), mb(f["bytes"]), f["files"]]
        )
    beside = LABELS[beside].split(",")[0]
    return table(["", "wall s", f"÷ {beside}", "CPU s", f"÷ {beside}", "peak memory", f"÷ {beside}", "output", "files"], rows)


def plot(sizes, path):
    figure, axes = plt.subplots(1, 3, figsize=(11, 3.4), layout="constrained")
    for axis, (key, label) in zip(axes, [("wall", "wall, s"), ("cpu", "CPU, s"), ("mib", "peak memory, MiB")]):
        for name, colour in COLOURS.items():
            points = [(s["rows"] / 1e6, s["tools"][name][key]) for s in sizes if name in s["tools"]]
            axis.plot(*zip(*points), marker="o", color=colour, label=LABELS[name], linewidth=2.5 if name == "icepack" else 1.3)
        axis.set(xscale="log", yscale="log", xlabel="million rows", title=label)
        axis.set_xticks([s["rows"] / 1e6 for s in sizes])
        for scale in (axis.xaxis, axis.yaxis):
            scale.set_major_formatter(FuncFormatter(lambda n, _: f"{n:g}"))
            scale.set_minor_formatter(NullFormatter())
        axis.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axis.grid(alpha=0.3)
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=5, frameon=False, fontsize=8)
    path.parent.mkdir(parents=True, exist_ok=True)
    plt.rcParams["svg.fonttype"] = "none"
    plt.rcParams["svg.hashsalt"] = "icepack"
    figure.savefig(path, metadata={"Date": None})
    plt.close(figure)


def write(found, docs):
    """Renews the measured parts of the pages."""
    # Its tables come from one run.
    if found.get("sorted"):
        renew(docs / "performance.md", measured(found, docs))
    if found.get("cost"):
        renew(docs / "scale.md", costs(found["cost"], found["machine"]))


def renew(page, text):
    """What lies between a page's two marks."""
    begin, end = "<!-- measured: begin -->\n", "<!-- measured: end -->\n"
    before, rest = page.read_text().split(begin)
    after = rest.split(end)[1]
    page.write_text(before + begin + text + end + after)


def costs(found, machine):
    """Dollars for a terabyte."""
    p, peers = found["prices"], cost.MANAGED
    rows = []
    for c in found["cases"]:
        file = f"{c['file'] / 1e3:,.0f} kB" if c["file"] < 1e6 else f"{c['file'] / 1e6:.1f} MB"
        folder = "all" if c["in_folder"] is None else str(c["in_folder"])
        own = [f"{c['reads'] / 1e6:.2f} M", f"{c['writes'] / 1e6:.3f} M", f"{c['hours']:.1f}", f"${c['requests_usd']:.2f}", f"${c['cpu_usd']:.2f}"]
        rows.append([file, folder, *own, f"**${c['requests_usd'] + c['cpu_usd']:.2f}**", *(f"${usd:.2f}" for usd in c["managed_usd"])])
    head = ["file", "in a folder", "GET", "PUT and LIST", "CPU hours", "requests", "CPU", "icepack", *(m["what"] for m in peers)]
    compute = cost.COMPUTE
    return (
        f"\n{table(head, rows)}\n"
        f"Requests and CPU seconds were counted by `benches/compare.sh --parts cost` with icepack {machine['versions']['icepack']} on {machine['cpu']}. "
        f"Requests at the program's price list: {p['region']}, {p['date']}, <{p['source']}>: ${p['put']} for 1,000 PUT or LIST, ${p['get']} for 1,000 GET. "
        f"CPU: {compute['what']}: ${compute['usd']}, {compute['date']}, <{compute['source']}>.\n\n"
    )


def measured(found, docs):
    m = found["machine"]
    out = [f"\n{m['cpu']}; {', '.join(f'{k} {v}' for k, v in m['versions'].items())}. Medians; ratios within one run.\n"]
    if sizes := found.get("sorted"):
        out.append("\n### Sorted compaction\n\nSmall overlapping snappy files to sorted zstd.\n")
        for s in sizes:
            out.append(f"\n**{s['files']:,} files, {s['rows'] / 1e6:g} million rows, {mb(s['bytes'])}**\n\n{contest(s['tools'], 'polars')}")
            own = s["tools"]["icepack"]["requests"]
            out.append(f"\nicepack's requests: {requests(own)}.\n")
            if a := s.get("archive"):
                kept, archived = a["kept"], a["archived"]
                share = archived["ledger"]["rows_archived"] / archived["ledger"]["rows_in"]
                out.append(
                    f"\nThe same pass with {share:.0%} of the rows expired into an archive, verified: {archived['wall']:.2f} s against {kept['wall']:.2f} s "
                    f"with none expired ({archived['wall'] / kept['wall']:.2f}×), CPU {archived['cpu'] / kept['cpu']:.2f}×, peak {archived['mib']:,.0f} MiB.\n"
                )
        plot(sizes, docs / "img" / "performance.svg")
        out.append("\n![wall, CPU and memory against the number of rows](img/performance.svg)\n")
    if large := found.get("large"):
        out.append("\n### Merging large snapshots\n\nTo one file.\n")
        for kind, what in (("disjoint", "disjoint"), ("overlapping", "each overlapping the next at its end")):
            of = large[kind]
            out.append(f"\n**{of['files']} sorted snapshots, {what}: {mb(of['bytes'])}, {of['rows'] / 1e6:.1f} million rows**\n\n{contest(of['tools'], 'copy')}")
    if cases := found.get("memory"):
        out.append("\n### Memory\n\nPasses with the default `memory_limit` of 512 MiB.\n\n")
        rows = [[c["what"], f"{c['mib']:,.0f} MiB", f"{c['wall']:.1f}", f"{c['ledger']['rows_in']:,}"] for c in cases.values()]
        out.append(table(["", "peak memory", "wall s", "rows"], rows))
    if b := found.get("bucket"):
        out.append(bucket(b))
    return "".join(out) + "\n"


def bucket(b):
    """The job from and to a bucket."""
    out = [
        f"\n### From and to a bucket\n\n{b['files']:,} files, {b['rows'] / 1e6:g} million rows, {mb(b['bytes'])}, on SeaweedFS on the same machine. Tools take "
        f"turns, {b['repeat']} each. A ratio is the median of those of icepack's run and the other's in the same turn. CPU is the tool's, without the server's. DuckDB is of the release whose httpfs is a Python package (`benches/compare/duckdb-bucket.txt`).\n"
    ]
    places = (("near", "On the loopback interface"), ("far", "Through a proxy that adds 30 ms to each request and carries 100 MB/s each way"))
    for place, what in places:
        of = b[place]
        rows = []
        for name, f in of["tools"].items():
            ratio = of["ratios"].get(name, {"wall": 1, "cpu": 1})
            rows.append([LABELS[name], f"{f['wall']:.2f}", f"{ratio['wall']:.2f}", f"{f['cpu']:.2f}", f"{ratio['cpu']:.2f}", f"{f['mib']:,.0f} MiB"])
        head = ["", "wall s", "icepack's ÷ this", "CPU s", "icepack's ÷ this", "peak memory"]
        out.append(f"\n**{what}**\n\n{table(head, rows)}\nicepack's requests: {requests(of['requests'])}.\n")
    return "".join(out)


def requests(r):
    return ", ".join(f"{n} {kind}" for kind, n in r.items() if n)
