"""The guards of this thread, and what they share: one reader of masks, one verdict a call.

Entries (sdpa.py, torch_mha.py, ...) turn what a function was given into a Call and hand it over;
here it is judged once, however many guards there are, and each of them is told.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import Any, NamedTuple

import torch

from sightline.audit.guards.checks import check_call
from sightline.audit.guards.places import find_place
from sightline.audit.guards.reading import Reader, has_values, step_for
from sightline.audit.guards.records import Call, Means, Part, Said
from sightline.audit.guards.session import Session
from sightline.audit.guards.sight import Sight, sight_of

# Verdicts that are kept: one for each kind of mask and size in a model, or so.
_MOST_VERDICTS = 16
# A mask of ours is written out for its checks up to this many cells.
MOST_DENSE = 2**24


class _Verdict(NamedTuple):
    sight: Sight
    said: tuple[Said, ...]


class Here(threading.local):
    """What guards of one thread share.

    Attributes:
        sessions: the active guards, outermost first.
        inside: whether a watched function is running that is looked at as a whole.
        one_query: whether there is one query, so that what lies along the axis of queries are heads
            that share a key (transformers packs them so).
    """

    def __init__(self) -> None:
        self.sessions: list[Session] = []
        self.inside = False
        self.one_query = False
        self._reader = Reader()
        self._verdicts: OrderedDict[Any, _Verdict] = OrderedDict()

    def forget(self) -> None:
        """Let go of all that was read."""
        self._reader = Reader()
        self._verdicts.clear()

    def unseen(self, what: str) -> None:
        """Count something that was not looked at, and why."""
        for session in self.sessions:
            session.unseen[what] += 1

    def readable(self, entry: str, *tensors: torch.Tensor | None) -> bool:
        """Return whether tensors hold values; count the call as not looked at if one does not."""
        if all(each is None or has_values(each) for each in tensors):
            return True
        self.unseen(f"{entry}: its tensors hold no values that could be looked at now")
        return False

    def parts(self, entry: str, *given: Given) -> tuple[tuple[Part, ...], int] | None:
        """Read mask tensors; return them with the step between rows, or None if they hold none.

        Args:
            entry: of which call, for the count of those that were not looked at.
            given: the masks, each with four axes.
        """
        tensors = [each.tensor for each in given]
        if not self.readable(entry, *tensors):
            return None
        step = step_for(*tensors)
        if step > 1:
            self.unseen(f"{entry}: of a large mask only every {step}th query")
        read = self._reader.read
        parts = tuple(
            Part(g.name, g.shape, g.means, read(g.tensor, g.means, step), g.tensor.requires_grad)
            for g in given
        )
        return parts, step

    def see(self, call: Call) -> None:
        """Judge a call that is about to run, and tell the guards, the innermost first.

        Raises:
            GuardError: a guard of mode "raise" stops it.
        """
        verdict = self._verdict(call)
        place = find_place()
        for session in reversed(self.sessions):
            session.see(call, verdict.sight, verdict.said, place)

    def _verdict(self, call: Call) -> _Verdict:
        key = call.key
        if key in self._verdicts:
            self._verdicts.move_to_end(key)
            return self._verdicts[key]
        with torch.no_grad():
            sight = sight_of(call)
            verdict = self._verdicts[key] = _Verdict(sight, tuple(check_call(call, sight)))
        if len(self._verdicts) > _MOST_VERDICTS:
            self._verdicts.popitem(last=False)
        return verdict


class Given(NamedTuple):
    """A mask argument: its name, the shape it came in, what it means, and it with four axes."""

    name: str
    shape: tuple[int, ...]
    means: Means
    tensor: torch.Tensor


HERE = Here()


def with_four_axes(
    tensor: torch.Tensor, sizes: tuple[int, int, int, int], *, batched: bool = False
) -> torch.Tensor | None:
    """Return a mask as ``[batch|1, heads|1, queries|1, keys|1]``; None if it does not fit.

    Args:
        tensor: of one to four axes, which line up from the last.
        sizes: batch, heads, queries, keys.
        batched: whether three axes are batch, queries and keys instead of heads, queries, keys.
    """
    if not 1 <= tensor.ndim <= 4:
        return None
    if tensor.ndim == 3 and batched:
        tensor = tensor[:, None]
    while tensor.ndim < 4:
        tensor = tensor[None]
    fits = all(own in (1, size) for own, size in zip(tensor.shape, sizes, strict=True))
    return tensor if fits else None
