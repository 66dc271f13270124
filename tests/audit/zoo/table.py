"""All faults of the zoo, and the right models that look suspicious."""

from __future__ import annotations

from . import (
    bert,
    clicks,
    conv,
    decode,
    gpt,
    gpt_torch,
    patterns,
    pooling,
    routing,
    scan,
    seq2seq,
    speech,
    suspicious,
    vision,
)
from .fault import Fault, Right

FAULTS: tuple[Fault, ...] = (
    *gpt.FAULTS,
    *gpt_torch.FAULTS,
    *patterns.FAULTS,
    *bert.FAULTS,
    *pooling.FAULTS,
    *seq2seq.FAULTS,
    *conv.FAULTS,
    *scan.FAULTS,
    *routing.FAULTS,
    *vision.FAULTS,
    *decode.FAULTS,
    *clicks.FAULTS,
    *speech.FAULTS,
)
RIGHTS: tuple[Right, ...] = suspicious.RIGHTS
