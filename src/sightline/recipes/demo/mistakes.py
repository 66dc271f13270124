"""The same attention done wrongly: the table of mistakes, in the order in which they are told.

A mistake is one function from the scene to its record, in one of the two files named below;
adding one is one function and one row here.
"""

from __future__ import annotations

from sightline.recipes.demo.records import Mistake
from sightline.recipes.demo.scene import Scene
from sightline.recipes.demo.wrong_numbers import (
    finite_constant,
    infinite_padding,
    unguarded_softmax,
)
from sightline.recipes.demo.wrong_sight import (
    inverted_convention,
    mask_after_softmax,
    no_causal_mask,
    no_padding_mask,
    wrong_corner,
    zeroed_scores,
)

__all__ = ["MISTAKES", "make_every_mistake"]

MISTAKES = (
    no_padding_mask,
    no_causal_mask,
    mask_after_softmax,
    zeroed_scores,
    inverted_convention,
    wrong_corner,
    infinite_padding,
    finite_constant,
    unguarded_softmax,
)


def make_every_mistake(scene: Scene) -> tuple[Mistake, ...]:
    """Make every mistake on the scene's numbers and measure it, and the right way too."""
    return tuple(mistake(scene) for mistake in MISTAKES)
