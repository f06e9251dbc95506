"""The documents point at things that are there."""

import pathlib
import re
import subprocess
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
CODE_PATH = re.compile(r"(?<![\w./-])(?:src|tests|crates)/[\w./*-]*[\w*]")


def documents() -> list[pathlib.Path]:
    listed = subprocess.run(["git", "ls-files", "--cached", "--others", "--exclude-standard", "*.md"], cwd=ROOT, capture_output=True, text=True, check=True)
    return [ROOT / name for name in listed.stdout.splitlines() if (ROOT / name).exists()]


def without_code(text: str) -> str:
    text = re.sub(r"^( *)```.*?^\1```", "", text, flags=re.MULTILINE | re.DOTALL)
    return re.sub(r"`[^`\n]*`", "", text)


def anchors(document: pathlib.Path) -> set[str]:
    """As GitHub makes them of headings."""
    headings = re.findall(r"^#+ (.*)$", re.sub(r"^```.*?^```", "", document.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


class Links(unittest.TestCase):
    def test_every_link_leads_somewhere(self):
        self.assertGreater(len(documents()), 10)
        broken, seen = [], 0
        for document in documents():
            for target in LINK.findall(without_code(document.read_text(encoding="utf-8"))):
                if re.match(r"[a-z]+:", target):
                    continue
                seen += 1
                path, _, anchor = target.partition("#")
                there = document if not path else (document.parent / path).resolve()
                if not there.exists() or (anchor and there.suffix == ".md" and anchor not in anchors(there)):
                    broken.append(f"{document.relative_to(ROOT)}: {target}")
        self.assertGreater(seen, 50)
        self.assertEqual(broken, [])

    def test_what_is_broken_would_be_found(self):
        self.assertIn("see-it-work", anchors(ROOT / "README.md"))
        self.assertEqual(LINK.findall(without_code("[a](b.md) `[c](d.md)`\n```\n[e](f.md)\n```\n![g](h.svg)")), ["b.md", "h.svg"])

    def test_every_path_of_the_code_exists(self):
        missing, seen = [], 0
        for document in [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")]:
            for path in CODE_PATH.findall(document.read_text(encoding="utf-8")):
                seen += 1
                if not any(ROOT.glob(path)):
                    missing.append(f"{document.relative_to(ROOT)}: {path}")
        self.assertGreater(seen, 50)
        self.assertEqual(missing, [])

    def test_a_path_is_found_wherever_it_stands(self):
        text = "`src/run*`, in tests/s3/delta.rs. Not infra/tests/run.sh, nor ../src/x.rs or https://a.b/tests/x"
        self.assertEqual(CODE_PATH.findall(text), ["src/run*", "tests/s3/delta.rs"])

    def test_what_the_readme_says_of_init_is_tested(self):
        """Each layout and time column of its table is one that tests/cli/buckets/init.rs expects of a bucket."""
        readme = (ROOT / "README.md").read_text(encoding="utf-8")
        expected = (ROOT / "tests/cli/buckets/init.rs").read_text(encoding="utf-8")
        table = readme.partition("## Layouts that it knows")[2].partition("\n## ")[0]
        proposed = re.findall(r'(?:layout|timestamp_column) = ("[^"]+")', table)
        self.assertGreater(len(proposed), 5)
        self.assertEqual([value for value in proposed if value not in expected], [])

    def test_each_page_is_in_the_index(self):
        index = (ROOT / "docs/README.md").read_text(encoding="utf-8")
        pages = [p.name for p in (ROOT / "docs").glob("*.md") if p.name != "README.md"]
        self.assertEqual([name for name in pages if f"({name})" not in index], [])


if __name__ == "__main__":
    unittest.main()
