"""`sightline audit`: run a user's model and say where it breaks its contract, and how.

Reads the arguments and prints; the audit itself stands in sightline.audit, its words in
sightline.audit.reporting.text, the user's own code is called through user_code.py.
"""

from __future__ import annotations

import json as json_module
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from sightline.audit.contracts_text import contract_of
from sightline.audit.findings import Report
from sightline.audit.fingerprint import Difference, Fingerprint
from sightline.audit.fingerprint import fingerprint as measure
from sightline.audit.reporting.data import as_json
from sightline.audit.reporting.text import as_text
from sightline.cli.output import output_encoding, use_color, working, write_line
from sightline.cli.user_code import called, found, running
from sightline.lower.arguments import require_torch
from sightline.views.files import write_atomically

__all__ = ["audit"]

_FINDINGS = 1
_EXAMPLE = "models.gpt:make_model"

_Target = Annotated[
    str | None,
    typer.Argument(
        metavar="MODULE:FACTORY",
        help="A function without arguments that returns the model, or (model, inputs).",
    ),
]
_Contract = Annotated[
    list[str] | None,
    typer.Option(metavar="TEXT", help="Who may see whom; may be repeated."),
]
_Config = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="A config.json of transformers: a small one is built."),
]
_Inputs = Annotated[
    str | None,
    typer.Option(metavar="MODULE:FUNCTION", help="Returns the inputs, by keyword in a dict."),
]
_Length = Annotated[int | None, typer.Option(min=1, metavar="N", help="Positions of the inputs.")]
_Batch = Annotated[int | None, typer.Option(min=1, metavar="N", help="Rows of the inputs.")]
_Vocab = Annotated[int | None, typer.Option(min=2, metavar="N", help="How many tokens there are.")]
_Passes = Annotated[int, typer.Option(min=8, metavar="N", help="About how often it may be run.")]
_Condition = Annotated[
    list[str] | None,
    typer.Option(metavar="NAME", help="Run only under this one, such as train; may be repeated."),
]
_Method = Annotated[str, typer.Option(metavar="changes|gradients", help="How dependence is seen.")]
_Fresh = Annotated[
    bool, typer.Option("--reinitialise", help="Give the weights new random values first.")
]
_Fingerprint = Annotated[
    Path | None, typer.Option(metavar="FILE", help="Write who depends on whom, layer by layer.")
]
_Verify = Annotated[
    Path | None, typer.Option(metavar="FILE", help="Say what changed since that fingerprint.")
]
_Json = Annotated[bool, typer.Option("--json", help="Print the report as JSON.")]
_Html = Annotated[Path | None, typer.Option(metavar="FILE", help="Write the report as a page.")]
_Repro = Annotated[
    Path | None, typer.Option(metavar="FILE", help="Write the script that shows the first finding.")
]
_Traceback = Annotated[
    bool, typer.Option("--traceback", help="Show how your code came to an error.")
]


def audit(
    target: _Target = None,
    contract: _Contract = None,
    hf_config: _Config = None,
    inputs: _Inputs = None,
    length: _Length = None,
    batch: _Batch = None,
    vocab: _Vocab = None,
    passes: _Passes = 40,
    condition: _Condition = None,
    method: _Method = "changes",
    reinitialise: _Fresh = False,
    fingerprint: _Fingerprint = None,
    verify: _Verify = None,
    json: _Json = False,
    html: _Html = None,
    repro: _Repro = None,
    traceback: _Traceback = False,
) -> None:
    """Run a model and report every output that depends on an input that its contract forbids.

    This imports and runs your code. The model is copied and never changed.

    A contract is a mask, causal() or window(left=7); a promise, pad_invariant(), batch_invariant(),
    isolated(documents(lengths=[5, 3])), cache_parity(), backend_parity(), mask_sensitive(),
    strict(); or one of these for one input, 'clicks: causal()', or 'clicks -> scores: causal()'.
    A model of transformers has one by its class.

    Examples:
      sightline audit models.gpt:make_model --contract 'causal()'
      sightline audit models.gpt:make_model --contract 'causal()' --html audit.html --repro leak.py
      sightline audit models.ctr:make_model --contract 'clicks: causal()' --inputs tests.data:batch
      sightline audit --hf-config config.json --json
      sightline audit models.gpt:make_model --fingerprint gpt.json
      sightline audit models.gpt:make_model --verify gpt.json

    Exit codes: 0 the model obeys, 1 findings or changes, 2 bad usage, or your code failed.
    """
    contracts = [contract_of(text) for text in contract or ()]
    _check(target, hf_config)
    # What a model of transformers promises is known by its class.
    audited = bool(contracts) or (fingerprint is None and verify is None)
    for option, path in (("--html", html), ("--repro", repro)):
        _check_output(option, path, audited)
    _check_output("--fingerprint", fingerprint, audited=True)
    known = Fingerprint.load(verify) if verify is not None else None
    require_torch("sightline audit")
    what = target or str(hf_config)
    shape: dict[str, Any] = {"length": length, "batch": batch, "vocab": vocab}
    with running(what, show_traceback=traceback), working(f"auditing {what}"):
        model, given = _subject(target or hf_config, inputs)
        asked: dict[str, Any] = {
            "passes": passes,
            "conditions": condition or None,
            "method": method,
            "reinitialise": reinitialise,
            "source": target or "",
        }
        done = Done(
            report=_audited(model, contracts, given, **shape, **asked) if audited else None,
            fingerprint=measure(model, given, **shape) if fingerprint is not None else None,
            difference=None if known is None else known.verify(model, given),
        )
    _write(done, json=json, html=html, repro=repro, fingerprint=fingerprint, verify=verify)
    if not done.fine:
        raise typer.Exit(_FINDINGS)


@dataclass(frozen=True)
class Done:
    """What was found, of what was asked for."""

    report: Report | None
    fingerprint: Fingerprint | None
    difference: Difference | None

    @property
    def fine(self) -> bool:
        """Whether nothing was found, and nothing changed."""
        obeys = self.report is None or self.report.ok
        return obeys and (self.difference is None or self.difference.same)


def _check(target: str | None, config: Path | None) -> None:
    if (target is None) == (config is None):
        raise typer.BadParameter(
            f"give a model, such as {_EXAMPLE}, or --hf-config; one of them.",
            param_hint="'MODULE:FACTORY'",
        )
    if config is not None and not config.is_file():
        raise typer.BadParameter(
            f"there is no file {config}; wanted a config.json of transformers.",
            param_hint="'--hf-config'",
        )


def _check_output(option: str, path: Path | None, audited: bool) -> None:
    """Refuse a file that cannot be written before anything is run for it."""
    if path is None:
        return
    if not audited:
        raise typer.BadParameter(
            "this belongs to an audit; give a --contract too.", param_hint=repr(option)
        )
    if path.is_dir() or not path.parent.is_dir():
        reason = "is a folder; name a file in it" if path.is_dir() else "lies in no folder there is"
        raise typer.BadParameter(f"{path} {reason}.", param_hint=repr(option))


def _subject(target: str | Path | None, inputs: str | None) -> tuple[Any, Any]:
    """Return the model, or the file of its config, and its inputs; None where none are given."""
    model, given = (target, None) if isinstance(target, Path) else _made(target)
    if inputs is not None:
        function = found(inputs, "--inputs", "tests.data:batch")
        given = called(function, inputs, "--inputs", "the inputs")
    return model, given


def _made(target: str | None) -> tuple[Any, Any]:
    assert target is not None  # _check refused that
    option = "MODULE:FACTORY"
    value = found(target, option, _EXAMPLE)
    # A model that stands in the module ready made is not called; a class of one is.
    if not hasattr(value, "named_modules") or isinstance(value, type):
        if not callable(value):
            raise typer.BadParameter(
                f"{target} is a {type(value).__name__}; wanted a function that returns the model.",
                param_hint=repr(option),
            )
        value = called(value, target, option, "the model, or (model, inputs)")
    given = None
    if isinstance(value, tuple) and len(value) == 2:
        value, given = value
    if not callable(value):
        raise typer.BadParameter(
            f"{target} returned a {type(value).__name__}; wanted a torch.nn.Module or a function, "
            "or a tuple of it and its inputs.",
            param_hint=repr(option),
        )
    return value, given


def _audited(model: Any, contracts: list[Any], given: Any, **options: Any) -> Report:
    from sightline.audit.probe import audit as audit_model

    return audit_model(model, contracts or None, given, **options)


def _write(done: Done, *, json: bool, **paths: Path | None) -> None:
    """Print what was found, write the files that were asked for, and name them."""
    if json:
        write_line(json_module.dumps(_facts(done, paths), indent=2))
    else:
        for text in _texts(done, paths):
            write_line(text)
    for line in _files(done, paths):
        print(line, file=sys.stderr if json else sys.stdout)


def _facts(done: Done, paths: dict[str, Path | None]) -> dict[str, Any]:
    facts = {} if done.report is None else as_json(done.report)
    if done.difference is not None:
        difference = done.difference
        facts["verify"] = {
            "file": str(paths["verify"]),
            "same": difference.same,
            "changes": list(difference.changes),
            "notes": list(difference.notes),
        }
    if done.fingerprint is not None:
        parts = done.fingerprint.parts
        facts["fingerprint"] = [
            {"name": part.name, "mask": str(part), "conditions": list(part.conditions)}
            for part in parts
        ]
    return facts


def _texts(done: Done, paths: dict[str, Path | None]) -> Iterator[str]:
    if done.report is not None:
        yield as_text(done.report, color=use_color(), encoding=output_encoding())
    if done.fingerprint is not None:
        yield str(done.fingerprint)
    if done.difference is not None:
        same = done.difference.same
        start = f"since {paths['verify']}:"
        yield f"{start} same" if same else f"{start}\n{done.difference}"


def _files(done: Done, paths: dict[str, Path | None]) -> Iterator[str]:
    """Write the files, and yield a line about each."""
    html, repro, target = (paths[name] for name in ("html", "repro", "fingerprint"))
    if done.report is not None and html is not None:
        from sightline.audit.reporting.page import as_html

        write_atomically(html, as_html(done.report))
        yield f"wrote {html}: the report as a page"
    if done.report is not None and repro is not None:
        script = next((each.repro for each in done.report.findings if each.repro), "")
        if script:
            write_atomically(repro, script.strip() + "\n")
            yield f"wrote {repro}: a script that shows a finding"
        else:
            why = "nothing was found" if done.report.ok else "no finding has a script"
            yield f"did not write {repro}: {why}"
    if done.fingerprint is not None and target is not None:
        done.fingerprint.save(target)
        yield f"wrote {target}: the fingerprint"
