"""The words in a drawing: the same ones in each language, and all of them taken from the table."""

from __future__ import annotations

import json
import re
from html import unescape
from string import Formatter

import numpy as np
import pytest

import sightline as sl
from sightline.errors import InvalidArgument
from sightline.views.picture import MaskPicture
from sightline.views.svg.render import render_svg
from sightline.views.svg.words import CHINESE, ENGLISH

PICTURES = {
    "weights": MaskPicture([[1, 0], [0, 0]], weights=[[0.5, 0.5], [np.nan, 0]]),
    "use": MaskPicture([[1, 0], [1, 0]], used=[[0, 1], [1, 0]]),
    "cells": MaskPicture([[1]], cell=(2, 2), shape=(2, 2)),
    "mask": MaskPicture([[1, 0]]),
}


def fields(template: str) -> set[str]:
    return {name for _, name, _, _ in Formatter().parse(template) if name}


def test_both_languages_say_the_same_things() -> None:
    assert CHINESE.keys() == ENGLISH.keys()
    for name, template in ENGLISH.items():
        assert fields(CHINESE[name]) == fields(template), name
        assert CHINESE[name] != template


@pytest.mark.parametrize("name", PICTURES)
def test_a_chinese_drawing_has_no_english_words(name: str) -> None:
    drawn = render_svg(PICTURES[name], standalone=False, words=CHINESE)
    texts = re.findall(r">([^<>]+)<", drawn) + re.findall(r'aria-label="([^"]+)"', drawn)
    english = [text for text in texts if re.search(r"[A-Za-z]{4}", text)]
    assert not english
    assert any(re.search(r"[\u4e00-\u9fff]", text) for text in texts)


SCENES = {
    "documents": (sl.causal() & sl.documents(lengths=[2, 2]), {"blocks": 2}),
    "batches": (sl.padding(lengths=[3, 1]) & sl.window(left=1), {"blocks": (4, 4)}),
    "difference": (sl.causal(), {"against": sl.window(left=1, right=1)}),
    "cells": (sl.causal(), {"q_len": 999, "fit": 6, "against": sl.window(left=99, right=500)}),
    "prefix": (sl.prefix_lm(lengths=[2]) & sl.chunks(2) & sl.prefix(2), {"q_len": 4}),
    "diffusion": (sl.block_diffusion(length=4, block=2), {}),
    "spans": (sl.spans(ids=[0, 0, 1, 1]), {}),
    "many": (sl.padding(lengths=list(range(1, 31))), {"q_len": 3}),
    "weights": (sl.causal(), {"weights": [[0.5, 0.5], [0.5, 0.5]], "q_len": 2}),
    "estimated": (sl.predicate(lambda b, h, q, k: (q * k) % 7 < 3), {"q_len": 1 << 16}),
}
# What stays as it is: names of arguments, of a key, of what is no number.
OWN = re.compile(r"title=|batch=|head=|NaN|Tab")


@pytest.mark.parametrize("to", ["svg", "html"])
@pytest.mark.parametrize("name", SCENES)
def test_all_that_lies_over_a_drawing_is_in_the_tables(name: str, to: str) -> None:
    mask, wishes = SCENES[name]
    drawing = sl.draw(mask, to=to, title="", language="zh", **wishes)  # pyright: ignore
    page = re.sub(r"<style>.*?</style>|<script>.*?</script>", "", str(drawing), flags=re.DOTALL)
    texts = re.findall(r">([^<>]+)<", page) + re.findall(r'aria-label="([^"]+)"', page)
    if to == "html":
        data = json.loads(texts.pop(next(n for n, text in enumerate(texts) if text[0] == "{")))
        texts += [*data["say"].values(), *(word for one in data["panels"] for word in one["words"])]
    english = [text for text in texts if re.search(r"[A-Za-z]{2}", OWN.sub("", unescape(text)))]
    assert english == []
    assert any(re.search(r"[\u4e00-\u9fff]", text) for text in texts)
    assert not re.search(r"[A-Za-z]{4}", drawing.summary)


# What is estimated is another sample each time.
@pytest.mark.parametrize("name", sorted(SCENES.keys() - {"estimated"}))
def test_both_languages_draw_the_same_cells(name: str) -> None:
    mask, wishes = SCENES[name]
    drawn = [str(sl.draw(mask, title="", language=each, **wishes)) for each in ("en", "zh")]
    cells = [re.findall(r'<path class="(?:in|added|removed)" d="[^"]*"', one) for one in drawn]
    assert cells[0] == cells[1] != []


def test_text_is_in_english_and_other_languages_are_refused() -> None:
    with pytest.raises(InvalidArgument, match="English only"):
        sl.draw(sl.causal(), to="txt", language="zh")
    with pytest.raises(InvalidArgument, match="wanted one of 'en', 'zh'"):
        sl.draw(sl.causal(), language="fr")  # pyright: ignore
    with pytest.raises(InvalidArgument, match="English only"):
        sl.causal().show(language="zh")
    sl.draw(sl.causal(), to="txt", language="en")
