"""``SameRows``: a model that was not written for it gives a row the same bits in any batch."""

from __future__ import annotations

from typing import Any

import pytest

torch = pytest.importorskip("torch")

import sightline as sl  # noqa: E402
from sightline.nn.generation.rows import linear_is_row_invariant  # noqa: E402

F = torch.nn.functional
WIDE, OUT = 40, 27


class Conv1D(torch.nn.Module):
    """As in transformers' GPT-2: a linear layer whose weight is [in, out]."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.randn(WIDE, OUT))
        self.bias = torch.nn.Parameter(torch.randn(OUT))

    def forward(self, x: Any) -> Any:
        rows = torch.addmm(self.bias, x.view(-1, WIDE), self.weight)
        return rows.view(*x.shape[:-1], OUT)


FUNCTIONS: dict[str, Any] = {
    "linear": lambda: torch.nn.Linear(WIDE, OUT),
    "linear without bias": lambda: torch.nn.Linear(WIDE, OUT, bias=False),
    "conv1d": Conv1D,
    "gelu": torch.nn.GELU,
    "gelu tanh": lambda: torch.nn.GELU(approximate="tanh"),
    "silu": torch.nn.SiLU,
    "silu in place": lambda: lambda x: F.silu(x.clone(), inplace=True),
    "sigmoid": torch.nn.Sigmoid,
    "sigmoid of a tensor": lambda: lambda x: x.sigmoid(),
    "layer norm": lambda: torch.nn.LayerNorm(WIDE),
    "softmax": lambda: torch.nn.Softmax(-1),
    "feed-forward": lambda: torch.nn.Sequential(
        torch.nn.Linear(WIDE, 100), torch.nn.GELU(), torch.nn.Linear(100, WIDE), torch.nn.SiLU()
    ),
}


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("threads", [1, 2])
def test_rows(name: str, threads: int) -> None:
    if not linear_is_row_invariant(shapes=[(WIDE, OUT), (WIDE, 100), (100, WIDE)]):
        pytest.skip("linear layers of this machine give other bits for other numbers of rows")
    before = torch.get_num_threads()
    torch.manual_seed(0)
    function = FUNCTIONS[name]()
    x = torch.randn(7, 13, WIDE)
    try:
        torch.set_num_threads(threads)
        with torch.no_grad(), sl.nn.SameRows():
            whole = function(x)
            for batch, length in ((1, 1), (1, 2), (3, 1), (1, 9), (2, 5), (7, 1), (5, 12)):
                assert torch.equal(function(x[:batch, :length].clone()), whole[:batch, :length])
        with torch.no_grad():
            torch.testing.assert_close(whole, function(x), atol=1e-5, rtol=1e-5)
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("name", ["gelu", "gelu tanh", "silu", "silu in place", "sigmoid"])
def test_half_precision_is_rounded_once(name: str, dtype: Any) -> None:
    function, x = FUNCTIONS[name](), torch.linspace(-9, 9, 997).to(dtype)
    with torch.no_grad(), sl.nn.SameRows():
        found = function(x)
    assert found.dtype == dtype
    wanted = function(x.double()).to(dtype)
    ulp = torch.finfo(dtype).eps
    assert ((found.double() - wanted.double()).abs() <= ulp * wanted.double().abs() + 1e-6).all()


def test_training_is_left_alone() -> None:
    layer, x = torch.nn.Linear(WIDE, OUT), torch.randn(3, WIDE)
    plain = layer(x)
    with sl.nn.SameRows():
        within = layer(x)
        within.sum().backward()
    assert torch.equal(within, plain)
    assert layer.weight.grad is not None


def test_refusals() -> None:
    with pytest.raises(sl.InvalidArgument, match="step=0"):
        sl.nn.SameRows(step=0)
    with torch.no_grad(), sl.nn.SameRows(), pytest.raises(RuntimeError):
        torch.nn.Linear(WIDE, OUT)(torch.randn(3, WIDE + 1))
