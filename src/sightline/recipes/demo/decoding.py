"""Every prefix out of one pass: what is trained in parallel is what is predicted step by step.

Under a causal mask, row t of one pass over the whole sentence depends on the words 0..t only, so
it is the pass over that prefix alone, and the pass of one query at ``q_offset=t``. This is by
design and no coincidence. Also here: a word that occurs twice, which only a mask or positions
can tell apart.
"""

from __future__ import annotations

import torch
from torch import Tensor

import sightline as sl
from sightline.recipes.demo.frame import Frame
from sightline.recipes.demo.layer import Model
from sightline.recipes.demo.records import DecodingRecord, PrefixStep, TwinRecord
from sightline.recipes.demo.text import Corpus

__all__ = ["every_prefix", "twin_words"]

# Two words whose scores differ by no more than rounding are the same guess.
_TIE = 1e-4


def every_prefix(model: Model, corpus: Corpus, frame: Frame, example: int) -> DecodingRecord:
    """Compare one masked pass with one pass a prefix, and with one query a step."""
    everything = []
    for row in range(len(frame.lengths)):
        everything.append(_steps(model, corpus, frame.alone(row)))
    steps = [step for sentence in everything for step in sentence]
    return DecodingRecord(
        sentence=example,
        steps=tuple(everything[example]),
        prefixes=len(steps),
        max_difference_alone=max(step.difference_alone for step in steps),
        max_difference_decode=max(step.difference_decode for step in steps),
        different_guesses=sum(step.guess_one_pass != step.guess_alone for step in steps),
    )


def _steps(model: Model, corpus: Corpus, ids: Tensor) -> list[PrefixStep]:
    """Return the steps of one sentence, ids [1, length]."""
    words = corpus.vocabulary
    tokens = [words[i] for i in ids[0].tolist()]
    states = model.embed(ids)
    one_pass = model.decoder(states, sl.causal())[0]
    query, key, value = model.decoder.qkv(states)
    found = []
    for t in range(len(tokens)):
        alone = model.decoder(model.embed(ids[:, : t + 1]), sl.causal())[0, -1]
        # A decode step: the one new query at position t against the keys so far.
        seen = sl.attend(
            query[:, :, t : t + 1],
            key[:, :, : t + 1],
            value[:, :, : t + 1],
            sl.causal(),
            q_offset=t,
            engine=model.way.engine,
        )
        decoded = model.decoder.join(seen)[0, 0]
        first, second = _guesses(model, one_pass[t], alone)
        found.append(
            PrefixStep(
                prefix=tuple(tokens[: t + 1]),
                guess_one_pass=words[first],
                guess_alone=words[second],
                difference_alone=(one_pass[t] - alone).abs().max().item(),
                difference_decode=(one_pass[t] - decoded).abs().max().item(),
            )
        )
    return found


def _guesses(model: Model, one_pass: Tensor, alone: Tensor) -> tuple[int, int]:
    """Return the best word of either state; a tie within rounding goes to the first."""
    first, second = model.scores(one_pass), model.scores(alone)
    best, other = int(first.argmax()), int(second.argmax())
    if (second[other] - second[best]).item() <= _TIE:
        other = best
    return best, other


def twin_words(model: Model, frame: Frame) -> TwinRecord | None:
    """Take the first word that occurs twice in a sentence and compare the outputs of its places.

    Attention without positions and without a mask cannot tell the places apart: it treats the
    words as a set. Returns None where no sentence repeats a word.
    """
    for row in range(len(frame.lengths)):
        ids = frame.alone(row)
        places = _repeated(ids[0].tolist())
        if places is None:
            continue
        words = model.words[ids]
        first, second = places

        def gap(states: Tensor, mask: sl.Mask, one: int = first, two: int = second) -> float:
            outputs = model.decoder(states, mask)[0]
            return (outputs[one] - outputs[two]).abs().max().item()

        start = int(torch.argmax(frame.valid[row].int()))
        return TwinRecord(
            sentence=row,
            word=frame.rows[row][start + first],
            places=places,
            plain=gap(words, sl.everything()),
            with_causal_mask=gap(words, sl.causal()),
            with_positions=gap(model.embed(ids), sl.everything()),
        )
    return None


def _repeated(ids: list[int]) -> tuple[int, int] | None:
    """Return the first two places of the first id that occurs twice."""
    for place, identifier in enumerate(ids):
        if identifier in ids[place + 1 :]:
            return place, ids.index(identifier, place + 1)
    return None
