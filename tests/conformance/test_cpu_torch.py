"""Engine ``cpu`` among torch's transforms, modes, views and wrong arguments.

Right numbers are test_engines.py's affair; here they are compared with those of a plain call.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import hypothesis
import pytest
import torch
from hypothesis import strategies as st
from on_cpu import (
    DIM,
    HEADS,
    OFFSET,
    PADDED,
    SHARED,
    B,
    K,
    assert_same,
    attend,
    compiled,
    gradients,
    tensors,
)
from torch.utils.checkpoint import checkpoint

import sightline as sl
from sightline.engines.cpu_parts.kernels import Tensors

pytestmark = pytest.mark.usefixtures("kernels")

# -- torch.func ---------------------------------------------------------------------------------


@pytest.mark.parametrize("mask", [SHARED, PADDED, sl.per_head([sl.causal()] * 2 + [SHARED] * 2)])
@pytest.mark.parametrize("dims", [(0, None, None, None), (1, 0, 2, 0), (None, None, 3, 1)])
def test_vmap_is_a_loop(mask: sl.Mask, dims: tuple[int | None, ...]) -> None:
    members = 2
    given = tensors(grad=False)
    many = [
        tensor if dim is None else torch.stack([tensor, tensor.roll(1, -1)]).movedim(0, dim)
        for tensor, dim in zip(given, dims, strict=True)
    ]

    def loss(*four: torch.Tensor) -> torch.Tensor:
        output, logsumexp = attend(Tensors(*four), mask, return_lse=True)
        return (output**2).sum() + logsumexp.masked_fill(logsumexp.isneginf(), 0).sum()

    def member(index: int) -> list[torch.Tensor]:
        pairs = zip(many, dims, strict=True)
        return [t if dim is None else t.select(dim, index) for t, dim in pairs]

    got = torch.func.vmap(lambda *four: attend(Tensors(*four), mask), in_dims=dims)(*many)
    wanted = [attend(Tensors(*member(i)), mask) for i in range(members)]
    assert_same(got, wanted)
    derive = torch.func.grad(loss, argnums=(0, 1, 2, 3))
    got = torch.func.vmap(derive, in_dims=dims)(*many)
    for i in range(members):
        for ours, theirs in zip(got, derive(*member(i)), strict=True):
            torch.testing.assert_close(ours[i], theirs, rtol=1e-5, atol=1e-5)


def test_vmap_refuses_what_it_cannot_fold() -> None:
    given = tensors(grad=False)
    mask = PADDED & sl.per_head([sl.causal()] * 2 + [SHARED] * 2)

    def run(query: torch.Tensor, **options: Any) -> torch.Tensor:
        return attend(given._replace(query=query), **options)

    many = torch.stack([given.query] * 2)
    with pytest.raises(sl.CannotExpress, match=r"3 batch rows and 4 heads.*loop"):
        torch.func.vmap(lambda query: run(query, mask=mask))(many)
    with pytest.raises(sl.CannotExpress, match='randomness="different"'):
        torch.func.vmap(lambda query: run(query, dropout=0.5), randomness="same")(many)


def test_vmap_with_dropout_differs_by_member_and_goes_back_the_same_way() -> None:
    given = tensors(grad=False)
    many = torch.stack([given.value] * 2)

    def run(value: torch.Tensor) -> torch.Tensor:
        return attend(given._replace(value=value), dropout=0.5)

    torch.manual_seed(0)
    first, second = torch.func.vmap(run, randomness="different")(many)
    assert not torch.equal(first, second)
    torch.manual_seed(0)
    upstream = torch.randn(first.shape, generator=torch.Generator().manual_seed(1))
    derive = torch.func.grad(lambda value: (run(value) * upstream).sum())
    grads = torch.func.vmap(derive, randomness="different")(many)
    # Linear in the values: the output is the gradient applied to them.
    for output, grad in zip((first, second), grads, strict=True):
        torch.testing.assert_close((grad * given.value).sum(), (output * upstream).sum())


def test_a_jacobian_through_dropout_is_refused() -> None:
    """vmap over the way back only: members would drop other weights than the way there did."""
    given = tensors(grad=False)
    with pytest.raises(sl.CannotExpress, match="dropout"):
        torch.func.jacrev(lambda v: attend(given._replace(value=v), dropout=0.5))(given.value)
    torch.func.jacrev(lambda v: attend(given._replace(value=v)))(given.value)


def test_torch_func_grad_is_backward() -> None:
    given = tensors()
    derived = torch.func.grad(lambda query: (attend(given._replace(query=query)) ** 2).sum())
    wanted = torch.autograd.grad((attend(given) ** 2).sum(), given.query)[0]
    assert_same([derived(given.query.detach())], [wanted])


def test_no_second_derivatives() -> None:
    given = tensors()
    first = torch.autograd.grad((attend(given) ** 2).sum(), given.query, create_graph=True)[0]
    with pytest.raises(RuntimeError, match="differentiate twice"):
        first.sum().backward()

    def once(query: torch.Tensor) -> torch.Tensor:
        return torch.func.grad(lambda q: (attend(given._replace(query=q)) ** 2).sum())(query).sum()

    with pytest.raises(sl.CannotExpress, match="a derivative of a gradient"):
        torch.func.grad(once)(given.query.detach())


@pytest.mark.filterwarnings("ignore:.*torch.jit.script.*:DeprecationWarning")  # torch's own
def test_no_derivative_in_forward_mode_is_lost() -> None:
    given = tensors(grad=False)
    with torch.autograd.forward_ad.dual_level():
        dual = torch.autograd.forward_ad.make_dual(given.query, torch.ones_like(given.query))
        with pytest.raises(NotImplementedError):
            attend(given._replace(query=dual))


# -- modes, views, memory -----------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_autocast_changes_nothing(dtype: torch.dtype) -> None:
    given = tensors()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        under = attend(given)
        traced = compiled(attend)(given)
    assert_same([under, traced], [attend(given)] * 2)
    half = tensors(dtype)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert attend(half).dtype == dtype


def test_a_checkpoint_drops_the_same_weights_again() -> None:
    given = tensors()

    def run() -> list[torch.Tensor]:
        torch.manual_seed(3)
        output = checkpoint(lambda *four: attend(Tensors(*four), dropout=0.5), *given, **options)
        return [output, *gradients(output, given)]

    options: dict[str, Any] = {"use_reentrant": False}
    kept = run()
    torch.manual_seed(3)
    output = attend(given, dropout=0.5)
    assert_same(kept, [output, *gradients(output, given)])


def test_dropout_follows_the_seed_and_nothing_else_draws() -> None:
    given = tensors(grad=False)
    torch.manual_seed(5)
    before = torch.get_rng_state()
    attend(given)
    assert torch.equal(before, torch.get_rng_state())
    first = attend(given, dropout=0.5)
    assert not torch.equal(first, attend(given, dropout=0.5))
    torch.manual_seed(5)
    assert torch.equal(first, attend(given, dropout=0.5))


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_modes_without_gradients(mode: Any) -> None:
    given = tensors()
    with mode():
        output = attend(given)
    assert not output.requires_grad
    assert_same([output], [attend(given)])


def swapped(tensor: torch.Tensor) -> torch.Tensor:
    """The same numbers as a view of [batch, sequence, heads, dim]."""
    return tensor.transpose(1, 2).contiguous().transpose(1, 2)


def test_views_of_other_layouts_are_read_where_they_lie() -> None:
    given = tensors(grad=False)._replace(bias=None)
    wanted = attend(given)
    fused = torch.randn(B, K, 3, HEADS, DIM)
    layouts: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
        "swapped": swapped,
        "last axis far apart": lambda t: t.repeat_interleave(2, dim=-1)[..., ::2],
        "last two axes swapped": lambda t: t.mT.contiguous().mT,
        "negated by the view": lambda t: torch._neg_view(-t),
        "part of more": lambda t: torch.cat([t, t], dim=-1)[..., :DIM],
    }
    for name, layout in layouts.items():
        views = Tensors(*(layout(tensor) for tensor in given[:3]), None)
        assert_same(views[:3], given[:3])
        assert torch.equal(attend(views), wanted), name
        leaves = Tensors(*(view.detach().requires_grad_() for view in views[:3]), None)
        plain = Tensors(*(tensor.detach().requires_grad_() for tensor in given[:3]), None)
        assert_same(gradients(attend(leaves), leaves), gradients(attend(plain), plain))
    q, k, v = (fused[:, :, i].transpose(1, 2) for i in range(3))
    alone = sl.attend(q.contiguous(), k.contiguous(), v.contiguous(), PADDED, engine="cpu")
    assert_same([sl.attend(q, k, v, PADDED, engine="cpu")], [alone])


def test_a_bias_that_is_negated_by_its_view() -> None:
    given = tensors(grad=False)
    assert given.bias is not None
    wanted = attend(given)
    for _ in range(10):  # a copy that is dropped too early is not overwritten each time
        assert_same([attend(given._replace(bias=torch._neg_view(-given.bias)))], [wanted])


def test_the_output_lies_as_the_query_does() -> None:
    given = tensors(grad=False)
    output = attend(given._replace(query=swapped(given.query)))
    assert output.transpose(1, 2).is_contiguous()
    assert attend(given).is_contiguous()


def test_gradients_of_expanded_and_unread_results() -> None:
    given = tensors()
    output, logsumexp = attend(given, sl.causal(), return_lse=True)
    spread = torch.autograd.grad(output.sum(), given[:3], retain_graph=True)  # strides of 0
    written = torch.autograd.grad(output, given[:3], torch.ones_like(output), retain_graph=True)
    assert_same(spread, written)
    alone = torch.autograd.grad(logsumexp.sum(), given[:2], retain_graph=True)
    zeros = torch.autograd.grad((logsumexp.sum() + 0 * output.sum()), given[:2])
    assert_same(alone, zeros)


def test_saved_tensors_pass_through_hooks() -> None:
    given = tensors()
    packed: list[torch.Tensor] = []

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        packed.append(tensor)
        return tensor.clone()

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        output = attend(given)
    assert len(packed) >= 5
    assert_same(gradients(output, given), gradients(attend(given), given))


def test_an_input_changed_in_place_is_noticed() -> None:
    given = tensors()
    key = given.key * 1
    output = attend(given._replace(key=key))
    with torch.no_grad():
        key.zero_()
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        output.sum().backward()


def test_the_two_ways_in_give_the_same_bits() -> None:
    given = tensors()
    through = torch.ops.sightline.attend_forward(
        *given[:3], given.bias[None], PADDED.text(), 0, OFFSET, DIM**-0.5, 0.0, None
    )
    output, logsumexp = attend(given, return_lse=True)
    assert_same([through[0], through[2]], [output, logsumexp])


# -- wrong arguments ----------------------------------------------------------------------------

SIZES = st.sampled_from([0, 1, 2, 3, 4])
KINDS = st.sampled_from(
    [torch.float32, torch.float64, torch.bfloat16, torch.int64, torch.bool, torch.complex64]
)


@st.composite
def anything(draw: st.DrawFn, axes: int = 4) -> Any:
    """A tensor of some shape, dtype, device and layout, or no tensor at all."""
    if draw(st.integers(0, 19)) == 0:
        return draw(st.sampled_from([None, 1.0, [[1.0]], "query"]))
    count = axes if draw(st.integers(0, 9)) else draw(st.integers(0, 5))
    shape = [draw(SIZES) for _ in range(count)]
    dtype = torch.float32 if draw(st.integers(0, 4)) else draw(KINDS)
    device = "meta" if draw(st.integers(0, 14)) == 0 else "cpu"
    tensor = torch.zeros(shape, dtype=dtype, device=device)
    change = draw(st.integers(0, 11))
    if change == 0 and count == 4 and device == "cpu" and dtype == torch.float32:
        return tensor.to_sparse()
    if change == 1 and count > 1:
        return tensor.transpose(0, -1)
    if change == 2 and count > 1:
        return tensor[:1].expand(shape) if shape[0] else tensor
    return tensor


@hypothesis.given(
    query=anything(),
    key=anything(),
    value=anything(),
    bias=st.none() | anything(axes=3),
    lengths=st.lists(st.integers(0, 4), min_size=1, max_size=4),
    options=st.fixed_dictionaries(
        {},
        optional={
            "q_offset": st.sampled_from([0, 2, -1, 1.5, None, True]),
            "scale": st.sampled_from([None, 0.5, float("nan"), "1"]),
            "dropout": st.sampled_from([0.0, 0.5, 1.0, -0.1]),
            "return_lse": st.booleans(),
        },
    ),
)
def test_wrong_arguments_are_refused_in_our_words(
    query: Any, key: Any, value: Any, bias: Any, lengths: list[int], options: dict[str, Any]
) -> None:
    mask = sl.causal() & sl.padding(lengths=lengths)
    try:
        got = sl.attend(query, key, value, mask, bias=bias, engine="cpu", **options)
    except sl.SightlineError:
        return
    output = got[0] if options.get("return_lse") else got
    assert output.shape == (*query.shape[:3], value.shape[3])
    assert output.isfinite().all()
