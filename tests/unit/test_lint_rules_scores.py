"""Rules about scores, pooling and parameters: what they find, and what looks the same."""

from __future__ import annotations

import pytest
from linted import found, inside

from sightline.audit.lint import lint_text

PRODUCT = "s = q @ k.transpose(-2, -1)"
ZEROED = f"{PRODUCT}; s = s.masked_fill(mask, 0)"
MASKED_LATE = f"{PRODUCT}; w = s.softmax(-1); w = w.masked_fill(mask, 0)"


@pytest.mark.parametrize(
    ("lines", "rules"),
    [
        (f"{ZEROED}; x = s.softmax(-1)", 1),
        (f"{PRODUCT} / 8; s = torch.tril(s); x = F.softmax(s, dim=-1)", 1),
        (f"{PRODUCT}; s = torch.where(mask, s, 0.0); x = torch.softmax(s, -1) @ v", 1),
        ("s = torch.einsum('bhid,bhjd->bhij', q, k).masked_fill(mask, 0.0); x = s.softmax(-1)", 1),
        ("s = torch.bmm(q, k.transpose(1, 2)).masked_fill(mask, 0); x = s.softmax(-1)", 1),
        ("s = torch.matmul(q, k.transpose(2, 3)).masked_fill(mask, 0); x = s.softmax(-1)", 1),
        ("s = tf.matmul(q, k, transpose_b=True); x = tf.nn.softmax(tf.where(mask, s, 0))", 1),
        # Products of something else than queries and keys.
        ("s = torch.bmm(q, k).masked_fill(mask, 0); x = s.softmax(-1)", 0),
        ("s = torch.einsum('bhij,bhjd->bhid', q, v).masked_fill(mask, 0); x = s.softmax(-1)", 0),
        (f"{PRODUCT}; s = s.masked_fill(mask, 1e-9); x = s.softmax(-1)", 1),
        (f"{PRODUCT}; s = s.masked_fill(mask, -1e9); x = s.softmax(-1)", 0),
        (f"{PRODUCT}; s = s.masked_fill(mask, 1.0); x = s.softmax(-1)", 0),
        # Zeroed, then forbidden.
        (f"{ZEROED}; s = s.masked_fill(mask, -1e9); s.softmax_(-1)", 0),
        (f"{PRODUCT}; s = torch.tril(s); s = s.masked_fill(s == 0, -1e9); x = s.softmax(-1)", 0),
        # Divided anew over what is allowed.
        (f"{ZEROED}; w = s.softmax(-1) * mask; x = w / w.sum()", 0),
        (f"{ZEROED} + padding_bias; x = s.softmax(-1)", 0),
        ("x = x.masked_fill(mask, 0).softmax(-1)", 0),
        (f"{PRODUCT}; x = s.masked_fill(mask, 0)", 0),
    ],
)  # fmt: skip
def test_zeros_before_the_softmax(lines: str, rules: int) -> None:
    assert found(inside(*lines.split("; "))) == ["zero-before-softmax"] * rules


@pytest.mark.parametrize(
    ("lines", "rules"),
    [
        (f"{MASKED_LATE}; x = w @ v", 1),
        (f"{PRODUCT} * 0.125; x = s.softmax(-1).masked_fill(mask, 0.0) @ v", 1),
        ("w = x.softmax(-1); w = w.masked_fill(mask, float('-inf')); x = w @ v", 1),
        ("s = (q @ k.T).masked_fill(mask, -1e9); w = s.softmax(-1); x = w.masked_fill(mask, 0)", 0),
        (f"{PRODUCT} + bias; w = s.softmax(-1); w = w.masked_fill(mask, 0); x = w @ v", 0),
        (f"{PRODUCT}; s += bias; w = s.softmax(-1); w = w.masked_fill(mask, 0); x = w @ v", 0),
        (f"{MASKED_LATE}; x = w / w.sum()", 0),
        ("w = x.softmax(-1); x = w.masked_fill(mask, 0)", 0),
        ("w = x.log_softmax(-1); x = w.masked_fill(mask, float('-inf'))", 0),
    ],
)  # fmt: skip
def test_a_mask_behind_the_softmax(lines: str, rules: int) -> None:
    assert found(inside(*lines.split("; "))) == ["mask-after-softmax"] * rules


@pytest.mark.parametrize(
    ("lines", "rules"),
    [
        (f"{PRODUCT}; x = s.softmax(dim=-2) @ v", 1),
        ("x = torch.matmul(torch.softmax(torch.matmul(q, k.mT) / 8, dim=-2), v)", 1),
        (f"{PRODUCT}; w = s.softmax(-2); w = self.dropout(w); x = torch.bmm(w, v)", 1),
        # Similarities of images and texts, of which the best is taken.
        ("x = (100.0 * q @ k.transpose(-2, -1)).softmax(dim=-2)", 0),
        (f"{PRODUCT}; w = s.softmax(dim=-2); x = w.argmax(dim=-2)", 0),
        (f"{PRODUCT}; x = F.softmax(s) @ v", 1),
        (f"{PRODUCT}; x = s.softmax(dim=-1) @ v", 0),
        (f"{PRODUCT}; x = F.softmax(s, -1) @ v", 0),
        ("x = F.softmax(x, dim=-2)", 0),
        # Queries compete for keys, and what each gets is divided anew.
        (f"{PRODUCT}; w = s.softmax(dim=-2); w = w / w.sum(dim=-1, keepdim=True); x = w @ v", 0),
        (f"{PRODUCT}; x = s.softmax(dim=-2) @ s.softmax(dim=-1)", 0),
        ("slots = q @ k.transpose(-2, -1); x = slots.softmax(dim=-2)", 0),
        ("k = k.softmax(dim=-2); x = q @ (k.transpose(-2, -1) @ v)", 0),
    ],
)
def test_a_softmax_over_queries(lines: str, rules: int) -> None:
    assert found(inside(*lines.split("; "))) == ["softmax-over-queries"] * rules


@pytest.mark.parametrize(
    ("parameters", "lines", "rules"),
    [
        ("self, x, lengths", "scores = self.score(x); w = F.softmax(scores, 1); x = w * x", 1),
        ("self, x, src_mask", "attn = torch.softmax(self.energy(x).squeeze(2), dim=1); "
         "x = torch.bmm(attn.unsqueeze(1), x)", 0),
        ("self, x, mask", "scores = self.score(x).masked_fill(mask, -1e9); "
         "w = F.softmax(scores, 1); x = w * x", 0),
        ("self, x", "scores = self.score(x); w = F.softmax(scores, 1); x = w * x", 0),
        # Classes of an image, and a mask that is its target.
        ("self, logits, mask_target", "x = F.softmax(logits, dim=1); x = (x * x).sum()", 0),
        ("self, pred, mask", "x = F.softmax(pred, dim=1); x = (x * mask).sum()", 0),
        ("self, x, mask", "x = F.softmax(self.head(x), dim=1)", 0),
    ],
)  # fmt: skip
def test_a_softmax_over_positions(parameters: str, lines: str, rules: int) -> None:
    code = inside(*lines.split("; ")).replace("self, x, q, k, v, mask, padding, n", parameters)
    assert found(code) == ["softmax-over-time-without-mask"] * rules


@pytest.mark.parametrize(
    ("lines", "rules"),
    [
        ("h = self.encoder(x, src_key_padding_mask=padding); x = h.mean(dim=1)", 1),
        ("h = self.model(x, attention_mask=mask).last_hidden_state; x = torch.mean(h, 1)", 1),
        ("out = self.bert(x, attention_mask=mask); x = out.last_hidden_state.mean(1)", 1),
        ("h = self.encoder(x, src_key_padding_mask=padding); x = h.max(dim=1).values", 1),
        ("h = self.encoder(x, src_key_padding_mask=padding); h = h * mask; x = h.mean(dim=1)", 0),
        ("h = self.encoder(x, src_key_padding_mask=padding); h[padding] = 0; x = h.mean(dim=1)", 0),
        ("h = self.encoder(x); x = h.mean(dim=1)", 0),
        ("h = self.encoder(x, src_key_padding_mask=padding); x = h.mean(dim=-1)", 0),
        ("w = self.attention(x, x, x, key_padding_mask=padding)[1]; x = w.mean(dim=1)", 0),
        ("w = self.scorer(x, attention_mask=mask); x = w.mean(dim=1)", 0),
    ],
)
def test_a_mean_over_padding(lines: str, rules: int) -> None:
    assert found(inside(*lines.split("; "))) == ["mean-over-padded-time"] * rules


def test_a_maximum_is_not_mended_like_a_mean() -> None:
    start = "h = self.encoder(x, src_key_padding_mask=padding)"
    for end, words in (("x = h.mean(dim=1)", ".sum(1)"), ("x = h.amax(dim=1)", "-inf")):
        (finding,) = lint_text("import torch.nn as nn\nimport torch\n" + inside(start, end))
        assert words in finding.fix


@pytest.mark.parametrize(
    ("call", "rules"),
    [
        ("tokenizer(texts, padding=True)", 1),
        ("tokenizer(texts, padding=True).to(device)", 1),
        ("tokenizer(texts)", 0),
        ("tokenizer('one text', padding=True)", 0),
        ("collate(texts, padding=True)", 0),
    ],
)
def test_a_mean_over_what_a_tokenizer_padded(call: str, rules: int) -> None:
    body = (
        "def embed(model, tokenizer, collate, texts, device):\n"
        f"    batch = {call}\n"
        "    return model(**batch).last_hidden_state.mean(dim=1)\n"
    )
    assert found(body) == ["mean-over-padded-time"] * rules


@pytest.mark.parametrize(
    ("lines", "rules"),
    [
        ("x = x + self.pos_embedding(n); m = x.sum(dim=-1) != 0", 1),
        ("x += self.positions; m = (x.abs().sum(-1) == 0)", 1),
        ("x = self.positional_encoding(x); x = self.dropout(x); m = torch.sum(x, dim=-1) == 0", 1),
        ("m = x.sum(dim=-1) != 0; x = x + self.pos_embedding(n)", 0),
        ("x = x + self.residual(x); m = x.sum(dim=-1) != 0", 0),
        ("y = x + self.positions; m = x.sum(dim=-1) != 0", 0),
        ("x = x + self.positions; m = x.sum() == 0", 0),
        ("x = x + self.positions; x = self.norm(x); m = (x > 0).sum(dim=-1) == 0", 0),
    ],
)
def test_zeros_where_positions_were_added(lines: str, rules: int) -> None:
    assert found(inside(*lines.split("; "))) == ["mask-after-positions"] * rules


FORWARD = """
class Block(nn.Module):
    def __init__(self, width):
        self.attn = nn.MultiheadAttention(width, 2)

    {head}
        {body}
"""
ATTENDS = "return self.attn(x, x, x)[0]"
NEWLINE = "\n        "


@pytest.mark.parametrize(
    ("head", "body", "rules"),
    [
        ("def forward(self, x, attention_mask=None):", ATTENDS, 1),
        ("def forward(self, x, lengths):", ATTENDS, 1),
        ("def forward(self, x, mask):", "return (x @ x.transpose(-2, -1)).softmax(-1) @ x", 1),
        ("def forward(self, x, attn_mask, key_padding_mask):",
         "return self.attn(x, x, x, attn_mask=attn_mask)[0]", 1),
        ("def forward(self, x, mask):", "del mask" + NEWLINE + ATTENDS, 0),
        ("def forward(self, x, mask):  # mask is unused: there is no padding here", ATTENDS, 0),
        ("def forward(self, x, mask):", '"""Attend; mask: ignored."""' + NEWLINE + ATTENDS, 0),
        ("def forward(self, x, mask):", "return self.attn(x, x, x, attn_mask=mask)[0]", 0),
        ("def forward(self, x, mask):", "def inner(): return mask" + NEWLINE + ATTENDS, 0),
        ("def forward(self, x, mask):", "raise NotImplementedError", 0),
        ("@abstractmethod\n    def forward(self, x, mask):", ATTENDS, 0),
        ("def forward(self, x, mask):", "return self.attn(**locals())", 0),
        # No position sees another one here.
        ("def forward(self, x, mask):", "return self.linear(x)", 0),
        # One mask of pairs may stand for the other.
        ("def forward(self, x, attention_mask, encoder_attention_mask=None):",
         "return self.attn(x, x, x, attn_mask=attention_mask)[0]", 0),
        ("def helper(self, x, mask):", ATTENDS, 0),
    ],
)  # fmt: skip
def test_a_mask_that_is_accepted_and_ignored(head: str, body: str, rules: int) -> None:
    assert found(FORWARD.format(head=head, body=body)) == ["unused-mask-argument"] * rules


@pytest.mark.parametrize(
    ("line", "severity"),
    [
        ("labels[labels == tokenizer.pad_token_id] = -100", "warning"),
        ("attention_mask = ids.ne(tokenizer.pad_token_id)", "warning"),
        ("attention_mask = (ids != tokenizer.pad_token_id).long()", "warning"),
        ("lengths = (ids != tokenizer.pad_token_id).sum(1)", "note"),
        ("batch = tokenizer(texts, padding=True)", "note"),
    ],
)
def test_padding_that_is_the_end_of_a_text(line: str, severity: str) -> None:
    start = "def f(tokenizer, labels, ids, texts):\n    {}\n    "
    shared = start.format("tokenizer.pad_token = tokenizer.eos_token") + line
    (finding,) = lint_text(shared)
    assert (finding.rule, finding.severity) == ("pad-is-eos", severity)
    assert lint_text(start.format("tokenizer.pad_token = '<pad>'") + line) == ()


@pytest.mark.parametrize(
    ("lines", "severity"),
    [
        ("x = x.masked_fill(mask, -1e9).softmax(-1)", "note"),
        ("x = x.masked_fill(mask, -100.0).softmax(-1)", "note"),
        ("m = (1 - mask) * -10000.0", "note"),
        ("x = x.half().masked_fill(mask, -1e12).softmax(-1)", "warning"),
        ("a = torch.zeros(n).masked_fill(mask == 0, torch.finfo(x.dtype).min); "
         "b = torch.zeros(n).masked_fill(mask == 1, torch.finfo(x.dtype).min); m = a + b",
         "warning"),
        ("x = x.masked_fill(mask, float('-inf')).softmax(-1)", None),
        ("x = x.masked_fill(mask, torch.finfo(x.dtype).min).softmax(-1)", None),
        ("x = x.masked_fill(mask, -1e9)", None),
        ("x = x * -1e9", None),
        ("x = x.masked_fill(mask, -1e4 if x.dtype == torch.float16 else -1e9).softmax(-1)", None),
    ],
)  # fmt: skip
def test_constants(lines: str, severity: str | None) -> None:
    findings = lint_text("import torch\n" + inside(*lines.split("; ")))
    wanted = [] if severity is None else [("mask-constant", severity)]
    assert [(each.rule, each.severity) for each in findings] == wanted
