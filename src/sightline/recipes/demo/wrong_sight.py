"""Mistakes that let a word see what it must not, or not see what it may. Nothing crashes.

The wrong way is written with plain torch, as it is found in the wild; the right way with
Sightline. The measure of harm is the same for both.
"""

from __future__ import annotations

import torch
from torch.nn.functional import scaled_dot_product_attention

import sightline as sl
from sightline.recipes.demo.layer import HEADS
from sightline.recipes.demo.records import Drawing, Mistake
from sightline.recipes.demo.scene import Scene, scores_of, share_on
from sightline.recipes.demo.text import phrase

__all__ = [
    "inverted_convention",
    "mask_after_softmax",
    "no_causal_mask",
    "no_padding_mask",
    "wrong_corner",
    "zeroed_scores",
]

_RIGHT = "sl.attend(q, k, v, sl.causal() & sl.padding(lengths=lengths))"


def no_padding_mask(scene: Scene) -> Mistake:
    """Every word also reads the padding, as if it were language."""
    frame, layer = scene.frame, scene.layer
    pads = ~frame.valid[:, None, None, :]
    wrong = scores_of(scene.query, scene.key).softmax(-1)
    right = sl.attention_weights(scene.query, scene.key, frame.padding)
    outputs = layer.join(wrong @ scene.value)
    moved = 0.0
    for row in range(len(frame.lengths)):
        alone = layer(scene.model.embed(frame.alone(row)), sl.everything())[0]
        moved = max(moved, (outputs[row, frame.valid[row]] - alone).abs().max().item())
    harm = share_on(wrong, pads, frame.valid)
    return Mistake(
        name="No mask on the padding",
        written="softmax(q @ k.T / sqrt(d)) @ v",
        happened=f"{harm:.0%} of the attention of real words goes to padding, "
        f"and their outputs differ from the sentence alone by up to {moved:.2f}",
        measure="share of attention on padding",
        kind="share",
        harm=harm,
        right_harm=share_on(right, pads, frame.valid),
        tolerance=0.0,
        right="sl.attend(q, k, v, sl.padding(lengths=lengths))",
        wrong_picture=scene.picture(
            "without a mask", frame.padding, wrong, "The padding columns take weight."
        ),
        right_picture=scene.picture(
            "with the padding mask", frame.padding, right, "The padding columns stay empty."
        ),
    )


def no_causal_mask(scene: Scene) -> Mistake:
    """A decoder that may read the word it has to predict."""
    padding, layer = scene.frame.padding, scene.layer
    wrong = sl.attention_weights(scene.query, scene.key, padding)
    right = sl.attention_weights(scene.query, scene.key, scene.mask)
    harm = scene.change_of_the_past(lambda states: layer(states, padding))
    future = share_on(wrong, ~scene.allowed, scene.frame.valid)
    return Mistake(
        name="No causal mask",
        written="attn_mask = valid[:, None, None, :]   # in a decoder",
        happened=f"Replace the last word and the outputs before it move by up to {harm:.2f}; "
        f"{future:.0%} of the attention reads words that are still to be predicted",
        measure="change of earlier outputs",
        kind="change",
        harm=harm,
        right_harm=scene.change_of_the_past(lambda states: layer(states, scene.mask)),
        tolerance=0.0,
        right=_RIGHT,
        wrong_picture=scene.picture(
            "Wrong: padding mask only", scene.mask, wrong, "Above the diagonal lies the future."
        ),
        right_picture=scene.picture(
            "Right: causal and padding", scene.mask, right, "Nothing above the diagonal."
        ),
    )


def mask_after_softmax(scene: Scene) -> Mistake:
    """The weights are cut after they were shared out, and what was cut is lost."""
    layer, allowed, real = scene.layer, scene.allowed, scene.frame.valid

    def wrong_weights(query: torch.Tensor, key: torch.Tensor) -> torch.Tensor:
        return scores_of(query, key).softmax(-1) * allowed

    def wrong_outputs(states: torch.Tensor) -> torch.Tensor:
        query, key, value = layer.qkv(states)
        return layer.join(wrong_weights(query, key) @ value)

    def missing(weights: torch.Tensor) -> float:
        return (1 - weights.sum(-1)).abs().transpose(1, 2)[real].mean().item()

    wrong = wrong_weights(scene.query, scene.key)
    right = sl.attention_weights(scene.query, scene.key, scene.mask)
    harm, leak = missing(wrong), scene.change_of_the_past(wrong_outputs)
    return Mistake(
        name="Mask after softmax",
        written="softmax(scores) * mask",
        happened=f"The weights of a word sum to {1 - harm:.2f} on average, not to 1; and the "
        f"hidden words still sit in the denominator: the last one moves earlier outputs "
        f"by {leak:.2f}",
        measure="share of attention lost",
        kind="share",
        harm=harm,
        right_harm=missing(right),
        tolerance=1e-6,
        right=_RIGHT,
        wrong_picture=scene.picture(
            "Wrong: masked after softmax",
            scene.mask,
            wrong,
            "The rows are too pale: weight is lost.",
        ),
        right_picture=scene.picture(
            "Right: masked before softmax", scene.mask, right, "Every row sums to 1."
        ),
    )


def zeroed_scores(scene: Scene) -> Mistake:
    """A score of zero is no prohibition: e^0 = 1."""
    wrong = (scores_of(scene.query, scene.key) * scene.allowed).softmax(-1)
    right = sl.attention_weights(scene.query, scene.key, scene.mask)
    harm = share_on(wrong, ~scene.allowed, scene.frame.valid)
    leak = scene.change_of_the_past(lambda states: _zeroed_outputs(scene, states))
    return Mistake(
        name="Scores set to zero",
        written="softmax(scores * mask)",
        happened=f"Since e^0 = 1, hidden words keep {harm:.0%} of the attention, "
        f"and the last word moves earlier outputs by up to {leak:.2f}",
        measure="share of attention on hidden words",
        kind="share",
        harm=harm,
        right_harm=share_on(right, ~scene.allowed, scene.frame.valid),
        tolerance=0.0,
        right=_RIGHT,
        wrong_picture=scene.picture(
            "Wrong: scores set to zero", scene.mask, wrong, "Hidden cells get weight all the same."
        ),
        right_picture=scene.picture("Right: left out", scene.mask, right, "Hidden cells get none."),
    )


def _zeroed_outputs(scene: Scene, states: torch.Tensor) -> torch.Tensor:
    query, key, value = scene.layer.qkv(states)
    return scene.layer.join((scores_of(query, key) * scene.allowed).softmax(-1) @ value)


def inverted_convention(scene: Scene) -> Mistake:
    """nn.MultiheadAttention's True means "ignore"; SDPA's True means "attend"."""
    ignore = ~scene.allowed
    # An identity matrix as the values makes the outputs the weights themselves.
    unit = torch.eye(scene.frame.width).expand(*scene.query.shape[:2], -1, -1)
    wrong = scaled_dot_product_attention(scene.query, scene.key, unit, attn_mask=ignore)
    call = sl.lower(scene.mask, to="torch.sdpa", q_len=scene.frame.width)
    right = scaled_dot_product_attention(scene.query, scene.key, unit, **call)
    harm = share_on(wrong, ignore, scene.frame.valid)
    _, module_weights = scene.layer.as_torch_module()(
        *[scene.states] * 3,
        attn_mask=scene.allowed.expand(-1, HEADS, -1, -1).flatten(0, 1),
        average_attn_weights=False,
    )
    other = share_on(module_weights.detach(), ignore, scene.frame.valid)
    return Mistake(
        name="True and False swapped",
        written="F.scaled_dot_product_attention(q, k, v, attn_mask=ignore)   # True = ignore",
        happened='To nn.MultiheadAttention True means "ignore", to this function "attend": '
        f"{harm:.0%} of the attention lies on hidden words. The other way round, a mask of "
        f'"attend" given to nn.MultiheadAttention, it is {other:.0%}',
        measure="share of attention on hidden words",
        kind="share",
        harm=harm,
        right_harm=share_on(right, ignore, scene.frame.valid),
        tolerance=0.0,
        right='sl.lower(mask, to="torch.sdpa", q_len=n)   # or to="torch.mha"',
        wrong_picture=scene.picture(
            "Wrong: the mask upside down", scene.mask, wrong, "All weight is where none may be."
        ),
        right_picture=scene.picture(
            "Right: converted", scene.mask, right, "Each in its own sense."
        ),
    )


def wrong_corner(scene: Scene) -> Mistake:
    """One new query against a cache: ``is_causal`` takes it for position 0."""
    size = scene.frame.lengths[scene.example]
    one = slice(scene.example, scene.example + 1)
    query = scene.query[one, :, size - 1 : size]
    key = scene.key[one, :, :size]
    unit = torch.eye(size).expand(1, query.shape[1], -1, -1)
    wrong = scaled_dot_product_attention(query, key, unit, is_causal=True)
    right = sl.attention_weights(query, key, sl.causal(), q_offset=size - 1)

    def unseen(weights: torch.Tensor) -> float:
        return (weights == 0).double().mean().item()

    words = scene.frame.rows[scene.example][:size]
    left = [word for word, seen in zip(words, (wrong[0, :, 0] != 0).any(0), strict=True) if seen]
    return Mistake(
        name="A decode step with is_causal",
        written="F.scaled_dot_product_attention(q_last, k, v, is_causal=True)",
        happened=f"The new query counts as position 0 and sees {len(left)} of {size} words: "
        f'of "{phrase(words)}" there is left "{phrase(left)}"',
        measure="share of past words not seen",
        kind="share",
        harm=unseen(wrong),
        right_harm=unseen(right),
        tolerance=0.0,
        right="sl.attend(q_last, k, v, sl.causal(), q_offset=t)",
        wrong_picture=_last_row(scene, words, wrong, "Wrong: is_causal counts from 0"),
        right_picture=_last_row(scene, words, right, "Right: q_offset says which query it is"),
    )


def _last_row(scene: Scene, words: tuple[str, ...], weights: torch.Tensor, name: str) -> Drawing:
    """Draw the weights [1, heads, 1, keys] of the newest query."""
    return Drawing(
        name=name,
        expression=repr(sl.causal()),
        allowed=sl.causal().dense(1, len(words), q_offset=len(words) - 1)[0, 0],
        rows=words[-1:],
        columns=words,
        caption=f'What "{words[-1]}" sees.',
        weights=weights[0, 0].numpy(),
    )
