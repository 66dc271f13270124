"""The records of a guard: where a call stands, what it was given, and what is wrong with it.

Records only: reading.py fills the tables, the files of the entries make calls, checks.py and its
siblings judge them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from sightline.masks.mask import Mask

    Bools = NDArray[np.bool_]

Severity = Literal["error", "warning", "note"]

# What a tensor's values mean to the kernel that gets it: True may attend; True may not; numbers
# are added to the scores; whatever is not 0 forbids (torch's fused encoder layer, of floats).
Means = Literal["attend", "ignore", "added", "nonzero"]

# What comes out for a query that may see nothing.
Empty = Literal["zero", "nan", "average"]


@dataclass(frozen=True)
class Where:
    """A line of code.

    Attributes:
        file: its file.
        line: its number, from 1.
        text: the line itself, without the space around it; empty if it cannot be read.
    """

    file: str
    line: int
    text: str = ""

    def __str__(self) -> str:
        """Return file and line as editors and terminals link them."""
        return f"{self.file}:{self.line}"


@dataclass(frozen=True)
class GuardFinding:
    """One thing that is wrong with the attention calls of one line.

    Attributes:
        check: which check found it; docs/guard.md explains each.
        message: what was got, what it does, and what to do.
        where: the line that called attention.
        call: the call in short: entry, sizes, dtype.
        severity: error (the result is wrong), warning (it very likely is), note (worth knowing).
        module: the dotted name and class of the module that called; empty outside of modules.
        caller: the nearest line of code that is not an installed package; None if that is
            ``where``, or there is none.
        times: how many calls of that line it holds for.
    """

    check: str
    message: str
    where: Where
    call: str
    severity: Severity = "warning"
    module: str = ""
    caller: Where | None = None
    times: int = 1

    def __str__(self) -> str:
        """Return it as a few lines of text."""
        times = f" ({self.times} calls)" if self.times > 1 else ""
        lines = [f"{self.severity}: {self.check}{times}: {self.message}", f"  at {self.where}"]
        if self.where.text:
            lines.append(f"    {self.where.text}")
        if self.module:
            lines.append(f"  in {self.module}")
        lines.append(f"  call: {self.call}")
        if self.caller is not None:
            lines.append(f"  from {self.caller}: {self.caller.text}")
        return "\n".join(lines)


class Said(NamedTuple):
    """What a check says, before anybody knows where."""

    check: str
    severity: Severity
    message: str


@dataclass(frozen=True)
class Numbers:
    """What the values of a float mask are like.

    Attributes:
        least: the least finite number.
        greatest: the greatest finite number.
        nan: whether there is a NaN.
        minus_inf: whether there is a -inf.
        plus_inf: whether there is a +inf.
        zero_one: whether all values are 0 or 1, and both occur.
        weak: the only number besides 0, if that is below 0 and too small to forbid; else None.
        biased: whether there are numbers that neither are 0 nor forbid.
    """

    least: float
    greatest: float
    nan: bool
    minus_inf: bool
    plus_inf: bool
    zero_one: bool
    weak: float | None
    biased: bool


@dataclass(frozen=True, eq=False)
class Table:
    """What a mask tensor says.

    Attributes:
        allowed: ``[batch|1, heads|1, rows|1, keys|1]``, True may attend.
        numbers: what its numbers are like; None for bools.
        digest: stands for the content.
        unhidden: where the number is 0, if the others are too weak to forbid (``Numbers.weak``).
    """

    allowed: Bools
    numbers: Numbers | None
    digest: bytes
    unhidden: Bools | None = None


@dataclass(frozen=True, eq=False)
class Part:
    """One mask argument of a call.

    Attributes:
        name: of the argument.
        shape: as given.
        means: what its values mean there.
        table: what it says.
        learned: whether a gradient flows into it, so that it is a bias and not a mask.
    """

    name: str
    shape: tuple[int, ...]
    means: Means
    table: Table
    learned: bool = False


@dataclass(frozen=True, eq=False)
class Call:
    """One call of attention, as far as its masks go.

    Attributes:
        entry: the function, as its users call it.
        batch: batch rows.
        heads: query heads.
        q_len: queries.
        kv_len: keys.
        dtype: of the query, such as ``float32``.
        parts: the mask tensors.
        causal: whether the kernel applies ``is_causal``, from the upper left corner.
        said_causal: whether the caller said ``is_causal=True``.
        replaces: whether ``is_causal`` is applied instead of the mask and not besides.
        empty: what comes out for a query that may see nothing.
        step: every how many-th row of queries was looked at.
        mask: the mask of a call of ours, which has an expression; None for tensors.
        q_offset: the absolute position of query 0, where the call says so; else None.
        self_attention: whether queries and keys are one sequence; None if that is not known.
        layout: how mask tensors line up: sdpa broadcasts from the last axis, mha names its axes.
        whole: whether this is all that decides who sees whom; False for a layer whose own call of
            a kernel follows and is looked at too.
    """

    entry: str
    batch: int
    heads: int
    q_len: int
    kv_len: int
    dtype: str
    parts: tuple[Part, ...] = ()
    causal: bool = False
    said_causal: bool = False
    replaces: bool = False
    empty: Empty = "zero"
    step: int = 1
    mask: Mask | None = None
    q_offset: int | None = None
    self_attention: bool | None = None
    layout: Literal["sdpa", "mha"] = "sdpa"
    whole: bool = True

    @property
    def key(self) -> Any:
        """What the checks of this call depend on: equal keys, equal findings."""
        parts = tuple((p.name, p.shape, p.means, p.table.digest, p.learned) for p in self.parts)
        sizes = (self.batch, self.heads, self.q_len, self.kv_len, self.dtype, self.step)
        flags = (self.causal, self.said_causal, self.replaces, self.empty, self.layout)
        return self.entry, sizes, parts, flags, self.mask, self.q_offset

    def __str__(self) -> str:
        """Return the call in short."""
        sizes = f"{self.q_len} queries x {self.kv_len} keys"
        given = [f"{p.name}={_kind(p)}{list(p.shape)}" for p in self.parts]
        given += ["is_causal=True"] if self.said_causal else []
        given += [f"mask={self.mask}"] if self.mask is not None else []
        return (
            f"{self.entry}({', '.join(given)}): {self.batch} x {self.heads} heads, {sizes}, "
            f"{self.dtype}"
        )


def _kind(part: Part) -> str:
    return "float" if part.table.numbers is not None else "bool"
