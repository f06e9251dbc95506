"""The metrics of a page against those of a pass."""

import pathlib
import re
import tempfile

from . import tables
from .program import Program

Metrics = dict[str, tuple[str, dict[str, set[str]]]]


def documented(page: str) -> Metrics:
    """Type and labels of each metric, by its name. A label has the values that the page lists; none where it may have any."""
    found = {}
    for section in tables.sections(page).values():
        for row in section.rows:
            if name := re.fullmatch(r"`(icepack_\w+)`", row[0]):
                assert name[1] not in found, f"{name[1]} is on the page twice"
                words = re.findall(r"`(\w+)`", row[2])
                found[name[1]] = (row[1], {words[0]: set(words[1:])} if words else {})
    return found


def exported(text: str) -> Metrics:
    """The same of Prometheus's text format."""
    found = {}
    for name, kind in re.findall(r"^# TYPE (\S+) (\S+)$", text, re.MULTILINE):
        labels: dict[str, set[str]] = {}
        for sample in re.findall(rf"^{name}\{{(.*)\}} \S+$", text, re.MULTILINE):
            for label, value in re.findall(r'(\w+)="([^"]*)"', sample):
                labels.setdefault(label, set()).add(value)
        found[name] = (kind, labels)
    return found


def differences(page: Metrics, program: Metrics) -> list[str]:
    problems = [f"metrics.md: {name} is exported and not on the page" for name in sorted(program.keys() - page.keys())]
    problems += [f"metrics.md: {name} is not exported" for name in sorted(page.keys() - program.keys())]
    for name in sorted(page.keys() & program.keys()):
        (kind, labels), (real_kind, real_labels) = page[name], program[name]
        if kind != real_kind:
            problems.append(f"metrics.md: {name} is a {real_kind}, not a {kind}")
        if labels.keys() != real_labels.keys():
            problems.append(f"metrics.md: {name} has the labels {sorted(real_labels)}, not {sorted(labels)}")
        problems += [
            f"metrics.md: {name} has {label} {sorted(real_labels[label])}, not {sorted(values)}"
            for label, values in labels.items()
            if values and real_labels.get(label, values) != values
        ]
    return problems


def check(icepack: pathlib.Path, page: str) -> list[str]:
    with tempfile.TemporaryDirectory() as room:
        program = Program(icepack, pathlib.Path(room))
        program.run("demo", "--store", "store", "--files", "5", "--rows", "100")
        program.run("run", "--store", "store", "--archive", "archive", ICEPACK_METRICS_FILE="icepack.prom")
        return differences(documented(page), exported((program.room / "icepack.prom").read_text(encoding="utf-8")))
