"""BERT from raw text: masked tokens and next sentences of the English Web Treebank.

Held-out text must be told better than by the frequencies of tokens alone. The task is
task.py's; here are the text, the sizes and the figures.
"""

from __future__ import annotations

from itertools import groupby
from pathlib import Path

import numpy as np

from sightline.errors import InvalidArgument
from sightline.readers.conllu import read_conllu
from sightline.readers.lines import find_file
from sightline.recipes.bert.outcome import unigram_loss
from sightline.recipes.bert.sample import write_treebank
from sightline.recipes.bert.task import BertSettings, PreTraining
from sightline.recipes.training.outcome import Figure
from sightline.recipes.training.recipe import Recipe

__all__ = ["RECIPE", "HeldOut", "build", "read_treebank"]


class HeldOut(PreTraining):
    """Judged by text that was not trained on."""

    notes = (
        "BERT was pre-trained on 3.3 billion words, with a vocabulary of 30,522; the treebank has "
        "0.2 million words to train on, and the vocabulary is trained on them.",
        "The unigram loss is that of the same masked tokens, if each is told by its frequency in "
        "the training text (every token counted once more than it occurs).",
    )

    def figures(self, measured: dict[str, float]) -> tuple[Figure, ...]:
        """Return the loss beside that of frequencies alone, and the accuracies."""
        masked = np.concatenate([each.masked for each in self.instances["test"]])
        vocab = self.tokenizer.get_vocab_size()
        unigram = unigram_loss(self.documents["train"], masked, vocab)
        return (
            Figure(
                "test: loss of masked tokens, nats",
                measured["mlm_loss"],
                target=unigram,
                better="lower",
                note="the target is the unigram loss of the same tokens",
            ),
            Figure("test: unigram loss of the same tokens, nats", unigram, better="lower"),
            Figure(
                "test: unigram loss with frequencies of the test tokens themselves, nats",
                _entropy(masked, vocab),
                better="lower",
                note="no unigram model can be better on these tokens",
            ),
            Figure("test: masked tokens told right", measured["mlm_accuracy"]),
            Figure("test: next sentences told right", measured["nsp_accuracy"]),
        )


def _entropy(tokens: np.ndarray, vocab: int) -> float:
    """Return the entropy of the tokens' own frequencies, in nats."""
    counts = np.bincount(tokens, minlength=vocab)
    shares = counts[counts > 0] / len(tokens)
    return float(-(shares * np.log(shares)).sum())


def read_treebank(folder: Path) -> dict[str, list[list[str]]]:
    """Return the documents of each part of the treebank, sentences in order, as they are written.

    Args:
        folder: with en_ewt-ud-train.conllu, -dev and -test, each plain or gzipped.

    Raises:
        DataError: a file that is missing or malformed.
    """
    texts: dict[str, list[list[str]]] = {}
    for part in ("train", "dev", "test"):
        path = find_file(folder, f"en_ewt-ud-{part}.conllu", "CoNLL-U with sentences in order")
        sentences = groupby(read_conllu(path), key=lambda sentence: sentence.document)
        texts[part] = [[sentence.text for sentence in group] for _, group in sentences]
    return texts


def build(settings: BertSettings, data: Path | None, seed: int) -> PreTraining:
    """Return the task; ``data`` is a folder with the treebank."""
    if data is None:
        raise InvalidArgument(
            "got no folder; wanted one with the treebank's files; name it with --data."
        )
    return HeldOut(settings, read_treebank(data), seed)


RECIPE = Recipe(
    name="bert",
    title="BERT from raw text (English Web Treebank): masked tokens, next sentences",
    corpus="ewt",
    presets={
        "small": BertSettings(
            steps=2600,
            evaluate_every=260,
            checkpoint_every=130,
            vocab=4000,
            layers=3,
            heads=4,
            width=128,
            hidden=512,
            dropout=0.0,
            batch=16,
            rate=1e-3,
            warmup=200,
        ),
        # Devlin et al. 2019, sections 3 and A.2: BERT-base, its first 90 % of updates.
        "paper": BertSettings(
            steps=1_000_000,
            evaluate_every=10_000,
            checkpoint_every=1000,
            vocab=30522,
            layers=12,
            heads=12,
            width=768,
            hidden=3072,
            batch=256,
            rate=1e-4,
            warmup=10_000,
        ),
        "smoke": BertSettings(
            steps=240,
            evaluate_every=120,
            checkpoint_every=60,
            vocab=160,
            layers=1,
            heads=2,
            width=64,
            hidden=64,
            dropout=0.0,
            max_length=32,
            duplicates=3,
            batch=8,
            rate=3e-3,
            warmup=20,
        ),
    },
    build=build,
    sample=write_treebank,
)
