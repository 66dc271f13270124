"""Why models of transformers break what they promise: the causes behind docs/audit-findings.md.

Each was confirmed by reading the code (places are those of transformers 5.23) and, where a line
says so, by changing it. make_audit_findings.py matches them with what the audits found.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal


@dataclass(frozen=True)
class Explained:
    """One cause.

    Attributes:
        title: what happens, in a few words.
        verdict: by design, limit, or bug.
        models: the names of the classes, without flags.
        places: where in transformers' code.
        text: why, and what to do about it.
        input: the input that the finding is about; empty for any.
    """

    title: str
    verdict: Literal["by design", "limit", "bug"]
    models: tuple[str, ...]
    places: tuple[str, ...]
    text: str
    input: str = ""

    def covers(self, key: str, finding: dict[str, Any]) -> bool:
        """Return whether this explains a finding of a class, with a flag in brackets or not."""
        name = key.partition("[")[0]
        return name in self.models and (not self.input or finding["input"] == self.input)


EXPLAINED = (
    Explained(
        "Asking Falcon for attention weights removes its causal mask",
        "bug",
        ("FalconForCausalLM",),
        ("modeling_falcon.py:352, FalconAttention.forward",),
        "With sdpa the model makes a boolean mask. `output_attentions=True` leaves sdpa for the "
        "code that computes scores, and that adds the booleans to them: allowed keys gain 1, "
        "forbidden ones 0. Every token then sees the future, and nothing warns. With alibi the "
        "mask is made of numbers first, and all is well. Until it is mended, build Falcon with "
        '`attn_implementation="eager"` when weights are wanted.',
    ),
    Explained(
        "FSMT has no causal mask while its cache is on",
        "bug",
        ("FSMTForConditionalGeneration",),
        ("modeling_fsmt.py:855, FSMTModel.forward", "modeling_fsmt.py:865"),
        "The decoder's masks are made under `if not use_cache`, and the config turns the cache on: "
        "given several decoder tokens at once, each sees all of them. Generation feeds one token "
        "at a time and training with `labels` turns the cache off, so neither shows it; scoring a "
        "given translation does. Pass `use_cache=False`.",
        input="decoder_input_ids",
    ),
    Explained(
        "ProphetNet's relative positions are read from other tokens",
        "bug",
        ("ProphetNetForCausalLM", "ProphetNetForConditionalGeneration"),
        (
            "modeling_prophetnet.py, "
            "ProphetNetNgramSelfAttention.get_predict_relative_pos_embeddings",
        ),
        "The table of position biases is laid out as (batch, position, ngram, head) by "
        "`permute(0, 2, 1, 4, 3)`, but is read as (batch, ngram, head, position): a token gets the "
        "bias that was computed from another one, often a later one. With "
        "`permute(0, 1, 4, 2, 3)` the audit is silent. Weights that were trained with it have "
        "learnt around it.",
    ),
    Explained(
        "BigBird's block-sparse attention is not causal",
        "bug",
        ("BigBirdForCausalLM",),
        ("modeling_big_bird.py:1620, BigBirdModel.forward",),
        "The masks of `block_sparse` know padding only; `is_decoder` is not asked. The model goes "
        "back to full attention for short inputs, which are causal, so that a test with a short "
        "text passes; beyond `(5 + 2 * num_random_blocks) * block_size` tokens the future is "
        'visible. `attention_type="original_full"` is silent, and the model chooses it by itself '
        "only where it has cross-attention.",
    ),
    Explained(
        "YOSO's padding mask does nothing",
        "bug",
        ("YosoForMaskedLM",),
        ("modeling_yoso.py:356, YosoSelfAttention.forward",),
        "`1.0 + attention_mask / 10000.0` is meant for a mask of 0 and -10000; what arrives is the "
        "user's mask of 1 and 0, so that real tokens weigh 1.0001 and padding 1. With the mask "
        "itself in that place the audit is silent.",
    ),
    Explained(
        "CPM-Ant reads its whole prompt",
        "by design",
        ("CpmAntForCausalLM",),
        ("modeling_cpmant.py:560, CpmAntModel._prepare_attention_mask",),
        "All tokens that are given are `context`, which sees itself in both directions; only what "
        "is generated after it is causal. Training on `labels` with this class lets each token see "
        "the one it predicts. `attention_mask` is accepted and ignored: padding is id 0.",
    ),
    Explained(
        "XLNet and XLM are causal only when told",
        "by design",
        ("XLNetLMHeadModel", "XLMWithLMHeadModel"),
        (
            "modeling_xlnet.py:1065, XLNetModel.forward",
            "modeling_xlm.py:57, get_masks",
        ),
        "They stand in transformers' table of causal language models and are trained with "
        "permutations or masked words. XLM is silent with `causal=True` in its config, XLNet with "
        '`attn_type="uni"`; else it wants `perm_mask` with every call.',
    ),
    Explained(
        "Reformer's hashed attention depends on the future through its buckets",
        "limit",
        ("ReformerModelWithLMHead",),
        ("modeling_reformer.py:568 and 776, LSHSelfAttention",),
        "Tokens are sorted by hash and cut into chunks, and later tokens in the same bucket move "
        "where the cuts fall: which earlier keys a query finds beside it depends on what comes "
        "after. No later value is read. With local layers only, or with chunks that reach over "
        "the whole sequence, the audit is silent.",
    ),
    Explained(
        "Padding on the left runs through a recurrence",
        "limit",
        ("RwkvForCausalLM", "RecurrentGemmaForCausalLM"),
        (
            "modeling_rwkv.py:547, RwkvModel.forward",
            "modeling_recurrent_gemma.py:414, RecurrentGemmaRecurrentBlock.forward",
        ),
        "The state is carried through padding as through text: RWKV says that `attention_mask` is "
        "unused, and RecurrentGemma masks its attention but not its convolution and recurrence. "
        "Batched generation from prompts of different lengths differs from generation one by one. "
        "xLSTM takes no mask at all, so that nothing could be asked of it. Other models with a "
        "state (Mamba, Jamba, Bamba, Qwen3-Next and more) clear padded inputs first and are "
        "silent.",
    ),
    Explained(
        "Padding is compressed together with text",
        "bug",
        ("DeepseekV4ForCausalLM", "BltForCausalLM"),
        (
            "modeling_deepseek_v4.py:844, DeepseekV4Attention.forward",
            "modeling_blt.py:1211 and 1268, BltModel.forward",
        ),
        "DeepSeek-V4's compressors pool windows of tokens and are given no mask. BLT's patcher, "
        "which decides where patches end, gets none either, and its global transformer gets "
        "`attention_mask=None`. Left padding enters the first windows and patches, which all later "
        "tokens read.",
    ),
    Explained(
        "Padding enters by a convolution, a pooling or landmarks",
        "limit",
        (
            "ConvBertForMaskedLM",
            "MobileBertForMaskedLM",
            "MobileBertModel",
            "FunnelForMaskedLM",
            "NystromformerForMaskedLM",
            "NystromformerModel",
        ),
        (
            "modeling_convbert.py:209, ConvBertSelfAttention.forward",
            "modeling_mobilebert.py:121, MobileBertEmbeddings.forward",
            "modeling_funnel.py:309, FunnelAttentionStructure.pre_attention_pooling",
            "modeling_nystromformer.py:182 and 212, NystromformerSelfAttention.forward",
        ),
        "Attention is masked, what stands beside it is not: ConvBERT's spans and MobileBERT's "
        "trigrams take in neighbours that are padding, Funnel pools the last token with the "
        "padding behind it, and Nystromformer averages padding into its landmarks and convolves "
        "its values. The models were trained so. A row padded otherwise gives other outputs.",
    ),
)
