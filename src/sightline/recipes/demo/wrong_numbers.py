"""Mistakes with the number that stands for "forbidden": infinities, large constants, NaN.

They show where a query may see nothing, or where a vector holds what only a score may hold.
"""

from __future__ import annotations

import torch
from torch import Tensor

import sightline as sl
from sightline.recipes.demo.layer import HEADS, WIDTH, Layer
from sightline.recipes.demo.records import EmptyRowRecord, Mistake
from sightline.recipes.demo.scene import Scene, scores_of

__all__ = ["finite_constant", "infinite_padding", "left_padding", "unguarded_softmax"]

_RIGHT = 'sl.attend(q, k, v, sl.causal() & sl.padding(lengths=lengths, side="left"))'


def infinite_padding(scene: Scene) -> Mistake:
    """The advice to fill the padding's word vector with minus infinity."""
    states = torch.where(scene.frame.valid[..., None], scene.states, float("-inf"))
    query, key, value = scene.layer.qkv(states)
    scores = scores_of(query, key)
    hidden = ~scene.seen_under(scene.frame.padding)
    weights = scores.softmax(-1)
    wrong = scene.layer.join(weights @ value)
    masked = scene.layer.join(scores.masked_fill(hidden, float("-inf")).softmax(-1) @ value)
    right = scene.layer(states, scene.frame.padding)
    harm = _nan_share(scene.real(wrong))
    lost = sum(
        bool(wrong[row, scene.frame.valid[row]].isnan().all())
        for row in range(len(scene.frame.lengths))
    )
    return Mistake(
        name="Padding vectors of -inf",
        written='embedding.weight[PAD] = float("-inf")',
        happened=f"{lost} of {len(scene.frame.lengths)} sentences become NaN in every number of "
        "every word; with -inf on the scores as well, as a mask, still "
        f"{_nan_share(scene.real(masked)):.0%} of all numbers are NaN: 0 x inf is NaN",
        measure="share of outputs that are NaN",
        kind="share",
        harm=harm,
        right_harm=_nan_share(scene.real(right)),
        tolerance=0.0,
        right="sl.attend(q, k, v, sl.padding(lengths=lengths))",
        wrong_picture=scene.picture(
            "Wrong: -inf in the vectors", scene.frame.padding, weights, "Solid cells are NaN."
        ),
        right_picture=scene.picture(
            "Right: the same vectors, masked",
            scene.frame.padding,
            sl.attention_weights(query, key, scene.frame.padding),
            "What may not be seen cannot do harm.",
        ),
    )


def finite_constant(scene: Scene) -> Mistake:
    """A large negative number instead of "forbidden", where a query may see nothing."""
    mask, states = _left(scene)
    query, key, value = scene.layer.qkv(states)
    hidden = ~scene.seen_under(mask)
    empty = hidden.all(-1)[:, 0]
    scores = scores_of(query, key)
    wrong = scores.masked_fill(hidden, torch.finfo(scores.dtype).min).softmax(-1)
    softer = (scores + hidden * -1e9).softmax(-1)
    mean = value.mean(-2, keepdim=True).expand_as(value)
    off = max(
        (weights @ value - mean).transpose(1, 2)[empty].abs().max().item()
        for weights in (wrong, softer)
    )
    right = sl.attention_weights(query, key, mask)

    def handed_out(weights: Tensor) -> float:
        return weights.sum(-1).transpose(1, 2)[empty].mean().item()

    return Mistake(
        name="A large negative number",
        written="scores.masked_fill(~mask, torch.finfo(scores.dtype).min)   # or -1e9",
        happened=f"With padding on the left, {int(empty.sum())} queries may see nothing; each "
        f"answers with the average of all {scene.left.width} values, padding and future "
        f"included (to within {off:.0e})",
        measure="weight where nothing may be seen",
        kind="share",
        harm=handed_out(wrong),
        right_harm=handed_out(right),
        tolerance=0.0,
        right=_RIGHT,
        wrong_picture=scene.left_picture(
            "Wrong: a large negative number", mask, wrong, "Rows that may see nothing see all."
        ),
        right_picture=scene.left_picture("Right", mask, right, "Rows that may see nothing are 0."),
    )


def unguarded_softmax(scene: Scene) -> Mistake:
    """nn.MultiheadAttention with weights asked for, where a query may see nothing."""
    mask, states = _left(scene)
    module = scene.layer.as_torch_module()
    allowed = scene.seen_under(mask)
    hidden = ~allowed.expand(-1, HEADS, -1, -1).flatten(0, 1)
    inputs = states.clone().requires_grad_()
    outputs, weights = module(
        inputs, inputs, inputs, attn_mask=hidden, need_weights=True, average_attn_weights=False
    )
    # The loss looks at real words only, as a careful training loop does.
    outputs[scene.left.valid].square().sum().backward()
    harm = _nan_share(_gradient(module.in_proj_weight))
    empty = ~allowed.any(-1)[:, 0]
    rows = int(outputs.detach().isnan().any(-1)[empty].sum())
    record = left_padding(scene)
    return Mistake(
        name="Softmax over nothing",
        written="nn.MultiheadAttention(...)(x, x, x, attn_mask=hidden, need_weights=True)",
        happened=f"{rows} of the {int(empty.sum())} queries that may see nothing become NaN, and "
        f"though the loss looks at real words only, {harm:.0%} of the gradient of the weights "
        "is NaN",
        measure="share of gradients that are NaN",
        kind="share",
        harm=harm,
        right_harm=record.nan_gradients / (3 * WIDTH * WIDTH),
        tolerance=0.0,
        right=_RIGHT,
        wrong_picture=scene.left_picture(
            "Wrong: softmax over nothing", mask, weights, "Solid cells are NaN."
        ),
        right_picture=scene.left_picture(
            "Right",
            mask,
            sl.attention_weights(*scene.layer.qkv(states)[:2], mask),
            "Rows that may see nothing are 0.",
        ),
    )


def left_padding(scene: Scene) -> EmptyRowRecord:
    """Run the right way with padding on the left: the empty rows, outputs and gradients."""
    mask, states = _left(scene)
    empty = torch.from_numpy(mask.empty_rows(scene.left.width)[:, 0].copy())
    layer = _trainable(scene.layer)
    outputs = layer(states, mask)
    outputs[scene.left.valid].square().sum().backward()
    gradients = [_gradient(weight) for weight in (layer.query, layer.key, layer.value)]
    return EmptyRowRecord(
        empty_rows=tuple(empty.sum(-1).tolist()),
        largest_output=outputs.detach()[empty].abs().max().item(),
        nan_outputs=int(outputs.detach().isnan().sum()),
        nan_gradients=sum(int(gradient.isnan().sum()) for gradient in gradients),
    )


def _left(scene: Scene) -> tuple[sl.Mask, Tensor]:
    """Return the causal mask over left padding, and the states it is for."""
    return sl.causal() & scene.left.padding, scene.model.embed(scene.left.ids)


def _gradient(weight: Tensor) -> Tensor:
    """Return the gradient of a weight; to have none at all would hide a mistake."""
    if weight.grad is None:
        raise ValueError("got a weight without a gradient, wanted one after backward()")
    return weight.grad


def _nan_share(numbers: Tensor) -> float:
    """Return the share of ``numbers`` that are NaN."""
    return numbers.isnan().double().mean().item()


def _trainable(layer: Layer) -> Layer:
    """Return a copy of the layer whose weights collect gradients."""
    matrices = (layer.query, layer.key, layer.value, layer.output)
    return Layer(*(matrix.clone().requires_grad_() for matrix in matrices), way=layer.way)
