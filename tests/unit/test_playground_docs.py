"""The playground's page in the documentation names what there is, and its limits."""

from __future__ import annotations

import re
from pathlib import Path

from sightline.views.playground.mistake_words import MISTAKE_WORDS
from sightline.views.playground.systems import SYSTEMS
from sightline.views.playground.tokens import (
    MOST_CHARACTERS,
    MOST_SENTENCES,
    MOST_SIDE,
    MOST_TOKENS,
)
from sightline.views.playground.words import said

PAGE = (Path(__file__).parents[2] / "docs" / "playground.md").read_text(encoding="utf-8")


def test_all_mistakes_are_listed_in_their_order() -> None:
    listed = re.findall(r"^- (.+)$", PAGE, re.MULTILINE)
    assert listed == [words.title[0] for words in MISTAKE_WORDS.values()]


def test_all_systems_are_in_the_table() -> None:
    rows = re.findall(r"^\| ([A-Z][^|]*?) \|", PAGE, re.MULTILINE)[1:]
    assert rows == [said("en", system).replace(" (pictures)", "") for system in SYSTEMS]


def test_limits_are_those_that_hold() -> None:
    text = " ".join(PAGE.split())
    assert f"{MOST_SENTENCES} lines of {MOST_TOKENS} tokens and {MOST_CHARACTERS:,}" in text
    assert f"{MOST_SIDE} by {MOST_SIDE} patches" in text
