"""The operation with which a leak starts, inside the module that localize.py found.

Two passes are recorded (recording.py); the way is walked back from the module's wrong output,
through operations that were given something wrong, to the first that was not.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import torch

from sightline.audit.locating.calls import Call, seen_in, within_call
from sightline.audit.locating.frames import calling_line
from sightline.audit.locating.quiet import Judge, Seen, tensors_in
from sightline.audit.locating.recording import Key, Operation, Recorder, changes
from sightline.audit.probing.feed import Feed

# Operations that let positions (or whatever their axis is) read each other.
_MIXES = (
    "softmax log_softmax scaled_dot_product_attention multi_head_attention_forward matmul bmm mm "
    "baddbmm einsum tensordot conv1d conv2d conv3d conv_transpose1d mean sum max min amax amin "
    "norm var std var_mean std_mean logsumexp cumsum cumprod cummax logcumsumexp topk sort argsort "
    "median quantile batch_norm group_norm instance_norm layer_norm rms_norm avg_pool1d "
    "avg_pool2d max_pool1d adaptive_avg_pool1d adaptive_max_pool1d gru lstm rnn_tanh rnn_relu "
    "roll flip fft_fft fft_rfft fft_fft2 fft_fftn fft_ifft fft_irfft interpolate normalize"
)
_MIXING = frozenset(_MIXES.split())
_WEIGHING = frozenset({"softmax", "scaled_dot_product_attention", "multi_head_attention_forward"})
_PRODUCTS = frozenset({"matmul", "bmm", "mm", "baddbmm", "einsum", "tensordot"})
# A change of this many units in the last place is not due to another order of additions.
_SURELY = 1e6


class Unsteady(Exception):
    """The same inputs give other results each time, so that nothing can be told from a change."""


def find_operation(
    model: torch.nn.Module,
    call: Callable[[Feed], Any],
    feeds: tuple[Feed, Feed],
    judge: Judge,
    guilty: tuple[Call, Call],
    level: float,
) -> Operation | None:
    """Return the operation with which the wrong output of a call starts; None if it is not seen.

    Args:
        model: the model.
        call: runs it once.
        feeds: the inputs before and after the change.
        judge: looks at tensors.
        guilty: the call, before and after the change.
        level: changes count that are larger than this many units in the last place.

    Raises:
        Unsteady: run again, the call gave something else.
    """
    recordings: list[Recorder] = []
    ends: list[Operation] = []
    again: dict[str, Seen] = {}
    where: tuple[str, int] = "", 0

    def within() -> Recorder:
        nonlocal where
        where = calling_line()
        earlier = recordings[0].operations if recordings else {}
        recordings.append(Recorder(judge, earlier))
        return recordings[-1]

    def after(result: Any) -> None:
        if len(recordings) == 1:
            again.update(seen_in(result, judge))
        made = [recordings[-1].maker(tensor) for _, tensor in tensors_in(result)]
        ends[:] = [each for each in made if each is not None]

    first, call_again = guilty[0].outputs, guilty[0]
    for feed in feeds:
        with within_call(model, call_again.module, call_again.number, within, after):
            try:
                call(feed)
            except Exception:  # torch cannot be watched there, as where functions are compiled
                break
        if changes(first, again, _SURELY, False):
            raise Unsteady
    found = None
    if len(recordings) == 2:
        found = Trail(recordings[0].operations, recordings[1].operations, level).first(ends)
    if found is not None or not call_again.module:
        return found
    # Watched, torch leaves its fast path; all that is known is who called the module.
    shown = f"{call_again.kind}.forward"
    return Operation(-1, "forward", shown, *where, {}, {}) if where[0] else None


class Trail:
    """The way back from wrong results to the operation that they start with."""

    def __init__(
        self, before: dict[Key, Operation], after: dict[Key, Operation], level: float
    ) -> None:
        self._level = level
        self._all = list(after.values())
        self._before = {
            operation.index: before[key] for key, operation in after.items() if key in before
        }

    def first(self, ends: Iterable[Operation]) -> Operation | None:
        """Return the operation to blame for the results of some operations."""
        reached = self._reached(ends, self._bad_makers)
        innocent = [each for each in reached if not self._given_wrong(each)]
        first = [each for each in innocent if self._wrong(each)]
        # Who writes to a part of a tensor is not seen to be wrong, the whole tensor is.
        first = first or [each for each in reversed(innocent) if each.wrote]
        if not first:  # the way back is broken where torch's own autograd functions are called
            first = [o for o in self._all if self._wrong(o) and not self._given_wrong(o)]
        return self._named(first[0], reached) if first else None

    def _named(self, start: Operation, reached: list[Operation]) -> Operation:
        """Return the operation to name: what mixes, rather than what adds its result."""
        earlier = self._reached([start], self._unjudged_makers)
        mixing = [each for each in earlier if each.name in _MIXING]
        weighing = [each for each in mixing if each.name in _WEIGHING]
        sources = [each for each in earlier if not any(self._unjudged_makers(each))]
        if weighing:
            chosen = weighing[0]
        elif mixing:
            chosen = mixing[0]
        elif len({(each.file, each.line) for each in sources}) == 1:
            chosen = sources[0]
        else:
            chosen = start
        return self._softmax_of(chosen, reached) if chosen.name in _PRODUCTS else chosen

    def _softmax_of(self, product: Operation, reached: list[Operation]) -> Operation:
        """Return the softmax that a product of attention belongs to, or else the product."""
        for each in _near(product, 4):
            if each.name in _WEIGHING:
                return each
        later = [o for o in reached if o.index > product.index and o.name in _WEIGHING]
        return next((o for o in later if product in set(_near(o, 6))), product)

    def _bad_makers(self, operation: Operation) -> Iterator[Operation]:
        """Yield the makers of inputs that changed and should not have, or may not have."""
        earlier = self._before.get(operation.index)
        if earlier is not None:
            for place in changes(earlier.inputs, operation.inputs, self._level, True):
                if place in operation.makers:
                    yield operation.makers[place]

    def _unjudged_makers(self, operation: Operation) -> Iterator[Operation]:
        """Yield the makers of inputs that changed, where it is not known whether they may."""
        earlier = self._before.get(operation.index)
        if earlier is not None:
            for place in changes(earlier.inputs, operation.inputs, self._level, True):
                if operation.inputs[place].quiet is None and place in operation.makers:
                    yield operation.makers[place]

    def _wrong(self, operation: Operation) -> bool:
        earlier = self._before.get(operation.index)
        return earlier is not None and bool(
            changes(earlier.outputs, operation.outputs, self._level, False)
        )

    def _given_wrong(self, operation: Operation) -> bool:
        earlier = self._before.get(operation.index)
        return earlier is not None and bool(
            changes(earlier.inputs, operation.inputs, self._level, False)
        )

    def _reached(
        self, ends: Iterable[Operation], back: Callable[[Operation], Iterator[Operation]]
    ) -> list[Operation]:
        """Return what is reached by going back, in the order of execution."""
        found: dict[int, Operation] = {}
        waiting = list(ends)
        while waiting:
            operation = waiting.pop()
            if operation.index not in found:
                found[operation.index] = operation
                waiting += [each for each in back(operation) if each.index < operation.index]
        return [found[index] for index in sorted(found)]


def _near(operation: Operation, steps: int) -> Iterator[Operation]:
    """Yield the operations that what a product multiplies came from, a few steps back."""
    now = [operation]
    for _ in range(steps):
        now = [maker for each in now for maker in each.makers.values()]
        yield from now
