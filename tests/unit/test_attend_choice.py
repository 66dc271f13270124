"""The choice of an engine: by the cost model among those that can, and told on request."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch

import sightline as sl
from sightline.engines import cost_model, registry
from sightline.engines.cost_model import RATES, Rates, predict, work
from sightline.engines.registry import ENGINES, choose, obstacles
from sightline.engines.request import Request, check_request

DOCUMENTS = sl.causal() & sl.documents(lengths=[64] * 8)
PREFIX = sl.causal() | sl.prefix(9)


def request(mask: sl.Mask, dtype: torch.dtype = torch.float32, **options: Any) -> Request:
    query, key = torch.zeros(1, 4, 512, 32, dtype=dtype), torch.zeros(1, 2, 512, 32, dtype=dtype)
    return check_request(query, key, key[..., :16], mask, **options)


@pytest.fixture
def by_rates(monkeypatch: pytest.MonkeyPatch) -> dict[Any, Rates]:
    """Let varlen and flex be chosen on the CPU, as they are on CUDA, by rates of our own."""
    monkeypatch.setitem(registry.ENGINES, "cpu", replace(ENGINES["cpu"], devices=("nowhere",)))
    for name in ("varlen", "flex"):
        monkeypatch.setitem(registry.ENGINES, name, replace(ENGINES[name], by_name_on=()))
    rates = {
        ("sdpa", "cpu", "full"): Rates(1e-3, 2e-9, 0.0, None),
        ("varlen", "cpu", "full"): Rates(2e-3, 1e-9, 0.0, (64, 64)),
        ("flex", "cpu", "full"): Rates(3e-3, 1e-9, 0.0, (128, 128)),
    }
    monkeypatch.setattr(cost_model, "RATES", rates)
    return rates


def test_pairs_and_bytes_by_hand() -> None:
    found = request(DOCUMENTS)
    blocks = work(found, (64, 64))
    assert blocks.pairs == 4 * 8 * 64 * 64
    assert blocks.moved == 4 * (2 * 4 * 512 * 32 + 2 * 2 * 512 * 32)
    assert work(found, (128, 128)).pairs == 4 * 4 * 128 * 128
    assert work(found, None).pairs == 4 * 512 * 512
    assert work(found, None).moved == 4 * 512 * (4 * 32 + 2 * 32 + 2 * 16 + 4 * 32)
    assert work(request(sl.causal()), None).pairs == 4 * 512 * 512 / 2
    assert work(request(sl.causal(), q_offset=1), None).pairs == 4 * 512 * 512


def test_seconds_by_hand(by_rates: dict[Any, Rates]) -> None:
    by_rates[("sdpa", "cpu", "full")] = Rates(0.5, 1e-9, 1e-8, None)
    found = request(DOCUMENTS)
    done = work(found, None)
    forwards = done.pairs * 48 * 1e-9 + done.moved * 1e-8
    assert predict("sdpa", found) == pytest.approx(0.5 + forwards)
    found.query.requires_grad_()
    assert predict("sdpa", found) == pytest.approx(0.5 + 3.5 * forwards)
    with torch.no_grad():
        assert predict("sdpa", found) == pytest.approx(0.5 + forwards)
    assert predict("reference", found) is None
    assert predict("sdpa", request(DOCUMENTS, torch.bfloat16)) is None


def test_auto_takes_the_quickest_that_can(by_rates: dict[Any, Rates]) -> None:
    choice = choose(request(DOCUMENTS), "auto")
    assert choice.engine == "varlen"
    assert [name for name, _ in choice.seconds] == ["varlen", "flex", "sdpa"]
    assert choice.seconds == tuple(sorted(choice.seconds, key=lambda item: item[1]))
    assert "ms by the cost model" in choice.reasons[-1]
    assert choice.reasons[-1].startswith("varlen can do all that was asked (")
    # No one window: what remains is compared.
    choice = choose(request(PREFIX), "auto")
    assert choice.engine == "flex"
    assert any(why.startswith("varlen cannot do query 1 of batch 0") for why in choice.reasons)
    # Dropout, which only sdpa has.
    assert choose(request(DOCUMENTS, dropout=0.1), "auto").engine == "sdpa"
    by_rates[("sdpa", "cpu", "full")] = Rates(0.0, 1e-12, 0.0, None)
    assert choose(request(DOCUMENTS), "auto").engine == "sdpa"
    # An engine without known rates comes after those that have some.
    del by_rates[("sdpa", "cpu", "full")]
    assert choose(request(DOCUMENTS), "auto").engine == "varlen"
    by_rates.clear()
    assert choose(request(DOCUMENTS), "auto").engine == "sdpa"


@pytest.mark.skipif(registry.MISSING is not None, reason=f"no kernels: {registry.MISSING}")
def test_the_cpu_engine_leads_on_the_cpu() -> None:
    found = request(DOCUMENTS)
    choice = choose(found, "auto")
    assert choice.engine == "cpu"
    assert choice.seconds == ()
    told = sl.explain_choice(*found.tensors[:3], DOCUMENTS)
    assert told.engine == "cpu"
    assert {name for name, _ in told.seconds} == {"cpu", "sdpa"}
    assert told.reasons[-1].startswith("cpu can do all that was asked")
    assert "ms by the cost model" in told.reasons[-1]


def test_on_the_cpu_only_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "MISSING", "nobody compiled them")
    found = request(DOCUMENTS)
    choice = choose(found, "auto")
    assert choice.engine == "sdpa"
    assert "varlen is taken on cpu only if asked for by name." in choice.reasons
    assert choice.seconds == ()
    told = sl.explain_choice(*found.tensors[:3], DOCUMENTS)
    assert told.engine == "sdpa"
    assert [name for name, _ in told.seconds] == ["sdpa"]
    assert "ms by the cost model" in told.reasons[-1]
    assert choose(found, "varlen").reasons == ("varlen was asked for by name.",)


def test_more_blocks_than_a_plan_holds_predict_nothing(
    by_rates: dict[Any, Rates], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*args: Any, **options: Any) -> None:
        raise sl.InvalidArgument("too many blocks")

    cost_model.WORK.clear()
    monkeypatch.setattr(cost_model, "plan", full)
    assert predict("varlen", request(DOCUMENTS)) is None
    assert predict("sdpa", request(DOCUMENTS)) is not None


def test_rates_are_of_engines_that_there_are() -> None:
    for name, device, _ in RATES:
        assert name in ENGINES
        assert not ENGINES[name].devices or device in ENGINES[name].devices


def test_sizes_of_zero_ask_no_mask() -> None:
    empty = torch.zeros(1, 1, 0, 8)
    for engine in ("varlen", "flex"):
        found = check_request(empty, empty, empty, PREFIX)
        assert list(obstacles(ENGINES[engine], found)) == []
        assert sl.attend(empty, empty, empty, PREFIX, engine=engine).shape == (1, 1, 0, 8)
