"""How long ranks wait for one that does not come: as told, else as their transports would."""

from __future__ import annotations

from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("torch")

import sightline as sl
from sightline.distributed.ranks import Ranks
from sightline.distributed.roll_call import LONGEST, _seconds


class Optionless:
    """A transport without options: torch raises, as its xccl does."""

    @property
    def options(self) -> Any:
        raise RuntimeError("Backend xccl does not implement getBackendOptions.")


def group(**transports: Any) -> Any:
    return SimpleNamespace(_device_types=list(transports), _get_backend=transports.__getitem__)


def waits(seconds: float) -> Any:
    return SimpleNamespace(options=SimpleNamespace(_timeout=timedelta(seconds=seconds)))


def test_the_shortest_of_the_transports_counts() -> None:
    assert _seconds(group(cpu=waits(60), cuda=waits(40)), None) == 40
    assert _seconds(group(cpu=waits(10 * LONGEST)), None) == LONGEST


def test_transports_that_do_not_tell_are_passed_over() -> None:
    assert _seconds(group(xpu=Optionless(), cpu=waits(60)), None) == 60
    assert _seconds(group(cpu=SimpleNamespace()), None) == LONGEST
    assert _seconds(SimpleNamespace(), None) == LONGEST


def test_what_is_told_counts_before_that(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SIGHTLINE_RANKS_TIMEOUT", "7.5")
    assert _seconds(group(cpu=waits(60)), None) == 7.5
    assert _seconds(group(cpu=waits(60)), 9) == 9


@pytest.mark.parametrize("told", ["soon", "nan", "inf", "0", "-1"])
def test_what_is_no_time_is_refused(told: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SIGHTLINE_RANKS_TIMEOUT", told)
    with pytest.raises(sl.InvalidArgument, match=f"got a timeout of '{told}'; wanted seconds"):
        _seconds(group(), None)


def test_a_process_of_no_group_is_told_how_to_start() -> None:
    with pytest.raises(sl.InvalidArgument, match=r"start with torchrun.*init_process_group"):
        Ranks.of()
