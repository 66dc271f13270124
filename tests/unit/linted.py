"""Code for tests of the lint rules: pieces of modules, and what is found in them."""

from __future__ import annotations

from sightline.audit.lint import lint_text

HEAD = """\
import numpy as np
import torch
import torch.nn.functional as F
from torch import nn
"""


def found(body: str) -> list[str]:
    """Return the rules of the findings in code below the usual imports, notes left out."""
    return [each.rule for each in lint_text(HEAD + body) if each.severity != "note"]


def inside(*lines: str) -> str:
    """Return a method of a module that has one of each kind of attention, with these lines.

    ``sdpa(`` stands for ``F.scaled_dot_product_attention(``.
    """
    body = "\n".join(f"        {line}" for line in lines)
    body = body.replace("sdpa(", "F.scaled_dot_product_attention(")
    return f"""
class Model(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.heads = heads
        self.attention = nn.MultiheadAttention(width, heads, batch_first=True)
        self.layer = nn.TransformerEncoderLayer(width, heads)
        self.layers = nn.ModuleList([nn.TransformerEncoderLayer(width, heads) for _ in range(5)])
        self.encoder = nn.TransformerEncoder(self.layer, num_layers=3)
        self.decoder = nn.TransformerDecoder(nn.TransformerDecoderLayer(width, heads), 2)
        self.both = nn.Transformer(width, heads)
        self.score = nn.Linear(width, 1)
        self.register_buffer("lower", torch.tril(torch.ones(64, 64)))

    def run(self, x, q, k, v, mask, padding, n):
{body}
        return x
"""
