"""Reports made by hand, for tests of what is shown of them."""

from __future__ import annotations

import numpy as np

import sightline as sl
from sightline.audit.findings import Finding, Matrix, Pair, Place, Report

CAUSE = "the result of masked_fill is thrown away: assign it"


def broken() -> Report:
    """Return a report with a leak that says all there is to say, and a finding that says little."""
    allowed = np.tri(7, 9, dtype=bool)
    depends = allowed.copy()
    depends[:, :3] = depends[2, 6] = True
    depends[5, 1] = False
    code = ("/there/model.py", 41, "    a = s.softmax(-1)")
    place = Place("blocks.1.attn", "SelfAttention", "torch.softmax", *code)
    leak = Finding(
        "leak",
        "causal()",
        "logits at 0 depends on input_ids at 1",
        input="input_ids",
        output="logits",
        conditions=("as called", "train"),
        held=("attention_mask=left-padded",),
        pairs=(Pair(0, 0, 1), Pair(0, 0, 2), Pair(0, 0, 5), Pair(2, 2, 6)),
        size=0.2345,
        place=place,
        declared=sl.causal(),
        measured=sl.causal() | sl.prefix(3),
        matrix=Matrix(allowed, depends),
        cause=CAUSE,
        repro="import torch\nmodel = make()\n",
    )
    parity = Finding("parity", "cache_parity()", "cache_parity() is broken", size=float("inf"))
    return Report(
        "TinyGPT",
        ("causal()", "cache_parity()"),
        (leak, parity),
        ("the train condition could not be run with a cache",),
        ("as called", "train"),
        {"input_ids": (3, 17)},
        0.99996,
        23,
        "float64",
        1.23,
    )


def kept() -> Report:
    """Return a report without findings."""
    return Report(
        "TinyGPT",
        ("causal()",),
        conditions=("as called",),
        sizes={"input_ids": (3, 17)},
        passes=1,
        dtype="float64",
    )
