"""The systems of the playground: from sentences to tokens and to the masks of each attention.

The masks are those of sightline.models, written with the public constructors, since models are
torch; tests hold them equal. What is computed under a mask is steps.py's part.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import reduce
from operator import and_
from typing import Literal

import numpy as np

from sightline.masks.data import seq2seq
from sightline.masks.grid import shifted_window
from sightline.masks.mask import Mask
from sightline.masks.orders import permutation
from sightline.masks.padding import padding
from sightline.masks.positional import causal, window
from sightline.views.playground.tokens import MOST_SENTENCES, Refused, Rows, patches, sentences

__all__ = ["SYSTEMS", "Options", "Sight", "System", "sights"]

Sentences = list[list[str]]


@dataclass(frozen=True)
class Options:
    """What can be chosen beside the sentences.

    Attributes:
        side: where padding stands, in systems that have a choice.
        window: how many keys a window holds; of Swin, patches along its side.
        shuffle: which order of prediction XLNet draws; 0 is from left to right.
    """

    side: Literal["right", "left"] = "right"
    window: int = 3
    shuffle: int = 1


@dataclass(frozen=True, eq=False)
class Sight:
    """One attention of a system: who asks, who is asked, and who may see whom.

    Attributes:
        name: its name in words.py.
        parts: the masks whose conjunction is the attention's mask, by what each is for.
        queries, keys: the tokens on either side.
        writes: whether queries come one after another, so that later ones are not there yet.
        order: XLNet's order of prediction, for each row; None elsewhere.
        grid: rows and columns, where tokens are patches of a picture.
        blind: whether queries know their position only, not the token (XLNet's query stream).
    """

    name: str
    parts: Mapping[str, Mask]
    queries: Rows
    keys: Rows
    writes: bool = False
    order: tuple[tuple[int, ...], ...] | None = None
    grid: tuple[int, int] | None = None
    blind: bool = False

    @property
    def mask(self) -> Mask:
        """Who may see whom, over all rows of the batch."""
        return reduce(and_, self.parts.values())

    @property
    def to_itself(self) -> bool:
        """Whether queries and keys are the same tokens."""
        return self.queries is self.keys

    def labels(self, row: int) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Return what stands beside the queries and above the keys of a row.

        A patch has its place before it, a token of XLNet its turn (counted from 1).
        """
        return self._labels(self.queries, row), self._labels(self.keys, row)

    def _labels(self, rows: Rows, row: int) -> tuple[str, ...]:
        tokens = rows.tokens[row]
        if self.grid is not None:
            wide = self.grid[1]
            return tuple(f"{n // wide},{n % wide} {token}" for n, token in enumerate(tokens))
        if self.order is None:
            return tokens
        turns = np.argsort(self.order[row]) + 1
        valid = rows.valid(row)
        return tuple(
            f"{turn}: {token}" if real else token
            for turn, token, real in zip(turns, tokens, valid, strict=True)
        )


Build = Callable[[Sentences, Sentences, Options], tuple[Sight, ...]]


@dataclass(frozen=True)
class System:
    """A row of the table.

    Attributes:
        name: its name in words.py.
        build: from the tokens of both texts and the options to its attentions.
        second: whether there is a second text.
        chooses: which of the options it has.
    """

    name: str
    build: Build
    second: Literal["no", "may", "must"] = "no"
    chooses: frozenset[str] = frozenset()


def sights(name: str, first: str, second: str = "", options: Options | None = None) -> list[Sight]:
    r"""Return the attentions of a system for what was typed.

    >>> [each.name for each in sights("seq2seq", "ich träume", "I dream")]
    ['source', 'target', 'memory']
    >>> sights("decoder", "I have a dream\nyes")[0].mask
    causal() & padding(lengths=[5, 2])

    Raises:
        Refused: an unknown system, no text, or more than is taken.
    """
    system = SYSTEMS.get(name)
    if system is None:
        raise Refused("no system", names=", ".join(SYSTEMS))
    if system.name == "swin":
        return list(system.build(patches(first), [], options or Options()))
    sources = _some(first)
    targets = sentences(second) if system.second != "no" else []
    needed = system.second == "must" or (system.second == "may" and targets)
    if needed and len(targets) != len(sources):
        raise Refused("pairs", first=len(sources), second=len(targets))
    return list(system.build(sources, targets, options or Options()))


def _some(text: str) -> Sentences:
    found = sentences(text)
    if not found:
        raise Refused("no text")
    if len(found) > MOST_SENTENCES:
        raise Refused("many lines", got=len(found), most=MOST_SENTENCES)
    return found


def _padding(rows: Rows) -> Mask:
    return padding(lengths=rows.lengths, side=rows.side, total=rows.width)


def _encoder(sources: Sentences, _: Sentences, options: Options) -> tuple[Sight, ...]:
    rows = Rows.of([[*each, "<eos>"] for each in sources], pad="<pad>", side=options.side)
    return (Sight("encoder", {"padding": _padding(rows)}, rows, rows),)


def _decoder(sources: Sentences, _: Sentences, options: Options) -> tuple[Sight, ...]:
    rows = Rows.of([[*each, "<eos>"] for each in sources], pad="<pad>", side=options.side)
    past = {"causal": causal(), "padding": _padding(rows)}
    near = {"window": window(left=options.window - 1, right=0), "padding": _padding(rows)}
    return (
        Sight("decoder", past, rows, rows, writes=True),
        Sight("window", near, rows, rows, writes=True),
    )


def _seq2seq(sources: Sentences, targets: Sentences, _: Options) -> tuple[Sight, ...]:
    source = Rows.of([[*each, "<eos>"] for each in sources], pad="<pad>")
    target = Rows.of([["<bos>", *each] for each in targets], pad="<pad>")
    past = {"causal": causal(), "padding": _padding(target)}
    return (
        Sight("source", {"padding": _padding(source)}, source, source),
        Sight("target", past, target, target, writes=True),
        Sight("memory", {"padding": _padding(source)}, target, source, writes=True),
    )


def _pairs(firsts: Sentences, seconds: Sentences) -> Rows:
    """Return ``[CLS] first [SEP] second [SEP]``; without a second text only its beginning."""
    ends = [[*each, "[SEP]"] for each in seconds] or [[] for _ in firsts]
    joined = [["[CLS]", *a, "[SEP]", *b] for a, b in zip(firsts, ends, strict=True)]
    return Rows.of(joined, pad="[PAD]")


def _bert(firsts: Sentences, seconds: Sentences, _: Options) -> tuple[Sight, ...]:
    rows = _pairs(firsts, seconds)
    return (Sight("bert", {"padding": _padding(rows)}, rows, rows),)


def _xlnet(sources: Sentences, _: Sentences, options: Options) -> tuple[Sight, ...]:
    rows = Rows.of([[*each, "<sep>", "<cls>"] for each in sources], pad="<pad>")
    order = tuple(_order(length, rows.width, options.shuffle) for length in rows.lengths)
    content = {"permutation": permutation(order), "padding": _padding(rows)}
    query = {"permutation": permutation(order, stream="query"), "padding": _padding(rows)}
    return (
        Sight("content", content, rows, rows, order=order),
        Sight("query", query, rows, rows, order=order, blind=True),
    )


def _order(length: int, width: int, shuffle: int) -> tuple[int, ...]:
    """Return which position is predicted at which turn; padding comes last."""
    real = np.arange(length)
    if shuffle > 0:
        real = np.random.default_rng([shuffle, length]).permutation(length)
    return (*real.tolist(), *range(length, width))


def _unilm(firsts: Sentences, seconds: Sentences, _: Options) -> tuple[Sight, ...]:
    rows = _pairs(firsts, seconds)
    # Two tokens of a source are special: [CLS] and the first [SEP].
    sources = [len(each) + 2 for each in firsts]
    real = {"padding": _padding(rows), "rows": _padding(rows).T}
    return (
        Sight("seq2seq", {"seq2seq": seq2seq(sources), **real}, rows, rows),
        Sight("bidirectional", real, rows, rows),
        Sight("left to right", {"causal": causal(), **real}, rows, rows),
        Sight("right to left", {"reversed": causal().T, **real}, rows, rows),
    )


def _swin(picture: Sentences, _: Sentences, options: Options) -> tuple[Sight, ...]:
    grid = (len(picture), len(picture[0]))
    if options.window >= min(grid):
        raise Refused("window", got=options.window, side=min(grid))
    rows = Rows.of([[patch for line in picture for patch in line]], pad="")
    plain = {"windows": shifted_window(grid, options.window, 0)}
    moved = {"shift": shifted_window(grid, options.window, options.window // 2)}
    return (
        Sight("shifted", moved, rows, rows, grid=grid),
        Sight("windows", plain, rows, rows, grid=grid),
    )


SYSTEMS = {
    system.name: system
    for system in (
        System("encoder", _encoder, chooses=frozenset({"side"})),
        System("decoder", _decoder, chooses=frozenset({"side", "window"})),
        System("seq2seq", _seq2seq, second="must"),
        System("bert", _bert, second="may"),
        System("xlnet", _xlnet, chooses=frozenset({"shuffle"})),
        System("unilm", _unilm, second="must"),
        System("swin", _swin, chooses=frozenset({"window"})),
    )
}
