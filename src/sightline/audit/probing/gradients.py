"""The Jacobian of a torch module, a part at a time: which inputs the outputs of a set depend on.

A gradient is exact where it is zero, as a change is; it sees dependencies that a change of the
values given does not show (a maximum that stays the same one), and misses what has no gradient
(a choice, a rounding). Tokens have none: theirs is that of their embeddings.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sightline.audit.probing.feed import Feed
from sightline.audit.probing.subject import Condition, named_members
from sightline.audit.probing.torch_subject import TorchSubject
from sightline.errors import InvalidArgument


def gradients(
    subject: TorchSubject,
    feed: Feed,
    condition: Condition,
    weights: Mapping[str, NDArray[Any]],
    names: tuple[str, ...],
    seed: int = 0,
) -> dict[str, NDArray[Any]]:
    """Return the gradient of a weighted sum of outputs with respect to inputs: one forward pass.

    Args:
        subject: the module.
        feed: the inputs.
        condition: how it is run.
        weights: the weights of each output, of its shape.
        names: the inputs.
        seed: as that of ``run``.

    Returns:
        The size of the gradient for each input: ``[batch, length, features]``, where the features
        of tokens are those of their embeddings.

    Raises:
        InvalidArgument: no gradient flows from the outputs to one of the inputs.
    """
    import torch

    values = {n: subject.tensor(each.values, each.kind) for n, each in feed.inputs.items()}
    leaves: dict[str, list[Any]] = {name: [] for name in names}
    for name in names:
        if feed.inputs[name].kind == "features":
            values[name] = values[name].requires_grad_()
            leaves[name].append(values[name])
    tokens = {n: values[n] for n in names if feed.inputs[n].kind == "tokens"}
    handles = [
        module.register_forward_hook(lambda m, g, out: _leaf(torch, tokens, leaves, g, out))
        for module in subject.model.modules()
        if tokens and not any(True for _ in module.children())
    ]
    try:
        with torch.enable_grad():
            result = subject.call(values, feed, condition, seed)
    finally:
        for handle in handles:
            handle.remove()
    total = _weighted(torch, subject, result, weights)
    flat = [leaf for each in leaves.values() for leaf in each]
    if not flat or not total.requires_grad:
        raise InvalidArgument(
            f"no gradient flows from the outputs of {subject.name} to {', '.join(names)}; audit it "
            'by changes: method="changes".'
        )
    found = torch.autograd.grad(total, flat, allow_unused=True)
    by_leaf = dict(zip(map(id, flat), found, strict=True))
    return {n: _size(subject, leaves[n], by_leaf, feed.inputs[n].values.shape) for n in names}


def _leaf(torch: Any, tokens: Any, leaves: Any, given: Any, out: Any) -> Any:
    """Cut the graph behind what is looked up for tokens, so that its gradient can be asked for."""
    if not given or not isinstance(out, torch.Tensor) or not out.is_floating_point():
        return None
    first = given[0]
    for name, wanted in tokens.items():
        if (
            isinstance(first, torch.Tensor)
            and first.shape == wanted.shape
            and out.shape[: wanted.ndim] == wanted.shape
            and first.dtype == wanted.dtype
            and torch.equal(first, wanted)
        ):
            leaf = out.detach().requires_grad_()
            leaves[name].append(leaf)
            return leaf
    return None


def _weighted(torch: Any, subject: TorchSubject, result: Any, weights: Mapping[str, Any]) -> Any:
    def read(value: Any) -> Any:
        return value if isinstance(value, torch.Tensor) else None

    outputs = named_members(result, read)
    total = torch.zeros((), dtype=torch.float64)
    for name, weight in weights.items():
        each = outputs[name]
        if subject.time_first:
            each = each.transpose(0, 1)
        factor = torch.from_numpy(weight).to(each.device, each.dtype)
        # Not a product: what is not asked for may be NaN or infinite.
        total = total + torch.where(factor != 0, each * factor, torch.zeros_like(each)).sum()
    return total


def _size(subject: TorchSubject, leaves: list[Any], found: dict[int, Any], shape: Any) -> Any:
    """Return the absolute gradient of an input, its embeddings one beside the other."""
    parts: list[NDArray[Any]] = []
    for leaf in leaves:
        gradient = found[id(leaf)]
        size = np.zeros(leaf.shape) if gradient is None else gradient.abs().cpu().double().numpy()
        size = size.swapaxes(0, 1) if subject.time_first else size
        parts.append(size.reshape(*shape[:2], -1))
    return np.concatenate(parts, axis=-1)
