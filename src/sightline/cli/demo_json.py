"""`sightline demo --json`: the records of the report as JSON, field by field.

Bool arrays become strings of 0 and 1, a row each; a number that is not one becomes null.
"""

from __future__ import annotations

import json
import math
from dataclasses import fields, is_dataclass
from typing import Any

import numpy as np

from sightline.recipes.demo.records import Check, DemoReport

__all__ = ["as_json"]


def as_json(report: DemoReport) -> str:
    """Return the report as JSON text."""
    return json.dumps(_plain(report), indent=2, ensure_ascii=False, allow_nan=False)


def _plain(value: Any) -> Any:
    """Return records, tuples and arrays as what JSON has."""
    if is_dataclass(value):
        found = {field.name: _plain(getattr(value, field.name)) for field in fields(value)}
        return {**found, "holds": value.holds} if isinstance(value, Check) else found
    if isinstance(value, np.ndarray):
        if value.dtype == np.bool_:
            return ["".join("1" if cell else "0" for cell in row) for row in value]
        return _plain(value.tolist())
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
