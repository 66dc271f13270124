"""The command `sightline`: finds the subcommands, and turns errors into a line and an exit code.

Each subcommand is a function in its own module, named in COMMANDS and imported only when it is
needed; what it does is its module's matter.
"""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import os
import re
import sys
from collections.abc import Callable, Sequence
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from sightline import __version__
from sightline.errors import SightlineError

__all__ = ["COMMANDS", "main", "run"]

FINE = 0
BAD_INPUT = 2
INTERRUPTED = 130
# What a shell reports for a program that the closing of its output stopped.
OUTPUT_CLOSED = 141

# Name on the command line -> module:function. A module imports nothing heavy at its top.
COMMANDS = {
    "atlas": "sightline.cli.atlas:atlas",
    "audit": "sightline.cli.audit:audit",
    "bench": "sightline.cli.bench:bench",
    "convert": "sightline.cli.convert:convert",
    "demo": "sightline.cli.demo:demo",
    "enhance": "sightline.cli.enhance:enhance",
    "explain": "sightline.cli.explain:explain",
    "generate": "sightline.cli.generate:generate",
    "lint": "sightline.cli.lint:lint",
    "plan": "sightline.cli.plan:plan",
    "shard": "sightline.cli.shard:shard",
    "show": "sightline.cli.show:show",
    "systems": "sightline.cli.systems:systems",
    "tag": "sightline.cli.tag:tag",
    "train": "sightline.cli.train:train",
    "translate": "sightline.cli.translate:translate",
}

# The root of typer's own complaints about arguments, which typer does not export by name.
_UsageError: Any = typer.BadParameter.__base__


class OutputClosed(Exception):
    """Whoever read our output has stopped reading."""


class LazyCommands(TyperGroup):
    """A group whose commands are the rows of COMMANDS, imported when asked for."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command; a broken pipe is renamed, since typer would exit with 1 for it."""
        try:
            return super().invoke(ctx)
        except BrokenPipeError as error:
            raise OutputClosed from error

    def list_commands(self, ctx: Any) -> list[str]:
        return sorted(COMMANDS)  # get_command leaves out what is not there

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        if cmd_name not in COMMANDS or not _is_there(cmd_name):
            return None
        module, _, function = COMMANDS[cmd_name].partition(":")
        command = getattr(importlib.import_module(module), function)
        single = typer.Typer(add_completion=False, rich_markup_mode=None)
        single.command(cmd_name, help=_help(command))(command)
        return typer.main.get_command(single)


app = typer.Typer(
    cls=LazyCommands,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _help(command: Callable[..., object]) -> str:
    """Return a command's docstring; the line breaks of its examples are kept."""
    text = inspect.getdoc(command) or ""
    # A paragraph that begins with a backspace is not wrapped anew.
    return re.sub("(?<!\b\n)^(Examples?:)$", "\b\n\\1", text, flags=re.MULTILINE)


def sightline(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> None:
    """Sightline: say, run and prove who may see whom in attention.

    Example:
      sightline show 'causal() & padding(lengths=[5, 3])'

    Exit codes: 0 fine, 1 findings, 2 bad usage or bad input.
    """
    if version:
        typer.echo(f"sightline {__version__}")
        raise typer.Exit(FINE)
    if context.invoked_subcommand is None:
        typer.echo(context.get_help(), err=True)
        raise typer.Exit(BAD_INPUT)


app.callback(invoke_without_command=True, help=_help(sightline))(sightline)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command line (default: the process's own) and return its exit code."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    command = typer.main.get_command(app)
    try:
        code = command.main(args=words, prog_name="sightline", standalone_mode=False)
        sys.stdout.flush()
    except (OutputClosed, BrokenPipeError):
        _discard_output()
        return OUTPUT_CLOSED
    except (KeyboardInterrupt, typer.Abort):
        return INTERRUPTED
    except _UsageError as error:
        return _complain(error.format_message(), _hint(words))
    except SightlineError as error:
        return _complain(str(error))
    except OSError as error:
        return _complain(_about_file(error))
    return code if isinstance(code, int) else FINE


def run() -> None:
    """The console script."""
    sys.exit(main())


def _is_there(name: str) -> bool:
    """Whether this installation has the module of that command; nothing of it is run."""
    module, _, _ = COMMANDS[name].partition(":")
    return importlib.util.find_spec(module) is not None


def _complain(message: str, hint: str = "") -> int:
    """Print what is wrong to standard error and return the exit code for it."""
    if "TORCHELASTIC_ERROR_FILE" in os.environ:
        from sightline.recipes.training.together import tell_torchrun

        tell_torchrun(message)
    encoding = sys.stderr.encoding or "utf-8"
    text = f"error: {message}" + (f"\n{hint}" if hint else "")
    typer.echo(text.encode(encoding, "backslashreplace").decode(encoding), err=True)
    return BAD_INPUT


def _hint(words: Sequence[str]) -> str:
    known = bool(words) and words[0] in COMMANDS and _is_there(words[0])
    command = f"{words[0]} " if known else ""
    return f"see: sightline {command}--help"


def _about_file(error: OSError) -> str:
    if error.filename is None:
        return str(error)
    return f"{os.fsdecode(error.filename)}: {(error.strerror or str(error))}"


def _discard_output() -> None:
    """Point standard output at nothing, so that the interpreter's last flush stays quiet."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, sys.stdout.fileno())
    os.close(null)


if __name__ == "__main__":
    run()
