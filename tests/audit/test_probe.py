"""``sl.audit`` itself: what is found, what is silent, what is said, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest

import sightline as sl

torch = pytest.importorskip("torch")

import small_models  # noqa: E402
from torch import nn  # noqa: E402


def only(report: sl.audit.Report) -> sl.audit.Finding:
    assert len(report.findings) == 1, report.findings
    return report.findings[0]


@pytest.mark.parametrize(
    ("fault", "measured"),
    [
        ("all", sl.everything()),
        ("next", sl.window(right=1)),
        ("prefix", sl.causal() | sl.prefix(4)),
    ],
)
def test_a_leak_is_found_and_what_the_model_does_is_said(fault: str, measured: sl.Mask) -> None:
    report = sl.audit(small_models.GPT(fault), sl.causal())
    finding = only(report)
    length = report.sizes["tokens"][1]
    assert finding.kind == "leak"
    assert finding.measured is not None
    assert sl.equivalent(finding.measured, measured, q_len=length)
    assert finding.pairs[0].query == 0
    assert finding.pairs[0].key == 1
    assert not report.ok
    with pytest.raises(sl.AuditFailed) as failed:
        report.check()
    assert failed.value.report is report


def test_a_right_model_is_silent_and_covered_in_full() -> None:
    report = sl.audit(small_models.GPT(), sl.causal())
    assert report.ok
    assert report.notes == ()
    assert report.coverage == 1.0
    assert {"eval", "train", "eval with gradients", "sdpa=math"} <= set(report.conditions)
    assert report.check() is report


@pytest.mark.parametrize(
    ("fault", "where"), [("train", {"train"}), ("gradients", {"train", "eval with gradients"})]
)
def test_a_leak_on_one_path_only_is_found_on_that_path(fault: str, where: set[str]) -> None:
    finding = only(sl.audit(small_models.GPT(fault), sl.causal()))
    assert set(finding.conditions) == where
    assert "eval" in finding.held


def test_the_model_itself_is_not_changed() -> None:
    model = small_models.GPT().train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    sl.audit(model, sl.causal(), reinitialise=True)
    assert model.training
    assert model.head.weight.dtype == torch.float32
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())


def test_a_leak_beyond_a_length_is_found_at_that_length_and_the_pair_is_right() -> None:
    model = small_models.GPT("long")
    assert sl.audit(model, sl.causal(), length=37).ok
    given = torch.from_numpy(np.random.default_rng(0).integers(0, 53, (3, 120)))
    finding = only(sl.audit(model, sl.causal(), given))
    assert finding.matrix is None  # it does not show at the length at which all pairs are measured
    assert finding.pairs[0].query >= 50
    assert finding.pairs[0].key > finding.pairs[0].query


def test_twelve_layers_at_1024_tokens_take_at_most_40_passes() -> None:
    given = torch.from_numpy(np.random.default_rng(0).integers(0, 53, (3, 1024)))
    model = small_models.GPT("prefix", layers=12, at=7, longest=1024)
    report = sl.audit(model, sl.causal(), given, conditions=["eval", "train"])
    assert only(report).pairs[0].key < 4
    assert report.passes <= 40


def test_rounding_is_a_note_and_a_wrapped_convolution_a_leak() -> None:
    right = sl.audit(small_models.Convolution(wraps=False), sl.causal())
    assert right.ok
    assert any("rounding" in note for note in right.notes)
    assert only(sl.audit(small_models.Convolution(wraps=True), sl.causal())).size > 0.01


def test_weights_of_1e_12_are_a_leak_not_rounding() -> None:
    class Faint(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed = nn.Embedding(19, 8)

        def forward(self, tokens: torch.Tensor) -> torch.Tensor:
            x = self.embed(tokens)
            return x.cumsum(1) + 1e-11 * x.flip(1)

    assert only(sl.audit(Faint(), sl.causal())).size < 1e-9


def test_each_input_has_its_own_contract() -> None:
    contract = {"src": sl.everything(), "tgt": sl.causal()}
    assert sl.audit(small_models.Translator(causal=True), contract).ok
    finding = only(sl.audit(small_models.Translator(causal=False), contract))
    assert finding.input == "tgt"
    assert finding.contract == "tgt: causal()"


class Marks(nn.Module):
    """Features: 3 is known beforehand, 4 is the answer, which only later positions may see."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        earlier = torch.zeros_like(x[..., 4])
        earlier[:, 1:] = x[:, :-1, 4].cumsum(1)
        return (x[..., 3] + earlier).unsqueeze(-1)


def test_a_feature_has_its_own_contract() -> None:
    given = torch.from_numpy(np.random.default_rng(0).standard_normal((3, 11, 6)))
    right = {"x[3]": sl.causal(), "x[4]": sl.causal(strict=True), "x[0:3]": sl.nothing()}
    assert sl.audit(Marks(), right, given).ok
    finding = only(sl.audit(Marks(), {"x[3:5]": sl.causal(strict=True)}, given))
    assert finding.pairs[0].query == finding.pairs[0].key


def test_rows_that_meet_are_told_from_positions_that_do() -> None:
    class Rolled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed = nn.Embedding(17, 8)

        def forward(self, tokens: torch.Tensor) -> torch.Tensor:
            x = self.embed(tokens)
            return x + x.roll(1, 0)

    finding = only(sl.audit(Rolled(), sl.causal()))
    assert "other rows" in finding.message


def test_a_norm_over_the_batch_leaks_in_training_only() -> None:
    class Normed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed = nn.Embedding(17, 8)
            self.norm = nn.BatchNorm1d(8)

        def forward(self, tokens: torch.Tensor) -> torch.Tensor:
            return self.norm(self.embed(tokens).transpose(1, 2)).transpose(1, 2)

    assert only(sl.audit(Normed(), sl.causal())).conditions == ("train",)


def test_zero_weights_are_noted_and_reinitialising_shows_what_they_hide() -> None:
    model = small_models.GPT("all")
    for block in model.blocks:
        nn.init.zeros_(block.attention.out.weight)
    hidden = sl.audit(model, sl.causal())
    assert hidden.ok
    assert any("zeros" in note for note in hidden.notes)
    assert not sl.audit(model, sl.causal(), reinitialise=True).ok


def test_nan_is_a_finding_with_its_module() -> None:
    class Empty(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed = nn.Embedding(17, 8)
            self.attend = Attend()

        def forward(self, tokens: torch.Tensor) -> torch.Tensor:
            return self.attend(self.embed(tokens))

    class Attend(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            scores = x @ x.mT
            ahead = torch.ones(scores.shape[-2:], dtype=torch.bool).triu()
            return scores.masked_fill(ahead, -torch.inf).softmax(-1) @ x

    finding = next(f for f in sl.audit(Empty(), sl.causal()).findings if f.kind == "nan")
    assert finding.pairs[0][:2] == (0, 0)
    assert finding.place is not None
    assert finding.place.module == "attend"


def test_plain_functions_of_numpy() -> None:
    given = np.random.default_rng(0).standard_normal((3, 11, 4))
    assert sl.audit(lambda x: np.cumsum(x, axis=1), sl.causal(), given).ok
    finding = only(sl.audit(lambda x: x - x.mean(1, keepdims=True), sl.causal(), given))
    assert finding.measured == sl.everything()


def test_plain_functions_of_jax() -> None:
    numpy = pytest.importorskip("jax.numpy")
    given = np.random.default_rng(0).standard_normal((3, 11, 4)).astype(np.float32)
    assert sl.audit(lambda x: numpy.cumsum(x, axis=1), sl.causal(), given).ok
    assert not sl.audit(lambda x: numpy.cumsum(x[:, ::-1], axis=1)[:, ::-1], sl.causal(), given).ok


def test_time_first_models_are_read_by_their_own_layout() -> None:
    layer = nn.MultiheadAttention(12, 3)
    assert sl.audit(layer, {"key": sl.everything()}).sizes["query"] == (41, 37, 12)
    assert only(sl.audit(layer, {"key": sl.causal()})).measured == sl.everything()
    assert sl.audit(nn.GRU(7, 9), sl.causal()).ok
    assert not sl.audit(nn.GRU(7, 9, bidirectional=True), sl.causal()).ok


def test_packed_documents() -> None:
    packed = sl.causal() & sl.documents(lengths=[20, 12])
    given = torch.from_numpy(np.random.default_rng(0).integers(0, 53, (3, 32)))
    finding = only(sl.audit(small_models.GPT(), packed, given))
    assert finding.measured == sl.causal()
    assert finding.pairs[0][1:] == (20, 0)


def test_own_conditions_are_chosen_by_name() -> None:
    report = sl.audit(small_models.GPT("train"), sl.causal(), conditions=["eval"])
    assert report.ok
    assert report.conditions == ("eval",)


def test_a_model_that_changes_by_itself_is_noted_not_blamed() -> None:
    class Counting(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed = nn.Embedding(17, 8)
            self.calls = 0

        def forward(self, tokens: torch.Tensor) -> torch.Tensor:
            self.calls += 1
            return self.embed(tokens) * self.calls

    report = sl.audit(Counting(), sl.causal())
    assert report.ok
    assert any("different outputs each time" in note for note in report.notes)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: sl.audit(4, sl.causal()), "wanted a torch.nn.Module"),
        (lambda: sl.audit(nn.Linear(3, 4), "causal()"), "wanted a mask"),
        (lambda: sl.audit(nn.Linear(3, 4), []), "empty contract"),
        (lambda: sl.audit(lambda x: x, sl.causal()), "give inputs="),
        (lambda: sl.audit(nn.Linear(3, 4), sl.causal(), np.zeros((2, 9), int)), "varies"),
        (lambda: sl.audit(nn.Linear(3, 4), sl.causal(), np.zeros((2, 9, 5))), "fails on its"),
        (lambda: sl.audit(nn.Conv1d(3, 4, 3), sl.causal()), "accepts none of the inputs"),
        (lambda: sl.audit(nn.Identity(), sl.causal()), "no layer that tells"),
        (lambda: sl.audit(nn.Linear(3, 4), {"y": sl.causal()}), "the inputs that vary are input"),
        (lambda: sl.audit(nn.Linear(3, 4), {"input -> z": sl.causal()}), "wanted the output 'z'"),
        (lambda: sl.audit(nn.Linear(3, 4), {"input[9]": sl.causal()}), "last axis"),
        (lambda: sl.audit(nn.Linear(3, 4), sl.causal(), conditions=["tran"]), "this model has"),
        (lambda: sl.audit(nn.Linear(3, 4), sl.causal(), passes=2), "at least 8"),
        (lambda: sl.audit(nn.Linear(3, 4), sl.causal(), dtype="int8"), "float64, float32 or own"),
        (lambda: sl.audit(nn.Linear(3, 4), sl.padding(lengths=[3, 2])), "2 batch rows"),
    ],
)  # fmt: skip
def test_refusals_say_what_is_wanted(call: object, words: str) -> None:
    with pytest.raises(sl.SightlineError) as refused:
        call()  # type: ignore[operator]
    assert words in str(refused.value)


@pytest.mark.parametrize("fault", ["", "all", "next", "prefix"])
def test_gradients_say_what_changes_say(fault: str) -> None:
    model = small_models.GPT(fault)
    by_change = sl.audit(model, sl.causal())
    by_gradient = sl.audit(model, sl.causal(), method="gradients")
    assert by_gradient.ok == by_change.ok == (fault == "")
    if fault:
        assert only(by_gradient).measured == only(by_change).measured


def test_gradients_of_rounding_are_silent_and_of_features_exact() -> None:
    assert sl.audit(small_models.Convolution(wraps=False), sl.causal(), method="gradients").ok
    assert not sl.audit(small_models.Convolution(wraps=True), sl.causal(), method="gradients").ok
    given = torch.from_numpy(np.random.default_rng(0).standard_normal((3, 11, 6)))
    right = {"x[3]": sl.causal(), "x[4]": sl.causal(strict=True)}
    assert sl.audit(Marks(), right, given, method="gradients").ok
    wrong = {"x[3:5]": sl.causal(strict=True)}
    assert not sl.audit(Marks(), wrong, given, method="gradients").ok


def test_a_gradient_shows_what_the_values_tried_do_not() -> None:
    class Hardly(nn.Module):
        """The last position counts only while it is nearly what it was at first."""

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            near = torch.relu(1e-3 - (x[:, -1:] - anchor[:, -1:]).abs())
            return x.cumsum(1) + near * torch.linspace(1, 2, x.shape[1], dtype=x.dtype)[:, None]

    anchor = torch.from_numpy(np.random.default_rng(0).standard_normal((3, 11, 4)))
    given = anchor + 1e-5
    finding = only(sl.audit(Hardly(), sl.causal(), given, method="gradients"))
    assert finding.kind == "leak"


def test_gradients_that_do_not_flow_are_refused_not_taken_for_obedience() -> None:
    class Choice(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x.argmax(-1, keepdim=True).double()

    with pytest.raises(sl.InvalidArgument, match="no gradient flows"):
        sl.audit(Choice(), sl.causal(), torch.randn(3, 11, 4), method="gradients")


def test_a_model_that_answers_for_the_last_position_only_is_told_what_to_do() -> None:
    class Last(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed = nn.Embedding(31, 8)

        def forward(
            self, tokens: torch.Tensor, targets: torch.Tensor | None = None
        ) -> torch.Tensor:
            x = self.embed(tokens).cumsum(1)
            return x if targets is not None else x[:, [-1]]

    with pytest.raises(sl.InvalidArgument, match="answer for the last position only"):
        sl.audit(Last(), sl.causal())
    tokens = torch.from_numpy(np.random.default_rng(0).integers(0, 31, (3, 17)))
    assert sl.audit(Last(), sl.causal(), {"tokens": tokens, "targets": tokens.roll(-1, 1)}).ok


def test_passes_with_gradients_keep_nothing_for_a_backward_pass() -> None:
    dropped: list[bool] = []

    class Saving(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed = nn.Embedding(31, 8)

        def forward(self, tokens: torch.Tensor) -> torch.Tensor:
            x = self.embed(tokens).exp()
            if torch.is_grad_enabled():
                try:
                    dropped.append(x.grad_fn._saved_result is None)
                except Exception:
                    dropped.append(True)
            return x.cumsum(1)

    assert sl.audit(Saving(), sl.causal()).ok
    assert dropped
    assert all(dropped)


def test_a_model_that_runs_a_backward_pass_inside_is_run_with_what_it_needs() -> None:
    class Sloped(nn.Module):
        def __init__(self, *, leaks: bool) -> None:
            super().__init__()
            self.embed = nn.Embedding(31, 8)
            self.leaks = leaks

        def forward(self, tokens: torch.Tensor) -> torch.Tensor:
            with torch.enable_grad():
                x = self.embed(tokens).detach().requires_grad_()
                total = (x.mean(1) if self.leaks else x).pow(3).sum()
                return torch.autograd.grad(total, x)[0]

    right = sl.audit(Sloped(leaks=False), sl.causal())
    assert right.ok
    assert right.notes == ()
    assert set(right.conditions) == {"eval", "eval with gradients", "train"}
    assert not sl.audit(Sloped(leaks=True), sl.causal()).ok


def test_compiled_models_are_audited_like_others() -> None:
    compiled = torch.compile(small_models.GPT("next"), backend="eager")
    assert only(sl.audit(compiled, sl.causal(), batch=3)).measured == sl.window(right=1)
