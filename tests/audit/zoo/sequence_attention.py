"""Self-attention that is told who sees whom by a formula over positions."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from .parts import WIDTH, merge_heads, split_heads


class Attends(nn.Module):
    """Scores, a mask made by the subclass, softmax."""

    def __init__(self) -> None:
        super().__init__()
        self.qkv = nn.Linear(WIDTH, 3 * WIDTH)
        self.out = nn.Linear(WIDTH, WIDTH)

    def allowed(self, query: Tensor, key: Tensor) -> Tensor:
        """Return who sees whom; positions come as [T, 1] and [1, T]."""
        raise NotImplementedError

    def attend(self, x: Tensor, allowed: Tensor) -> Tensor:
        query, key, value = (split_heads(part) for part in self.qkv(x).chunk(3, dim=-1))
        scores = query @ key.mT / query.shape[-1] ** 0.5
        weights = scores.masked_fill(~allowed, float("-inf")).softmax(dim=-1)
        return self.out(merge_heads(weights @ value))

    def forward(self, x: Tensor) -> Tensor:
        place = torch.arange(x.shape[1])
        return self.attend(x, self.allowed(place[:, None], place[None, :]))
