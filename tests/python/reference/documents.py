"""The JSON documents of a page against those that the commands print."""

import dataclasses
import datetime
import pathlib
import re
import tempfile
from collections.abc import Iterator

from . import stores, tables
from .program import Program

SCALARS = {
    "string": lambda v: isinstance(v, str),
    "key": lambda v: isinstance(v, str),
    "integer": lambda v: isinstance(v, int) and not isinstance(v, bool),
    "µs": lambda v: isinstance(v, int) and not isinstance(v, bool),
    "number": lambda v: isinstance(v, (int, float)) and not isinstance(v, bool),
    "boolean": lambda v: isinstance(v, bool),
    "null": lambda v: v is None,
    "object": lambda v: isinstance(v, dict),
    "any": lambda _: True,
    "time": lambda v: isinstance(v, str) and is_time(v),
}

# Fields that need a store which no directory is.
RARE = {
    "tenant-result.unread": "a store that refuses single objects",
    "unread-file.key": "likewise",
    "unread-file.reason": "likewise",
}


def is_time(text: str) -> bool:
    try:
        return datetime.datetime.fromisoformat(re.sub(r"\.\d+", "", text)).tzinfo is not None
    except ValueError:
        return False


@dataclasses.dataclass
class Page:
    """The objects of the page: the type of each field, by the anchor of the object's section."""

    objects: dict[str, dict[str, str]]
    # The section of each command.
    commands: dict[str, str]
    examples: dict[str, list]
    # What was printed, as `section.field`.
    seen: set[str] = dataclasses.field(default_factory=set)

    @classmethod
    def parse(cls, text: str) -> "Page":
        sections = tables.sections(text)
        objects = {}
        for anchor, section in sections.items():
            fields = {}
            for row in section.rows:
                if field := re.fullmatch(r"`(\w+|…)`", row[0]):
                    name = field[1] if field[1] != "…" else f"…{len(fields)}"
                    assert name not in fields, f"{anchor}.{name} is on the page twice"
                    fields[name] = row[1]
            if fields:
                objects[anchor] = fields
        commands = {name: anchor for anchor, s in sections.items() for name in re.findall(r"`([a-z ]+)`", s.heading)}
        return cls(objects, commands, {anchor: s.examples for anchor, s in sections.items() if s.examples})

    def fields(self, section: str) -> dict[str, tuple[str, str]]:
        """Each field of an object, with its own section and type: those of another one that stand among them too."""
        found = {}
        for field, kind in self.objects[section].items():
            if field.startswith("…"):
                found |= self.fields(section_of(kind))
        # A field of its own comes before one of the same name that it embeds.
        return found | {f: (section, kind) for f, kind in self.objects[section].items() if not f.startswith("…")}

    def differences(self, section: str, document, where: str, whole: bool = True) -> Iterator[str]:
        """How an object differs from its section. An example is not the whole of one."""
        if not isinstance(document, dict):
            yield f"json.md: {where} is no object"
            return
        fields = self.fields(section)
        for name, value in document.items():
            if name not in fields:
                yield f"json.md: {where}.{name} is printed and not on the page (section `{section}`)"
                continue
            home, kind = fields[name]
            if whole:
                self.seen.add(f"{home}.{name}")
            yield from self.value(kind.removeprefix("optional "), value, f"{where}.{name}", whole)
        for name, (_, kind) in fields.items():
            if whole and name not in document and not kind.startswith("optional "):
                yield f"json.md: {where}.{name} is not printed (section `{section}`)"

    def value(self, kind: str, value, where: str, whole: bool) -> Iterator[str]:
        if kind.startswith("list of "):
            # `or null` may mean the list or what is in it.
            if isinstance(value, list):
                for item in value:
                    yield from self.value(kind.removeprefix("list of "), item, f"{where}[]", whole)
            elif value is not None or not kind.endswith(" or null"):
                yield f"json.md: {where} is no {kind}"
        elif kind.endswith(" or null"):
            if value is not None:
                yield from self.value(kind.removesuffix(" or null"), value, where, whole)
        elif kind.startswith("map of "):
            if not isinstance(value, dict):
                yield f"json.md: {where} is no {kind}"
                return
            for name, item in value.items():
                yield from self.value(kind.removeprefix("map of "), item, f"{where}.{name}", whole)
        elif kind.startswith("["):
            yield from self.differences(section_of(kind), value, where, whole)
        elif kind not in SCALARS:
            yield f"json.md: `{kind}` of {where} is no type of this page"
        elif not SCALARS[kind](value):
            yield f"json.md: {where} is no {kind}: {value!r}"

    def never_printed(self) -> list[str]:
        every = {f"{section}.{field}" for section, fields in self.objects.items() for field in fields if not field.startswith("…")}
        unseen = every - self.seen
        problems = [f"json.md: {name} was never printed: take it from the page, or print it in tests/python/reference/stores.py" for name in sorted(unseen - RARE.keys())]
        return problems + [f"documents.py: {name} is printed and not rare" for name in sorted(RARE.keys() - unseen)]


def section_of(kind: str) -> str:
    link = re.fullmatch(r"\[[^]]+\]\(#([\w-]+)\)", kind)
    assert link, f"{kind} is no link to a section"
    return link[1]


def check(icepack: pathlib.Path, text: str) -> list[str]:
    page = Page.parse(text)
    problems, printed = [], set()
    with tempfile.TemporaryDirectory() as room:
        for command, document in stores.documents(Program(icepack, pathlib.Path(room))):
            printed.add(command)
            if command not in page.commands:
                problems.append(f"json.md: {command} has no section")
                continue
            problems += page.differences(page.commands[command], document, command)
    problems += [f"json.md: {command} prints no document" for command in sorted(page.commands.keys() - printed)]
    problems += page.never_printed()
    for section, examples in page.examples.items():
        for example in examples:
            problems += page.differences(section, example, f"the example of {section}", whole=False)
    # Many tenants differ alike.
    return list(dict.fromkeys(problems))
