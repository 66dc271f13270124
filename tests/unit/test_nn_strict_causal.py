"""Strictly causal attention: the leak that a strict mask leaves, and the form that has none."""

from __future__ import annotations

import pytest
import torch

import sightline as sl
from sightline.nn.strict_causal import shift_queries

B, L, E, HEADS = 2, 6, 8, 4


def inputs() -> torch.Tensor:
    torch.manual_seed(0)
    return torch.randn(B, L, E, dtype=torch.float64, requires_grad=True)


def reaches(layer: torch.nn.Module, x: torch.Tensor, *masks: sl.Mask, **options: object) -> list:
    """Return which inputs j each output i depends on, by its gradient, as a list of lists."""
    output = layer(x, *masks, **options)
    found = []
    for i in range(L):
        (grad,) = torch.autograd.grad(output[1, i].square().sum(), x, retain_graph=True)
        assert (grad[0] == 0).all()
        found.append((grad[1] != 0).any(dim=1).nonzero().flatten().tolist())
    return found


def test_excluding_oneself_from_the_keys_still_leaks_through_the_query() -> None:
    """PyTorch issue 143287: key i is forbidden, and output i depends on token i all the same."""
    attention = sl.nn.MultiheadAttention(E, HEADS, batch_first=True, dtype=torch.float64)

    def strict(x: torch.Tensor) -> torch.Tensor:
        return attention(x, mask=sl.causal(strict=True), need_weights=False)[0]

    # Row 0 sees nothing; row 1 sees one key, whose weight is 1 whatever the query (but rounding).
    found = reaches(strict, inputs())
    assert found[0] == []
    assert found[2:] == [[*range(i + 1)] for i in range(2, L)]

    # With the query held still, the keys and values alone do not leak.
    x = inputs()

    def keys_alone(x: torch.Tensor) -> torch.Tensor:
        mask = sl.causal(strict=True)
        return attention(x.detach(), x, mask=mask, need_weights=False)[0]

    assert reaches(keys_alone, x) == [[*range(i)] for i in range(L)]


def test_a_residual_leaks_too() -> None:
    attention = sl.nn.MultiheadAttention(E, HEADS, batch_first=True, dtype=torch.float64)

    def layer(x: torch.Tensor) -> torch.Tensor:
        mask = sl.causal(strict=True)
        queries = shift_queries(x, torch.zeros(E, dtype=torch.float64))
        return x + attention(queries, x, mask=mask, need_weights=False)[0]

    assert reaches(layer, inputs()) == [[*range(i + 1)] for i in range(L)]


@pytest.mark.parametrize("residual", [False, True])
def test_shifted_queries_see_what_comes_before_alone(residual: bool) -> None:
    layer = sl.nn.ShiftedQueryAttention(E, HEADS, residual=residual, dtype=torch.float64)
    assert reaches(layer, inputs()) == [[*range(i)] for i in range(L)]


def test_causal_layers_behind_it_keep_the_distance() -> None:
    options = {"batch_first": True, "dtype": torch.float64}
    first = sl.nn.ShiftedQueryAttention(E, HEADS, dtype=torch.float64)
    behind = sl.nn.TransformerEncoderLayer(E, HEADS, 10, 0.0, **options)

    def model(x: torch.Tensor) -> torch.Tensor:
        return behind(first(x), sl.causal())

    assert reaches(model, inputs()) == [[*range(i)] for i in range(L)]


def test_packed_documents_do_not_reach_each_other() -> None:
    layer = sl.nn.ShiftedQueryAttention(E, HEADS, dtype=torch.float64)
    begins = torch.zeros(B, L, dtype=torch.bool)
    begins[:, [0, 4]] = True
    packed = sl.documents(lengths=[4, 2])
    found = reaches(layer, inputs(), packed, begins=begins)
    assert found == [[], [0], [0, 1], [0, 1, 2], [], [4]]
    # Without `begins` the first query of a document is made from the last token of another.
    assert reaches(layer, inputs(), packed)[4] == [3]


def test_the_start_is_learned_and_stands_before_the_first_token() -> None:
    layer = sl.nn.ShiftedQueryAttention(E, HEADS, dtype=torch.float64)
    output = layer(inputs())
    torch.testing.assert_close(
        output[:, 0], (layer.start + layer.attention.out_proj.bias).expand(B, E)
    )
    output[:, 0].sum().backward()
    assert (layer.start.grad == B).all()


def test_what_cannot_be_meant_is_refused() -> None:
    x = torch.zeros(B, L, E)
    with pytest.raises(sl.ShapeMismatch, match="start"):
        shift_queries(x, torch.zeros(E + 1))
    with pytest.raises(sl.InvalidArgument, match="begins of dtype"):
        shift_queries(x, torch.zeros(E), torch.zeros(B, L))
    with pytest.raises(sl.ShapeMismatch, match="begins"):
        shift_queries(x, torch.zeros(E), torch.zeros(B, L + 1, dtype=torch.bool))
    with pytest.raises(sl.InvalidArgument, match="batch_first=False"):
        sl.nn.ShiftedQueryAttention(E, HEADS, batch_first=False)
    assert shift_queries(x[:, :0], torch.zeros(E)).shape == (B, 0, E)
