"""The playground's text: how it is cut, and what is too much of it."""

from __future__ import annotations

import pytest

from sightline.views.playground.tokens import Refused, Rows, patches, sentences, split

CUT = {
    "I have a dream": ["I", "have", "a", "dream"],
    "  it's   left-to-right - ok?": ["it's", "left-to-right", "-", "ok", "?"],
    "我爱NLP，真的。": ["我", "爱", "NLP", "，", "真", "的", "。"],
    "カタカナ": ["カ", "タ", "カ", "ナ"],
    "안녕 세상": ["안녕", "세상"],
    "the [MASK]sat": ["the", "[MASK]", "sat"],
    "[mask] <eos>": ["[", "mask", "]", "<eos>"],
    "né 👩🏽‍🚀🇨🇳": ["né", "👩🏽‍🚀", "🇨🇳"],
    "مرحبا بالعالم": ["مرحبا", "بالعالم"],
    "a\x00b": ["a", "\x00", "b"],
    "3.14 a_b": ["3", ".", "14", "a_b"],
    "": [],
}


@pytest.mark.parametrize("text", CUT)
def test_cut(text: str) -> None:
    assert split(text) == CUT[text]


def test_no_character_is_lost() -> None:
    text = "".join(map(chr, [*range(33, 700), 0x200D, 0xD800, 0x4E00, 0x1F44D, 0xFFFE]))
    assert "".join(split(text)) == "".join(text.split())


TOO_MUCH = {
    "many characters": "a" * 1501,
    "many tokens": "yes\n" + "a " * 25,
    "many lines": "a\n" * 9,
}


@pytest.mark.parametrize("reason", TOO_MUCH)
def test_too_much_is_refused(reason: str) -> None:
    with pytest.raises(Refused) as refused:
        sentences(TOO_MUCH[reason])
    assert refused.value.reason == reason
    assert str(refused.value.numbers["got"]) in str(refused.value)


def test_as_much_as_is_taken() -> None:
    assert [len(tokens) for tokens in sentences("a " * 24 + "\n" + "b " * 24)] == [24, 24]


@pytest.mark.parametrize(
    ("text", "reason"), [("ab\nabc", "ragged"), ("a", "side"), ("ab\n" * 9, "many lines")]
)
def test_a_picture_is_a_rectangle_of_a_certain_size(text: str, reason: str) -> None:
    with pytest.raises(Refused) as refused:
        patches(text)
    assert refused.value.reason == reason


def test_rows_are_filled_up_on_either_side() -> None:
    right = Rows.of([["a"], ["b", "c", "d"]], pad="_")
    left = Rows.of([["a"], ["b", "c", "d"]], pad="_", side="left")
    assert right.tokens == (("a", "_", "_"), ("b", "c", "d"))
    assert left.tokens == (("_", "_", "a"), ("b", "c", "d"))
    assert right.valid(0).tolist() == [True, False, False]
    assert left.valid(0).tolist() == [False, False, True]
    assert left.positions(0).tolist()[2] == 0
    assert right.positions(1).tolist() == [0, 1, 2]
