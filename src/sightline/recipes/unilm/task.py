"""UniLM's training: batches that mix four ways of reading, their loss, and fine-tuning to write.

How masked tokens are chosen is cloze.py's; what is measured is judging.py's.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from sightline.errors import InvalidArgument
from sightline.models.unilm import UniLM, UniLMConfig, begins
from sightline.models.unilm_masks import MODES, Mode, segment_ids, unilm_mask
from sightline.nn.batch import Batch
from sightline.readers.parallel_text import read_parallel
from sightline.recipes.decay import matrices_decay
from sightline.recipes.subwords import train_subwords
from sightline.recipes.training.outcome import Outcome
from sightline.recipes.training.recipe import Task, Tell
from sightline.recipes.training.seeds import generator
from sightline.recipes.unilm.cloze import (
    SPECIAL,
    Masking,
    Pair,
    Sequenced,
    cloze,
    flat_places,
    lay_out,
)
from sightline.recipes.unilm.settings import UniLMSettings
from sightline.views.files import write_atomically

__all__ = ["TOKENIZER", "UniLMTask", "assemble", "build", "model_of"]

TOKENIZER = "tokenizer.json"

_SPLITS = ("train", "val", "test_2016_flickr")

# One round of the mixture: 1/3 bidirectional, 1/3 sequence to sequence, 1/6 from either side.
_MIXTURE: tuple[Mode, ...] = (
    "bidirectional",
    "seq2seq",
    "left_to_right",
    "bidirectional",
    "seq2seq",
    "right_to_left",
)


class UniLMTask(Task):
    """One UniLM, the pairs it learns from, and those it is judged by.

    Args:
        settings: sizes and shares.
        texts: pairs of sentences by split: "train", "val" and "test_2016_flickr".
        seed: what all draws come from.

    Raises:
        InvalidArgument: no pair that is short enough to learn from.
    """

    metric = "writing"
    better = "lower"

    def __init__(
        self, settings: UniLMSettings, texts: dict[str, list[tuple[str, str]]], seed: int
    ) -> None:
        self.settings, self.seed, self.texts = settings, seed, texts
        sentences = (text for pair in texts["train"] for text in pair)
        self.tokenizer = train_subwords(sentences, settings.vocab, SPECIAL, lowercase=True)
        self.vocab = self.tokenizer.get_vocab_size()
        self.pairs = {split: self._encode(texts[split]) for split in texts}
        self.train = [
            pair
            for pair in self.pairs["train"]
            if len(pair.source) + len(pair.target) <= settings.longest
        ]
        if not self.train:
            raise InvalidArgument(
                f"got no training pair of at most longest={settings.longest} subwords; wanted "
                "some; raise longest and context."
            )
        self.pretraining = Masking(settings.masked, settings.spans)
        self.tuning = Masking(settings.tuning_masked, settings.spans, target_only=True)
        self.model = model_of(settings, self.vocab)

    def _encode(self, pairs: Sequence[tuple[str, str]]) -> list[Pair]:
        sides = [self.tokenizer.encode_batch(list(side)) for side in zip(*pairs, strict=True)]
        return [Pair(*(side.ids for side in both)) for both in zip(*sides, strict=True)]

    # -- learning -------------------------------------------------------------------------------

    def optimizer(self) -> torch.optim.Optimizer:
        """Return Adam with weight decay on matrices, not on biases and norms."""
        groups = matrices_decay(self.model, self.settings.weight_decay)
        return torch.optim.AdamW(groups, lr=self.settings.learning_rate)

    def rate(self, step: int) -> float:
        """Return a rate that rises in a line over ``warmup``, then falls in a line to 0."""
        steps, warmup = self.settings.steps, self.settings.warmup
        share = step / warmup if step < warmup else (steps - step) / max(1, steps - warmup)
        return self.settings.learning_rate * max(share, 0.02)

    def batch(self, number: int) -> dict[str, Any]:
        """Return packed sequences, their mask, and which tokens are asked for."""
        size = self.settings.sequences
        rng = generator(self.seed, "batch", number)
        chosen = [self.train[index] for index in self._indices(number * size, size)]
        is_tuning = number >= self.settings.steps - self.settings.tuning
        sequences: list[Sequenced] = []
        for place, pair in enumerate(chosen):
            if is_tuning and rng.random() < self.settings.tuning_share:
                sequence, masking = lay_out(pair, "seq2seq"), self.tuning
            else:
                mode = _MIXTURE[place % len(_MIXTURE)]
                sequence, masking = self._read(pair, mode, rng), self.pretraining
            sequences.append(cloze(sequence, masking, self.vocab, rng))
        return assemble(sequences)

    def _indices(self, start: int, count: int) -> list[int]:
        """Return which pairs stand at places of an endless row of epochs, each in its own order."""
        many = len(self.train)
        found: list[int] = []
        while len(found) < count:
            epoch, place = divmod(start + len(found), many)
            order = self._order(epoch)
            found += order[place : place + count - len(found)].tolist()
        return found

    def _order(self, epoch: int) -> np.ndarray:
        return generator(self.seed, "epoch", epoch).permutation(len(self.train))

    def _read(self, pair: Pair, mode: Mode, rng: np.random.Generator) -> Sequenced:
        """Return a pair in a mode; read from both sides, half of the targets are another's."""
        if mode != "bidirectional":
            return lay_out(pair, mode)
        follows = bool(rng.random() < 0.5)
        if not follows:
            other = self.train[int(rng.integers(len(self.train)))]
            room = self.settings.longest - len(pair.source)
            pair = Pair(pair.source, other.target[: max(1, room)])
        return lay_out(pair, mode, follows=follows)

    def loss(self, model: Any, batch: Any) -> tuple[torch.Tensor, dict[str, float]]:
        """Return the cloze loss of all masked tokens, and whether target follows source, added."""
        logits = model(
            batch["tokens"],
            segments=batch["segments"],
            positions=batch["positions"],
            mask=batch["mask"],
            places=batch["places"],
            first=batch["first"],
        )
        each = functional.cross_entropy(logits.mlm, batch["answers"], reduction="none")
        told = each.detach()
        parts = {
            mode: float(told[batch["modes"] == index].mean())
            for index, mode in enumerate(MODES)
            if bool((batch["modes"] == index).any())
        }
        loss = each.mean()
        if len(batch["follows"]):
            follows = functional.cross_entropy(logits.nsp, batch["follows"])
            parts["follows"] = float(follows.detach())
            return loss + follows, parts
        return loss + 0.0 * logits.nsp.sum(), parts  # every weight has its place in the backward

    # -- judging --------------------------------------------------------------------------------

    def evaluate(self, model: Any, tell: Tell) -> dict[str, float]:
        """Return the cloze loss under each mask, and the loss of writing the target."""
        from sightline.recipes.unilm.judging import figures

        return figures(self, model, tell)

    def finish(self, model: Any, tell: Tell) -> Outcome:
        """Return the figures, translations, masks and attention."""
        from sightline.recipes.unilm.showing import outcome

        return outcome(self, model, tell)

    def save(self, folder: Path) -> None:
        """Write the subwords: with them and the weights, a text can be read."""
        write_atomically(folder / TOKENIZER, self.tokenizer.to_str())


def model_of(settings: UniLMSettings, vocab: int) -> UniLM:
    """Return a new model of the sizes that were set."""
    return UniLM(
        UniLMConfig(
            vocab=vocab,
            layers=settings.layers,
            heads=settings.heads,
            width=settings.width,
            hidden=settings.hidden,
            context=settings.context,
            dropout=settings.dropout,
            engine=settings.engine,
        )
    )


def assemble(sequences: Sequence[Sequenced]) -> dict[str, Any]:
    """Return sequences packed into one row, and all that a UniLM and its loss need of them.

    ``places`` and ``first`` are columns of the row; ``modes`` is the mode of each place, as its
    number in ``MODES``; ``follows`` is 0 where the target is the source's own, 1 where it is not,
    for the sequences that begin at ``first``.
    """
    batch = Batch.from_sequences([torch.from_numpy(each.tokens) for each in sequences])
    packed = batch.packed()
    modes: list[Mode] = [each.mode for each in sequences]
    sources = [each.source for each in sequences]
    asked = [index for index, each in enumerate(sequences) if each.follows is not None]
    numbers = [np.full(len(each.places), MODES.index(each.mode)) for each in sequences]
    return {
        "tokens": packed.tokens,
        "segments": segment_ids(packed, modes, sources),
        "positions": packed.positions,
        "mask": unilm_mask(packed, modes, sources),
        "places": torch.from_numpy(flat_places(sequences)),
        "answers": torch.from_numpy(np.concatenate([each.answers for each in sequences])),
        "modes": torch.from_numpy(np.concatenate(numbers)),
        "first": begins(packed)[asked],
        "follows": torch.tensor([int(not sequences[index].follows) for index in asked]),
    }


def build(settings: UniLMSettings, data: Path | None, seed: int) -> UniLMTask:
    """Return the task of learning from the corpus in a folder."""
    if data is None:
        raise InvalidArgument(
            "got no folder; wanted one with Multi30k's files; name it with --data."
        )
    texts = {split: read_parallel(data, split, "de", "en") for split in _SPLITS}
    pairs = {
        split: list(zip(text.sources, text.targets, strict=True)) for split, text in texts.items()
    }
    return UniLMTask(settings, pairs, seed)
