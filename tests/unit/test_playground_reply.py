"""The playground's answers: whole, escaped, in one language, and refused in words."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from sightline.views.playground.page import build
from sightline.views.playground.reply import reply, start
from sightline.views.playground.steps import STEPS
from sightline.views.playground.systems import SYSTEMS
from sightline.views.playground.words import LANGUAGES, WORDS, said

HTML = ("told", "picture", "looked", "wrong")


def asked(**given: Any) -> dict[str, Any]:
    return {**start(given.get("system", "decoder")), **given}


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("system", SYSTEMS)
def test_every_system_shows_every_step_and_attention(system: str, language: str) -> None:
    begun = start(system, language)
    attentions = reply(begun)["attentions"]
    assert len(set(attentions)) == len(attentions) > 0
    for attention in range(len(attentions)):
        pictures = set()
        for step in STEPS:
            shown = reply({**begun, "attention": attention, "step": step})
            assert shown["error"] == ""
            assert (shown["attention"], shown["picture"].count("<svg")) == (attention, 1)
            pictures.add(shown["picture"])
        assert len(pictures) == len(STEPS)


# Names that Chinese keeps.
KEPT = set(
    re.findall(
        r"\w+",
        "Sightline UniLM XLNet softmax NaN nan CLS SEP MASK PAD eos bos pad sep cls tril triu "
        "diagonal True False is_causal nn MultiheadAttention scaled_dot_product_attention "
        "masked_fill",
    )
)


def english(html: str) -> set[str]:
    """Return English words that stand between tags, or in titles and labels; code may."""
    html = re.sub(r"<pre>.*?</pre>", "", html, flags=re.DOTALL)
    texts = re.findall(r">([^<>]+)<", html) + re.findall(r'aria-label="([^"]+)"', html)
    found = re.findall(r"[A-Za-z_]{2,}", re.sub(r"&\w+;", " ", " ".join(texts)))
    return set(found) - KEPT


@pytest.mark.parametrize("system", SYSTEMS)
def test_chinese_is_chinese_throughout(system: str) -> None:
    begun = {**start(system, "zh"), "side": "left"}
    begun |= {"first": "我\n我爱"} if system != "swin" else {}
    begun["second"] = begun["first"]
    for attention in range(len(reply(begun)["attentions"])):
        names = [name for name, _ in reply({**begun, "attention": attention})["mistakes"]]
        for mistake in ["", *names]:
            shown = reply({**begun, "attention": attention, "mistake": mistake})
            assert shown["mistake"] == mistake
            assert not set().union(*(english(shown[name]) for name in HTML))


def test_the_check_above_can_see() -> None:
    assert english("<p>may attend</p>") == {"may", "attend"}
    assert not english("<p>&lt;eos&gt; 可以 [CLS]</p>")


# Each token is a sign of its own, so that even a lone < must not stand there.
UNKNOWN_TAG = re.compile(
    r"<(?!/?(svg|g|path|rect|text|title|defs|pattern|div|p|pre|h3|h4|table|thead|tbody|tr|th|td|"
    r"span|figure|figcaption|circle|line)[ />])|&(?!(lt|gt|amp|quot|#x27);)"
)
HOSTILE = "<img onerror=1>&\"'</b> $$\u202e\x07"


@pytest.mark.parametrize("system", SYSTEMS)
def test_what_is_typed_is_escaped(system: str) -> None:
    text = "<\"&\n'>$\n</b" if system == "swin" else HOSTILE
    for mistake in ("swapped", "minus infinity", "large number"):
        for step in STEPS:
            shown = reply(
                asked(system=system, first=text, second=HOSTILE, step=step, mistake=mistake)
            )
            assert shown["error"] == ""
            for name in HTML:
                assert not UNKNOWN_TAG.search(shown[name])
                assert not {"\u202e", "\x07"} & set(shown[name])


REFUSED = {
    "first": "Type at least one sentence.",
    "window": "unknown: window, shuffle",
    "shuffle": "unknown: window, shuffle",
    "row": "unknown: row",
    "step": "unknown: step",
    "system": "There is no such system",
    "lang": "unknown: lang",
}
WRONG = {
    "first": " ",
    "window": 7,
    "shuffle": -1,
    "row": "0",
    "step": "x",
    "system": "x",
    "lang": "x",
}


@pytest.mark.parametrize("name", WRONG)
def test_what_our_page_does_not_send_is_refused(name: str) -> None:
    shown = reply({**asked(), name: WRONG[name]})
    assert shown.keys() == {"error"}
    assert REFUSED[name] in shown["error"]


@pytest.mark.parametrize("value", [None, True, [], {}, 1e9, float("nan")])
def test_nothing_that_is_sent_breaks_it(value: object) -> None:
    for name in asked():
        shown = reply({**asked(), name: value})
        assert shown["error"] or name in ("lang",)
    assert reply({})["error"]


def test_what_no_longer_fits_is_brought_into_range() -> None:
    shown = reply(asked(attention=9, row=9, query=-5, mistake="unmasked shift"))
    assert (shown["attention"], shown["row"], shown["mistake"]) == (1, 1, "")
    assert 0 <= shown["query"] < len(shown["queries"])
    assert shown["wrong"] == ""


def test_a_refusal_is_told_in_the_readers_language() -> None:
    text = "a " * 25
    assert (
        reply(asked(first=text))["error"] == "Line 1 has 25 tokens; 24 are taken. Make it shorter."
    )
    assert "最多 24 个" in reply(asked(first=text, lang="zh"))["error"]


def test_an_answer_is_small_enough_for_any_text() -> None:
    words = " ".join(f"w{n}" for n in range(24))
    for system in SYSTEMS:
        text = "\n".join(["☁" * 8] * 8) if system == "swin" else "\n".join([words] * 6)
        shown = reply(
            asked(system=system, first=text, second=text, step="scores", mistake="swapped")
        )
        assert shown["error"] == ""
        assert len(json.dumps(shown)) < 2_000_000


def test_a_decoder_shows_what_is_written_so_far() -> None:
    shown = [reply(asked(query=query, step="weights")) for query in range(3)]
    assert all(answer["writes"] for answer in shown)
    heights = [int(re.search(r'height="(\d+)"', answer["picture"])[1]) for answer in shown]  # type: ignore[index]
    assert heights == sorted(set(heights))
    encoder = [reply(asked(system="encoder", query=query))["picture"] for query in range(2)]
    assert encoder[0].count('end">▸') == encoder[1].count('end">▸') == 1


def test_all_words_are_there_in_both_languages() -> None:
    for name, (first, second) in WORDS.items():
        assert first
        assert second
        assert set(re.findall(r"\{(\w+)", first)) == set(re.findall(r"\{(\w+)", second)), name
    for system in SYSTEMS:
        for language in LANGUAGES:
            assert said(language, system)
            assert said(language, f"about {system}")


def test_the_page_needs_no_framework() -> None:
    import subprocess
    import sys

    code = (
        "import sys, sightline.views.playground.page as page; page.reply(page.start());"
        "print([name for name in ('torch', 'jax', 'bokeh', 'transformers') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
    assert callable(build)


@pytest.mark.parametrize(("name", "ends"), [("window", (2, 6)), ("shuffle", (0, 5))])
def test_a_choice_ends_where_the_page_ends_it(name: str, ends: tuple[int, int]) -> None:
    least, last = ends
    refused = [bool(reply(asked(**{name: n}))["error"]) for n in (least - 1, least, last, last + 1)]
    assert refused == [True, False, False, True]
