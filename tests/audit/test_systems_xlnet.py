"""XLNet keeps its contract: each stream shows what the factorisation order lets it see."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import sightline as sl

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402

from sightline.models.xlnet import XLNet, XLNetConfig  # noqa: E402

LENGTH = 17
ORDER = np.random.default_rng(0).permutation(LENGTH)
GIVEN = np.random.default_rng(1).random(LENGTH) < 0.4  # tokens that all may see


class OneStream(nn.Module):
    """An XLNet under one mask, of which one stream is shown at every token."""

    def __init__(self, stream: str, mask: sl.Mask, query_mask: sl.Mask | None = None) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.stream, self.mask, self.query_mask = stream, mask, query_mask
        self.model = XLNet(XLNetConfig(vocab=31, layers=2, heads=3, width=12, hidden=20))

    def forward(
        self, tokens: torch.Tensor, key_padding_mask: torch.Tensor | None = None
    ) -> torch.Tensor:
        real = sl.everything()
        if key_padding_mask is not None:
            real = sl.padding(valid=~key_padding_mask.numpy())
        words: dict[str, Any] = {"mask": self.mask & real}
        if self.stream == "query":
            words["targets"] = torch.arange(tokens.shape[1]).expand(len(tokens), -1)
            if self.query_mask is not None:
                words["query_mask"] = self.query_mask & real
        return self.model(tokens, **words)


@pytest.mark.parametrize("stream", ["content", "query"])
def test_an_order_of_all_tokens(stream: Any) -> None:
    contract = sl.permutation(ORDER, stream=stream)
    report = sl.audit(OneStream(stream, sl.permutation(ORDER)), contract, length=LENGTH)
    assert report.ok, report
    assert report.coverage == 1.0
    first_last = contract & ~sl.keys(int(ORDER[0]))  # one pair fewer for all others
    narrower = sl.audit(OneStream(stream, sl.permutation(ORDER)), first_last, length=LENGTH)
    assert not narrower.ok


@pytest.mark.parametrize("stream", ["content", "query"])
def test_an_order_beside_tokens_that_all_may_see(stream: Any) -> None:
    order = np.concatenate([ORDER[GIVEN[ORDER]], ORDER[~GIVEN[ORDER]]])
    seen = sl.padding(valid=GIVEN[None])
    model = OneStream(
        stream,
        sl.permutation(order) | seen,
        sl.permutation(order, stream="query") | seen,
    )
    report = sl.audit(model, sl.permutation(order, stream=stream) | seen, length=LENGTH)
    assert report.ok, report


def test_a_query_stream_that_sees_its_target_is_found() -> None:
    model = OneStream("query", sl.permutation(ORDER), sl.permutation(ORDER))
    report = sl.audit(model, sl.permutation(ORDER, stream="query"), length=LENGTH)
    assert not report.ok
    assert any("depends on tokens" in finding.message for finding in report.findings)


@pytest.mark.parametrize("stream", ["content", "query"])
def test_padding_and_the_rest_of_the_batch_do_not_matter(stream: str) -> None:
    promises = [sl.audit.pad_invariant(), sl.audit.batch_invariant()]
    report = sl.audit(OneStream(stream, sl.everything()), promises, length=LENGTH)
    assert report.ok, report


def test_packed_texts_do_not_read_each_other() -> None:
    class Packed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            torch.manual_seed(0)
            self.model = XLNet(XLNetConfig(vocab=31, layers=2, heads=3, width=12, hidden=20))

        def forward(
            self, tokens: torch.Tensor, document_ids: torch.Tensor | None = None
        ) -> torch.Tensor:
            told = document_ids is not None
            mask = sl.documents(ids=document_ids.numpy()) if told else sl.everything()
            return self.model(tokens, mask=mask)

    report = sl.audit(Packed(), sl.audit.isolated(sl.documents(lengths=[5, 9, 3])))
    assert report.ok, report
