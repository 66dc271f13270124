"""The demo from the first line to the last: text in, one report of measured figures out.

The order is the order in which it is told. Drawing and printing is left to ``cli`` and ``views``.
"""

from __future__ import annotations

import platform
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

import torch

import sightline as sl
from sightline.recipes.demo.alone import filled_padding, pairs_alone, sentences_alone
from sightline.recipes.demo.checks import checks_of
from sightline.recipes.demo.decoding import every_prefix, twin_words
from sightline.recipes.demo.drawings import (
    combined_drawings,
    drawn_places,
    left_drawing,
    mask_drawings,
    pair_drawings,
    triangle,
)
from sightline.recipes.demo.frame import Frame, frame_of
from sightline.recipes.demo.layer import AUTO, AUTO_DOUBLE, HEADS, REFERENCE, Model
from sightline.recipes.demo.learning import learn
from sightline.recipes.demo.mistakes import make_every_mistake
from sightline.recipes.demo.records import (
    Agreement,
    BatchRecord,
    DemoReport,
    PairRecord,
)
from sightline.recipes.demo.scene import Scene
from sightline.recipes.demo.text import BOS, EOS, Corpus
from sightline.recipes.demo.writing import write
from sightline.recipes.demo.wrong_numbers import left_padding

__all__ = ["example_of", "one_thread", "pairs_of", "run_demo"]

# Shorter sentences have nothing to show.
_DRAWABLE = 4


def run_demo(corpus: Corpus, *, on_step: Callable[[int], object] = lambda step: None) -> DemoReport:
    """Run the whole demo on the sentences of ``corpus``.

    ``on_step`` is told the index into ``records.STEPS`` of what begins.
    """
    started = time.perf_counter()
    with one_thread():
        report = _measure(_setting_of(corpus), on_step)
    seconds = time.perf_counter() - started
    return replace(report, checks=checks_of(report), seconds=seconds)


@contextmanager
def one_thread() -> Iterator[None]:
    """Let torch use one thread: on matrices this small, threads wait longer than they work."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _measure(setting: _Setting, on_step: Callable[[int], object]) -> DemoReport:
    """Run everything on the setting; the checks are still to be made."""
    frame, sources, targets = setting.frame, setting.sources, setting.targets
    model, example, example_pair = setting.models[0], example_of(frame), example_of(sources)
    on_step(0)
    self_agreements = _collect(sentences_alone(each, frame) for each in setting.models)
    filled_agreements = tuple(filled_padding(model, frame))
    on_step(1)
    pair_agreements = _collect(pairs_alone(each, sources, targets) for each in setting.models)
    on_step(2)
    decoding = every_prefix(model, setting.corpus, frame, example)
    on_step(3)
    learning = write(learn(setting.corpus), setting.corpus)
    on_step(4)
    scene = Scene.of(model, frame, setting.left, example)
    return DemoReport(
        batch=_batch_record(setting.corpus, frame),
        heads=HEADS,
        drawn_places=drawn_places(frame, example),
        mask_drawings=mask_drawings(frame, example),
        combined_drawings=combined_drawings(frame),
        left_drawing=left_drawing(setting.left, example),
        self_agreements=self_agreements,
        filled_agreements=filled_agreements,
        pairs=setting.pairs,
        pair_agreements=pair_agreements,
        example_pair=example_pair,
        pair_drawings=pair_drawings(model, sources, targets, example_pair),
        decoding=decoding,
        triangle=triangle(model, frame, example),
        empty_rows=left_padding(scene),
        twins=twin_words(model, frame),
        learning=learning,
        mistakes=make_every_mistake(scene),
        environment=_environment(scene),
    )


@dataclass(frozen=True, slots=True, eq=False)
class _Setting:
    """The sentences in their frames, and the same weights once for each way to compute."""

    corpus: Corpus
    pairs: tuple[PairRecord, ...]
    frame: Frame
    left: Frame
    sources: Frame
    targets: Frame
    models: tuple[Model, ...]


def _setting_of(corpus: Corpus) -> _Setting:
    pairs = pairs_of(len(corpus.sentences))
    words = [sentence.tokens for sentence in corpus.sentences]
    ended = [(*tokens, EOS) for tokens in words]
    frame = frame_of(corpus, ended)
    # A decoder reads what was said so far, from <bos> on, and guesses the word that follows.
    targets = frame_of(corpus, [(BOS, *words[pair.target]) for pair in pairs])
    sources = frame_of(corpus, [ended[pair.source] for pair in pairs])
    longest = max(each.width for each in (frame, sources, targets))
    return _Setting(
        corpus=corpus,
        pairs=pairs,
        frame=frame,
        left=frame_of(corpus, ended, side="left"),
        sources=sources,
        targets=targets,
        models=tuple(
            Model.seeded(len(corpus.vocabulary), longest, way)
            for way in (AUTO, AUTO_DOUBLE, REFERENCE)
        ),
    )


def _collect(found: Iterable[list[Agreement]]) -> tuple[Agreement, ...]:
    return tuple(agreement for each in found for agreement in each)


def pairs_of(sentences: int) -> tuple[PairRecord, ...]:
    """Pair lines 1 and 2, 3 and 4, ...; a line left over is paired with itself."""
    return tuple(
        PairRecord(first, min(first + 1, sentences - 1)) for first in range(0, sentences, 2)
    )


def example_of(frame: Frame) -> int:
    """Choose the sentence to draw: the shortest of at least four tokens, else the longest."""
    long_enough = [row for row, length in enumerate(frame.lengths) if length >= _DRAWABLE]
    if not long_enough:
        return max(range(len(frame.lengths)), key=frame.lengths.__getitem__)
    return min(long_enough, key=frame.lengths.__getitem__)


def _batch_record(corpus: Corpus, frame: Frame) -> BatchRecord:
    return BatchRecord(
        source=corpus.source,
        texts=tuple(sentence.text for sentence in corpus.sentences),
        rows=frame.rows,
        lengths=frame.lengths,
        width=frame.width,
        vocabulary_size=len(corpus.vocabulary),
    )


def _environment(scene: Scene) -> tuple[tuple[str, str], ...]:
    """Return what the figures depend on: versions, the engine, the processor, threads."""
    chosen = sl.explain_choice(scene.query, scene.key, scene.value, scene.mask)
    return (
        ("sightline", sl.__version__),
        ("torch", torch.__version__),
        ("python", platform.python_version()),
        ("engine chosen by auto", chosen.engine),
        ("processor", f"{platform.machine()}, {torch.backends.cpu.get_cpu_capability()}"),
        ("threads", str(torch.get_num_threads())),
    )
