"""What attend refuses: each bad argument its own kind of error, with got, wanted and fix."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import pytest
import torch

import sightline as sl
from sightline import native
from sightline.engines import attend as attend_module
from sightline.engines import registry
from sightline.engines.attend import engines, explain_choice
from sightline.errors import InvalidArgument

B, HEADS, KV_HEADS, Q, K, DIM, VALUE_DIM = 3, 4, 2, 5, 7, 8, 6
QUERY = torch.randn(B, HEADS, Q, DIM)
KEY = torch.randn(B, KV_HEADS, K, DIM)
VALUE = torch.randn(B, KV_HEADS, K, VALUE_DIM)


def call(**changes: Any) -> Any:
    arguments = {"query": QUERY, "key": KEY, "value": VALUE, "mask": sl.causal()} | changes
    return sl.attend(**arguments)


@pytest.mark.parametrize(
    ("mask", "says"),
    [
        (None, r"got mask None.*sl\.everything\(\)"),
        (torch.ones(Q, K).bool(), r'got an array \(Tensor\).*sl\.dense\(array, means="attend"\)'),
        (np.ones((Q, K)), r"got an array \(ndarray\).*sl\.dense"),
        ([[True]], r"got an array \(list\).*sl\.dense"),
        ("causal()", r"got 'causal\(\)' \(str\).*sl\.parse"),
        (sl.causal, r"\(function\).*wanted a sightline mask"),
    ],
)
def test_a_mask_that_is_none(mask: Any, says: str) -> None:
    for run in (lambda: call(mask=mask), lambda: sl.attention_weights(QUERY, KEY, mask)):
        with pytest.raises(sl.InvalidMask, match=says):
            run()


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"query": QUERY[0]}, r"got query of shape \[4, 5, 8\]; wanted four axes"),
        ({"value": VALUE[None]}, r"got value of shape \[1, 3, 2, 7, 6\]; wanted four axes"),
        ({"key": KEY[:, :, 1:]}, r"got key \[3, 2, 6, 8\] and value \[3, 2, 7, 6\]; wanted equal"),
        ({"key": KEY[:, :1]}, r"wanted equal batch, heads and length"),
        ({"query": QUERY[:1]}, r"query with batch 1 and key with batch 3"),
        ({"query": QUERY[..., :4]}, r"head_dim 4 and key with head_dim 8"),
        ({"query": QUERY[..., :0], "key": KEY[..., :0]}, r"head_dim 0.*at least 1"),
        ({"value": VALUE[..., :0]}, r"value_dim 0; wanted at least 1"),
        ({"query": QUERY[:, :3]}, r"got 3 query heads and 2 key heads; wanted key heads that div"),
        ({"key": KEY[:, :0], "value": VALUE[:, :0]}, r"got 4 query heads and 0 key heads"),
        ({"mask": sl.padding(lengths=[3, 2])}, r"mask for 2 batch rows and a query with 3"),
        ({"mask": sl.per_head([sl.causal(), sl.nothing()])}, r"for 2 heads and a query with 4"),
        ({"mask": sl.dense(np.ones((Q, K - 1)), means="attend")}, r"6"),
        ({"q_offset": -1}, r"got q_offset=-1; wanted an integer of at least 0"),
        ({"q_offset": 1.5}, r"got q_offset=1.5; wanted an integer"),
        ({"q_offset": True}, r"got q_offset=True; wanted an integer"),
        ({"bias": torch.zeros(2, 1, 1)}, r"bias of shape \[2, 1, 1\].*\[3, 4, 5, 7\]"),
        ({"bias": torch.zeros(1, B, HEADS, Q, K)}, r"wanted one that broadcasts"),
    ],
)
def test_sizes_that_do_not_fit(changes: dict[str, Any], says: str) -> None:
    with pytest.raises(sl.ShapeMismatch, match=says):
        call(**changes)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"query": QUERY.numpy()}, r"got query of type ndarray; wanted a torch\.Tensor"),
        ({"key": None}, r"got key of type NoneType"),
        ({"query": QUERY.long()}, r"got query of dtype torch\.int64; wanted float16"),
        ({"value": VALUE > 0}, r"got value of dtype torch\.bool"),
        ({"key": KEY.double()}, r"got key with dtype torch\.float64 and query with dtype torch\.f"),
        ({"value": VALUE.to("meta")}, r"got value with device meta and query with device cpu"),
        ({"bias": torch.zeros(Q, K) > 0}, r"bias of type torch\.bool.*belongs into the mask"),
        ({"bias": 0.5}, r"bias of type float; wanted a floating tensor"),
        ({"bias": torch.zeros(Q, K, device="meta")}, r"bias on meta and a query on cpu"),
        ({"dropout": 1.0}, r"got dropout=1\.0; wanted a rate of at least 0 and below 1"),
        ({"dropout": -0.1}, r"got dropout=-0\.1"),
        ({"dropout": "much"}, r"got dropout='much'"),
        ({"dropout": True}, r"got dropout=True"),
        ({"dropout": float("nan")}, r"got dropout=nan"),
        ({"scale": float("inf")}, r"got scale=inf; wanted a finite number"),
        ({"scale": "1"}, r"got scale='1'"),
        ({"scale": "one"}, r"got scale='one'"),
        ({"scale": False}, r"got scale=False"),
    ],
)
def test_other_arguments(changes: dict[str, Any], says: str) -> None:
    with pytest.raises(InvalidArgument, match=says) as caught:
        call(**changes)
    assert isinstance(caught.value, sl.SightlineError)
    assert isinstance(caught.value, ValueError)


def test_an_unknown_engine() -> None:
    with pytest.raises(
        sl.UnknownBackend,
        match=r"'sdpaa'.*auto, cpu, sdpa, varlen, flex, reference.*mean 'sdpa'\?",
    ):
        call(engine="sdpaa")
    with pytest.raises(sl.UnknownBackend, match=r"got engine None; wanted one of auto"):
        call(engine=None)


def test_engines_refuse_by_name_and_say_who_can() -> None:
    with pytest.raises(sl.CannotExpress, match=r"return_lse=True.*engine='reference'") as caught:
        call(engine="sdpa", return_lse=True)
    assert caught.value.destination == "engine 'sdpa'"
    with pytest.raises(sl.CannotExpress, match=r"dropout=0\.1.*engine='sdpa'"):
        call(engine="reference", dropout=0.1)


@pytest.fixture
def not_compiled(monkeypatch: pytest.MonkeyPatch) -> str:
    """An installation without the compiled kernels."""
    reason = "nobody compiled them"
    monkeypatch.setattr(registry, "MISSING", reason)
    monkeypatch.setattr(attend_module, "MISSING", reason)
    monkeypatch.setattr(native, "why_missing", lambda: reason)
    return reason


def test_without_compiled_kernels_there_is_still_an_engine(not_compiled: str) -> None:
    with pytest.raises(sl.CannotExpress, match=rf"this installation.*\({not_compiled}\).*'sdpa'"):
        call(engine="cpu")
    native.warn_once.cache_clear()
    with pytest.warns(UserWarning, match=f"kernels are missing: {not_compiled}"):
        output = call()
    assert torch.equal(output, call(engine="sdpa"))
    assert torch.equal(output, call())  # said once; a second warning would be an error
    native.warn_once.cache_clear()


@pytest.mark.usefixtures("not_compiled")
def test_what_no_engine_can_do() -> None:
    with pytest.raises(sl.CannotExpress, match=r"no engine can do all.*leave one of them out"):
        call(return_lse=True, dropout=0.1)
    with pytest.raises(sl.CannotExpress, match=r"leave dropout out; no engine can do all"):
        call(engine="reference", return_lse=True, dropout=0.1)


@pytest.mark.usefixtures("not_compiled")
def test_auto_says_what_it_chose_and_why() -> None:
    choice = explain_choice(QUERY, KEY, VALUE, sl.causal())
    assert choice.engine == "sdpa"
    assert choice.reasons[0].startswith("cpu cannot do this installation: the compiled kernels")
    assert choice.reasons[-1].startswith("sdpa can do all that was asked")
    choice = explain_choice(QUERY, KEY, VALUE, sl.causal(), return_lse=True)
    assert choice.engine == "reference"
    assert choice.reasons[1].startswith("sdpa cannot do return_lse=True")
    named = explain_choice(QUERY, KEY, VALUE, sl.causal(), engine="reference")
    assert named.reasons == ("reference was asked for by name.",)
    with pytest.raises(sl.InvalidMask):
        explain_choice(QUERY, KEY, VALUE, None)


def test_auto_runs_what_it_says() -> None:
    chosen = explain_choice(QUERY, KEY, VALUE, sl.causal(), return_lse=True).engine
    output, logsumexp = call(return_lse=True)
    wanted = call(engine=chosen, return_lse=True)
    assert torch.equal(output, wanted[0])
    assert torch.equal(logsumexp, wanted[1])


def test_the_list_of_engines_is_data() -> None:
    names = ["cpu", "sdpa", "varlen", "flex", "reference"]
    assert [engine.name for engine in engines()] == names
    assert all(engine.meaning and engine.dtypes for engine in engines())


def test_a_mask_array_is_bound_to_its_size_even_where_nothing_is_computed() -> None:
    mask = sl.dense(np.ones((2, 2)), means="attend")
    with pytest.raises(sl.ShapeMismatch):
        sl.attend(QUERY[:0], KEY[:0], VALUE[:0], mask)
    with pytest.raises(sl.ShapeMismatch):
        sl.attention_weights(QUERY[:0], KEY[:0], mask)


def test_without_torch_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    from sightline.lower.arguments import require_torch

    with pytest.raises(sl.MissingExtra, match=r"sl\.attend needs torch.*sightline\[torch\]"):
        require_torch("sl.attend")
    with pytest.raises(sl.MissingExtra, match=r"to='torch\.sdpa'"):
        sl.lower(sl.causal(), to="torch.sdpa", q_len=3)
