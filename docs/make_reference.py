"""Makes docs/reference/: a page for each part of the public face, with every public name once.

A page lists its names with the first sentence of their docstrings; mkdocstrings puts in the rest
when the site is built. What stands on which page is chosen here by the module that holds a name, so
that a new name finds its place by itself.

    python docs/make_reference.py            write the pages
    python docs/make_reference.py --check    exit 1 if they are not what would be written
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

from settled import settle

DOCS = Path(__file__).parent
# Packages whose public names are documented; each is public as it stands.
PACKAGES = (
    "sightline",
    "sightline.nn",
    "sightline.hf",
    "sightline.audit",
    "sightline.distributed",
)
# What sightline.testing offers, module by module; it has no table of names.
TESTING = ("backend", "strategies", "specs", "drawings", "cases", "plugin")


@dataclass(frozen=True)
class Name:
    """A public name: what users write, where it is defined, and its first sentence."""

    written: str
    path: str
    sentence: str

    @property
    def module(self) -> str:
        """Where it is defined."""
        return self.path.rpartition(".")[0]


@dataclass(frozen=True)
class Section:
    """A heading, and the modules (or packages) whose names stand under it."""

    heading: str
    modules: tuple[str, ...]


@dataclass(frozen=True)
class Page:
    """A page: its file, its title, what it is about, and its sections."""

    file: str
    title: str
    words: str
    sections: tuple[Section, ...]


def section(heading: str, modules: str, package: str = "sightline") -> Section:
    """Return a section; modules are said in one text, without their package."""
    return Section(heading, tuple(f"{package}.{module}" for module in modules.split()))


PAGES = (
    Page(
        "masks.md",
        "Masks",
        "Every mask, with a picture, is on [the page of masks](../masks.md).",
        (
            section("What all masks can do", "masks.mask masks.parser"),
            section("By position", "masks.positional masks.periodic"),
            section("Sparse patterns", "masks.sparse masks.block_sparse"),
            section("On a grid", "masks.grid"),
            section("Carried by data", "masks.padding masks.data"),
            section("Orders and trees", "masks.orders"),
            section("Case by case", "masks"),
        ),
    ),
    Page(
        "planning.md",
        "Plans and proofs",
        "What work a mask leaves at a shape, and whether two masks are the same; "
        "[the page of plans](../plan.md) says how.",
        (section("Plans", "plan.planner plan.block_map"), section("Proofs", "plan")),
    ),
    Page(
        "attention.md",
        "Attention",
        "Running attention under a mask. [Engines](../engines.md) says which engine does what.",
        (section("Attention", "engines"),),
    ),
    Page(
        "translating.md",
        "Other libraries",
        "Into the forms of other libraries and back. [Backends](../backends.md) lists the forms, "
        "[Conventions](../conventions.md) what they mean.",
        (section("Into their forms", "lower"), section("Back", "recognize")),
    ),
    Page(
        "views.md",
        "Pictures",
        "Masks to look at, and why a cell is what it is.",
        (section("Pictures", "views"),),
    ),
    Page(
        "nn.md",
        "sl.nn",
        "Torch modules on top of `attend`. [Layers and models](../models.md) shows them at work.",
        (
            section(
                "Layers", "attention transformer transformer_layers strict_causal", "sightline.nn"
            ),
            section("Batches", "batch input_masks", "sightline.nn"),
            section("Positions", "positions", "sightline.nn"),
            section("Caches", "kv_cache caches mmha paddle_layout", "sightline.nn"),
            section("Generation", "generation", "sightline.nn"),
            section("Pooling and losses", "pooling losses", "sightline.nn"),
            section(
                "Norms, convolutions, recurrences", "norms convolution recurrent", "sightline.nn"
            ),
            Section("Learned masks, and what else there is", ("sightline.nn",)),
        ),
    ),
    Page(
        "hf.md",
        "sl.hf",
        "Hugging Face models with Sightline's attention. "
        "[The table](../huggingface_table.md) lists the architectures that are tested.",
        (Section("Models", ("sightline.hf",)),),
    ),
    Page(
        "distributed.md",
        "sl.distributed",
        "One sequence on several devices. `sl.shard` is the plan, these run it.",
        (Section("Context parallelism", ("sightline.distributed",)),),
    ),
    Page(
        "audit.md",
        "Audits",
        "`sl.audit` is a function, and the package of what goes with it. "
        "[The audit](../audit.md), [the guard](../guard.md) and [lint](../lint.md) explain them.",
        (
            section(
                "Audit, guard, lint, fingerprint", "probe guard lint fingerprint", "sightline.audit"
            ),
            section("Contracts", "contracts", "sightline.audit"),
            Section("What they return", ("sightline.audit",)),
        ),
    ),
    Page(
        "testing.md",
        "sightline.testing",
        "What Sightline's own tests are made of, for your backend and your masks. It is not loaded "
        "by `import sightline`; it wants the extra `testing`.",
        tuple(
            Section(f"sightline.testing.{name}", (f"sightline.testing.{name}",)) for name in TESTING
        ),
    ),
    Page(
        "errors.md",
        "Errors",
        "Every error says what was given, what was wanted, and what to do.",
        (section("Errors", "errors"),),
    ),
)

INDEX = """\
# Reference

<!-- Made by docs/make_reference.py; `make docs` makes it again. -->

Every public name, page by page. What the pages say comes from the docstrings, so `help(sl.plan)`
says the same. `import sightline as sl` loads numpy and the standard library only: a name is loaded
when it is first used.
"""
MADE = "<!-- Made by docs/make_reference.py; `make docs` makes it again. -->\n"


def names() -> list[Name]:
    """Return every public name once; of two that are one thing, the shorter is written."""
    found: dict[str, Name] = {}
    for name in [*_listed(), *_tested()]:
        if name.path not in found or len(name.written) < len(found[name.path].written):
            found[name.path] = name
    return sorted(found.values(), key=lambda name: name.written.lower())


def _listed() -> Iterator[Name]:
    for package in PACKAGES:
        module = import_module(package)
        for name in module.__all__:
            thing = getattr(module, name)
            if isinstance(thing, ModuleType):
                if not callable(thing):
                    continue  # sl.nn and sl.hf: packages with pages of their own
                thing = _front_door(name)
            yield _name(package.replace("sightline", "sl", 1) + f".{name}", thing)


def _front_door(name: str) -> Any:
    """Return the function that a package of its name is called for, such as sl.plan."""
    for file in ("probe", "planner", name):
        try:
            return getattr(import_module(f"sightline.{name}.{file}"), name)
        except (ModuleNotFoundError, AttributeError):
            continue
    raise SystemExit(f"sl.{name} is a package, but none of its files has a function {name}")


def _tested() -> Iterator[Name]:
    for file in TESTING:
        module = import_module(f"sightline.testing.{file}")
        for name, thing in vars(module).items():
            own = getattr(thing, "__module__", None) == module.__name__
            if own and not name.startswith("_") and callable(thing):
                yield _name(f"{module.__name__}.{name}", thing)


def _name(written: str, thing: Any) -> Name:
    first = (inspect.getdoc(thing) or "").partition("\n\n")[0].replace("\n", " ")
    path = f"{thing.__module__}.{written.rpartition('.')[2]}"
    return Name(written, path, first.replace("``", "`").replace("|", "\\|"))


def place(name: Name) -> tuple[Page, Section]:
    """Return where a name stands: the section that names its module, or the nearest package."""
    best: tuple[int, Page, Section] | None = None
    for page in PAGES:
        for part in page.sections:
            for module in part.modules:
                inside = f"{name.module}.".startswith(f"{module}.")
                if inside and (best is None or len(module) > best[0]):
                    best = len(module), page, part
    if best is None:
        raise SystemExit(f"{name.written}, of {name.module}, stands on no page: add it to PAGES")
    return best[1], best[2]


def files() -> dict[Path, str]:
    """Return what each file should hold."""
    placed = [(name, *place(name)) for name in names()]
    made = {}
    index = [INDEX]
    for page in PAGES:
        own = [(name, part) for name, where, part in placed if where is page]
        if not own:
            continue  # of a part that has no public name
        made[DOCS / "reference" / page.file] = _page(page, own)
        index.append(f"## [{page.title}]({page.file})\n\n" + _table(page.file, [n for n, _ in own]))
    made[DOCS / "reference" / "index.md"] = "\n".join(index)
    return made


def _page(page: Page, own: list[tuple[Name, Section]]) -> str:
    text = [f"# {page.title}\n", MADE, f"{page.words}\n"]
    for part in page.sections:
        here = [name for name, where in own if where is part]
        if not here:
            continue
        text += [f"## {part.heading}\n", _table("", here)]
        text += [
            f"::: {name.path}\n    options:\n      heading: {name.written}\n"
            f"      toc_label: {name.written.rpartition('.')[2]}\n"
            for name in here
        ]
    return "\n".join(text)


def _table(file: str, rows: list[Name]) -> str:
    lines = [f"| [`{name.written}`]({file}#{name.path}) | {name.sentence} |" for name in rows]
    return "\n".join(["| Name | |", "| --- | --- |", *lines]) + "\n"


def main(words: list[str]) -> int:
    """Write or check, and return the exit code."""
    return settle(words, __doc__, "make_reference", DOCS, files, owned=["reference/*.md"])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
