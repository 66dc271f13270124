"""Tensors packed for kernels that know tokens and not batch rows, and the way back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sightline.errors import ShapeMismatch


@dataclass(frozen=True, eq=False, repr=False)
class Packed:
    """The keywords of a call on packed tokens, and which tokens those are.

    ``call(packed.pack_queries(query), packed.pack_keys(key), packed.pack_keys(value),
    **packed.keywords)`` gives what ``unpack`` turns into ``[batch, heads, q_len, value_dim]``. A
    query that may see nothing is not among the tokens: its output is 0, its gradients too.

    Attributes:
        keywords: all that the call needs besides query, key and value.
        query_index: int64 ``[queries]``, for each packed query its place among the
            ``batch * q_len`` queries, batch row after batch row.
        key_index: int64 ``[keys]``, the same for the packed keys.
        batch: the number of batch rows of the tensors.
        q_len: the number of queries.
        kv_len: the number of keys.
        leading: into how many rows the packed tokens are cut (equally long), or None for tensors
            without such an axis: ``[leading, tokens / leading, heads, dim]`` or ``[tokens, heads,
            dim]``.
    """

    keywords: dict[str, Any]
    query_index: Any
    key_index: Any
    batch: int
    q_len: int
    kv_len: int
    leading: int | None = None

    def pack_queries(self, query: Any) -> Any:
        """Return the packed tokens of ``query``, a tensor ``[batch, heads, q_len, dim]``.

        Raises:
            ShapeMismatch: the tensor has another shape.
        """
        return self._pack("query", query, self.q_len, self.query_index)

    def pack_keys(self, key: Any) -> Any:
        """Return the packed tokens of ``key`` (or value), ``[batch, heads, kv_len, dim]``.

        Raises:
            ShapeMismatch: the tensor has another shape.
        """
        return self._pack("key", key, self.kv_len, self.key_index)

    def unpack(self, output: Any) -> Any:
        """Return the packed output as ``[batch, heads, q_len, dim]``, 0 for the queries left out.

        Raises:
            ShapeMismatch: the output does not have as many tokens as there are packed queries.
        """
        flat = output if self.leading is None else output.flatten(0, 1)
        if flat.dim() != 3 or len(flat) != len(self.query_index):
            raise ShapeMismatch(
                f"got an output of shape {list(output.shape)}; wanted that of the call, with "
                f"{len(self.query_index)} packed queries, heads and value_dim."
            )
        rows = flat.new_zeros((self.batch * self.q_len, *flat.shape[1:]))
        rows = rows.index_copy(0, self.query_index.to(flat.device), flat)
        return rows.reshape(self.batch, self.q_len, *flat.shape[1:]).transpose(1, 2)

    def _pack(self, name: str, tensor: Any, length: int, index: Any) -> Any:
        if tensor.dim() != 4 or (tensor.shape[0], tensor.shape[2]) != (self.batch, length):
            raise ShapeMismatch(
                f"got a {name} of shape {list(tensor.shape)}; wanted [{self.batch}, heads, "
                f"{length}, dim]; pass batch= to sl.lower if the tensors have more batch rows "
                "than the mask."
            )
        rows = tensor.transpose(1, 2).flatten(0, 1).index_select(0, index.to(tensor.device))
        if self.leading is None:
            return rows
        return rows.reshape(self.leading, -1, *rows.shape[1:])

    def __repr__(self) -> str:
        return (
            f"{type(self).__name__}({len(self.query_index)} queries, {len(self.key_index)} keys; "
            f"keywords {', '.join(self.keywords)})"
        )
