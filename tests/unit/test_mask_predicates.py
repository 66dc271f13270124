"""Predicates: what they may read, what they must answer, and what they say when they do not.

Equal to the oracle they are in test_masks_against_oracle.py.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import sightline as sl


def refused(call: Callable[[], Any], fragments: str) -> None:
    """The call raises InvalidMask; the message holds every fragment, in this order."""
    with pytest.raises(sl.InvalidMask) as caught:
        call()
    message, at = str(caught.value), 0
    for fragment in fragments.split(" .. "):
        assert fragment in message[at:], f"{fragment!r} is missing in: {message}"
        at = message.index(fragment, at) + len(fragment)


READS: dict[str, Callable[[Any], Any]] = {
    "b + 1": lambda b: b + 1,
    "1 + b": lambda b: 1 + b,
    "b - 1": lambda b: b - 1,
    "1 - b": lambda b: 1 - b,
    "b * 2": lambda b: b * 2,
    "2 * b": lambda b: 2 * b,
    "b / 2": lambda b: b / 2,
    "2 / b": lambda b: 2 / b,
    "b // 2": lambda b: b // 2,
    "2 // b": lambda b: 2 // b,
    "b % 2": lambda b: b % 2,
    "2 % b": lambda b: 2 % b,
    "divmod(b, 2)": lambda b: divmod(b, 2),
    "divmod(2, b)": lambda b: divmod(2, b),
    "b ** 2": lambda b: b**2,
    "2 ** b": lambda b: 2**b,
    "b << 1": lambda b: b << 1,
    "1 << b": lambda b: 1 << b,
    "b >> 1": lambda b: b >> 1,
    "1 >> b": lambda b: 1 >> b,
    "b & 1": lambda b: b & 1,
    "1 & b": lambda b: 1 & b,
    "b | 1": lambda b: b | 1,
    "1 | b": lambda b: 1 | b,
    "b ^ 1": lambda b: b ^ 1,
    "1 ^ b": lambda b: 1 ^ b,
    "b @ b": lambda b: b @ b,
    "-b": lambda b: -b,
    "+b": lambda b: +b,
    "~b": lambda b: ~b,
    "abs(b)": abs,
    "round(b)": round,
    "b == 0": lambda b: b == 0,
    "b != 0": lambda b: b != 0,
    "b < 0": lambda b: b < 0,
    "b <= 0": lambda b: b <= 0,
    "b > 0": lambda b: b > 0,
    "b >= 0": lambda b: b >= 0,
    "int(b)": int,
    "float(b)": float,
    "complex(b)": complex,
    "bool(b)": bool,
    "hash(b)": hash,
    "len(b)": len,
    "iter(b)": list,
    "0 in b": lambda b: 0 in b,
    "b in (0, 1)": lambda b: b in (0, 1),
    "b[0]": lambda b: b[0],
    "[3, 4][b]": lambda b: [3, 4][b],
    "b.shape": lambda b: b.shape,
    "b.astype(int)": lambda b: b.astype(int),
    "array + b": lambda b: np.arange(3) + b,
    "array < b": lambda b: np.arange(3) < b,
    "array[b]": lambda b: np.arange(3)[b],
    "np.asarray(b)": np.asarray,
    "np.minimum(b, 1)": lambda b: np.minimum(b, 1),
    "np.where(b, 1, 2)": lambda b: np.where(b, 1, 2),
}


@pytest.mark.parametrize("what", READS)
def test_a_predicate_cannot_read_an_index_that_it_does_not_declare(what: str) -> None:
    read = READS[what]

    def reads_batch(b: Any, h: Any, q: Any, k: Any) -> Any:
        return (read(b), k <= q)[1]

    def reads_head(b: Any, h: Any, q: Any, k: Any) -> Any:
        return (read(h), k <= q)[1]

    refused(lambda: sl.predicate(reads_batch).dense(2), "batch index .. predicate(fn, batch=...)")
    refused(lambda: sl.predicate(reads_head).dense(2), "heads index .. predicate(fn, heads=...)")
    refused(lambda: sl.predicate(reads_head, batch=2).dense(2), "predicate(fn, heads=...)")
    refused(lambda: sl.predicate(reads_batch, heads=2).dense(2), "predicate(fn, batch=...)")


def test_a_predicate_may_read_what_it_declares() -> None:
    def by_row(b: Any, h: Any, q: Any, k: Any) -> Any:
        return (k <= q + b) & (h >= 0)

    assert sl.predicate(by_row, batch=3, heads=2).dense(2, 4).sum(axis=(1, 2, 3)).tolist() == [
        6,
        10,
        14,
    ]
    # One declared row serves every row of what it is combined with.
    alone = sl.predicate(by_row, batch=1, heads=1)
    assert (alone & sl.padding([4, 4])).dense(2, 4).sum(axis=(1, 2, 3)).tolist() == [3, 3]


ANSWERS: dict[str, tuple[Callable[..., Any], str]] = {
    "integers": (lambda b, h, q, k: k - q, "must return bools, got ndarray .. comparison"),
    "floats": (lambda b, h, q, k: 1.0 * (k <= q), "must return bools, got ndarray"),
    "nothing": (lambda b, h, q, k: None, "must return bools, got None"),
    "a list": (lambda b, h, q, k: [True], "must return bools, got [True] (list)"),
    "a mask": (lambda b, h, q, k: sl.causal(), "must return bools, got causal()"),
    "other sizes": (
        lambda b, h, q, k: np.ones((7, 7), dtype=bool),
        "asked for shape [1, 1, 3, 4] and answered with [7, 7] .. elementwise",
    ),
    "a row": (lambda b, h, q, k: q[0, 0, :, 0] > 1, "answered with [3] .. elementwise"),
    "the picture": (lambda b, h, q, k: (k <= q)[0, 0], "answered with [3, 4] .. elementwise"),
    "one axis more": (
        lambda b, h, q, k: (k <= q)[None],
        "answered with [1, 1, 1, 3, 4] .. elementwise",
    ),
    "more batch rows": (
        lambda b, h, q, k: np.ones((2, 1, 3, 4), dtype=bool),
        "answered with [2, 1, 3, 4] .. elementwise",
    ),
    "transposed": (lambda b, h, q, k: (k <= q).swapaxes(2, 3), "answered with [1, 1, 4, 3]"),
}


@pytest.mark.parametrize("name", ANSWERS)
def test_a_predicate_must_answer_with_bools_for_the_cells(name: str) -> None:
    fn, fragments = ANSWERS[name]
    mask = sl.predicate(fn)
    for asked in (mask, ~mask, mask & sl.chunks(2), mask | sl.prefix(1)):
        refused(lambda asked=asked: asked.dense(3, 4), fragments)


def test_a_predicate_may_answer_with_one_bool_or_with_axes_of_one() -> None:
    assert sl.predicate(lambda b, h, q, k: True).dense(2, 3).all()
    assert not sl.predicate(lambda b, h, q, k: False).dense(2, 3).any()
    assert sl.predicate(lambda b, h, q, k: k > 0).dense(2, 3).sum() == 4


def test_a_predicate_must_be_hashable() -> None:
    class Unhashable:
        __hash__ = None  # type: ignore[assignment]

        def __call__(self, b: Any, h: Any, q: Any, k: Any) -> Any:
            return k <= q

    refused(lambda: sl.predicate(Unhashable()), "predicate(fn=) must be hashable .. __hash__")


def test_the_name_of_a_predicate_and_its_line_are_in_the_message() -> None:
    def counts(b: Any, h: Any, q: Any, k: Any) -> Any:
        return k

    line = counts.__code__.co_firstlineno
    refused(lambda: sl.predicate(counts).dense(2), f"counts at line {line} .. must return bools")

    class Callee:
        def __call__(self, b: Any, h: Any, q: Any, k: Any) -> Any:
            return k

    refused(lambda: sl.predicate(Callee()).dense(2), "<opaque Callee> must return bools")


def test_predicates_are_equal_if_their_function_and_sizes_are() -> None:
    def one(b: Any, h: Any, q: Any, k: Any) -> Any:
        return k <= q

    def other(b: Any, h: Any, q: Any, k: Any) -> Any:
        return k <= q

    assert sl.predicate(one) == sl.predicate(one)
    assert hash(sl.predicate(one)) == hash(sl.predicate(one))
    assert sl.predicate(one) != sl.predicate(other)
    assert sl.predicate(one) != sl.predicate(one, batch=2)
    assert sl.predicate(one) != sl.predicate(one, heads=2)
    assert sl.predicate(one) != sl.predicate(one, bounds=len)
    assert sl.predicate(one) & sl.predicate(other) == sl.predicate(other) & sl.predicate(one)
    assert sl.predicate(one) & ~sl.predicate(one) == sl.nothing()
    assert (sl.predicate(one, batch=2, heads=3).batch, sl.predicate(one, heads=3).heads) == (2, 3)
    assert (sl.predicate(one).batch, sl.predicate(one).heads) == (1, 1)


def test_the_spec_of_a_predicate_holds_all_that_it_was_given() -> None:
    def fn(b: Any, h: Any, q: Any, k: Any) -> Any:
        return k <= q

    given = {"fn": fn, "bounds": len, "batch": 2, "heads": 3}
    assert sl.predicate(fn, bounds=len, batch=2, heads=3).spec() == ("predicate", given)
