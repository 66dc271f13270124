"""How the inputs of an attention layer lie: one sequence or many, batch or length in front.

Nothing is copied: heads are views of what the linear maps put out, whatever the layout.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from sightline.errors import InvalidArgument, ShapeMismatch


@dataclass(frozen=True)
class Inputs:
    """Query, key and value with three axes each.

    Attributes:
        query: [batch, q_len, features] if ``batch_first``, else [q_len, batch, features].
        key: likewise, of ``kv_len``.
        value: likewise, of ``kv_len``.
        batch_first: the order of the axes.
        one_sequence: whether they came without a batch axis.
    """

    query: torch.Tensor
    key: torch.Tensor
    value: torch.Tensor
    batch_first: bool
    one_sequence: bool

    @classmethod
    def of(
        cls,
        query: torch.Tensor,
        key: torch.Tensor | None,
        value: torch.Tensor | None,
        features: tuple[int, int, int],
        batch_first: bool,
    ) -> Inputs:
        """Return the inputs of a call; a missing key is the query, a missing value the key.

        Raises:
            InvalidArgument: something that is no tensor.
            ShapeMismatch: axes or sizes that do not fit each other.
        """
        key = query if key is None else key
        value = key if value is None else value
        named: dict[str, torch.Tensor] = {"query": query, "key": key, "value": value}
        for (name, tensor), size in zip(named.items(), features, strict=True):
            _check(name, tensor, size)
        if len({tensor.ndim for tensor in named.values()}) > 1:
            raise ShapeMismatch(
                f"got {_shapes(named)}; wanted all with a batch axis, or all without."
            )
        if query.ndim == 2:
            query, key, value = _with_batch(query, key, value)
            return cls(query, key, value, True, True)
        made = cls(query, key, value, batch_first, False)
        axis = 0 if batch_first else 1
        if key.shape[:2] != value.shape[:2] or query.shape[axis] != key.shape[axis]:
            order = "batch, length" if batch_first else "length, batch"
            raise ShapeMismatch(
                f"got {_shapes(named)}; wanted one batch size, and as many values as keys, as "
                f"[{order}, features]; batch_first={batch_first} says in which order."
            )
        return made

    @property
    def tensors(self) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Query, key and value."""
        return self.query, self.key, self.value

    @property
    def batch(self) -> int:
        """The number of batch rows."""
        return self.query.shape[0 if self.batch_first else 1]

    @property
    def q_len(self) -> int:
        """The number of queries."""
        return self.query.shape[1 if self.batch_first else 0]

    @property
    def kv_len(self) -> int:
        """The number of keys."""
        return self.key.shape[1 if self.batch_first else 0]

    def split_heads(self, rows: torch.Tensor, heads: int, length: int) -> torch.Tensor:
        """Return rows [batch and length, heads * dim] as a view [batch, heads, length, dim]."""
        if self.batch_first:
            return rows.view(self.batch, length, heads, -1).transpose(1, 2)
        return rows.view(length, self.batch, heads, -1).permute(1, 2, 0, 3)

    def laid_out(self, output: torch.Tensor) -> torch.Tensor:
        """Return an output [batch, q_len, features] in the layout of the query."""
        if self.one_sequence:
            return output[0]
        return output if self.batch_first else output.transpose(0, 1)

    def without_batch(self, weights: torch.Tensor | None) -> torch.Tensor | None:
        """Return weights [batch, ...] without the batch axis, if the query came without one."""
        return weights[0] if self.one_sequence and weights is not None else weights


def _with_batch(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return the three with a batch axis; what was one tensor stays one."""
    wide = query[None]
    wide_key = wide if key is query else key[None]
    return wide, wide_key, wide_key if value is key else value[None]


def _check(name: str, tensor: object, features: int) -> None:
    if not isinstance(tensor, torch.Tensor):
        raise InvalidArgument(
            f"got {name} of type {type(tensor).__name__}; wanted a torch.Tensor; convert an array "
            "with torch.from_numpy."
        )
    if tensor.ndim not in (2, 3) or tensor.shape[-1] != features:
        raise ShapeMismatch(
            f"got {name} of shape {list(tensor.shape)}; wanted two axes [length, features] or "
            f"three with the batch, and {features} features; check embed_dim, kdim and vdim."
        )


def _shapes(named: dict[str, torch.Tensor]) -> str:
    return ", ".join(f"{name} {list(tensor.shape)}" for name, tensor in named.items())
