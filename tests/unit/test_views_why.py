"""Why a pair is allowed: parts say what the oracle says, what decides is found by flipping."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import sightline as sl
from sightline.errors import InvalidArgument, ParseError, ShapeMismatch
from sightline.masks.names import NAMES
from sightline.reference.dense import meaning_of
from sightline.testing.specs import build
from sightline.testing.strategies import ATOMS, Frame, atoms, expressions, frames
from sightline.views.reasons.pair_words import PAIR_WORDS
from sightline.views.reasons.why import Reason, why, why_text

Spec = tuple[Any, ...]
CONSTANT = {True: "everything()", False: "nothing()"}


def written(spec: Spec) -> str:
    """Return a spec as someone would write it: nothing is made canonical."""
    kind, *rest = spec
    signs = {"and": " & ", "or": " | ", "minus": " - ", "xor": "  ^ "}
    if kind in signs:
        return signs[kind].join(f"({written(part)})" for part in rest)
    if kind == "not":
        return f"~({written(rest[0])})"
    if kind == "transpose":
        return f"({written(rest[0])}).T"
    if kind == "shift":
        return f"({written(rest[0])}).shift({arguments(rest[1])})"
    return f"{kind}({arguments(rest[0])})"


def arguments(given: dict[str, Any]) -> str:
    return ", ".join(f"{name}={value(name, each)}" for name, each in given.items())


def value(name: str, given: Any) -> str:
    if name == "masks":
        return f"[{', '.join(written(part) for part in given)}]"
    if isinstance(given, np.ndarray):
        finite = np.where(np.isinf(given), -1e9, given) if given.dtype.kind == "f" else given
        return repr(finite.tolist())
    return repr(given)


@st.composite
def asked(draw: st.DrawFn, frame: Frame) -> tuple[int, int, int, int]:
    """Draw (batch, head, query, key)."""
    queries = st.integers(frame.q_offset, frame.q_offset + frame.q_len - 1)
    keys = st.integers(frame.kv_offset, frame.kv_offset + frame.kv_len - 1)
    batch, head = st.integers(0, frame.batch - 1), st.integers(0, frame.heads - 1)
    return draw(batch), draw(head), draw(queries), draw(keys)


def oracle(spec: Spec, at: tuple[int, int, int, int]) -> bool:
    meaning = meaning_of(spec)
    batch, head = at[0] if meaning.batch > 1 else 0, at[1] if meaning.heads > 1 else 0
    return bool(meaning.at(batch, head, at[2], at[3]))


def check_spec(reason: Reason, spec: Spec, at: tuple[int, int, int, int]) -> None:
    """Compare every part of a canonical form with the oracle's word on it."""
    kind, batch, head, query, key = spec[0], *at
    assert reason.allowed == oracle(spec, at)
    assert reason.words.endswith(": allowed" if reason.allowed else ": not allowed")
    if kind in ("and", "or", "not"):
        parts, where = spec[1:], at
    elif kind == "transpose":
        parts, where = spec[1:], (batch, head, key, query)
    elif kind == "shift":
        query, key = query - spec[2].get("query", 0), key - spec[2].get("key", 0)
        parts, where = spec[1:2] if min(query, key) >= 0 else (), (batch, head, query, key)
    elif kind in ("per_batch", "per_head"):
        masks = spec[1]["masks"]
        parts, where = [masks[batch if kind == "per_batch" else head]], at
    else:
        parts, where = (), at
    assert len(reason.parts) == len(parts)
    for inner, part in zip(reason.parts, parts, strict=True):
        check_spec(inner, part, where)


def check_flips(reason: Reason, text: str, at: tuple[int, int, int, int], sure: bool) -> None:
    """Put the opposite of each part in its place, and see whether the whole changes."""
    assert reason.span is not None
    start, stop = reason.span
    assert text[start:stop] == reason.expression
    flipped = sl.parse(f"{text[:start]}({CONSTANT[not reason.allowed]}){text[stop:]}")
    batch, head = at[0] if flipped.batch > 1 else 0, at[1] if flipped.heads > 1 else 0
    said = bool(flipped.dense(1, 1, at[2], at[3])[batch, head, 0, 0])
    assert reason.decides == (said != sure)
    kept = sl.parse(f"{text[:start]}({CONSTANT[reason.allowed]}){text[stop:]}")
    batch, head = at[0] if kept.batch > 1 else 0, at[1] if kept.heads > 1 else 0
    assert bool(kept.dense(1, 1, at[2], at[3])[batch, head, 0, 0]) == sure
    for part in reason.parts:
        check_flips(part, text, at, sure)


def check_own_words(reason: Reason, at: tuple[int, int, int, int]) -> None:
    """Every part that is read alone, at its own pair, allows what it is said to allow."""
    mask = sl.parse(reason.expression)
    batch, head = at[0] if mask.batch > 1 else 0, at[1] if mask.heads > 1 else 0
    assert reason.allowed == bool(mask.dense(1, 1, at[2], at[3])[batch, head, 0, 0])
    moved = re.search(r"\.shift\(([^()]*)\)$", reason.expression)
    if reason.expression.endswith(".T"):
        at = (at[0], at[1], at[3], at[2])
    elif moved and len(reason.parts) == 1 and not reason.expression.startswith("~"):
        by = {axis: int(n) for axis, n in re.findall(r"(\w+)=(-?\d+)", moved[1])}
        at = (at[0], at[1], at[2] - by.get("query", 0), at[3] - by.get("key", 0))
    for part in reason.parts:
        check_own_words(part, at)


@pytest.mark.parametrize("name", ATOMS)
def test_every_atom_says_what_it_is_asked(name: str) -> None:
    @settings(deadline=None, max_examples=25)
    @given(st.data())
    def check(data: st.DataObject) -> None:
        frame = data.draw(frames())
        spec = data.draw(atoms(name, frame))
        at = data.draw(asked(frame))
        mask = build(spec)
        reason = why(mask, at[2], at[3], batch=at[0], head=at[1])
        check_spec(reason, mask.spec(), at)
        assert reason.decides
        if name != "predicate":
            told = why_text(written(spec), at[2], at[3], batch=at[0], head=at[1])
            assert told.allowed == reason.allowed == oracle(spec, at)
            assert not told.parts

    check()


@settings(deadline=None, max_examples=60)
@given(st.data())
def test_any_expression_is_explained_part_by_part(data: st.DataObject) -> None:
    frame = data.draw(frames())
    mask = build(data.draw(expressions(frame)))
    at = data.draw(asked(frame))
    check_spec(why(mask, at[2], at[3], batch=at[0], head=at[1]), mask.spec(), at)


@settings(deadline=None, max_examples=60)
@given(st.data())
def test_any_text_is_explained_in_its_own_parts(data: st.DataObject) -> None:
    frame = data.draw(frames())
    spec = data.draw(expressions(frame, opaque=False))
    text = f"  {written(spec)}\n"
    at = data.draw(asked(frame))
    reason = why_text(text, at[2], at[3], batch=at[0], head=at[1])
    assert reason.allowed == oracle(spec, at)
    check_flips(reason, text, at, reason.allowed)
    check_own_words(reason, at)


def test_every_mask_has_words_of_its_own() -> None:
    without = {"everything", "nothing", "per_batch", "per_head"}
    assert set(PAIR_WORDS) | without == set(NAMES)


WORDS = {
    "causal()": "key 7 is 2 after query 5: not allowed",
    "~causal()": "causal() does not allow it: allowed",
    "everything()": "every query sees every key: allowed",
    "window(left=3, right=None)": "key 7 is 2 after query 5; the window reaches 3 before and all "
    "after it: allowed",
    "prefix(3)": "key 7 is none of the first 3: not allowed",
    "keys([2, 7])": "key 7 is one of the key positions listed: allowed",
    "queries(range(6, 9))": "query 5 is none of the query positions listed: not allowed",
    "chunks(4)": "query 5 and key 7 are both in chunk 1 (positions 4 to 7): allowed",
    "chunks(1)": "query 5 is in chunk 5 (position 5), key 7 in chunk 7 (position 7): not allowed",
    "block_causal(6)": "query 5 is in block 0 (positions 0 to 5), key 7 in block 1 (positions 6 to "
    "11): not allowed",
    "dilated(3)": "key 7 is 2 after query 5: 1 modulo 3, and 0 is wanted: not allowed",
    "documents(lengths=[3, 5, 9])": "query 5 and key 7 are both in document 1 (positions 3 to 7): "
    "allowed",
    "documents(lengths=[3, 4, 9])": "query 5 is in document 1 (positions 3 to 6), key 7 in "
    "document 2 (positions 7 to 15): not allowed",
    "documents(lengths=[6])": "query 5 is in document 0 (positions 0 to 5), key 7 in no document: "
    "not allowed",
    "spans([-1, -1, -1, -1, -1, -1, -1, -1, 3])": "query 5 and key 7 are in no span: not allowed",
    "padding(lengths=[9, 3])": "key 7 is padding, of 3 real tokens of batch row 1: not allowed",
    "padding(lengths=[9, 0])": "key 7 is padding: batch row 1 has no real token: not allowed",
    "padding(valid=[[1, 0, 1, 0, 0, 0, 0, 1]])": "key 7 is real in the row: allowed",
    "padding(lengths=3, side='left', total=8)": "key 7 is real, of 3 real tokens from 5 on of the "
    "row: allowed",
    "prefix_lm([2, 8])": "key 7 is 2 after query 5, and in the prefix of 8 of batch row 1: allowed",
    "permutation([7, 0, 1, 2, 3, 4, 5, 6])": "key 7 has turn 0, query 5 has turn 6: allowed",
    "tree([-1, 0, 0, 2, 3, 3, 5, 5])": "key 7 is not among the ancestors of query 5, which are "
    "positions 3, 2 and 0: not allowed",
    "shifted_window((2, 4), 2, 1)": "query 5 is at (1, 1), key 7 at (1, 3), in windows (0, 0) and "
    "(0, 1): not allowed",
    "shifted_window((3, 3), 2, 1)": "query 5 is at (1, 2), key 7 at (2, 1), both in window (1, 1): "
    "allowed",
    "shifted_window((1, 8), (1, 4), (0, 1))": "query 5 is at (0, 5), key 7 at (0, 7), both in "
    "window (0, 2): allowed",
    "neighborhood((2, 5), (1, 3))": "query 5 is at (1, 0), key 7 at (1, 2); the query sees (1 to "
    "1, 0 to 2): allowed",
    "axial((2, 4), 1)": "query 5 is at (1, 1), key 7 at (1, 3); only axis 1 may differ: allowed",
    "axial((2, 3), 1)": "query 5 is at (1, 2), key 7 beyond the grid of 6 tokens: not allowed",
    "intervals([0, 0, 0, 0, 0, 2], [0, 0, 0, 0, 0, 8])": "query 5 sees keys 2 to 7: allowed",
    "causal().shift(query=6)": "query 5 lies before what was moved, which begins at query 6: not "
    "allowed",
    "causal().T": "with the roles swapped, query 7 asks for key 5: allowed",
    "causal() ^ prefix(9)": "1 of 2 parts allow it, and an odd number must: allowed",
    "causal().T ^ prefix(9) ^ keys(7)": "3 of 3 parts allow it, and an odd number must: allowed",
    "prefix(9) - prefix(8)": "prefix(9) allows it, but prefix(8) is taken away: not allowed",
    "per_batch([prefix(9), prefix(1)])": "batch row 1 has prefix(1): not allowed",
}


@pytest.mark.parametrize("text", WORDS)
def test_words(text: str) -> None:
    batch = sl.parse(text).batch - 1
    reason = why_text(text, 5, 7, batch=batch)
    assert reason.words == WORDS[text]


def test_the_tree_as_text_and_as_html() -> None:
    reason = why_text("causal() & (window(left=9) | keys([2]))", 5, 7)
    assert str(reason).splitlines() == [
        "* causal() & (window(left=9) | keys([2])): causal() does not allow it: not allowed",
        "  * causal(): key 7 is 2 after query 5: not allowed",
        "    window(left=9) | keys([2]): window(left=9) allows it: allowed",
        "      window(left=9): key 7 is 2 after query 5; the window reaches 9 before and all after "
        "it: allowed",
        "      keys([2]): key 7 is none of the key positions listed: not allowed",
    ]
    html = reason._repr_html_()
    assert html.count("<li>") == html.count("</li>") == 5
    assert "<b>* <code>causal()</code></b>" in html
    assert "&amp; (window" in html


def test_html_escapes_what_is_written() -> None:
    reason = Reason("<script>", True, "a < b", True)
    assert "<script>" not in reason._repr_html_()
    assert "a &lt; b" in reason._repr_html_()


def test_a_pair_of_millions_of_documents_needs_no_table() -> None:
    mask = sl.causal() & sl.documents(lengths=[2**25, 2**25])
    reason = sl.why(mask, 2**25 + 5, 2**25 - 1)
    assert [part.decides for part in reason.parts] == [False, True]
    assert not any(getattr(part, "expanded", []) for part in mask.parts)  # type: ignore[attr-defined]


def test_long_chains_are_one_part() -> None:
    text = " | ".join(f"keys([{n}])" for n in range(600))
    reason = why_text(text, 0, 77)
    assert len(reason.parts) == 600
    assert [part.expression for part in reason.parts if part.decides] == ["keys([77])"]


def test_what_cannot_be_asked() -> None:
    mask = sl.padding(lengths=[3, 4])
    with pytest.raises(InvalidArgument, match="query"):
        why(mask, -1, 0)
    with pytest.raises(InvalidArgument, match="integer"):
        why(mask, 0, 0.5)  # type: ignore[arg-type]
    with pytest.raises(InvalidArgument, match="from 0 to 1"):
        why(mask, 0, 0, batch=2)
    with pytest.raises(InvalidArgument, match=r"sl\.parse"):
        why("causal()", 0, 0)  # type: ignore[arg-type]
    with pytest.raises(ShapeMismatch):
        why(sl.dense([[1, 0]], means="attend"), 0, 2)
    with pytest.raises(ParseError, match="did you mean"):
        why_text("casual()", 0, 0)
    with pytest.raises(ParseError, match="batch rows"):
        why_text("padding(lengths=[1, 2]) & padding(lengths=[1, 2, 3])", 0, 0)
