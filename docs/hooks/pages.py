"""For the site: what pages say for readers of the repository, as the site wants it. See mkdocs.yml.

A link that leaves docs/, to a test or to settings, leads to a page that shows the file; if its
text is a name, such as [`test_it`](../tests/test_it.py), to the line that defines it. The line with
which a page names its other language is left out, for the site has a menu of languages.
"""

from __future__ import annotations

import os
import re
from pathlib import Path, PurePosixPath
from typing import Any

from made import made_page
from mkdocs.plugins import event_priority

# [text](../path): with text that may hold code, and no title.
LINK = re.compile(r"\[(?P<text>[^\]\n]*)\]\((?P<path>(?:\.\./)+[^)#\s]+)\)")
OTHER_LANGUAGE = re.compile(r"^\[(?:English|中文)\]\([\w./-]+\.md\)\n+", re.MULTILINE)
# A bar in code in a table, which GitHub wants escaped and mkdocs does not.
ESCAPED_BAR = re.compile(r"(?<=`)([^`\n]*\\\|[^`\n]*)(?=`)")
# A link to a page in Chinese, for which the site takes the page in the language that is read, or
# to a notebook, which is a page there.
OTHER_FORM = re.compile(r"(\]\((?!https?:)[^)\s#]+)\.(?:zh\.md|ipynb)(?=[)#])")
SHOWN_AS = {".py": "python", ".toml": "toml", ".txt": "text", ".md": "markdown", ".yml": "yaml"}


@event_priority(-200)  # after i18n, which knows files on disk only
def on_files(files: Any, *, config: Any) -> Any:
    """Add a page for each file outside docs/ that a page links to."""
    for path in sorted({path for file in files.documentation_pages() for path in leaving(file)}):
        target = root(config) / path
        if target.is_file() and not files.get_file_from_path(page_of(path)):
            files.append(made_page(config, page_of(path), shown(target, path)))
    return files


def on_page_markdown(markdown: str, *, page: Any, config: Any, files: Any) -> str:
    """Point such links at those pages; one whose target is missing stays, and mkdocs complains."""
    place = PurePosixPath(page.file.src_uri)

    def pointed(link: re.Match[str]) -> str:
        path = outside(place, link["path"])
        if path is None or not files.get_file_from_path(page_of(path)):
            return link[0]
        to = os.path.relpath(page_of(path), place.parent).replace(os.sep, "/")
        return f"[{link['text']}]({to}{line_anchor(root(config) / path, link['text'])})"

    text = LINK.sub(pointed, OTHER_LANGUAGE.sub("", markdown))
    text = OTHER_FORM.sub(r"\1.md", text)
    return ESCAPED_BAR.sub(lambda code: code[0].replace("\\|", "|"), text)


def on_page_content(html: str, *, page: Any, config: Any, files: Any) -> str:
    """Tell mkdocs, which checks anchors, which lines such a page has."""
    if page.file.src_uri.startswith("source/"):
        page.present_anchor_ids.update(re.findall(r'id="(__codelineno-\d+-\d+)"', html))
    return html


def root(config: Any) -> Path:
    """Return the repository."""
    return Path(config.config_file_path).parent


def leaving(file: Any) -> set[str]:
    """Return the files of the repository, outside docs/, that a page links to."""
    place = PurePosixPath(file.src_uri)
    found = (outside(place, link["path"]) for link in LINK.finditer(file.content_string))
    return {path for path in found if path is not None}


def outside(place: PurePosixPath, link: str) -> str | None:
    """Return a link's path in the repository if it leaves docs/, where ``place`` stands."""
    path = os.path.normpath(PurePosixPath("docs") / place.parent / link).replace(os.sep, "/")
    return None if path.startswith(("docs/", "..")) else path


def page_of(path: str) -> str:
    """Return the page that shows a file."""
    return f"source/{path}.md"


def shown(target: Path, path: str) -> str:
    """Return a page with a file's text, numbered; found by links, not by search."""
    text = target.read_text(encoding="utf-8")
    fence = "~" * (2 + max([2, *(len(run) for run in re.findall("~+", text))]))
    kind = SHOWN_AS.get(target.suffix, "text")
    return (
        f"---\ntitle: {path}\nsearch:\n  exclude: true\nhide:\n  - navigation\n  - toc\n---\n\n"
        f'# `{path}`\n\n{fence} {{ .{kind} linenums="1" }}\n{text}\n{fence}\n'
    )


def line_anchor(target: Path, text: str) -> str:
    """Return the anchor of the line that defines the name in a link's text, or nothing."""
    name = text.strip("`").rpartition(".")[2]
    if target.suffix != ".py" or not name.isidentifier():
        return ""
    lines = target.read_text(encoding="utf-8").splitlines()
    for number, line in enumerate(lines, 1):
        if re.match(rf"\s*(?:def|class) {name}\b", line):
            return f"#__codelineno-0-{number}"
    return ""
