"""The promises that are not a mask, on small models of transformers, which keep them."""

from __future__ import annotations

from typing import Any

import pytest

import sightline as sl

transformers = pytest.importorskip("transformers")

SIZES = {"length": 13, "batch": 3, "passes": 30}
promise = sl.audit


def audited(config: str, contract: Any, **options: Any) -> sl.audit.Report:
    return sl.audit(getattr(transformers, config), contract, **{**SIZES, **options})


@pytest.mark.parametrize(
    "contract",
    [
        promise.batch_invariant(),
        promise.pad_invariant(),
        promise.cache_parity(),
        promise.backend_parity(),
        promise.mask_sensitive(),
    ],
    ids=str,
)
def test_a_decoder_keeps_them_all(contract: Any) -> None:
    assert audited("LlamaConfig", contract).ok


def test_an_encoder_with_padding_on_the_right() -> None:
    assert audited("BertConfig", promise.pad_invariant(left=False)).ok


def test_an_encoder_decoder_with_its_cache_and_padding() -> None:
    assert audited("T5Config", promise.pad_invariant()).ok
    assert audited("T5Config", promise.cache_parity()).ok


def test_positions_that_count_the_padding() -> None:
    (finding,) = audited("GPT2Config", promise.pad_invariant(), conditions=["sdpa"]).findings
    assert finding.kind == "parity"
    assert "position_ids" in finding.cause


def test_documents_by_positions_need_no_cache_and_no_mask() -> None:
    contract = promise.isolated(sl.documents(lengths=[4, 6, 3]))
    report = audited("LlamaConfig", contract)
    assert report.ok
    assert any("position_ids, with use_cache=False" in note for note in report.notes)
