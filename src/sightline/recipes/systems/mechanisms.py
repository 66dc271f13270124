"""The mechanisms that the systems are made of, each a row of its own: masks, caches, conventions.

They are not trained; what is held against what stands in each row.
"""

from __future__ import annotations

from sightline.recipes.systems.record import Drawn, System

__all__ = ["SYSTEMS"]

SYSTEMS = (
    System(
        name="padding",
        title="Padding mask",
        definition=(
            "Sequences of different lengths fill one batch; no query sees what only fills it up. "
            "Every output at a real token is that of the sequence alone."
        ),
        source="Vaswani et al. 2017; google-research/bert",
        masks=(
            Drawn("padded on the right", "padding(lengths=[3])", 5, 5),
            Drawn("padded on the left", "padding(lengths=[3], side='left')", 5, 5),
        ),
        parts=("sl.padding", "sl.Batch"),
        parity="each sequence alone: the same bits on engine cpu, within 1e-6 elsewhere",
        tests=("tests/audit/test_own_models.py", "tests/conformance/test_non_interference.py"),
    ),
    System(
        name="causal",
        title="Causal mask, and the combined mask of fixed lengths",
        definition=(
            "A token sees itself and what is before it; with padding, both must allow it. The "
            "derivative of an output by a later input is exactly 0."
        ),
        source="Vaswani et al. 2017, section 3.2.3",
        masks=(
            Drawn("causal", "causal()", 5, 5),
            Drawn("3 real tokens of 5", "causal() & padding(lengths=[3])", 5, 5),
        ),
        parts=("sl.causal", "sl.attend"),
        parity="torch's scaled_dot_product_attention and MultiheadAttention: within 1e-6",
        tests=("tests/parity/test_torch_mha.py", "tests/conformance/test_non_interference.py"),
    ),
    System(
        name="one-pass",
        title="Training in one pass is prediction step by step",
        definition=(
            "Row i of a causal stack depends on inputs up to i only, so one masked pass over a "
            "text gives what writing it token by token gives: by design, not by coincidence."
        ),
        source="follows from the mask; held for every way to run a step",
        masks=(Drawn("each row is a step", "causal()", 5, 5),),
        parts=("sl.nn.KVCache", "sl.nn.generate"),
        parity="the full pass: the same bits on engine cpu with a cache, within 1e-5 elsewhere",
        tests=("tests/conformance/test_nn_cache_bits.py", "tests/parity/test_gpt2.py"),
    ),
    System(
        name="key-query-masks",
        title="Key mask, query mask, and Mask(inputs, seq_len, mode)",
        definition=(
            "Scores of padded keys get a large negative number before the softmax, outputs of "
            "padded queries are multiplied by 0; the mask is read off vectors that are all 0."
        ),
        source="Kyubyong/transformer (2017); bojone/attention (2018)",
        masks=(Drawn("keys and queries", "padding(lengths=[3]) & queries([0, 1, 2])", 5, 5),),
        parts=("sl.nn.mask_inputs", "sl.nn.key_mask_from_inputs", "sl.nn.query_mask_from_inputs"),
        parity="the published formulas written out in numpy, float64: within 1e-12",
        tests=("tests/unit/test_nn_input_masks.py",),
    ),
    System(
        name="safe-softmax",
        title="Rows that see nothing, and strict causality",
        definition=(
            "A query that may see nothing gets weights, output and gradients of 0, never NaN. To "
            "be blind to one's own token also needs a query that is not made from it."
        ),
        source="pytorch/pytorch issues 41508 and 143287",
        masks=(Drawn("strictly causal", "causal(strict=True)", 4, 4),),
        parts=("sl.attend", "sl.nn.ShiftedQueryAttention"),
        parity="torch's MultiheadAttention where torch is right; 0 where it gives NaN",
        tests=("tests/parity/test_torch_mha.py", "tests/unit/test_nn_strict_causal.py"),
    ),
    System(
        name="torch-transformer",
        title="The API of nn.Transformer",
        definition=(
            "Six mask arguments in torch's own sense (True is ignored), or Sightline's masks; one "
            "call gives the complete set, the memory's padding included."
        ),
        source="torch.nn.Transformer",
        masks=(Drawn("memory", "padding(lengths=[4])", 3, 5),),
        parts=("sl.nn.Transformer", "sl.lower(mask, to='torch.transformer')"),
        parity="torch.nn.Transformer, same weights, rows that see something: within 1e-5",
        tests=("tests/parity/test_torch_transformer.py", "tests/unit/test_lower_transformer.py"),
    ),
    System(
        name="hf",
        title="The API of Hugging Face models",
        definition=(
            "A model's attention is replaced by Sightline's, its own mask read as an expression, "
            "and another one may be added; what cannot be honoured is refused by name."
        ),
        source="transformers, its attention and mask interfaces",
        masks=(Drawn("Llama, padded", "causal() & padding(lengths=[3], side='left')", 5, 5),),
        parts=("sl.hf.patch", "sl.hf.unpad", "sl.hf.explain"),
        parity="the same models with their own attention, random weights: within 1e-5",
        tests=("tests/parity/test_hf_patch.py", "tests/parity/test_hf_architectures.py"),
    ),
    System(
        name="converters",
        title="Masks of other libraries, there and back",
        definition=(
            "One expression into the form of each library, exactly or refused, and an array or a "
            "call of theirs back into an expression. No convention has to be remembered."
        ),
        source="the libraries' own documentation (docs/conventions.md)",
        masks=(Drawn("three by three", "causal() & padding(lengths=[2])", 3, 3),),
        parts=("sl.lower", "sl.recognize", "sl.backends"),
        parity="what each library makes of the mask, and the round trip: equal",
        tests=("tests/unit/test_recognize_sources_round.py", "tests/unit/test_docs_backends.py"),
    ),
    System(
        name="mmha",
        title="Fused decode step of masked multi-head attention",
        definition=(
            "One new token attends to the keys and values of a cache of fixed size, into which its "
            "own are written in place; rows may be of different lengths."
        ),
        source="PaddlePaddle, masked_multihead_attention",
        masks=(Drawn("4 cached tokens and the new one", "prefix(5)", 1, 8),),
        parts=(
            "sl.nn.mmha_step",
            "sl.lower(mask, to='paddle')",
            "sl.nn.pack_cache",
            "sl.nn.KVCache",
        ),
        parity="the last row of the full pass: within 1e-5; packing moves bits only",
        tests=("tests/unit/test_nn_mmha.py",),
    ),
)
