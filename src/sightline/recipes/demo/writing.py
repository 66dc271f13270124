"""The trained model writes with a cache: the text, whether it is what one pass says, how quickly.

Three claims are measured: with the cache each number is that of a full pass over the text; in a
batch of starts of different lengths each text is the one written alone; and it is quicker.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence

import torch
from torch import Tensor

import sightline as sl
from sightline.models.gpt import GPT
from sightline.recipes.demo.learning import Learned
from sightline.recipes.demo.records import LearningRecord, WrittenText
from sightline.recipes.demo.text import BOS, EOS, Corpus

__all__ = ["largest_difference", "starts_of", "write"]

# How many texts are drawn at random; how long the texts are where only time counts.
_DRAWN = 4
_PAST = 384
_TRIES = 5


def write(learned: Learned, corpus: Corpus) -> LearningRecord:
    """Let the model go on from the start of every sentence it has learned, and measure it."""
    model, vocabulary = learned.model, corpus.vocabulary
    starts = [(BOS, *start) for start in starts_of(learned.sentences)]
    prompts = [corpus.ids(start) for start in starts]
    most = 1 + max(len(tokens) for tokens in learned.sentences)
    eos = vocabulary.index(EOS)
    together = sl.nn.generate(model, prompts, max_new_tokens=most, eos=eos)
    alone = [sl.nn.generate(model, [ids], max_new_tokens=most, eos=eos) for ids in prompts]
    drawn = sl.nn.generate(
        model,
        [corpus.ids([BOS])] * _DRAWN,
        max_new_tokens=most,
        eos=eos,
        strategy="sample",
        seed=list(range(_DRAWN)),
    )
    known = {(BOS, *tokens, EOS) for tokens in learned.sentences}

    def text_of(start: tuple[str, ...], ids: Tensor, logprobs: Tensor) -> WrittenText:
        words = tuple(vocabulary[i] for i in ids.tolist())
        chance = math.exp(logprobs.double().sum().item())
        return WrittenText(start, words, chance, (*start, *words) in known)

    cached, anew = _words_per_second(model, len(prompts))
    return LearningRecord(
        sentences=len(learned.sentences),
        parameters=sum(parameter.numel() for parameter in model.parameters()),
        steps=len(learned.losses) - 1,
        losses=learned.losses,
        lowest_loss=learned.lowest,
        training_seconds=learned.seconds,
        texts=tuple(map(text_of, starts, together.tokens, together.logprobs)),
        drawn=tuple(map(text_of, [(BOS,)] * _DRAWN, drawn.tokens, drawn.logprobs)),
        exact=together.exact,
        max_difference_cache=max(
            largest_difference(model, whole, len(start))
            for whole, start in zip(together.sequences(), prompts, strict=True)
        ),
        different_in_batch=sum(
            not one.tokens[0].equal(row) for one, row in zip(alone, together.tokens, strict=True)
        ),
        timed_past=_PAST,
        cached_per_second=cached,
        anew_per_second=anew,
    )


def starts_of(sentences: Sequence[tuple[str, ...]]) -> tuple[tuple[str, ...], ...]:
    """Return how each sentence begins, as far as no other one does; equal ones count once.

    >>> starts_of([("I", "saw", "it"), ("I", "have"), ("You",)])
    (('I', 'saw'), ('I', 'have'), ('You',))
    """
    different = tuple(dict.fromkeys(sentences))

    def start_of(sentence: tuple[str, ...]) -> tuple[str, ...]:
        others = [other for other in different if other != sentence]
        for n in range(len(sentence)):
            if all(other[:n] != sentence[:n] for other in others):
                return sentence[:n]
        return sentence

    return tuple(start_of(sentence) for sentence in different)


@torch.inference_mode()
def largest_difference(model: GPT, ids: Tensor, start: int) -> float:
    """Compare the logits of one full pass with those of a start and one word at a time after it.

    Args:
        model: the language model.
        ids: [length] the text.
        start: how many words go in at once.
    """
    ids = ids[None]
    whole = model(ids)
    cache = model.new_cache(1, ids.shape[1])
    pieces = ids.split([start, *[1] * (ids.shape[1] - start)], dim=1)
    steps = [model(piece, cache=cache.extend(piece.shape[1])) for piece in pieces]
    return (torch.cat(steps, dim=1) - whole).abs().max().item()


@torch.inference_mode()
def _words_per_second(model: GPT, rows: int) -> tuple[float, float]:
    """Return how many next words there are a second with the cache, and by computing all anew.

    Both for texts of ``_PAST`` words, ``rows`` of them at once; the quickest of several tries,
    since only load makes one slower.
    """
    vocabulary = model.config.vocab
    text = torch.arange(rows * (_PAST + _TRIES)).reshape(rows, -1) % vocabulary
    cache = model.new_cache(rows, text.shape[1])
    model(text[:, :_PAST], cache=cache.extend(_PAST))
    cached, anew = [], []
    for t in range(_PAST, text.shape[1]):
        begun = time.perf_counter()
        model(text[:, t : t + 1], cache=cache.extend(1))
        between = time.perf_counter()
        model(text[:, t - _PAST : t])
        cached.append(between - begun)
        anew.append(time.perf_counter() - between)
    return rows / min(cached), rows / min(anew)
