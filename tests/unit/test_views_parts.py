"""A translation taken apart, and what goes into a file."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from sightline.errors import InvalidArgument
from sightline.views.parts import encoded, parts_of


@dataclass
class Packed:
    offsets: Any
    causal: bool
    inner: Any
    _hidden: int = 3


def test_every_kind_of_part() -> None:
    made = {
        "mask": np.ones((2, 1), bool),
        "flag": None,
        "window": (3, (0, -1)),
        "packed": Packed(np.arange(3), True, object()),
        "nested": {"fn": len},
    }
    assert [(part.name, part.dtype, part.plain) for part in parts_of(made)] == [
        ("mask", "bool", True),
        ("flag", "NoneType", True),
        ("window", "tuple", True),
        ("packed.offsets", "int64", True),
        ("packed.causal", "bool", True),
        ("packed.inner", "object", False),
        ("nested.fn", "function", False),
    ]
    (bare,) = parts_of(np.zeros(3))
    assert bare.name == ""


def test_types_that_numpy_lacks() -> None:
    torch = pytest.importorskip("torch")
    (part,) = parts_of({"a": torch.full((2,), -torch.inf, dtype=torch.bfloat16)})
    assert (part.dtype, part.array is not None and part.array.dtype) == ("bfloat16", np.float32)


def test_npy_holds_one_array_exactly() -> None:
    array = np.arange(6).reshape(2, 3).T
    content = encoded(parts_of({"a": array, "flag": True}), ".npy")
    np.testing.assert_array_equal(np.load(io.BytesIO(content)), array)
    with pytest.raises(InvalidArgument, match=r"these are 2 \(a, b\)"):
        encoded(parts_of({"a": array, "b": array}), ".npy")


def test_safetensors_holds_arrays_that_lie_over_each_other() -> None:
    load = pytest.importorskip("safetensors.numpy").load
    rows = np.lib.stride_tricks.as_strided(np.arange(4), (3, 2), (8, 8))
    content = encoded(
        parts_of({"rows": rows, "turned": np.arange(6).reshape(2, 3).T}), ".safetensors"
    )
    held = load(content)
    assert held["rows"].tolist() == [[0, 1], [1, 2], [2, 3]]
    assert held["turned"].tolist() == [[0, 3], [1, 4], [2, 5]]


def test_what_no_file_can_hold_is_refused() -> None:
    with pytest.raises(InvalidArgument, match="f is no data"):
        encoded(parts_of({"a": np.ones(2), "f": len}), ".safetensors")
    with pytest.raises(InvalidArgument, match=r"without an array \(is_causal=True\)"):
        encoded(parts_of({"is_causal": True}), ".safetensors")
