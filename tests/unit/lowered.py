"""Masks that every destination is run with, at sizes that all differ."""

from __future__ import annotations

import sightline as sl

B, HEADS, Q, K, DIM, OFFSET = 3, 2, 4, 6, 8, 2
FULL_ROWS = {
    "everything": sl.everything(),
    "causal": sl.causal(),
    "causal from the first row on": sl.causal().shift(query=OFFSET),
    "window": sl.window(2, 1),
    "padding": sl.padding(lengths=[6, 2, 3]),
    "padding of two kinds": sl.padding(lengths=[6, 2, 3]) & sl.causal() & ~sl.keys([1]),
    "documents": sl.documents(ids=[[0, 0, 1, 1, 1, 1], [0] * 6, [0, 1, 0, 1, 0, 1]]),
    "per head": sl.per_head([sl.causal(), sl.window(1, 1)]),
    "per head and batch": sl.per_head([sl.causal(), sl.window(1, 1)])
    & sl.padding(lengths=[6, 5, 5]),
}
EMPTY_ROWS = {
    "nothing": sl.nothing(),
    "a batch row without keys": sl.padding(lengths=[6, 0, 3]),
    "left padding": sl.causal() & sl.padding(lengths=[6, 2, 3], side="left", total=6),
    "one head": sl.per_head([sl.causal(), sl.nothing()]),
}
