"""What one atom says of one pair, in words with the numbers of that pair in them.

The words for atoms in general are in sentences.py, those for ``&``, ``|`` and their like in
why.py, those for masks on a grid in grid_words.py. A mask without a line of its own is told by its
sentence.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from sightline.masks.block_sparse import BlockDiffusion, RandomBlocks
from sightline.masks.data import PrefixLM, Segments
from sightline.masks.grid import Axial, Neighborhood, ShiftedWindow
from sightline.masks.key_intervals import Intervals
from sightline.masks.opaque import Predicate
from sightline.masks.orders import Permutation, Tree
from sightline.masks.padding import Padding, ValidKeys
from sightline.views.reasons.grid_words import axial_words, neighborhood_words, shifted_window_words
from sightline.views.reasons.pairs import Asked, Pair, allows, both, gap, positions
from sightline.views.reasons.sentences import in_words

if TYPE_CHECKING:
    from sightline.masks.mask import Mask

__all__ = ["PAIR_WORDS", "words_for"]

# Longer lists of positions are cut.
_MOST = 8


def words_for(name: str, mask: Mask, arguments: dict[str, Any], pair: Pair) -> str:
    """Return what an atom says of a pair, without whether it allows it.

    >>> import sightline as sl
    >>> words_for("causal", sl.causal(), {}, Pair(query=5, key=7))
    'key 7 is 2 after query 5'
    """
    kind, words = PAIR_WORDS.get(name, (object, _in_general))
    asked = Asked(pair, mask, arguments)
    # In canonical form an atom may have become another one, which lacks what is told here.
    return words(asked) if isinstance(mask, kind) else _in_general(asked)


def _in_general(asked: Asked) -> str:
    return in_words(asked.mask)[0].words


def _causal(asked: Asked) -> str:
    strict = asked.given.get("strict") and asked.pair.key == asked.pair.query
    return gap(asked) + (", which strict leaves out" if strict else "")


def _window(asked: Asked) -> str:
    left, right = asked.given.get("left"), asked.given.get("right")
    before = "all before" if left is None else f"{left} before"
    after = "all after" if right is None else f"{right} after"
    return f"{gap(asked)}; the window reaches {before} and {after} it"


def _first_keys(asked: Asked) -> str:
    among = "one" if asked.pair.key < asked.given["n"] else "none"
    return f"key {asked.pair.key} is {among} of the first {asked.given['n']}"


def _listed(axis: str) -> Callable[[Asked], str]:
    def words(asked: Asked) -> str:
        among = "one" if allows(asked.mask, asked.pair) else "none"
        return f"{axis} {getattr(asked.pair, axis)} is {among} of the {axis} positions listed"

    return words


def _stretch(size: int, what: str) -> Callable[[int], str]:
    """Return how to say in which stretch of ``size`` positions a position lies."""

    def words(position: int) -> str:
        first = position // size * size
        return f"{what} {position // size} {positions(first, first + size)}"

    return words


def _chunks(asked: Asked) -> str:
    return both(asked, _stretch(asked.given["size"], "chunk"))


def _blocks(asked: Asked) -> str:
    return both(asked, _stretch(asked.given["size"], "block"))


def _dilated(asked: Asked) -> str:
    stride, phase = asked.given["stride"], asked.given.get("phase", 0)
    rest = (asked.pair.query - asked.pair.key) % stride
    return f"{gap(asked)}: {rest} modulo {stride}, and {phase % stride} is wanted"


def _strided(asked: Asked) -> str:
    stride = asked.given["stride"]
    return f"{gap(asked)}; seen are distances up to {stride} back, and multiples of {stride}"


def _fixed(asked: Asked) -> str:
    stride, summary = asked.given["stride"], asked.given["summary"]
    place = asked.pair.key % stride + 1
    return (
        f"{gap(asked)}; {both(asked, _stretch(stride, 'chunk'))}; of earlier chunks the last "
        f"{summary} of {stride} are seen, and the key is number {place}"
    )


def _log_sparse(asked: Asked) -> str:
    local, restart = asked.given.get("local", 0), asked.given.get("restart")
    near = f"up to {local} and " if local else ""
    words = f"{gap(asked)}; seen are the distances {near}0, 1, 2, 4, 8, ... back"
    return words if restart is None else f"{words}, and {both(asked, _stretch(restart, 'block'))}"


def _row_mask(asked: Asked) -> str:
    sub, win = asked.given["sub_len"], asked.given["win_len"]
    if asked.pair.query >= win:
        return f"query {asked.pair.query} lies beyond the {win} positions of the mask"
    dense = win // sub * 2 * asked.mask.log_len
    if asked.pair.query < dense:
        return f"{gap(asked)}; queries before {dense} see their whole past"
    return f"{gap(asked)}; the pattern of near and doubling distances restarts every {sub} back"


def _random_blocks(asked: Asked) -> str:
    mask: RandomBlocks = asked.mask
    row = asked.pair.query // mask.block
    drawn = sorted({int(pick[0]) for pick in mask.drawn(np.array([row]))})
    if row < mask.per_row:
        drawn = list(range(row + 1))
    return (
        f"query {asked.pair.query} is in block {row}, which drew {_list('block', drawn)}; key "
        f"{asked.pair.key} is in block {asked.pair.key // mask.block}"
    )


def _list(what: str, numbers: list[int]) -> str:
    shown = [str(n) for n in numbers[:_MOST]]
    if len(numbers) > _MOST:
        return f"{what}s {', '.join(shown)} and {len(numbers) - _MOST} more"
    if len(shown) == 1:
        return f"{what} {shown[0]}"
    return f"{what}s {', '.join(shown[:-1])} and {shown[-1]}"


def _block_diffusion(asked: Asked) -> str:
    length, block = asked.mask.length, asked.mask.block

    def where(position: int) -> str:
        if position >= 2 * length:
            return f"no half: there are {2 * length} positions"
        half = "the noised half" if position < length else "the clean half"
        return f"{half}, block {position % length // block}"

    return both(asked, where)


def _padding(asked: Asked) -> str:
    key = asked.pair.key
    is_real = "real" if allows(asked.mask, asked.pair) else "padding"
    if isinstance(asked.mask, ValidKeys):
        return f"key {key} is {is_real} in {asked.of_row}"
    start, stop = (int(ends.array[asked.row]) for ends in (asked.mask.start, asked.mask.stop))
    if stop == start:
        return f"key {key} is {is_real}: {asked.of_row} has no real token"
    first = f" from {start} on" if start else ""
    return f"key {key} is {is_real}, of {_some(stop - start)}{first} of {asked.of_row}"


def _some(count: int) -> str:
    return "1 real token" if count == 1 else f"{count} real tokens"


def _segments(what: str) -> Callable[[Asked], str]:
    def words(asked: Asked) -> str:
        lengths = asked.mask.lengths.array[asked.row]
        ids, stops = asked.mask.ids.array[asked.row], np.cumsum(lengths)

        def where(position: int) -> str:
            run = int(np.searchsorted(stops, position, "right"))
            if run >= len(stops) or ids[run] < 0:
                return f"no {what}"
            return f"{what} {ids[run]} {positions(int(stops[run] - lengths[run]), int(stops[run]))}"

        query, key = where(asked.pair.query), where(asked.pair.key)
        if query == key == f"no {what}":
            return f"query {asked.pair.query} and key {asked.pair.key} are in {query}"
        return both(asked, where)

    return words


def _prefix_lm(asked: Asked) -> str:
    length = int(asked.mask.lengths.array[asked.row])
    inside = "in" if asked.pair.key < length else "not in"
    return f"{gap(asked)}, and {inside} the prefix of {length} of {asked.of_row}"


def _permutation(asked: Asked) -> str:
    ranks = asked.mask.ranks.array[asked.row]
    pair = asked.pair
    beyond = [at for at in (pair.query, pair.key) if at >= len(ranks)]
    if beyond:
        return f"position {beyond[0]} lies beyond the order of {len(ranks)} positions"
    own = "; this stream leaves out its own" if asked.mask.stream == "query" else ""
    return (
        f"key {pair.key} has turn {ranks[pair.key]}, query {pair.query} has turn "
        f"{ranks[pair.query]}{own}"
    )


def _tree(asked: Asked) -> str:
    parents, pair = asked.mask.parents.array[asked.row], asked.pair
    beyond = [at for at in (pair.query, pair.key) if at >= len(parents)]
    if beyond:
        return f"position {beyond[0]} lies beyond the tree of {len(parents)} positions"
    if pair.key == pair.query:
        return gap(asked)
    above: list[int] = []
    at = int(parents[pair.query])
    while at >= 0:
        above.append(at)
        at = int(parents[at])
    is_one = "is" if pair.key in above else "is not"
    known = f", which are {_list('position', above)}" if len(above) > 1 else ""
    if not above:
        return f"query {pair.query} is a root, without ancestors, and key {pair.key} is another"
    known = known or f", which is position {above[0]}"
    whose = "an ancestor" if pair.key in above else "among the ancestors"
    return f"key {pair.key} {is_one} {whose} of query {pair.query}{known}"


def _dense(asked: Asked) -> str:
    marked = "allows" if allows(asked.mask, asked.pair) else "forbids"
    return f"the table {marked} query {asked.pair.query}, key {asked.pair.key}"


def _intervals(asked: Asked) -> str:
    mask: Intervals = asked.mask
    query = asked.pair.query
    if query >= mask.start.array.shape[2]:
        return f"query {query} lies beyond the {mask.start.array.shape[2]} queries listed"
    head = asked.pair.head if mask.heads > 1 else 0
    runs = [
        f"{start} to {stop - 1}" if stop - start > 1 else str(start)
        for start, stop in zip(
            mask.start.array[asked.row, head, query].tolist(),
            mask.end.array[asked.row, head, query].tolist(),
            strict=True,
        )
        if start < stop
    ]
    more = f" and {len(runs) - _MOST} runs more" if len(runs) > _MOST else ""
    return f"query {query} sees {'keys ' + ', '.join(runs[:_MOST]) if runs else 'no key'}{more}"


def _predicate(asked: Asked) -> str:
    said = allows(asked.mask, asked.pair)
    return f"{asked.mask.label()} says {said} of query {asked.pair.query} and key {asked.pair.key}"


# The words of each mask, and the canonical form that they are written for.
PAIR_WORDS: dict[str, tuple[Any, Callable[[Asked], str]]] = {
    "causal": (object, _causal),
    "window": (object, _window),
    "prefix": (object, _first_keys),
    "sinks": (object, _first_keys),
    "keys": (object, _listed("key")),
    "queries": (object, _listed("query")),
    "chunks": (object, _chunks),
    "block_causal": (object, _blocks),
    "dilated": (object, _dilated),
    "strided": (object, _strided),
    "fixed": (object, _fixed),
    "log_sparse": (object, _log_sparse),
    "log_sparse_row_mask": (object, _row_mask),
    "random_blocks": (RandomBlocks, _random_blocks),
    "block_diffusion": (BlockDiffusion, _block_diffusion),
    "shifted_window": (ShiftedWindow, shifted_window_words),
    "neighborhood": (Neighborhood, neighborhood_words),
    "axial": (Axial, axial_words),
    "padding": ((Padding, ValidKeys), _padding),
    "documents": (Segments, _segments("document")),
    "spans": (Segments, _segments("span")),
    "prefix_lm": (PrefixLM, _prefix_lm),
    "seq2seq": (PrefixLM, _prefix_lm),
    "permutation": (Permutation, _permutation),
    "tree": (Tree, _tree),
    "dense": (object, _dense),
    "intervals": (Intervals, _intervals),
    "predicate": (Predicate, _predicate),
}
