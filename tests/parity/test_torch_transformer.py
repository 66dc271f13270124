"""sl.nn.Transformer, its stacks and layers against torch's, same weights, all mask arguments.

Only where torch is right: no row is empty, and a causal hint comes with its mask.
"""

from __future__ import annotations

from itertools import combinations
from typing import Any

import pytest
import torch
from torch import nn

import sightline as sl

# torch says so of layers for which its fast path is not made.
pytestmark = pytest.mark.filterwarnings(
    "ignore:enable_nested_tensor is True:UserWarning",
    "ignore:The PyTorch API of nested tensors:UserWarning",
)

B, S, T, E, HEADS, HIDDEN = 3, 7, 5, 12, 4, 20


def banned(*shape: int, seed: int) -> torch.Tensor:
    """Bool, True = ignore; every query sees the first key."""
    found = torch.rand(shape, generator=torch.Generator().manual_seed(seed)) < 0.4
    found[..., 0] = False
    return found


def later(length: int) -> torch.Tensor:
    return torch.ones(length, length).triu(1).bool()


def added(forbidden: torch.Tensor) -> torch.Tensor:
    return torch.zeros(forbidden.shape).masked_fill(forbidden, -torch.inf)


# The six masks and three flags of nn.Transformer; a flag stands with the mask that it hints at.
SINGLE: dict[str, dict[str, Any]] = {
    "src_mask": {"src_mask": banned(S, S, seed=0)},
    "tgt_mask": {"tgt_mask": banned(B * HEADS, T, T, seed=1)},
    "memory_mask": {"memory_mask": banned(T, S, seed=2)},
    "src_key_padding_mask": {"src_key_padding_mask": banned(B, S, seed=3)},
    "tgt_key_padding_mask": {"tgt_key_padding_mask": banned(B, T, seed=4)},
    "memory_key_padding_mask": {"memory_key_padding_mask": banned(B, S, seed=5)},
    "src_is_causal": {"src_mask": later(S), "src_is_causal": True},
    "tgt_is_causal": {"tgt_mask": later(T), "tgt_is_causal": True},
    "memory_is_causal": {
        "memory_mask": torch.ones(T, S).triu(1).bool(),
        "memory_is_causal": True,
    },
}
MASKS: dict[str, dict[str, Any]] = {"none": {}, **SINGLE}
for first, second in combinations(SINGLE, 2):
    if not SINGLE[first].keys() & SINGLE[second].keys():
        MASKS[f"{first} {second}"] = {**SINGLE[first], **SINGLE[second]}
ALL = {name: value for masks in list(SINGLE.values())[:6] for name, value in masks.items()}
MASKS["all six"] = ALL
MASKS["all nine"] = ALL | {
    name: value for masks in list(SINGLE.values())[6:] for name, value in masks.items()
}


def models(**options: Any) -> tuple[Any, Any]:
    """Return torch's model and ours with the same weights, in training without dropout."""
    made = []
    for kind in (nn.Transformer, sl.nn.Transformer):
        torch.manual_seed(1)
        made.append(kind(E, HEADS, 2, 2, HIDDEN, 0.0, **{"batch_first": True, **options}))
    theirs, ours = made
    for parameter in theirs.parameters():
        nn.init.normal_(parameter, std=0.3)
    ours.load_state_dict(theirs.state_dict())
    return theirs, ours


def sequences(batch_first: bool = True) -> tuple[torch.Tensor, torch.Tensor]:
    torch.manual_seed(2)
    found = torch.randn(B, S, E), torch.randn(B, T, E)
    if not batch_first:
        found = tuple(each.transpose(0, 1).contiguous() for each in found)
    return tuple(each.requires_grad_() for each in found)


def compare(theirs: Any, ours: Any, given: Any, masks: dict[str, Any], **only_ours: Any) -> None:
    """Compare outputs, and gradients of the inputs and of all parameters."""
    results = []
    for model, named in ((theirs, masks), (ours, only_ours or masks)):
        output = model(*given, **named)
        torch.manual_seed(3)
        loss = (output * torch.randn(output.shape)).sum()
        grads = torch.autograd.grad(loss, [*given, *model.parameters()])
        results.append([output, *grads])
    for got, wanted in zip(*reversed(results), strict=True):
        size = max(1.0, float(wanted.detach().abs().max()))
        torch.testing.assert_close(got, wanted, rtol=0.0, atol=1e-5 * size)


@pytest.mark.parametrize(
    ("masks", "floats"),
    [(name, False) for name in MASKS] + [(name, True) for name in [*SINGLE, "all six", "all nine"]],
)
def test_every_mask_argument_alone_and_together(masks: str, floats: bool) -> None:
    given = MASKS[masks]
    if floats:
        given = {
            name: added(value) if isinstance(value, torch.Tensor) else value
            for name, value in given.items()
        }
    compare(*models(norm_first=floats), sequences(), given)


@pytest.mark.parametrize("activation", ["relu", "gelu", torch.tanh])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("batch_first", [True, False])
@pytest.mark.parametrize("norm_first", [True, False])
def test_ways_to_build_it(activation: Any, bias: bool, batch_first: bool, norm_first: bool) -> None:
    options = {"batch_first": batch_first, "norm_first": norm_first, "layer_norm_eps": 0.01}
    theirs, ours = models(activation=activation, bias=bias, **options)
    compare(theirs, ours, sequences(batch_first), ALL)


def test_sightline_masks_say_the_same() -> None:
    """Each argument by its type: here all that are masks are sightline's, True = may attend."""
    theirs, ours = models()
    source, target = (6, 1, 4), (3, 5, 1)
    tensors = {
        "src_key_padding_mask": torch.arange(S) >= torch.tensor(source)[:, None],
        "memory_key_padding_mask": torch.arange(S) >= torch.tensor(source)[:, None],
        "tgt_key_padding_mask": torch.arange(T) >= torch.tensor(target)[:, None],
        "tgt_mask": later(T),
    }
    real = sl.padding(lengths=source)
    compare(
        theirs,
        ours,
        sequences(),
        tensors,
        src_mask=real,
        tgt_mask=sl.causal() & sl.padding(lengths=target),
        memory_mask=real,
    )
    compare(
        theirs,
        ours,
        sequences(),
        tensors,
        src_key_padding_mask=real,
        tgt_key_padding_mask=sl.padding(lengths=target),
        memory_key_padding_mask=real,
        tgt_is_causal=True,
    )


def test_one_sequence_without_a_batch() -> None:
    theirs, ours = models()
    given = [each[0].detach().requires_grad_() for each in sequences()]
    masks = {
        "tgt_mask": later(T),
        "src_key_padding_mask": banned(S, seed=6),
        "memory_key_padding_mask": banned(S, seed=6),
    }
    compare(theirs, ours, given, masks)


@pytest.mark.parametrize("norm_first", [False, True])
def test_evaluation_computes_what_training_does(norm_first: bool) -> None:
    """torch's encoder puts 0 at padded positions in evaluation alone; real ones are equal."""
    theirs, ours = models(norm_first=norm_first)
    source = sequences()[0].detach()
    padded = torch.arange(S) >= torch.tensor((6, 1, 4))[:, None]
    trained = ours.encoder(source, src_key_padding_mask=padded)
    theirs.eval(), ours.eval()
    with torch.no_grad():
        assert torch.equal(ours.encoder(source, src_key_padding_mask=padded), trained)
        wanted = theirs.encoder(source, src_key_padding_mask=padded)
    torch.testing.assert_close(trained[~padded], wanted[~padded], rtol=0.0, atol=1e-5)


@pytest.mark.parametrize("options", [{}, {"bias": False}, {"num_encoder_layers": 3}])
def test_names_and_first_values_are_torchs(options: dict[str, Any]) -> None:
    made = []
    for kind in (nn.Transformer, sl.nn.Transformer):
        torch.manual_seed(0)
        made.append(kind(d_model=E, nhead=HEADS, dim_feedforward=HIDDEN, **options))
    theirs, ours = made
    assert list(ours.state_dict()) == list(theirs.state_dict())
    for name, parameter in theirs.state_dict().items():
        assert torch.equal(ours.state_dict()[name], parameter), name
    _, other = models()
    if not options:
        theirs = nn.Transformer(E, HEADS, 2, 2, HIDDEN)
        theirs.load_state_dict(other.state_dict())


@pytest.mark.parametrize("part", ["Encoder", "Decoder"])
def test_a_layer_and_a_stack_by_themselves(part: str) -> None:
    made = []
    for home in (nn, sl.nn):
        torch.manual_seed(0)
        layer = getattr(home, f"Transformer{part}Layer")(E, HEADS, HIDDEN, 0.0, batch_first=True)
        stack = getattr(home, f"Transformer{part}")(layer, 2, nn.LayerNorm(E))
        made.append((layer, stack))
    source, target = sequences()
    if part == "Encoder":
        given: Any = (source,)
        masks = [{"src_mask": later(S)}, {"mask": later(S), "is_causal": True}]
    else:
        given = (target, source)
        masks = [{"tgt_mask": later(T), "memory_mask": banned(T, S, seed=7)}] * 2
    for which, named in zip((0, 1), masks, strict=True):
        compare(made[0][which], made[1][which], given, named)


def test_dropout_is_off_in_evaluation_and_on_in_training() -> None:
    model = sl.nn.Transformer(E, HEADS, 1, 1, HIDDEN, 0.5, batch_first=True)
    given = sequences()
    assert not torch.equal(model(*given), model(*given))
    model.eval()
    assert torch.equal(model(*given), model(*given))


def test_other_features_are_refused() -> None:
    model = sl.nn.Transformer(E, HEADS, 1, 1, HIDDEN, batch_first=True)
    with pytest.raises(sl.ShapeMismatch, match="got tgt of shape"):
        model(torch.zeros(B, S, E), torch.zeros(B, T, E + 1))
    with pytest.raises(sl.InvalidArgument, match="activation='swish'"):
        sl.nn.TransformerEncoderLayer(E, HEADS, activation="swish")
