"""A made-up result with one of everything, for tests of what shows results."""

from __future__ import annotations

import math

import numpy as np

import sightline as sl
from sightline.recipes.training.outcome import AttentionMap, Figure, MaskShown, Outcome, Table
from sightline.recipes.training.result import Result

WORDS = ("ein", "Hund", "日本", "<b>")
KEYS = ("a", "dog", "|")


def outcome() -> Outcome:
    weights = np.array([[0.5, 0.5, 0], [1, 0, 0], [0.123456, 0.876544, 0], [1, 0, 0]])
    seen = sl.padding(lengths=[2])
    return Outcome(
        figures=(
            Figure("BLEU", 31.25, target=30.0, published=35.7, source="a paper", note="smaller"),
            Figure("loss (nats)", 1.95, target=1.9, better="lower", note="fewer steps"),
            Figure("sentences", 12_544.0),
            Figure("lost", math.nan, target=1.0),
        ),
        tables=(
            Table("Examples", ("in", "out"), tuple((f"in {n}", "a|b <i>") for n in range(70))),
        ),
        masks=(
            MaskShown("to the source", seen, WORDS, KEYS),
            MaskShown("made by hand", sl.predicate(lambda b, h, q, k: q >= k), WORDS, WORDS),
            MaskShown("long", sl.causal(), tuple(map(str, range(200))), tuple("w" * 200)),
        ),
        attention=(
            AttentionMap("head 0", weights, WORDS, KEYS),
            AttentionMap("head 1", weights, WORDS, KEYS, sl.everything()),
            AttentionMap("leaks", np.full((4, 4), 0.25), WORDS, WORDS),
        ),
        notes=("Adam, not AdamW.",),
        extra={"weights": np.arange(2), "nothing": None},
    )


def result(**changes: object) -> Result:
    given = {
        "recipe": "translation",
        "title": "German into English",
        "preset": "small",
        "seed": 4,
        "settings": {"steps": 4000, "engine": "auto", "bold": False},
        "data": "multi30k",
        "command": "sightline train translation --preset small --seed 4",
        "outcome": outcome(),
        "parameters": 1_234_567,
        "steps": 4000,
        "best_step": 3900,
        "seconds": 4200.0,
        "cpu_seconds": 150.0,
        "device": "cpu",
        "processes": 1,
        "threads": 2,
        "machine": {"cpu": "AMD", "cores": 2},
        "versions": {"python": "3.11", "torch": "2.13"},
    }
    return Result(**{**given, **changes})  # type: ignore[arg-type]


def losses() -> list[dict[str, float]]:
    made = [{"step": n, "loss": 9.0 / n, "part": 1.0} for n in range(1, 4001)]
    made[999]["loss"] = math.nan
    return made


def evaluations() -> list[dict[str, float]]:
    return [{"step": n, "loss": 10.0 / n, "BLEU": n / 100} for n in range(100, 4001, 100)]
