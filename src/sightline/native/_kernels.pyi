"""What the compiled module offers. Addresses are plain integers; the caller keeps the memory alive.

A dtype is a number: 0 float32, 1 float64, 2 bfloat16, 3 float16. "Accurate" below is float32, and
float64 for dtype 1.
"""

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

BLOCK_Q: int
BLOCK_KV: int

# batch, query heads, kv heads, q_len, kv_len, head size of query and key, head size of value
_Sizes: TypeAlias = tuple[int, int, int, int, int, int, int]
# address; strides of batch, head and sequence in elements. The last axis has stride 1.
_Tensor: TypeAlias = tuple[int, int, int, int]
# address, dtype; strides of batch, head, query and key in elements, 0 where it broadcasts
_Bias: TypeAlias = tuple[int, int, int, int, int, int]

def isas() -> list[str]:
    """Return the instruction sets compiled in that this machine can run, the best first."""

def isa() -> str:
    """Return the instruction set in use: the best, or SIGHTLINE_ISA of the environment."""

def use_isa(name: str) -> None:
    """Use the kernels of another instruction set, one of isas()."""

class Plan:
    """Which tiles of BLOCK_Q x BLOCK_KV to visit, from the arrays of a BlockMap, copied.

    Raises ValueError where the arrays do not fit each other.
    """

    def __init__(
        self,
        q_len: int,
        kv_len: int,
        batch: int,
        heads: int,
        row_start: NDArray[np.int64],
        first_block: NDArray[np.int32],
        last_block: NDArray[np.int32],
        pattern: NDArray[np.int32],
        patterns: NDArray[np.uint64],
    ) -> None: ...
    @property
    def nbytes(self) -> int: ...

def forward(
    plan: Plan,
    dtype: int,
    sizes: _Sizes,
    query: _Tensor,
    key: _Tensor,
    value: _Tensor,
    bias: _Bias | None,
    out: _Tensor,
    stats: int,
    lse: int,
    scale: float,
    dropout: float,
    seed: int,
    threads: int,
) -> None:
    """Write the attention output to ``out``.

    ``stats`` is the address of [batch, heads, q_len, 2], contiguous and accurate, which backward
    needs, and ``lse`` that of [batch, heads, q_len]; 0 where they are not wanted. What is dropped
    depends on the seed, the batch entry, the head, the query and the key only.
    """

def backward(
    plan: Plan,
    dtype: int,
    sizes: _Sizes,
    query: _Tensor,
    key: _Tensor,
    value: _Tensor,
    bias: _Bias | None,
    out: _Tensor,
    stats: int,
    grad_out: _Tensor,
    grad_lse: int,
    grad_query: _Tensor | None,
    grad_key: _Tensor | None,
    grad_value: _Tensor | None,
    grad_bias: _Bias | None,
    scale: float,
    dropout: float,
    seed: int,
    threads: int,
) -> None:
    """Write the gradients that are wanted, every element of them; None where one is not.

    ``grad_lse`` is the address of [batch, heads, q_len], contiguous and accurate, or 0 for zeros.
    ``grad_bias`` is accurate, contiguous in the bias's own shape with strides 0 where the bias
    broadcasts, and zeros before the call.
    """
