"""`sightline demo`: run the main job, print its report, write its page.

Reads the arguments and prints; everything is computed in sightline.recipes.demo. Words, tables
and pages are made in the files demo_*.py beside this one.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sightline.cli.output import output_encoding, progress_bar, use_color, write_line
from sightline.lower.arguments import require_torch
from sightline.recipes.demo.records import STEPS
from sightline.recipes.demo.text import read_corpus
from sightline.views.files import write_atomically

if TYPE_CHECKING:
    from sightline.recipes.demo.records import DemoReport

__all__ = ["demo"]

_FINDINGS = 1
_PAGE = Path("demo.html")
# Narrower, tables break up; wider, lines are hard to read. A pipe has no width of its own.
_NARROWEST, _WIDEST, _PIPED = 60, 110, 100


def demo(
    file: Annotated[
        Path | None,
        typer.Argument(metavar="FILE", help="Your own text: one sentence a line, in UTF-8."),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="PAGE", help="Where to write the page (demo.html)."),
    ] = None,
    json: Annotated[
        bool, typer.Option("--json", help="Print the records as JSON; a page only with --output.")
    ] = False,
) -> None:
    """Show what attention masks do to real sentences, done right and done wrongly.

    Prints a report, and writes it with all its pictures to demo.html.

    Examples:
      sightline demo
      sightline demo my-sentences.txt --output my-demo.html

    Exit codes: 0 fine, 1 something that must hold did not, 2 bad input.
    """
    page = output or (None if json else _PAGE)
    _check_page(page, file)
    report = _run(file)
    if page is not None:
        from sightline.cli.demo_page import render_page

        write_atomically(page, render_page(report))
    _print(report, json=json)
    if page is not None:
        print(f"Wrote {page}: the same with all pictures.", file=sys.stderr if json else sys.stdout)
    if not all(check.holds for check in report.checks):
        raise typer.Exit(_FINDINGS)


def _check_page(page: Path | None, file: Path | None) -> None:
    """Refuse a page that cannot be written before anything is computed for it."""
    if page is None:
        return
    if page.is_dir():
        raise typer.BadParameter(f"{page} is a folder; name a file in it.", param_hint="--output")
    if page.exists() and not page.is_file():
        raise typer.BadParameter(
            f"{page} is a device or the like, which a page would replace; name a file.",
            param_hint="--output",
        )
    if not page.parent.is_dir():
        raise typer.BadParameter(
            f"there is no folder {page.parent}; make it, or name another.", param_hint="--output"
        )
    if file is not None and page.exists() and file.exists() and page.samefile(file):
        raise typer.BadParameter(
            f"{page} is the text itself and would be overwritten; name another file.",
            param_hint="--output",
        )


def _run(file: Path | None) -> DemoReport:
    """Read the text first: bad input should not have to wait for torch to load."""
    corpus = read_corpus(file)
    require_torch("sightline demo")
    # Loading torch takes longer than all that follows, so it is a step of its own.
    with progress_bar("running the demo", 1 + len(STEPS), wanted=True) as advance:
        from sightline.recipes.demo.run import run_demo

        return run_demo(corpus, on_step=lambda step: advance(1))


def _print(report: DemoReport, *, json: bool) -> None:
    if json:
        from sightline.cli.demo_json import as_json

        write_line(as_json(report))
        return
    from sightline.cli.demo_text import Screen, render_report

    columns = shutil.get_terminal_size((_PIPED, 0)).columns if sys.stdout.isatty() else _PIPED
    width = max(_NARROWEST, min(_WIDEST, columns))
    write_line(render_report(report, Screen(width, use_color(), output_encoding())))
