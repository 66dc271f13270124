"""Who is to blame when ranks cannot go on together, from what each of them answered."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sightline.distributed.place import Place
from sightline.errors import RankLost

__all__ = ["Answer", "Verdict", "and_others", "judge"]


@dataclass(frozen=True)
class Answer:
    """What a living rank says of itself.

    Attributes:
        calls: how many calls began there.
        waits: whether it waits for the others.
        what: its last call.
        where: the line of code it is at.
    """

    calls: int
    waits: bool
    what: str
    where: str


@dataclass(frozen=True)
class Verdict:
    """Who is missing, the same on all ranks that live.

    Attributes:
        ranks: their global ranks.
        text: what is known of them.
    """

    ranks: tuple[int, ...]
    text: str

    def error(self, what: str) -> RankLost:
        """Return the error to raise from ``what``."""
        return RankLost(
            f"{what}: {self.text}. Nothing can be computed without all ranks; start all of them "
            "again (sightline train goes on from its last checkpoint, on any number of ranks).",
            ranks=self.ranks,
        )


def judge(
    alarm: dict[str, Any],
    answers: dict[int, Answer],
    ended: dict[int, bool],
    notes: dict[int, dict[str, Any]],
    names: tuple[int, ...],
    places: list[Place],
) -> Verdict:
    """Return who is to blame.

    Args:
        alarm: what the first rank that could not go on told: ``what``, ``why``, ``detail``, its
            ``calls`` and the ``seconds`` it waits at most.
        answers: what each living rank said, by its place in the group.
        ended: the others, and whether their process was seen to have ended.
        notes: what ranks told that left, by an error or at their end.
        names: the global rank of each.
        places: where each runs.
    """
    calls = alarm["calls"]
    left = {
        rank: note
        for rank, note in notes.items()
        if rank in ended or (note["calls"] in (calls - 1, calls) and not answers[rank].waits)
    }
    if any(note["error"] for note in left.values()):
        left = {rank: note for rank, note in left.items() if note["error"]}
    elif set(ended) - set(left):
        left = {}  # who came to its end is less to blame than who vanished
    if left:
        told = [_of_leaver(names[r], note) for r, note in sorted(left.items())]
        return Verdict(tuple(sorted(names[r] for r in left)), "; ".join(told))
    if ended:
        told = [_of_missing(names[r], places[r], seen) for r, seen in sorted(ended.items())]
        return Verdict(tuple(sorted(names[r] for r in ended)), "; ".join(told))
    late = {r: each for r, each in answers.items() if each.calls < calls}
    late = late or {r: each for r, each in answers.items() if not each.waits}
    if late and len(late) < len(answers):
        told = [_of_late(names[r], each, alarm) for r, each in sorted(late.items())]
        return Verdict(tuple(sorted(names[r] for r in late)), "; ".join(told))
    why = alarm["detail"] or f"no answer within {alarm['seconds']:g} s"
    return Verdict((), f"all ranks are alive, but cannot reach each other ({why})")


def _of_leaver(name: int, note: dict[str, Any]) -> str:
    if note["error"]:
        return f"rank {name} stopped with {note['error']}".rstrip(".")
    calls = "1 call" if note["calls"] == 1 else f"{note['calls']} calls"
    return f"rank {name} has come to its end, after {calls}"


def _of_missing(name: int, place: Place, seen: bool) -> str:
    what = "has died" if seen else "does not answer any more"
    return f"rank {name} ({place}) {what}"


def _of_late(name: int, answer: Answer, alarm: dict[str, Any]) -> str:
    last = f"its last call was {answer.what}" if answer.what else "it has made no call yet"
    late = f"rank {name} has not come"
    if alarm["why"] == "silent":
        late += f" within {alarm['seconds']:g} s"
    return f"{late}; {last}, now it is at {answer.where}"


def and_others(items: list[Any]) -> str:
    """Return items as in a sentence.

    >>> and_others([0, 2, 3])
    '0, 2 and 3'
    """
    words = [str(item) for item in items]
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"
