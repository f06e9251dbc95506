"""Sections of a Markdown page, with their tables and examples."""

import dataclasses
import json
import re


@dataclasses.dataclass
class Section:
    heading: str
    # The cells of each row of its tables, without the head.
    rows: list[list[str]] = dataclasses.field(default_factory=list)
    # Its blocks of JSON.
    examples: list = dataclasses.field(default_factory=list)


def slug(heading: str) -> str:
    """As GitHub makes the anchor of a heading."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def sections(page: str) -> dict[str, Section]:
    """By the anchors of their headings. A heading that is there twice is an error, because links cannot name the second one."""
    found, section, block = {}, Section(""), None
    lines = page.splitlines()
    for n, line in enumerate(lines):
        if line.startswith("```"):
            if block is None:
                block = []
            else:
                if block and block[0] == "json":
                    section.examples.append(json.loads("\n".join(block[1:])))
                block = None
                continue
            block.append(line[3:].strip())
        elif block is not None:
            block.append(line)
        elif heading := re.match(r"#+ (.*)", line):
            section = Section(heading[1])
            assert slug(heading[1]) not in found, f"two sections are called {heading[1]}"
            found[slug(heading[1])] = section
        elif line.startswith("|"):
            is_head = n + 1 < len(lines) and lines[n + 1].startswith("| ---")
            if not is_head and not line.startswith("| ---"):
                section.rows.append([cell.strip() for cell in line.strip("|").split("|")])
    return found
