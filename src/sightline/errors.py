"""Every error that Sightline raises on purpose.

A message says what was got, what was wanted and what to do. Each kind also derives from the
built-in exception that a user would reach for (ValueError, TypeError, ...).
"""

from __future__ import annotations

from typing import Any

__all__ = [
    "AuditFailed",
    "CannotExpress",
    "DataError",
    "GuardError",
    "InvalidArgument",
    "InvalidMask",
    "MissingExtra",
    "MissingKernels",
    "NoTruthValue",
    "ParseError",
    "RankError",
    "RankLost",
    "RanksDisagree",
    "ShapeMismatch",
    "SightlineError",
    "UnknownBackend",
]


class SightlineError(Exception):
    """The root of Sightline's errors; catch it to catch them all."""

    def __reduce__(self) -> tuple[Any, ...]:
        # Those of other processes come pickled, and many kinds are not made of a message alone.
        return _made_again, (type(self), self.args, self.__dict__)


class InvalidMask(SightlineError, ValueError):
    """A mask was given an argument that it cannot mean anything by."""


class InvalidArgument(SightlineError, ValueError):
    """An argument that is neither a mask nor a size: an option, a dtype, a rate, a device."""


class ShapeMismatch(SightlineError, ValueError):
    """Two sizes that must agree, or broadcast from 1, do not."""


class NoTruthValue(SightlineError, TypeError):
    """A mask was used where Python wants True or False (``and``, ``or``, ``not``, ``if``)."""


class CannotExpress(SightlineError, NotImplementedError):
    """A destination or an engine cannot say this mask exactly, so it refuses.

    Attributes:
        destination: the library form or engine that was asked for.
        part: the part of the expression, or the option, that does not fit.
        reason: why it does not fit.
        alternative: the cheapest way to get the exact result all the same.
    """

    def __init__(self, *, destination: str, part: str, reason: str, alternative: str) -> None:
        self.destination = destination
        self.part = part
        self.reason = reason
        self.alternative = alternative
        super().__init__(f"{destination} cannot express {part}: {reason}. Instead: {alternative}.")


class ParseError(SightlineError, ValueError):
    """An expression that cannot be read; the message puts a caret under the mistake.

    Attributes:
        text: the expression as given.
        position: index into ``text`` of the character where reading stopped.
    """

    def __init__(self, message: str, *, text: str, position: int) -> None:
        self.text = text
        self.position = max(0, min(position, len(text)))
        super().__init__(f"{message}\n{_excerpt(text, self.position)}")


class UnknownBackend(SightlineError, ValueError):
    """A destination or an engine of a name that is not in the table."""


class DataError(SightlineError, ValueError):
    """A file whose content is not what was expected.

    Attributes:
        path: the file.
        line: its line (counted from 1), where there is one.
    """

    def __init__(self, message: str, *, path: str, line: int | None = None) -> None:
        self.path = path
        self.line = line
        where = path if line is None else f"{path}, line {line}"
        super().__init__(f"{where}: {message}")


class MissingExtra(SightlineError, ImportError):
    """An optional dependency is not installed; the message names the extra that brings it."""

    def __init__(self, *, what: str, package: str, extra: str) -> None:
        super().__init__(
            f"{what} needs {package}, which is not installed; run: pip install 'sightline[{extra}]'"
        )


class AuditFailed(SightlineError, AssertionError):
    """A model breaks its contract.

    Attributes:
        report: what was found.
    """

    def __init__(self, message: str, report: object) -> None:
        self.report = report
        super().__init__(message)


class GuardError(SightlineError):
    """A call of attention that ``sl.guard(mode="raise")`` stopped.

    Attributes:
        finding: what is wrong with it.
    """

    def __init__(self, message: str, finding: object) -> None:
        self.finding = finding
        super().__init__(message)


class RankError(SightlineError, RuntimeError):
    """Several processes cannot go on together.

    Attributes:
        ranks: the global ranks that are to blame, rising.
    """

    def __init__(self, message: str, *, ranks: tuple[int, ...]) -> None:
        self.ranks = ranks
        super().__init__(message)


class RankLost(RankError):
    """A rank died, stopped with an error, or did not come in time; the others need it to go on."""


class RanksDisagree(RankError):
    """Ranks were given different masks, shapes or options where all must be told alike."""


class MissingKernels(SightlineError, ImportError):
    """The compiled part of Sightline is not there, or does not load.

    Attributes:
        reason: why, as far as the installation knows.
    """

    def __init__(self, *, reason: str, remedy: str) -> None:
        self.reason = reason
        super().__init__(f"Sightline's compiled kernels are missing: {reason}. {remedy}")


def _made_again(
    kind: type[SightlineError], args: tuple[Any, ...], facts: dict[str, Any]
) -> SightlineError:
    error = kind.__new__(kind, *args)
    error.__dict__.update(facts)
    return error


def _excerpt(text: str, position: int, width: int = 72) -> str:
    """Return the line of ``text`` around ``position`` with a caret under that character."""
    from unicodedata import combining, east_asian_width

    line_start = text.rfind("\n", 0, position) + 1
    line_stop = text.find("\n", position)
    line = text[line_start : len(text) if line_stop < 0 else line_stop]
    column = position - line_start
    cut = max(0, column - width // 2)
    shown = line[cut : cut + width]

    def cells(part: str) -> int:
        return sum(0 if combining(c) else 2 if east_asian_width(c) in "WF" else 1 for c in part)

    head = "..." if cut else ""
    tail = "..." if cut + width < len(line) else ""
    pad = " " * (2 + len(head) + cells(shown[: column - cut]))
    return f"  {head}{shown}{tail}\n{pad}^"
