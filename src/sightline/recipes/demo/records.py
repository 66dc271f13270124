"""What the demo found out, as frozen records; whoever shows them only renders.

Every number is measured by ``run`` and its helpers. Drawings hold numpy arrays, so that neither
the terminal nor the page needs torch.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

__all__ = [
    "STEPS",
    "Agreement",
    "BatchRecord",
    "Check",
    "DecodingRecord",
    "DemoReport",
    "Drawing",
    "EmptyRowRecord",
    "LearningRecord",
    "Mistake",
    "PairRecord",
    "PrefixStep",
    "TwinRecord",
    "WrittenText",
]

# What a run does, in order; whoever shows its progress counts these.
STEPS = (
    "every sentence padded and alone",
    "the three attentions",
    "every prefix",
    "a small model learns the sentences and writes",
    "the same done wrongly",
)


@dataclass(frozen=True, slots=True, eq=False)
class Drawing:
    """One picture to draw: who may see whom and, where there are any, the attention weights.

    Attributes:
        name: a short title.
        expression: the line of Sightline that made the mask.
        allowed: bool [queries, keys].
        rows, columns: the tokens of the queries and of the keys.
        caption: one or two sentences on what to see.
        weights: float [queries, keys], or None.
        by_head: float [heads, queries, keys], where the weights of every head are kept.
    """

    name: str
    expression: str
    allowed: np.ndarray
    rows: tuple[str, ...]
    columns: tuple[str, ...]
    caption: str
    weights: np.ndarray | None = None
    by_head: np.ndarray | None = None


@dataclass(frozen=True, slots=True)
class BatchRecord:
    """The sentences as they stand in one frame of ``width`` positions, padding included."""

    source: str
    texts: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    lengths: tuple[int, ...]
    width: int
    vocabulary_size: int


@dataclass(frozen=True, slots=True)
class Agreement:
    """One attention, one sentence, one way to compute: padded in a batch against alone.

    ``max_difference`` is over the real positions; ``identical`` means equal to the last bit.
    """

    attention: str
    sentence: int
    way: str
    max_difference: float
    identical: bool


@dataclass(frozen=True, slots=True)
class PairRecord:
    """An encoder-decoder pair: indices of the source and of the target sentence."""

    source: int
    target: int


@dataclass(frozen=True, slots=True)
class PrefixStep:
    """One prefix: the word guessed by the one masked pass, by the prefix alone, by one query."""

    prefix: tuple[str, ...]
    guess_one_pass: str
    guess_alone: str
    difference_alone: float
    difference_decode: float


@dataclass(frozen=True, slots=True)
class DecodingRecord:
    """Every prefix out of one pass: the steps of one sentence, and the worst of all of them."""

    sentence: int
    steps: tuple[PrefixStep, ...]
    prefixes: int
    max_difference_alone: float
    max_difference_decode: float
    different_guesses: int


@dataclass(frozen=True, slots=True)
class EmptyRowRecord:
    """Padding on the left under a causal mask: queries that may see nothing, and their outputs."""

    empty_rows: tuple[int, ...]
    largest_output: float
    nan_outputs: int
    nan_gradients: int


@dataclass(frozen=True, slots=True)
class TwinRecord:
    """A word that occurs twice in a sentence: how far apart the outputs of its two places are."""

    sentence: int
    word: str
    places: tuple[int, int]
    plain: float
    with_causal_mask: float
    with_positions: float


@dataclass(frozen=True, slots=True)
class WrittenText:
    """What the model was given and how it went on; ``known`` if the whole is a learned sentence.

    ``probability`` is that of the new words, as the model gives it.
    """

    start: tuple[str, ...]
    words: tuple[str, ...]
    probability: float
    known: bool


@dataclass(frozen=True, slots=True)
class LearningRecord:
    """A small GPT that learned the sentences and wrote with a cache.

    Attributes:
        sentences: how many of the text were learned, from the first one on.
        parameters: numbers in the model.
        steps: of the optimizer.
        losses: before each step and at the end, in nats a token.
        lowest_loss: what no model that sees the past only can be below.
        training_seconds: how long it took.
        texts: greedy, from the start of each learned sentence, all in one batch.
        drawn: at random, from nothing.
        exact: whether the model's rows have the same bits in any batch on this machine.
        max_difference_cache: between logits with the cache and those of one full pass.
        different_in_batch: texts that are not the same when written alone.
        timed_past: how many words each row had where time was taken.
        cached_per_second, anew_per_second: next words of all rows a second, with the cache and
            with everything computed anew.
    """

    sentences: int
    parameters: int
    steps: int
    losses: tuple[float, ...]
    lowest_loss: float
    training_seconds: float
    texts: tuple[WrittenText, ...]
    drawn: tuple[WrittenText, ...]
    exact: bool
    max_difference_cache: float
    different_in_batch: int
    timed_past: int
    cached_per_second: float
    anew_per_second: float


@dataclass(frozen=True, slots=True, eq=False)
class Mistake:
    """One way to get masking wrong, measured.

    Attributes:
        name: what it is called here.
        written: what people write, in one line.
        happened: what it did to the numbers, in words and figures.
        measure: what ``harm`` counts.
        kind: how to print it: "share" (of 1), "count" or "change" (of an output).
        harm, right_harm: the same measure, done wrongly and done rightly.
        tolerance: how much of ``right_harm`` is rounding; 0 where it must be exactly 0.
        right: the right way, in one line of Sightline.
        wrong_picture, right_picture: the weights of one sentence, where they can be drawn.
    """

    name: str
    written: str
    happened: str
    measure: str
    kind: str
    harm: float
    right_harm: float
    tolerance: float
    right: str
    wrong_picture: Drawing | None = None
    right_picture: Drawing | None = None


@dataclass(frozen=True, slots=True)
class Check:
    """Something that must hold: ``measured`` may not exceed ``limit``."""

    claim: str
    measured: float
    limit: float

    @property
    def holds(self) -> bool:
        """True unless the measured figure is over the limit, or is not a number."""
        return self.measured <= self.limit


@dataclass(frozen=True, slots=True, eq=False)
class DemoReport:
    """All of it, in the order in which it is told.

    ``drawn_places`` is the range of places [first, last) that ``mask_drawings`` show.
    """

    batch: BatchRecord
    heads: int
    drawn_places: tuple[int, int]
    mask_drawings: tuple[Drawing, ...]
    combined_drawings: tuple[Drawing, ...]
    left_drawing: Drawing
    self_agreements: tuple[Agreement, ...]
    filled_agreements: tuple[Agreement, ...]
    pairs: tuple[PairRecord, ...]
    pair_agreements: tuple[Agreement, ...]
    example_pair: int
    pair_drawings: tuple[Drawing, ...]
    decoding: DecodingRecord
    triangle: Drawing
    empty_rows: EmptyRowRecord
    twins: TwinRecord | None
    learning: LearningRecord
    mistakes: tuple[Mistake, ...]
    environment: tuple[tuple[str, str], ...]
    checks: tuple[Check, ...] = ()
    seconds: float = 0.0
