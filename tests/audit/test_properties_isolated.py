"""isolated(): documents that meet, by attention, convolution or state; and what tells of them."""

from __future__ import annotations

import inspect

import numpy as np
import pytest
import torch
from torch import nn

import sightline as sl
from sightline.errors import InvalidArgument

WIDTH, VOCAB = 8, 19
DOCUMENTS = sl.documents(lengths=[4, 6, 3])
Tensor = torch.Tensor


class Packed(nn.Module):
    """Causal attention within documents; ``conv`` adds a convolution over their edges."""

    def __init__(self, conv: bool = False) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.embed = nn.Embedding(VOCAB, WIDTH)
        self.conv = nn.Conv1d(WIDTH, WIDTH, 3, padding=1) if conv else None

    def forward(self, tokens: Tensor, document_ids: Tensor | None = None) -> Tensor:
        x = self.embed(tokens)
        seen = torch.ones(x.shape[1], x.shape[1], dtype=torch.bool).tril()[None]
        if document_ids is not None:
            seen = seen & (document_ids[:, :, None] == document_ids[:, None, :])
        mixed = (x @ x.transpose(1, 2)).masked_fill(~seen, -torch.inf).softmax(-1) @ x
        if self.conv is None:
            return mixed
        return mixed + self.conv(x.transpose(1, 2)).transpose(1, 2)


def audited(model: nn.Module, documents: sl.Mask = DOCUMENTS) -> sl.audit.Report:
    return sl.audit(model, sl.audit.isolated(documents), batch=3, conditions=["eval"])


def test_a_model_that_is_told_of_its_documents_is_silent() -> None:
    report = audited(Packed())
    assert report.ok
    assert any("told of the documents by document_ids" in note for note in report.notes)


def test_documents_that_meet_in_a_convolution() -> None:
    (finding,) = audited(Packed(conv=True)).findings
    assert finding.kind == "leak"
    assert finding.contract == "isolated(documents(lengths=[4, 6, 3]))"
    assert finding.place is not None
    assert finding.place.module == "conv"
    assert {(pair.query, pair.key) for pair in finding.pairs} == {(3, 4), (4, 3), (9, 10), (10, 9)}


def test_a_state_that_is_carried_over() -> None:
    class Recurrent(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            torch.manual_seed(0)
            self.embed = nn.Embedding(VOCAB, WIDTH)
            self.gru = nn.GRU(WIDTH, WIDTH, batch_first=True)

        def forward(self, tokens: Tensor) -> Tensor:
            return self.gru(self.embed(tokens))[0]

    (finding,) = audited(Recurrent()).findings
    assert finding.place is not None
    assert finding.place.module == "gru"


@pytest.mark.parametrize(
    ("keyword", "wanted"),
    [
        ("document_ids", [0, 0, 1, 1, 1, 0]),
        ("segment_ids", [1, 1, 2, 2, 2, 1]),
        ("position_ids", [0, 1, 0, 1, 2, 2]),
    ],
)
def test_what_a_model_is_told(keyword: str, wanted: list[int]) -> None:
    seen: dict[str, Tensor] = {}

    def forward(self: nn.Module, tokens: Tensor, **given: Tensor) -> Tensor:
        seen.update(given)
        return nn.Embedding.forward(self, tokens)

    taken = [inspect.Parameter(name, inspect.Parameter.POSITIONAL_OR_KEYWORD) for name in "sx"]
    taken.append(inspect.Parameter(keyword, inspect.Parameter.KEYWORD_ONLY, default=None))
    forward.__signature__ = inspect.Signature(taken)
    kind = type("ToldEmbedding", (nn.Embedding,), {"forward": forward})
    inputs = {"tokens": torch.arange(18).reshape(3, 6)}
    documents = sl.documents(ids=[3, 3, 5, 5, 5, 3])
    assert sl.audit(kind(VOCAB, WIDTH), sl.audit.isolated(documents), inputs).ok
    np.testing.assert_array_equal(seen[keyword], np.tile(wanted, (3, 1)))


def test_inputs_that_tell_are_taken_as_they_are() -> None:
    tokens = torch.arange(26).reshape(2, 13) % VOCAB
    ids = torch.tensor([[0] * 4 + [1] * 9, [0] * 4 + [1] * 6 + [2] * 3])
    given = {"tokens": tokens, "document_ids": ids}
    (finding,) = sl.audit(Packed(), sl.audit.isolated(DOCUMENTS), given).findings
    assert {pair.batch for pair in finding.pairs} == {0}  # whose ids have one document too few


def test_lengths_that_do_not_fit_are_refused() -> None:
    with pytest.raises(InvalidArgument, match=r"13 positions and the inputs \[9\]"):
        sl.audit(Packed(), sl.audit.isolated(DOCUMENTS), torch.arange(18).reshape(2, 9))
