"""The table of transformers architectures says what running them says today."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

transformers = pytest.importorskip("transformers")

PAGE = Path(__file__).parents[2] / "docs" / "huggingface_table.md"


@pytest.mark.slow
def test_the_page_is_up_to_date(
    docs_script: Callable[[str], ModuleType], capsys: pytest.CaptureFixture[str]
) -> None:
    if f"transformers {transformers.__version__}" not in PAGE.read_text(encoding="utf-8"):
        pytest.skip(f"the page was made with another transformers than {transformers.__version__}")
    assert docs_script("make_hf").main(["--check"]) == 0, capsys.readouterr().out
