"""How the zoo's claims are said to `sl.audit`, and what its reports say of a planted fault."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import torch
from torch import nn
from zoo.fault import (
    BatchInvariant,
    CacheParity,
    Claim,
    Condition,
    Fault,
    Inputs,
    Isolated,
    MaskSensitive,
    PadInvariant,
    Right,
    Sees,
)
from zoo.parts import ids
from zoo.table import FAULTS, RIGHTS

import sightline as sl
from sightline.audit.findings import Report

LENGTH = 11


def contract_of(claim: Claim, given: dict[str, Any]) -> Any:
    """Return a claim as a user writes it."""
    if isinstance(claim, Sees):
        masks = list(claim.masks.values())
        return masks[0] if len(given) == 1 else dict(claim.masks)
    if isinstance(claim, PadInvariant):
        return sl.audit.pad_invariant(left=claim.side == "left", right=claim.side == "right")
    if isinstance(claim, Isolated):
        return sl.audit.isolated(sl.documents(ids=np.asarray(given["segment_ids"])))
    if isinstance(claim, CacheParity):
        return sl.audit.cache_parity([claim.split, 1])
    if isinstance(claim, BatchInvariant):
        return sl.audit.batch_invariant()
    assert isinstance(claim, MaskSensitive)
    return sl.audit.mask_sensitive()


def audited(model: nn.Module, claim: Claim, inputs: Inputs, when: Condition) -> Report:
    """Audit a model as its user would.

    Models of tokens alone get no inputs, others those of the row. Promises that are about inference
    are asked of training only by name. A model that errs after another batch has seen one.
    """
    given = inputs(LENGTH)
    if when.before is not None:
        with torch.no_grad():
            model(**when.before(LENGTH))
    asked = ["train"] if when.training and not isinstance(claim, Sees) else None
    return sl.audit(
        model,
        contract_of(claim, given),
        None if inputs is ids else given,
        conditions=asked,
    )


def row_of(name: str) -> Fault | Right:
    """Return the row of this name."""
    return next(row for row in (*FAULTS, *RIGHTS) if row.name == name)


@cache
def report_on(name: str, twin: str) -> Report:
    """Return the report on the ``wrong`` or ``right`` twin of a row; made once."""
    row = row_of(name)
    make = row.make if isinstance(row, Right) else {"wrong": row.wrong, "right": row.right}[twin]
    return audited(make(), row.claim, row.inputs, row.when)


def names_guilty(report: Report, module: str) -> bool:
    """Return whether a finding says that it starts in this module."""
    return any(f.place is not None and f.place.module == module for f in report.findings)


def fits_cause(report: Report, words: tuple[str, ...]) -> bool:
    """Return whether the likely cause of a finding holds one of these words."""
    said = " ".join(finding.cause for finding in report.findings).lower()
    return any(word.lower() in said for word in words)
