"""What is to be measured and what came out: frozen records, no torch, no work.

All times are medians over the rounds, of one call; all ratios are medians of the ratios round by
round, so that they are of neighbours in time.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = [
    "DTYPES",
    "PASSES",
    "BenchReport",
    "Calls",
    "DecodeRow",
    "LeftOut",
    "MemoryRow",
    "PassRow",
    "Peer",
    "Settings",
]

PASSES = ("forward", "backward", "decode", "calls")
DTYPES = ("float32", "bfloat16", "float16", "float64")


@dataclass(frozen=True)
class Settings:
    """What to measure.

    Attributes:
        engine: the engine under test, as in ``sl.attend(engine=...)``.
        passes: of PASSES.
        masks: names of cases.MASKS, for the forward and the backward pass.
        lengths: numbers of tokens.
        dims: sizes of a head.
        batches: numbers of batch rows.
        dtypes: of DTYPES.
        heads: query heads, as many as key heads.
        context: keys in the cache of a decode step; tokens of ``calls``.
        rounds: how often each contestant is timed.
        flex: whether compiled FlexAttention takes part (forward only; compiling takes seconds).
        longest: seconds; SDPA with a mask that takes longer a call is left out.
    """

    engine: str = "cpu"
    passes: tuple[str, ...] = PASSES
    masks: tuple[str, ...] = ("causal",)
    lengths: tuple[int, ...] = (1024,)
    dims: tuple[int, ...] = (64,)
    batches: tuple[int, ...] = (1,)
    dtypes: tuple[str, ...] = ("float32",)
    heads: int = 8
    context: int = 4096
    rounds: int = 7
    flex: bool = False
    longest: float = 4.0


@dataclass(frozen=True)
class Peer:
    """Another way to the same numbers: its time, and its time ÷ ours (above 1: we are quicker)."""

    name: str
    ms: float
    ratio: float


@dataclass(frozen=True)
class LeftOut:
    """A peer that did not take part, and why."""

    name: str
    reason: str


@dataclass(frozen=True)
class PassRow:
    """One mask at one shape, forward or backward.

    Attributes:
        kind: "forward" or "backward".
        mask: its name in cases.MASKS.
        expression: the mask itself.
        length, batch, heads, dim, dtype: the shape, [batch, heads, length, dim].
        density: allowed pairs ÷ all pairs.
        ms: our time; NaN if the engine refused.
        dense_ms: the time of SDPA without a mask, the same pass.
        efficiency: density * time of SDPA without a mask ÷ our time.
        gflops: 10**9 operations a second, those of allowed pairs only: 4 * dim a pair forward,
            10 * dim backward (five products of matrices, since the scores are computed anew).
        share_of_peak: the same ÷ that of a large product of matrices, see machine.peak_gflops.
        peers: who else took part, the quickest first.
        left_out: who did not.
        compile_seconds: what FlexAttention took for its first call; None if it took no part.
        difference: the largest difference from a peer ÷ the largest number; NaN without peers.
        agrees: whether that is what rounding explains.
        refused: why the engine under test did not run; "" if it did.
    """

    kind: str
    mask: str
    expression: str
    length: int
    batch: int
    heads: int
    dim: int
    dtype: str
    density: float
    ms: float
    dense_ms: float
    efficiency: float
    gflops: float
    share_of_peak: float
    peers: tuple[Peer, ...]
    left_out: tuple[LeftOut, ...]
    compile_seconds: float | None
    difference: float
    agrees: bool
    refused: str = ""


@dataclass(frozen=True)
class DecodeRow:
    """One new query for each batch row against a cache of keys and values.

    Attributes:
        case: what is alive in the cache, and how heads share it.
        batch, heads, kv_heads, dim, cache, dtype: the shape.
        live_mib: keys and values that some query may see, in MiB.
        ms: our time.
        gb_per_second: live bytes ÷ our time, in 10**9 bytes a second.
        reader: the quickest plain read of as many bytes of the same memory.
        read_gb_per_second: how fast that was.
        share_of_read: our rate ÷ that rate.
        peers: SDPA.
        difference, agrees, refused: as for PassRow.
    """

    case: str
    batch: int
    heads: int
    kv_heads: int
    dim: int
    cache: int
    dtype: str
    live_mib: float
    ms: float
    gb_per_second: float
    reader: str
    read_gb_per_second: float
    share_of_read: float
    peers: tuple[Peer, ...]
    difference: float
    agrees: bool
    refused: str = ""


@dataclass(frozen=True)
class MemoryRow:
    """How far one call's memory goes beyond inputs and results, in a fresh process.

    Attributes:
        kind: "forward", or "backward" for both passes.
        length: tokens.
        mib: growth of the resident memory at its peak, less the results.
        results_mib: the output, and the gradients.
        refused: why the engine did not run; "" if it did.
    """

    kind: str
    length: int
    mib: float
    results_mib: float
    refused: str = ""


@dataclass(frozen=True)
class Calls:
    """What a call costs besides its arithmetic.

    Attributes:
        length: tokens of the first call.
        first_call_ms: a call with a mask never seen, less a later call with the same mask.
        steady_ms: that later call.
        minimal_us: a whole call on [1, 1, 1, 8], kernel included.
        sdpa_minimal_us: SDPA on the same.
        memory: causal attention at several lengths.
        refused: why the engine did not run; "" if it did.
    """

    length: int
    first_call_ms: float
    steady_ms: float
    minimal_us: float
    sdpa_minimal_us: float
    memory: tuple[MemoryRow, ...]
    refused: str = ""


@dataclass(frozen=True)
class BenchReport:
    """All of it.

    Attributes:
        settings: what was asked.
        machine: what it ran on.
        peak_gflops: of a large product of matrices, for each dtype that was measured.
        rows: forward and backward.
        decode: decode steps.
        calls: what a call costs, or None if that was not asked.
        seconds: how long measuring took.
    """

    settings: Settings
    machine: dict[str, object]
    peak_gflops: dict[str, float]
    rows: tuple[PassRow, ...]
    decode: tuple[DecodeRow, ...]
    calls: Calls | None
    seconds: float

    @property
    def agrees(self) -> bool:
        """Whether every engine gave the same numbers as its peers."""
        return all(row.agrees for row in (*self.rows, *self.decode))
