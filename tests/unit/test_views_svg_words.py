"""The words in a drawing: the same ones in each language, and all of them taken from the table."""

from __future__ import annotations

import re
from string import Formatter

import numpy as np
import pytest

from sightline.views.picture import MaskPicture
from sightline.views.svg import render_svg
from sightline.views.svg_words import CHINESE, ENGLISH

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
