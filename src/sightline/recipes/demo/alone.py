"""Is a padded sentence what it is alone? The same layers with the batch and without it.

Padding could matter in two ways: a real word could see it (a leak), or the larger frame could
change the order in which a matrix product sums (rounding). Other numbers put into the padding
tell the two apart: the sizes stay the same, so only a leak could change a bit.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

import sightline as sl
from sightline.recipes.demo.frame import Frame
from sightline.recipes.demo.layer import Model, Way
from sightline.recipes.demo.records import Agreement

__all__ = ["PairStates", "filled_padding", "pair_step", "pairs_alone", "sentences_alone"]

_FILLS = (("other words", 1.0), ("numbers a million times larger", 1e6), ("NaN", float("nan")))


def sentences_alone(model: Model, frame: Frame) -> list[Agreement]:
    """Compare self-attention over the padded batch with every sentence by itself."""
    together = model.encoder(model.embed(frame.ids), frame.padding)
    return [
        _agreement(
            "self-attention",
            row,
            model.way,
            together[row, frame.valid[row]],
            model.encoder(model.embed(frame.alone(row)), sl.everything())[0],
        )
        for row in range(len(frame.lengths))
    ]


def filled_padding(model: Model, frame: Frame) -> list[Agreement]:
    """Compare the padded batch with itself when something else stands in the padding."""
    states = model.embed(frame.ids)
    expected = model.encoder(states, frame.padding)[frame.valid]
    generator = torch.Generator().manual_seed(1)
    noise = torch.randn(states.shape, generator=generator, dtype=torch.float64).to(states)
    found = []
    for name, factor in _FILLS:
        filled = torch.where(frame.valid[..., None], states, noise * factor)
        actual = model.encoder(filled, frame.padding)[frame.valid]
        way = f"{model.way.name}, padding filled with {name}"
        found.append(_compare("self-attention", -1, way, actual, expected))
    return found


@dataclass(frozen=True, slots=True, eq=False)
class PairStates:
    """What the three attentions of an encoder-decoder step give, each [batch, length, width]."""

    encoder_self: Tensor
    decoder_self: Tensor
    cross: Tensor


def pair_step(
    model: Model, source: Tensor, target: Tensor, source_mask: sl.Mask, target_mask: sl.Mask
) -> PairStates:
    """Run the three attentions: source ids [batch, S], target ids [batch, T].

    ``source_mask`` says which source words are real. It serves twice: in the encoder, where
    source words ask, and in the cross attention, where target words ask the same source words;
    it says nothing about who asks, so it holds for every row of either.
    """
    encoded = model.encoder(model.embed(source), source_mask)
    decoded = model.decoder(model.embed(target), sl.causal() & target_mask)
    return PairStates(encoded, decoded, model.cross(decoded, source_mask, memory=encoded))


def pairs_alone(model: Model, sources: Frame, targets: Frame) -> list[Agreement]:
    """Compare the three attentions over padded pairs with every pair by itself."""
    together = pair_step(model, sources.ids, targets.ids, sources.padding, targets.padding)
    found = []
    for row in range(len(sources.lengths)):
        alone = pair_step(
            model, sources.alone(row), targets.alone(row), sl.everything(), sl.everything()
        )
        for name, frame in (
            ("encoder self", sources),
            ("decoder self", targets),
            ("cross", targets),
        ):
            field = name.replace(" ", "_")
            padded = getattr(together, field)[row, frame.valid[row]]
            found.append(_agreement(name, row, model.way, padded, getattr(alone, field)[0]))
    return found


def _agreement(attention: str, row: int, way: Way, padded: Tensor, alone: Tensor) -> Agreement:
    return _compare(attention, row, way.name, padded, alone)


def _compare(attention: str, row: int, way: str, actual: Tensor, expected: Tensor) -> Agreement:
    """Record the largest difference; a NaN on either side is a difference of infinity."""
    difference = (actual - expected).abs().nan_to_num(nan=float("inf")).max().item()
    return Agreement(attention, row, way, difference, _bits(actual) == _bits(expected))


def _bits(numbers: Tensor) -> bytes:
    """Return the numbers as they lie in memory: 0.0 and -0.0 differ here, as they do there."""
    return numbers.contiguous().numpy().tobytes()
