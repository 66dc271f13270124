"""Token after token, greedy or drawn; rows end independently, and rows that ended cost nothing.

Beams are beam.py's, drafts speculative.py's.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch

from sightline.nn.generation.options import Options
from sightline.nn.generation.sampling import Streams, filter_logits, pick
from sightline.nn.generation.session import Session

OnToken = Callable[[int, list[int]], Any]


class Written:
    """The tokens chosen so far for each row, and whether the row has ended."""

    def __init__(self, batch: int, options: Options, on_token: OnToken | None) -> None:
        self.tokens: list[list[int]] = [[] for _ in range(batch)]
        self.logprobs: list[list[float]] = [[] for _ in range(batch)]
        self.finished = np.zeros(batch, dtype=bool)
        self._options = options
        self._on_token = on_token

    def room(self, row: int) -> int:
        """Return how many more tokens the row may get."""
        return self._options.max_new_tokens - len(self.tokens[row])

    def add(self, row: int, tokens: Sequence[int], logprobs: Sequence[float]) -> bool:
        """Add tokens to a row up to its end; return whether it goes on."""
        kept = 0
        for token in tokens[: self.room(row)]:
            kept += 1
            if token in self._options.eos:
                self.finished[row] = True
                break
        self.tokens[row].extend(tokens[:kept])
        self.logprobs[row].extend(logprobs[:kept])
        if self._on_token is not None:
            self._on_token(row, list(tokens[:kept]))
        return not self.finished[row] and self.room(row) > 0


class Chooser:
    """Takes the most probable token, or draws one from each row's own stream."""

    def __init__(self, options: Options, streams: Streams | None) -> None:
        self.options = options
        self.streams = streams

    def probabilities(self, logits: torch.Tensor) -> torch.Tensor:
        """Return what tokens are drawn from, [rows, vocab], for logits [rows, vocab]."""
        options = self.options
        left = filter_logits(
            logits.float(),
            temperature=options.temperature,
            top_k=options.top_k,
            top_p=options.top_p,
        )
        return left.softmax(-1)

    def choose(self, logits: torch.Tensor, rows: Sequence[int]) -> list[int]:
        """Return one token for each of ``rows``, whose logits are [rows, vocab]."""
        if self.streams is None:
            return logits.argmax(-1).tolist()
        chances = self.probabilities(logits).cpu()
        return [pick(each, self.streams.draw(row)) for each, row in zip(chances, rows, strict=True)]


def logprobs_of(logits: torch.Tensor, tokens: Sequence[int]) -> list[float]:
    """Return the log-probability of one token in each row of logits [rows, vocab]."""
    index = torch.tensor(tokens, device=logits.device)[:, None]
    return logits.float().log_softmax(-1).gather(1, index)[:, 0].tolist()


def decode(
    session: Session,
    prompts: Sequence[Any],
    chooser: Chooser,
    written: Written,
    *,
    may_drop: bool,
) -> None:
    """Write each row's tokens until it ends.

    Args:
        session: the model and its cache.
        prompts: [batch] rows of tokens.
        chooser: what takes a token from logits.
        written: where tokens go.
        may_drop: whether rows of the cache may be dropped once they have ended.
    """
    rows = np.arange(len(prompts))  # the row that stands at each place of the cache
    logits = session.prefill(prompts, chooser.options.prefill_chunk)
    live = np.ones(len(rows), dtype=bool)
    newest = np.zeros(len(rows), dtype=np.int64)
    while True:
        places = np.flatnonzero(live)
        seen = logits if len(places) == len(rows) else logits[torch.from_numpy(places)]
        tokens = chooser.choose(seen, rows[places].tolist())
        for place, token, logprob in zip(places, tokens, logprobs_of(seen, tokens), strict=True):
            newest[place] = token
            live[place] = written.add(int(rows[place]), [token], [logprob])
        if not live.any():
            return
        if may_drop and 2 * np.count_nonzero(live) <= len(rows):
            places = np.flatnonzero(live)
            session.keep(places)
            rows, newest, live = rows[places], newest[places], live[places]
        logits = session.last(newest[:, None], live.astype(np.int64))
