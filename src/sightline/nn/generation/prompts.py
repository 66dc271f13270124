"""Prompts in whatever form they come, as a list of rows of tokens.

Ragged lists, padded tensors with lengths and a side, and anything with ``sequences()``.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from sightline.errors import InvalidArgument, ShapeMismatch

_INTEGERS = (torch.int64, torch.int32, torch.int16, torch.uint8, torch.int8)


def read_prompts(prompts: Any, lengths: Any = None, side: str = "right") -> list[torch.Tensor]:
    """Return each prompt as a 1-D int64 tensor on the CPU.

    Args:
        prompts: a list of 1-D tensors or lists of tokens; or a tensor [batch, length]; or an
            object whose ``sequences()`` returns such a list.
        lengths: [batch] how many tokens of each row of a tensor are real; None for all.
        side: where a tensor's padding is, "right" or "left".

    Raises:
        InvalidArgument: no prompts, an empty one, or something that holds no tokens.
        ShapeMismatch: lengths that do not fit the tensor.

    >>> padded = torch.tensor([[0, 5, 6], [7, 8, 9]])
    >>> [row.tolist() for row in read_prompts(padded, lengths=[2, 3], side="left")]
    [[5, 6], [7, 8, 9]]
    """
    if side not in ("right", "left"):
        raise InvalidArgument(f"got side={side!r}; wanted 'right' or 'left'; check the word.")
    if hasattr(prompts, "sequences"):
        prompts = prompts.sequences()
    if isinstance(prompts, (torch.Tensor, np.ndarray)):
        rows = _cut(torch.as_tensor(prompts), lengths, side)
    elif lengths is not None:
        raise InvalidArgument(
            "got lengths= with a list of prompts; wanted it with a padded tensor only; a list "
            "says its lengths itself."
        )
    elif isinstance(prompts, (list, tuple)):
        rows = list(prompts)
    else:
        raise InvalidArgument(
            f"got prompts of type {type(prompts).__name__}; wanted a list of rows of tokens or a "
            "tensor [batch, length]; turn text into token numbers first."
        )
    if not rows:
        raise InvalidArgument("got no prompts; wanted at least one; pass [[token, ...], ...].")
    return [_row(number, row) for number, row in enumerate(rows)]


def _cut(padded: torch.Tensor, lengths: Any, side: str) -> list[torch.Tensor]:
    """Return the real tokens of each row of a padded tensor."""
    if padded.ndim != 2:
        raise ShapeMismatch(
            f"got prompts of shape {list(padded.shape)}; wanted [batch, length]; for one prompt "
            "add an axis with prompts[None]."
        )
    batch, longest = padded.shape
    if lengths is None:
        return list(padded)
    counts = [int(count) for count in torch.as_tensor(lengths).reshape(-1)]
    if len(counts) != batch or not all(0 <= count <= longest for count in counts):
        raise ShapeMismatch(
            f"got lengths={counts} for prompts of shape {list(padded.shape)}; wanted {batch} "
            f"numbers from 1 to {longest}; count the real tokens of each row."
        )
    if side == "right":
        return [row[:count] for row, count in zip(padded, counts, strict=True)]
    return [row[longest - count :] for row, count in zip(padded, counts, strict=True)]


def _row(number: int, row: Any) -> torch.Tensor:
    """Return one prompt as a 1-D int64 tensor on the CPU."""
    try:
        tokens = row if isinstance(row, torch.Tensor) else torch.as_tensor(np.asarray(row))
    except (TypeError, ValueError):
        tokens = None
    if tokens is not None and tokens.ndim == 1 and tokens.numel() == 0:
        raise InvalidArgument(
            f"got an empty prompt at row {number}; wanted at least one token; start it with the "
            "token that begins a text."
        )
    if tokens is None or tokens.ndim != 1 or tokens.dtype not in _INTEGERS:
        got = type(row).__name__ if tokens is None else f"{list(tokens.shape)} of {tokens.dtype}"
        raise InvalidArgument(
            f"got {got} as prompt {number}; wanted a row of whole numbers; put a single prompt "
            "into a list, [prompt]."
        )
    tokens = tokens.to("cpu", torch.int64)
    if int(tokens.min()) < 0:
        raise InvalidArgument(
            f"got the token {int(tokens.min())} in prompt {number}; wanted tokens from 0 on; say "
            "where padding is with lengths=."
        )
    return tokens
