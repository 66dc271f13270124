"""Real attention through what a destination made: the library's own call, on numpy arrays.

Each takes what ``lower`` made and query, key, value ``[batch, heads, length, dim]``.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from sightline.testing.backend import Floats


def sdpa(keywords: dict[str, Any], *arrays: Floats) -> Floats:
    """torch.nn.functional.scaled_dot_product_attention."""
    import torch

    query, key, value = map(torch.tensor, arrays)
    attention = torch.nn.functional.scaled_dot_product_attention
    return attention(query, key, value, **keywords).numpy()


def mha(keywords: dict[str, Any], *arrays: Floats) -> Floats:
    """torch.nn.MultiheadAttention whose projections change nothing."""
    import torch

    heads, dim = arrays[0].shape[1], arrays[0].shape[-1]
    width = heads * dim
    layer = torch.nn.MultiheadAttention(width, heads, bias=False, batch_first=True)
    with torch.no_grad():
        layer.in_proj_weight.copy_(torch.eye(width).repeat(3, 1))
        layer.out_proj.weight.copy_(torch.eye(width))
    given = (torch.tensor(array.swapaxes(1, 2)).flatten(2) for array in arrays)
    output = layer(*given, **keywords)[0].detach().numpy()
    return output.reshape(*output.shape[:2], heads, dim).swapaxes(1, 2)


def flex(keywords: dict[str, Any], *arrays: Floats) -> Floats:
    """Torch's flex_attention, uncompiled (compiled, the unit tests run it)."""
    import warnings

    import torch
    from torch.nn.attention.flex_attention import flex_attention

    query, key, value = map(torch.tensor, arrays)
    run: Any = flex_attention
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it would rather be compiled
        return run(query, key, value, **keywords).numpy()


def transformers_eager(keywords: dict[str, Any], *arrays: Floats) -> Floats:
    """The eager attention of transformers' models."""
    import torch
    from transformers.models.llama.modeling_llama import LlamaAttention, eager_attention_forward

    layer: Any = LlamaAttention.__new__(LlamaAttention)
    torch.nn.Module.__init__(layer)
    layer.num_key_value_groups = 1
    query, key, value = map(torch.tensor, arrays)
    scale = query.shape[-1] ** -0.5
    mask = keywords["attention_mask"]
    output, _ = eager_attention_forward(layer, query, key, value, mask, scaling=scale)
    return np.asarray(output).swapaxes(1, 2)
