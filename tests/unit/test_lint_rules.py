"""Each rule of the lint: what it finds, and code that looks the same and is right."""

from __future__ import annotations

import pytest
from linted import HEAD, found, inside

from sightline.audit.lint import lint_text
from sightline.audit.lint_rules.table import NAMES, all_rules, find_rule
from sightline.audit.linting.rule import LintRule

RULES = all_rules()


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
def test_the_wrong_example_is_found_by_its_rule_alone(rule: LintRule) -> None:
    findings = lint_text(rule.wrong)
    assert [each.rule for each in findings] == [rule.name]
    assert findings[0].severity == rule.severity


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
def test_the_right_example_is_silent_under_all_rules(rule: LintRule) -> None:
    assert lint_text(rule.right) == ()


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
def test_a_rule_is_complete(rule: LintRule) -> None:
    assert rule.name in NAMES
    assert find_rule(rule.name) is rule
    assert rule.concerns(rule.wrong), "words leave out what the rule is about"
    assert rule.meaning.endswith(".")
    for code in (rule.wrong, rule.right):
        compile(code, rule.name, "exec")


# -- what is thrown away ------------------------------------------------------------------------


@pytest.mark.parametrize(
    "line",
    [
        "scores.masked_fill(mask, float('-inf'))",
        "torch.where(mask, scores, 0)",
        "torch.masked_fill(scores, mask, 0)",
        "torch.logical_not(mask)",
        "np.where(mask, scores, 0)",
        "mask.unsqueeze(1)",
        "mask.tril()",
        "F.softmax(scores, dim=-1)",
        "scores.softmax(-1)",
        "scores[0].masked_fill(mask == 0, -1e9)",
    ],
)
def test_a_result_that_is_thrown_away(line: str) -> None:
    assert found(f"def f(scores, mask):\n    {line}\n") == ["discarded-masked-fill"]


@pytest.mark.parametrize(
    "line",
    [
        "scores.masked_fill_(mask, float('-inf'))",
        "scores = scores.masked_fill(mask, float('-inf'))",
        "return scores.masked_fill(mask, float('-inf'))",
        "torch.tril(mask, out=scores)",
        "torch.where(mask, scores, 0, out=scores)",
        "self.ctc.softmax(scores)",
        "model.softmax()",
        "progress.unsqueeze()",
        "scores.fill_(0)",
        "np.logical_not(mask, mask)",
        "model.logical_not(mask, mask)",
        "model.softmax(scores, dim=-1)",
        "np.logical_and(mask, scores, mask)",
        "(scores.masked_fill(mask, 0)).sum().backward()",
        "with pytest.raises(RuntimeError):\n        scores.masked_fill(mask, 'x')",
        "try:\n        scores.softmax(-1)\n    except RuntimeError:\n        pass",
    ],
)
def test_a_result_that_is_used_or_meant_to_fail(line: str) -> None:
    assert found(f"def f(self, model, progress, scores, mask):\n    {line}\n") == []


def test_what_is_timed_is_thrown_away_on_purpose() -> None:
    assert found("def benchmark_softmax(scores):\n    scores.softmax(-1)\n") == []


# -- triangles ------------------------------------------------------------------------------------

FORWARD_ONLY = [
    "sdpa(q, k, v, attn_mask=torch.triu(torch.ones(n, n), 1).bool())",
    "sdpa(q, k, v, torch.ones(n, n, dtype=torch.bool).triu(1))",
    "sdpa(q, k, v, ~torch.ones(n, n, dtype=torch.bool).tril())",
    "sdpa(q, k, v, torch.triu(torch.ones(n, n)) == 1)",
    "self.attention(x, x, x, attn_mask=torch.tril(torch.ones(n, n)).bool())",
    "self.attention(x, x, x, attn_mask=self.lower[:n, :n] == 1)",
    "self.attention(x, x, x, None, False, torch.tril(torch.ones(n, n)).bool())",
    "self.layer(x, torch.tril(torch.ones(n, n, dtype=torch.bool)))",
    "self.layer(x, src_mask=torch.ones(n, n).tril().to(dtype=torch.bool, device=x.device))",
    "self.encoder(x, mask=torch.from_numpy(np.tril(np.ones((n, n), dtype=bool))))",
    "self.both(x, x, tgt_mask=torch.tril(torch.ones(n, n)) > 0)",
    "x = q.bmm(k.mT).masked_fill(torch.tril(torch.ones(n, n)).bool(), -1e9).softmax(-1)",
    "x = torch.where(torch.tril(torch.ones(n, n)) == 1, float('-inf'), x); x = x.softmax(-1)",
    "x = x.masked_fill(self.lower[:n, :n] == 1, float('-inf')); x = F.softmax(x, dim=-1)",
    "x = torch.where(torch.triu(torch.ones(n, n), 1).bool(), x, -1e9); x = torch.softmax(x, -1)",
    "m = torch.tril(torch.ones(n, n)); m = m.masked_fill(m == 1, -torch.inf); self.layer(x, m)",
    "m = torch.tril(torch.full((n, n), -1e9)); x = (q @ k.mT / 8 + m).softmax(dim=-1)",
]


@pytest.mark.parametrize("line", FORWARD_ONLY)
def test_a_triangle_that_sees_only_the_future(line: str) -> None:
    assert found(inside(*line.split("; "))) == ["triangle-sense"]


@pytest.mark.parametrize(
    "line",
    [
        "self.attention(x, x, x, attn_mask=torch.triu(torch.ones(n, n)).bool())",
        "self.layer(x, src_mask=torch.triu(torch.full((n, n), float('-inf'))))",
        "x = x.masked_fill(torch.triu(torch.ones(n, n)) == 1, float('-inf')).softmax(dim=-1)",
        "sdpa(q, k, v, torch.tril(torch.ones(n, n), -1).bool())",
    ],
)
def test_a_triangle_that_forbids_oneself(line: str) -> None:
    assert found(inside(line)) == ["triangle-sense"]


@pytest.mark.parametrize(
    "line",
    [
        "sdpa(q, k, v, attn_mask=torch.tril(torch.ones(n, n)).bool())",
        "sdpa(q, k, v, ~torch.triu(torch.ones(n, n), 1).bool())",
        "sdpa(q, k, v, torch.triu(torch.full((n, n), -1e9), diagonal=1))",
        "sdpa(q, k, v, torch.triu(torch.ones(n, n), -3).bool())",
        "self.attention(x, x, x, attn_mask=torch.triu(torch.ones(n, n), diagonal=1).bool())",
        "self.attention(x, x, x, attn_mask=~torch.tril(torch.ones(n, n)).bool())",
        "self.attention(x, x, x, attn_mask=torch.tril(torch.ones(n, n)) == 0)",
        "self.attention(x, x, x, attn_mask=torch.tril(torch.ones(n, n)).bool().logical_not())",
        "self.attention(x, x, x, attn_mask=(torch.triu(torch.ones(n, n)) == 1).T.logical_not())",
        "self.attention(x, x, x, attn_mask=nn.Transformer.generate_square_subsequent_mask(n))",
        "self.attention(x, x, x, attn_mask=torch.tril(torch.ones(n, n), -8).bool())",
        "self.layer(x, src_mask=torch.triu(torch.ones(n, n) * float('-inf'), diagonal=1))",
        "x = x.masked_fill(self.lower[:n, :n] == 0, float('-inf')).softmax(-1)",
        "x = x.masked_fill(torch.tril(torch.ones(n, n)) != 1, float('-inf')).softmax(-1)",
        "x = x.masked_fill(1 - self.lower > 0, float('-inf')).softmax(-1)",
        "x = torch.where(self.lower[:n, :n] == 1, x, float('-inf')).softmax(-1)",
        "x = torch.where(torch.triu(torch.ones(n, n), 1) == 1, -1e9, x).softmax(-1)",
        "m = torch.triu(torch.full((n, n), -1e9), 1); x = (q @ k.mT / 8 + m).softmax(dim=-1)",
        "m = torch.tril(torch.full((n, n), -1e9)); x = (x + m).sum(dim=-1)",
        # Scores of spans, which are not attention: the end comes after the begin.
        "x = x.masked_fill(torch.tril(torch.ones(n, n), -1).bool(), -1e9)",
        "m = torch.triu(torch.ones(n, n)).bool() if n else mask; self.layer(x, m)",
        "mask &= torch.tril(torch.ones(n, n)).bool(); self.attention(x, x, x, attn_mask=mask)",
        "self.attention(x, x, x, attn_mask=torch.tril(torch.ones(n, n), diagonal=n).bool())",
        "backward = torch.tril(torch.ones(n, n)).bool(); self.layer(x, backward)",
    ],
)
def test_a_triangle_that_is_right_or_may_be(line: str) -> None:
    assert found(inside(*line.split("; "))) == []


@pytest.mark.parametrize(
    ("band", "chosen", "rules"),
    [
        ("-1, 0", "m == 1, -1e9, x", 1),
        ("0, -1", "m == 1, x, -1e9", 1),
        ("-1, 0", "m == 0, -1e9, x", 0),
        ("3, 0", "m == 1, -1e9, x", 0),
    ],
)
def test_a_band_of_tensorflow(band: str, chosen: str, rules: int) -> None:
    lines = (
        f"m = tf.linalg.band_part(tf.ones((n, n)), {band})",
        f"x = tf.nn.softmax(tf.where({chosen}))",
    )
    assert found(inside(*lines)) == ["triangle-sense"] * rules


def test_the_message_says_what_true_means_there() -> None:
    for line, sense in (
        ("sdpa(q, k, v, torch.triu(torch.ones(n, n), 1).bool())", "True may attend in attn_mask"),
        ("self.layer(x, torch.tril(torch.ones(n, n)).bool())", "True is forbidden in src_mask"),
    ):
        (finding,) = lint_text(HEAD + inside(line))
        assert sense in finding.message
    (finding,) = lint_text(HEAD + inside("self.layer(x, torch.triu(torch.full((n, n), -1e9)))"))
    assert "True" not in finding.message, "what is added has no such sense"


def test_the_well_known_causal_mask_of_transposed_ones() -> None:
    lines = (
        "m = (torch.triu(torch.ones(n, n)) == 1).transpose(0, 1)",
        "m = m.float().masked_fill(m == 0, float('-inf')).masked_fill(m == 1, float(0.0))",
        "x = self.encoder(x, m)",
    )
    assert found(inside(*lines)) == []
    turned = (lines[0].replace(".transpose(0, 1)", ""), *lines[1:])
    assert found(inside(*turned)) == ["triangle-sense"]


def test_a_mask_is_followed_through_a_function_of_the_same_file() -> None:
    helper = "def causal(n):\n    m = torch.{}(torch.ones(n, n){})\n    return m.bool()\n"
    call = inside("x = self.layer(x, src_mask=causal(n).to(x.device))")
    assert found(helper.format("tril", "") + call) == ["triangle-sense"]
    assert found(helper.format("triu", ", 1") + call) == []


MADE = "m = torch.tril(torch.ones(n, n)).bool()"


@pytest.mark.parametrize(
    ("lines", "rules"),
    [
        (f"{MADE}; self.layer(x, m)", 1),
        (f"{MADE}; y = [self.layer(each, m) for each in x]", 1),
        ("a, m = x, torch.tril(torch.ones(n, n)).bool(); self.layer(x, m)", 1),
        ("self.layer(x, (m := torch.tril(torch.ones(n, n)).bool()))", 1),
        (f"{MADE}; b = m; m = mask; self.layer(x, b)", 1),
        # Something else, or perhaps something else, by the time that it is used.
        (f"{MADE}; m = mask; self.layer(x, m)", 0),
        (f"{MADE}; f = lambda m: self.layer(x, m)", 0),
        (f"{MADE}; y = [self.layer(x, m) for m in mask]", 0),
        (f"{MADE}; m[0] = False; self.layer(x, m)", 0),
        (f"{MADE}; m.logical_not_(); self.layer(x, m)", 0),
        (f"{MADE}; m |= mask; self.layer(x, m)", 0),
        (f"{MADE}; a, m = mask; self.layer(x, m)", 0),
        (f"{MADE}\n        if n:\n            m = mask\n        self.layer(x, m)", 0),
        (f"{MADE}\n        for m in mask:\n            self.layer(x, m)", 0),
        (f"{MADE}\n        for i in x:\n            self.layer(x, m)\n            m = mask", 0),
        (f"{MADE}\n        with mask as m:\n            self.layer(x, m)", 0),
        (f"{MADE}\n        with mask as (m, n):\n            self.layer(x, m)", 0),
        (f"try:\n            {MADE}\n        except E as m:\n            self.layer(x, m)", 0),
        (f"{MADE}\n        match x:\n            case [m]:\n                self.layer(x, m)", 0),
        (f"{MADE}\n        import m\n        self.layer(x, m)", 0),
        (f"if n:\n            {MADE}\n        self.layer(x, m)", 0),
        (f"{MADE}\n        def inner(m):\n            self.layer(x, m)", 0),
    ],
)
def test_a_name_is_followed_to_the_assignment_that_reaches_it(lines: str, rules: int) -> None:
    assert found(inside(*lines.split("; "))) == ["triangle-sense"] * rules


def test_an_attribute_of_two_values_is_not_known() -> None:
    use = "self.layer(x, self.lower == 1)"
    assert found(inside(use)) == ["triangle-sense"]
    for other in ("self.lower = mask", "self.lower[0] = 0", "self.lower.zero_()"):
        assert found(inside(other, use)) == []
    assert found(inside("self.layer = mask", use)) == []


def test_each_of_several_layers_is_known() -> None:
    loop = "for layer in self.layers:\n            x = layer(x, src_mask={})"
    assert found(inside(loop.format("torch.tril(torch.ones(n, n)).bool()"))) == ["triangle-sense"]
    assert found(inside(loop.format("torch.triu(torch.ones(n, n), 1).bool()"))) == []


# -- floats, flags, heads -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "rules"),
    [
        ("self.attention(x, x, x, attn_mask=torch.tril(torch.ones(n, n)))", 1),
        ("self.attention(x, x, x, key_padding_mask=(mask == 0).float())", 1),
        ("sdpa(q, k, v, attn_mask=self.lower[:n, :n])", 1),
        ("sdpa(q, k, v, attn_mask=torch.ones(n, n, dtype=q.dtype).tril())", 1),
        ("sdpa(q, k, v, attn_mask=torch.tril(torch.ones(n, n)).to(query.dtype))", 1),
        ("sdpa(q, k, v, attn_mask=torch.ones(n, n, dtype=mask.dtype).tril())", 0),
        ("sdpa(q, k, v, 1 - torch.triu(torch.ones(n, n), 1))", 1),
        ("s = q @ k.mT; s = s + self.lower[:n, :n]; x = s.softmax(-1)", 1),
        ("s = q @ k.mT; s = s + mask; x = s.softmax(-1)", 0),
        ("s = q @ k.mT; s = s * self.lower[:n, :n] + 1; x = s.sum(-1)", 0),
        ("self.attention(x, x, x, key_padding_mask=mask == 0)", 0),
        ("self.attention(x, x, x, attn_mask=mask.float())", 0),
        ("sdpa(q, k, v, attn_mask=torch.full((n, n), 1.0).tril())", 1),
        ("sdpa(q, k, v, attn_mask=torch.full((n, n), 0.0).tril())", 0),
        ("sdpa(q, k, v, attn_mask=torch.full((n, n), True).tril())", 0),
        ("self.attention(x, x, x, key_padding_mask=((x == 0) & padding).float())", 1),
        ("self.attention(x, x, x, key_padding_mask=(mask & padding).float())", 0),
        ("sdpa(q, k, v, attn_mask=torch.from_numpy(np.tri(n)))", 1),
        ("sdpa(q, k, v, attn_mask=torch.from_numpy(np.tri(n, dtype=bool)))", 0),
        ("sdpa(q, k, v, attn_mask=torch.from_numpy(np.tri(n, n, 0, bool)))", 0),
        ("sdpa(q, k, v, attn_mask=torch.zeros(n, n))", 0),
        ("sdpa(q, k, v, (1 - self.lower) * -1e9)", 0),
        ("sdpa(q, k, v, torch.tril(torch.ones_like(mask)))", 0),
        ("sdpa(q, k, v, np.tril(np.ones((n, n), bool)))", 0),
    ],
)
def test_floats_of_zero_and_one(line: str, rules: int) -> None:
    assert found(inside(*line.split("; "))) == ["float-zero-one-mask"] * rules


@pytest.mark.parametrize(
    ("line", "rules"),
    [
        ("sdpa(q, k, v, mask, is_causal=True)", 1),
        ("self.attention(x, x, x, is_causal=True)", 1),
        ("self.encoder(x, src_key_padding_mask=padding, is_causal=True)", 1),
        (
            "self.layer(x, src_mask=torch.triu(torch.ones(n, n), 1).bool() & mask, is_causal=True)",
            1,
        ),
        ("sdpa(q, k, v, attn_mask=None, is_causal=True)", 0),
        ("sdpa(q, k, v, attn_mask=mask, is_causal=mask is None)", 0),
        ("sdpa(q, k, v, attn_mask=mask, is_causal=False)", 0),
        ("x = sdpa(q, k, v, mask, is_causal=True) if mask is None else x", 0),
        ("x = sdpa(q, k, v, mask, is_causal=True) if padding is None else x", 1),
        ("self.encoder(x, mask=mask, is_causal=True)", 0),
        ("self.attention(x, x, x, is_causal=True, **mask)", 0),
    ],
)
def test_is_causal(line: str, rules: int) -> None:
    assert found(inside(line)) == ["is-causal-with-mask"] * rules


@pytest.mark.parametrize(
    ("line", "rules"),
    [
        ("self.attention(x, x, x, attn_mask=mask.repeat(self.heads, 1, 1))", 1),
        ("m = mask.repeat(self.heads, 1, 1).to(x.device); self.layer(x, ~m)", 1),
        ("x = self.decoder(tgt=x, memory=x, tgt_mask=mask.repeat(self.heads, 1, 1))", 1),
        ("self.attention(x, x, x, attn_mask=mask.repeat_interleave(self.heads, dim=0))", 0),
        ("self.attention(x, x, x, attn_mask=mask.repeat(n, 1, 1))", 0),
        ("self.attention(x, x, x, attn_mask=mask.repeat(n * self.heads, 1, 1))", 0),
        ("m = torch.triu(torch.ones(1, n, n), 1).bool(); "
         "self.attention(x, x, x, attn_mask=m.repeat(self.heads, 1, 1))", 0),
        ("x = x.masked_fill(mask.repeat(self.heads, 1, 1), -1e9).softmax(-1)", 0),
    ],
)  # fmt: skip
def test_repeat(line: str, rules: int) -> None:
    assert found(inside(*line.split("; "))) == ["repeat-for-repeat-interleave"] * rules


# -- padding --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("lines", "rules"),
    [
        ("sdpa(q, k, v, attn_mask=padding[:, None, :, None])", 1),
        ("m = (x != self.pad_id).unsqueeze(1).unsqueeze(3); sdpa(q, k, v, m)", 1),
        ("s = q @ k.transpose(-2, -1); s = s.masked_fill(padding.unsqueeze(1).unsqueeze(-1), -1e9);"
         " x = s.softmax(-1)", 1),
        ("sdpa(q, k, v, attn_mask=padding[:, None, None, :])", 0),
        ("sdpa(q, k, v, attn_mask=mask[:, None, :, None])", 0),
        ("m = padding[:, None, :, None] & padding[:, None, None]; sdpa(q, k, v, m)", 0),
        # Rows of padding are blotted out besides.
        ("s = q @ k.transpose(-2, -1); s = s.masked_fill(padding[:, None, None, :], -1e9);"
         " s = s.masked_fill(padding[:, None, :, None], -1e9); x = s.softmax(-1)", 0),
        # Pooling has a score for each position, and goes along the other axis.
        ("s = self.score(x).masked_fill(padding[:, None, :, None], -1e9); x = s.softmax(2)", 0),
        ("v = v.masked_fill(padding[:, None, :, None], 0)", 0),
    ],
)  # fmt: skip
def test_padding_along_the_queries(lines: str, rules: int) -> None:
    assert found(inside(*lines.split("; "))) == ["pad-mask-on-query-axis"] * rules


@pytest.mark.parametrize(
    ("lines", "rules"),
    [
        ("x = self.both(x, x, src_key_padding_mask=padding)", 1),
        ("m = self.encoder(x, src_key_padding_mask=padding); x = self.decoder(x, m)", 1),
        ("m = self.encoder(x, None, padding); x = self.decoder(x, m, tgt_mask=mask)", 1),
        ("x = self.both(x, x, src_key_padding_mask=padding, memory_key_padding_mask=padding)", 0),
        ("x = self.both(x, x, src_key_padding_mask=None)", 0),
        ("x = self.both(x, x, src_key_padding_mask=padding, **mask)", 0),
        ("m = self.encoder(x); x = self.decoder(x, m, tgt_key_padding_mask=padding)", 0),
        ("m = self.encoder(x, src_key_padding_mask=padding); x = self.decoder(x, v)", 0),
        ("m = self.encoder(x, src_key_padding_mask=padding); "
         "x = self.decoder(x, m, memory_key_padding_mask=padding)", 0),
    ],
)  # fmt: skip
def test_the_padding_of_memory(lines: str, rules: int) -> None:
    assert found(inside(*lines.split("; "))) == ["missing-memory-key-padding-mask"] * rules
