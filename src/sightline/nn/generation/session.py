"""A model with its cache: feeding tokens to some rows and getting the logits of what comes next.

Which token is taken is decided elsewhere: decode.py, beam.py, speculative.py.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from sightline.errors import InvalidArgument
from sightline.masks.mask import Mask


class Session:
    """The passes of one model over one cache.

    Args:
        model: called as ``model(tokens, cache=chunk)``; see ``generate``.
        cache: a ``KVCache`` or one with the same face.

    Attributes:
        passes: how often the model has run.
    """

    def __init__(self, model: Any, cache: Any) -> None:
        self.model = model
        self.cache = cache
        self.passes = 0
        self._picks_logits = takes(model, "logits_at")

    def run(
        self,
        tokens: np.ndarray,
        counts: np.ndarray,
        *,
        positions: np.ndarray | None = None,
        mask: Mask | None = None,
    ) -> torch.Tensor:
        """Feed ``tokens`` [batch, n], of which ``counts`` [batch] are real; return all logits.

        Returns:
            [batch, n, vocab].
        """
        chunk = self.cache.extend(counts, q_len=tokens.shape[1])
        given: dict[str, Any] = {}
        if positions is not None:
            given["positions"] = torch.from_numpy(positions).to(self.cache.device)
        if mask is not None:
            given["mask"] = mask
        self.passes += 1
        return self.model(self._tensor(tokens), cache=chunk, **given)

    def last(self, tokens: np.ndarray, counts: np.ndarray) -> torch.Tensor:
        """Feed ``tokens`` [batch, n]; return the logits behind each row's last real one.

        Returns:
            [batch, vocab]; without meaning for a row of no real tokens.
        """
        chunk = self.cache.extend(counts, q_len=tokens.shape[1])
        at = self._tensor(np.maximum(counts - 1, 0)[:, None])
        self.passes += 1
        if self._picks_logits:
            return self.model(self._tensor(tokens), cache=chunk, logits_at=at)[:, 0]
        logits = self.model(self._tensor(tokens), cache=chunk)
        return logits.gather(1, at[:, :, None].expand(-1, -1, logits.shape[2]))[:, 0]

    def prefill(self, rows: Sequence[Any], chunk: int | None = None) -> torch.Tensor:
        """Feed rows of different lengths; return the logits behind each row's last token.

        Args:
            rows: [batch] rows of tokens; an empty one is not fed.
            chunk: how many tokens of a row go into one pass; None for all.

        Returns:
            [batch, vocab].
        """
        lengths = np.array([len(row) for row in rows], dtype=np.int64)
        longest = int(lengths.max())
        padded = np.zeros((len(rows), longest), dtype=np.int64)
        for place, row in zip(padded, rows, strict=True):
            place[: len(row)] = row
        width = longest if chunk is None else min(chunk, longest)
        result: torch.Tensor | None = None
        for start in range(0, longest, width):
            counts = np.clip(lengths - start, 0, width)
            logits = self.last(padded[:, start : start + int(counts.max())], counts)
            if result is None:
                result = logits
                continue
            ends = torch.from_numpy(np.flatnonzero(counts)).to(logits.device)
            result = result.index_copy(0, ends, logits.index_select(0, ends))
        assert result is not None  # there is at least one row with a token
        return result

    def keep(self, slots: np.ndarray) -> None:
        """Go on with these rows only, in this order; rows may repeat."""
        self.cache.reorder(slots)

    def _tensor(self, array: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(np.ascontiguousarray(array)).to(self.cache.device)


def takes(model: Any, argument: str) -> bool:
    """Say whether a model can be called with an argument of that name."""
    called = model.forward if isinstance(model, torch.nn.Module) else model
    try:
        names = inspect.signature(called).parameters
    except (TypeError, ValueError):
        return False
    return argument in names


def check_model(model: Any, what: str = "model") -> None:
    """Refuse what has not the face that generation needs.

    Raises:
        InvalidArgument: it cannot be called, or has no ``new_cache``.
    """
    if not callable(model) or not callable(getattr(model, "new_cache", None)):
        instead = "see sl.nn.generate"
        if callable(getattr(model, "generate", None)):  # one of transformers
            instead = "or its own generate, after sl.hf.patch(model)"
        raise InvalidArgument(
            f"got a {what} of type {type(model).__name__}; wanted one that is called as "
            f"model(tokens, cache=chunk) and has new_cache(batch, max_len); {instead}."
        )
