"""What the demo draws: the masks over the words of a sentence, and attention weights under them.

A drawing is a record of arrays and words; how it looks is decided in ``views``.
"""

from __future__ import annotations

import numpy as np
from torch import Tensor

import sightline as sl
from sightline.recipes.demo.alone import pair_step
from sightline.recipes.demo.frame import Frame
from sightline.recipes.demo.layer import Model
from sightline.recipes.demo.records import Drawing
from sightline.recipes.demo.text import phrase

__all__ = [
    "combined_drawings",
    "drawn_places",
    "left_drawing",
    "mask_drawings",
    "pair_drawings",
    "triangle",
]

# A page of some dozens of large pictures helps nobody.
_MOST_SENTENCES = 8
_PADS_SHOWN = 3
_MOST_PLACES = 10


def mask_drawings(frame: Frame, row: int) -> tuple[Drawing, ...]:
    """Draw padding, its query mask, causal, and both together over one sentence.

    Only ``drawn_places`` are drawn.
    """
    padding, causal = frame.padding, sl.causal()
    told = (
        (
            "Padding mask (keys)",
            padding,
            "Nobody looks at padding: its columns are empty.",
        ),
        (
            "Query mask (.T)",
            padding.T,
            "Padding asks nothing: its rows are empty.",
        ),
        (
            "Causal mask",
            causal,
            "A word sees itself and what came before it.",
        ),
        (
            "Causal & padding",
            causal & padding,
            "Both rules: what a decoder is trained with.",
        ),
    )
    shown = drawn_places(frame, row)
    return tuple(_mask(name, mask, frame, row, caption, shown) for name, mask, caption in told)


def drawn_places(frame: Frame, row: int) -> tuple[int, int]:
    """Return the range [first, last) of places to draw: the end of the sentence and some padding.

    Padding is all alike, so three places of it do; of a long sentence the last words do.
    """
    last = min(frame.width, frame.lengths[row] + _PADS_SHOWN)
    return max(0, last - _MOST_PLACES), last


def combined_drawings(frame: Frame) -> tuple[Drawing, ...]:
    """Draw causal & padding for the sentences of the batch, each with its own words."""
    mask = sl.causal() & frame.padding
    return tuple(
        _mask(phrase(words[:length]), mask, frame, row, f"{length} of {frame.width} are real.")
        for row, (words, length) in enumerate(zip(frame.rows, frame.lengths, strict=True))
    )[:_MOST_SENTENCES]


def left_drawing(left: Frame, row: int) -> Drawing:
    """Draw causal & padding with the padding on the left, where queries may see nothing."""
    mask = sl.causal() & left.padding
    empty = int(mask.empty_rows(left.width)[row % mask.batch, 0].sum())
    return _mask(
        "Causal & padding on the left",
        mask,
        left,
        row,
        f"{empty} queries may see nothing. Their output is 0 by definition, never NaN.",
    )


def pair_drawings(model: Model, sources: Frame, targets: Frame, row: int) -> tuple[Drawing, ...]:
    """Draw the weights of the three attentions of an encoder-decoder step for one pair."""
    source, target = model.embed(sources.ids), model.embed(targets.ids)
    states = pair_step(model, sources.ids, targets.ids, sources.padding, targets.padding)
    look_back = sl.causal() & targets.padding
    return (
        _weighted(
            "Encoder self-attention",
            sources.padding,
            (sources, sources),
            row,
            model.encoder.weights(source, sources.padding),
            "Source words see all source words, but no padding.",
        ),
        _weighted(
            "Decoder self-attention",
            look_back,
            (targets, targets),
            row,
            model.decoder.weights(target, look_back),
            "Target words see what was said so far, but no padding.",
        ),
        _weighted(
            "Cross-attention",
            sources.padding,
            (targets, sources),
            row,
            model.cross.weights(states.decoder_self, sources.padding, memory=states.encoder_self),
            "Target words see all source words: one row of the source's padding mask, "
            "the same for every target word.",
        ),
    )


def triangle(model: Model, frame: Frame, row: int) -> Drawing:
    """Draw the causal weights of one sentence; its rows are the growing prefixes."""
    ids, words = frame.alone(row), _real_words(frame, row)
    weights = model.decoder.weights(model.embed(ids), sl.causal())
    size = len(words)
    return Drawing(
        name="Every prefix in one pass",
        expression=repr(sl.causal()),
        allowed=sl.causal().dense(size)[0, 0],
        rows=tuple(phrase(words[: t + 1]) for t in range(size)),
        columns=words,
        caption="Row by row one word more is seen. Each row is the answer to one prefix.",
        weights=weights[0, 0].detach().numpy(),
    )


def _real_words(frame: Frame, row: int) -> tuple[str, ...]:
    kept = zip(frame.rows[row], frame.valid[row].tolist(), strict=True)
    return tuple(word for word, real in kept if real)


def _mask(
    name: str,
    mask: sl.Mask,
    frame: Frame,
    row: int,
    caption: str,
    places: tuple[int, int] | None = None,
) -> Drawing:
    """Draw what ``mask`` allows in one row of the batch, at ``places`` [first, last) or all."""
    shown = slice(*places) if places is not None else slice(None)
    words = frame.rows[row][shown]
    allowed = _cells(mask, frame.width, frame.width, row)[shown, shown]
    return Drawing(name, repr(mask), allowed, words, words, caption)


def _weighted(
    name: str, mask: sl.Mask, frames: tuple[Frame, Frame], row: int, weights: Tensor, caption: str
) -> Drawing:
    """Draw the weights from one frame's words to the other's, little padding."""
    asking, asked = frames
    queries, keys = (min(f.width, f.lengths[row] + _PADS_SHOWN) for f in frames)
    by_head = weights[row, :, :queries, :keys].detach().numpy()
    return Drawing(
        name=name,
        expression=repr(mask),
        allowed=_cells(mask, asking.width, asked.width, row)[:queries, :keys],
        rows=asking.rows[row][:queries],
        columns=asked.rows[row][:keys],
        caption=caption,
        weights=by_head[0],
        by_head=by_head,
    )


def _cells(mask: sl.Mask, queries: int, keys: int, row: int) -> np.ndarray:
    allowed = mask.dense(queries, keys)
    return allowed[row % len(allowed), 0]
