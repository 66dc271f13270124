"""Engine ``cpu`` recorded by torch: torch.compile, torch.export, operators.

Right numbers are test_engines.py's affair; here they are compared with those of a plain call.
"""

from __future__ import annotations

import io
from typing import Any

import pytest
import torch
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

import sightline as sl
from sightline.engines.cpu_parts import operators
from sightline.engines.cpu_parts.kernels import Tensors
from sightline.masks.numbers import mask_of

pytestmark = pytest.mark.usefixtures("kernels")

# -- torch.compile ------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore:.*torch.jit.script.*:DeprecationWarning")  # torch's own
@pytest.mark.parametrize("backend", ["aot_eager", pytest.param("inductor", marks=pytest.mark.slow)])
def test_compile_keeps_every_bit(backend: str) -> None:
    given = tensors()
    run = compiled(lambda tensors, mask: attend(tensors, mask, return_lse=True), backend)
    for mask in (PADDED, SHARED):
        output, logsumexp = run(given, mask)
        wanted, wanted_lse = attend(given, mask, return_lse=True)
        assert_same([output, logsumexp], [wanted, wanted_lse])
        assert_same(gradients(output, given), gradients(wanted, given))


def test_compile_with_the_engine_left_open_and_no_bias() -> None:
    given = tensors()._replace(bias=None)
    run = compiled(lambda tensors: attend(tensors, engine="auto"))
    assert_same([run(given)], [attend(given)])


def test_a_new_mask_is_never_taken_for_an_old_one_nor_traced_again() -> None:
    """Masks of one kind, each gone before the next is made: their addresses are used again."""
    given = tensors(grad=False)
    run = compiled(attend)
    torch._dynamo.utils.counters.clear()
    for length in (1, 4, 2, 6, 3, 5, 1, 4, 2, 6, 3, 5):
        got = run(given, sl.padding(lengths=[length, 2, 6]))
        assert_same([got], [attend(given, sl.padding(lengths=[length, 2, 6]))])
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] <= 2


def test_a_module_whose_mask_is_replaced() -> None:
    given = tensors(grad=False)

    class Layer(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.mask = PADDED

        def forward(self, given: Tensors) -> torch.Tensor:
            return attend(given, self.mask)

    layer = Layer()
    run = torch.compile(layer, fullgraph=True, backend="aot_eager")
    for mask in (PADDED, SHARED, sl.padding(lengths=[1, 1, 1]), sl.padding(lengths=[1, 2, 1])):
        layer.mask = mask
        assert_same([run(given)], [attend(given, mask)])


def test_compile_for_other_lengths() -> None:
    mask = sl.causal()  # made outside: torch.compile cannot follow how masks are made
    run = compiled(lambda q, k, v: sl.attend(q, k, v, mask, engine="cpu"))
    for length in (3, 5, 9, 130):
        q, k, v = torch.randn(3, 2, HEADS, length, DIM).unbind()
        assert_same([run(q, k, v)], [sl.attend(q, k, v, mask, engine="cpu")])


def test_dropout_compiled_drops_weights_and_draws_anew() -> None:
    given = tensors()
    run = compiled(lambda tensors: attend(tensors, dropout=0.5))
    torch.manual_seed(0)
    first, second = run(given), run(given)
    assert not torch.equal(first, second)
    gradients(first, given)


def test_a_mask_for_other_batch_rows_is_refused_when_it_runs() -> None:
    run = compiled(attend)
    with pytest.raises(sl.ShapeMismatch, match="mask for 2 batch rows"):
        run(tensors(grad=False), sl.padding(lengths=[1, 2]))


def test_the_mask_outlives_its_name_between_the_passes() -> None:
    given = tensors()
    output = compiled(attend)(given, sl.padding(lengths=[3, 1, 2]))
    wanted = attend(given, sl.padding(lengths=[3, 1, 2]))
    assert_same(gradients(output, given), gradients(wanted, given))


def test_a_number_of_no_mask_is_refused() -> None:
    gone = sl.padding(lengths=[5]).number
    with pytest.raises(sl.InvalidMask, match="a mask that is gone"):
        mask_of(gone)
    assert mask_of(PADDED.number) is PADDED


# -- torch.export and other recorders -----------------------------------------------------------


class Model(torch.nn.Module):
    """A layer with a mask of its own."""

    def __init__(self, mask: sl.Mask) -> None:
        super().__init__()
        self.mask = mask
        self.project = torch.nn.Linear(DIM, DIM)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return sl.attend(self.project(x), x, x, self.mask, engine="cpu")


@pytest.mark.parametrize("strict", [False, True])
def test_export_round_trip(strict: bool) -> None:
    model, x = Model(PADDED), torch.randn(B, HEADS, K, DIM)
    program = torch.export.export(model, (x,), strict=strict)
    file = io.BytesIO()
    torch.export.save(program, file)
    file.seek(0)
    again = torch.export.load(file).module()
    assert_same([again(x)], [model(x)])
    text = PADDED.text()
    assert any(text in node.args for node in program.graph.nodes)  # no number: it stands alone
    (again(x).sum()).backward()


def test_a_predicate_compiles_but_cannot_be_written_down() -> None:
    mask = sl.predicate(lambda batch, head, query, key: key <= query)
    model, x = Model(mask), torch.randn(B, HEADS, K, DIM)
    assert_same([compiled(model)(x)], [model(x)])
    with pytest.raises(sl.CannotExpress, match="does not read back"):
        torch.export.export(model, (x,), strict=False)


def test_export_for_every_length() -> None:
    model, x = Model(sl.causal()), torch.randn(B, HEADS, K, DIM)
    length = torch.export.Dim("length", min=2, max=512)
    program = torch.export.export(model, (x,), dynamic_shapes=({2: length},))
    for size in (4, 200):
        x = torch.randn(B, HEADS, size, DIM)
        assert_same([program.module()(x)], [model(x)])


def test_make_fx_writes_the_mask_down() -> None:
    from torch.fx.experimental.proxy_tensor import make_fx

    given = tensors(grad=False)
    graph = make_fx(lambda *four: attend(Tensors(*four), sl.padding(lengths=[3, 1, 2])))(*given)
    assert "padding(lengths=[3, 1, 2])" in graph.code
    assert_same([graph(*given)], [attend(given, sl.padding(lengths=[3, 1, 2]))])


def arguments(given: Tensors, dropout: float = 0.0) -> tuple[Any, ...]:
    bias = given.bias
    if bias is not None:
        bias = bias.detach()[None].requires_grad_(bias.requires_grad)
    seed = torch.tensor(7) if dropout else None
    return (*given[:3], bias, "", PADDED.number, OFFSET, 0.5, dropout, seed)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("dropout", [0.0, 0.5])
def test_opcheck(dtype: torch.dtype, dropout: float) -> None:
    for given in (tensors(dtype), tensors(dtype)._replace(bias=None)):
        torch.library.opcheck(operators.attend_forward, arguments(given, dropout))
    given = tensors(dtype)
    plain = [argument.detach() for argument in given]
    output, stats, logsumexp = torch.ops.sightline.attend_forward(*arguments(given, dropout))
    for wanted in ([True] * 4, [False, True, False, False]):
        backward = output, logsumexp, *plain[:3], plain[3][None], output, stats, wanted
        torch.library.opcheck(
            operators.attend_backward,
            tuple(t.detach() if isinstance(t, torch.Tensor) else t for t in backward)
            + arguments(given, dropout)[4:],
        )


def test_the_operators_take_sizes_of_zero() -> None:
    x = torch.randn(0, HEADS, K, DIM, requires_grad=True)
    output, _, logsumexp = torch.ops.sightline.attend_forward(
        x, x, x, None, "causal()", 0, 0, 1.0, 0.0, None
    )
    (output.sum() + logsumexp.sum()).backward()
    assert x.grad is not None
    assert output.shape == x.shape
