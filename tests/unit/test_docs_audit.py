"""The page of what audits found: every finding explained, nothing explained that is not found."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

DOCS = Path(__file__).parents[2] / "docs"


@pytest.fixture
def maker(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(DOCS))
    for name in ("make_audit_findings", "audit_findings_explained"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    import make_audit_findings

    return make_audit_findings


def test_the_page_is_up_to_date_and_complete(maker: Any, capsys: pytest.CaptureFixture) -> None:
    assert maker.main(["--check"]) == 0, capsys.readouterr().out


def results(*findings: dict[str, Any]) -> dict[str, Any]:
    row = {"findings": list(findings), "passes": 7, "cpu_seconds": 2.0, "notes": []}
    quiet = {**row, "findings": [], "notes": ["not run under sdpa, attention_mask=4-D: no"]}
    excuse = {"cannot": "wants images"}
    return {
        "versions": {"transformers": "5", "torch": "2"},
        "classes": {"NewForCausalLM": row, "LlamaForCausalLM": quiet, "ViltModel": excuse},
    }


FINDING = {
    "message": "logits at 0 reads 1",
    "input": "input_ids",
    "place": "model.layers.0 (Layer)",
    "conditions": ["sdpa"],
    "held": ["eager"],
}


def test_a_finding_without_an_explanation_is_named(maker: Any) -> None:
    wrong = maker.problems(results(FINDING))
    assert "- `NewForCausalLM`: logits at 0 reads 1" in wrong
    assert [line for line in wrong if line.startswith("- nothing found: Asking Falcon")]
    text = "\n".join(maker.page(results(FINDING)))
    assert "## Not explained" in text
    assert "| `ViltModel` | wants images |" in text
    assert "| 4-D | `LlamaForCausalLM` |" in text


def test_a_failed_audit_is_named(maker: Any) -> None:
    failed = results()
    failed["classes"]["OddModel"] = {"failed": "took longer than 300 s"}
    assert "- OddModel: took longer than 300 s" in maker.problems(failed)


def test_flags_and_inputs_decide_what_explains(maker: Any) -> None:
    falcon = maker.explained_by("FalconForCausalLM[new_decoder_architecture=True]", FINDING)
    assert falcon.verdict == "bug"
    assert maker.explained_by("FSMTForConditionalGeneration", FINDING) is None
    decoder = {**FINDING, "input": "decoder_input_ids"}
    assert maker.explained_by("FSMTForConditionalGeneration", decoder) is not None
