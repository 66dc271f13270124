"""Padded inputs: how a model is told of padding, and a sequence alone, left- and right-padded.

A row of positions is turned, not rebuilt: what stands behind its real part is its padding on the
right, and turning the row brings it to the left. Whatever runs along the positions, position ids
and square masks among them, is turned with it. The comparing is pad_invariant.py's.
"""

from __future__ import annotations

import inspect
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from sightline.audit.contracts import Clause, PadInvariant
from sightline.audit.probing.feed import Feed, Input
from sightline.audit.probing.subject import Subject
from sightline.audit.probing.torch_conditions import COMPANIONS, parameters_of
from sightline.audit.properties.comparing import in_order
from sightline.errors import InvalidArgument

Bools = NDArray[np.bool_]
Side = Literal["left", "right"]

# The keywords that are known, and what they mean.
KNOWN = {
    "attention_mask": "attend",
    "key_padding_mask": "ignore",
    "src_key_padding_mask": "ignore",
    "lengths": "lengths",
}
# Ends of keywords; what stands before them names the input that they are about.
_ENDS = ("_attention_mask", "_key_padding_mask", "_padding_mask", "_mask", "_lengths")
# Inputs of the other side of an encoder-decoder.
_DECODER = ("decoder", "tgt", "target", "label")


@dataclass(frozen=True)
class Padding:
    """How a model is told which positions are padding.

    Attributes:
        keyword: the keyword; empty where the padding's own id tells it.
        means: attend, ignore or lengths, as in ``pad_invariant``.
        target: the input that is padded.
        group: the inputs that are padded with it: of its length and side.
        companions: keywords that get the same values.
        always: a sequence alone is given the keyword too.
        pad: the id that padding has; None for features, or where none is known.
    """

    keyword: str
    means: str
    target: str
    group: tuple[str, ...]
    companions: tuple[str, ...] = ()
    always: bool = False
    pad: int | None = None


def padding_of(subject: Subject, feed: Feed, clause: Clause) -> Padding:
    """Return how a subject is told of padding.

    Raises:
        InvalidArgument: by nothing that is known or named.
    """
    promise = clause.promise
    assert isinstance(promise, PadInvariant)
    taken = parameters_of(subject.model) if subject.model is not None else {}
    there = [n for n in KNOWN if n in feed.inputs] + [n for n in KNOWN if n in taken]
    keyword = promise.mask or next(iter(there), "")
    pad = pad_id(subject.model)
    if keyword and keyword not in feed.inputs and taken and not _accepts(taken, keyword):
        raise InvalidArgument(
            f"{subject.name} takes no {keyword!r}; it takes {', '.join(taken)}: name the keyword "
            "that tells it of padding as pad_invariant(mask=...)."
        )
    if not keyword and pad is None:
        raise InvalidArgument(
            f"{subject.name} cannot be told of padding: looked for {', '.join(KNOWN)} among its "
            f"arguments ({', '.join(taken) or ', '.join(feed.inputs)}) and for the padding's own "
            "id (an embedding's padding_idx); name it as pad_invariant(mask=..., means=...)."
        )
    target = _target(keyword, clause, feed)
    wanted = taken.get(keyword)
    return Padding(
        keyword,
        KNOWN.get(keyword, promise.means) if promise.mask is None else promise.means,
        target,
        _group(target, feed),
        tuple(n for n in (COMPANIONS.get(keyword),) if n and n in taken and n not in feed.inputs),
        keyword in feed.inputs
        or (wanted is not None and wanted.default is inspect.Parameter.empty)
        or not taken,
        pad,
    )


def _accepts(taken: Any, keyword: str) -> bool:
    return keyword in taken or any(p.kind is p.VAR_KEYWORD for p in taken.values())


def pad_id(model: Any) -> int | None:
    """Return the id of padding: the config's, or that of the first embedding that has one."""
    config = getattr(model, "config", None)
    found = getattr(config, "pad_token_id", None)
    if isinstance(found, int) and found >= 0:
        return found
    for module in model.modules() if model is not None else ():
        found = getattr(module, "padding_idx", None)
        if isinstance(found, int):
            return found
    return None


def _target(keyword: str, clause: Clause, feed: Feed) -> str:
    if clause.input is not None:
        if clause.input not in feed.varying:
            raise InvalidArgument(
                f"{clause.promise} speaks of the input {clause.input!r}; the inputs that vary are "
                f"{', '.join(feed.varying)}."
            )
        return clause.input
    prefix = next((keyword[: -len(end)] for end in _ENDS if keyword.endswith(end)), "")
    named = [name for name in feed.varying if prefix and name.startswith(prefix)]
    return (named or [n for n in feed.varying if not _positions(n)] or list(feed.varying))[0]


def _group(target: str, feed: Feed) -> tuple[str, ...]:
    length, decoder = feed.inputs[target].length, target.startswith(_DECODER)
    return tuple(
        name
        for name, each in feed.varying.items()
        if each.length == length and name.startswith(_DECODER) == decoder
    )


def _positions(name: str) -> bool:
    return "position" in name


# -- the forms of a batch -------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Padded:
    """A batch whose rows are of different lengths.

    Attributes:
        padding: how the model is told.
        feed: the inputs, the real part of each row first.
        lengths: int ``[batch]``, the number of real positions of each row.
    """

    padding: Padding
    feed: Feed
    lengths: NDArray[np.int64]

    @property
    def size(self) -> int:
        """The number of positions, padding included."""
        return self.feed.inputs[self.padding.target].length

    def valid(self, side: Side) -> Bools:
        """Return bool ``[batch, length]``: which positions are real."""
        places = np.arange(self.size)[None, :]
        if side == "right":
            return places < self.lengths[:, None]
        return places >= self.size - self.lengths[:, None]

    def on(self, side: Side) -> Feed:
        """Return the feed padded on a side, the model told of it."""
        shifts = np.zeros_like(self.lengths) if side == "right" else self.size - self.lengths
        valid = self.valid(side)
        inputs = {
            name: _turned(each, shifts, self.feed.batch, self.size, self._is(name))
            for name, each in self.feed.inputs.items()
        }
        feed = replace(self.feed, inputs=inputs, make=None)
        blank = [
            replace(
                feed.inputs[n],
                values=_blanked(feed.inputs[n], valid, None if _positions(n) else self.padding.pad),
            )
            for n in self.padding.group
        ]
        return self._told(feed.having(*blank), valid)

    def other(self, padded: Feed, side: Side, names: tuple[str, ...], seed: int) -> Feed:
        """Return a padded feed with something else in the padding of those inputs."""
        where = ~self.valid(side)
        return padded.having(
            *(
                padded.inputs[name].changed(where, seed)
                for name in names
                if name in self.padding.group and not _positions(name)
            )
        )

    def alone(self, row: int) -> Feed:
        """Return one row without padding, as it is."""
        count = int(self.lengths[row])
        inputs: dict[str, Input] = {}
        for name, each in self.feed.inputs.items():
            values = each.values
            if isinstance(values, np.ndarray) and values.ndim:
                if values.shape[0] == self.feed.batch:
                    values = values[row : row + 1]
                if self._is(name):
                    for axis in _axes(values, self.size, each):
                        values = values.take(range(count), axis=axis)
            inputs[name] = replace(each, values=values)
        feed = replace(self.feed, inputs=inputs, make=None)
        if self.padding.always:
            return self._told(feed, np.ones((1, count), dtype=bool))
        return feed

    def _is(self, name: str) -> bool:
        """Return whether an input belongs to the side that is padded."""
        return name in self.padding.group or (
            self.feed.inputs[name].kind == "fixed"
            and name.startswith(_DECODER) == self.padding.target.startswith(_DECODER)
        )

    def _told(self, feed: Feed, valid: Bools) -> Feed:
        if not self.padding.keyword:
            return feed
        given = feed.inputs.get(self.padding.keyword)
        dtype = getattr(given.values, "dtype", None) if given is not None else None
        values = told(valid, self.padding.means, dtype)
        keywords = (self.padding.keyword, *self.padding.companions)
        return feed.having(*(Input(name, values, "fixed") for name in keywords))


def told(valid: Bools, means: str, dtype: Any = None) -> NDArray[Any]:
    """Return what a model is told: bool or integers ``[batch, length]``, or lengths ``[batch]``.

    >>> told(np.array([[True, True, False]]), "attend"), told(np.ones((1, 3), bool), "ignore")
    (array([[1, 1, 0]]), array([[False, False, False]]))
    """
    if means == "lengths":
        return valid.sum(axis=1).astype(dtype or np.int64)
    values = ~valid if means == "ignore" else valid
    return values.astype(dtype or (np.bool_ if means == "ignore" else np.int64))


def padded_batch(padding: Padding, feed: Feed) -> Padded:
    """Return a feed as rows of different lengths: those of its mask, if that has padding.

    Raises:
        InvalidArgument: fewer than 5 positions.
    """
    size = feed.inputs[padding.target].length
    if size < 5:
        raise InvalidArgument(
            f"pad_invariant() wants at least 5 positions, got {size}; give inputs= of more."
        )
    given = feed.inputs.get(padding.keyword)
    valid = None if given is None else _valid(given.values, padding.means, feed.batch, size)
    if valid is None or valid.all():
        pads = np.array(
            [(max(1, size // 5), max(2, size // 3), 0)[r % 3] for r in range(feed.batch)]
        )
        lengths, starts = size - pads, np.zeros_like(pads)
    else:
        lengths, starts = valid.sum(axis=1), valid.argmax(axis=1)
    # Another order of rows than that of the passes before: masks that are kept from those show.
    order = np.roll(np.arange(feed.batch), 1)
    feed = _without_pad_id(padding, in_order(feed, order))
    lengths, starts = lengths[order], starts[order]
    found = Padded(padding, feed, lengths.astype(np.int64))
    inputs = {
        name: _turned(each, -starts, feed.batch, size, found._is(name))
        for name, each in feed.inputs.items()
    }
    return replace(found, feed=replace(feed, inputs=inputs, make=None))


def _without_pad_id(padding: Padding, feed: Feed) -> Feed:
    """Return the feed without the padding's id among tokens that are real, where it is made up."""
    if padding.pad is None or (padding.keyword and feed.make is None):
        return feed
    tokens = [feed.inputs[name] for name in padding.group if not _positions(name)]
    return feed.having(
        *(each.changed(each.values == padding.pad, 3) for each in tokens if each.kind == "tokens")
    )


def _valid(values: Any, means: str, batch: int, size: int) -> Bools | None:
    if not isinstance(values, np.ndarray):
        return None
    if means == "lengths" and values.shape == (batch,):
        return np.arange(size)[None, :] < values[:, None]
    if values.shape == (batch, size) and values.dtype.kind in "biu":
        return ~values.astype(bool) if means == "ignore" else values.astype(bool)
    return None


def _axes(values: NDArray[Any], size: int, each: Input) -> list[int]:
    """Return the axes that run along the positions."""
    if each.kind != "fixed":
        return [1]
    return [axis for axis, length in enumerate(values.shape) if length == size]


def _turned(each: Input, shifts: NDArray[Any], batch: int, size: int, turns: bool) -> Input:
    """Return an input with each row moved along its positions, the end coming round."""
    values = each.values
    rows = isinstance(values, np.ndarray) and values.ndim > 1 and values.shape[0] == batch
    if not turns or not rows or not shifts.any():
        return each
    moved = values.copy()
    for row, shift in enumerate(shifts):
        for axis in _axes(values, size, each):
            if axis:
                moved[row] = np.roll(moved[row], int(shift), axis=axis - 1)
    return replace(each, values=moved)


def _blanked(each: Input, valid: Bools, pad: int | None) -> NDArray[Any]:
    """Return an input's values with padding in them: the pad id, another one, or zeros."""
    blank: Any = 0
    if each.kind == "tokens":
        blank = (
            pad if pad is not None else int(np.min(each.choices if each.choices is not None else 0))
        )
    if _positions(each.name):
        blank = 0
    where = valid.reshape(valid.shape + (1,) * (each.values.ndim - 2))
    return np.where(where, each.values, np.asarray(blank, dtype=each.values.dtype))
