"""The translation task: pairs of sentences, packed batches of them, the loss.

All sentences of a batch lie end to end in one row, and three masks keep them apart: no step is
spent on padding. What is measured in the end is results.py's matter.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from torch.nn import functional

from sightline.errors import DataError, InvalidArgument
from sightline.models.seq2seq_masks import seq2seq_masks
from sightline.models.transformer import Transformer, TransformerConfig
from sightline.nn.batch import Batch
from sightline.readers.parallel_text import ParallelText, read_parallel
from sightline.recipes.rates import check_decay, share_of_peak
from sightline.recipes.training.outcome import Outcome
from sightline.recipes.training.recipe import Settings, Task, Tell
from sightline.recipes.training.seeds import generator
from sightline.recipes.translation.vocabulary import BEGIN, END, Vocabulary

__all__ = ["PRESETS", "Translation", "TranslationSettings"]

# How many sentences are evaluated in one pass.
_EVALUATED = 128


@dataclass(frozen=True, kw_only=True)
class TranslationSettings(Settings):
    """The settings of translation.

    Attributes:
        source, target: the languages, as the files' names end.
        vocab: the most subwords, of both languages together.
        layers, heads, width, hidden, dropout, norm_first: of the model.
        sentences: pairs in a batch.
        longest: pairs with more tokens than this on either side are not learnt from.
        peak: the greatest learning rate.
        warmup: steps until it is reached, in a straight line.
        decay: how it falls then: "cosine" to 0 at the last step, or with the "inverse-root" of
            the step, as published.
        smoothing: how much of each target is spread over all tokens (label smoothing).
        beams, length_penalty: of the search, as for ``sl.nn.generate``.
    """

    source: str = "de"
    target: str = "en"
    vocab: int = 6000
    layers: int = 3
    heads: int = 4
    width: int = 256
    hidden: int = 512
    dropout: float = 0.15
    norm_first: bool = True
    sentences: int = 64
    longest: int = 100
    peak: float = 1e-3
    warmup: int = 400
    decay: str = "cosine"
    smoothing: float = 0.1
    beams: int = 5
    length_penalty: float = 1.0

    def __post_init__(self) -> None:
        check_decay(self.decay)
        if self.sentences < 1 or self.warmup < 1:
            raise InvalidArgument(
                f"got sentences={self.sentences} and warmup={self.warmup}; wanted at least 1."
            )


PRESETS = {
    "small": TranslationSettings(steps=4400, evaluate_every=440, checkpoint_every=100),
    "paper": TranslationSettings(
        steps=100_000,
        evaluate_every=1000,
        checkpoint_every=1000,
        clip=0.0,
        vocab=37_000,
        layers=6,
        heads=8,
        width=512,
        hidden=2048,
        dropout=0.1,
        norm_first=False,
        sentences=900,
        longest=256,
        peak=7e-4,
        warmup=4000,
        decay="inverse-root",
        beams=4,
        length_penalty=0.6,
    ),
    "smoke": TranslationSettings(
        steps=120,
        evaluate_every=60,
        checkpoint_every=40,
        vocab=330,
        layers=1,
        heads=2,
        width=48,
        hidden=96,
        dropout=0.0,
        sentences=32,
        peak=6e-3,
        warmup=20,
        beams=2,
    ),
}


@dataclass(frozen=True)
class Pairs:
    """Sentences with their translations, as text and as tokens; the latter without begin or end."""

    text: ParallelText
    sources: list[list[int]]
    targets: list[list[int]]

    @classmethod
    def of(cls, text: ParallelText, words: Vocabulary) -> Pairs:
        """Cut both sides into subwords."""
        return cls(text, words.tokens(text.sources), words.tokens(text.targets))


class Translation(Task):
    """Learn to translate."""

    def __init__(self, settings: TranslationSettings, data: Path | None, seed: int) -> None:
        self.settings, self.seed = settings, seed
        text = {name: self._read(data, name) for name in ("train", "val", "test_2016_flickr")}
        learnt = text["train"]
        self.words = Vocabulary.train((*learnt.sources, *learnt.targets), settings.vocab)
        train = Pairs.of(learnt, self.words)
        kept = [
            place
            for place, sides in enumerate(zip(train.sources, train.targets, strict=True))
            if max(map(len, sides)) < settings.longest
        ]
        if len(kept) < settings.sentences:
            raise DataError(
                f"got {len(kept)} pairs of sentences of fewer than {settings.longest} tokens; "
                f"wanted at least sentences={settings.sentences}, one batch.",
                path=str(data),
            )
        self.train, self.kept = train, kept
        self.held_out = Pairs.of(text["val"], self.words)
        self.test = Pairs.of(text["test_2016_flickr"], self.words)
        self.model = make_model(settings, self.words.size)

    def _read(self, data: Path | None, name: str) -> ParallelText:
        if data is None:
            raise InvalidArgument("got no data; wanted a folder of parallel text.")
        return read_parallel(data, name, self.settings.source, self.settings.target)

    # -- training -------------------------------------------------------------------------------

    def optimizer(self) -> torch.optim.Optimizer:
        """Return Adam as published; the rate comes from ``rate``."""
        return torch.optim.Adam(self.model.parameters(), lr=1.0, betas=(0.9, 0.98), eps=1e-9)

    def rate(self, step: int) -> float:
        """Return the rate: up in a straight line, then down as ``decay`` says."""
        settings = self.settings
        return settings.peak * share_of_peak(
            step, warmup=settings.warmup, steps=settings.steps, decay=settings.decay
        )

    def batch(self, number: int) -> dict[str, Any]:
        """Return some pairs of an epoch in an order of its own, packed."""
        size = self.settings.sentences
        epoch, place = divmod(number, len(self.kept) // size)
        order = generator(self.seed, "epoch", epoch).permutation(len(self.kept))
        chosen = [self.kept[i] for i in order[place * size : (place + 1) * size]]
        return packed(self.train, chosen)

    def loss(self, model: Any, batch: Any) -> tuple[torch.Tensor, dict[str, float]]:
        """Return the smoothed cross entropy of the target tokens."""
        logits = model(batch["source"], batch["target"], **batch["masks"])
        loss = functional.cross_entropy(
            logits[0], batch["labels"], label_smoothing=self.settings.smoothing
        )
        return loss, {}

    # -- measuring ------------------------------------------------------------------------------

    def evaluate(self, model: Any, tell: Tell) -> dict[str, float]:
        """Return the loss of the held-out pairs, without smoothing, and its exponential."""
        loss = held_out_loss(model, self.held_out, tell)
        return {"loss": loss, "perplexity": math.exp(loss)}

    def finish(self, model: Any, tell: Tell) -> Outcome:
        """Translate the test set, and look at the masks and the attention."""
        from sightline.recipes.translation.results import results

        return results(self, cast(Transformer, model), tell)

    def save(self, folder: Path) -> None:
        """Write the tokenizer."""
        self.words.save(folder / "tokenizer.json")


def make_model(settings: TranslationSettings, vocab: int) -> Transformer:
    """Return the model of the settings, with new weights."""
    return Transformer(
        TransformerConfig(
            vocab=vocab,
            layers=settings.layers,
            heads=settings.heads,
            width=settings.width,
            hidden=settings.hidden,
            dropout=settings.dropout,
            norm_first=settings.norm_first,
            engine=settings.engine,
        )
    )


def packed(pairs: Pairs, chosen: Sequence[int]) -> dict[str, Any]:
    """Return what the model is called with for some pairs, end to end, and the labels [T].

    The target stands behind a token "begin"; its label is the next token, "end" at last.
    """
    source = Batch.from_sequences([[*pairs.sources[i], END] for i in chosen], side="packed")
    target = Batch.from_sequences([[BEGIN, *pairs.targets[i]] for i in chosen], side="packed")
    return {
        "source": source.tokens,
        "target": target.tokens,
        "labels": torch.tensor([token for i in chosen for token in (*pairs.targets[i], END)]),
        "masks": seq2seq_masks(source, target),
    }


def held_out_loss(model: Any, pairs: Pairs, tell: Tell) -> float:
    """Return the mean cross entropy of the pairs' target tokens, in nats, without smoothing."""
    from accelerate.utils import send_to_device

    device = next(model.parameters()).device
    total, count = 0.0, 0
    for start in range(0, len(pairs.sources), _EVALUATED):
        tell("measuring the held-out loss", start, len(pairs.sources))
        chosen = range(start, min(start + _EVALUATED, len(pairs.sources)))
        batch: Any = send_to_device(packed(pairs, chosen), device)
        logits = model(batch["source"], batch["target"], **batch["masks"])
        total += float(functional.cross_entropy(logits[0], batch["labels"], reduction="sum"))
        count += len(batch["labels"])
    return total / count
