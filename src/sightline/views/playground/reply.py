"""What the page shows for what was asked: plain data in, plain data and HTML out.

Every request holds all that is chosen, so that the server remembers nothing. Text from a visitor
is escaped wherever it goes into HTML.
"""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import Any

import numpy as np

from sightline.errors import SightlineError
from sightline.views.labels import visible
from sightline.views.playground.mistake_words import MISTAKE_WORDS
from sightline.views.playground.mistakes import mistakes_of
from sightline.views.playground.shown import show_mistake, show_query, show_step
from sightline.views.playground.steps import STEPS, WIDTH, Scene, scene_of
from sightline.views.playground.systems import Options, Sight, sights
from sightline.views.playground.tokens import Refused
from sightline.views.playground.words import LANGUAGES, Language, said

__all__ = ["EXAMPLES", "MOST_SHUFFLE", "MOST_WINDOW", "reply", "start"]

# (first text, second text) in each language.
EXAMPLES: dict[str, dict[Language, tuple[str, str]]] = {
    "encoder": {
        "en": ("I saw a saw\nI have a dream today", ""),
        "zh": ("我爱读书\n我有一个梦想", ""),
    },
    "decoder": {
        "en": ("I have a dream\nthe cat sat on the mat", ""),
        "zh": ("我爱读书\n我有一个梦想", ""),
    },
    "seq2seq": {
        "en": ("ein Hund\nich habe einen Traum", "a dog\nI have a dream"),
        "zh": ("a dog\nI have a dream", "一只狗\n我有一个梦想"),
    },
    "bert": {
        "en": ("the [MASK] sat\nis it going to rain today ?", "it slept\nI think so"),
        "zh": ("猫在[MASK]觉\n今天会不会下雨？", "它累了\n我看会下"),
    },
    "xlnet": {"en": ("New York is a city\nI saw a saw", ""), "zh": ("北京是首都\n我爱读书", "")},
    "unilm": {
        "en": ("ein Hund\nich habe einen Traum", "a dog\nI have a dream"),
        "zh": ("a dog\nI have a dream", "一只狗\n我有一个梦想"),
    },
    "swin": {
        "en": ("🌞☁☁🌲\n☁☁🌲🌲\n🌊🌊🌲🏠\n🌊🌊🌊🏠", ""),
        "zh": ("🌞☁☁🌲\n☁☁🌲🌲\n🌊🌊🌲🏠\n🌊🌊🌊🏠", ""),
    },
}
_TEXTS = ("first", "second", "system", "side", "step", "mistake", "lang")
_NUMBERS = ("window", "shuffle", "attention", "row", "query")
MOST_WINDOW, MOST_SHUFFLE = 6, 5
# Beyond any sentence: the query that shows most.
NEWEST = 999


def start(system: str = "decoder", language: Language = "en") -> dict[str, Any]:
    """Return what a page begins with, where its address says nothing else.

    >>> start("bert")["first"].splitlines()[0]
    'the [MASK] sat'
    """
    first, second = EXAMPLES[system][language]
    return {
        "lang": language,
        "system": system,
        "first": first,
        "second": second,
        "side": "right",
        "window": 2 if system == "swin" else 3,
        "shuffle": 1,
        "attention": 0,
        "row": 0,
        "query": NEWEST,
        "step": "weights",
        "mistake": "",
    }


def reply(asked: Mapping[str, Any]) -> dict[str, Any]:
    """Return the parts of the page for a request; ``error`` says what was refused.

    >>> shown = reply(start("encoder"))
    >>> shown["error"], shown["attentions"], shown["mask"]
    ('', ['all to all'], 'padding(lengths=[5, 6])')
    >>> reply({**start(), "first": ""})["error"]
    'Type at least one sentence.'
    """
    given = asked.get("lang")
    language: Language = given if given in LANGUAGES else "en"
    try:
        return _reply(_checked(asked), language)
    except Refused as refused:
        return {"error": said(language, refused.reason, **refused.numbers)}
    except SightlineError as error:
        return {"error": str(error)}


def _checked(asked: Mapping[str, Any]) -> Mapping[str, Any]:
    """Refuse what our page does not send."""
    wanted = {**dict.fromkeys(_TEXTS, str), **dict.fromkeys(_NUMBERS, int)}
    for name, kind in wanted.items():
        if type(asked.get(name)) is not kind:
            raise Refused("bad request", what=name)
    choices = {"side": ("right", "left"), "step": STEPS, "lang": LANGUAGES}
    for name, known in choices.items():
        if asked[name] not in known:
            raise Refused("bad request", what=name)
    if not (2 <= asked["window"] <= MOST_WINDOW and 0 <= asked["shuffle"] <= MOST_SHUFFLE):
        raise Refused("bad request", what="window, shuffle")
    return asked


def _reply(asked: Mapping[str, Any], language: Language) -> dict[str, Any]:
    options = Options(asked["side"], asked["window"], asked["shuffle"])
    found = sights(asked["system"], asked["first"], asked["second"], options)
    # A shorter text may no longer have what was chosen.
    attention = _within(asked["attention"], len(found))
    sight = found[attention]
    row = _within(asked["row"], len(sight.queries.tokens))
    query = asked["query"] if 0 <= asked["query"] < sight.queries.width else _telling(sight, row)
    scene = scene_of(sight, row)
    known = mistakes_of(sight)
    mistake = next((each for each in known if each.name == asked["mistake"]), None)
    column = LANGUAGES.index(language)
    return {
        "error": "",
        "attentions": [said(language, f"attention {each.name}") for each in found],
        "attention": attention,
        "rows": _row_names(sight, language),
        "row": row,
        "queries": [visible(label) for label in sight.labels(row)[0]],
        "query": query,
        "writes": sight.writes,
        "mistakes": [[each.name, MISTAKE_WORDS[each.name].title[column]] for each in known],
        "mistake": mistake.name if mistake else "",
        "mask": _short(repr(sight.mask), language),
        "told": _told(scene, asked["step"], language),
        "picture": show_step(scene, asked["step"], query, language),
        "looked": show_query(scene, query, language),
        "wrong": show_mistake(mistake, scene, language) if mistake else "",
    }


def _within(index: int, size: int) -> int:
    return max(0, min(index, size - 1))


def _telling(sight: Sight, row: int) -> int:
    """Return a query to begin with: the last that is not padding; of a picture one inside."""
    if sight.grid is not None:
        return (sight.grid[0] // 2) * sight.grid[1] + sight.grid[1] // 2
    return int(np.flatnonzero(sight.queries.valid(row))[-1])


def _short(text: str, language: Language, most: int = 300) -> str:
    return text if len(text) <= most else text[:most] + said(language, "shortened")


def _row_names(sight: Sight, language: Language) -> list[str]:
    if sight.grid is not None:
        return [""]
    names = []
    for row, tokens in enumerate(sight.queries.tokens):
        real = [
            token for token, valid in zip(tokens, sight.queries.valid(row), strict=True) if valid
        ]
        text = visible(" ".join(real))
        names.append(said(language, "row n", n=row + 1, text=text[:24] + "…" * (len(text) > 24)))
    return names


def _told(scene: Scene, step: str, language: Language) -> str:
    """Return what a step does, escaped."""
    told = said(language, f"told {step}", width=WIDTH)
    if step == "tokens" and not scene.sight.to_itself:
        told += " " + said(language, "told tokens keys")
    if step == "tokens" and scene.sight.blind:
        told += " " + said(language, "told tokens blind")
    return escape(told)
