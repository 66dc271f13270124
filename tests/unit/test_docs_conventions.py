"""The page of conventions says what the code does today, and what the libraries do."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

import sightline as sl
from sightline.errors import MissingExtra
from sightline.lower.destinations import NAMES, rows
from sightline.recognize.sources.table import NAMES as SOURCES
from sightline.recognize.sources.table import rows as sources

DOCS = Path(__file__).parents[2] / "docs"


PAGES = {"conventions.md": "## Where causal", "conventions.zh.md": "## 因果掩码对齐到哪里"}


@pytest.fixture
def make_conventions(docs_script: Callable[[str], ModuleType]) -> ModuleType:
    return docs_script("make_conventions")


def test_the_page_is_up_to_date(
    make_conventions: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    code = make_conventions.main(["--check"])
    told = capsys.readouterr().out
    assert code == 0, told
    if told:
        pytest.skip(told.strip())


def test_whatever_is_stale_is_noticed(
    make_conventions: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(make_conventions, "DOCS", tmp_path)
    assert make_conventions.main(["--check"]) == 1, "nothing is there yet"
    assert make_conventions.main([]) == 0
    assert make_conventions.main(["--check"]) == 0
    for name in PAGES:
        page = tmp_path / name
        whole = page.read_text(encoding="utf-8")
        page.write_text(whole.replace("100 110", "100 111", 1), encoding="utf-8")
        assert make_conventions.main(["--check"]) == 1
        page.write_text(whole, encoding="utf-8")
    assert make_conventions.main(["--chekc"]) == 2


def test_a_row_whose_library_is_missing_is_kept(
    make_conventions: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = (DOCS / "conventions.md").read_text(encoding="utf-8")
    lower = sl.lower

    def without_torch(masks: object, to: str, *shape: int, **options: object) -> object:
        if to == "torch.sdpa":
            raise MissingExtra(what="this", package="torch", extra="torch")
        return lower(masks, to, *shape, **options)

    monkeypatch.setattr(make_conventions.sl, "lower", without_torch)
    new, kept = make_conventions.page(old)
    assert "torch.sdpa" in kept
    assert "| `torch.sdpa` | " in new
    assert (
        make_conventions.page("")[0].count("| `torch.sdpa` | ")
        == new.count("| `torch.sdpa` | ") - 2
    )
    assert new == old


def test_what_the_code_says_and_nobody_translated_stops_the_page(
    make_conventions: ModuleType,
) -> None:
    with pytest.raises(SystemExit, match="no Chinese for: 'is upside down'"):
        make_conventions.CHINESE.tell("is upside down")
    assert make_conventions.ENGLISH.tell("is upside down") == "is upside down"
    said = {make_conventions.TRUE_MEANS[name] for name in make_conventions.TRUE_MEANS}
    said |= {text for each in sources() for text in (each.reads, each.true_means)}
    told = {"refused", "can be said", "no such mask can be said", "none of the examples"}
    assert make_conventions.CHINESE.said.keys() == said | told


@pytest.mark.parametrize(("page", "facts_begin"), PAGES.items())
def test_every_form_and_source_has_its_row(page: str, facts_begin: str) -> None:
    text = (DOCS / page).read_text(encoding="utf-8")
    forms, _, facts = text.partition(f"\n{facts_begin}")
    for name in NAMES:
        assert f"\n| `{name}` | " in forms
    for name in SOURCES:
        assert f"\n| `{name}` | " in facts
    assert len(rows()) == sum(line.startswith("| `") for line in forms.splitlines())


def test_windows_of_transformers_count_keys() -> None:
    torch = pytest.importorskip("torch")
    utils = pytest.importorskip("transformers.masking_utils")
    seen = utils.sliding_window_causal_mask_function(2)
    q, k = torch.meshgrid(torch.arange(5), torch.arange(5), indexing="ij")
    wanted = sl.window(left=1, right=0).dense(5)[0, 0]
    np.testing.assert_array_equal(seen(0, 0, q, k).numpy(), wanted)


def test_an_attention_mask_of_ones_switches_the_search_for_packed_sequences_off() -> None:
    torch = pytest.importorskip("torch")
    utils = pytest.importorskip("transformers.masking_utils")
    transformers = pytest.importorskip("transformers")
    config = transformers.LlamaConfig(
        hidden_size=8, num_attention_heads=2, num_hidden_layers=1, attn_implementation="eager"
    )
    positions = torch.tensor([[0, 1, 0, 1]])
    call = {
        "config": config,
        "inputs_embeds": torch.zeros(1, 4, 8),
        "past_key_values": None,
        "position_ids": positions,
    }
    packed = utils.create_causal_mask(attention_mask=None, **call)
    causal = utils.create_causal_mask(attention_mask=torch.ones(1, 4), **call)
    documents = sl.causal() & sl.documents(lengths=[2, 2])
    np.testing.assert_array_equal((packed[0, 0] == 0).numpy(), documents.dense(4)[0, 0])
    np.testing.assert_array_equal((causal[0, 0] == 0).numpy(), sl.causal().dense(4)[0, 0])
