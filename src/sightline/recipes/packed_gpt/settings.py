"""What can be chosen for a GPT on packed documents. There is no dropout: see the class."""

from __future__ import annotations

from dataclasses import dataclass

from sightline.models.config_checks import check_sizes
from sightline.models.gpt import GPTConfig
from sightline.recipes.training.recipe import Settings

__all__ = ["FILE", "PRESETS", "VOCABULARY", "PackedSettings", "gpt_config"]

# The text in its folder; the characters in the run's folder.
FILE, VOCABULARY = "input.txt", "vocabulary.json"


@dataclass(frozen=True, kw_only=True)
class PackedSettings(Settings):
    """Sizes and rates; nothing is drawn at random in a step.

    Dropout is left out on purpose: what it drops depends on which process holds a token, and the
    curve should not.

    Attributes:
        layers: blocks.
        heads: attention heads of a block.
        width: features of a character.
        context: characters in a sequence, of several documents; a longer document is cut.
        batch: sequences in a batch; a step has ``micro_batches`` of these.
        positions: "rotary" or "learned"; they begin anew in each document.
        rate: the greatest learning rate.
        warm_up: steps until the greatest; a cosine leads from there to 0.
        beta_1: AdamW's memory of gradients.
        beta_2: AdamW's memory of their squares.
        decay: of weights in matrices; not of norms and shifts.
        sample: how many characters the samples in the report have at most.
    """

    steps: int = 500
    evaluate_every: int = 250
    checkpoint_every: int = 50
    layers: int = 4
    heads: int = 4
    width: int = 128
    context: int = 1024
    batch: int = 1
    micro_batches: int = 2
    positions: str = "rotary"
    rate: float = 2e-3
    warm_up: int = 50
    beta_1: float = 0.9
    beta_2: float = 0.99
    decay: float = 0.1
    sample: int = 300

    def __post_init__(self) -> None:
        check_sizes(self, "batch", "warm_up", "sample")
        # The report shows two documents of two characters or more in one sequence.
        check_sizes(self, "context", least=4)


PRESETS = {
    "small": PackedSettings(),
    # As many layers, features and characters a step as nanoGPT's, in one sequence.
    "paper": PackedSettings(
        steps=5000,
        evaluate_every=500,
        checkpoint_every=250,
        layers=6,
        heads=6,
        width=384,
        context=16384,
        rate=1e-3,
        warm_up=100,
    ),
    "smoke": PackedSettings(
        steps=40,
        evaluate_every=20,
        checkpoint_every=10,
        layers=2,
        heads=2,
        width=32,
        context=450,
        rate=1e-2,
        warm_up=5,
        sample=60,
    ),
}


def gpt_config(settings: PackedSettings, vocab: int) -> GPTConfig:
    """Return the model's configuration for so many characters."""
    return GPTConfig(
        vocab=vocab,
        layers=settings.layers,
        heads=settings.heads,
        width=settings.width,
        context=settings.context,
        positions=settings.positions,  # pyright: ignore[reportArgumentType]  (checked there)
        engine=settings.engine,
    )
