"""Destination xlnet, run: which positions each stream of a real XLNet depends on."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

import sightline as sl  # noqa: E402
from sightline.errors import CannotExpress, InvalidArgument  # noqa: E402
from sightline.reference.dense import dense as oracle  # noqa: E402

B, LENGTH, WIDTH = 2, 5, 8


@pytest.fixture(scope="module")
def model() -> Any:
    torch.manual_seed(0)
    config = transformers.XLNetConfig(
        vocab_size=7, d_model=WIDTH, n_layer=1, n_head=2, d_inner=16, attn_type="bi", dropout=0.0
    )
    return transformers.XLNetModel(config).eval()


def depends(model: Any, keywords: dict[str, Any]) -> np.ndarray:
    """Return [batch, outputs, length]: whether an output changes with the input of a position."""
    torch.manual_seed(1)
    embeddings = torch.randn(B, LENGTH, WIDTH)
    keywords = {name: tensor.expand(B, -1, -1) for name, tensor in keywords.items()}

    def run(given: Any) -> Any:
        return model(inputs_embeds=given, use_mems=False, **keywords).last_hidden_state

    # [batch, outputs, width, batch, positions, width]
    slopes = torch.autograd.functional.jacobian(run, embeddings).abs()
    return (slopes.amax((2, 5)) > 0).numpy()[np.arange(B), :, np.arange(B)]


ORDERS = [[2, 0, 4, 1, 3], [0, 1, 2, 3, 4]]


@pytest.mark.parametrize(
    "mask",
    [
        sl.permutation(ORDERS, stream="query"),
        sl.permutation([4, 3, 2, 1, 0], stream="query") | sl.window(1, 1),
        sl.causal(strict=True) & sl.padding(lengths=[5, 3]) | sl.keys([0]),
    ],
)
def test_the_query_stream_sees_what_the_mask_says(model: Any, mask: sl.Mask) -> None:
    allowed = np.broadcast_to(oracle(mask, LENGTH)[:, 0], (B, LENGTH, LENGTH))
    targets = np.flatnonzero(allowed.any(-1).all(0)).tolist()
    assert targets
    keywords = sl.lower(mask, to="xlnet", q_len=LENGTH, targets=targets)
    np.testing.assert_array_equal(depends(model, keywords), allowed[:, targets])


@pytest.mark.parametrize(
    "mask", [sl.permutation(ORDERS, stream="content"), sl.causal(), sl.window(1, 2)]
)
def test_the_content_stream_sees_what_the_mask_says(model: Any, mask: sl.Mask) -> None:
    keywords = sl.lower(mask, to="xlnet", q_len=LENGTH, stream="content")
    assert set(keywords) == {"perm_mask"}
    allowed = np.broadcast_to(oracle(mask, LENGTH)[:, 0], (B, LENGTH, LENGTH))
    np.testing.assert_array_equal(depends(model, keywords), allowed)


def test_an_empty_row_reads_what_is_hidden(model: Any) -> None:
    """Why empty targets are refused: XLNet gives them a mean of all values."""
    blocked = torch.ones(1, LENGTH, LENGTH)
    mapping = torch.eye(LENGTH)[None]
    seen = depends(model, {"perm_mask": blocked, "target_mapping": mapping})
    assert seen.all()


def test_refusals() -> None:
    first = sl.permutation(ORDERS, stream="query")
    with pytest.raises(CannotExpress, match="target 2 of batch 0, which may see nothing"):
        sl.lower(first, to="xlnet", q_len=LENGTH)
    with pytest.raises(CannotExpress, match="target 0 of batch 1"):
        sl.lower(first, to="xlnet", q_len=LENGTH, targets=[1, 0])
    with pytest.raises(CannotExpress, match="position 1 of batch 0, which may not see itself"):
        sl.lower(sl.keys([0]), to="xlnet", q_len=LENGTH, stream="content")
    with pytest.raises(CannotExpress, match="heads that differ"):
        sl.lower(sl.per_head([sl.causal(), sl.everything()]), to="xlnet", q_len=LENGTH)
    with pytest.raises(CannotExpress, match="2 queries from position 3 on, 5 keys"):
        sl.lower(sl.causal(), to="xlnet", q_len=2, kv_len=5, q_offset=3)
    with pytest.raises(CannotExpress, match="5 queries from position 1 on, 5 keys"):
        sl.lower(sl.causal(), to="xlnet", q_len=5, q_offset=1)


@pytest.mark.parametrize(
    "options", [{"stream": "both"}, {"stream": "content", "targets": [0]}, {"targets": [5]},
                {"targets": [-1]}, {"targets": [[0]]}, {"targets": [0.5]}]
)  # fmt: skip
def test_mistakes(options: dict[str, Any]) -> None:
    with pytest.raises(InvalidArgument, match=r"got (stream|targets)="):
        sl.lower(sl.causal(), to="xlnet", q_len=LENGTH, **options)
