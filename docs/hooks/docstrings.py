"""For the reference: docstrings as Markdown wants them; called by mkdocstrings.

They are written to be read in a terminal, where an example is a line that begins with >>>, which
Markdown would take for a quotation, and where several arguments may share a line.
"""

from __future__ import annotations

import re
from typing import Any

import griffe

# An example and what it prints, up to an empty line.
EXAMPLE = re.compile(r"^(?P<indent>[ ]*)>>> (?:.*\n?)(?:(?P=indent)(?![ ]*$).+\n?)*", re.MULTILINE)


# Several arguments on one line: `layers, batch: as for KVCache`.
SHARED = re.compile(r"^(?P<indent>[ ]{4})(?P<names>\w+(?:, \w+)+): (?P<words>.+)$", re.MULTILINE)


class Docstrings(griffe.Extension):
    """Puts fences around examples, and gives each argument a line of its own."""

    def on_instance(self, *, obj: griffe.Object, **_: Any) -> None:
        """Change the docstring of whatever has one."""
        if obj.docstring:
            obj.docstring.value = apart(fenced(obj.docstring.value))


def fenced(text: str) -> str:
    """Return a docstring with its examples in fences."""

    def fence(example: re.Match[str]) -> str:
        indent = example["indent"]
        return f"{indent}```pycon\n{example[0].rstrip()}\n{indent}```\n"

    return EXAMPLE.sub(fence, text)


def apart(text: str) -> str:
    """Return a docstring in which arguments that share a line have one each."""
    return SHARED.sub(
        lambda line: "\n".join(
            f"{line['indent']}{name}: {line['words']}" for name in line["names"].split(", ")
        ),
        text,
    )
