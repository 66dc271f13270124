"""What ``generate`` returns."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch


@dataclass(frozen=True)
class Hypothesis:
    """One of the sequences that beam search ended with.

    Attributes:
        tokens: [n] new tokens.
        score: the sum of their log-probabilities divided by ``n ** length_penalty``.
    """

    tokens: torch.Tensor
    score: float


@dataclass(frozen=True)
class Generated:
    """The new tokens of every prompt, and what is known about them.

    Attributes:
        prompts: the prompts as they were read, 1-D tensors.
        tokens: the new tokens of each row, 1-D tensors; the token that ended the row included.
        logprobs: the natural logarithm of each new token's probability as the model gives it,
            before temperature and filters; 1-D tensors like ``tokens``.
        finished: bool [batch], whether the row ended with an ``eos`` token.
        passes: passes of the model over the whole run, prefill included.
        exact: whether the model's rows have the same bits in any batch on this machine, so that
            a prompt gives the same tokens alone and in any batch for certain.
        pad: what ``padded`` fills up with.
        hypotheses: per row the sequences of a beam search, best first; empty otherwise.
    """

    prompts: list[torch.Tensor]
    tokens: list[torch.Tensor]
    logprobs: list[torch.Tensor]
    finished: np.ndarray
    passes: int
    exact: bool
    pad: int = 0
    hypotheses: list[list[Hypothesis]] = field(default_factory=list)

    @property
    def lengths(self) -> np.ndarray:
        """How many new tokens each row has, [batch]."""
        return np.array([len(row) for row in self.tokens], dtype=np.int64)

    def sequences(self) -> list[torch.Tensor]:
        """Return each prompt with its new tokens behind it."""
        return [torch.cat(pair) for pair in zip(self.prompts, self.tokens, strict=True)]

    def padded(self) -> torch.Tensor:
        """Return the new tokens as [batch, greatest length], filled up with ``pad`` behind."""
        return torch.nn.utils.rnn.pad_sequence(
            self.tokens, batch_first=True, padding_value=float(self.pad)
        )
