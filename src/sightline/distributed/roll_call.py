"""Who is still there: what ranks leave in the store of torch.distributed when one does not come.

The first that cannot go on raises the alarm; every living process answers, by a thread of its own
even while it works; those that do not are named, and all learn the same verdict.
"""

from __future__ import annotations

import json
import math
import os
import secrets
import sys
import sysconfig
import threading
import time
import traceback
import weakref
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch.distributed as dist

from sightline.distributed.last_words import last_words
from sightline.distributed.listener import Line, listen
from sightline.distributed.place import Place
from sightline.distributed.verdicts import Answer, Verdict, judge
from sightline.errors import InvalidArgument, RankLost

__all__ = ["RollCall", "roll_call"]

# Seconds that a living process may take to answer; only machines across a network need them.
GRACE = 5.0
# Seconds after which a rank that does not come is given up, unless told otherwise.
LONGEST = 300.0


class RollCall:
    """What one process knows of the others of its group.

    Attributes:
        side: torch's gloo group in which the ranks agree.
        rank: this process's place in it.
        names: the global rank of each.
        timeout: seconds after which a rank that does not come is given up.
        calls: how many calls began here.
        verdict: who was found missing; from then on every call fails.
    """

    def __init__(
        self, side: Any, rank: int, names: tuple[int, ...], places: list[Place], store: Any
    ) -> None:
        self.side, self.rank, self.names = side, rank, names
        self.timeout = LONGEST
        self.calls, self.verdict = 0, None
        self._places, self._store, self._line = places, store, Line(store)
        self._what, self._waits = "", False
        self._left_at, self._noted, self._seen = -1, False, ""
        self._called, self._judged = False, threading.Event()
        self._wake = listen(self)

    # What the main thread does.

    def begin(self, what: str) -> int:
        """Count a call and return its number.

        Raises:
            RankLost: a rank is known to be missing.
        """
        if self.verdict is not None:
            raise self.verdict.error(what)
        self.calls += 1
        self._what = what
        if self._noted:  # this rank goes on: whatever error it told of was caught
            self._noted = False
            self._store.delete_key(f"left {self.rank}")
        return self.calls

    def wait(self, work: Any, what: str) -> None:
        """Wait for a communication on the CPU.

        Raises:
            RankLost: it failed, took too long, or a rank was found missing meanwhile.
        """
        until = time.monotonic() + self.timeout
        self._waits = True
        try:
            while True:
                try:
                    work.wait(timedelta(seconds=0.25))
                    return
                except RuntimeError as error:
                    # A wait that ran out says nothing of the work, unless that has just ended.
                    if work.is_completed() and "Operation timed out" not in str(error):
                        lost = self.lost(what, "broken", detail=str(error))
                        raise lost from (None if lost.ranks else error)
                if self.verdict is not None:
                    raise self.verdict.error(what)
                if time.monotonic() > until:
                    raise self.lost(what, "silent")
        finally:
            self._waits = False

    def lost(self, what: str, why: str, *, detail: str = "") -> RankLost:
        """Raise the alarm; return the error that names who is missing.

        Args:
            what: what was being done.
            why: "broken" (a connection), "silent" (the time is up), "left" (a rank told so).
            detail: what torch said.
        """
        with last_words() as words:
            self._alarm(what, why, detail)
            # The thread asks around and judges; the others must hear of it before this one ends.
            self._judged.wait(4 * GRACE)
            if self.verdict is None:
                self.verdict = Verdict((), f"a rank cannot be reached ({detail or why})")
            error = self.verdict.error(what)
            words.append(f"{RankLost.__module__}.{RankLost.__qualname__}: {error}")
        return error

    def leave(self, error: BaseException) -> None:
        """Tell the others that this rank leaves by an error; they act on it if they wait for it."""
        if self.verdict is None and not self._line.dead():
            self._left_at = self.calls
            self._noted = self._note(error)

    # What the listening thread does.

    def look(self) -> None:
        """Answer a roll call if there is one; call one if a rank that is waited for has left."""
        if self.verdict is not None:
            return
        if self._line.dead():
            if self._called:  # the main thread waits for a verdict
                self._store_gone()
            return
        try:
            if self._store.check(["alarm"]):
                self._answer()
            elif self._waits and self._store.check(["left"]):
                self._look_for_leavers()
        except RuntimeError:  # the host died this moment, or the group was taken down
            self._line.close()
            if self._called:
                self._store_gone()

    def end(self, error: BaseException | None) -> None:
        """Leave word that this process ends, by an error if there was one."""
        if self.verdict is None and not self._line.dead() and not self._note(error):
            self._line.close()

    def _note(self, error: BaseException | None) -> bool:
        """Leave word that this rank goes; False if the host of the store went this moment."""
        told = {"calls": self.calls, "error": "" if error is None else _summary(error)}
        try:
            self._store.set(f"left {self.rank}", json.dumps(told))
            self._store.set("left", "1")
        except RuntimeError:
            return False
        return True

    def _alarm(self, what: str, why: str, detail: str) -> None:
        self._called = True
        if not _launched():
            time.sleep(0.2)  # a host that ends closes its connections one after another
        if self._line.dead():
            self._store_gone()
            return
        told = {"what": what, "why": why, "detail": detail, "calls": self.calls}
        told["seconds"] = self.timeout
        try:
            if self._store.add("alarms", 1) == 1:
                self._store.set("alarm", json.dumps(told))
        except RuntimeError:
            self._store_gone()
        self._wake.set()

    def _store_gone(self) -> None:
        """Blame the host of the store, without which nobody can be asked."""
        if _launched():
            self._conclude(Verdict((), "torchrun, which started the ranks, is gone"))
        else:
            self._conclude(Verdict((0,), "rank 0 is gone, and with it torch's store"))

    def _conclude(self, verdict: Verdict) -> None:
        if self.verdict is None:
            self.verdict = verdict
        self._judged.set()

    def _answer(self) -> None:
        mine = Answer(self.calls, self._waits, self._what, _whereabouts())
        self._store.set(f"here {self.rank}", json.dumps(mine.__dict__))
        until = time.monotonic() + GRACE
        missing = [rank for rank in range(len(self.names)) if rank != self.rank]
        while not self._store.check(["verdict"]):
            missing = [rank for rank in missing if not self._store.check([f"here {rank}"])]
            late = time.monotonic() > until
            known = late or all(self._places[rank].gone() for rank in missing)
            # One judges; should it die over it, the others do a grace later.
            if known and (self._store.add("judges", 1) == 1 or time.monotonic() > until + GRACE):
                verdict = self._judge(set(missing))
                self._store.set("verdict", json.dumps([verdict.ranks, verdict.text]))
            time.sleep(0.02)
        ranks, text = json.loads(self._store.get("verdict"))
        if self.verdict is None:
            self.verdict = Verdict(tuple(ranks), text)
        self._store.set(f"knows {self.rank}", "1")
        self._linger(set(missing), until + GRACE)
        self._judged.set()

    def _linger(self, missing: set[int], until: float) -> None:
        """Wait until all who live know: this process may keep the store, and ends soon."""
        others = [f"knows {r}" for r in range(len(self.names)) if r not in missing]
        while time.monotonic() < until and not self._store.check(others):
            time.sleep(0.02)

    def _judge(self, missing: set[int]) -> Verdict:
        alarm = json.loads(self._store.get("alarm"))
        answers = {
            rank: Answer(**json.loads(self._store.get(f"here {rank}")))
            for rank in range(len(self.names))
            if rank not in missing
        }
        ended = {rank: bool(self._places[rank].gone()) for rank in missing}
        return judge(alarm, answers, ended, self._notes(), self.names, self._places)

    def _notes(self) -> dict[int, dict[str, Any]]:
        """Return what ranks that left have told."""
        told = [r for r in range(len(self.names)) if self._store.check([f"left {r}"])]
        return {rank: json.loads(self._store.get(f"left {rank}")) for rank in told}

    def _look_for_leavers(self) -> None:
        """Raise the alarm about a rank that left where this one went on, seen twice."""
        calls = (self.calls - 1, self.calls)
        gone = {
            rank: note
            for rank, note in self._notes().items()
            if note["calls"] in calls and note["calls"] != self._left_at and rank != self.rank
        }
        seen = json.dumps(gone)
        if gone and seen == self._seen:
            self._alarm(self._what, "left", "")
        self._seen = seen


def _launched() -> bool:
    """Return whether torchrun keeps the store, which outlives the ranks, rather than rank 0."""
    return os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True"


# Code that is not the user's: Python's own, ours, what was made from a string.
_LIBRARIES = (sysconfig.get_path("stdlib"), str(Path(__file__).parents[1]), "<")


def _summary(error: BaseException) -> str:
    """Return the last line of a traceback, cut."""
    text = "".join(traceback.format_exception_only(type(error), error)).strip()
    return text if len(text) <= 300 else text[:297] + "..."


def _whereabouts() -> str:
    """Return where the main thread is, in the user's own code if it comes by there."""
    frame = sys._current_frames().get(threading.main_thread().ident or 0)
    last = ""
    while frame is not None:
        name = frame.f_code.co_filename
        here = f"{name}:{frame.f_lineno} in {frame.f_code.co_name}"
        if not name.startswith(_LIBRARIES) and "site-packages" not in name:
            return here
        last, frame = last or here, frame.f_back
    return last


_made: weakref.WeakKeyDictionary[Any, RollCall] = weakref.WeakKeyDictionary()


def roll_call(group: Any, names: tuple[int, ...], timeout: float | None) -> RollCall:
    """Return the roll call of a group, made the first time together with its other ranks.

    Raises:
        InvalidArgument: a timeout that is not a number of seconds; torch without gloo.
        RankLost: a rank does not come.
    """
    seconds = _seconds(group, timeout)
    found = _made.get(group)
    if found is None:
        found = _made[group] = _make(group, names, seconds)
        found.timeout = seconds
    elif timeout is not None:
        found.timeout = seconds
    return found


def _make(group: Any, names: tuple[int, ...], seconds: float) -> RollCall:
    if not dist.is_gloo_available():
        raise InvalidArgument(
            "got a torch without gloo; wanted gloo, by which ranks agree; take one of the "
            "builds that torch publishes."
        )
    shared = dist.distributed_c10d._get_default_store()
    rank, known = dist.get_rank(group), f"sightline {group.group_name} {names}"
    shared.set(f"{known} {rank}", "here")
    everyone: list[Any] = [None] * len(names)
    try:
        # Its own timeout is behind ours, so that ours is what speaks.
        side = dist.new_group(
            list(names),
            timedelta(seconds=seconds + 2 * GRACE),
            "gloo",
            use_local_synchronization=True,
        )
        mine = Place.here(), secrets.token_hex(8)
        dist.all_gather_object(everyone, mine, group=side)
    except RuntimeError as error:
        raise _not_come(shared, known, names, seconds) from error
    store = dist.distributed_c10d.PrefixStore(f"sightline {everyone[0][1]}", shared)
    return RollCall(side, rank, names, [place for place, _ in everyone], store)


def _not_come(store: Any, known: str, names: tuple[int, ...], seconds: float) -> RankLost:
    """Return the error for a group that did not come together."""
    try:
        absent = tuple(n for r, n in enumerate(names) if not store.check([f"{known} {r}"]))
    except RuntimeError:
        absent = (0,)
    text = "a rank that came has died" if not absent else f"rank {absent[0]} has not come"
    return Verdict(absent, f"{text} within {seconds:g} s").error("sl.distributed")


def _seconds(group: Any, timeout: float | None) -> float:
    """Return the timeout that was asked for, else the environment's, else what the group allows."""
    told = os.environ.get("SIGHTLINE_RANKS_TIMEOUT") if timeout is None else timeout
    if told is None:
        return min([LONGEST, *_own_timeouts(group)])
    try:
        given = float(told)
    except ValueError:
        given = math.nan
    if not (math.isfinite(given) and given > 0):
        raise InvalidArgument(
            f"got a timeout of {told!r}; wanted seconds above 0, as timeout= or in "
            "SIGHTLINE_RANKS_TIMEOUT."
        )
    return given


def _own_timeouts(group: Any) -> list[float]:
    """Return the timeouts of a group's transports, in seconds, where torch tells them."""
    found = []
    for device in getattr(group, "_device_types", ()):
        try:
            own = group._get_backend(device).options._timeout
        except (AttributeError, RuntimeError):  # not every transport has options
            continue
        found.append(own.total_seconds())
    return found
