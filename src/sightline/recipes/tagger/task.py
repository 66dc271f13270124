"""The tagger's task: sentences of a treebank as packed batches, the loss, and the held-out figures.

What comes out of it in the end is outcome.py's part.
"""

from __future__ import annotations

import math
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import torch

from sightline.errors import DataError, InvalidArgument
from sightline.masks.data import documents
from sightline.models.tagger import Tagger
from sightline.models.tagger_words import UNKNOWN, Words
from sightline.nn.batch import Batch
from sightline.nn.losses import masked_cross_entropy
from sightline.readers.conllu import TAGS
from sightline.recipes.decay import matrices_decay
from sightline.recipes.tagger.outcome import outcome
from sightline.recipes.tagger.settings import TaggerSettings, config_of
from sightline.recipes.tagger.tagging import WORDS_FILE, probabilities
from sightline.recipes.tagger.treebank import read_treebank
from sightline.recipes.training.outcome import Outcome
from sightline.recipes.training.recipe import Task, Tell
from sightline.recipes.training.seeds import generator, seed_for
from sightline.views.files import write_atomically

__all__ = ["TaggerTask", "build"]

NO_SPELLING = 0  # a number that no affix has


class TaggerTask(Task):
    """Learn the tags of a treebank's words."""

    metric = "accuracy"
    better = "higher"

    def __init__(self, settings: TaggerSettings, data: Path, seed: int) -> None:
        self.settings, self.seed = settings, seed
        self.bank = read_treebank(data)
        if not 1 <= settings.sentences <= len(self.bank.train):
            raise InvalidArgument(
                f"got sentences={settings.sentences} a batch; wanted 1 to {len(self.bank.train)}, "
                "of which the training part consists."
            )
        text = [word for sentence in self.bank.train for word in sentence.words]
        self.words = Words.from_text(text, least=settings.least, buckets=settings.buckets)
        self.rows = [self.words.rows(sentence.words) for sentence in self.bank.train]
        numbers = {tag: number for number, tag in enumerate(TAGS)}
        self.targets = [
            np.array([numbers[tag] for tag in sentence.tags]) for sentence in self.bank.train
        ]
        self.forgotten = self._rates(Counter(word.lower() for word in text))
        self.epoch: tuple[int, np.ndarray] | None = None
        torch.manual_seed(seed_for(seed, "weights"))
        config = config_of(settings, self.words)
        self.mask = config.mask
        self.model = Tagger(config)

    def _rates(self, counts: Counter[str]) -> np.ndarray:
        """Return the rate at which each word's own vector is left out, by the word's number."""
        rates = np.zeros(self.words.size)
        for number, word in enumerate(self.words.known, UNKNOWN + 1):
            rates[number] = self.settings.forget / (self.settings.forget + counts[word])
        return rates

    def optimizer(self) -> torch.optim.Optimizer:
        """AdamW; biases and norms do not decay."""
        groups = matrices_decay(self.model, self.settings.weight_decay)
        return torch.optim.AdamW(groups, lr=self.settings.peak, betas=(0.9, 0.98), fused=True)

    def rate(self, step: int) -> float:
        """A line up to the peak, then half a cosine down to 0."""
        warmup, steps = self.settings.warmup, self.settings.steps
        if step <= warmup:
            return self.settings.peak * step / warmup
        done = (step - warmup) / max(1, steps - warmup)
        return self.settings.peak * 0.5 * (1 + math.cos(math.pi * min(1.0, done)))

    def batch(self, number: int) -> dict[str, torch.Tensor]:
        """Sentences of one epoch's order, end to end; some words forgotten, some blanked."""
        many = self.settings.sentences
        epoch, place = divmod(number, len(self.rows) // many)
        chosen = self._order(epoch)[place * many : (place + 1) * many]
        rows = [self._worn(self.rows[n], number, n) for n in chosen]
        packed = Batch.from_sequences([torch.from_numpy(each) for each in rows], side="packed")
        return {
            "tokens": packed.tokens,
            "positions": packed.positions,
            "lengths": torch.tensor(packed.lengths),
            "targets": torch.from_numpy(np.concatenate([self.targets[n] for n in chosen]))[None],
        }

    def _order(self, epoch: int) -> np.ndarray:
        """Return the order of an epoch's sentences; that of the last one asked for is kept."""
        if self.epoch is None or self.epoch[0] != epoch:
            order = generator(self.seed, "order", epoch).permutation(len(self.rows))
            self.epoch = (epoch, order)
        return self.epoch[1]

    def _worn(self, rows: np.ndarray, number: int, sentence: int) -> np.ndarray:
        """Return a sentence's rows with some words' own numbers, or all of their numbers, gone."""
        draws = generator(self.seed, "wear", number, int(sentence)).random((2, len(rows)))
        rows = rows.copy()
        rows[draws[0] < self.forgotten[rows[:, 0]], 0] = UNKNOWN
        gone = draws[1] < self.settings.blank
        rows[gone, 0], rows[gone, 1:] = UNKNOWN, NO_SPELLING
        return rows

    def loss(self, model: Any, batch: Any) -> tuple[torch.Tensor, dict[str, float]]:
        """Return the mean cross entropy of the words' tags, in nats."""
        own = documents(lengths=batch["lengths"].tolist())
        logits = model(batch["tokens"], positions=batch["positions"], mask=self.mask & own)
        targets = batch["targets"]
        real = torch.ones_like(targets, dtype=torch.bool)
        smoothing = self.settings.smoothing
        return masked_cross_entropy(logits, targets, real, label_smoothing=smoothing), {}

    def evaluate(self, model: Any, tell: Tell) -> dict[str, float]:
        """Return accuracy and loss (nats a word) on the dev part."""
        found = probabilities(model, self.words, [each.words for each in self.bank.dev], tell)
        rows = np.concatenate(found)
        targets = np.array([TAGS.index(tag) for each in self.bank.dev for tag in each.tags])
        own = rows[np.arange(len(rows)), targets].astype(np.float64)
        return {
            "accuracy": float((rows.argmax(1) == targets).mean()),
            "loss": float(-np.log(np.maximum(own, 1e-30)).mean()),
        }

    def finish(self, model: Any, tell: Tell) -> Outcome:
        """Return figures on the test part, examples and pictures."""
        return outcome(model, self.words, self.bank, self.settings, tell)

    def save(self, folder: Path) -> None:
        """Write the words that have a number."""
        write_atomically(folder / WORDS_FILE, self.words.to_json())


def build(settings: TaggerSettings, data: Path | None, seed: int) -> TaggerTask:
    """Return the task; ``data`` holds the treebank.

    Raises:
        DataError: no folder, or files in it that are missing or malformed.
    """
    if data is None:
        raise DataError(
            "got no folder; wanted one with a treebank in CoNLL-U; name it with --data.", path="ewt"
        )
    return TaggerTask(settings, Path(data), seed)
