"""What a command's output can show: colors, characters, a progress bar."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager

from rich.console import Console

from sightline.views.page import Cell
from sightline.views.text.table import render_table

__all__ = [
    "output_encoding",
    "output_width",
    "progress_bar",
    "use_color",
    "working",
    "write_line",
    "write_table",
]

# Narrower, tables break up; what is piped has a width of its own.
_NARROWEST, _PIPED = 80, 110


def use_color() -> bool:
    """Whether standard output is a terminal with colors and NO_COLOR is not set."""
    console = Console(file=sys.stdout)
    return console.is_terminal and not console.no_color and console.color_system is not None


def output_encoding() -> str:
    """Return the encoding of standard output."""
    return getattr(sys.stdout, "encoding", None) or "utf-8"


def write_line(text: str = "") -> None:
    """Print ``text``; what the output cannot write is spelled out as escapes."""
    encoding = output_encoding()
    sys.stdout.write(text.encode(encoding, "backslashreplace").decode(encoding) + "\n")


def output_width() -> int:
    """Return how many columns there are for a table."""
    if not sys.stdout.isatty():
        return _PIPED
    return max(_NARROWEST, shutil.get_terminal_size((_PIPED, 0)).columns)


def write_table(
    columns: Sequence[str], rows: Iterable[Sequence[str | Cell]], *, numeric: Iterable[int] = ()
) -> None:
    """Print a table as wide as the output; ``numeric`` columns are set to the right."""
    write_line(
        render_table(
            columns,
            rows,
            numeric=numeric,
            color=use_color(),
            encoding=output_encoding(),
            width=output_width(),
        )
    )


@contextmanager
def working(label: str) -> Iterator[None]:
    """Show that something is going on that does not say how far it is; only on a terminal.

    It goes to standard error and is gone when the work is.
    """
    if not sys.stderr.isatty():
        yield
        return
    with Console(file=sys.stderr).status(label):
        yield


@contextmanager
def progress_bar(label: str, total: int, *, wanted: bool) -> Iterator[Callable[[int], object]]:
    """Yield a function to call with the number of steps done; draws only on a terminal.

    The bar goes to standard error and is gone when the work is.
    """
    if not wanted or not sys.stderr.isatty():
        yield lambda steps: None
        return
    from rich.progress import Progress

    with Progress(console=Console(file=sys.stderr), transient=True) as progress:
        task = progress.add_task(label, total=total)
        yield lambda steps: progress.advance(task, steps)
