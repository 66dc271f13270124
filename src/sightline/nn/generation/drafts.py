"""Drafts for speculative decoding: guesses of what comes next, as a tree of tokens for each row.

A draft comes from a smaller model or from any function of a row's tokens. What becomes of it is
speculative.py's part.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from sightline.errors import InvalidArgument
from sightline.nn.generation.decode import Chooser
from sightline.nn.generation.sampling import pick
from sightline.nn.generation.session import Session


@dataclass
class Tree:
    """Guessed tokens behind a row's newest token, which is node 0.

    Attributes:
        tokens: the token of each node.
        parents: the node before each node; -1 for node 0.
        chances: of each node but the first, where tokens were drawn: the probabilities [vocab]
            that it was drawn from.
    """

    tokens: list[int]
    parents: list[int] = field(default_factory=lambda: [-1])
    chances: list[torch.Tensor | None] = field(default_factory=lambda: [None])

    def add(self, parent: int, token: int, chances: torch.Tensor | None = None) -> int:
        """Return the node for ``token`` behind ``parent``, new or there already."""
        known = self.child(parent, token)
        if known is not None:
            return known
        self.tokens.append(token)
        self.parents.append(parent)
        self.chances.append(chances)
        return len(self.tokens) - 1

    def child(self, parent: int, token: int) -> int | None:
        """Return the node for ``token`` behind ``parent``, or None."""
        for node in range(parent + 1, len(self.tokens)):
            if self.parents[node] == parent and self.tokens[node] == token:
                return node
        return None

    @property
    def depths(self) -> list[int]:
        """How far each node is from node 0."""
        depths: list[int] = []
        for parent in self.parents:
            depths.append(0 if parent < 0 else depths[parent] + 1)
        return depths

    @property
    def is_chain(self) -> bool:
        """Whether each node follows the one before it."""
        return self.parents == list(range(-1, len(self.parents) - 1))


class Guesses:
    """Drafts by a function of a row's tokens.

    Args:
        guess: called with all tokens of a row so far; returns what may come next, a list of
            tokens or a list of several such lists.
        branches: how many of them are tried.
    """

    def __init__(self, guess: Callable[[list[int]], Any], branches: int) -> None:
        self._guess = guess
        self._branches = branches

    def propose(
        self, sequences: Sequence[list[int]], rows: Sequence[int], depths: Sequence[int]
    ) -> list[Tree]:
        """Return a tree for each of ``rows``, at most ``depths`` deep."""
        trees: list[Tree] = []
        for row, depth in zip(rows, depths, strict=True):
            tree = Tree([sequences[row][-1]])
            for branch in self._read(self._guess(list(sequences[row])))[: self._branches]:
                node = 0
                for token in branch[:depth]:
                    node = tree.add(node, token)
            trees.append(tree)
        return trees

    def keep(self, places: np.ndarray) -> None:
        """Nothing is held for rows."""

    @staticmethod
    def _read(guess: Any) -> list[list[int]]:
        """Return branches, whether one or several were given."""
        try:
            given = guess.tolist() if hasattr(guess, "tolist") else list(guess)
            several = bool(given) and not isinstance(given[0], int)
            branches = [[int(token) for token in each] for each in (given if several else [given])]
        except (TypeError, ValueError):
            branches = [[-1]]
        if any(token < 0 for branch in branches for token in branch):
            raise InvalidArgument(
                f"got the draft {guess!r}; wanted a list of tokens, or a list of several such "
                "lists; an empty list guesses nothing."
            )
        return branches


class DraftModel:
    """Drafts by a smaller model with a cache of its own.

    Greedy, or where a chooser with streams is given, drawn from each row's stream. With several
    branches each step guesses that many tokens, and goes on behind the most probable one.

    Args:
        session: the model and its cache, one row for each row of the target's.
        branches: how many tokens are guessed at each step; 1 where tokens are drawn.
        chooser: how tokens are drawn, or None for the most probable.
    """

    def __init__(self, session: Session, branches: int, chooser: Chooser | None) -> None:
        self._session = session
        self._branches = branches
        self._chooser = chooser
        self._held: list[list[int]] = [[] for _ in range(session.cache.batch)]
        self._places = np.arange(session.cache.batch)

    def propose(
        self, sequences: Sequence[list[int]], rows: Sequence[int], depths: Sequence[int]
    ) -> list[Tree]:
        """Return a tree for each of ``rows``, at most ``depths`` deep."""
        trees = {
            row: (Tree([sequences[row][-1]]), depth)
            for row, depth in zip(rows, depths, strict=True)
        }
        self._drop_wrong_guesses(sequences)
        feed = {
            row: sequences[row][len(self._held[row]) :]
            for row, (_, depth) in trees.items()
            if depth > 0
        }
        ends = dict.fromkeys(feed, 0)
        while feed:
            logits = self._feed(feed)
            feed = {}
            for row, chosen in self._guess(logits, list(ends)).items():
                tree, depth = trees[row]
                nodes = [tree.add(ends[row], token, chances) for token, chances in chosen]
                ends[row] = nodes[0]
                if tree.depths[nodes[0]] < depth:
                    feed[row] = [tree.tokens[nodes[0]]]
            ends = {row: ends[row] for row in feed}
        return [trees[row][0] for row in rows]

    def keep(self, places: np.ndarray) -> None:
        """Go on with these places of the cache only."""
        self._session.keep(places)
        self._places = self._places[places]

    def _drop_wrong_guesses(self, sequences: Sequence[list[int]]) -> None:
        """Crop what the cache holds to what the rows turned out to be, but for their last token."""
        lengths: list[int] = []
        for row in self._places.tolist():
            held, tokens = self._held[row], sequences[row]
            right = 0
            for own, other in zip(held, tokens[:-1], strict=False):
                if own != other:
                    break
                right += 1
            self._held[row] = held[:right]
            lengths.append(right)
        self._session.cache.crop(lengths)

    def _feed(self, feed: dict[int, list[int]]) -> dict[int, torch.Tensor]:
        """Run the model on some rows' tokens; return each row's last logits [vocab]."""
        tokens = [feed.get(row, []) for row in self._places.tolist()]
        logits = self._session.prefill(tokens)
        for row, fed in feed.items():
            self._held[row].extend(fed)
        return {
            row: logits[place] for place, row in enumerate(self._places.tolist()) if row in feed
        }

    def _guess(
        self, logits: dict[int, torch.Tensor], rows: list[int]
    ) -> dict[int, list[tuple[int, torch.Tensor | None]]]:
        """Return the tokens to try for each row, the one to go on behind first."""
        if self._chooser is None or self._chooser.streams is None:
            count = self._branches
            return {
                row: [(token, None) for token in logits[row].topk(count).indices.tolist()]
                for row in rows
            }
        chosen: dict[int, list[tuple[int, torch.Tensor | None]]] = {}
        for row in rows:
            chances = self._chooser.probabilities(logits[row][None])[0].cpu()
            chosen[row] = [(pick(chances, self._chooser.streams.draw(row)), chances)]
        return chosen
