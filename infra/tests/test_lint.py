"""Linters over infra/ and over every shell script of the repository."""

import os
import pathlib
import sys
import unittest

import test_helm
import test_kustomize
from support import INFRA, ROOT, left_out, run

LINTERS = os.environ.get("ICEPACK_TEST_LINTERS")
if not LINTERS:
    left_out("the shell scripts by shellcheck, and the workflows", "it could not be installed (see above).")

# Long lines are this repository's habit, and a document needs no mark where there is one in a file.
WORKFLOWS = ROOT / ".github" / "workflows"
RULES = "{extends: default, rules: {line-length: disable, document-start: disable, comments: {min-spaces-from-content: 1}, truthy: {check-keys: false}}}"


def scripts():
    """Everything that a shell reads, by its first line."""
    folders = [ROOT, *(ROOT / name for name in (".ci", "scripts", "localstack", "infra", "packaging"))]
    found = {path for folder in folders for path in (folder.rglob("*") if folder != ROOT else folder.iterdir()) if path.is_file()}
    return sorted(path for path in found if path.read_bytes().partition(b"\n")[0] in (b"#!/usr/bin/env bash", b"#!/bin/sh", b"#!/bin/bash"))


class Lint(unittest.TestCase):
    @unittest.skipUnless(LINTERS, "shellcheck could not be installed")
    def test_shell(self):
        found = scripts()
        self.assertGreater(len(found), 7)
        run(pathlib.Path(LINTERS) / "bin" / "shellcheck", *found)

    @unittest.skipUnless(LINTERS, "jactionlint and zizmor could not be installed")
    def test_workflows(self):
        programs, found = pathlib.Path(LINTERS) / "bin", sorted(WORKFLOWS.iterdir())
        # Shellcheck reads the scripts in them, too.
        run(programs / "jactionlint", "--shellcheck", programs / "shellcheck", *found)
        run(programs / "zizmor", "--offline", "--quiet", "--no-progress", "--persona", "regular", *found)

    def test_every_golden_render_is_compared(self):
        wanted = {f"helm-{name}.yaml" for name in test_helm.CASES} | {f"kustomize-{name}.yaml" for name in test_kustomize.FOLDERS}
        self.assertEqual({path.name for path in (INFRA / "tests" / "golden").iterdir()}, wanted)

    def test_yaml(self):
        found = [*INFRA.glob("cloudformation/*.yaml"), *INFRA.glob("kustomize/**/*.yaml"), *INFRA.glob("helm/icepack/*.yaml"), ROOT / "localstack" / "compose.yaml", *WORKFLOWS.iterdir()]
        self.assertGreater(len(found), 10)
        run(pathlib.Path(sys.executable).with_name("yamllint"), "--strict", "-d", RULES, *found)


if __name__ == "__main__":
    unittest.main()
