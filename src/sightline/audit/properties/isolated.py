"""Do packed documents read each other, by any path? The documents' mask, tested as a mask.

What is added here: inputs as long as the documents, and telling the model where they begin by the
keyword that it takes, unless the inputs that are given do.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import NDArray

from sightline.audit.contracts import Clause, Isolated
from sightline.audit.findings import Finding
from sightline.audit.probing.feed import Feed, Input
from sightline.audit.probing.subject import Condition
from sightline.audit.probing.torch_conditions import parameters_of
from sightline.errors import InvalidArgument
from sightline.masks.data import Segments
from sightline.masks.mask import Mask

if TYPE_CHECKING:
    from sightline.audit.probing.examination import Examination

# Keywords that take the document of each position, and the number of the first document.
_IDS = {
    "document_ids": 0,
    "doc_ids": 0,
    "seq_idx": 0,
    "segment_ids": 1,
}
_OFFSETS = ("cu_seqlens", "cu_seq_lens")
# Positions that start again: transformers' models see documents by them, but only where neither
# another mask nor a cache is given.
_POSITIONS = ("position_ids", "positions")


def examine(examination: Examination, clause: Clause) -> Iterable[Finding]:
    """Return what breaks ``isolated(documents)``."""
    documents = cast("Isolated", clause.promise).documents
    feed = _as_long(examination, documents)
    names = [each.name for each in _telling(examination, feed, documents)]
    feed = _told(examination, feed, documents)
    if names:
        without = ", with use_cache=False" if "use_cache" in names else ""
        examination.notes.append(f"{clause}: told of the documents by {names[0]}{without}")
    conditions = [c for c in examination.conditions if not _hides(c, feed, names)]
    for each in examination.conditions:
        if each not in conditions:
            examination.notes.append(
                f"{clause}: not run under {each.name}: with another mask or a cache, documents "
                f"told by {names[0]} are passed over"
            )
    part = replace(examination, feed=feed, _bases={}, conditions=conditions)
    budget = Clause(documents, clause.input, clause.output)
    found = part.examine(budget, share=1.0)
    examination.coverage = min(examination.coverage, part.coverage)
    cause = _untold(examination, names)
    return [
        replace(each, contract=str(clause), cause=cause if cause and not each.cause else each.cause)
        for each in found
    ]


def _untold(examination: Examination, names: list[str]) -> str:
    """Return why a model may not see where documents begin; empty if that is not known."""
    given = [*names, *_given(examination.feed)]
    model = examination.subject.model
    if not given:
        return (
            "the model is not told where documents begin: give inputs= with what tells it, such as "
            "document ids or a mask of the documents"
        )
    taken = parameters_of(model) if model is not None else {}
    passed_over = "attention_mask" in given or not names
    if set(given) & set(_POSITIONS) and "use_cache" in taken and passed_over:
        return (
            "models of transformers see documents in positions that start again only without an "
            "attention_mask and without a cache: leave the mask out and give use_cache=False"
        )
    return ""


def _given(feed: Feed) -> list[str]:
    """Return the inputs that may tell of documents: fixed ones, and positions."""
    return [n for n, e in feed.inputs.items() if e.kind == "fixed" or n in _POSITIONS]


def _as_long(examination: Examination, documents: Mask) -> Feed:
    """Return inputs of as many positions as the documents have.

    Raises:
        InvalidArgument: those that are given have others.
    """
    feed = examination.feed
    wanted = documents.size() if isinstance(documents, Segments) else None
    if wanted is None or feed.lengths == {wanted}:
        return feed
    batch = documents.batch if documents.batch > 1 else feed.batch
    if feed.make is not None:
        return feed.make(batch, wanted)
    if wanted in feed.lengths:
        return feed
    raise InvalidArgument(
        f"the documents have {wanted} positions and the inputs {sorted(feed.lengths)}; give "
        "inputs= and documents of one length."
    )


def _told(examination: Examination, feed: Feed, documents: Mask) -> Feed:
    """Return a feed with what tells of the documents, at whatever size it is made again."""
    make = feed.make

    def anew(batch: int, length: int) -> Feed:
        assert make is not None
        return _told(examination, make(batch, length), documents)

    told = feed.having(*_telling(examination, feed, documents))
    return told if make is None else replace(told, make=anew)


def _telling(examination: Examination, feed: Feed, documents: Mask) -> list[Input]:
    """Return what tells the model of the documents; nothing if the given inputs do."""
    model = examination.subject.model
    taken = parameters_of(model) if model is not None else {}
    known = (*_IDS, *_OFFSETS, *_POSITIONS)
    if any(name in feed.inputs for name in known):
        return []
    keyword = next((name for name in known if name in taken), "")
    if not keyword:
        return []
    length = max(feed.lengths)
    dense = documents.dense(length, length).any(axis=1)
    together = np.broadcast_to(dense, (feed.batch, length, length))
    if keyword in _OFFSETS and feed.batch > 1:
        return []
    found = [Input(keyword, _values(keyword, together), "fixed")]
    if keyword in _POSITIONS and "use_cache" in taken and "use_cache" not in feed.inputs:
        found.append(Input("use_cache", False, "fixed"))
    return found


def _values(keyword: str, together: NDArray[np.bool_]) -> NDArray[Any]:
    """Return what a keyword takes for bools ``[batch, length, length]``."""
    places = np.arange(together.shape[1])
    earlier = together & (places[None, :] < places[:, None])
    if keyword in _POSITIONS:
        return earlier.sum(axis=-1).astype(np.int64)
    first = ~earlier.any(axis=-1)
    if keyword in _OFFSETS:
        return np.append(np.flatnonzero(first[0]), len(places)).astype(np.int32)
    leader = np.where(first, places, together.argmax(axis=-1))
    number = np.cumsum(first, axis=1) - 1
    return np.take_along_axis(number, leader, axis=1).astype(np.int64) + _IDS[keyword]


def _hides(condition: Condition, feed: Feed, names: list[str]) -> bool:
    """Return whether a condition gives a mask that is taken instead of restarting positions."""
    if not set(names) & set(_POSITIONS):
        return False
    return any("mask" in n or n == "use_cache" for n in condition.given(feed))
