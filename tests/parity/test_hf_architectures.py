"""Every architecture of the table (docs/huggingface_table.md), patched against its own attention.

A handful of kinds runs always, all of them with the slow tests.
"""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("transformers", minversion="5")
torch = pytest.importorskip("torch")

from sightline.testing.hf_architectures import (  # noqa: E402
    ARCHITECTURES,
    Architecture,
    compare,
    refusal,
)

TABLE = Path(__file__).parents[2] / "docs" / "huggingface_table.md"
ALWAYS = {"llama4_text", "gpt_oss", "modernbert", "t5", "whisper", "vit", "bloom"}
TAKEN = [each for each in ARCHITECTURES.values() if not each.refused]
REFUSED = [each for each in ARCHITECTURES.values() if each.refused]


def cases(architectures: list[Architecture]) -> list[object]:
    slow = pytest.mark.slow
    return [
        pytest.param(each, id=each.name, marks=() if each.name in ALWAYS else slow)
        for each in architectures
    ]


@pytest.mark.parametrize("architecture", cases(TAKEN))
def test_outputs_are_the_models_own(architecture: Architecture) -> None:
    found = compare(architecture)
    assert found.modules >= 1
    assert "None" not in found.masks, "a module was not called"
    assert max(found.gaps.values()) <= 1e-5, found.gaps
    assert found.same_tokens is not False


@pytest.mark.parametrize("architecture", cases(REFUSED))
def test_what_cannot_be_taken_over_is_refused(architecture: Architecture) -> None:
    reason = refusal(architecture)
    assert reason is not None
    assert architecture.refused in reason


def test_the_table_has_a_row_for_each() -> None:
    rows = TABLE.read_text(encoding="utf-8").splitlines()
    for each in ARCHITECTURES.values():
        assert any(row.startswith(f"| {each.name} | {each.kind} |") for row in rows), each.name
    assert len(TAKEN) >= 40
