"""A user's own code on the command line: found by name, called, and its failures told in a line.

What it returns is judged by whoever asked for it; nothing here knows of models.
"""

from __future__ import annotations

import difflib
import importlib
import inspect
import site
import sys
import sysconfig
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from types import ModuleType, TracebackType
from typing import Any

import typer

import sightline
from sightline.errors import InvalidArgument, SightlineError

__all__ = ["called", "found", "running"]


@contextmanager
def running(what: str, *, show_traceback: bool) -> Iterator[None]:
    """Run a user's code: their working directory is importable, as for ``python -m``.

    What they print goes to standard error, so that standard output stays ours.

    Args:
        what: said before a failure, such as ``"models:make"``.
        show_traceback: print how it came to a failure.

    Raises:
        InvalidArgument: their code failed: how, and in which line. Our own errors pass.
    """
    here = str(Path.cwd())
    sys.path.insert(0, here)
    try:
        with redirect_stdout(sys.stderr):
            yield
    except SightlineError as error:
        if show_traceback:
            traceback.print_exc()
        if error.__cause__ is None or isinstance(error.__cause__, SightlineError):
            raise
        # One of ours that tells of theirs, without the place.
        place = _where(error.__cause__, own_only=True)
        raise InvalidArgument(f"{error} It failed{place}." if place else str(error)) from None
    except (typer.Exit, typer.BadParameter):
        raise
    except (Exception, SystemExit) as error:
        if show_traceback:
            traceback.print_exc()
        hint = "" if show_traceback else "; --traceback shows how it came to that"
        raise InvalidArgument(f"{what} failed{_where(error)}: {_last_line(error)}{hint}") from None
    finally:
        if here in sys.path:
            sys.path.remove(here)


def found(word: str, option: str, example: str) -> Any:
    """Return what ``package.module:name`` names.

    Raises:
        typer.BadParameter: it is not of that form, or there is no such module or name.
    """
    name, colon, attribute = word.partition(":")
    parts = [*name.split("."), *attribute.split(".")]
    is_file = name.endswith(".py")
    if not colon or is_file or not all(part.isidentifier() for part in parts):
        hint = ""
        if is_file:
            hint = f"; for a file, write its module: {_dotted(name)}:{attribute or 'make_model'}"
        raise typer.BadParameter(
            f"got {word!r}, wanted package.module:name, such as {example}{hint}.",
            param_hint=repr(option),
        )
    value: Any = _module(name, option)
    for part in attribute.split("."):
        if not hasattr(value, part):
            raise typer.BadParameter(
                f"{name} has no {attribute!r}{_others(value, part)}.", param_hint=repr(option)
            )
        value = getattr(value, part)
    return value


def called(function: Callable[..., Any], word: str, option: str, wanted: str) -> Any:
    """Call a user's function, which takes nothing, and return what it returns.

    Raises:
        typer.BadParameter: it takes arguments.
    """
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):  # some compiled ones have none to look at
        return function()
    try:
        signature.bind()
    except TypeError:
        raise typer.BadParameter(
            f"{word} takes arguments, {signature}; wanted a function without any that returns "
            f"{wanted}. Write one that calls it.",
            param_hint=repr(option),
        ) from None
    return function()


def _module(name: str, option: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        # Theirs may be there and lack one of its own.
        if error.name is None or not f"{name}.".startswith(f"{error.name}."):
            raise
        raise typer.BadParameter(
            f"there is no module {error.name!r} here (in {Path.cwd()}) nor on Python's path.",
            param_hint=repr(option),
        ) from None


def _dotted(path: str) -> str:
    return ".".join(part for part in Path(path).with_suffix("").parts if part not in (".", "/"))


def _others(value: Any, wanted: str) -> str:
    public = [name for name in dir(value) if not name.startswith("_")]
    close = difflib.get_close_matches(wanted, public, n=3)
    return f"; did you mean {' or '.join(close)}?" if close else ""


def _last_line(error: BaseException) -> str:
    lines = [line for line in str(error).splitlines() if line.strip()]
    if isinstance(error, SystemExit):
        return f"it ended the program (exit code {error.code})"
    return f"{type(error).__name__}: {lines[-1].strip()}" if lines else type(error).__name__


def _where(error: BaseException, *, own_only: bool = False) -> str:
    """Return the user's own line in which it failed; else the last one, or nothing."""
    if isinstance(error, SyntaxError) and error.filename:
        return f" in {error.filename}, line {error.lineno}"
    frames = list(_frames(error.__traceback__))
    own = [frame for frame in frames if not _is_library(frame[0])]
    file, line = (own or (frames if not own_only else []) or [("", 0)])[-1]
    return f" in {file}, line {line}" if file else ""


def _frames(trace: TracebackType | None) -> Iterator[tuple[str, int]]:
    for summary in traceback.extract_tb(trace):
        if not summary.filename.startswith("<"):
            yield summary.filename, summary.lineno or 0


def _is_library(file: str) -> bool:
    folders = [sysconfig.get_path(name) for name in ("stdlib", "purelib", "platlib")]
    folders += [*site.getsitepackages(), str(Path(sightline.__file__).parent)]
    return any(Path(file).is_relative_to(folder) for folder in folders)
