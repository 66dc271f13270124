"""Rules for what is not attention: convolutions, norms, means, recurrences, and what was measured.

Each is one function that returns a sentence, or nothing where it does not fit.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from sightline.audit.locating.case import Bools, Case
from sightline.errors import SightlineError

# The length at which declared and measured masks are compared.
_SIZE = 24
_REDUCING = frozenset(
    {"mean", "sum", "max", "min", "amax", "amin", "norm", "var", "std", "logsumexp", "median"}
    | {"var_mean", "std_mean", "quantile", "normalize", "adaptive_avg_pool1d", "avg_pool1d"}
    | {"adaptive_max_pool1d", "max_pool1d"}
)


def convolution(case: Case) -> str:
    """A convolution is padded on both sides."""
    if case.facts is None or case.name != "conv1d":
        return ""
    kernel = case.facts.shapes.get("weight", (0,))[-1]
    dilation, padding = (
        _number(case.facts.values.get(n, d)) for n, d in (("dilation", 1), ("padding", 0))
    )
    reach = (kernel - 1) * dilation
    if case.facts.values.get("padding") == "same":
        padding, ahead = reach // 2, reach - reach // 2
    else:
        ahead = reach - padding
    if padding and ahead > 0:
        return (
            f"the convolution reads {_positions(ahead)} ahead: its kernel of {kernel} is padded by "
            f"{padding} on both sides; pad by {reach} on the left only (F.pad(x, ({reach}, 0)))"
        )
    if padding:
        return (
            f"the convolution is padded by {padding} on both sides and cut to its last positions; "
            f"keep the first ones ([..., :-{padding}])"
        )
    if reach:
        return (
            f"the convolution reads ahead: its input must be padded by {reach} (kernel - 1, times "
            f"the dilation) on the left and by nothing on the right (F.pad(x, ({reach}, 0)))"
        )
    return ""


def normalisation(case: Case) -> str:
    """A norm takes its statistics over the sequence."""
    if case.name == "batch_norm":
        return (
            "BatchNorm in training mode takes mean and variance over the batch and the sequence, "
            "later positions and padding included; use LayerNorm or RMSNorm over the features"
        )
    if case.name in ("group_norm", "instance_norm", "layer_norm", "rms_norm"):
        return (
            f"{case.name} takes its statistics over the sequence axis too; normalise the features "
            "of each position alone (nn.LayerNorm(width))"
        )
    return ""


def reducing(case: Case) -> str:
    """A mean, sum or maximum over the sequence."""
    if case.name not in _REDUCING:
        return ""
    return (
        f"{case.name} is taken over the sequence, positions that must not be seen included; take "
        "such a statistic over the positions allowed (cumulative, or masked as sl.nn's pooling is)"
    )


def cumulative(case: Case) -> str:
    """A running sum or a turned sequence."""
    if case.name == "flip":
        return (
            "the sequence is reversed (flip): what runs over it then runs backwards, from the last "
            "position to the first"
        )
    if case.name.startswith("cum") or case.name == "logcumsumexp":
        return f"{case.name} runs along the axis {case.axis}, from the wrong end or the wrong axis"
    return ""


def spectral(case: Case) -> str:
    """A Fourier transform over the sequence."""
    if not case.name.startswith("fft"):
        return ""
    return (
        "a Fourier transform (fft) over the sequence mixes all positions, and a convolution by it "
        "wraps around; pad to twice the length first (n=2 * length) and cut the result"
    )


def choosing(case: Case) -> str:
    """Positions compete for being chosen."""
    if case.name not in ("topk", "sort", "argsort"):
        return ""
    return (
        f"{case.name} over the sequence lets positions compete: whether one is chosen depends on "
        "all others, later ones included; let each position choose for itself (over the experts)"
    )


def rolling(case: Case) -> str:
    """Positions rolled off one end come back at the other."""
    if case.name != "roll":
        return ""
    return (
        "roll: positions that leave at one end come back at the other; set them to zero, shift "
        "with F.pad instead, or mask them in the attention that follows"
    )


def recurrent(case: Case) -> str:
    """A recurrence that runs in both directions."""
    if case.facts is None or not case.facts.values.get("bidirectional"):
        return ""
    return (
        f"a bidirectional {case.name.upper()} reads the sequence from its end too; use "
        "bidirectional=False"
    )


def product(case: Case) -> str:
    """A sum over all positions by a product of matrices."""
    if case.name not in ("einsum", "matmul", "bmm", "mm", "baddbmm", "tensordot"):
        return ""
    return (
        "the product sums over positions of the sequence that must not be seen; for a causal model "
        "take the running sum (cumsum), or a triangle of the weights (tril)"
    )


def layout(case: Case) -> str:
    """Axes are taken for one another."""
    if case.name not in ("reshape", "view", "flatten", "unflatten"):
        return ""
    return (
        f"{case.name} takes one axis for another, so that positions end up in other rows or heads: "
        "split [batch, length, width] into [batch, length, heads, -1] and then transpose"
    )


def own_input(case: Case) -> str:
    """A position's own input, which the contract forbids, reaches its output."""
    if case.facts is not None or case.declared is None or case.measured is None:
        return ""
    try:
        want, have = (m.dense(_SIZE, _SIZE) for m in (case.declared, case.measured))
    except (SightlineError, ValueError):  # they speak of other lengths
        return ""
    itself = np.eye(_SIZE, dtype=bool)
    if (want & itself).any() or not (have & itself).any():
        return ""
    return (
        "a position's own input reaches its output: labels or answers have to be shifted by one "
        "to the right (a start in front, the last one dropped; roll brings that one back in front)"
    )


def measured_prefix(case: Case) -> str:
    """What the model really does is the declared mask and a prefix."""
    wrong, have = _measured(case)
    count = int(np.flatnonzero(wrong.any(axis=0)).max(initial=-1)) + 1
    if not 0 < count < len(wrong) // 2 or not have[:, :count].all():
        return ""
    return f"the first {_positions(count)} are visible to everybody: a prefix"


def measured_distance(case: Case) -> str:
    """What the model really does is the declared mask and one distance more."""
    wrong, _ = _measured(case)
    distances = {int(query - key) for query, key in np.argwhere(wrong)}
    if len(distances) != 1 or distances == {0}:
        return ""
    (distance,) = distances
    where = f"{distance} before" if distance > 0 else f"{-distance} after"
    return (
        f"each query sees one key too many (off by one), {where} itself: {case.declared!r} was "
        f"declared, {case.measured!r} is done; look at < against <="
    )


def _measured(case: Case) -> tuple[Bools, Bools]:
    """Return bool ``[queries, keys]``: where more is done than declared, and what is done."""
    none = np.zeros((1, 1), dtype=bool)
    if case.declared is None or case.measured is None:
        return none, none
    try:
        want, have = (m.dense(_SIZE, _SIZE) for m in (case.declared, case.measured))
    except (SightlineError, ValueError):  # they speak of other lengths
        return none, none
    wrong, every = (have & ~want).any(axis=(0, 1)), have.all(axis=(0, 1))
    return np.asarray(wrong), np.asarray(every)


def _number(value: Any) -> int:
    if isinstance(value, (tuple, list)):
        value = value[0] if value else 0
    return value if isinstance(value, int) else 0


def _positions(count: int) -> str:
    return "1 position" if count == 1 else f"{count} positions"
