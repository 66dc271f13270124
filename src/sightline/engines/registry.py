"""The table of engines and the choice between them. A new engine is a new file and a new row.

What an engine can do stands here as data, so that choosing, refusing and testing read the same
table. The work is left to the file of each engine.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from sightline import native
from sightline.engines.request import Request
from sightline.errors import CannotExpress
from sightline.masks.named import find_row


@dataclass(frozen=True)
class Engine:
    """What an engine is and what it can do.

    Attributes:
        name: what to pass as ``engine``.
        meaning: one line on how it works.
        module: where its ``run(request) -> (output, logsumexp or None)`` lives.
        logsumexp: whether it can return the logsumexp, with gradients.
        dropout: whether it can drop weights.
        devices: the types of device that it runs on; empty for all.
        dtypes: the names of the dtypes that it takes.
        automatic: whether ``engine="auto"`` prefers it; others are taken only if none of these
            can do what was asked.
        compiled: whether it needs the compiled kernels, which an installation may lack.
    """

    name: str
    meaning: str
    module: str
    logsumexp: bool
    dropout: bool
    devices: tuple[str, ...] = ()
    dtypes: tuple[str, ...] = ("float16", "bfloat16", "float32", "float64")
    automatic: bool = True
    compiled: bool = False


@dataclass(frozen=True)
class Choice:
    """Which engine runs a call, and why.

    Attributes:
        engine: its name.
        reasons: one sentence per engine considered, the chosen one last.
    """

    engine: str
    reasons: tuple[str, ...]


# Why the compiled kernels are not there; None if they are. Asked once: torch.compile reads this.
MISSING = native.why_missing()

# The order is the order of preference of engine="auto" among those that can do what was asked.
_ROWS = (
    Engine(
        name="cpu",
        meaning="our own kernels, which do only the work that the mask leaves",
        module="sightline.engines.cpu",
        logsumexp=True,
        dropout=True,
        devices=("cpu",),
        compiled=True,
    ),
    Engine(
        name="sdpa",
        meaning="torch's scaled_dot_product_attention, with forbidden content kept out",
        module="sightline.engines.sdpa",
        logsumexp=False,
        dropout=True,
    ),
    Engine(
        name="reference",
        meaning="the oracle: numpy in float64, one row at a time; obvious and slow",
        module="sightline.engines.reference",
        logsumexp=True,
        dropout=False,
        automatic=False,
    ),
)

ENGINES: dict[str, Engine] = {row.name: row for row in _ROWS}


def obstacles(engine: Engine, request: Request) -> Iterator[tuple[str, str]]:
    """Yield (part of the call, why the engine cannot do it) for everything in the way."""
    if engine.compiled and MISSING is not None:
        yield "this installation", f"the compiled kernels are missing ({MISSING})"
    if request.return_lse and not engine.logsumexp:
        yield "return_lse=True", "it does not hand out the logsumexp"
    if request.dropout > 0 and not engine.dropout:
        yield f"dropout={request.dropout}", "it is deterministic and has no random numbers"
    device = request.query.device.type
    if engine.devices and device not in engine.devices:
        yield f"tensors on {device}", f"it runs on {', '.join(engine.devices)} only"
    dtype = str(request.query.dtype).removeprefix("torch.")
    if dtype not in engine.dtypes:
        yield f"dtype {dtype}", f"it takes {', '.join(engine.dtypes)}"


def choose(request: Request, name: str) -> Choice:
    """Return the engine to run: the one named, or for "auto" the first that can.

    Raises:
        UnknownBackend: no engine of that name.
        CannotExpress: the engine named, or with "auto" every engine, cannot do what was asked.
    """
    if name != "auto":
        engine = ENGINES[find_row({each: each for each in ("auto", *ENGINES)}, name, "engine")]
        for part, reason in obstacles(engine, request):
            raise CannotExpress(
                destination=f"engine {name!r}",
                part=part,
                reason=reason,
                alternative=_alternative(request, part),
            )
        return Choice(name, (f"{name} was asked for by name.",))
    return _choose_automatically(request)


def _choose_automatically(request: Request) -> Choice:
    reasons: list[str] = []
    in_the_way: list[str] = []
    for engine in sorted(ENGINES.values(), key=lambda row: not row.automatic):
        found = list(obstacles(engine, request))
        if not found:
            chosen = f"{engine.name} can do all that was asked ({engine.meaning})."
            return Choice(engine.name, (*reasons, chosen))
        in_the_way += [part for part, _ in found if part not in in_the_way]
        because = "; ".join(f"cannot do {part}: {reason}" for part, reason in found)
        reasons.append(f"{engine.name} {because}.")
    raise CannotExpress(
        destination='engine "auto"',
        part=" with ".join(in_the_way),
        reason="no engine can do all of it at once (" + " ".join(reasons).rstrip(".") + ")",
        alternative="leave one of them out",
    )


def _alternative(request: Request, part: str) -> str:
    able = [row.name for row in ENGINES.values() if not list(obstacles(row, request))]
    if able:
        return " or ".join(f"engine={name!r}" for name in able)
    return f"leave {part.split('=')[0]} out; no engine can do all that was asked"
