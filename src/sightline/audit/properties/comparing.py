"""Passes that must agree: run once each, compared, and told apart from rounding.

Two ways of asking for the same thing work on other shapes or with other kernels, so that bits may
differ where nothing is wrong. Differences that are small are measured again in float32: rounding
grows there, a fault does not.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from sightline.audit.contracts import Clause
from sightline.audit.probing.feed import Feed
from sightline.audit.probing.judging import FINER, moved, size_of_change, verdict
from sightline.audit.probing.runner import Runner
from sightline.audit.probing.subject import Condition, Outputs, Subject, why_failed
from sightline.errors import InvalidArgument, SightlineError

if TYPE_CHECKING:
    from sightline.audit.probing.examination import Examination

Bools = NDArray[np.bool_]

# Differences of two ways to compute the same, as parts of the output's size: below the first they
# are rounding in float64, above the second they are not.
ROUNDING, SURE = 1e-9, 1e-3
# What rounding may be where the coarsest numbers that a model computes in have so many bytes.
COARSE = {8: SURE, 4: 1e-4, 2: 3e-2}
# Passes after which a promise leaves further conditions out.
MOST_PASSES = 16
# Where shapes are equal no rounding is expected. Some layers choose what is computed together by
# the values (experts), which moves the last bit, and that the float32 bits of a norm.
EXACT_COARSE = 1e-5


@dataclass(frozen=True)
class Gap:
    """The largest difference between two ways.

    Attributes:
        output: the name of the output.
        size: as a part of the output's root mean square.
        row: the batch row that differs first.
        position: the first position that differs; -1 for outputs without positions.
    """

    output: str
    size: float
    row: int = 0
    position: int = -1

    @property
    def where(self) -> str:
        """The place in words."""
        if self.position < 0:
            return f"{self.output} of row {self.row}"
        return f"{self.output} at position {self.position} of row {self.row}"


def gap_of(
    name: str,
    base: NDArray[Any],
    other: NDArray[Any],
    lengths: Collection[int] = (),
    where: Bools | None = None,
) -> Gap:
    """Return the difference of two outputs ``[batch, ...]`` of one shape.

    Args:
        name: of the output.
        base: the output.
        other: the same, asked for in another way.
        lengths: numbers of positions; an output whose second axis is none of them has none.
        where: bool ``[batch, length]``, which positions count; None is all.
    """
    if base.ndim < 2:
        before, after = base.reshape(len(base), 1), other.reshape(len(base), 1)
    else:
        before, after = base, other
    differ = moved(before, after)
    if where is not None:
        differ &= where
    size = size_of_change(before, after, differ)
    if not size:
        return Gap(name, 0.0)
    # The first place that counts, not the first rounding.
    with np.errstate(invalid="ignore"):
        change = np.abs(after.astype(np.float64) - before)
    change = np.where(before == after, 0.0, np.where(np.isfinite(change), change, np.inf))
    change = change.reshape(*before.shape[:2], -1).max(axis=-1) * differ
    clear = change > 1e-5 * change.max() if np.isfinite(change.max()) else np.isinf(change)
    position = int(np.flatnonzero(clear.any(axis=0))[0])
    row = int(np.flatnonzero(clear[:, position])[0])
    return Gap(name, size, row, position if before.shape[1] in lengths else -1)


def largest(gaps: Iterable[Gap]) -> Gap | None:
    """Return the largest of some differences; None if there are none."""
    return max(gaps, key=lambda gap: gap.size, default=None)


def judged_outputs(outputs: Outputs, batch: int, clause: Clause) -> Outputs:
    """Return the outputs ``[batch, ...]`` that a clause is about: numbers, not indices, if any.

    Raises:
        InvalidArgument: there is none.
    """
    rows = {
        n: a
        for n, a in outputs.items()
        if a.ndim and a.shape[0] == batch and a.dtype.kind in "fiub"
    }
    if clause.output is not None:
        rows = {name: array for name, array in rows.items() if name == clause.output}
    found = {name: array for name, array in rows.items() if array.dtype.kind == "f"} or rows
    if found:
        return found
    have = ", ".join(f"{name} {list(a.shape)}" for name, a in outputs.items()) or "none"
    wanted = f"the output {clause.output!r}" if clause.output else "an output [batch, ...]"
    raise InvalidArgument(f"wanted {wanted} with {batch} rows, got {have}; name one that is there.")


@dataclass(frozen=True, eq=False)
class Joined(Condition):
    """Several conditions at once.

    Attributes:
        parts: these conditions; the later ones are entered inside the others.
    """

    parts: tuple[Condition, ...] = ()


def joined(*parts: Condition) -> Joined:
    """Return several conditions at once; the first says what is padding."""

    def given(feed: Feed) -> dict[str, Any]:
        return {name: value for part in parts for name, value in part.given(feed).items()}

    @contextmanager
    def within() -> Iterator[None]:
        with ExitStack() as stack:
            for part in parts:
                stack.enter_context(part.within())
            yield

    name = ", ".join(part.name for part in parts)
    return Joined(name, given, within, parts[0].valid, parts)


class Passes:
    """The passes of one promise: each is run once, in float64, and in float32 where asked."""

    def __init__(self, examination: Examination, clause: Clause) -> None:
        self.examination = examination
        self.clause = clause
        self._kept: dict[tuple[int, int, bool], tuple[Feed, Condition, Outputs | None]] = {}
        self._float32: Subject | None = None
        self._widths: dict[str, int] = {}
        self._rounded = False
        self._before = examination.counter.done

    def run(self, feed: Feed, condition: Condition, coarse: bool = False) -> Outputs | None:
        """Return the outputs; None, and a note, where the model cannot be run so."""
        key = id(feed), id(condition), coarse
        if key not in self._kept:
            self._kept[key] = feed, condition, self._run(feed, condition, coarse)
        return self._kept[key][2]

    def _run(self, feed: Feed, condition: Condition, coarse: bool) -> Outputs | None:
        subject = self.subject(coarse)
        if subject is None:
            return None
        counter, seed = self.examination.counter, self.examination.seed
        try:
            under = self.bound(condition, coarse)
            outputs = Runner(subject, under, counter, seed)(feed)
        except SightlineError:
            raise
        except Exception as error:
            if not coarse:
                self.note(f"not run under {condition.name}: {why_failed(error)}")
            return None
        if not coarse and condition.name not in self.examination.done:
            self.examination.done.append(condition.name)
        return outputs

    def bound(self, condition: Condition, coarse: bool) -> Condition:
        """Return a condition for the subject in float32, whose modes are its own."""
        subject = self.subject(coarse)
        if not coarse or subject is None:
            return condition
        if isinstance(condition, Joined):
            return joined(*(self.bound(part, coarse) for part in condition.parts))
        known = {each.name: each for each in subject.conditions(self.examination.feed)}
        return replace(condition, within=known[condition.name].within)

    @property
    def spent(self) -> bool:
        """Whether the promise has had its share of the passes."""
        counter = self.examination.counter
        return counter.done - self._before >= MOST_PASSES or counter.left < 2

    def note(self, text: str) -> None:
        """Leave a note, once."""
        line = f"{self.clause}: {text}"
        if line not in self.examination.notes:
            self.examination.notes.append(line)

    def subject(self, coarse: bool) -> Subject | None:
        """Return the subject; if asked so in float32, and None if it has no finer numbers."""
        if not coarse:
            return self.examination.subject
        if self._float32 is None and self.examination.subject.dtype == "float64":
            self._float32 = self.examination.subject.in_dtype("float32")
        return self._float32

    # -- rounding or not -------------------------------------------------------------------------

    def parity(self, measure: Callable[[bool], Gap | None], condition: Condition) -> Gap | None:
        """Return a difference between two ways that may round differently, if it is none of that.

        Args:
            measure: returns the difference; in float32 if its argument is True.
            condition: that the ways share.
        """
        gap = measure(False)
        if gap is None or gap.size <= ROUNDING:
            return None
        width = 2 if gap.size > COARSE[2] else self._width(condition)
        if width == 8 and gap.size <= SURE:
            coarse = measure(True)
            if coarse is None or coarse.size <= FINER * gap.size:
                return gap
        elif gap.size > COARSE[width]:
            return gap
        self._rounding(gap)
        return None

    def exact(self, measure: Callable[[bool], Gap | None], condition: Condition) -> Gap | None:
        """Return a difference between passes that do the same work on the same shapes."""
        gap = measure(False)
        if gap is None or not gap.size:
            return None
        dtype = self.examination.subject.dtype
        small = gap.size <= EXACT_COARSE
        if small and dtype == "float64" and self._width(condition) <= 4:
            said = "drift"
        else:
            coarse = measure(True) if small and dtype == "float64" else None
            said = verdict(gap.size, dtype, None if coarse is None else coarse.size)
        if said in ("leak", "unclear"):
            return gap
        self._rounding(gap)
        return None

    def _rounding(self, gap: Gap) -> None:
        if not self._rounded:
            self._rounded = True
            self.note(f"{gap.where} differs by {gap.size:.1e} of its size, which is rounding")

    def _width(self, condition: Condition) -> int:
        """Return the bytes of the coarsest numbers that the model computes in under a condition."""
        if condition.name not in self._widths:
            self._widths[condition.name] = self._coarsest_width(condition)
        return self._widths[condition.name]

    def _coarsest_width(self, condition: Condition) -> int:
        examination = self.examination
        if examination.subject.model is None:
            base = examination.base(condition) or {}
            return min((a.dtype.itemsize for a in base.values() if a.dtype.kind == "f"), default=8)
        import torch
        from torch.overrides import TorchFunctionMode

        widths: set[int] = {8 if examination.subject.dtype == "float64" else 4}

        class Widths(TorchFunctionMode):
            def __torch_function__(
                self, func: Any, types: Any, args: Any = (), kwargs: Any = None
            ) -> Any:
                result = func(*args, **(kwargs or {}))
                # What was finer before counts: a mask made of integers is exact in float32.
                finer = any(_bytes(torch, each) == 8 for each in args)
                if finer and _bytes(torch, result):
                    widths.add(result.element_size())
                return result

        with Widths():
            examination.runner(condition)(examination.feed)
        return max(min(widths), 2)


def _bytes(torch: Any, value: Any) -> int:
    """Return the size of a tensor's numbers if they are floats, else 0."""
    floats = isinstance(value, torch.Tensor) and value.is_floating_point()
    return value.element_size() if floats else 0


def named_inputs(clause: Clause, feed: Feed) -> tuple[str, ...]:
    """Return the inputs that a clause is about: the one it names, or all that vary.

    Raises:
        InvalidArgument: the one it names does not vary.
    """
    if clause.input is None:
        return tuple(feed.varying)
    if clause.input not in feed.varying:
        raise InvalidArgument(
            f"{clause.promise} speaks of the input {clause.input!r}; the inputs that vary are "
            f"{', '.join(feed.varying)}."
        )
    return (clause.input,)


def in_order(feed: Feed, order: NDArray[Any]) -> Feed:
    """Return a feed with its rows in another order, masks and other fixed inputs with them."""
    inputs = feed.inputs.values()
    return feed.having(
        *(replace(each, values=in_rows(each.values, order, feed.batch)) for each in inputs)
    )


def in_rows(values: Any, order: NDArray[Any], batch: int) -> Any:
    """Return values with their rows in another order, if they have as many."""
    rows = isinstance(values, np.ndarray) and values.ndim and values.shape[0] == batch
    return values[order] if rows else values


def inference(passes: Passes) -> list[Condition]:
    """Return the conditions that a promise about using a model is tested under: not training.

    Dropout and batch norm mix what they please in training; it counts if it is asked for by name.
    """
    examination = passes.examination
    if examination.wanted is not None:
        return examination.conditions
    return [each for each in examination.conditions if each.name != "train"]


def repeats(passes: Passes, feed: Feed, condition: Condition, gap: Gap) -> bool:
    """Return whether the same pass gives the same output again; leaves a note if it does not."""
    examination = passes.examination
    before = passes.run(feed, condition)
    after = examination.runner(condition)(feed)
    if before is not None and not gap_of("", before[gap.output], after[gap.output]).size:
        return True
    passes.note(
        f"under {condition.name} the same inputs give different outputs each time; what differs "
        "there is not counted"
    )
    return False
