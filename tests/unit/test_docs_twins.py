"""A page in Chinese says what its English twin says: the same parts, examples and pictures."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TWINS = [
    path
    for path in (ROOT / "README.zh.md", *sorted((ROOT / "docs").rglob("*.zh.md")))
    if path.with_name(path.name.replace(".zh.md", ".md")).exists()
]
FENCE = re.compile(r"^ *```(\w*)\n(.*?)^ *```", re.DOTALL | re.MULTILINE)
CHINESE = re.compile("[\u3400-\u9fff]")


def english(path: Path) -> str:
    return path.with_name(path.name.replace(".zh.md", ".md")).read_text(encoding="utf-8")


def without_code(text: str) -> str:
    return FENCE.sub("", text)


def levels(text: str) -> list[int]:
    """Return the levels of the headings, in order."""
    found = re.findall(r"^(#+) ", without_code(text), re.MULTILINE)
    return [len(marks) for marks in found]


def blocks(text: str) -> list[tuple[str, str]]:
    """Return the blocks of code without comments; of what is text, only what it begins with."""
    return [
        (language, told(code) if language == "text" else uncommented(code))
        for language, code in FENCE.findall(text)
    ]


def uncommented(code: str) -> str:
    return re.sub(r"[ \t]*#[^\n]*|[ \t]+$", "", code, flags=re.MULTILINE)


def told(text: str) -> str:
    """Return the first word of each line; the rest may be in another language."""
    return "\n".join(line.split(maxsplit=1)[0] for line in text.splitlines() if line.strip())


def pictures(text: str) -> list[str]:
    return re.findall(r"!\[[^\]]*(?:\\\][^\]]*)*\]\(([^)]+)\)", without_code(text))


def test_there_are_twins_and_no_orphans() -> None:
    names = {path.name for path in TWINS}
    assert names >= {"README.zh.md", "algebra.zh.md", "claims.zh.md"}
    assert names == {path.name for path in [*(ROOT / "docs").rglob("*.zh.md"), *TWINS]}


@pytest.mark.parametrize("path", TWINS, ids=lambda path: path.name)
def test_a_page_has_the_parts_of_its_twin(path: Path) -> None:
    here, there = path.read_text(encoding="utf-8"), english(path)
    assert levels(here) == levels(there)
    assert blocks(here) == blocks(there)
    assert pictures(here) == pictures(there)


@pytest.mark.parametrize("path", TWINS, ids=lambda path: path.name)
def test_no_blank_shows_within_chinese_text(path: Path) -> None:
    # A line break is a blank to a browser; a paragraph of Chinese is one line.
    assert torn(path.read_text(encoding="utf-8")) == []


def torn(text: str) -> list[str]:
    """Return where a line ends amid Chinese: between two characters, or after a full-width sign."""
    characters, signs = "[\u3001-\u9fff\uff01-\uff65]", "[、。，；：（）！？]"
    breaks = rf"{characters}\n[ \t]*{characters}|{signs}\n[ \t]*(?!- |\d+\. )[^\s|#>]"
    return re.findall(breaks, without_code(text))


def test_torn_lines_are_seen() -> None:
    for text in ("左\n右", "- 左\n  右", "左，\n`a`"):
        assert torn(text), text
    assert not torn("左 `a`\n右，\n\n右：\n- 左：\n```\n左\n右\n```\n")


@pytest.mark.parametrize("path", TWINS, ids=lambda path: path.name)
def test_a_page_is_in_chinese_and_leads_to_its_twin_and_back(path: Path) -> None:
    here, there = path.read_text(encoding="utf-8"), english(path)
    twin = path.name.replace(".zh.md", ".md")
    assert f"\n[English]({twin})\n" in here
    assert f"\n[中文]({path.name})\n" in there
    for heading in re.findall(r"^#+ (.*)", without_code(here), re.MULTILINE)[:1]:
        assert CHINESE.search(heading), heading
    prose = [part for part in re.split(r"\n\s*\n", without_code(here)) if len(part) > 200]
    untold = [
        part
        for part in prose
        if not CHINESE.search(part) and not part.startswith(("|", "<!--", ">", "- "))
    ]
    assert not untold, untold
