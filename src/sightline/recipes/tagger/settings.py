"""What can be chosen in the tagger's recipe, and the presets; what is made of it is task.py's."""

from __future__ import annotations

from dataclasses import dataclass

from sightline.masks.mask import Mask
from sightline.masks.positional import everything, window
from sightline.models.tagger import TaggerConfig
from sightline.models.tagger_words import Words
from sightline.readers.conllu import TAGS
from sightline.recipes.training.recipe import Settings

__all__ = ["PRESETS", "TaggerSettings", "config_of"]


@dataclass(frozen=True, kw_only=True)
class TaggerSettings(Settings):
    """The tagger's settings.

    Attributes:
        sentences: how many a batch has; they lie end to end in one row.
        peak: the highest learning rate.
        warmup: steps that the rate rises; then it falls along a half cosine to 0.
        weight_decay: of AdamW.
        smoothing: how much of each target is spread over all tags.
        encoder: "transformer", "lstm" or "gru".
        positions: "sinusoidal", "learned", "rotary", "none"; "auto" is rotary for a Transformer,
            none for the others.
        window: words that a word sees on each side of it; 0 for all of its sentence.
        layers: of the encoder.
        heads: of a layer's attention.
        width: features of a word in its sentence.
        hidden: features of the feed-forward part.
        word_width: features of a word's own vector.
        spelling_width: features of an affix's vector.
        buckets: numbers that affixes share.
        least: how often a word must occur in training to have a vector of its own.
        dropout: the rate of dropout.
        forget: a word seen n times loses its own vector in training at the rate
            forget / (forget + n), so that the vector of unknown words is learned.
        blank: the rate at which a word loses its spelling too, so that its place must say all.
        target: the test accuracy to reach; 0 for none.
    """

    sentences: int = 64
    peak: float = 2e-3
    warmup: int = 100
    weight_decay: float = 0.01
    smoothing: float = 0.0
    encoder: str = "transformer"
    positions: str = "auto"
    window: int = 0
    layers: int = 2
    heads: int = 4
    width: int = 128
    hidden: int = 256
    word_width: int = 64
    spelling_width: int = 32
    buckets: int = 16384
    least: int = 2
    dropout: float = 0.2
    forget: float = 0.25
    blank: float = 0.05
    target: float = 0.91


def config_of(settings: TaggerSettings, words: Words) -> TaggerConfig:
    """Return the model's configuration.

    Raises:
        InvalidArgument: settings that do not fit together.
    """
    positions = settings.positions
    if positions == "auto":
        positions = "rotary" if settings.encoder == "transformer" else "none"
    return TaggerConfig(
        words=words.size,
        tags=len(TAGS),
        buckets=words.buckets,
        word_width=settings.word_width,
        spelling_width=settings.spelling_width,
        encoder=settings.encoder,  # type: ignore[arg-type]  # the configuration checks the words
        layers=settings.layers,
        heads=settings.heads,
        width=settings.width,
        hidden=settings.hidden,
        positions=positions,  # type: ignore[arg-type]
        dropout=settings.dropout,
        mask=mask_of(settings),
        engine=settings.engine,
    )


def mask_of(settings: TaggerSettings) -> Mask:
    """Return who may see whom in a sentence."""
    return window(settings.window, settings.window) if settings.window else everything()


PRESETS = {
    "small": TaggerSettings(steps=1000, evaluate_every=250, checkpoint_every=250),
    # The encoder of Vaswani et al. 2017, table 3, "base"; needs a GPU.
    "paper": TaggerSettings(
        steps=10000,
        evaluate_every=500,
        checkpoint_every=500,
        positions="sinusoidal",
        layers=6,
        heads=8,
        width=512,
        hidden=2048,
        dropout=0.1,
        smoothing=0.1,
        peak=5e-4,
        warmup=1000,
    ),
    "smoke": TaggerSettings(
        steps=60,
        evaluate_every=30,
        checkpoint_every=20,
        sentences=16,
        layers=1,
        heads=2,
        width=32,
        hidden=48,
        word_width=16,
        spelling_width=8,
        buckets=256,
        dropout=0.0,
        peak=5e-3,
        warmup=10,
        target=0.0,
    ),
}
