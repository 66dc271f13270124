"""The pages of the algebra show what the masks are today, all of them, in both languages."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path
from types import ModuleType

import pytest

from sightline.masks.names import NAMES

DOCS = Path(__file__).parents[2] / "docs"
PAGES = ("algebra.md", "algebra.zh.md")
PICTURE = r"!\[(?:\\.|[^\]\\])*\]\(pictures/algebra/(\w+)\.svg\)"


@pytest.fixture
def make_algebra(docs_script: Callable[[str], ModuleType]) -> ModuleType:
    return docs_script("make_algebra")


def test_the_pages_are_up_to_date(
    make_algebra: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    assert make_algebra.main(["--check"]) == 0, capsys.readouterr().out


def test_whatever_is_stale_is_noticed(
    make_algebra: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(make_algebra, "DOCS", tmp_path)
    for page in PAGES:
        shutil.copy(DOCS / page, tmp_path)
    assert make_algebra.main(["--check"]) == 1, "no picture is there yet"
    assert make_algebra.main([]) == 0
    assert make_algebra.main(["--check"]) == 0
    for name in (*PAGES, "pictures/algebra/causal.svg", "pictures/algebra/op_xor.svg"):
        path = tmp_path / name
        whole = path.read_text(encoding="utf-8")
        path.write_text(whole.replace("<br>", "<hr>", 1).replace("h1v1", "h2v2", 1), "utf-8")
        assert make_algebra.main(["--check"]) == 1, name
        assert make_algebra.main([]) == 0
        assert path.read_text(encoding="utf-8") == whole
    (tmp_path / "pictures" / "algebra" / "old.svg").write_text("a picture that nobody makes")
    assert make_algebra.main(["--check"]) == 1
    assert make_algebra.main([]) == 0
    assert not (tmp_path / "pictures" / "algebra" / "old.svg").exists()
    assert make_algebra.main(["--chekc"]) == 2


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("<!-- made: masks -->", "", r"has the tables \['composed'\], made were"),
        ("<!-- made: masks -->", "<!-- made: mask -->", r"\['composed', 'mask'\]"),
        ("<!-- end: masks -->", "", "nothing ends the table 'masks'"),
        ("<!-- made: masks -->", "<!-- made: masks -->\n" * 2, "'masks', 'masks'"),
    ],
)
def test_a_page_without_its_table_is_refused(
    make_algebra: ModuleType, old: str, new: str, said: str
) -> None:
    text = (DOCS / "algebra.md").read_text(encoding="utf-8")
    with pytest.raises(SystemExit, match=rf"algebra\.md: .*{said}"):
        make_algebra.fill(text.replace(old, new), "algebra.md", make_algebra.tables("en"))


def shown(pages: Iterable[str]) -> list[str]:
    """Return the pictures that pages show, in order."""
    texts = [(DOCS / page).read_text(encoding="utf-8") for page in pages]
    return re.findall(PICTURE, "".join(texts))


@pytest.mark.parametrize("page", PAGES)
def test_every_mask_is_shown(page: str) -> None:
    assert shown([page])[: len(NAMES)] == list(NAMES)


def test_every_picture_is_shown_somewhere() -> None:
    drawn = {path.stem for path in (DOCS / "pictures" / "algebra").glob("*.svg")}
    assert set(shown(["algebra.md", "first-steps.md", "decoding.md", "hugging-face.md"])) == drawn
