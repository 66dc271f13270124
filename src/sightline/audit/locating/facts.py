"""What the operation that is to blame was called with: dimensions, padding, flags, and its mask.

Kept as plain numbers and small arrays, for causes.py to read; no tensor outlives its pass.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from sightline.audit.locating.quiet import Axes, tensors_in

if TYPE_CHECKING:
    from sightline.audit.locating.recording import Operation

# The most scores that are kept; beyond that one batch row of them.
_MOST = 1_000_000
# Names of arguments of functions that have no Python signature.
_CONV = ("input", "weight", "bias", "stride", "padding", "dilation", "groups")
_ALONG_NAMES = (
    "softmax log_softmax cumsum cumprod logsumexp mean sum max min amax amin var std argsort sort"
)
_ALONG = ("input", "dim", "keepdim")
_NAMES: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(("conv1d", "conv2d", "conv3d"), _CONV),
    **dict.fromkeys(_ALONG_NAMES.split(), _ALONG),
    **dict.fromkeys(("fft_fft", "fft_rfft"), ("input", "n", "dim")),
    "norm": ("input", "p", "dim"),
    "roll": ("input", "shifts", "dims"),
    "flip": ("input", "dims"),
    "topk": ("input", "k", "dim"),
    "matmul": ("input", "other"),
    "scaled_dot_product_attention": (
        "query", "key", "value", "attn_mask", "dropout_p", "is_causal", "scale",
    ),
    **dict.fromkeys(
        ("gru", "lstm", "rnn_tanh", "rnn_relu"),
        (
            "input", "hx", "weights", "has_biases", "num_layers", "dropout", "train",
            "bidirectional", "batch_first",
        ),
    ),
}  # fmt: skip


@dataclass(eq=False)
class Arguments:
    """What an operation was called with.

    Attributes:
        values: its numbers, words and flags by name; what is a tensor is left out.
        shapes: the shapes of its tensors by name.
        axes: where batch and sequence lie in the first of them; None if that is not known.
        scores: for attention what is added to scores, or the scores themselves, ``[batch, heads,
            queries, keys]`` with axes of size 1 for all; None elsewhere.
        mask: how attention was given a mask: ``none``, ``causal``, ``bool`` or ``float``; ``in
            scores`` if the scores hold it.
    """

    values: dict[str, Any]
    shapes: dict[str, tuple[int, ...]]
    axes: Axes | None = None
    scores: NDArray[np.float32] | None = None
    mask: str = ""
    tensors: dict[str, torch.Tensor] = field(default_factory=dict)

    def settle(self, name: str, axes_of: Any) -> None:
        """Read what is wanted of the tensors, and let go of them."""
        if self.tensors:
            self.axes = axes_of(tuple(next(iter(self.tensors.values())).shape))
        if name == "scaled_dot_product_attention":
            self.scores, self.mask = _given_to_sdpa(self)
        elif name == "multi_head_attention_forward":
            self.scores, self.mask = _given_to_mha(self)
        elif name == "softmax":
            self.scores, self.mask = _scores(self.tensors.get("input")), "in scores"
        self.tensors = {}


@dataclass(frozen=True, eq=False)
class Facts:
    """An operation that is to blame, and what it was called with.

    Attributes:
        name: the operation as torch has it: ``softmax``.
        kind: the class of the module in which it was called.
        training: whether that module was in training mode.
        values: see ``Arguments``; so are the others.
    """

    name: str
    kind: str = ""
    training: bool = False
    values: Mapping[str, Any] = field(default_factory=dict)
    shapes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    axes: Axes | None = None
    scores: NDArray[np.float32] | None = None
    mask: str = ""

    @classmethod
    def of(cls, operation: Operation, kind: str, training: bool) -> Facts:
        """Return what is known about an operation."""
        a = operation.arguments or Arguments({}, {})
        return cls(operation.name, kind, training, a.values, a.shapes, a.axes, a.scores, a.mask)


def arguments_of(func: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Arguments:
    """Return what a function is called with, by name; its tensors until ``settle``."""
    names = _names(func)
    given: dict[str, Any] = {}
    for place, value in enumerate(args):
        given[names[place] if place < len(names) else f"argument {place}"] = value
    given |= kwargs
    values = {n: v for n, v in given.items() if _plain(v)}
    tensors = {
        f"{n}{place}": tensor
        for n, v in given.items()
        if n != "weights"
        for place, tensor in tensors_in(v)
    }
    shapes = {n: tuple(t.shape) for n, t in tensors.items()}
    return Arguments(values, shapes, tensors=tensors)


@lru_cache(maxsize=512)
def _names(func: Any) -> tuple[str, ...]:
    name = getattr(func, "__name__", "")
    if name in _NAMES:
        return _NAMES[name]
    try:
        return tuple(inspect.signature(func).parameters)
    except (TypeError, ValueError):
        return ("input",)


def _plain(value: Any) -> bool:
    if isinstance(value, (tuple, list)):
        return all(map(_plain, value))
    return value is None or isinstance(value, (bool, int, float, str))


def _scores(tensor: torch.Tensor | None) -> NDArray[np.float32] | None:
    """Return ``[batch, heads, queries, keys]`` of two to four axes; None of others."""
    if tensor is None or not 2 <= tensor.ndim <= 4:
        return None
    tensor = tensor.detach()
    tensor = tensor[(None,) * (4 - tensor.ndim)] if tensor.ndim != 3 else tensor[:, None]
    if tensor.numel() > _MOST:
        tensor = tensor[:1]
    numbers = tensor.double()
    # What is finite stays so in float32.
    numbers = torch.where(numbers.isinf(), numbers, numbers.clamp(-3e38, 3e38))
    return numbers.float().cpu().numpy()


def _given_to_sdpa(given: Arguments) -> tuple[NDArray[np.float32] | None, str]:
    mask = given.tensors.get("attn_mask")
    query, key = given.shapes.get("query"), given.shapes.get("key")
    if mask is not None:
        if mask.dtype == torch.bool:
            mask, kind = torch.zeros(mask.shape).masked_fill(~mask.cpu(), -torch.inf), "bool"
        else:
            kind = "float"
        return _scores(mask), kind
    if query is None or key is None:
        return None, ""
    scores = np.zeros((1, 1, query[-2], key[-2]), dtype=np.float32)
    if not given.values.get("is_causal"):
        return scores, "none"
    scores[..., ~np.tri(query[-2], key[-2], dtype=bool)] = -np.inf
    return scores, "causal"


def _given_to_mha(given: Arguments) -> tuple[NDArray[np.float32] | None, str]:
    """Return what ``nn.MultiheadAttention`` adds: its bools mean True = may not be seen."""
    query, key = given.shapes["query"], given.shapes["key"]
    mask, padding = given.tensors.get("attn_mask"), given.tensors.get("key_padding_mask")
    scores = torch.zeros(1, 1, query[0], key[0], dtype=torch.float64)
    for each in (mask, padding):
        if each is None:
            continue
        added = torch.zeros(each.shape, dtype=torch.float64)
        each = each.detach().cpu()
        added = added.masked_fill(each, -torch.inf) if each.dtype == torch.bool else each.double()
        if each is padding or added.shape[-2:] != scores.shape[-2:]:
            added = added[:, None, None, :] if added.ndim == 2 else added
        elif added.ndim == 3:
            heads = int(given.values.get("num_heads", 1))
            added = added.reshape(-1, heads, *added.shape[1:])
        scores = scores + added
    if mask is None:
        return _scores(scores), "none" if padding is None else "bool"
    return _scores(scores), "bool" if mask.dtype == torch.bool else "float"
