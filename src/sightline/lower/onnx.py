"""Destination ``onnx``: the inputs of ONNX's operator ``Attention``, or a graph that makes them.

Its bool mask has our sense (True may attend). onnx_formula.py writes the graph, in which no length
stands, so that an exported model need not be exported again for another one.
"""

from __future__ import annotations

from typing import Any

from sightline.errors import InvalidArgument
from sightline.lower.arguments import Asked, require_module
from sightline.lower.destinations import Destination
from sightline.lower.onnx_formula import model

DESTINATION = Destination(
    name="onnx",
    gives="the input attn_mask and the attribute is_causal of the operator Attention (operator "
    'set 23 and later); with form="graph" a model that computes attn_mask from the lengths',
    expresses='every mask without empty rows; with form="graph" also those with empty rows, which '
    "it names beside the mask, unless a predicate cannot be recorded",
    refuses="empty rows, unless zero_rows=True says that the runtime gives 0 for them: the "
    'operator does since onnx 1.23, onnxruntime since 1.28; with form="graph" predicates that are '
    "more than operators on b, h, q and k",
    in_principle="every mask, once all runtimes follow the operator's definition of today",
    options=("form", "zero_rows"),
    needs="onnx",
    extra="onnx",
)

NAME = DESTINATION.name
FORMS = ("inputs", "graph")


def translate(asked: Asked, form: str = "inputs", zero_rows: bool = False) -> dict[str, Any]:
    """Return ``{"attn_mask": array, "is_causal": 0}``, or ``{"model": ModelProto}``.

    ``attn_mask`` is bool [batch|1, heads|1, q_len, kv_len]. ``is_causal`` stays 0: the mask says
    all, and what that attribute is aligned to has changed between versions of the operator.

    The model has the int64 inputs ``q_len``, ``kv_len`` and ``q_offset`` and one input for each
    array of the mask's data (``padding_stop``, ``segments_ids``, ...: ``graph.input`` lists them).
    The data and the offset have the present values unless others are given, for other batch sizes
    too where the declared shape has the axis ``batch``: then give all of those. A part that the
    mask has twice is one input. Its outputs are ``attn_mask`` and ``empty_rows`` (bool [batch|1,
    heads|1, q_len, 1]): where a runtime does not give 0 for these itself, a Where after Attention
    does. Positions beyond the data see nothing, also of ``sl.dense``. The lengths asked for are
    not in it.

    Args:
        asked: the mask and its shape.
        form: "inputs" or "graph".
        zero_rows: whether the runtime is known to give 0 for empty rows; with "graph" it need
            not be.

    Raises:
        CannotExpress: a row that may see nothing, with "inputs" and without ``zero_rows``; a
            predicate that cannot be recorded, with "graph".
        InvalidArgument: another form.
        MissingExtra: onnx is not installed, with "graph".

    Source: the definition of Attention, operator set 23 to 25, in onnx 1.23.

    >>> import sightline as sl
    >>> sl.lower(sl.causal(), to="onnx", q_len=1, kv_len=3, q_offset=1)
    {'attn_mask': array([[[[ True,  True, False]]]]), 'is_causal': 0}
    """
    if form not in FORMS:
        raise InvalidArgument(f"got form={form!r} for {NAME}; wanted one of {', '.join(FORMS)}.")
    if form == "graph":
        onnx = require_module("onnx", f"sl.lower(..., to={NAME!r}, form='graph')", extra="onnx")
        return {"model": model(onnx, asked.mask, asked.q_offset)}
    if not zero_rows:
        asked.refuse_empty_rows(
            NAME,
            reason="onnxruntime before 1.28 gives the mean of all values for them",
            alternative="zero_rows=True if the runtime gives 0, as the operator is defined since "
            'onnx 1.23; or form="graph", which names these rows beside the mask',
        )
    return {"attn_mask": asked.dense, "is_causal": 0}
