"""Makes docs/architecture.md and its drawings: the rooms of the house, and who imports whom.

Rooms, their purposes and the imports are read off the code, the layers off pyproject.toml, so the
page cannot say anything else than they do. Where the boxes stand is chosen here.

    python docs/make_architecture.py            write the page and the drawings
    python docs/make_architecture.py --check    exit 1 if they are not what would be written
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import grimp
import numpy as np
from architecture_map import Room, map_of, way_of
from importlinter import api
from settled import settle

from sightline.views.picture import MaskPicture
from sightline.views.svg.render import render_svg

DOCS = Path(__file__).parent
REPOSITORY = DOCS.parent
PACKAGE = REPOSITORY / "src" / "sightline"
DRAWINGS = ("map.svg", "imports.svg", "way.svg")

# Nearly every room imports these, so arrows to them would say nothing.
EVERYWHERE = ("errors", "lazy")
# From the left; a new room needs a place here.
COLUMNS = {
    "cli": 0,
    "testing": 2,
    "recipes": 0,
    "audit": 2,
    "distributed": 1,
    "views": 1,
    "models": 0,
    "readers": 1,
    "hf": 2,
    "nn": 0,
    "engines": 0,
    "lower": 0,
    "native": 1,
    "recognize": 2,
    "plan": 0,
    "masks": 0,
    "reference": 1,
    "errors": 0,
    "lazy": 1,
}
WAY = ("engines", "plan", "masks")
STATIONS = (
    ("expression", "text or Python: causal() & padding(lengths=[5, 3])"),
    ("Mask", "masks/: an immutable value in canonical form; equal masks are equal values"),
    ("BlockMap", "plan/: which blocks of queries and keys are empty, full or in between"),
    ("output", "engines/: output and logsumexp, for the work that the blocks leave"),
)
STEPS = ("sl.parse, or in Python", "sl.plan, at a shape", "sl.attend, by an engine")

INTRODUCTION = """\
# The house

<!-- Made by docs/make_architecture.py; `make docs` makes it again. -->

Sightline says a mask, runs it, and proves what a model does with it. Each of these is a few rooms
(packages of `src/sightline`), and the rooms stand in layers: a room may import those below it, and
nothing imports upwards. import-linter holds the code to that with every `make test`.

## The way of the data

![An expression becomes a Mask, then a plan, then an output](pictures/house/way.svg)

A mask has one meaning, `allowed(batch, head, query, key)` over absolute positions. Whatever runs,
translates or draws it, or audits a model against it, asks the same value: pictures and
costs are made from the plan, the forms of other libraries (`sl.lower`) from the mask. And
[the reference](#reference), which shares no code with any of them, judges them all.

## The map

Blue is the way of the data. An arrow is an import that the code really makes; where a room reaches
another through rooms between them, the arrow is left out. Arrows to {everywhere} are left out too,
for nearly every room has one.

![The rooms by layer, and what each imports](pictures/house/map.svg)

All imports between rooms are in the next drawing, which is a mask like any other: a row may import
the columns that are not gray, and a strong color is an import that exists ({made} of {possible}).

![Who may import whom, and who does](pictures/house/imports.svg)

## The rooms

From the top to the bottom.

"""

ENDING = """
## Where to look

| To | Begin with |
| --- | --- |
| add a mask | [how to add a mask](extending/mask.md) |
| run masks on something new | [how to add an engine](extending/engine.md) |
| translate to another library | [how to add a destination](extending/destination.md) |
| train another system | [how to add a recipe](extending/recipe.md) |
| look a public name up | [the reference](reference/index.md) |
"""


def contract(name: str) -> Mapping[str, Any]:
    """Return one of the import rules of pyproject.toml."""
    rules = api.read_configuration(str(REPOSITORY / "pyproject.toml"))["contracts_options"]
    return next(rule for rule in rules if rule["id"] == name)


def layers() -> list[list[str]]:
    """Return the rooms of each layer that exist, from the top, as pyproject.toml orders them."""
    layered = contract("layers")["layers"]
    rows = [[name.strip(" ()") for name in row.split("|")] for row in layered]
    there = [[name for name in row if source(name).is_file()] for row in rows]
    return [row for row in there if row]


def source(room: str) -> Path:
    """Return the file whose docstring says what a room is for."""
    package = PACKAGE / room / "__init__.py"
    return package if package.is_file() else PACKAGE / f"{room}.py"


def purpose(room: str) -> str:
    """Return the first sentence of a room's docstring."""
    text = ast.get_docstring(ast.parse(source(room).read_text(encoding="utf-8"))) or ""
    return text.partition("\n\n")[0].replace("\n", " ").replace("``", "`")


def imports(rooms: Sequence[str]) -> dict[str, set[str]]:
    """Return which rooms each room imports, inside functions too."""
    graph = grimp.build_graph("sightline", cache_dir=None)
    owner = {module: module.split(".")[1] for module in graph.modules if "." in module}
    found: dict[str, set[str]] = {room: set() for room in rooms}
    for module, room in owner.items():
        if room in found:
            others = {owner.get(one, "") for one in graph.find_modules_directly_imported_by(module)}
            found[room] |= others & found.keys() - {room}
    return found


def without_detours(found: Mapping[str, set[str]]) -> list[tuple[str, str]]:
    """Return the imports that are not implied by others: the fewest arrows with the same reach."""
    below: dict[str, set[str]] = {}

    def reached(room: str) -> set[str]:
        if room not in below:
            below[room] = set(found[room]).union(*(reached(other) for other in found[room]))
        return below[room]

    return [
        (room, other)
        for room, others in found.items()
        for other in sorted(others)
        if not any(other in reached(between) for between in others - {other})
    ]


def matrix(rows: Sequence[Sequence[str]], found: Mapping[str, set[str]]) -> MaskPicture:
    """Return who may import whom as a mask, with the imports that exist in a strong color."""
    level = {room: number for number, row in enumerate(rows) for room in row}
    rooms = list(level)
    askers = {module.split(".")[1] for module in contract("oracle")["allowed_importers"]}
    allowed = np.array(
        [
            [a == b or (level[a] < level[b] and (b != "reference" or a in askers)) for b in rooms]
            for a in rooms
        ]
    )
    used = np.array([[b in found[a] or a == b for b in rooms] for a in rooms])
    return MaskPicture(
        allowed,
        row_labels=tuple(rooms),
        column_labels=tuple(rooms),
        used=used,
        title="who may import whom",
    )


def files() -> dict[Path, str]:
    """Return what each file should hold."""
    rows = layers()
    rooms = [room for row in rows for room in row]
    found = imports(rooms)
    drawn = {
        room: {other for other in found[room] if other not in EVERYWHERE}
        for room in rooms
        if room not in EVERYWHERE
    }
    boxes = [
        Room(room, purpose(room).replace("`", ""), layer, COLUMNS[room])
        for layer, row in enumerate(rows)
        for room in row
    ]
    picture = matrix(rows, found)
    arrows = dict.fromkeys([*without_detours(drawn), *pairwise(WAY)])
    svgs = (
        map_of(boxes, list(arrows), WAY, "The rooms of Sightline and their imports"),
        render_svg(picture, cell=20),
        way_of(STATIONS, STEPS, "The way from an expression to an output"),
    )
    page = INTRODUCTION.format(
        everywhere=" and ".join(f"`{name}`" for name in EVERYWHERE),
        made=sum(map(len, found.values())),
        possible=int(picture.allowed.sum()) - len(rooms),
    )
    page += "\n\n".join(
        f"### {room}\n\n{purpose(room)}\n\n{_facts(room, found[room])}" for room in rooms
    )
    made = {DOCS / "architecture.md": page + "\n" + ENDING}
    return made | {
        DOCS / "pictures" / "house" / name: svg for name, svg in zip(DRAWINGS, svgs, strict=True)
    }


def _facts(room: str, others: set[str]) -> str:
    listed = ", ".join(f"[{other}](#{other})" for other in sorted(others)) or "nothing"
    where = f"`src/sightline/{room}{'/' if source(room).name == '__init__.py' else '.py'}`"
    return f"{where}; imports {listed}."


def main(words: list[str]) -> int:
    """Write or check, and return the exit code."""
    return settle(words, __doc__, "make_architecture", DOCS, files)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
