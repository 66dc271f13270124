"""Drawings with characters: what they show, and that everything lines up."""

from __future__ import annotations

import re

import numpy as np
import pytest
from rich.cells import cell_len

import sightline as sl
from sightline.views.labels import cells_of, clip, graphemes, is_scale, ranges_text, visible
from sightline.views.picture import MaskPicture, picture_of
from sightline.views.text.header import header_for
from sightline.views.text.terminal import render_text

WORDS = ("I", "have", "a", "dream", "<eos>")
MIXED = (
    "我",
    "有",
    "一个",
    "👍",
    "👨‍👩‍👧",
    "é",
    "naïve",
    "</s>",
    "ナイーブ",
    "🇨🇳",
)  # é: two code points
SIGNS = "■·░▒▓█!?#.-+*"


def drawn(picture: MaskPicture, **options: object) -> list[str]:
    return render_text(picture, legend=False, **options).split("\n")  # type: ignore[arg-type]


def test_a_small_mask_with_words() -> None:
    mask = sl.causal() & sl.padding(lengths=[5, 3])
    picture = picture_of(mask, 5, batch=1, row_labels=WORDS, column_labels=WORDS, title="row 1")
    assert render_text(picture) == (
        "row 1\n"
        "        I    have   a   dream <eos>\n"
        "I       ■     ·     ·     ·     ·\n"
        "have    ■     ■     ·     ·     ·\n"
        "a       ■     ■     ■     ·     ·\n"
        "dream   ■     ■     ■     ·     ·\n"
        "<eos>   ■     ■     ■     ·     ·\n"
        "■ may attend   · may not"
    )


def test_ascii_output_gets_ascii_signs_and_escaped_labels() -> None:
    picture = MaskPicture([[1, 0], [1, 1]], ("日", "b"), ("日", "b"), title="日")
    assert render_text(picture, encoding="ascii") == (
        "\\u65e5\n"
        "       \\u65e5    b\n"
        "\\u65e5    #      .\n"
        "b         #      #\n"
        "# may attend   . may not"
    )


def test_empty_rows_are_marked() -> None:
    lines = drawn(picture_of(sl.causal(strict=True), 3, title=""))
    assert [line.endswith("← sees nothing") for line in lines] == [False, True, False, False]


def test_numbers_are_set_to_the_right() -> None:
    assert drawn(picture_of(sl.nothing(), 2, q_offset=9, title=""))[1:] == [
        " 9 · ·   ← sees nothing",
        "10 · ·   ← sees nothing",
    ]


def sign_places(line: str, count: int) -> list[int]:
    """Return the terminal cells at which the last ``count`` signs of a line stand."""
    marked = [index for index, character in enumerate(line) if character in SIGNS]
    return [cell_len(line[:index]) for index in marked[-count:]]


@pytest.mark.parametrize("repeat", [1, 2, 4, 6])
def test_wide_characters_line_up(repeat: int) -> None:
    labels = MIXED * repeat
    size = len(labels)
    # `everything` has no dot that could be taken for a label's.
    lines = drawn(picture_of(sl.everything(), size, row_labels=labels, column_labels=labels))
    places = {tuple(sign_places(line, size)) for line in lines[-size:]}
    assert len(places) == 1, "columns are ragged"
    columns = places.pop()
    assert len(set(np.diff(columns))) == 1, "columns are not equally far apart"
    width = int(columns[1] - columns[0])
    header = lines[1:-size]
    for place, label in zip(columns, labels, strict=True):
        read = [_piece_at(line, place, width) for line in header]
        assert "".join(read) == label, f"{label!r} does not stand above its column"


def _piece_at(line: str, place: int, width: int) -> str:
    """Return what a header line has in the column whose sign stands at cell ``place``."""
    position, found = 0, ""
    left = place - (width - 1) // 2
    for piece in graphemes(line):
        if left <= position < left + width:
            found += piece
        position += cell_len(piece)
    return found.strip()


def test_stacked_labels_keep_apart_where_there_is_room() -> None:
    assert header_for(["一个很长的词语"] * 36).width == 3
    assert header_for(["一个很长的词语"] * 37).width == 2
    assert header_for(["a longer word"[:12]] * 37).width == 1


def test_measured_as_rich_measures() -> None:
    for text in (*MIXED, *WORDS, "❤️", "👍🏽", "한국어", "हिन्दी", "مرحبا", ""):
        assert cells_of(text) == cell_len(text), text


def test_labels_too_long_to_stack_are_numbered() -> None:
    long = "internationalisation"
    lines = drawn(MaskPicture(np.ones((2, 12)), ("a", "b"), (long, *"bcdefghijkl"), title=""))
    assert lines[0].split() == [str(number) for number in range(12)]
    assert lines[-2].startswith(f"keys: 0 {long}; 1 b; 2 c")
    assert lines[-1] == "      11 l"
    assert all(cell_len(line) <= 80 for line in lines)


def test_a_long_row_label_is_cut() -> None:
    lines = drawn(MaskPicture([[1]], ("x" * 60,), ("k",), title=""))
    assert lines[1].startswith("x" * 23 + "… ")


def test_many_numbers_are_left_out_in_equal_steps() -> None:
    header = drawn(picture_of(sl.causal(), 40, title=""))[0]
    assert header.split() == [str(number) for number in range(0, 40, 4)]


def test_control_characters_do_not_reach_the_terminal() -> None:
    evil = "\x1b[31mred\x07\r\n\u202egnp.exe"
    text = render_text(MaskPicture([[1]], (evil,), (evil,), title=f"a\x1b]0;x\x07\n{evil}"))
    assert not re.search(r"[\x00-\x09\x0b-\x1f\u202e]", text)
    assert "\\x1b[31mred" in text


def test_no_escape_codes_without_color_and_the_same_text_with_it() -> None:
    picture = picture_of(sl.causal(strict=True), 4)
    plain, colored = render_text(picture), render_text(picture, color=True)
    assert "\x1b" not in plain
    assert re.sub(r"\x1b\[[0-9;]*m", "", colored) == plain
    assert "\x1b[38;5;33m" in colored  # blue
    assert "\x1b[38;5;208m" in colored  # orange: the empty row


def test_shades_say_how_much_of_a_cell_is_allowed() -> None:
    share = [[0.0, 0.01, 0.34, 0.67, 0.999999, 1.0]]
    picture = MaskPicture(np.array(share) > 0, share=share, cell=(1000, 1000))
    row = drawn(picture)[-1].split(maxsplit=1)[1]
    assert row == "··░░▒▒▓▓▓▓██"


def test_no_cell_claims_all_or_none_wrongly() -> None:
    # One pair is missing from the one corner cell, one is present in the other.
    hole, spot = sl.keys(0) & sl.queries(0), sl.keys(4095) & sl.queries(0)
    picture = picture_of((sl.everything() - hole) & ~(sl.keys(slice(2048, None)) - spot), 4096)
    rows = [line.split(maxsplit=1)[1] for line in drawn(picture)[2:]]
    assert picture.cell == (64, 64)
    assert (rows[0][0], rows[0][1], rows[0][-2], rows[0][-1]) == ("▓", "█", "·", "░")
    assert set(rows[1]) == {"█", "·"}


def test_an_aggregated_row_tells_some_from_all_queries_empty() -> None:
    lines = drawn(picture_of(sl.queries(range(6)), 8, fit=2, title=""))
    assert lines[1].endswith("█")
    assert lines[2].endswith("← a query sees nothing")
    assert drawn(picture_of(sl.queries(range(4)), 8, fit=2))[-1].endswith("← sees nothing")


def test_weights_leaks_and_not_a_number() -> None:
    weights = [[0.0, 0.5, np.nan], [1.0, 0.3, 0.0]]
    allowed = [[1, 1, 1], [1, 0, 0]]
    picture = MaskPicture(allowed, weights=weights, title="")
    lines = render_text(picture).split("\n")
    assert [line.split()[1:] for line in lines[1:3]] == [["░", "▓", "?"], ["█", "!", "·"]]
    assert "! weight where none may be" in lines[-1]
    assert "? not a number" in lines[-1]


@pytest.mark.parametrize("weights", [[[0.0, 0.0]], [[np.nan, np.inf]], [[-0.5, 0.0]]])
def test_odd_weights_are_drawn_without_a_crash(weights: list[list[float]]) -> None:
    assert render_text(MaskPicture([[1, 0]], weights=weights))


def test_graphemes_and_clipping() -> None:
    assert graphemes("👨‍👩‍👧é🇨🇳🇫🇷x") == ["👨‍👩‍👧", "é", "🇨🇳", "🇫🇷", "x"]
    assert clip("👨‍👩‍👧👨‍👩‍👧👨‍👩‍👧", 5) == "👨‍👩‍👧👨‍👩‍👧…"
    assert clip("日本語", 5) == "日本…"
    assert clip("日本語", 6) == "日本語"


def test_visible_spells_out_what_does_not_show() -> None:
    assert visible("\udc80") == "\\udc80"
    assert visible("\ufffe") == "\\ufffe"
    assert visible("\u2028") == "\\u2028"
    assert visible(" ") == "␣"
    assert visible("") == ""


def test_scales_and_ranges() -> None:
    assert is_scale(["5"])
    assert not is_scale([])
    assert not is_scale(["2", "1"])
    assert not is_scale(["1", "1"])
    assert not is_scale(["²"])
    assert ranges_text([0, 2, 3, 4, 9]) == "0, 2-4, 9"


def test_what_is_used_beside_what_is_allowed() -> None:
    picture = MaskPicture([[1, 0, 0], [1, 1, 0]], used=[[1, 0, 1], [0, 1, 0]])
    assert render_text(picture) == (
        "  0 1 2\n"
        "0 ■ · !\n"
        "1 □ ■ ·\n"
        "■ allowed and used   □ allowed, not used   ! forbidden, yet used   · forbidden"
    )
    assert render_text(picture, encoding="ascii").splitlines()[1:3] == ["0 # . !", "1 o # ."]
    right = MaskPicture([[1, 0], [1, 1]], used=[[1, 0], [1, 1]])
    assert render_text(right).splitlines()[-1] == "■ allowed and used   · forbidden"
