"""Which positions of a batch are real: the argument ``valid`` (and ``documents``), read once.

``valid`` is a bool tensor [B, L], True for a real token, or a mask that asks the key alone, such
as ``sl.padding(lengths=[5, 3], side="left")``. What is done with it is left to the other files.
"""

from __future__ import annotations

from typing import Any

import torch

from sightline.engines.kept import BUDGET_BYTES, Store
from sightline.engines.shared import refuse_shared
from sightline.errors import InvalidArgument, InvalidMask, ShapeMismatch
from sightline.masks.data import Segments
from sightline.masks.mask import Mask
from sightline.masks.padding import padding
from sightline.plan.compare import equivalent

_KEPT: Store[torch.Tensor] = Store(BUDGET_BYTES)


def read_valid(valid: Any, batch: int, length: int, device: torch.device) -> torch.Tensor:
    """Return which positions are real as a bool tensor [batch, length] on ``device``.

    Args:
        valid: bools (or integers that are 0 or 1) [batch, length], True for a real token; or a
            mask that says the same for all queries, ``sl.padding(lengths=[5, 3])``.
        batch: how many batch rows the tensor has.
        length: how many positions each of them has.
        device: where the tensor lives.

    Raises:
        ShapeMismatch: another shape, or a mask for another number of batch rows.
        InvalidArgument: None, or numbers other than 0 and 1.
        InvalidMask: a mask that asks more than the key.

    >>> import sightline as sl
    >>> read_valid(sl.padding(lengths=[3, 1]), 2, 4, torch.device("cpu"))
    tensor([[ True,  True,  True, False],
            [ True, False, False, False]])
    """
    if isinstance(valid, Mask):
        refuse_shared(
            "valid= as a mask",
            reason="it speaks of the whole sequence, and this rank holds a share",
            alternative="valid= as bools, cut by sl.distributed.shard_batch",
        )
        name = (valid, length, str(device))
        found = _KEPT.get(name, lambda: _from_mask(valid, length).to(device))
        if len(found) not in (1, batch):
            raise ShapeMismatch(
                f"got valid={valid!r} for {len(found)} batch rows and a tensor with {batch}; "
                "wanted equal numbers; check the lengths that the mask was made from."
            )
        return found.expand(batch, length)
    given = _from_array(valid, batch, length)
    return given.to(device)


def read_documents(documents: Any, batch: int, length: int, device: torch.device) -> torch.Tensor:
    """Return the document of each position, int64 [1 or batch, length]; negative is none.

    Args:
        documents: ``sl.documents(...)`` or ``sl.spans(...)``, or integers [length] or
            [batch, length]: equal numbers are the same document.
        batch: how many batch rows the tensor has.
        length: how many positions each of them has.
        device: where the tensor lives.

    Raises:
        ShapeMismatch: ids of another shape, or a mask for another number of batch rows.
        InvalidArgument: ids that are not integers.
        InvalidMask: a mask that is not one of documents.

    >>> import sightline as sl
    >>> read_documents(sl.documents(lengths=[2, 1]), 3, 4, torch.device("cpu"))
    tensor([[ 0,  0,  1, -1]])
    """
    if isinstance(documents, Mask):
        name = ("documents", documents, length, str(device))
        ids = _KEPT.get(name, lambda: _ids_from_mask(documents, length).to(device))
    else:
        ids = _ids_from_array(documents, length).to(device)
    if len(ids) not in (1, batch):
        raise ShapeMismatch(
            f"got documents for {len(ids)} batch rows and a tensor with {batch}; wanted equal "
            "numbers, or one row that serves all."
        )
    return ids


def clear(x: torch.Tensor, valid: torch.Tensor) -> torch.Tensor:
    """Return ``x`` [B, L, ...] with 0 wherever ``valid`` [B, L] is False, NaN and Inf included.

    The gradient is 0 there too, whatever comes from above.

    >>> clear(torch.tensor([[1.0, torch.nan]]), torch.tensor([[True, False]]))
    tensor([[1., 0.]])
    """
    return torch.where(beside(valid, x), x, x.new_zeros(()))


def beside(one: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    """Return ``one`` [B, L] with axes of size 1 added, so that it broadcasts over ``x``."""
    return one.reshape(*one.shape, *[1] * (x.ndim - one.ndim))


def check_features(x: Any, name: str = "x", least: int = 2) -> torch.Tensor:
    """Return ``x`` if it is a floating tensor with at least ``least`` axes [B, L, ...].

    Raises:
        InvalidArgument: not a floating tensor.
        ShapeMismatch: fewer axes.
    """
    if not isinstance(x, torch.Tensor) or not x.is_floating_point():
        got = str(x.dtype) if isinstance(x, torch.Tensor) else type(x).__name__
        raise InvalidArgument(
            f"got {name} of type {got}; wanted a floating torch.Tensor; convert with .float()."
        )
    if x.ndim < least:
        axes = "[batch, length, ...]" if least == 2 else "[batch, length, features]"
        raise ShapeMismatch(
            f"got {name} of shape {list(x.shape)}; wanted at least {least} axes, {axes}; add an "
            "axis with unsqueeze."
        )
    return x


def _from_mask(mask: Mask, length: int) -> torch.Tensor:
    row = mask.dense(1, length)[:, 0, 0]
    # Most masks here are padding, which need not be compared at all queries and heads.
    if mask.asks_key_alone or not length or equivalent(mask, padding(valid=row), q_len=length):
        return torch.from_numpy(row.copy())
    raise InvalidMask(
        f"got valid={mask!r}; wanted a mask that is the same for all queries and heads, since it "
        "says which positions are real; pass its padding alone, as sl.padding(lengths=[5, 3])."
    )


def _from_array(valid: Any, batch: int, length: int) -> torch.Tensor:
    if valid is None:
        raise InvalidArgument(
            "got valid=None; wanted bools [batch, length] or a padding mask; pass "
            "sl.everything() where all positions are real."
        )
    try:
        given = torch.as_tensor(valid)
    except (ValueError, TypeError, RuntimeError) as error:
        raise InvalidArgument(
            f"got valid of type {type(valid).__name__}, which is no tensor ({error}); wanted "
            "bools [batch, length], or a mask such as sl.padding(lengths=[5, 3])."
        ) from None
    if given.shape != (batch, length):
        raise ShapeMismatch(
            f"got valid of shape {list(given.shape)}; wanted [batch, length] = "
            f"[{batch}, {length}]; lengths go in as sl.padding(lengths=[5, 3])."
        )
    if given.dtype == torch.bool:
        return given
    if not bool(((given == 0) | (given == 1)).all()):
        raise InvalidArgument(
            f"got valid of dtype {given.dtype} with numbers other than 0 and 1; wanted True for a "
            "real token; an additive mask is read with sl.recognize."
        )
    return given == 1


def _ids_from_mask(mask: Mask, length: int) -> torch.Tensor:
    if not isinstance(mask, Segments):
        raise InvalidMask(
            f"got documents={mask!r}; wanted sl.documents(...) or sl.spans(...) alone: a "
            "convolution asks only which positions belong together."
        )
    table = torch.from_numpy(mask.id_of_position()).long()[:, :length]
    return torch.nn.functional.pad(table, (0, length - table.shape[1]), value=-1)


def _ids_from_array(documents: Any, length: int) -> torch.Tensor:
    try:
        ids = torch.as_tensor(documents)
    except (ValueError, TypeError, RuntimeError) as error:
        raise InvalidArgument(
            f"got documents of type {type(documents).__name__}, which is no tensor ({error}); "
            "wanted the document of each position, or sl.documents(lengths=[3, 2])."
        ) from None
    if ids.is_floating_point() or ids.is_complex() or ids.dtype == torch.bool:
        raise InvalidArgument(
            f"got documents of dtype {ids.dtype}; wanted integers, equal for one document; "
            "lengths go in as sl.documents(lengths=[3, 2])."
        )
    if ids.ndim not in (1, 2) or ids.shape[-1] != length:
        raise ShapeMismatch(
            f"got documents of shape {list(ids.shape)}; wanted the document of each position, "
            f"[{length}] or [batch, {length}]; lengths go in as sl.documents(lengths=[3, 2])."
        )
    return ids.long() if ids.ndim == 2 else ids.long()[None]
