"""What every destination makes comes back as the mask that it was made from."""

from __future__ import annotations

import dataclasses
import re
from typing import Any

import pytest
from hypothesis import given, settings
from reading_sources import assert_same, read

import sightline as sl
from sightline.lower.destinations import NAMES as DESTINATIONS
from sightline.reference.dense import dense as oracle
from sightline.testing.specs import build
from sightline.testing.strategies import Frame, expressions, frames

# -- round, by destinations that may come later ------------------------------------------------

# Interleaved documents in one row, padding of queries and keys in another.
PACKED = sl.causal() & sl.documents(ids=[[0, 1, 0, 1, 1], [0, 0, 0, 1, 1]])
PACKED = PACKED & sl.padding(lengths=[5, 4]) & sl.padding(lengths=[5, 4]).T
SQUARE = {
    "hf.2d": (sl.causal() & sl.padding(lengths=[5, 3, 4]), {}, {}),
    "hf.4d": (sl.causal() & sl.padding(lengths=[5, 3, 4]), {}, {}),
    "hf.position_ids": (sl.causal() & sl.documents(lengths=[2, 1, 2]), {}, {}),
    "xlnet": (sl.permutation([2, 0, 1, 4, 3], stream="query"), {"targets": [0, 1, 4]}, {}),
    "keras": (sl.causal() & sl.padding(lengths=[5, 3, 4]), {}, {}),
    "jax.dot_product_attention": (sl.window(1, 1) & sl.padding(lengths=[5, 3, 4]).T, {}, {}),
    "flax": (sl.causal() & sl.padding(lengths=[5, 3, 4]), {}, {}),
    "torch.varlen": (PACKED, {}, {}),
    "flash_attn": (PACKED, {}, {}),
}


@pytest.mark.parametrize("name", SQUARE)
def test_and_back(name: str) -> None:
    if name not in DESTINATIONS:
        pytest.skip(f"there is no destination {name} here")
    mask, to, back = SQUARE[name]
    try:
        made = sl.lower(mask, name, 5, **to)
    except sl.MissingExtra as missing:
        pytest.skip(str(missing))
    found = read(made, name, **back)
    assert_same(found.allowed, oracle(mask, 5))


LENGTHS = ("keras", "jax.dot_product_attention")
BATCH = ("torch.varlen", "flash_attn", "hf.2d", "jax.dot_product_attention")


@pytest.mark.parametrize("name", [*BATCH, "keras", "flax", "hf.4d"])
def test_random_masks_and_back(name: str) -> None:
    if name not in DESTINATIONS:
        pytest.skip(f"there is no destination {name} here")
    told = 0

    @settings(max_examples=20 if name == "torch.varlen" else 60)
    @given(frames(4).flatmap(lambda f: expressions(f, depth=1).map(lambda spec: (f, spec))))
    def there_and_back(case: tuple[Frame, Any]) -> None:
        nonlocal told
        frame, spec = case
        shape = frame.q_len, frame.kv_len, frame.q_offset
        sizes = {"batch": frame.batch} if name in BATCH else {}
        try:
            made = sl.lower(build(spec), name, *shape, **sizes)
        except sl.CannotExpress:
            return
        except sl.MissingExtra as missing:
            pytest.skip(str(missing))
        told += 1
        lengths = {"q_len": shape[0], "kv_len": shape[1]} if name in LENGTHS else {}
        if name == "hf.2d":
            lengths = {"q_len": shape[0], "q_offset": shape[2]}
        assert_same(read(made, name, **lengths).allowed, oracle(spec, *shape))

    there_and_back()
    assert told, "no mask was told at all"


@pytest.mark.skipif("swin" not in DESTINATIONS, reason="no such destination here")
def test_swin_and_back() -> None:
    mask = sl.shifted_window((4, 6), window=2, shift=1)
    made = sl.lower(mask, "swin", 24)
    found = read(made, "swin", grid=(4, 6), window=2, shift=1)
    assert_same(found.allowed, oracle(mask, 24))


def test_evidence_and_warnings_are_sentences_without_a_stop() -> None:
    found = read([[1, 1, 0]], "hf.2d")
    for words in (*found.evidence, *found.warnings):
        assert re.match(r"\S.*[^.\s]$", words)
    assert dataclasses.is_dataclass(found)
