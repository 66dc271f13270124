"""Does padding change anything? A sequence alone, padded on either side, with any padding.

What the padding holds is exchanged at equal shapes: no bit of a real position may move. Alone and
padded differ in shape: what is more than rounding counts. The padded forms are padding.py's.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import NDArray

from sightline.audit.contracts import Clause, PadInvariant
from sightline.audit.findings import Finding, Pair, Place
from sightline.audit.probing.feed import Feed, Input
from sightline.audit.probing.subject import Condition, Outputs
from sightline.audit.probing.torch_conditions import parameters_of
from sightline.audit.properties.comparing import (
    Gap,
    Passes,
    gap_of,
    inference,
    judged_outputs,
    largest,
    named_inputs,
    repeats,
)
from sightline.audit.properties.padding import Padded, Padding, Side, padded_batch, padding_of
from sightline.audit.properties.places import place_apart, place_of

if TYPE_CHECKING:
    from sightline.audit.probing.examination import Examination

# Why padding is read, by a word in the class or the operation where that starts.
_CAUSES = {
    "conv": "a convolution reaches from real positions into the padding: set the padding to zero "
    "before it",
    "batchnorm": "a batch norm counts padding in its means: leave the padding out of them",
    "groupnorm": "a norm over the positions counts the padding: leave it out of the means",
    "instancenorm": "a norm over the positions counts the padding: leave it out of the means",
    "attention": "the mask of the padding does not reach this attention, or not in its sense",
    "softmax": "the mask of the padding does not reach this softmax, or not in its sense",
    "mean": "a mean over all positions counts the padding: sum the real ones, divide by their "
    "number (sl.nn has masked poolings)",
    "sum": "a sum over all positions counts the padding: multiply by the mask first",
    "max": "a maximum over all positions counts the padding: fill it with -inf first",
    "gru": "a recurrence runs through the padding: pack the sequences, or carry the state over it",
    "lstm": "a recurrence runs through the padding: pack the sequences, or carry the state over it",
}
# Keywords by which models take positions.
_POSITIONS = ("position_ids", "positions")


def examine(examination: Examination, clause: Clause) -> Iterable[Finding]:
    """Return what breaks ``pad_invariant()``."""
    promise = cast("PadInvariant", clause.promise)
    padding = padding_of(examination.subject, examination.feed, clause)
    batch = padded_batch(padding, examination.feed)
    passes = Passes(examination, clause)
    conditions = [each for each in inference(passes) if not _gives(each, padding, examination.feed)]
    for side in _sides(promise, padding, passes):
        check = _Check(passes, batch, side)
        leak = check.contents(conditions) if promise.other_ids else None
        told = leak or (check.lengths(conditions[0]) if getattr(promise, side) else None)
        if told is not None:
            # Whatever is wrong here shows in the other comparisons too: one finding tells it.
            return [told]
    return []


def _sides(promise: PadInvariant, padding: Padding, passes: Passes) -> Iterator[Side]:
    if promise.right or not promise.left:
        yield "right"
    if promise.left:
        if padding.means == "lengths":
            passes.note("lengths cannot tell of padding on the left; only the right was tested")
        else:
            yield "left"


def _gives(condition: Condition, padding: Padding, feed: Feed) -> bool:
    """Return whether a condition says by itself what is padding."""
    return condition.valid is not None or any(
        padding.keyword == name or "mask" in name for name in condition.given(feed)
    )


class _Check:
    """One side of one batch."""

    def __init__(self, passes: Passes, batch: Padded, side: Side) -> None:
        self.passes = passes
        self.batch = batch
        self.side: Side = side
        self.padded = batch.on(side)
        self.valid = batch.valid(side)
        seed = passes.examination.seed + 1
        self.names = named_inputs(passes.clause, passes.examination.feed)
        self.changed = batch.other(self.padded, side, self.names, seed)
        self._alone: dict[int, Feed] = {}

    def alone(self, row: int) -> Feed:
        if row not in self._alone:
            self._alone[row] = self.batch.alone(row)
        return self._alone[row]

    # -- what the padding holds ------------------------------------------------------------------

    def contents(self, conditions: list[Condition]) -> Finding | None:
        """Return what other contents of the padding move."""
        first: tuple[Gap, Condition] | None = None
        broken: list[str] = []
        held: list[str] = []
        for condition in conditions:
            if condition is not conditions[0] and self.passes.spent:
                continue
            gap = self.passes.exact(lambda coarse, c=condition: self._moved(c, coarse), condition)
            if gap is not None and not repeats(self.passes, self.padded, condition, gap):
                gap = None
            if gap is not None and first is None:
                first = gap, condition
            (held if gap is None else broken).append(condition.name)
        return None if first is None else self._leak(*first, tuple(broken), tuple(held))

    def _moved(self, condition: Condition, coarse: bool) -> Gap | None:
        base = self.passes.run(self.padded, condition, coarse)
        other = self.passes.run(self.changed, condition, coarse)
        if base is None or other is None:
            return None
        gaps: list[Gap] = []
        for name, before in judged_outputs(base, self.padded.batch, self.passes.clause).items():
            after = other.get(name)
            if after is None or after.shape != before.shape:
                continue
            before, after = self._hidden(name, before), self._hidden(name, after)
            gaps.append(gap_of(name, before, after, self.padded.lengths))
        return largest(gaps)

    def _hidden(self, name: str, array: NDArray[Any]) -> NDArray[Any]:
        """Return an output with zeros where it is about padding, whichever axes that is."""
        shown = array.copy()
        for axis in range(1, array.ndim):
            if array.shape[axis] == self.batch.size and self._runs(name, axis):
                shape = [1] * array.ndim
                shape[0], shape[axis] = self.valid.shape
                shown = np.where(self.valid.reshape(shape), shown, np.zeros((), shown.dtype))
        return shown

    def _runs(self, name: str, axis: int) -> bool:
        """Return whether an axis runs along the padded positions: it is shorter alone."""
        row = int(self.batch.lengths.argmin())
        condition = self.passes.examination.conditions[0]
        alone = self.passes.run(self.alone(row), condition)
        if alone is None or name not in alone or alone[name].ndim <= axis:
            return True
        return alone[name].shape[axis] == self.batch.lengths[row]

    def _leak(
        self, gap: Gap, condition: Condition, broken: tuple[str, ...], held: tuple[str, ...]
    ) -> Finding:
        place = self._place(gap, condition)
        return Finding(
            "leak",
            str(self.passes.clause),
            f"{gap.where} depends on what the padding on the {self.side} holds",
            input=", ".join(n for n in self.names if n in self.batch.padding.group),
            output=gap.output,
            conditions=broken,
            held=held,
            pairs=self._pairs(gap),
            size=gap.size,
            place=place,
            cause=_cause(place, self.side, pooled=gap.position < 0),
        )

    def _place(self, gap: Gap, condition: Condition) -> Place | None:
        feed = self.passes.examination.feed
        quiet: dict[int, Any] = {n: np.ones((feed.batch, n), dtype=bool) for n in feed.lengths}
        quiet[self.batch.size] = self.valid
        quiet[0] = np.ones(feed.batch, dtype=bool)
        return place_of(self.passes.examination, condition, self.padded, self.changed, quiet)

    def _pairs(self, gap: Gap) -> tuple[Pair, ...]:
        """Return the position that moved, and the nearest position of padding."""
        pads = np.flatnonzero(~self.valid[gap.row])
        if gap.position < 0 or not len(pads):
            return ()
        near = pads[np.abs(pads - gap.position).argmin()]
        return (Pair(gap.row, gap.position, int(near)),)

    # -- alone, and padded -----------------------------------------------------------------------

    def lengths(self, condition: Condition) -> Finding | None:
        """Return how a padded sequence differs from the same alone."""
        gap = self._differs(condition, self.padded)
        if gap is None:
            return None
        place = self._where(gap, condition)
        known = _known_cause(place) if self.side == "right" else ""
        return Finding(
            "parity",
            str(self.passes.clause),
            f"{gap.where} of the sequence is another one when it is padded on the {self.side} than "
            "alone",
            input=self.batch.padding.target,
            output=gap.output,
            conditions=(condition.name,),
            pairs=(Pair(gap.row, gap.position, -1),) if gap.position >= 0 else (),
            size=gap.size,
            place=place,
            cause=known or self._why(condition),
        )

    def _where(self, gap: Gap, condition: Condition) -> Place | None:
        count = int(self.batch.lengths[gap.row])
        start = 0 if self.side == "right" else self.batch.size - count
        cut = gap.row, start, start + count
        alone = self.alone(gap.row)
        runner = self.passes.examination.runner(condition)
        pieces = lambda: runner(alone)  # noqa: E731
        return place_apart(self.passes, condition, self.padded, pieces, [cut], self.batch.size)

    def _differs(self, condition: Condition, padded: Feed) -> Gap | None:
        measure = lambda coarse: self._apart(condition, padded, coarse)  # noqa: E731
        return self.passes.parity(measure, condition)

    def _apart(self, condition: Condition, padded: Feed, coarse: bool) -> Gap | None:
        together = self.passes.run(padded, condition, coarse)
        if together is None:
            return None
        gaps: list[Gap] = []
        padding = np.flatnonzero(self.batch.lengths < self.batch.size)[:2]
        for row in padding:
            one = self.passes.run(self.alone(int(row)), condition, coarse)
            if one is not None:
                gaps += self._row_gaps(int(row), one, together)
        return largest(gaps)

    def _row_gaps(self, row: int, one: Outputs, together: Outputs) -> Iterator[Gap]:
        for name, before in judged_outputs(one, 1, self.passes.clause).items():
            after = self._real(together.get(name), before, row)
            if after is not None:
                gap = gap_of(name, before, after, self.alone(row).lengths)
                yield Gap(name, gap.size, row, gap.position)

    def _real(self, padded: Any, alone: NDArray[Any], row: int) -> NDArray[Any] | None:
        """Return the part of a padded output that is about the real positions of a row."""
        if padded is None or padded.ndim != alone.ndim or len(padded) != self.padded.batch:
            return None
        part = padded[row : row + 1]
        count = int(self.batch.lengths[row])
        start = 0 if self.side == "right" else self.batch.size - count
        for axis in range(1, alone.ndim):
            if part.shape[axis] == self.batch.size and alone.shape[axis] == count:
                part = part.take(range(start, start + count), axis=axis)
        return part if part.shape == alone.shape else None

    def _why(self, condition: Condition) -> str:
        if self.side == "right":
            return (
                "what the padding holds plays no part, but how much there is does: a mean or norm "
                "divides by the padded length, the last position is taken for the last token, or "
                "positions count from the end"
            )
        cured = self._with_positions(condition)
        if cured:
            return (
                f"positions count the padding; with {cured} that start at the first real token the "
                "outputs agree: pass them, mask.cumsum(-1) - 1 where the mask is 1, or pad on the "
                "right"
            )
        return (
            "most likely positions count the padding, or the first position is taken for the first "
            "token: number the positions from the first real token, or pad on the right"
        )

    def _with_positions(self, condition: Condition) -> str:
        """Return the keyword of positions that makes left padding right; empty if none does."""
        model = self.passes.examination.subject.model
        taken = parameters_of(model) if model is not None else {}
        for name in _POSITIONS:
            if name in taken and name not in self.padded.inputs:
                places = np.maximum(self.valid.cumsum(axis=1) - 1, 0)
                feed = self.padded.having(Input(name, places, "fixed"))
                before = list(self.passes.examination.notes)
                ran = self.passes.run(feed, condition)
                if ran is not None and self._differs(condition, feed) is None:
                    return name
                self.passes.examination.notes[:] = before
        return ""


def _known_cause(place: Place | None) -> str:
    seen = "" if place is None else f"{place.operation} {place.kind}".lower()
    return next((text for word, text in _CAUSES.items() if word in seen), "")


def _cause(place: Place | None, side: Side, pooled: bool) -> str:
    known = _known_cause(place)
    if known:
        return known
    if pooled and side == "right" and place is not None and "__getitem__" in place.operation:
        return (
            "the last position is taken for the last token: pick the last real one, where the mask "
            "is 1 for the last time"
        )
    if pooled and side == "left":
        return (
            "the first position is taken for the first token, or all positions are pooled without "
            "the mask: with padding on the left the first token stands behind it"
        )
    return (
        "padding is read: by an attention that its mask does not reach, a convolution or "
        "recurrence over the edge, or a mean or norm over all positions"
    )
