"""From a mask and wishes to the pictures that are drawn, whatever they are drawn with.

What is allowed is asked in glance.py; how it looks is left to svg/, text/, png/ and
hover.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from sightline.errors import InvalidArgument, ShapeMismatch
from sightline.masks.arguments import as_int
from sightline.masks.arrays import as_numpy
from sightline.masks.frame import Frame
from sightline.masks.mask import Mask
from sightline.masks.text import short
from sightline.plan.block_map import BlockMap
from sightline.plan.planner import plan
from sightline.views.extras import Change, Mark, overlay_of
from sightline.views.facets import Choice, Facets, facets_of
from sightline.views.glance import Glance, glances
from sightline.views.marks import marks_of
from sightline.views.picture import MaskPicture
from sightline.views.svg.words import ENGLISH, Words

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Scene", "Wishes", "scene_of", "sizes_of"]

_DEFAULT_LENGTH = 8


@dataclass(frozen=True)
class Wishes:
    """What to draw of a mask; the fields are the arguments of ``sl.draw``."""

    batch: Choice = None
    head: Choice = None
    blocks: BlockMap | int | tuple[int, int] | None = None
    against: Mask | None = None
    weights: object = None
    marks: bool = True
    title: str | None = None
    query_labels: tuple[str, ...] | None = None
    key_labels: tuple[str, ...] | None = None
    fit: tuple[int, int] = (64, 64)
    words: Words = field(default_factory=lambda: ENGLISH)
    # Blocks that are read and seconds that are waited before shares are estimated instead, and
    # the seconds for each estimate.
    most_mixed: int = 1 << 16
    patience: float = 3.0
    seconds: float = 0.5


@dataclass(frozen=True, eq=False)
class Scene:
    """Pictures side by side.

    Attributes:
        title: what all of them show.
        panels: the pictures; the title of each tells it apart from the others.
        across: how many stand side by side.
        remarks: what is not drawn.
        summary: everything in one line.
        words: in which language.
    """

    title: str
    panels: tuple[MaskPicture, ...]
    across: int
    remarks: tuple[str, ...]
    summary: str
    words: Words = field(default_factory=lambda: ENGLISH)


def sizes_of(
    mask: Mask,
    q_len: int | None,
    kv_len: int | None,
    q_offset: int,
    tokens: tuple[Sequence[str] | None, Sequence[str] | None],
) -> tuple[int, int]:
    """Return the queries and keys to draw: as asked, else a token each, else what the data cover.

    >>> import sightline as sl
    >>> sizes_of(sl.padding(lengths=[5, 3]), None, None, 0, (None, None))
    (5, 5)
    """
    queries, keys = mask.extent()
    if kv_len is None:
        if tokens[1] is not None:
            kv_len = len(tokens[1])
        elif q_len is not None:
            kv_len = q_len
        else:
            kv_len = keys or queries or _DEFAULT_LENGTH + q_offset
    if q_len is None:
        whole = len(tokens[0]) if tokens[0] is not None else (queries or kv_len) - q_offset
        if whole < 1 and q_offset:
            raise ShapeMismatch(
                f"draw(q_offset=) got {q_offset}, beyond the last query at {q_offset + whole - 1}; "
                "give a smaller one, or q_len."
            )
        q_len = whole
    return q_len, kv_len


def scene_of(mask: Mask, frame: Frame, wishes: Wishes) -> Scene:
    """Return what there is to draw of ``mask``."""
    _check_labels(frame, wishes)
    facets = facets_of(_leading(mask, wishes.against), wishes.batch, wishes.head, wishes.words)
    seen = _look(mask, frame, facets, wishes)
    changes = _changes(mask, frame, facets, wishes, seen)
    block_map = _plan(mask, frame, wishes)
    panels: list[MaskPicture] = []
    for (batch, head), name, one, change in zip(
        facets.panels, facets.names, seen, changes, strict=True
    ):
        panels.append(
            MaskPicture(
                allowed=one.share > 0,
                row_labels=_labels(wishes.query_labels, one, 0),
                column_labels=_labels(wishes.key_labels, one, 1),
                title=name,
                weights=_weights(wishes.weights, facets, one),
                empty_rows=_empty_rows(one),
                share=one.share,
                cell=one.cell,
                first=one.origin,
                shape=(frame.q_len, frame.kv_len),
                count=one.count,
                sure=one.sure,
                change=change,
                overlay=None if block_map is None else overlay_of(block_map, batch, head),
                marks=_marks(mask, frame, (batch, head), one, wishes),
            )
        )
    title = _title(mask, wishes)
    return Scene(
        title,
        tuple(panels),
        facets.across,
        _remarks(facets, wishes, panels),
        _summary(title, panels, facets, wishes.words),
        wishes.words,
    )


def _leading(mask: Mask, against: Mask | None) -> tuple[int, int]:
    """Return the batch rows and heads that either of the masks tells apart."""
    sizes = []
    for name, word in (("batch", "batch rows"), ("heads", "heads")):
        own = getattr(mask, name)
        other = own if against is None else getattr(against, name)
        if own != other and 1 not in (own, other):
            raise ShapeMismatch(
                f"the masks to compare have {own} and {other} {word}; they must have as many, or "
                "one of them 1."
            )
        sizes.append(max(own, other))
    return sizes[0], sizes[1]


def _look(mask: Mask, frame: Frame, facets: Facets, wishes: Wishes) -> list[Glance]:
    return glances(
        mask,
        frame,
        facets.panels,
        wishes.fit,
        most_mixed=wishes.most_mixed,
        patience=wishes.patience,
        seconds=wishes.seconds,
    )


def _changes(
    mask: Mask, frame: Frame, facets: Facets, wishes: Wishes, seen: list[Glance]
) -> list[Change | None]:
    """Return what each picture's mask allows more and less than the one it is compared with."""
    if wishes.against is None:
        return [None] * len(seen)
    old = _look(wishes.against, frame, facets, wishes)
    both = _look(mask & wishes.against, frame, facets, wishes)
    found: list[Change | None] = []
    for new, before, common in zip(seen, old, both, strict=True):
        if new.sure is not None or before.sure is not None or common.sure is not None:
            raise InvalidArgument(
                f"{short(mask)} and {short(wishes.against)} have too little structure to be "
                f"compared exactly at {frame.q_len} queries x {frame.kv_len} keys; draw a part, "
                "with a smaller q_len and kv_len."
            )
        found.append(
            Change(
                added=np.clip(new.share - common.share, 0.0, 1.0),
                removed=np.clip(before.share - common.share, 0.0, 1.0),
                both=common.count,
                pairs_added=new.count - common.count,
                pairs_removed=before.count - common.count,
            )
        )
    return found


def _plan(mask: Mask, frame: Frame, wishes: Wishes) -> BlockMap | None:
    blocks = wishes.blocks
    if blocks is None:
        return None
    if isinstance(blocks, BlockMap):
        blocks.check(mask, frame.q_len, frame.kv_len, frame.q_offset)
        return blocks
    sizes = (blocks, blocks) if not isinstance(blocks, (tuple, list)) else tuple(blocks)
    if len(sizes) != 2:
        raise InvalidArgument(
            f"draw(blocks=) must be a plan, one size or (block_q, block_kv), got {blocks!r}."
        )
    what = "draw(blocks=), the size of a block,"
    block_q, block_kv = (as_int(each, what, least=1, error=InvalidArgument) for each in sizes)
    return plan(
        mask,
        frame.q_len,
        frame.kv_len,
        q_offset=frame.q_offset,
        block_q=block_q,
        block_kv=block_kv,
    )


def _check_labels(frame: Frame, wishes: Wishes) -> None:
    for labels, length, word in (
        (wishes.query_labels, frame.q_len, "queries"),
        (wishes.key_labels, frame.kv_len, "keys"),
    ):
        if labels is not None and len(labels) != length:
            raise ShapeMismatch(
                f"got {len(labels)} {'token' if len(labels) == 1 else 'tokens'} for {length} "
                f"{word}; give one for each, or a smaller length."
            )


def _labels(labels: tuple[str, ...] | None, seen: Glance, axis: int) -> tuple[str, ...]:
    """Return a label for each cell: its token, or its first position."""
    if labels is not None and seen.cell[axis] == 1:
        return labels
    side, first = seen.cell[axis], seen.origin[axis]
    return tuple(str(first + side * number) for number in range(seen.share.shape[axis]))


def _empty_rows(seen: Glance) -> NDArray[np.bool_]:
    """Return the rows that hold a query that sees nothing; unknown, those with nothing in them."""
    known = seen.share.max(axis=1, initial=0.0) == 0.0 if seen.empty is None else seen.empty
    return np.asarray(known, np.bool_)


def _marks(
    mask: Mask, frame: Frame, panel: tuple[int, int], seen: Glance, wishes: Wishes
) -> tuple[Mark, ...]:
    """Return the names in the margins, counted from the picture's first query and key."""
    if not wishes.marks:
        return ()
    batch, head = min(panel[0], mask.batch - 1), min(panel[1], mask.heads - 1)
    found: list[Mark] = []
    for mark in marks_of(mask, frame, batch, head, wishes.words):
        first = seen.origin[mark.axis == "key"]
        found.append(replace(mark, start=mark.start - first, stop=mark.stop - first))
    return tuple(found)


def _weights(weights: object, facets: Facets, seen: Glance) -> NDArray[np.float64] | None:
    if weights is None:
        return None
    array = as_numpy(weights)
    if array.ndim != 2 or len(facets.panels) + facets.left_out > 1:
        raise ShapeMismatch(
            f"draw(weights=) takes [queries, keys] of one batch row and head, got shape "
            f"{array.shape}; choose them with batch= and head=, such as weights[0, 0]."
        )
    if seen.cell != (1, 1):
        raise ShapeMismatch(
            f"weights can be drawn only where a cell is one pair, here it is "
            f"{seen.cell[0]} x {seen.cell[1]}; raise fit or draw a part."
        )
    return np.asarray(array, np.float64)


def _title(mask: Mask, wishes: Wishes) -> str:
    if wishes.title is not None:
        return wishes.title
    text = repr(mask)
    if wishes.against is None:
        return text
    return wishes.words["against"].format(mask=text, other=repr(wishes.against))


def _remarks(facets: Facets, wishes: Wishes, panels: Sequence[MaskPicture]) -> tuple[str, ...]:
    """Return what was asked for and is not drawn: labels of single tokens, more pictures."""
    words, said = wishes.words, []
    labelled = (wishes.query_labels, wishes.key_labels)
    if any(
        labels is not None and side > 1
        for labels, side in zip(labelled, panels[0].cell, strict=True)
    ):
        said.append(words["labels left out"].format(most=max(panels[0].shape)))
    if facets.left_out:
        several = zip(("batch=", "head="), facets.several, strict=True)
        how = words["either"].join(name for name, more in several if more)
        said.append(words["left out"].format(count=facets.left_out, how=how))
    return tuple(said)


def _changed(change: Change, words: Words) -> str:
    return words["changed"].format(added=change.pairs_added, removed=change.pairs_removed)


def _summary(title: str, panels: Sequence[MaskPicture], facets: Facets, words: Words) -> str:
    queries, keys = panels[0].shape
    parts = [
        f"{name}{': ' if name else ''}{words['about'] if one.estimated else ''}"
        + words["pairs"].format(count=one.count)
        + ("" if one.change is None else _changed(one.change, words))
        for name, one in zip(facets.names, panels, strict=True)
    ]
    sizes = words["sizes"].format(queries=queries, keys=keys)
    return f"{title}: {sizes}; {'; '.join(parts)}" if title else f"{sizes}; {'; '.join(parts)}"
