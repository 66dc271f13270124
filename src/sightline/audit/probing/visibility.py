"""Does an output depend on an input that a mask forbids? The search, under one condition.

Rows of the batch carry different tests at once; covering.py chooses them, judging.py decides what
a change is. What a leak is then traced to stands in tracing.py.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sightline.audit.contracts import Clause
from sightline.audit.probing.covering import Covering, cover
from sightline.audit.probing.feed import Feed, Input
from sightline.audit.probing.judging import moved, sequences, size_of_change, verdict
from sightline.audit.probing.runner import Runner
from sightline.audit.probing.subject import Outputs
from sightline.errors import InvalidArgument, ShapeMismatch
from sightline.masks.mask import Mask

Bools = NDArray[np.bool_]

# Each test is run with that many different changes, if there are passes for it.
DRAWS = 2

_FEATURES = re.compile(r"^(?P<name>.+?)\[(?:\.\.\.,\s*)?(?P<first>\d+)(?::(?P<stop>\d+))?\]$")


@dataclass(frozen=True, eq=False)
class Target:
    """What a clause speaks of, for a feed.

    Attributes:
        clause: the clause; its promise is a mask.
        names: the inputs that are changed together; all of one length.
        features: which features of the last axis; None is all.
        length: the number of positions of these inputs.
    """

    clause: Clause
    names: tuple[str, ...]
    length: int
    features: slice | None = None

    def changed(self, feed: Feed, keys: Bools, seed: int) -> Feed:
        """Return the feed with other values at keys, bool ``[batch, length]``."""
        return feed.having(*(self._changed(feed.inputs[n], keys, seed) for n in self.names))

    def _changed(self, given: Input, keys: Bools, seed: int) -> Input:
        if self.features is None:
            return given.changed(keys, seed)
        where = np.zeros(given.values.shape, dtype=bool)
        where[..., self.features] = keys.reshape(keys.shape + (1,) * (where.ndim - 2))
        return given.changed(where, seed)


def targets_of(clause: Clause, feed: Feed) -> list[Target]:
    """Return what is changed for a clause: the inputs that it names, by their lengths.

    Raises:
        InvalidArgument: an input of that name does not exist, or does not vary.
    """
    varying = feed.varying
    if clause.input is None:
        lengths = sorted({each.length for each in varying.values()})
        groups = [tuple(n for n, e in varying.items() if e.length == size) for size in lengths]
        return [Target(clause, names, n) for names, n in zip(groups, lengths, strict=True)]
    name, features = clause.input, None
    match = _FEATURES.match(name)
    if name not in feed.inputs and match:
        first = int(match["first"])
        name, features = match["name"], slice(first, int(match["stop"] or first + 1))
    if name not in varying:
        there = "fixed" if name in feed.inputs else "not there"
        raise InvalidArgument(
            f"the contract speaks of the input {clause.input!r}, which is {there}; the inputs that "
            f"vary are {', '.join(varying)}."
        )
    values = varying[name].values
    if features is not None and (values.ndim < 3 or features.stop > values.shape[-1]):
        raise InvalidArgument(
            f"the contract speaks of {clause.input!r}, but {name} has the shape {values.shape}; "
            "features are counted along the last axis of [batch, sequence, ..., features]."
        )
    return [Target(clause, (name,), varying[name].length, features)]


@dataclass(frozen=True, eq=False)
class Leak:
    """An output that moved though it must not.

    Attributes:
        target: what was changed.
        output: the name of the output.
        row: the batch row.
        keys: bool ``[length]``: which keys were changed in that row.
        quiet: bool ``[queries]``: which outputs must not move.
        queries: bool ``[queries]``: which of them moved.
        size: how far, as a part of the output's size.
        seed: of the values they were changed to.
    """

    target: Target
    output: str
    row: int
    keys: Bools
    quiet: Bools
    queries: Bools
    size: float
    seed: int

    def only(self, batch: int) -> Bools:
        """Return bool ``[batch, length]``: the keys in that row, and none in the others."""
        keys = np.zeros((batch, len(self.keys)), dtype=bool)
        keys[self.row] = self.keys
        return keys


@dataclass
class Searched:
    """What a search found, and how thorough it was."""

    leak: Leak | None = None
    coverage: float = 1.0
    drift: list[str] = field(default_factory=list)


@dataclass(frozen=True, eq=False)
class Search:
    """One target under one condition.

    Attributes:
        runner: the subject under the condition.
        feed: the inputs.
        base: the outputs for them.
        target: what is changed.
        hints: sizes at whose multiples faults lie.
        seed: of the values that inputs are changed to.
        rounding: how far outputs move by rounding, as far as known; shared by all searches.
    """

    runner: Runner
    feed: Feed
    base: Outputs
    target: Target
    hints: Sequence[int] = ()
    seed: int = 1
    rounding: dict[str, float] = field(default_factory=dict)

    by = "changes"

    @cached_property
    def judged(self) -> Outputs:
        """The outputs that are judged.

        Raises:
            InvalidArgument: none has the shape of a sequence, or the one that was named.
        """
        output = self.target.clause.output
        if output is None:
            found = sequences(self.base, self.feed.batch, self.feed.lengths)
        else:
            found = {n: a for n, a in self.base.items() if n == output and a.ndim >= 2}
        if found:
            return found
        last = any(a.ndim >= 3 and a.shape[1] == 1 for a in self.base.values())
        hint = (
            "; it seems to answer for the last position only: give the inputs, targets perhaps, "
            "with which it answers for all"
        )
        have = ", ".join(f"{name} {list(a.shape)}" for name, a in self.base.items()) or "none"
        wanted = f"the output {output!r}" if output else "an output [batch, sequence, ...]"
        raise InvalidArgument(
            f"wanted {wanted} with {self.feed.batch} rows and {sorted(self.feed.lengths)} "
            f"positions, got {have}; name the output in the contract, as 'input -> output', and "
            f"wrap a model whose sequence is not axis 1{hint if last else ''}."
        )

    @cached_property
    def valid(self) -> Mapping[str, Bools]:
        """Which positions of which input are real, if some are not."""
        made = self.runner.condition.valid
        return {} if made is None else made(self.feed)

    @cached_property
    def allowed(self) -> dict[int, Bools]:
        """The contract by number of queries: bool ``[batch, queries, keys]``."""
        mask = self.target.clause.promise
        assert isinstance(mask, Mask)
        batch, keys = self.feed.batch, self.target.length
        found: dict[int, Bools] = {}
        for q_len in {array.shape[1] for array in self.judged.values()}:
            dense = mask.dense(q_len, keys)
            if dense.shape[0] not in (1, batch):
                raise ShapeMismatch(
                    f"the contract has {dense.shape[0]} batch rows and the inputs have {batch}; "
                    "give inputs of as many rows."
                )
            allowed = np.broadcast_to(dense.any(axis=1), (batch, q_len, keys)).copy()
            for name in self.target.names:
                if name in self.valid:
                    allowed &= self.valid[name][:, None, :]
            found[q_len] = allowed
        return found

    def quiet(self, keys: Bools) -> dict[int, Bools]:
        """Return by number of queries bool ``[batch, queries]``: who sees none of the keys.

        Positions that are padding are nobody's business: they are not quiet.
        """
        found: dict[int, Bools] = {}
        for q_len, allowed in self.allowed.items():
            still: Bools = ~np.any(allowed & keys[:, None, :], axis=-1)
            for valid in self.valid.values():
                if valid.shape[1] == q_len:
                    still = still & valid
            found[q_len] = still
        return found

    def run(self, most: int) -> Searched:
        """Run at most that many passes; stops at the first leak."""
        plan = self._plan(most)
        result = Searched(coverage=plan.coverage)
        for number in range(min(most, DRAWS * plan.passes)):
            keys = plan.keys[number % plan.passes]
            seed = self.seed + 101 * number
            result.leak = self.test(keys, seed, result.drift)
            if result.leak is not None:
                break
        return result

    def test(self, keys: Bools, seed: int, drift: list[str]) -> Leak | None:
        """Run one pass with other values at keys, bool ``[batch, length]``; return a leak or None.

        What is rounding is added to ``drift``, in words.
        """
        other = self.runner(self.target.changed(self.feed, keys, seed))
        quiet = self.quiet(keys)
        for name, base in self.judged.items():
            if name not in other or other[name].shape != base.shape:
                raise InvalidArgument(
                    f"the output {name!r} changed its shape from {list(base.shape)} when only the "
                    "values of the inputs changed; an audit needs outputs of fixed shapes."
                )
            touched = np.any(keys, axis=1, keepdims=True)
            wrong = moved(base, other[name]) & quiet[base.shape[1]] & touched
            for row in np.flatnonzero(np.any(wrong, axis=1)):
                where = np.zeros_like(wrong)
                where[row] = wrong[row]
                size = size_of_change(base, other[name], where)
                found = Leak(
                    self.target, name, int(row), keys[row], quiet[base.shape[1]][row], wrong[row],
                    size, seed,
                )  # fmt: skip
                if size <= 10 * self.rounding.get(name, 0.0):
                    continue
                said = verdict(size, self.runner.subject.dtype, self._coarse(found, size))
                if said in ("leak", "unclear"):
                    return found
                self.rounding[name] = size
                drift.append(
                    f"{name} moves by 1e{np.log10(size):.0f} of its size, which is rounding"
                )
        return None

    def _coarse(self, leak: Leak, size: float) -> float | None:
        """Return how far the same change goes in float32, where that decides."""
        subject = self.runner.subject
        if subject.dtype != "float64" or size > 1e-7:
            return None
        coarse = subject.in_dtype("float32")
        if coarse is None:
            return None
        name = self.runner.condition.name
        known = {each.name: each for each in coarse.conditions(self.feed)}
        if name not in known:
            return None
        runner = Runner(coarse, known[name], self.runner.counter, self.runner.seed)
        only = leak.only(self.feed.batch)
        try:
            before = runner(self.feed)[leak.output]
            after = runner(self.target.changed(self.feed, only, leak.seed))[leak.output]
        except Exception:  # the model does not run in float32: the other rule decides
            return None
        where = np.zeros(before.shape[:2], dtype=bool)
        where[leak.row] = leak.quiet
        return size_of_change(before, after, where)

    def _plan(self, most: int) -> _Plan:
        """Return which keys to change in which row of which pass."""
        groups: dict[bytes, list[int]] = {}
        batch = self.feed.batch
        rows = [np.concatenate([a[row] for a in self.allowed.values()]) for row in range(batch)]
        for row, allowed in enumerate(rows):
            groups.setdefault(allowed.tobytes(), []).append(row)
        tests: list[tuple[list[int], Covering]] = []
        for members in groups.values():
            tests.append((members, cover(rows[members[0]], most * len(members), self.hints)))
        passes = max((-(-len(c.keys) // len(members)) for members, c in tests), default=0)
        keys = np.zeros((passes, batch, self.target.length), dtype=bool)
        for members, covering in tests:
            for index, some in enumerate(covering.keys):
                keys[index // len(members), members[index % len(members)]] = some
        weights = [len(members) * (~rows[members[0]]).sum() for members, _ in tests]
        shares = [covering.coverage for _, covering in tests]
        total = float(sum(weights))
        coverage = (
            sum(w * c for w, c in zip(weights, shares, strict=True)) / total if total else 1.0
        )
        return _Plan(keys, float(coverage))


@dataclass(frozen=True, eq=False)
class _Plan:
    keys: NDArray[Any]
    coverage: float

    @property
    def passes(self) -> int:
        return len(self.keys)
