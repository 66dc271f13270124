"""Every mask and every expression equals the oracle, on rectangles with offsets."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import sightline as sl
from sightline import reference
from sightline.masks.names import NAMES
from sightline.testing.specs import build
from sightline.testing.strategies import ATOMS, Frame, atoms, expressions, frames


def judge(spec: tuple, frame: Frame) -> None:
    """The mask that the spec builds allows exactly what the oracle says, cell by cell."""
    wanted = reference.dense(spec, *frame.at)
    mask = build(spec)
    got = mask.dense(*frame.at)
    full = np.broadcast_shapes(wanted.shape, got.shape)
    got, wanted = np.broadcast_to(got, full), np.broadcast_to(wanted, full)
    np.testing.assert_array_equal(got, wanted, f"{spec} built {mask!r}")


def test_every_mask_has_a_strategy() -> None:
    assert set(ATOMS) | {"per_batch", "per_head"} == set(NAMES)


@pytest.mark.parametrize("name", sorted(ATOMS))
@given(data=st.data())
def test_each_mask(name: str, data: st.DataObject) -> None:
    frame = data.draw(frames(longest=12))
    spec = data.draw(atoms(name, frame))
    judge(spec, frame)
    # The mask and heads axes are the data's own, no larger and no smaller.
    mask = build(spec)
    assert (mask.batch, mask.heads) == reference.sizes(spec) or mask == sl.nothing()


@pytest.mark.parametrize("name", sorted(ATOMS))
@given(data=st.data())
def test_each_mask_swapped_moved_and_negated(name: str, data: st.DataObject) -> None:
    frame = data.draw(frames())
    spec = data.draw(atoms(name, frame))
    amounts = st.integers(-4, 4)
    once = {"query": data.draw(amounts), "key": data.draw(amounts)}
    judge(("transpose", spec), frame)
    judge(("shift", ("not", spec), once), frame)
    judge(("not", ("shift", ("transpose", spec), once)), frame)
    judge(("transpose", ("shift", spec, once)), frame)


@given(data=st.data())
def test_moves_in_a_row(data: st.DataObject) -> None:
    frame = data.draw(frames())
    spec = data.draw(expressions(frame, depth=1))
    amounts = st.integers(-2, 2)
    for _ in range(2):
        spec = ("shift", spec, {"query": data.draw(amounts), "key": data.draw(amounts)})
    judge(spec, frame)
    judge(("transpose", spec), frame)


@given(data=st.data())
def test_random_expressions(data: st.DataObject) -> None:
    frame = data.draw(frames())
    judge(data.draw(expressions(frame, depth=3)), frame)


@given(data=st.data())
def test_per_row_masks_with_operators(data: st.DataObject) -> None:
    frame = data.draw(frames())
    single = Frame(*frame.at, 1, 1)
    parts = expressions(single, 1)
    by_batch = ("per_batch", {"masks": [data.draw(parts) for _ in range(frame.batch)]})
    by_head = ("per_head", {"masks": [data.draw(parts) for _ in range(frame.heads)]})
    judge(("and", by_batch, by_head), frame)
    judge(("or", ("transpose", by_batch), ("not", by_head)), frame)
    judge(("shift", by_head, {"query": 1, "key": -1}), frame)


@given(data=st.data())
def test_text_reads_back_as_the_same_mask(data: st.DataObject) -> None:
    frame = data.draw(frames())
    spec = data.draw(expressions(frame, depth=3, opaque=False))
    mask = build(spec)
    again = sl.parse(mask.text())
    assert again == mask
    assert hash(again) == hash(mask)
    assert again.text() == mask.text()


@given(data=st.data())
def test_the_oracle_reads_the_canonical_form_as_it_read_the_original(data: st.DataObject) -> None:
    frame = data.draw(frames(longest=5))
    spec = data.draw(expressions(frame, depth=2))
    original, canonical = reference.dense(spec, *frame.at), reference.dense(build(spec), *frame.at)
    full = np.broadcast_shapes(original.shape, canonical.shape)
    np.testing.assert_array_equal(np.broadcast_to(canonical, full), np.broadcast_to(original, full))
