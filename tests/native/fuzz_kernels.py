"""Calls the compiled kernels with arguments that are wrong in some way, and counts how they refuse.

Run by test_kernel_arguments.py in a process of its own, as a fault here is a crash:
``python fuzz_kernels.py SEED COUNT``. A call that is refused must leave its output as it was. What
lies at an address is the caller's word, so addresses and strides are wrong only where they are
missing or of a wrong type.
"""

from __future__ import annotations

import random
import sys
from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np

from sightline.native import kernels

B, HEADS, KV_HEADS, Q, K, DIM, VALUE_DIM = 2, 4, 2, 100, 130, 8, 6
REFUSALS = (TypeError, ValueError, OverflowError)
NUMBERS: list[Any] = [
    -1,
    0,
    1,
    2,
    3,
    5,
    64,
    96,
    2**20,
    2**31 - 1,
    2**31,
    2**62,
    2**63 - 1,
    -(2**63),
]
THINGS: list[Any] = [None, "x", 1.5, [], (), {}, object(), 2**80, -(2**80), b"", float("nan"), ...]
Arguments = dict[str, Any]


def plan_arguments() -> Arguments:
    """Return a good plan: causal, with a pattern in each second block of keys."""
    rows = B * 1 * 2  # the mask has its own rows for each batch row, and 2 blocks of queries
    return {
        "q_len": Q,
        "kv_len": K,
        "batch": B,
        "heads": 1,
        "row_start": np.arange(0, 2 * rows + 1, 2, dtype=np.int64),
        "first_block": np.array([0, 1] * rows, dtype=np.int32),
        "last_block": np.array([0, 2] * rows, dtype=np.int32),
        "pattern": np.array([-1, 0] * rows, dtype=np.int32),
        "patterns": np.full((1, 96, 1), 0x0F0F0F0F0F0F0F0F, dtype=np.uint64),
    }


class Room:
    """Tensors of a good call, which lie as long as this does."""

    def __init__(self) -> None:
        rng = np.random.default_rng(0)
        shapes = {
            "query": (B, HEADS, Q, DIM),
            "key": (B, KV_HEADS, K, DIM),
            "value": (B, KV_HEADS, K, VALUE_DIM),
            "out": (B, HEADS, Q, VALUE_DIM),
            "grad_out": (B, HEADS, Q, VALUE_DIM),
            "grad_query": (B, HEADS, Q, DIM),
            "grad_key": (B, KV_HEADS, K, DIM),
            "grad_value": (B, KV_HEADS, K, VALUE_DIM),
            "bias": (HEADS, 1, K),
            "grad_bias": (HEADS, 1, K),
            "stats": (B, HEADS, Q, 2),
            "lse": (B, HEADS, Q),
            "grad_lse": (B, HEADS, Q),
        }
        # Twice the size, as all numbers may be read as float64.
        self.arrays = {
            name: rng.standard_normal((2 * int(np.prod(shape)),)).astype(np.float32)
            for name, shape in shapes.items()
        }
        self.shapes = shapes
        self.plan = kernels().Plan(**plan_arguments())

    def view(self, name: str) -> tuple[int, ...]:
        _, heads, length, dim = self.shapes[name]
        return self.arrays[name].ctypes.data, heads * length * dim, length * dim, dim

    def bias(self, name: str) -> tuple[int, ...]:
        return self.arrays[name].ctypes.data, 0, 0, K, 0, 1

    def common(self) -> Arguments:
        return {
            "plan": self.plan,
            "dtype": 0,
            "sizes": (B, HEADS, KV_HEADS, Q, K, DIM, VALUE_DIM),
            "query": self.view("query"),
            "key": self.view("key"),
            "value": self.view("value"),
            "bias": self.bias("bias"),
            "out": self.view("out"),
            "stats": self.arrays["stats"].ctypes.data,
            "scale": 0.5,
            "dropout": 0.1,
            "seed": 3,
            "threads": 2,
        }

    def forward(self) -> Arguments:
        return self.common() | {"lse": self.arrays["lse"].ctypes.data}

    def backward(self) -> Arguments:
        views = ("grad_out", "grad_query", "grad_key", "grad_value")
        return (
            self.common()
            | {name: self.view(name) for name in views}
            | {
                "grad_lse": self.arrays["grad_lse"].ctypes.data,
                "grad_bias": self.bias("grad_bias"),
            }
        )


def spoil_plan(given: Arguments, rng: random.Random) -> bool:
    """Make one argument of a plan wrong; True if it may be right by chance."""
    name = rng.choice(list(given))
    old = given[name]
    if rng.random() < 0.3:
        given[name] = rng.choice(THINGS)
    elif isinstance(old, int):
        given[name] = rng.choice(NUMBERS)
    else:
        given[name] = spoilt_array(old, rng)
    return True


def spoilt_array(old: np.ndarray, rng: random.Random) -> Any:
    ways: list[Callable[[], Any]] = [
        lambda: old[:-1],
        lambda: np.concatenate([old, old]),
        lambda: old[:0],
        lambda: old.astype(np.float64),
        lambda: old.astype(np.uint8),
        lambda: old.reshape(-1)[::2],
        lambda: old[None],
        lambda: old.reshape(-1),
        lambda: old[::-1],
        lambda: old.tolist(),
        lambda: old.astype(object),
    ]
    if rng.random() < 0.5:
        return rng.choice(ways)()
    new = old.copy()
    at = rng.randrange(new.size)
    info = np.iinfo(new.dtype)
    numbers = [n for n in NUMBERS if info.min <= n <= info.max]
    new.reshape(-1)[at] = rng.choice(numbers)
    return new


def spoil_call(given: Arguments, rng: random.Random) -> bool:
    """Make one argument of a call wrong; True if it may be right by chance."""
    name = rng.choice(list(given))
    old = given[name]
    kind = rng.random()
    if kind < 0.3 or name == "plan":
        given[name] = rng.choice(THINGS)
        # No bias, no gradient, and a number where another is wanted are fine.
        return given[name] is None or name in ("scale", "dropout", "threads")
    if name == "sizes":
        given[name] = spoilt_sizes(rng)
    elif isinstance(old, tuple) and kind < 0.6:
        given[name] = rng.choice([old[:-1], (*old, 1), (None, *old[1:]), tuple(map(str, old))])
    elif isinstance(old, tuple):
        given[name] = (rng.choice([0, -1, 2**64]), *old[1:])
        # A bias or a gradient at address 0 is none.
        return given[name][0] == 0 and name.startswith(("bias", "grad_"))
    elif name == "dtype":
        given[name] = rng.choice([-1, 4, 99, 2**31 - 1, -(2**31)])
    elif name == "dropout":
        given[name] = rng.choice([-0.1, 1.0, 1.5, float("nan"), float("inf"), -float("inf")])
    elif name == "threads":
        given[name] = rng.choice([0, -1, 2**31 - 1, -(2**31)])
        return True
    elif name == "seed":
        given[name] = rng.choice([-1, 2**64, 0.5])
    elif name == "scale":
        given[name] = "1"
    else:  # an address of which 0 means none
        given[name] = rng.choice([-1, 2**64, 0.5])
    return False


def spoilt_sizes(rng: random.Random) -> tuple[int, ...]:
    """Return sizes that no plan or no attention fits; a head size can be too large."""
    sizes = [B, HEADS, KV_HEADS, Q, K, DIM, VALUE_DIM]
    axis = rng.randrange(7)
    wrong = {
        0: [-1, 0, 1, 3, 2**62],
        1: [-1, 0, 1, 3, 5, 2**63 - 1],
        2: [-1, 0, 3, 8, 2**62],
        3: [-1, 0, 99, 101, 2**63 - 1],
        4: [-1, 0, 129, 131, 2**62],
        5: [-1, 0, 2**31, 2**62],
        6: [-1, 0, 2**40, 2**63 - 1],
    }
    sizes[axis] = rng.choice(wrong[axis])
    return tuple(sizes)


def main(seed: int, count: int) -> None:
    rng = random.Random(seed)
    room, found = Room(), Counter[str]()
    compiled: Any = kernels()
    ways: dict[str, tuple[Any, Callable[[], Arguments], Any]] = {
        "Plan": (compiled.Plan, plan_arguments, spoil_plan),
        "forward": (compiled.forward, room.forward, spoil_call),
        "backward": (compiled.backward, room.backward, spoil_call),
    }
    compiled.forward(**room.forward())
    compiled.backward(**room.backward())
    for _ in range(count):
        name = rng.choice(list(ways))
        function, make, spoil = ways[name]
        given = make()
        before = {k: a.copy() for k, a in room.arrays.items()}
        may_pass = spoil(given, rng)
        try:
            function(**given)
        except REFUSALS:
            found[f"{name} refused"] += 1
            for k, array in room.arrays.items():
                assert np.array_equal(array, before[k], equal_nan=True), f"{k} was written"
            continue
        assert may_pass, f"{name} took {given}"
        found[f"{name} done"] += 1
    for name, number in sorted(found.items()):
        sys.stdout.write(f"{name} {number}\n")


if __name__ == "__main__":
    import sanitized  # loads the kernels that `make sanitize` names

    assert sanitized.NAME in sys.modules or not sanitized.folder
    main(int(sys.argv[1]), int(sys.argv[2]))
