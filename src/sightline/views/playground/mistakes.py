"""Each classic mistake as one row of a table: what people write, and what it does to the numbers.

A mistake computes its weights and outputs the wrong way, as found in the wild; ``find`` measures
them against the right way. What is said about one, in either language, is mistake_words.py's part.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import reduce
from operator import and_

import numpy as np
from numpy.typing import NDArray

from sightline.masks.mask import Mask
from sightline.masks.orders import permutation
from sightline.masks.positional import causal, everything, window
from sightline.views.playground.steps import Floats, Scene, Seen
from sightline.views.playground.systems import Sight

__all__ = ["MISTAKES", "Found", "Mistake", "find", "mistakes_of"]

Bools = NDArray[np.bool_]
# Below this a difference is one of rounding: the wrong ways add up in another order.
ROUNDING = 1e-12


@dataclass(frozen=True)
class Mistake:
    """A row of the table.

    Attributes:
        name: its name in mistake_words.py.
        written: what people write, in Python.
        cure: what to write instead.
        applies: whether an attention can be got wrong in this way.
        make: attention the wrong way.
    """

    name: str
    written: str
    cure: str
    applies: Callable[[Sight], bool]
    make: Callable[[Scene], Seen]


@dataclass(frozen=True, eq=False)
class Found:
    """What a mistake does to one scene.

    Attributes:
        mistake: which.
        right, wrong: what attention gives either way.
        change: the largest change of an output of a real token, among those that are numbers.
        changed: the query of that token; None if there is no change.
        broken: the queries whose output is not a number.
        spread: real tokens whose output is not a number after one more layer, the wrong way.
        leaked: the largest part of a real query's weight that lies on keys it may not see.
        lost: how far the weights of a real query are from adding up to 1, at most.
        moved: how far an output moves, the wrong way, when a key that its query may not see
            becomes another token; NaN and infinities aside.
        moved_right: the same the right way, which is 0.
        empty: the queries that may see nothing.
        filled: the largest output of one of them, the wrong way; the right way it is 0.
    """

    mistake: Mistake
    right: Seen
    wrong: Seen
    change: float
    changed: int | None
    broken: tuple[int, ...]
    spread: int
    leaked: float
    lost: float
    moved: float
    moved_right: float
    empty: tuple[int, ...]
    filled: float

    @property
    def harmless(self) -> bool:
        """Whether nothing is to be seen of it with these sentences."""
        harm = max(self.change, self.leaked, self.lost, self.moved, self.filled)
        return not self.broken and harm <= ROUNDING


def mistakes_of(sight: Sight) -> list[Mistake]:
    r"""Return the mistakes that can be made with an attention.

    >>> from sightline.views.playground.systems import sights
    >>> [each.name for each in mistakes_of(sights("swin", "abcd\nefgh\nijkl\nmnop")[0])][0]
    'unmasked shift'
    """
    return [mistake for mistake in MISTAKES.values() if mistake.applies(sight)]


def find(mistake: Mistake, scene: Scene) -> Found:
    """Make a mistake and measure it."""
    right, wrong = scene.seen, mistake.make(scene)
    numbers: Bools = np.logical_and.reduce(np.isfinite(wrong.output), axis=1)
    by_row = _largest(np.where(numbers[:, None], wrong.output - right.output, 0.0))
    by_row = np.where(scene.real, by_row, 0.0)
    empty: Bools = ~np.logical_or.reduce(scene.allowed, axis=1)
    weights = np.nan_to_num(wrong.weights, nan=0.0)
    leaked = (weights * ~scene.allowed).sum(axis=1)
    total = np.where(numbers & ~empty & scene.real, wrong.weights.sum(axis=1), 1.0)
    moved, moved_right = _moved(mistake, scene, right, wrong)
    filled = _largest(wrong.output)[empty & numbers]
    return Found(
        mistake,
        right,
        wrong,
        change=float(by_row.max()),
        changed=int(by_row.argmax()) if by_row.max() > ROUNDING else None,
        broken=tuple(np.flatnonzero(~numbers).tolist()),
        spread=_spread(wrong, scene),
        leaked=float(leaked[scene.real].max(initial=0.0)),
        lost=float(np.abs(1.0 - total).max()),
        moved=moved,
        moved_right=moved_right,
        empty=tuple(np.flatnonzero(empty).tolist()),
        filled=float(filled.max(initial=0.0)),
    )


def _moved(mistake: Mistake, scene: Scene, right: Seen, wrong: Seen) -> tuple[float, float]:
    """Replace each key in turn; how far do outputs move whose query may not see it?"""
    moved = moved_right = 0.0
    for key in range(scene.sight.keys.width):
        unseeing = ~scene.allowed[:, key] & scene.real
        if not unseeing.any():
            continue
        other = scene.with_another(key)
        with np.errstate(invalid="ignore"):
            away = _largest(mistake.make(other).output - wrong.output)[unseeing]
        moved = max(moved, float(away[np.isfinite(away)].max(initial=0.0)))
        kept = _largest(other.seen.output - right.output)[unseeing]
        moved_right = max(moved_right, float(kept.max()))
    return moved, moved_right


def _largest(rows: Floats) -> Floats:
    return np.abs(rows).max(axis=1)


def _spread(wrong: Seen, scene: Scene) -> int:
    """Return how many real tokens are not a number once the outputs are values of a layer."""
    if not scene.sight.to_itself:
        return 0
    with np.errstate(invalid="ignore"):
        after = wrong.weights @ wrong.output  # 0 x NaN is NaN
    return int((~np.isfinite(after).all(axis=1) & scene.real).sum())


def _has(*names: str) -> Callable[[Sight], bool]:
    return lambda sight: any(name in sight.parts for name in names)


def _always(_: Sight) -> bool:
    return True


def _under(wrong: Callable[[Sight], Mapping[str, Mask]]) -> Callable[[Scene], Seen]:
    """Return a mistake that is another mask: parts that replace those of the same name."""

    def make(scene: Scene) -> Seen:
        sight = scene.sight
        mask = reduce(and_, {**sight.parts, **wrong(sight)}.values())
        cells = mask.dense(sight.queries.width, sight.keys.width)
        return scene.under(cells[scene.row if len(cells) > 1 else 0, 0])

    return make


def _anew(scores: Floats, value: Floats) -> Seen:
    """Softmax as everyone writes it: of nothing but -inf it is not a number."""
    with np.errstate(invalid="ignore"):
        raised = np.exp(scores - scores.max(axis=1, keepdims=True))
        weights = raised / raised.sum(axis=1, keepdims=True)
        return Seen(weights, weights @ value)


def _unmasked_shift(scene: Scene) -> Seen:
    """Windows of the rolled picture, and nothing that keeps apart what came around the border."""
    sight = scene.sight
    assert sight.grid is not None
    windows = sight.parts["shift"].spec()[1]
    side, shift = windows["window"], windows["shift"]
    place = np.divmod(np.arange(sight.queries.width), sight.grid[1])
    rolled = [
        (axis - by) % (-(-size // wide) * wide) // wide
        for axis, size, wide, by in zip(place, sight.grid, side, shift, strict=True)
    ]
    return scene.under(np.logical_and.reduce([each[:, None] == each for each in rolled]))


def _first_row(scene: Scene) -> Seen:
    sight = scene.sight
    return scene.under(sight.mask.dense(sight.queries.width, sight.keys.width)[0, 0])


def _after_softmax(scene: Scene) -> Seen:
    weights = _anew(scene.scores, scene.value).weights * scene.allowed
    return Seen(weights, weights @ scene.value)


def _corner(scene: Scene) -> Seen:
    """Every new query is taken for the first one: it sees as much as that."""
    first = scene.allowed & (np.arange(scene.sight.keys.width) == 0)
    return scene.under(first)


def _left_positions(scene: Scene) -> Seen:
    moved = Scene(scene.sight, scene.row, scene.changed, counted_from_padding=True)
    return moved.seen


def _decodes(sight: Sight) -> bool:
    return sight.writes and sight.to_itself and "causal" in sight.parts


_CAUSAL = "sl.causal() & sl.padding(lengths=lengths)"
_PADDED = "sl.padding(lengths=lengths)"
_ATTEND = "sl.attend(q, k, v, mask)"


def _rows() -> list[Mistake]:
    return [
        Mistake(
            "unmasked shift",
            "x = x.roll((-s, -s), dims=(1, 2))   # and no mask in the windows",
            "sl.shifted_window(grid, window, shift)",
            _has("shift"),
            _unmasked_shift,
        ),
        Mistake(
            "content for query",
            "g = attend(g, h, h, content_mask)   # one mask for both streams",
            'sl.permutation(order, stream="query")',
            lambda sight: sight.blind,
            _under(lambda sight: {"permutation": permutation(sight.order)}),
        ),
        Mistake(
            "target seen by source",
            "mask = ones(S + T, S + T)   # BERT's, while writing",
            "sl.seq2seq(source_lengths)",
            _has("seq2seq"),
            _under(lambda _: {"seq2seq": everything()}),
        ),
        Mistake(
            "causal for everyone",
            "mask = tril(ones(S + T, S + T))",
            "sl.seq2seq(source_lengths)",
            _has("seq2seq"),
            _under(lambda _: {"seq2seq": causal()}),
        ),
        Mistake(
            "no causal mask",
            "mask = valid[:, None, None, :]   # in a decoder",
            _CAUSAL,
            _has("causal"),
            _under(lambda _: {"causal": everything()}),
        ),
        Mistake(
            "strict",
            "mask = tril(ones(n, n), diagonal=-1)",
            "sl.causal()",
            _has("causal"),
            _under(lambda _: {"causal": causal(strict=True)}),
        ),
        Mistake(
            "wrong direction",
            "mask = triu(ones(n, n))   # where tril is meant, or the other way round",
            "sl.causal()   # sl.causal().T reads from the right",
            _has("causal", "reversed"),
            _under(_turned),
        ),
        Mistake(
            "wrong corner",
            "F.scaled_dot_product_attention(q_new, k, v, is_causal=True)   # with a cache",
            "sl.attend(q_new, k, v, sl.causal(), q_offset=t)",
            _decodes,
            _corner,
        ),
        Mistake(
            "window and one",
            "window_size=(W, 0)   # for the W keys of sliding_window=W",
            "sl.window(left=W - 1, right=0)",
            _has("window"),
            _under(_one_more),
        ),
        Mistake(
            "causal memory",
            "memory_mask=causal   # the target's mask on the source",
            _PADDED + "   # of the source",
            lambda sight: sight.name == "memory",
            _under(lambda _: {"causal": causal()}),
        ),
        Mistake(
            "no padding mask",
            "softmax(q @ k.T / sqrt(d)) @ v",
            _PADDED,
            _has("padding"),
            _under(lambda _: {"padding": everything()}),
        ),
        Mistake(
            "padding on queries",
            "mask = valid[:, None, :, None]   # meant: [:, None, None, :]",
            _PADDED,
            lambda sight: "padding" in sight.parts and sight.to_itself,
            _under(lambda sight: {"padding": sight.parts["padding"].T}),
        ),
        Mistake(
            "first row for all",
            "mask = mask[0]   # of the batch",
            _PADDED,
            _has("padding"),
            _first_row,
        ),
        Mistake(
            "positions of padding",
            "position_ids = arange(n)   # with padding on the left",
            "batch = sl.Batch.from_lengths(lengths, side='left'); batch.positions",
            lambda sight: sight.name in ("encoder", "decoder", "window"),
            _left_positions,
        ),
        Mistake(
            "swapped",
            "F.scaled_dot_product_attention(q, k, v, attn_mask=ignore)   # True = ignore",
            'sl.lower(mask, to="torch.sdpa", q_len=n)',
            _always,
            lambda scene: scene.under(~scene.allowed),
        ),
        Mistake(
            "after softmax",
            "softmax(scores) * mask",
            _ATTEND,
            _always,
            _after_softmax,
        ),
        Mistake(
            "zeroed scores",
            "softmax(scores * mask)",
            _ATTEND,
            _always,
            lambda scene: _anew(scene.scores * scene.allowed, scene.value),
        ),
        Mistake(
            "added",
            "softmax(scores + mask.float())",
            'sl.dense(mask, means="attend")',
            _always,
            lambda scene: _anew(scene.scores + scene.allowed, scene.value),
        ),
        Mistake(
            "thrown away",
            'scores.masked_fill(~mask, float("-inf"))   # the result is not used',
            _ATTEND,
            _always,
            lambda scene: scene.under(np.ones_like(scene.allowed)),
        ),
        Mistake(
            "large number",
            "scores.masked_fill(~mask, -1e9)",
            _ATTEND,
            _always,
            lambda scene: _anew(np.where(scene.allowed, scene.scores, -1e9), scene.value),
        ),
        Mistake(
            "minus infinity",
            'scores.masked_fill(~mask, float("-inf"))',
            _ATTEND,
            _always,
            lambda scene: _anew(np.where(scene.allowed, scene.scores, -np.inf), scene.value),
        ),
    ]


def _turned(sight: Sight) -> Mapping[str, Mask]:
    return {"causal": causal().T} if "causal" in sight.parts else {"reversed": causal()}


def _one_more(sight: Sight) -> Mapping[str, Mask]:
    """Return the window with one more key, as the mixed-up conventions give it."""
    return {"window": window(left=sight.parts["window"].spec()[1]["left"] + 1, right=0)}


MISTAKES = {mistake.name: mistake for mistake in _rows()}
