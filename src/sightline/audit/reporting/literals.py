"""Small arrays and names as Python source, for scripts that show a finding (repro.py)."""

from __future__ import annotations

import keyword
import re
from itertools import groupby
from typing import Any

import numpy as np
from numpy.typing import NDArray

# The most numbers that are written out one by one.
_MOST = 256


def name_for(text: str) -> str:
    """Return a variable's name for an input's.

    >>> name_for("past.key"), name_for("lambda")
    ('past_key', 'lambda_')
    """
    name = re.sub(r"\W", "_", text)
    name = name if name[:1].isalpha() or name[:1] == "_" else f"x{name}"
    return f"{name}_" if keyword.iskeyword(name) or name in ("model", "run", "torch") else name


def literal(value: Any) -> str | None:
    """Return a value as source; arrays become tensors; None if that would be long.

    >>> literal(np.array([[1, 1, 1, 1, 1, 0, 0, 0]]))
    'torch.tensor([[1] * 5 + [0] * 3])'
    >>> literal(np.tri(4, dtype=bool)[None])
    'torch.ones(4, 4, dtype=torch.bool).tril()[None]'
    >>> literal(np.random.default_rng(0).standard_normal((2, 300))) is None
    True
    """
    if value is None or isinstance(value, (bool, int, float, str)):
        return repr(value)
    if not isinstance(value, np.ndarray):
        return None
    if value.ndim == 2 and value.shape[0] == 1 and value.dtype.kind in "iub":
        row = _row(value[0])
        return None if row is None else f"torch.tensor([{row}])"
    triangle = _triangle(value)
    if triangle is None and value.size <= _MOST and value.dtype.kind in "iub":
        return f"torch.tensor({value.tolist()})"
    return triangle


def _row(values: NDArray[Any]) -> str | None:
    runs = [(each, len(list(run))) for each, run in groupby(values.tolist())]
    if len(runs) <= 6 and len(values) > 2 * len(runs):
        return " + ".join(f"[{each}] * {count}" for each, count in runs)
    return repr(values.tolist()) if len(values) <= _MOST else None


def _triangle(value: NDArray[Any]) -> str | None:
    """Return a causal mask as source, with leading axes of size 1; None for others."""
    rows, columns = value.shape[-2:] if value.ndim >= 2 else (0, 0)
    if not rows or value.size != rows * columns:
        return None
    cells, axes = value.reshape(rows, columns), "None, " * (value.ndim - 2)
    at = f"[{axes[:-2]}]" if axes else ""
    lower = np.tri(rows, columns, dtype=bool)
    if cells.dtype == np.bool_:
        found = [n for n, c in {"tril()": lower, "triu(1)": ~lower}.items() if (cells == c).all()]
        return f"torch.ones({rows}, {columns}, dtype=torch.bool).{found[0]}{at}" if found else None
    hidden = np.unique(cells[~lower])
    if len(hidden) != 1 or cells[lower].any():
        return None
    return f"torch.full(({rows}, {columns}), {_number(float(hidden[0]))}).triu(1){at}"


def _number(value: float) -> str:
    return f'float("{value}")' if not np.isfinite(value) else repr(value)
