"""Errors reach another process as they were raised: kinds, messages, and what they tell besides."""

from __future__ import annotations

import copy
import pickle

import pytest

from sightline import errors
from sightline.errors import SightlineError

RAISED: dict[str, SightlineError] = {
    "AuditFailed": errors.AuditFailed("leaks", {"layer": 3}),
    "CannotExpress": errors.CannotExpress(
        destination="sdpa", part="a bias", reason="it has none", alternative="flex"
    ),
    "DataError": errors.DataError("no date", path="a.csv", line=7),
    "GuardError": errors.GuardError("stopped", ("finding",)),
    "InvalidArgument": errors.InvalidArgument("got -1"),
    "InvalidMask": errors.InvalidMask("got -1"),
    "MissingExtra": errors.MissingExtra(what="it", package="torch", extra="torch"),
    "MissingKernels": errors.MissingKernels(reason="not built", remedy="Build them."),
    "NoTruthValue": errors.NoTruthValue("use &"),
    "ParseError": errors.ParseError("what is this?", text="causal(", position=7),
    "RankError": errors.RankError("apart", ranks=(1, 3)),
    "RankLost": errors.RankLost("rank 2 has died", ranks=(2,)),
    "RanksDisagree": errors.RanksDisagree("got 3 and 4", ranks=(0,)),
    "ShapeMismatch": errors.ShapeMismatch("got 3"),
    "SightlineError": SightlineError("no"),
    "UnknownBackend": errors.UnknownBackend("got 'cuda'"),
}


def test_every_kind_is_here() -> None:
    assert sorted(RAISED) == sorted(errors.__all__)


@pytest.mark.parametrize("name", RAISED)
def test_an_error_is_the_same_behind_a_pickle(name: str) -> None:
    error = RAISED[name]
    for again in (pickle.loads(pickle.dumps(error)), copy.copy(error)):  # noqa: S301  (our own)
        assert type(again) is type(error)
        assert type(again).__name__ == name
        assert (str(again), again.args) == (str(error), error.args)
        assert vars(again) == vars(error)
