"""A small corpus of German and English sentences, made by a grammar, in the corpus's own files.

For the smoke preset and for tests: small enough to be learnt in seconds, and yet the order of words
differs between the two languages, so that the model must look around.
"""

from __future__ import annotations

from itertools import product
from pathlib import Path

from sightline.recipes.training.seeds import generator
from sightline.views.files import write_atomically

__all__ = ["write_sample"]

_WHO = (
    ("Der Hund", "The dog"),
    ("Die Katze", "The cat"),
    ("Ein Kind", "A child"),
    ("Ein Mann", "A man"),
    ("Eine Frau", "A woman"),
)
# In a subordinate clause the German verb stands last.
_DOES = (("schläft", "sleeps"), ("läuft", "runs"), ("lacht", "laughs"), ("wartet", "waits"))
_WHERE = (
    ("im Park", "in the park"),
    ("am See", "at the lake"),
    ("vor dem Haus", "in front of the house"),
    ("auf der Straße", "on the street"),
)
_FRAMES = (
    ("{who} {does} {where}.", "{who} {does} {where}."),
    ("Ich sehe, dass {who} {where} {does}.", "I see that {who} {does} {where}."),
)
_SIZES = {"train": 120, "val": 20, "test_2016_flickr": 20}


def write_sample(folder: Path) -> None:
    """Write train, val and test_2016_flickr in .de and .en: 160 pairs, none of them twice."""
    pairs = [
        (_fill(frame[0], who[0], does[0], where[0]), _fill(frame[1], who[1], does[1], where[1]))
        for frame, who, does, where in product(_FRAMES, _WHO, _DOES, _WHERE)
    ]
    order = generator(0, "sample").permutation(len(pairs))
    start = 0
    folder.mkdir(parents=True, exist_ok=True)
    for name, size in _SIZES.items():
        chosen = [pairs[i] for i in order[start : start + size]]
        start += size
        for side, ending in enumerate(("de", "en")):
            text = "".join(pair[side] + "\n" for pair in chosen)
            write_atomically(folder / f"{name}.{ending}", text)


def _fill(frame: str, who: str, does: str, where: str) -> str:
    inside = who if frame.startswith("{who}") else who[0].lower() + who[1:]
    return frame.format(who=inside, does=does, where=where)
