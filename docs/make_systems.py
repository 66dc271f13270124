"""Makes docs/systems.md: the reference systems, how to train one, what each reached.

The systems come from sightline.recipes.systems, what was reached from the recorded runs; only the
introduction is written here.

    python docs/make_systems.py            write the page and its pictures
    python docs/make_systems.py --check    exit 1 if they are not what would be written
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

from settled import settle

from sightline.recipes.systems.record import System
from sightline.recipes.systems.table import SYSTEMS, Shown, shown
from sightline.recipes.training.report import figure_rows, minutes
from sightline.recipes.training.result import short
from sightline.views.page import Cell
from sightline.views.picture import picture_of
from sightline.views.svg.render import render_svg_row

DOCS = Path(__file__).parent

INTRODUCTION = """\
# The reference systems

<!-- Made by docs/make_systems.py; `make docs` makes it again. -->

Systems that differ mainly by their mask, each small, on top of `sl.nn` and `sl.masks`, and held
against a published implementation. `sightline systems` prints this table, `sightline systems NAME`
one of them with its masks.

## Train one

```text
sightline train                                        the recipes, and where their data come from
sightline train copy --preset smoke                    seconds, on a few lines of its own
sightline train tagger --data ~/corpora                minutes, on the real corpus
sightline train tagger --set width=256 --seed 1        another setting, another seed
```

There are three presets: `small` reaches the figures below on a CPU in the time given there, `paper`
has the published sizes, `smoke` is for tests. `--set NAME=VALUE` changes any setting; a wrong name
is answered with the right ones.

**Data** come from the folder given with `--data` (the corpus's own, or one of several by name),
from the folder that `SIGHTLINE_DATA` names, or are downloaded and checked against a checksum. A
file that is not what it should be is refused with its name, line and what was expected. `smoke`
needs no data; it reads a corpus only if `--data` names one.

**Stop it at any time.** A run lives in a folder, `runs/RECIPE-PRESET` unless `--out` names another.
The same command goes on from the last checkpoint, with the very losses it would have had, whether
it was interrupted, killed or the machine went down: a batch is a function of seed and step.
`--fresh` starts over. A folder with another run, or with anything else, is refused.

| In the folder | |
| --- | --- |
| `report.html` | the report: open it in a browser; one file, nothing from outside |
| `result.json` | all of it as data; `--json` prints it |
| `losses.jsonl`, `evaluations.jsonl` | the curves, a line a step |
| `best.safetensors`, `checkpoint.safetensors` | weights, and the whole state of the run |
| `run.json` | what was asked: recipe, preset, settings, seed |

**Seeds and variants.** One run says nothing about chance. `--seeds N` trains with N seeds, from
`--seed` on; `--each NAME=A,B,C` with each of these values of a setting, and may be repeated:

```text
sightline train swin --seeds 3 --each windows=shifted,unshifted,global
```

Each run is an ordinary one, in `FOLDER/NAME=A/seed-0` and so on. Stopped at any time, the same
command goes on: finished runs are not made again, and with more seeds or values later only what is
new is trained. In the end `comparison.html` (and `comparison.json`; `--json` prints it) has for
each figure the mean, the standard deviation, the least and the greatest over seeds; a dot for each
seed, or curves over a setting that is a number; parameters and time; and the differences to the
first value, taken seed by seed, with a 95 % interval (Student's t) and a sentence that says no more
than so few seeds can show.

**The report** has the figures beside their targets and the published ones, with what differs from
the published setting; the curves (a line is the mean of neighbouring steps, the pale band their
spread; steps that gave no number are named); the masks with the tokens they stand for; attention
maps, in which a hatched cell may not be attended and a pale one merely got no weight; examples; and
everything needed to make it again. A missed target is said, and is no error: the exit code is 0.

**Several devices**: `torchrun --nproc-per-node 4 -m sightline train tagger`, on accelerators or as
processes on a CPU. A step is made of `micro_batches` batches, which the processes share out: with
`--set micro_batches=8`, two for each of four; if not said, one for each process there is at the
start. Its loss is the mean of theirs, each a mean over its own tokens, and what is random is drawn
anew for each batch. So the curve is that of one process, up to the order in which numbers are added
up, and a stopped run goes on with any number of processes up to `micro_batches`.

- `--set parallel=fsdp` spreads weights, gradients and the optimizer's memory over all processes,
  block by block (torch's FSDP2); `ddp`, the default, keeps them whole in each. The files are the
  same, so a run may go on either way. A loss that leaves weights out is refused.
- `--set context_ranks=2`: two processes share each sequence, [where a recipe
  can](context_parallel.md).
- `--set timeout=600`: seconds that a process waits for another before it gives up; 1800 if not
  said.

The first process evaluates (with `context_ranks`, those that share its sequences), prints and
writes; it needs room for the whole weights. Batch norms evaluate with its own running statistics. A
process that dies, or that was told something else, is named by one message, and all end; the same
command, with as many processes as are left, goes on from the last checkpoint.

"""


def page() -> str:
    """Return the page."""
    return INTRODUCTION + "".join(table()) + "".join(map(section, shown()))


def table() -> Iterator[str]:
    """Yield the table of all systems."""
    yield "## The table\n\n"
    yield "| System | Recipe | Measured | Published | Time |\n| --- | --- | --- | --- | --- |\n"
    for row in shown():
        system, figure = row.system, row.main
        measured, published, time = row.state, "-", "-"
        if figure is not None:
            measured, published = f"{figure.name} {short(figure.value)}", short(figure.published)
            time = minutes(row.results[0].seconds)
        recipe = f"`{system.recipes[0]}`" if system.recipes else "-"
        name = f"[{system.name}](#{system.name})"
        yield line((name, recipe, measured, published, time))
    yield "\n"


def section(row: Shown) -> str:
    """Return what is said of one system."""
    system = row.system
    parts = [f"### {system.name}\n\n**{system.title}.** {system.definition}\n"]
    if system.masks:
        parts.append(f"![the masks of {system.name}](pictures/systems/{system.name}.svg)\n")
        parts.append("".join(f"- {each.title}: `{each.expression}`\n" for each in system.masks))
    parts.append("".join(facts(row)))
    for result in row.results:
        columns, rows = figure_rows(result)
        drawn = [line(columns), line(["---"] * len(columns)), *map(line, rows)]
        parts.append("".join(drawn))
        recorded = f"[{result.recipe}](results/{result.recipe}.md), `{result.command}`"
        parts.append(
            f"Recorded run: {recorded}: seed {result.seed}, {minutes(result.seconds)}, "
            f"{minutes(result.cpu_seconds)} of CPU.\n"
        )
    for each in row.comparisons:
        link = f"[{each.recipe}](results/{each.recipe}.md#seeds-and-settings)"
        parts.append(f"Compared over seeds and settings: {link}, `{each.command}`.\n")
    return "\n".join(parts) + "\n"


def facts(row: Shown) -> Iterator[str]:
    """Yield the facts of a system, a line each."""
    system = row.system
    yield f"- Source: {system.source}\n"
    yield f"- In Sightline: {', '.join(f'`{part}`' for part in system.parts)}\n"
    yield f"- Held against: {system.parity} ({', '.join(map(file_link, system.tests))})\n"
    for command in system.commands if system.recipes else ():
        yield f"- Made by: `{command}`\n"
    if system.missing:
        yield f"- Not there: {system.missing}\n"


def file_link(path: str) -> str:
    """Return a link to a file of the project."""
    return f"[{Path(path).name}](../{path})"


def line(cells: object) -> str:
    """Return a row of a table."""
    texts = [cell.text if isinstance(cell, Cell) else str(cell) for cell in cells]  # type: ignore[attr-defined]
    return "| " + " | ".join(text.replace("|", "\\|") for text in texts) + " |\n"


def picture(system: System) -> str:
    """Return the masks of a system side by side."""
    drawings = []
    for drawn in system.masks:
        labels = {
            name: each
            for name, each in (("row_labels", drawn.queries), ("column_labels", drawn.keys))
            if isinstance(each, tuple)
        }
        drawings.append(picture_of(drawn.mask, *drawn.size, title=drawn.title, **labels))
    return render_svg_row(drawings)


def files() -> dict[Path, str]:
    """Return everything that is made: path -> content."""
    drawn = {
        DOCS / "pictures" / "systems" / f"{system.name}.svg": picture(system)
        for system in SYSTEMS.values()
        if system.masks
    }
    return {DOCS / "systems.md": page(), **drawn}


def main(words: list[str]) -> int:
    """Write or check, and return the exit code."""
    return settle(words, __doc__, "make_systems", DOCS, files, owned=["pictures/systems/*.svg"])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
