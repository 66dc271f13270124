"""`sightline audit` as a user meets it: what is printed and written, refusals, exit codes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

Run = Callable[..., tuple[int, str, str]]

pytest.importorskip("torch")

MODELS = """
import torch
from torch import nn

print("models are loaded")


class Block(nn.Module):
    def __init__(self, leaks):
        super().__init__()
        self.qkv = nn.Linear(12, 36)
        self.leaks = leaks

    def forward(self, x):
        query, key, value = self.qkv(x).chunk(3, -1)
        scores = query @ key.transpose(-1, -2)
        future = torch.ones_like(scores, dtype=torch.bool).triu(1)
        hidden = scores.masked_fill(future, float("-inf"))
        return x + (scores if self.leaks else hidden).softmax(-1) @ value


class GPT(nn.Module):
    def __init__(self, leaks=False):
        super().__init__()
        self.embed = nn.Embedding(23, 12)
        self.blocks = nn.ModuleList([Block(False), Block(leaks)])

    def forward(self, tokens, mood=None):
        x = self.embed(tokens)
        for block in self.blocks:
            x = block(x)
        if mood is not None:
            x = x + mood.mean(dim=1, keepdim=True)
        return x


class Needy(nn.Module):
    def forward(self, tokens):
        raise RuntimeError("first line\\nsizes do not fit")


def right():
    print("made")
    return GPT()


def leaking():
    return GPT(leaks=True)


def with_inputs():
    return GPT(), {"tokens": torch.randint(0, 23, (3, 9))}


def tokens():
    return {"tokens": torch.randint(0, 23, (3, 9))}


def moody():
    return {"tokens": torch.randint(0, 23, (3, 9)), "mood": torch.randn(3, 9, 12)}


def function():
    import numpy
    return (lambda x: numpy.cumsum(x, 1)), {"x": numpy.random.default_rng(0).normal(size=(3, 7, 2))}


def fails():
    raise ValueError("n_layer must be even")


def fails_inside():
    import json

    return json.loads("{")


def leaves():
    raise SystemExit(3)


def number():
    return 3


def wants(layers):
    return GPT()


ready = GPT()
needy = Needy()
"""

FAILING_LINE, NEEDY_LINE, INSIDE_LINE = (
    MODELS[: MODELS.index(code)].count("\n") + 1
    for code in ("raise ValueError", "raise RuntimeError", "return json")
)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "cli_models.py").write_text(MODELS)
    (tmp_path / "cli_broken.py").write_text("import torch\nx = = 3\n")
    (tmp_path / "cli_lacking.py").write_text("import no_such_library_here\n")
    monkeypatch.chdir(tmp_path)
    for name in ("cli_models", "cli_broken", "cli_lacking"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    return tmp_path


def test_a_model_that_obeys_gets_a_line(run: Run, here: Path) -> None:
    before = list(sys.path)
    code, out, err = run("audit", "cli_models:right", "--contract", "causal()")
    assert code == 0, err
    assert out.count("\n") == 1
    assert out.startswith("GPT obeys causal(). Tried: tokens [")
    assert "made" not in out
    assert err == "models are loaded\nmade\n"
    assert sys.path == before


def test_a_model_that_leaks_gets_all_that_helps(run: Run, here: Path) -> None:
    words = ("audit", "cli_models:leaking", "--contract", "causal()", "--html", "page.html")
    code, out, err = run(*words, "--length", 11, "--batch", 4)
    assert code == 1, err
    for part in (
        "GPT breaks causal(): 1 finding.",
        "1. causal() is broken: output at",
        "declared      causal()",
        "behaves like  everything() (measured at 11 positions)",
        "! forbidden, yet used",
        "Tried: tokens [4, 11]",
        "wrote page.html",
    ):
        assert part in out, part
    assert "GPT breaks causal()" in (here / "page.html").read_text(encoding="utf-8")


def test_as_json_nothing_else_is_printed(run: Run, here: Path) -> None:
    words = ("audit", "cli_models:leaking", "--contract", "causal()", "--json", "--html", "p.html")
    code, out, err = run(*words)
    assert code == 1
    facts = json.loads(out)
    assert facts["ok"] is False
    assert facts["findings"][0]["measured"] == "everything()"
    assert "wrote p.html" in err


def test_several_contracts_and_conditions(run: Run, here: Path) -> None:
    words = ("audit", "cli_models:right", "--contract", "causal()", "--contract", "window(left=3)")
    code, out, _ = run(*words, "--condition", "train", "--reinitialise", "--json")
    assert code == 1
    facts = json.loads(out)
    assert facts["contracts"] == ["causal()", "window(left=3)"]
    assert facts["conditions"] == ["train"]
    assert [each["contract"] for each in facts["findings"]] == ["window(left=3)"]


def test_contracts_of_one_input(run: Run, here: Path) -> None:
    words = ("audit", "cli_models:right", "--inputs", "cli_models:moody", "--json")
    code, out, err = run(*words, "--contract", "tokens: causal()")
    assert code == 0, out + err
    code, out, _ = run(*words, "--contract", "tokens: causal()", "--contract", "mood: causal()")
    assert code == 1
    (finding,) = json.loads(out)["findings"]
    assert finding["input"] == "mood"
    assert finding["measured"] == "everything()"


@pytest.mark.parametrize("name", ["ready", "GPT", "with_inputs", "function"])
def test_what_a_target_may_be(run: Run, here: Path, name: str) -> None:
    code, out, err = run("audit", f"cli_models:{name}", "--contract", "causal()")
    assert code == 0, err
    assert " obeys causal()." in out
    assert name != "with_inputs" or "tokens [3, 9]" in out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), "give a model, such as models.gpt:make_model"),
        (("cli_models:right",), "got no contract for GPT; say who may see whom"),
        (("cli_models:right", "--contract", "causl()"), "did you mean 'causal'?\n  causl()\n  ^"),
        (("cli_models.py:right", "--contract", "causal()"), "write its module: cli_models:right"),
        (("cli_models", "--contract", "causal()"), "wanted package.module:name"),
        (("no_such_file:right", "--contract", "causal()"), "there is no module 'no_such_file'"),
        (("cli_models:rigt", "--contract", "causal()"), "did you mean right?"),
        (("cli_models:wants", "--contract", "causal()"), "takes arguments, (layers)"),
        (("cli_models:number", "--contract", "causal()"), "returned a int"),
        (("cli_models:MODELS", "--contract", "causal()"), "has no 'MODELS'"),
        (("cli_models:right", "--contract", "causal()", "--inputs", "x"), "wanted package.module"),
        (
            ("cli_models:right", "--contract", "causal()", "--html", "no/p.html"),
            "lies in no folder",
        ),
        (("cli_models:right", "--contract", "causal()", "--condition", "trian"), "trian"),
        (
            ("cli_models:fails", "--contract", "causal()"),
            f"cli_models.py, line {FAILING_LINE}: ValueError: n_layer must be even; --traceback",
        ),
        (
            ("cli_models:fails_inside", "--contract", "causal()"),
            f"cli_models.py, line {INSIDE_LINE}: JSONDecodeError: ",
        ),
        (("cli_models:leaves", "--contract", "causal()"), "ended the program (exit code 3)"),
        (
            ("cli_models:needy", "--contract", "causal()", "--inputs", "cli_models:tokens"),
            f"It failed in {{here}}/cli_models.py, line {NEEDY_LINE}.",
        ),
        (("cli_broken:x", "--contract", "causal()"), "cli_broken.py, line 2: SyntaxError"),
        (("cli_lacking:x", "--contract", "causal()"), "No module named 'no_such_library_here'"),
    ],
)
def test_bad_usage_and_code_that_fails(
    run: Run, here: Path, words: tuple[str, ...], message: str
) -> None:
    code, out, err = run("audit", *words)
    assert (code, out) == (2, "")
    assert message.replace("{here}", str(here)) in err
    assert "Traceback" not in err
    assert list(here.glob("*.html")) == []


def test_a_traceback_on_request(run: Run, here: Path) -> None:
    words = ("audit", "cli_models:fails", "--contract", "causal()", "--traceback")
    code, out, err = run(*words)
    assert (code, out) == (2, "")
    assert f'cli_models.py", line {FAILING_LINE}, in fails' in err
    assert err.rstrip().endswith("ValueError: n_layer must be even")


def test_the_script_shows_the_leak_by_itself(run: Run, here: Path) -> None:
    words = ("audit", "cli_models:leaking", "--contract", "causal()", "--length", 9)
    code, out, _ = run(*words, "--repro", "leak.py")
    assert code == 1
    assert out.endswith("wrote leak.py: a script that shows a finding\n")
    script = (here / "leak.py").read_text()
    assert "from cli_models import leaking" in script
    # On the model itself, then on its right twin.
    done = subprocess.run(
        [sys.executable, "-c", script + script.replace("leaking", "right")],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
        env={**os.environ, "PYTHONPATH": str(here)},
    )
    assert done.returncode == 0, done.stderr
    said = [line for line in done.stdout.splitlines() if line not in ("models are loaded", "made")]
    assert len(said) == 2
    assert said[0].startswith("it moved by ")
    assert said[1] == "no change"


def test_a_script_is_written_where_there_is_one(run: Run, here: Path) -> None:
    words = ("--contract", "causal()", "--repro", "leak.py")
    code, out, _ = run("audit", "cli_models:right", *words)
    assert code == 0
    assert "did not write leak.py: nothing was found" in out
    assert not (here / "leak.py").exists()


CONFIG = {
    "model_type": "gpt2",
    "architectures": ["GPT2LMHeadModel"],
    "n_embd": 768,
    "n_layer": 12,
    "n_head": 12,
    "vocab_size": 50257,
}


def test_a_config_of_transformers_brings_its_contract(run: Run, here: Path) -> None:
    pytest.importorskip("transformers")
    (here / "config.json").write_text(json.dumps(CONFIG))
    words = ("audit", "--hf-config", "config.json", "--condition", "sdpa", "--length", 11, "--json")
    code, out, err = run(*words)
    facts = json.loads(out)
    assert code == 0, err
    assert facts["contracts"] == ["causal()"]
    assert facts["subject"].startswith("GPT2LMHeadModel")
    code, out, _ = run(*words, "--contract", "causal(strict=True)")
    assert code == 1
    assert json.loads(out)["findings"][0]["contract"] == "causal(strict=True)"


def test_configs_that_are_refused(run: Run, here: Path) -> None:
    pytest.importorskip("transformers")
    (here / "config.json").write_text('{"model_type":')
    code, out, err = run("audit", "--hf-config", "config.json")
    assert (code, out) == (2, "")
    assert "config.json: cannot be read as a config" in err
    assert "It failed" not in err
    code, out, err = run("audit", "--hf-config", "none.json")
    assert (code, out) == (2, "")
    assert "there is no file none.json" in err


def test_a_fingerprint_is_written_and_verified(run: Run, here: Path) -> None:
    code, out, err = run("audit", "cli_models:right", "--fingerprint", "gpt.json", "--length", 9)
    assert code == 0, err
    assert "GPT, tokens [41, 9]\ntokens -> output: causal()\nblocks.0: causal()\n" in out
    assert out.endswith("wrote gpt.json: the fingerprint\n")
    code, out, _ = run("audit", "cli_models:right", "--verify", "gpt.json")
    assert (code, out) == (0, "since gpt.json: same\n")
    code, out, _ = run("audit", "cli_models:leaking", "--verify", "gpt.json")
    assert code == 1
    assert "since gpt.json:\ntokens -> output: was causal(), now everything() (query 0" in out
    assert "\nblocks.1: was causal(), now everything()" in out
    assert "blocks.0" not in out


def test_a_fingerprint_beside_a_contract_as_json(run: Run, here: Path) -> None:
    words = ("--contract", "causal()", "--fingerprint", "new.json", "--json", "--length", 9)
    code, out, err = run("audit", "cli_models:right", *words)
    assert code == 0, err
    facts = json.loads(out)
    assert facts["ok"] is True
    assert facts["fingerprint"][1] == {
        "name": "blocks.0",
        "mask": "causal()",
        "conditions": ["eval"],
    }
    code, out, _ = run("audit", "cli_models:leaking", "--verify", "new.json", "--json")
    assert code == 1
    verified = json.loads(out)["verify"]
    assert verified["same"] is False
    assert len(verified["changes"]) == 2


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--verify", "none.json"), "none.json: No such file"),
        (("--verify", "other.json"), "other.json: this is no fingerprint"),
        (("--verify", "gpt.json", "--inputs", "cli_models:tokens"), "measured on"),
        (("--fingerprint", "no/where.json"), "lies in no folder"),
        (("--fingerprint", "f.json", "--html", "x.html"), "give a --contract too"),
    ],
)
def test_fingerprints_that_are_refused(
    run: Run, here: Path, words: tuple[str, ...], message: str
) -> None:
    (here / "other.json").write_text("{}")
    if "gpt.json" in words:
        assert run("audit", "cli_models:right", "--fingerprint", "gpt.json", "--length", 7)[0] == 0
    code, out, err = run("audit", "cli_models:right", *words)
    assert (code, out) == (2, "")
    assert message in err


def test_the_help_says_that_code_is_run(run: Run) -> None:
    code, out, _ = run("audit", "--help")
    assert code == 0
    assert "imports and runs your code" in out
    assert "Exit codes" in out


def test_the_working_directory_is_importable_in_a_real_process(here: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "sightline", "audit", "cli_models:right", "--contract", "causal()"],
        cwd=here,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("GPT obeys causal().")
