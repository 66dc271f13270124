"""Makes docs/results: a page for each recipe's recorded run, with figures, times and curves.

    python docs/make_results.py FOLDER [NAME]   keep the run in FOLDER, then write the pages; with
                                                a NAME, as a variant of its recipe's own run
    python docs/make_results.py FOLDER [NAME]   the same for a comparison of many runs
    python docs/make_results.py                 write the pages of what is kept
    python docs/make_results.py --check         exit 1 if they are not what would be written

    --drop TITLE                                leave a table or picture out, again and again
    --hide TITLE                                keep a picture without its words

What quotes a corpus has to be left out or hidden: corpora are no part of the project. What is kept
of a run is src/sightline/recipes/results/NAME.json, of a comparison NAME.comparison.json, which
`sightline systems` shows as well. Sounds are not kept. Smoke runs are refused.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

import sightline
from sightline.errors import DataError
from sightline.recipes.systems.table import SYSTEMS
from sightline.recipes.training.comparison import Comparison
from sightline.recipes.training.comparison_charts import figure_chart
from sightline.recipes.training.comparison_page import about_chance, cost_rows, spread_rows
from sightline.recipes.training.comparison_page import summary_line as compared_line
from sightline.recipes.training.kept import (
    Kept,
    kept,
    kept_comparisons,
    kept_names,
    kept_text,
    take,
    take_comparison,
)
from sightline.recipes.training.outcome import Table
from sightline.recipes.training.report import (
    figure_notes,
    figure_rows,
    minutes,
    settings_rows,
    summary_line,
    verdict,
)
from sightline.recipes.training.report_pictures import attention_drawings, mask_pictures
from sightline.recipes.training.report_shown import chart_drawing, images_drawing
from sightline.recipes.training.result import Result, as_lines, short
from sightline.views.charts.curves import render_curves
from sightline.views.files import write_atomically
from sightline.views.page import Cell
from sightline.views.svg.render import render_svg

PAGES = Path(__file__).parent / "results"
KEPT = Path(sightline.__file__).parent / "recipes" / "results"
MADE = "<!-- Made by docs/make_results.py; `make docs` makes it again. -->"

MOST_FIGURES = 4
HEADINGS = {
    "Curves": ("curve",),
    "Charts and images": ("chart", "image"),
    "Masks and attention": ("mask", "attention"),
}

INTRODUCTION = f"""\
# Recorded runs

{MADE}

Each of these was run once from beginning to end, as its page says: the command, the seed, the time,
what came out, what was published, and how the two differ. Nobody picked a seed. How to run one is
in [systems.md](../systems.md).

"""


def files() -> dict[str, str]:
    """Return the text of every file of docs/results, by its name there."""
    made: dict[str, str] = {"README.md": "".join(index())}
    runs = kept_runs()
    for name, run in runs.items():
        if name != run.result.recipe:
            continue
        drawn = [*pictures(name, run), *compared_pictures(name)]
        made |= {f"pictures/{file}": svg for file, _, svg in drawn}
        made[f"{name}.md"] = "".join(page(run, {file: title for file, title, _ in drawn}, runs))
    return made


def index() -> Iterator[str]:
    """Yield the page that lists the others."""
    yield INTRODUCTION
    yield "| Run | Figure | Value | Target | Published | Reached |\n"
    yield "| --- | --- | --- | --- | --- | --- |\n"
    for name, run in kept_runs().items():
        if name != run.result.recipe:
            continue
        for row in figure_rows(run.result)[1]:
            yield line((f"[{name}]({name}.md)", *row))


def kept_runs() -> dict[str, Kept]:
    """Return every run that is kept, by name."""
    runs = {name: kept(name) for name in kept_names()}
    return {name: run for name, run in runs.items() if run is not None}


def page(run: Kept, drawn: dict[str, str], runs: dict[str, Kept]) -> Iterator[str]:
    """Yield the page of one run; ``drawn`` has the titles of its pictures, by file."""
    result = run.result
    yield f"# {result.title[:1].upper()}{result.title[1:]}\n\n{MADE}\n\n"
    yield f"```sh\n{result.command}\n```\n\n"
    yield f"{sentence(summary_line(result))}\n\n{verdict(result)[0]}\n\n"
    columns, rows = figure_rows(result)
    yield "".join(table(columns, rows)) + "\n"
    notes = [f"- {figure}: {said}\n" for figure, said in figure_notes(result)]
    notes += [f"- {note}\n" for note in result.outcome.notes]
    if notes:
        yield "## Beside what was published\n\n" + "".join(notes) + "\n"
    yield "".join(variants(run.result, runs))
    yield "".join(compared(run.result.recipe))
    for heading, kinds in HEADINGS.items():
        shown = [f"![{drawn[file]}](pictures/{file})\n" for file in drawn if kind_of(file) in kinds]
        if shown:
            yield f"## {heading}\n\n" + "".join(shown) + "\n"
    for each in result.outcome.tables:
        yield from examples(each)
    systems = [
        system
        for system in SYSTEMS.values()
        if any(each.run == result.recipe for each in system.trained)
    ]
    yield "## How it was made\n\n"
    yield "".join(table(("What", "Which"), settings_rows(result)))
    tests = sorted({test for system in systems for test in system.tests})
    if tests:
        yield "\nHeld against its published counterpart in " + ", ".join(f"`{t}`" for t in tests)
        yield ".\n"


def variants(own: Result, runs: dict[str, Kept]) -> Iterator[str]:
    """Yield the table of a recipe's variants beside its own run."""
    others = {
        name: run.result
        for name, run in runs.items()
        if run.result.recipe == own.recipe and name != own.recipe
    }
    if not others:
        return
    figures = own.outcome.figures
    told = [each for each in figures if each.target is not None or each.published is not None]
    names = [each.name for each in (told or figures)][:MOST_FIGURES]
    yield "## Variants\n\n"
    yield line(("Run", "What differs", *names, "CPU time"))
    yield line(["---"] * (len(names) + 3))
    for name, result in {own.recipe: own, **others}.items():
        values = {figure.name: short(figure.value) for figure in result.outcome.figures}
        shown = [values.get(each, "-") for each in names]
        yield line((name, changes(own, result), *shown, minutes(result.cpu_seconds)))
    yield "\n"


def comparisons_of(recipe: str) -> dict[str, Comparison]:
    """Return the comparisons that are kept of a recipe, by name."""
    return {name: each for name, each in kept_comparisons().items() if each.recipe == recipe}


def compared(recipe: str) -> Iterator[str]:
    """Yield the section of a recipe's comparisons over seeds and settings."""
    for name, comparison in comparisons_of(recipe).items():
        more = "" if name == recipe else f" ({name})"
        yield f"## Seeds and settings{more}\n\n```sh\n{comparison.command}\n```\n\n"
        yield f"{sentence(compared_line(comparison))}\n\n"
        for number, figure in enumerate(comparison.main_figures, 1):
            yield f"### {figure.name[:1].upper()}{figure.name[1:]}\n\n"
            yield f"![{figure.name}](pictures/{name}-compared-{number}.svg)\n\n"
            yield f"{figure_chart(comparison, figure)[1]}\n\n"
            yield "".join(table(*spread_rows(comparison, figure))) + "\n"
            said = [f"- {each.sentence()}\n" for each in comparison.differences(figure.name)]
            yield "".join(said) + "\n" * bool(said)
        warning = about_chance(comparison)
        yield f"{warning}\n\n" if warning else ""
        yield "### What a run took\n\n" + "".join(table(*cost_rows(comparison))) + "\n"


def compared_pictures(recipe: str) -> Iterator[tuple[str, str, str]]:
    """Yield (file, title, SVG) of a recipe's comparisons."""
    for name, comparison in comparisons_of(recipe).items():
        for number, figure in enumerate(comparison.main_figures, 1):
            yield f"{name}-compared-{number}.svg", figure.name, figure_chart(comparison, figure)[0]


def changes(own: Result, other: Result) -> str:
    """Return what differs in another run: its seed, and settings."""
    apart = {
        key: value for key, value in other.settings.items() if own.settings.get(key, value) != value
    }
    seed = {"seed": other.seed} if other.seed != own.seed else {}
    return ", ".join(f"{key}={value}" for key, value in {**seed, **apart}.items()) or "-"


def examples(shown: Table) -> Iterator[str]:
    """Yield a table of examples under its title."""
    yield f"## {shown.title}\n\n"
    yield from table(shown.header, shown.rows)
    yield "\n"


def kind_of(file: str) -> str:
    """Return what a picture shows: the word before its number."""
    return file.split("-")[-2]


def pictures(name: str, run: Kept) -> Iterator[tuple[str, str, str]]:
    """Yield (file, title, SVG) of a run's curves, charts, images, masks and attention maps."""
    for number, chart in enumerate(run.charts, 1):
        drawn = render_curves(chart.curves, title=chart.title)
        yield f"{name}-curve-{number}.svg", chart.title, drawn
    outcome = run.result.outcome
    for number, shown in enumerate(outcome.charts, 1):
        yield f"{name}-chart-{number}.svg", shown.title, chart_drawing(shown)
    for number, shown in enumerate(outcome.images, 1):
        yield f"{name}-image-{number}.svg", shown.title, images_drawing(shown)
    for kind, drawings in (
        ("mask", mask_pictures(run.result)),
        ("attention", attention_drawings(run.result)),
    ):
        for number, (picture, _) in enumerate(drawings, 1):
            yield f"{name}-{kind}-{number}.svg", picture.title, render_svg(picture, tooltips=False)


def table(columns: tuple[str, ...], rows: object) -> Iterator[str]:
    """Yield the lines of a table."""
    yield line(columns)
    yield line(["---"] * len(columns))
    for row in rows:  # type: ignore[attr-defined]
        yield line(row)


def line(cells: object) -> str:
    """Return a row of a table; what would end a cell is written so that it does not."""
    texts = [cell.text if isinstance(cell, Cell) else str(cell) for cell in cells]  # type: ignore[attr-defined]
    safe = [text.strip().replace("|", "\\|").replace("<", "&lt;") for text in texts]
    return "| " + " | ".join(text.replace("\n", "<br>") for text in safe) + " |\n"


def sentence(text: str) -> str:
    """Return a line as a sentence."""
    return text[:1].upper() + text[1:] + "."


def main(words: list[str]) -> int:
    """Keep a run, write or check; return the exit code."""
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument("folder", type=Path, nargs="?")
    parser.add_argument("name", nargs="?", default="")
    parser.add_argument("--drop", action="append", default=[])
    parser.add_argument("--hide", action="append", default=[])
    parser.add_argument("--check", action="store_true")
    given = parser.parse_args(words)
    if given.folder is not None:
        keep(given.folder, given.name, given.drop, given.hide)
    return check() if given.check else write()


def keep(folder: Path, name: str, drop: list[str], hide: list[str]) -> None:
    """Keep the run or comparison in a folder, without what is dropped or hidden by its title."""
    if (folder / "comparison.json").exists():
        keep_comparison(folder, name)
        return
    run = take(folder, name, drop=drop, hide=hide)
    recipe = run.result.recipe
    if name not in ("", recipe) and kept(recipe) is None:
        raise DataError(
            f"got a variant of {recipe!r}, whose own run is not kept yet; wanted that first.",
            path=str(folder),
        )
    KEPT.mkdir(exist_ok=True)
    write_atomically(KEPT / f"{name or recipe}.json", kept_text(run))


def keep_comparison(folder: Path, name: str) -> None:
    """Keep the comparison in a folder; it is shown on the page of its recipe's own run."""
    comparison = take_comparison(folder)
    if kept(comparison.recipe) is None:
        raise DataError(
            f"got a comparison of {comparison.recipe!r}, of which no run is kept yet; wanted that "
            "first: one of those of the comparison will do.",
            path=str(folder),
        )
    KEPT.mkdir(exist_ok=True)
    path = KEPT / f"{name or comparison.recipe}.comparison.json"
    write_atomically(path, as_lines(comparison.as_dict()))


def check() -> int:
    """Say what is not as it would be written."""
    made = files()
    stale = [name for name, text in made.items() if old(name) != text]
    stale += [name for name in present() if name not in made]
    for name in stale:
        print(f"docs/results/{name} is stale: run python docs/make_results.py")
    return 1 if stale else 0


def write() -> int:
    """Write what is new, and remove what belongs to no run any more."""
    made = files()
    (PAGES / "pictures").mkdir(parents=True, exist_ok=True)
    for name, text in made.items():
        if old(name) != text:
            write_atomically(PAGES / name, text)
            print(f"wrote docs/results/{name}")
    for name in present():
        if name not in made:
            (PAGES / name).unlink()
            print(f"removed docs/results/{name}")
    return 0


def old(name: str) -> str:
    """Return what stands in a file, or nothing."""
    path = PAGES / name
    return path.read_text(encoding="utf-8") if path.exists() else ""


def present() -> list[str]:
    """Return the files that are there."""
    found = [*PAGES.glob("*.md"), *(PAGES / "pictures").glob("*.svg")]
    return [path.relative_to(PAGES).as_posix() for path in found]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
