#!/usr/bin/env python3
"""Compares docs/metrics.md and docs/json.md with what icepack prints.

    check_reference.py --icepack PROGRAM

It makes small stores in a temporary directory, runs the commands on them, and fails where a page and the program differ: in the name, type and labels of a
metric; in the fields of a JSON document and their types. The program must have the cargo feature `delta`. Needs pyarrow.
"""

import argparse
import pathlib
import re
import sys

import reference.documents
import reference.metrics

DOCS = pathlib.Path(__file__).resolve().parents[2] / "docs"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--icepack", required=True, type=pathlib.Path)
    icepack = parser.parse_args().icepack.resolve()
    problems = reference.metrics.check(icepack, (DOCS / "metrics.md").read_text(encoding="utf-8"))
    problems += reference.documents.check(icepack, (DOCS / "json.md").read_text(encoding="utf-8"))
    for problem in problems:
        print(problem, file=sys.stderr)
    sys.exit(1 if problems else 0)


if __name__ == "__main__":
    main()
