"""How a fingerprint is measured: the whole model under each condition, then each layer alone."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
from typing import Any

import numpy as np

from sightline.audit.fingerprint import Bools, Fingerprint, Part
from sightline.audit.fingerprints.blocks import HIDDEN, Block, blocks_of
from sightline.audit.probe import feed_of, subject_of
from sightline.audit.probing.examination import Examination
from sightline.audit.probing.measured import measure
from sightline.audit.probing.runner import Counter, Runner
from sightline.audit.probing.subject import Outputs, why_failed
from sightline.errors import InvalidArgument
from sightline.recognize.recognize import recognize

__all__ = ["measured", "measured_again"]

# Each pair is tried with so many changes: one alone may by chance change nothing.
_SEEDS = (7, 1007, 2007)
# A longer text is no name.
_LONGEST_MASK = 200
_PACKAGES = ("sightline", "torch", "transformers")


def measured(model: Any, inputs: Any, name: str, settings: dict[str, Any]) -> Fingerprint:
    """Return the fingerprint of a model; see ``sl.fingerprint``."""
    seed = settings["seed"]
    subject = subject_of(
        model, name, settings["dtype"], settings["time_first"], settings["reinitialise"], seed
    )
    feed = feed_of(
        subject, model, inputs, settings["batch"], settings["length"], settings["vocab"], seed
    )
    # It finds numbers in which the model runs, and the conditions; the passes are not limited.
    examination = Examination(subject, feed, Counter(0, 10**9), seed, None)
    examination.begin()
    parts = _wholes(examination)
    notes: list[str] = []
    if examination.subject.model is not None:
        blocks, notes = blocks_of(examination.plain, feed)
        for block in blocks:
            part, note = _layer(block, examination.plain)
            parts += [part] if part else []
            notes += [note] if note else []
    arrays = {n: e.values for n, e in feed.inputs.items() if hasattr(e.values, "shape")}
    return Fingerprint(
        subject=examination.subject.name,
        parts=tuple(parts),
        sizes={n: tuple(int(s) for s in array.shape) for n, array in arrays.items()},
        settings=settings,
        notes=tuple(notes),
        versions=_versions(),
    )


def measured_again(old: Fingerprint, model: Any, inputs: Any) -> Fingerprint:
    """Return the fingerprint of a model, measured as an old one was."""
    settings = dict(old.settings)
    shapes = [shape for shape in old.sizes.values() if len(shape) > 1]
    if inputs is None and shapes:  # the same, even if by now another length would be chosen
        settings["batch"], settings["length"] = shapes[0][0], max(shape[1] for shape in shapes)
    return measured(model, inputs, "", {**_DEFAULTS, **settings})


_DEFAULTS = {
    "length": None,
    "batch": None,
    "vocab": None,
    "reinitialise": True,
    "time_first": None,
    "dtype": "float64",
    "seed": 0,
}


def _wholes(examination: Examination) -> list[Part]:
    """Return who depends on whom from each input to each output, alike conditions together."""
    feed = examination.feed
    found: dict[str, list[tuple[Bools, list[str]]]] = {}
    for condition in examination.conditions:
        if condition.valid is not None:  # rows are padded differently, and not alike
            continue
        runner = examination.runner(condition)
        base = runner(feed)
        _check_numbers(base, condition.name)
        for name in feed.varying:
            for output, depends in _either(runner, feed, name, base).items():
                kept = found.setdefault(f"{name} -> {output}", [])
                alike = [names for each, names in kept if np.array_equal(each, depends)]
                if alike:
                    alike[0].append(condition.name)
                else:
                    kept.append((depends, [condition.name]))
    return [
        Part(name, _mask(depends), depends, tuple(conditions))
        for name, each in found.items()
        for depends, conditions in each
    ]


def _layer(block: Block, plain: Runner) -> tuple[Part | None, str]:
    """Return a layer's part; None and why, if it cannot be run alone."""
    feed = block.feed
    runner = Runner(block, plain.condition, plain.counter, plain.seed)
    try:
        base = runner(feed)
        if not base:
            return None, f"{block.name} is left out: it returns no [batch, length, width]"
        depends = _either(runner, feed, HIDDEN, base)["output"]
    except Exception as error:  # what it needs besides its arguments is not known here
        return None, f"{block.name} is left out: alone it fails ({why_failed(error)})"
    return Part(block.name, _mask(depends), depends, (plain.condition.name,)), ""


def _either(runner: Runner, feed: Any, name: str, base: Outputs) -> dict[str, Bools]:
    """Return what depends on what, by any of several changes."""
    found: dict[str, Bools] = {}
    for seed in _SEEDS:
        for output, depends in measure(runner, feed, (name,), base=base, seed=seed).items():
            found[output] = found[output] | depends if output in found else depends
    return found


def _check_numbers(base: Outputs, condition: str) -> None:
    for name, array in base.items():
        if array.dtype.kind == "f" and array.size and not np.isfinite(array).any():
            raise InvalidArgument(
                f"under {condition}, {name} holds no finite number, so nothing can be measured; "
                "give other inputs, or reinitialise=False to keep the model's own weights."
            )


def _mask(depends: Bools) -> str:
    """Return the expression of what was measured; empty if it is too long to be a name."""
    text = repr(recognize(depends, means="attend", q_offset=0).mask)
    return text if len(text) <= _LONGEST_MASK else ""


def _versions() -> dict[str, str]:
    found: dict[str, str] = {}
    for name in _PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
