"""A small GPT learns the sentences: some seconds of training under the causal mask.

What it then writes is the matter of writing.py. The lowest loss that any model can have is counted
here too: below it, the future would have leaked.
"""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import torch

import sightline as sl
from sightline.models.gpt import GPT, GPTConfig
from sightline.recipes.demo.frame import frame_of
from sightline.recipes.demo.text import BOS, EOS, Corpus

__all__ = ["Learned", "learn", "lowest_loss"]

# More sentences than this would take more than some seconds.
_MOST_SENTENCES = 8
_CONTEXT = 512
_MOST_STEPS = 300
_RATE = 6e-3
# Nats a token above the lowest loss, at which there is nothing left to learn.
_NEAR = 0.02


@dataclass(frozen=True, slots=True, eq=False)
class Learned:
    """A trained model, and how it came about; losses are in nats a token.

    Attributes:
        model: in evaluation mode.
        sentences: the sentences that were learned, each as its tokens.
        losses: before each step, and at the end.
        lowest: what no model that sees the past only can be below.
        seconds: how long the training took.
    """

    model: GPT
    sentences: tuple[tuple[str, ...], ...]
    losses: tuple[float, ...]
    lowest: float
    seconds: float


def learn(corpus: Corpus, mask: sl.Mask | None = None) -> Learned:
    """Train a GPT on the first sentences of ``corpus`` until it knows them.

    ``mask`` says who may see whom among real words; None for ``sl.causal()``.
    """
    started = time.perf_counter()
    sentences = tuple(sentence.tokens for sentence in corpus.sentences[:_MOST_SENTENCES])
    lowest = lowest_loss(sentences)
    given = frame_of(corpus, [(BOS, *tokens) for tokens in sentences])
    wanted = frame_of(corpus, [(*tokens, EOS) for tokens in sentences])
    seen = (sl.causal() if mask is None else mask) & given.padding
    model = _seeded_model(len(corpus.vocabulary))
    optimizer = torch.optim.Adam(model.parameters(), lr=_RATE)
    losses: list[float] = []
    while True:
        logits = model(given.ids, mask=seen)
        loss = sl.nn.masked_cross_entropy(logits, wanted.ids, given.padding)
        losses.append(loss.item())
        if losses[-1] < lowest + _NEAR or len(losses) > _MOST_STEPS:
            break
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    seconds = time.perf_counter() - started
    return Learned(model.eval(), sentences, tuple(losses), lowest, seconds)


def lowest_loss(sentences: Sequence[Sequence[str]]) -> float:
    """Return the mean entropy of the next word given the words before it, in nats.

    Where sentences begin alike, the word in which they part cannot be known before.

    >>> round(lowest_loss(["ab", "ac"]), 3)  # one choice of two, in six words with both ends
    0.231
    >>> lowest_loss(["ab"])
    0.0
    """
    ended = [(*tokens, EOS) for tokens in sentences]
    past = Counter(tokens[:n] for tokens in ended for n in range(len(tokens)))
    following = Counter(tokens[: n + 1] for tokens in ended for n in range(len(tokens)))
    total = sum(times * math.log(past[words[:-1]] / times) for words, times in following.items())
    return total / past.total()


def _seeded_model(vocabulary: int) -> GPT:
    config = GPTConfig(
        vocab=vocabulary, layers=2, heads=4, width=64, context=_CONTEXT, positions="rotary"
    )
    with torch.random.fork_rng(devices=[]):  # torch's random numbers stay as they were
        torch.manual_seed(0)
        return GPT(config)
