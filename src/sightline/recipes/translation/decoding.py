"""Translating sentences: lengths that are alike together, beam search, text again.

The search itself is nn/generation's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sightline.models.seq2seq_writing import write
from sightline.models.transformer import Transformer
from sightline.nn.batch import Batch
from sightline.recipes.training.recipe import Tell
from sightline.recipes.translation.vocabulary import BEGIN, END, Vocabulary

__all__ = ["Translated", "translate"]

# How many sentences are searched side by side, each with all its beams.
_TOGETHER = 32


@dataclass(frozen=True)
class Translated:
    """One sentence's translation.

    Attributes:
        text: the translation.
        tokens: its subwords, "end" not among them.
        score: the sum of the log-probabilities over the number of tokens to the length penalty;
            "end" counts, if the search came to it.
        ended: whether it came to "end" before the most tokens were written.
    """

    text: str
    tokens: tuple[int, ...]
    score: float
    ended: bool


def translate(
    model: Transformer,
    words: Vocabulary,
    sentences: Sequence[str],
    *,
    beams: int,
    length_penalty: float,
    tell: Tell = lambda what, done, total: None,
) -> list[Translated]:
    """Return the translation of each sentence; it is the same whatever the others are.

    A translation has at most twice as many tokens as the sentence, and ten more.

    Args:
        model: the trained model.
        words: its vocabulary.
        sentences: what is translated.
        beams: how many translations are followed at any time; 1 takes the most probable token.
        length_penalty: as for ``sl.nn.generate``.
        tell: told how far it is.
    """
    sources = [[*tokens, END] for tokens in words.tokens(sentences)]
    order = sorted(range(len(sources)), key=lambda i: len(sources[i]))
    found: dict[int, Translated] = {}
    for same in _groups(order, sources):
        for start in range(0, len(same), _TOGETHER):
            tell("translating", len(found), len(sources))
            chosen = same[start : start + _TOGETHER]
            made = _search(model, [sources[i] for i in chosen], beams, length_penalty)
            for place, (tokens, score) in zip(chosen, made, strict=True):
                ended = tokens[-1] == END
                kept = tuple(tokens[:-1] if ended else tokens)
                found[place] = Translated(words.text(kept), kept, score, ended)
    return [found[i] for i in range(len(sources))]


def _groups(order: list[int], sources: list[list[int]]) -> list[list[int]]:
    """Return the sentences by length: the most tokens of a translation go by it."""
    groups: dict[int, list[int]] = {}
    for i in order:
        groups.setdefault(len(sources[i]), []).append(i)
    return list(groups.values())


def _search(
    model: Transformer, sources: list[list[int]], beams: int, length_penalty: float
) -> list[tuple[list[int], float]]:
    """Return the best tokens and their score for each source."""
    batch = Batch.from_sequences(sources)
    room = model.context - 1
    asked = {"begin": BEGIN, "eos": END, "max_new_tokens": min(2 * batch.length + 10, room)}
    if beams == 1:
        greedy = write(model, batch, **asked)
        return [
            (tokens.tolist(), float(logprobs.sum()) / len(tokens) ** length_penalty)
            for tokens, logprobs in zip(greedy.tokens, greedy.logprobs, strict=True)
        ]
    options = {"strategy": "beam", "beams": beams, "length_penalty": length_penalty}
    best = [row[0] for row in write(model, batch, **asked, **options).hypotheses]
    return [(each.tokens.tolist(), each.score) for each in best]
