"""Paddle's memory layout of a key/value cache, packed and unpacked without touching a bit.

Its decode kernel reads keys in groups of 16 bytes, so that ``[batch, heads, max_len, head_dim]``
is only what the cache means. The step itself is mmha.py.
"""

from __future__ import annotations

import torch

from sightline.errors import InvalidArgument, ShapeMismatch

GROUP_BYTES = 16


def group_size(dtype: torch.dtype) -> int:
    """Return how many numbers of a dtype make a group of 16 bytes: 4 of float32, 8 of float16.

    >>> group_size(torch.bfloat16)
    8
    """
    return GROUP_BYTES // dtype.itemsize


def pack_keys(keys: torch.Tensor) -> torch.Tensor:
    """Return keys [batch, heads, max_len, head_dim] as [batch, heads, head_dim / x, max_len, x].

    x is ``group_size`` of the dtype. A copy, contiguous; the numbers move, their bits do not
    change.

    Raises:
        ShapeMismatch: not four axes, or a head_dim that x does not divide.

    Source: PaddlePaddle, ``masked_multihead_attention`` (the kernel's comment on ``cache_kv``).

    >>> packed = pack_keys(torch.arange(16.0).view(1, 1, 2, 8))
    >>> packed.shape, packed[0, 0, 1, 0].tolist()
    (torch.Size([1, 1, 2, 2, 4]), [4.0, 5.0, 6.0, 7.0])
    """
    size = group_size(keys.dtype)
    if keys.ndim != 4 or keys.shape[3] % size:
        raise ShapeMismatch(
            f"got keys of shape {list(keys.shape)} and {keys.dtype}; wanted [batch, heads, max_len,"
            f" head_dim] with a head_dim that {size} divides ({GROUP_BYTES} bytes); pad the "
            "heads with zeros."
        )
    return keys.unflatten(3, (-1, size)).transpose(2, 3).contiguous()


def unpack_keys(packed: torch.Tensor) -> torch.Tensor:
    """Return keys packed by ``pack_keys`` as [batch, heads, max_len, head_dim]; a copy.

    Raises:
        ShapeMismatch: not five axes, or groups of another size than the dtype's.
    """
    size = group_size(packed.dtype)
    if packed.ndim != 5 or packed.shape[4] != size:
        raise ShapeMismatch(
            f"got packed keys of shape {list(packed.shape)} and {packed.dtype}; wanted [batch, "
            f"heads, head_dim / {size}, max_len, {size}]; values are not packed."
        )
    return packed.transpose(2, 3).flatten(3).contiguous()


def pack_cache(cache_kv: torch.Tensor) -> torch.Tensor:
    """Return a cache [2, batch, heads, max_len, head_dim] as Paddle's kernel keeps it in memory.

    Of the same shape and dtype: its first half holds the numbers of ``pack_keys``, one after
    another, its second half the values as they are.

    Raises:
        ShapeMismatch: not that shape.

    >>> cache = torch.randn(2, 3, 1, 5, 8)
    >>> torch.equal(unpack_cache(pack_cache(cache)), cache)
    True
    """
    _check_cache(cache_kv)
    packed = torch.empty_like(cache_kv, memory_format=torch.contiguous_format)
    packed[0] = pack_keys(cache_kv[0]).view(cache_kv.shape[1:])
    packed[1] = cache_kv[1]
    return packed


def unpack_cache(packed: torch.Tensor) -> torch.Tensor:
    """Return a cache as Paddle's kernel keeps it as [2, batch, heads, max_len, head_dim]; a copy.

    Raises:
        ShapeMismatch: not that shape, or a head_dim that groups of 16 bytes do not divide.
    """
    _check_cache(packed)
    _, batch, heads, max_len, head_dim = packed.shape
    size = group_size(packed.dtype)
    if head_dim % size:
        raise ShapeMismatch(
            f"got a cache with head_dim {head_dim} and {packed.dtype}; wanted one that {size} "
            f"divides ({GROUP_BYTES} bytes)."
        )
    cache = torch.empty_like(packed, memory_format=torch.contiguous_format)
    groups = batch, heads, head_dim // size, max_len, size
    cache[0] = unpack_keys(packed[0].contiguous().view(groups))
    cache[1] = packed[1]
    return cache


def _check_cache(cache: torch.Tensor) -> None:
    if not cache.dtype.is_floating_point:
        raise InvalidArgument(
            f"got a cache of dtype {cache.dtype}; wanted floats; scale quantised ones back first."
        )
    if cache.ndim != 5 or cache.shape[0] != 2:
        raise ShapeMismatch(
            f"got a cache of shape {list(cache.shape)}; wanted [2, batch, heads, max_len, "
            "head_dim]: keys, then values."
        )
