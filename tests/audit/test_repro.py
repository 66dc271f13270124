"""The script that shows a leak: it runs as it is, and says "no change" for the right twin."""

from __future__ import annotations

import os
import runpy
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import sightline as sl
from sightline.audit.contracts import Clause
from sightline.audit.findings import Finding, Matrix, Pair
from sightline.audit.probing.feed import Feed, Input
from sightline.audit.probing.runner import Counter, Runner
from sightline.audit.probing.subject import Condition, FunctionSubject
from sightline.audit.probing.torch_subject import TorchSubject
from sightline.audit.probing.visibility import Search, Target
from sightline.audit.reporting.literals import literal
from sightline.audit.reporting.repro import repro

Capture = pytest.CaptureFixture[str]
BATCH, LENGTH, WIDTH, VOCAB = 3, 13, 5, 23

MODELS = f"""
import torch

class Tokens(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.embed = torch.nn.Embedding({VOCAB}, {WIDTH})
        self.drop = torch.nn.Dropout(0.3)
    def forward(self, tokens, attention_mask=None):
        x = self.drop(self.embed(tokens))
        mean = x.mean(1, keepdim=True)
        if attention_mask is not None:
            mean = mean * attention_mask.sum()
        return {{"logits": x + mean}}

class Right(Tokens):
    def forward(self, tokens, attention_mask=None):
        return {{"logits": self.drop(self.embed(tokens)).cumsum(1)}}

class Trains(Tokens):
    def forward(self, tokens, attention_mask=None):
        found = super().forward(tokens)["logits"]
        own = Right.forward(self, tokens)["logits"]
        return {{"logits": found if self.training and torch.is_grad_enabled() else own}}

class Features(torch.nn.Module):
    def __init__(self, width):
        super().__init__()
        self.linear = torch.nn.Linear(width, 7)
    def forward(self, clicks):
        x = self.linear(clicks)
        return x, x + x.flip(1)

class TimeFirst(Features):
    def forward(self, clicks):
        x = self.linear(clicks)
        return x, x + x.flip(0)

def tokens(): return Tokens()
def right(): return Right()
def trains(): return Trains()
def features(): return Features({WIDTH}), {{}}
def time_first(): return TimeFirst({WIDTH})
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    (folder / "leaky.py").write_text(MODELS, encoding="utf-8")
    return folder


def run(script: str, folder: Path, capsys: Capture) -> str:
    """Run a script as if it were a program, in this process."""
    file = folder / "script.py"
    file.write_text(script, encoding="utf-8")
    sys.path.insert(0, str(folder))
    capsys.readouterr()
    try:
        runpy.run_path(str(file), run_name="__main__")
    finally:
        sys.path.remove(str(folder))
    return capsys.readouterr().out.strip()


def searched(model: Any, feed: Feed, condition: Condition, **options: Any) -> Search:
    features = options.pop("features", None)
    subject = TorchSubject(model, **options)
    target = Target(Clause(sl.causal()), tuple(feed.varying), LENGTH, features)
    return Search(Runner(subject, condition, Counter()), feed, {}, target)


def found(**more: Any) -> Finding:
    fields: dict[str, Any] = {"input": "tokens", "output": "logits", "pairs": (Pair(1, 3, 9),)}
    return Finding("leak", "causal()", "it leaks", **{**fields, **more})


def token_feed() -> Feed:
    values = np.random.default_rng(0).integers(0, VOCAB, (BATCH, LENGTH))
    return Feed({"tokens": Input("tokens", values, "tokens", np.arange(VOCAB))})


def click_feed() -> Feed:
    values = np.random.default_rng(0).standard_normal((BATCH, LENGTH, WIDTH))
    return Feed({"clicks": Input("clicks", values, "features")}, positional=1)


def script(
    folder: Path, factory: str, feed: Feed, condition: Condition, finding: Finding, **o: Any
) -> str:
    namespace: dict[str, Any] = {"__name__": "leaky"}
    sys.path.insert(0, str(folder))
    try:
        namespace = vars(__import__("leaky"))
    finally:
        sys.path.remove(str(folder))
    made = namespace[factory]()
    search = searched(made[0] if isinstance(made, tuple) else made, feed, condition, **o)
    search.runner.subject.source = f"leaky:{factory}"  # type: ignore[attr-defined]
    return repro(search, finding)


@pytest.mark.parametrize("reinitialise", [False, True])
def test_tokens_from_a_factory(folder: Path, capsys: Capture, reinitialise: bool) -> None:
    made = {
        factory: script(
            folder, factory, token_feed(), Condition("eval"), found(), reinitialise=reinitialise
        )
        for factory in ("tokens", "right")
    }
    assert run(made["tokens"], folder, capsys).startswith("it moved by")
    assert run(made["right"], folder, capsys) == "no change"
    written = [line for line in made["tokens"].splitlines() if line]
    assert len(written) < 25, made["tokens"]
    assert "causal() forbids it: logits at 3 reads tokens at 9" in written[0]


@pytest.mark.slow
def test_as_a_program_of_its_own(folder: Path) -> None:
    made = script(folder, "tokens", token_feed(), Condition("eval"), found())
    done = subprocess.run(
        [sys.executable, "-c", made], capture_output=True, text=True, check=False, timeout=300,
        env={**os.environ, "PYTHONPATH": str(folder), "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("it moved by")


def test_only_under_its_condition(folder: Path, capsys: Capture) -> None:
    made = [
        script(folder, "trains", token_feed(), Condition(name), found())
        for name in ("train", "eval", "eval with gradients")
    ]
    said = [run(each, folder, capsys) for each in made]
    assert said[0].startswith("it moved by")
    assert said[1:] == ["no change", "no change"]


def test_masks_that_a_condition_gives(folder: Path, capsys: Capture) -> None:
    def given(value: int) -> Condition:
        mask = np.full((BATCH, LENGTH), value, dtype=np.int64)
        return Condition("attention_mask=ones", lambda feed: {"attention_mask": mask})

    said = [
        run(script(folder, "tokens", token_feed(), given(value), found()), folder, capsys)
        for value in (1, 0)
    ]
    assert said[0].startswith("it moved by")
    assert said[1] == "no change"


@pytest.mark.parametrize("key", [9, 8])
@pytest.mark.parametrize("time_first", [False, True])
def test_features_by_position(folder: Path, capsys: Capture, key: int, time_first: bool) -> None:
    """Position 3 reads position 9 of 13, turned round, and not position 8."""
    finding = found(input="clicks", output="1", pairs=(Pair(2, 3, key),))
    factory = "time_first" if time_first else "features"
    made = script(folder, factory, click_feed(), Condition("eval"), finding,
                  time_first=time_first, features=slice(1, 3))  # fmt: skip
    said = run(made, folder, capsys)
    assert (said == "no change") == (key == 8)
    assert f"[0, {key}, ..., 1:3]" in made


def test_a_pair_that_was_found_at_another_length(folder: Path, capsys: Capture) -> None:
    values = np.random.default_rng(0).integers(0, VOCAB, (BATCH, 80))
    feed = Feed({"tokens": Input("tokens", values, "tokens", np.arange(VOCAB))})
    matrix = Matrix(np.tri(11, dtype=bool), np.ones((11, 11), dtype=bool))
    made = script(folder, "tokens", feed, Condition("eval"), found(matrix=matrix))
    assert run(made, folder, capsys).startswith("it moved by")
    (line,) = [line for line in made.splitlines() if line.startswith("tokens = ")]
    assert len(eval(line.partition("torch.tensor")[2])[0]) == 11  # noqa: S307, our own line
    long = script(folder, "tokens", feed, Condition("eval"), found())
    assert "default_rng(0).integers(0, 23, (1, 80))" in long
    assert run(long, folder, capsys).startswith("it moved by")


def test_a_config_of_transformers(folder: Path, capsys: Capture) -> None:
    transformers = pytest.importorskip("transformers")
    config = transformers.BertConfig(
        vocab_size=VOCAB, hidden_size=12, num_hidden_layers=2, num_attention_heads=2,
        intermediate_size=19, max_position_embeddings=31,
    )  # fmt: skip
    tokens = token_feed().inputs["tokens"]
    feed = Feed({"input_ids": Input("input_ids", tokens.values, "tokens", tokens.choices)})
    finding = found(input="input_ids", output="last_hidden_state")
    triangle = np.tri(LENGTH, dtype=bool)[None, None].repeat(BATCH, axis=0)
    conditions = [
        Condition("eager"),
        Condition("sdpa, attention_mask=4-D", lambda feed: {"attention_mask": triangle}),
    ]
    said = []
    for condition in conditions:
        made = repro(searched(transformers.BertModel(config), feed, condition), finding)
        assert "transformers.BertConfig(" in made
        assert "hidden_size=12" in made
        said.append(run(made, folder, capsys))
    assert said[0].startswith("it moved by")
    assert said[1] == "no change"


def test_models_that_only_their_users_can_build() -> None:
    made = repro(searched(torch.nn.Linear(WIDTH, 7), click_feed(), Condition("eval")),
                 found(input="clicks", output="output"))  # fmt: skip
    assert "from torch.nn.modules.linear import Linear" in made
    assert "model = Linear(...)  # as you build it" in made

    class Local(torch.nn.Module):
        pass

    made = repro(searched(Local(), click_feed(), Condition("eval")),
                 found(input="clicks", output="output"))  # fmt: skip
    assert "model = ...  #" in made


def test_nothing_is_written_without_a_pair_or_a_module() -> None:
    search = searched(torch.nn.Linear(WIDTH, 7), click_feed(), Condition("eval"))
    assert repro(search, found(pairs=())) == ""
    target = Target(Clause(sl.causal()), ("clicks",), LENGTH)
    runner = Runner(FunctionSubject(np.cumsum), Condition("as called"), Counter())
    assert repro(Search(runner, click_feed(), {}, target), found()) == ""


def test_literals_mean_their_arrays() -> None:
    rows = np.random.default_rng(0).integers(0, 9, (1, 21))
    triangle = np.tri(7, dtype=bool)
    for array in (
        rows,
        np.array([[1] * 11 + [0] * 4]),
        rows > 4,
        np.tri(17, 19, dtype=bool)[None, None],
        ~np.tri(17, dtype=bool)[None],
        np.where(np.tri(17, dtype=bool), 0.0, -np.inf),
        np.where(triangle, 0.0, np.finfo(np.float32).min)[None, None],
        np.arange(12).reshape(2, 2, 3),
    ):
        written = literal(array)
        assert written is not None
        read = eval(written, {"torch": torch})  # noqa: S307, our own text
        assert read.shape == array.shape
        assert np.array_equal(read.double().numpy(), array.astype(float))
    assert literal(np.random.default_rng(0).random((17, 17)) > 0.5) is None
    assert literal(np.arange(300)[None]) is None
