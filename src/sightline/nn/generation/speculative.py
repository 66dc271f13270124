"""Speculative decoding: a draft of several tokens is checked in one pass of the model.

What comes out is what would have come without the draft: the same tokens where the draft is a
sure guess, the same distribution where it was drawn. Drafts are made in drafts.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from sightline.masks.explicit import dense, per_batch
from sightline.masks.mask import Mask
from sightline.masks.orders import tree as tree_mask
from sightline.masks.positional import causal, nothing, prefix
from sightline.nn.generation.decode import Chooser, Written, logprobs_of
from sightline.nn.generation.drafts import Tree
from sightline.nn.generation.sampling import pick
from sightline.nn.generation.session import Session


def speculate(
    session: Session,
    drafter: Any,
    prompts: Sequence[Any],
    chooser: Chooser,
    written: Written,
    *,
    may_drop: bool,
) -> None:
    """Write each row's tokens until it ends, as ``decode`` does, with fewer passes.

    Args:
        session: the model and its cache.
        drafter: makes drafts, a ``Guesses`` or a ``DraftModel``.
        prompts: [batch] rows of tokens.
        chooser: what takes a token from logits.
        written: where tokens go.
        may_drop: whether rows of the cache may be dropped once they have ended.

    Source: Leviathan et al. 2023, "Fast Inference from Transformers via Speculative Decoding",
    algorithm 1; trees: Miao et al. 2023, "SpecInfer", section 4.
    """
    sequences = [list(map(int, prompt)) for prompt in prompts]
    rows = np.arange(len(prompts))  # the row that stands at each place of the cache
    logits = session.prefill(prompts, chooser.options.prefill_chunk)
    live = np.zeros(len(rows), dtype=bool)
    tokens = chooser.choose(logits, rows.tolist())
    for row, (token, logprob) in enumerate(zip(tokens, logprobs_of(logits, tokens), strict=True)):
        sequences[row].append(token)
        live[row] = written.add(row, [token], [logprob])
    while live.any():
        if may_drop and 2 * np.count_nonzero(live) <= len(rows):
            places = np.flatnonzero(live)
            session.keep(places)
            drafter.keep(places)
            rows, live = rows[places], live[places]
        places = np.flatnonzero(live)
        depths = _depths(session, chooser, written, rows, places)
        trees = drafter.propose(sequences, rows[places].tolist(), depths)
        before = session.cache.lengths
        logits = _verify(session, dict(zip(places.tolist(), trees, strict=True)))
        after = before.copy()
        for place, tree in zip(places.tolist(), trees, strict=True):
            row = int(rows[place])
            path, found = walk(tree, logits[place], chooser, row)
            logprobs = logprobs_of(logits[place, : len(tree.tokens)][path], found)
            had = len(written.tokens[row])
            live[place] = written.add(row, found, logprobs)
            kept = written.tokens[row][had:]
            sequences[row].extend(kept)
            _keep_path(session.cache, place, int(before[place]), path[: len(kept)])
            after[place] += len(kept)
        session.cache.crop(after)


def walk(
    tree: Tree, logits: torch.Tensor, chooser: Chooser, row: int
) -> tuple[list[int], list[int]]:
    """Return the nodes of the draft that hold, and the tokens they lead to: one for each.

    The last token is the model's own: what it takes where the draft ends or is wrong.

    Args:
        tree: the row's draft.
        logits: [nodes or more, vocab] the model's, behind each node.
        chooser: takes a token from logits.
        row: whose stream is drawn from.
    """
    path, found = [0], list[int]()
    while True:
        node = path[-1]
        drawn = tree.chances[node + 1] if node + 1 < len(tree.tokens) else None
        if drawn is None or chooser.streams is None:
            token = chooser.choose(logits[node : node + 1], [row])[0]
            following = tree.child(node, token)
        else:
            wanted = chooser.probabilities(logits[node : node + 1])[0].cpu()
            token, holds = accept(
                tree.tokens[node + 1],
                drawn,
                wanted,
                chooser.streams.draw(row),
                chooser.streams.draw(row),
            )
            following = node + 1 if holds else None
        found.append(token)
        if following is None:
            return path, found
        path.append(following)


def accept(
    token: int, drawn: torch.Tensor, wanted: torch.Tensor, number: float, second: float
) -> tuple[int, bool]:
    """Return a token distributed as ``wanted``, and whether it is the draft's.

    Args:
        token: was drawn from ``drawn``.
        drawn: [vocab] the draft's probabilities.
        wanted: [vocab] the model's.
        number: 0 <= number < 1 decides whether the token stays.
        second: 0 <= second < 1 draws another one if not.

    Source: Leviathan et al. 2023, section 2.3: keep with probability min(1, wanted / drawn), else
    draw from what is left, max(0, wanted - drawn).

    >>> accept(0, torch.tensor([0.8, 0.2]), torch.tensor([0.2, 0.8]), number=0.5, second=0.9)
    (1, False)
    """
    if number * float(drawn[token]) < float(wanted[token]):
        return token, True
    left = (wanted.double() - drawn.double()).clamp(min=0.0)
    return pick(left, second), False


def _depths(
    session: Session, chooser: Chooser, written: Written, rows: np.ndarray, places: np.ndarray
) -> list[int]:
    """Return how deep each live row's draft may be: by tokens wanted, and by room in the cache."""
    options, cache = chooser.options, session.cache
    free = (cache.max_len - cache.lengths[places] - 1) // options.draft_branches
    wanted = [written.room(int(row)) - 1 for row in rows[places]]
    return [
        max(0, min(options.draft_tokens, room, int(slots)))
        for room, slots in zip(wanted, free, strict=True)
    ]


def _verify(session: Session, trees: dict[int, Tree]) -> torch.Tensor:
    """Run the model over each row's newest token and draft; return logits [batch, nodes, vocab]."""
    starts = session.cache.lengths
    counts = np.zeros(len(starts), dtype=np.int64)
    for place, tree in trees.items():
        counts[place] = len(tree.tokens)
    tokens = np.zeros((len(starts), int(counts.max())), dtype=np.int64)
    # Padding stands where the newest token does.
    positions = np.repeat(starts[:, None], tokens.shape[1], axis=1)
    for place, tree in trees.items():
        tokens[place, : counts[place]] = tree.tokens
        positions[place, : counts[place]] += tree.depths
    if all(tree.is_chain for tree in trees.values()):
        return session.run(tokens, counts)
    own = getattr(session.model, "mask", causal())
    stop = int(starts.max()) + tokens.shape[1]
    masks = [
        _mask_of_tree(own, trees[place], int(start), stop) if place in trees else nothing()
        for place, start in enumerate(starts)
    ]
    mask = masks[0] if len(masks) == 1 else per_batch(masks)
    return session.run(tokens, counts, positions=positions, mask=mask)


def _mask_of_tree(own: Mask, tree: Tree, start: int, stop: int) -> Mask:
    """Return who may see whom where the nodes lie in slots from ``start`` on, up to ``stop``.

    A node sees its ancestors among the nodes, and of what came before what its position sees.
    """
    nodes = tree_mask(tree.parents).shift(query=start, key=start)
    if own == causal():
        return prefix(start) | nodes
    # Slots are not positions: look up what the model's own mask says of the positions.
    depths = np.array(tree.depths)
    deepest = int(depths.max()) + 1
    seen = own.dense(deepest, start + deepest, q_offset=start)
    slots = np.concatenate([np.arange(start), start + depths])
    allowed = seen[:, :, depths][:, :, :, slots]
    allowed[:, :, :, start:] &= tree_mask(tree.parents).dense(len(depths))
    # Rows of the batch that stand further on are asked about too: there this one sees nothing.
    beyond = stop - start - len(depths)
    allowed = np.pad(allowed, ((0, 0), (0, 0), (0, beyond), (0, beyond)))
    return dense(allowed, means="attend").shift(query=start)


def _keep_path(cache: Any, place: int, start: int, path: Sequence[int]) -> None:
    """Move the keys of a branch's nodes next to each other, behind what the row held before."""
    if list(path) == list(range(len(path))):
        return
    to = torch.arange(start, start + len(path), device=cache.device)
    source = torch.tensor([start + node for node in path], device=cache.device)
    for layer in range(cache.layers):
        for tensor in cache.held(layer):
            tensor[place, :, to] = tensor[place, :, source]
