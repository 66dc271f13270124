"""From logits to tokens: temperature, top-k, top-p, and a stream of random numbers per row.

A row's draws depend on its seed and its prompt, never on its neighbours.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from numbers import Integral
from typing import Any

import numpy as np
import torch

from sightline.errors import InvalidArgument

# So many of the most probable tokens are sorted first; all of them only where that is not enough.
_SORTED_FIRST = 256


class Streams:
    """One stream of random numbers per row.

    Args:
        seed: a whole number >= 0: row i's stream follows from the seed, the row's prompt, and
            how many earlier rows have the same prompt, so that a prompt draws the same alone and
            in any batch, and its copies draw differently. A sequence of numbers, one per row:
            row i's stream follows from ``seed[i]`` alone.
        prompts: the rows' tokens.

    Raises:
        InvalidArgument: a seed that is neither.

    >>> alone = Streams(7, [[1, 2]])
    >>> among = Streams(7, [[3], [1, 2], [1, 2]])
    >>> first = alone.draw(0)
    >>> first == among.draw(1), first == among.draw(2)
    (True, False)
    """

    def __init__(self, seed: Any, prompts: Sequence[Any]) -> None:
        seeds = [seed] if _is_seed(seed) else list(seed) if _is_sequence(seed) else []
        wanted = 1 if _is_seed(seed) else len(prompts)
        if len(seeds) != wanted or not all(_is_seed(one) for one in seeds):
            raise InvalidArgument(
                f"got seed={seed!r}; wanted a whole number of at least 0, or one for each of the "
                f"{len(prompts)} prompts; use seed=0."
            )
        if _is_seed(seed):
            keys = _keys_of_prompts(int(seed), prompts)
        else:
            keys = [f"row {int(one)}".encode() for one in seeds]
        self._streams = [_stream(key) for key in keys]

    def draw(self, row: int) -> float:
        """Return the row's next number, 0 <= number < 1."""
        return self._streams[row].random()


def filter_logits(
    logits: torch.Tensor,
    *,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
) -> torch.Tensor:
    """Return the logits that are left to draw from, -inf for the others.

    Divided by the temperature first; then the ``top_k`` greatest stay (and what equals the
    least of them); then the fewest of the greatest whose probabilities sum to ``top_p``.

    Args:
        logits: [rows, vocab].
        temperature: above 1 flattens the distribution, below 1 sharpens it.
        top_k: how many stay; None for all.
        top_p: the share that stays; None for all.

    Source: top-k: Fan et al. 2018, section 5.3; top-p: Holtzman et al. 2020, section 3.1.

    >>> import torch
    >>> logits = torch.log(torch.tensor([[0.5, 0.1, 0.3, 0.1]]))
    >>> filter_logits(logits, top_p=0.7).exp()
    tensor([[0.5000, 0.0000, 0.3000, 0.0000]])
    """
    if temperature != 1.0:
        logits = logits / temperature
    if top_k is not None and top_k < logits.shape[-1]:
        least = logits.topk(top_k, dim=-1).values[:, -1:]
        logits = logits.masked_fill(logits < least, -torch.inf)
    if top_p is not None and top_p < 1.0:
        logits = logits.masked_fill(logits < _least_of_nucleus(logits, top_p), -torch.inf)
    return logits


def pick(probabilities: torch.Tensor, number: float) -> int:
    """Return the token at ``number`` (0 <= number < 1) of the running sum of ``probabilities``.

    The probabilities [vocab] need not sum to 1; a token of probability 0 is never returned.

    >>> pick(torch.tensor([0.25, 0.0, 0.75]), 0.3)
    2
    """
    running = probabilities.to(torch.float64).cumsum(0)
    total = float(running[-1])
    reached = min(number * total, float(np.nextafter(total, 0.0)))
    return int(torch.searchsorted(running, reached, right=True))


def _least_of_nucleus(logits: torch.Tensor, share: float) -> torch.Tensor:
    """Return the least logit [rows, 1] of the fewest whose probabilities sum to ``share``."""
    # Not logsumexp: one row alone may be summed in another order than one of several.
    weights = logits.to(torch.float64).softmax(-1)
    size = min(_SORTED_FIRST, logits.shape[-1])
    sums = weights.topk(size, dim=-1).values.cumsum(-1)
    if bool((sums[:, -1] < share).any()):
        size = logits.shape[-1]
        sums = weights.sort(dim=-1, descending=True).values.cumsum(-1)
    last = (sums < share).sum(-1, keepdim=True).clamp(max=size - 1)
    return logits.topk(size, dim=-1).values.gather(-1, last)


def _keys_of_prompts(seed: int, prompts: Sequence[Any]) -> list[bytes]:
    """Return what each row's stream follows from: seed, prompt, which copy of it."""
    seen: Counter[bytes] = Counter()
    keys: list[bytes] = []
    for prompt in prompts:
        tokens = np.asarray(prompt, dtype="<i8").tobytes()
        keys.append(f"seed {seed} copy {seen[tokens]} ".encode() + tokens)
        seen[tokens] += 1
    return keys


def _stream(key: bytes) -> np.random.Generator:
    digest = hashlib.blake2b(key, digest_size=16).digest()
    return np.random.Generator(np.random.Philox(key=int.from_bytes(digest, "little")))


def _is_seed(seed: Any) -> bool:
    return isinstance(seed, Integral) and not isinstance(seed, bool) and int(seed) >= 0


def _is_sequence(seed: Any) -> bool:
    return isinstance(seed, (list, tuple, np.ndarray, torch.Tensor)) and len(seed) > 0
