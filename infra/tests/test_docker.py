"""infra/docker: linted, and its build context holds what is copied. test_image builds and runs it."""

import os
import pathlib
import re
import tomllib
import unittest

from support import INFRA, ROOT, left_out, run

DOCKERFILE = INFRA / "docker" / "Dockerfile"
LINTERS = os.environ.get("ICEPACK_TEST_LINTERS")
if not LINTERS:
    left_out("the Dockerfile by hadolint", "it could not be installed (see above).")


def instructions():
    """The Dockerfile's instructions, as (name, argument), a line each."""
    text = re.sub(r"^\s*#.*\n", "", DOCKERFILE.read_text(), flags=re.M).replace("\\\n", " ")
    return [tuple(line.split(None, 1)) for line in text.splitlines() if line.strip()]


def in_context(path):
    """Whether .dockerignore lets a path in: all is shut out but what is named."""
    first, *allowed = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line and not line.startswith("#")]
    assert first == "*" and all(line.startswith("!") for line in allowed), "this test knows a list of exceptions only"
    return any(path == name[1:] or path.startswith(f"{name[1:]}/") for name in allowed)


class Docker(unittest.TestCase):
    @unittest.skipUnless(LINTERS, "hadolint could not be installed")
    def test_lint(self):
        run(pathlib.Path(LINTERS) / "bin" / "hadolint", "--failure-threshold", "style", DOCKERFILE)

    def test_the_context_holds_what_is_copied(self):
        copied = [a.split()[:-1] for name, a in instructions() if name == "COPY" and "--from" not in a]
        self.assertTrue(copied)
        for source in sum(copied, []):
            made = source.startswith("dist/")
            self.assertTrue((made or (ROOT / source).exists()) and in_context(source), source)
        self.assertFalse(in_context("demo-data/x") or in_context(".git/config") or in_context("target"))

    def test_the_context_holds_what_cargo_wants(self):
        """A target that Cargo.toml names by its path must be there, or nothing builds."""
        manifest = tomllib.loads((ROOT / "Cargo.toml").read_text())
        targets = [t for kind in ("bin", "bench", "test", "example") for t in manifest.get(kind, [])] + [manifest.get("lib", {})]
        folders = {"bench": "benches", "test": "tests", "example": "examples"}
        paths = [t["path"] for t in targets if "path" in t]
        paths += [f"{folders[kind]}/{t['name']}.rs" for kind in folders for t in manifest.get(kind, []) if "path" not in t]
        if (ROOT / "build.rs").exists():
            paths.append("build.rs")
        self.assertEqual([path for path in paths if not in_context(path)], [], "add these to .dockerignore and to COPY in infra/docker/Dockerfile")

    def test_what_runs(self):
        last = max(i for i, (name, _) in enumerate(instructions()) if name == "FROM")
        final = dict(instructions()[last:])
        self.assertRegex(final["USER"], r"^[1-9][0-9]*:[1-9][0-9]*$")
        self.assertTrue(final["ENTRYPOINT"].startswith("[") and final["CMD"].startswith("["), "there is no shell")
        self.assertNotIn("RUN", final, "there is no shell")
        self.assertIn("ICEPACK_SPILL_DIR=/spill", final["ENV"])

    def test_the_bases_have_versions(self):
        bases = [a for name, a in instructions() if name == "ARG" and "_IMAGE=" in a]
        self.assertEqual(len(bases), 2)
        for base in bases:
            self.assertRegex(base, r"=[a-z0-9./-]+:[a-z0-9.-]+$")
            self.assertNotIn(":latest", base)

    def test_the_build_runs_with_the_compiler_that_cargo_asks_for(self):
        wanted = tomllib.loads((ROOT / "Cargo.toml").read_text())["workspace"]["package"]["rust-version"]
        (image,) = [a for name, a in instructions() if name == "ARG" and a.startswith("RUST_IMAGE=")]
        major_minor = re.search(r"rust:(\d+)\.(\d+)", image)
        self.assertGreaterEqual(tuple(map(int, major_minor.groups())), tuple(map(int, wanted.split(".")[:2])))
        # The workflows install the same one.
        (version,) = re.findall(r"rust:(\d+\.\d+\.\d+)", image)
        for workflow in (ROOT / ".github" / "workflows").iterdir():
            self.assertEqual(set(re.findall(r"rustup (?:toolchain install|default) (\S+)", workflow.read_text())), {version}, workflow)


if __name__ == "__main__":
    unittest.main()
