"""Masks by length and masks read off inputs, as the attention layers of 2017 to 2018 had them.

``mask_inputs`` is their helper ``Mask(inputs, seq_len, mode)``; ``key_mask_from_inputs`` and
``query_mask_from_inputs`` give sightline masks, which ``attend`` takes. What was wrong there is
put right here and named in each docstring.
"""

from __future__ import annotations

from typing import Any, Literal

import torch

from sightline.engines.shared import refuse_shared
from sightline.errors import InvalidArgument, ShapeMismatch
from sightline.masks.mask import Mask
from sightline.masks.padding import padding

__all__ = ["key_mask_from_inputs", "mask_inputs", "query_mask_from_inputs"]


def mask_inputs(
    inputs: torch.Tensor, seq_len: Any = None, mode: Literal["mul", "add"] = "mul"
) -> torch.Tensor:
    """Return inputs [batch, length, ...] with everything from ``seq_len`` on masked.

    With "mul" it becomes 0: for outputs at padded queries, and in front of and behind linear maps.
    With "add" it becomes the dtype's least finite number: for scores, keys on axis 1, before a
    softmax. A row that is masked as a whole then softmaxes to equal weights, not to 0, as finite
    numbers must; "mul" with the queries' lengths puts 0 there. ``sl.attend`` needs neither.

    Differs from the source on purpose: lengths are compared, not multiplied (a bool there times a
    float fails without a cast); masked numbers are replaced, so that NaN and Inf do not stay; and
    the number is the dtype's own, where the source subtracts 1e12, which float16 turns into -inf.

    Args:
        inputs: [batch, length, ...], of a floating dtype.
        seq_len: integers [batch], how many of each row are real; None masks nothing.
        mode: "mul" or "add".

    Raises:
        InvalidArgument: another mode, or inputs that are no floats.
        ShapeMismatch: not one length for each row, or lengths that the rows do not have.

    Source: bojone/attention, attention_tf.py, function ``Mask`` (2018).

    >>> import torch
    >>> mask_inputs(torch.ones(2, 3), torch.tensor([2, 0]))
    tensor([[1., 1., 0.],
            [0., 0., 0.]])
    """
    refuse_shared("sl.nn.mask_inputs")
    if mode not in ("mul", "add"):
        raise InvalidArgument(f"got mode={mode!r}; wanted 'mul' or 'add'.")
    if not isinstance(inputs, torch.Tensor) or not inputs.is_floating_point():
        got = inputs.dtype if isinstance(inputs, torch.Tensor) else type(inputs).__name__
        raise InvalidArgument(f"got inputs of type {got}; wanted a floating tensor.")
    if seq_len is None:
        return inputs
    real = torch.arange(inputs.shape[1], device=inputs.device) < _lengths(seq_len, inputs)[:, None]
    real = real.reshape(real.shape + (1,) * (inputs.ndim - 2))
    return torch.where(real, inputs, 0.0 if mode == "mul" else torch.finfo(inputs.dtype).min)


def key_mask_from_inputs(inputs: torch.Tensor) -> Mask:
    """Return the mask of the keys whose input is not all zeros.

    Read it off word vectors of which padding has zeros (``padding_idx`` of an embedding), *before*
    positions are added: afterwards nothing is all zeros any more and nothing is masked.

    Differs from the source on purpose: absolute values are summed, so that a vector whose numbers
    cancel is not taken for padding. NaN is not zero.

    Args:
        inputs: [batch, length, features].

    Returns:
        ``padding(valid=...)``, the same for all queries.

    Raises:
        ShapeMismatch: not three axes.

    Source: Kyubyong/transformer, tf1.2_legacy/modules.py, ``key_masks`` (2017); that masks come
    before positions: its issue 3.

    >>> import torch
    >>> vectors = torch.tensor([[[1.0, -1.0], [0.5, 0.0], [0.0, 0.0]]])
    >>> key_mask_from_inputs(vectors)
    padding(lengths=[2])
    """
    refuse_shared("sl.nn.key_mask_from_inputs")
    if not isinstance(inputs, torch.Tensor) or inputs.ndim != 3:
        got = list(inputs.shape) if isinstance(inputs, torch.Tensor) else type(inputs).__name__
        raise ShapeMismatch(f"got inputs {got}; wanted a tensor [batch, length, features].")
    return padding(valid=(inputs.detach() != 0).any(dim=2).cpu().numpy())


def query_mask_from_inputs(inputs: torch.Tensor) -> Mask:
    """Return the mask of the queries whose input is not all zeros; the others see nothing.

    In the source the weights of such a row are multiplied by 0 after the softmax; a row that may
    see nothing has weights 0 here, so that it is the same.

    Args:
        inputs: [batch, length, features], without positions; see ``key_mask_from_inputs``.

    Raises:
        ShapeMismatch: not three axes.

    Source: as for ``key_mask_from_inputs``, ``query_masks``.

    >>> import torch
    >>> query_mask_from_inputs(torch.tensor([[[1.0], [0.0]]])).dense(2)[0, 0].astype(int)
    array([[1, 1],
           [0, 0]])
    """
    refuse_shared("sl.nn.query_mask_from_inputs")
    return key_mask_from_inputs(inputs).T


def _lengths(seq_len: Any, inputs: torch.Tensor) -> torch.Tensor:
    lengths = torch.as_tensor(seq_len, device=inputs.device)
    if inputs.ndim < 2 or lengths.shape != inputs.shape[:1]:
        raise ShapeMismatch(
            f"got seq_len of shape {list(lengths.shape)} and inputs {list(inputs.shape)}; wanted "
            "one length for each row of inputs [batch, length, ...]."
        )
    if lengths.dtype == torch.bool or lengths.is_floating_point() or lengths.is_complex():
        raise InvalidArgument(f"got seq_len of dtype {lengths.dtype}; wanted integers.")
    if lengths.numel() and not 0 <= int(lengths.min()) <= int(lengths.max()) <= inputs.shape[1]:
        raise ShapeMismatch(
            f"got seq_len from {int(lengths.min())} to {int(lengths.max())}; wanted lengths from 0 "
            f"to {inputs.shape[1]}, the length of the inputs."
        )
    return lengths
