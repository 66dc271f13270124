"""Source ``hf.4d``: a mask of four axes for a transformers model, used as it is."""

from __future__ import annotations

from dataclasses import replace

from sightline.errors import InvalidArgument
from sightline.recognize.sources.reading import Read, Source, bools_or_added, keywords

SOURCE = Source(
    name="hf.4d",
    reads="attention_mask [batch|1, heads|1, Q, K] of bools or floats, or a dict with it",
    true_means="may attend; floats are added",
)


def read(given: object) -> Read:
    """Read a mask of four axes.

    >>> read([[[[True, False], [True, True]]]]).allowed[0, 0].astype(int)
    array([[1, 0],
           [1, 1]])
    """
    call = keywords(given, SOURCE.name, ("attention_mask",))
    if call.get("attention_mask") is None:
        raise InvalidArgument(f"got no attention_mask for {SOURCE.name}; wanted four axes.")
    found = bools_or_added(call["attention_mask"], "attention_mask", (4,), "attend")
    words = "a mask of four axes replaces the model's own: nothing is added to it"
    return replace(found, evidence=(*found.evidence, words))
