"""The systems that are trained here: of language, of tags, of clicks. One row each.

What a mask looks like is drawn by views/; what was reached stands with the recorded runs.
"""

from __future__ import annotations

from sightline.recipes.systems.record import Drawn, System, Trained

__all__ = ["SYSTEMS"]

_DREAM = ("I", "have", "a", "dream", "<eos>")
_SAW = ("I", "saw", "a", "saw")
_BERT = ("[CLS]", "the", "[MASK]", "sat", "[SEP]", "[PAD]")
_PAIR = ("[CLS]", "ein", "Hund", "[SEP]", "a", "dog", "[SEP]")
_CLICKS = ("pad", "pad", "first", "second", "third")

SYSTEMS = (
    System(
        name="transformer",
        title="Transformer, encoder and decoder",
        definition=(
            "Reads a source with attention in both directions and writes a target one token at a "
            "time. Three attentions: source to source, target to its own past, target to source."
        ),
        source="Vaswani et al. 2017, Attention Is All You Need",
        masks=(
            Drawn("source to source", "padding(lengths=[4])", 5, 5),
            Drawn("target to its past", "causal() & padding(lengths=[3])", 4, 4),
            Drawn("target to source", "padding(lengths=[4])", 4, 5),
        ),
        parts=("sl.nn.Transformer", "sightline.models.transformer"),
        parity="torch.nn.Transformer with the same weights, all mask arguments: within 1e-5",
        tests=("tests/parity/test_torch_seq2seq.py", "tests/audit/test_systems_transformer.py"),
        trained=(Trained("translation"), Trained("copy")),
    ),
    System(
        name="gpt",
        title="GPT, a language model that writes from left to right",
        definition=(
            "Each token sees itself and what is before it, and predicts the next one. So one pass "
            "over a text gives what as many passes over its beginnings would give."
        ),
        source="Radford et al. 2019, GPT-2; settings of nanoGPT for characters of Shakespeare",
        masks=(
            Drawn("the growing triangle", "causal()", _DREAM, _DREAM),
            Drawn(
                "documents packed into one row", "causal() & documents(lengths=[3, 5, 2])", 10, 10
            ),
        ),
        parts=("sightline.models.gpt", "sl.nn.generate"),
        parity="transformers GPT2LMHeadModel, random weights: logits within 1e-5",
        tests=("tests/parity/test_gpt2.py", "tests/audit/test_systems_gpt.py"),
        trained=(Trained("language-model"), Trained("packed-gpt")),
    ),
    System(
        name="bert",
        title="BERT, pre-trained by masked words and next sentences",
        definition=(
            "Every token sees every real token, [MASK] included, and hidden words are guessed from "
            "both sides; [CLS] tells whether the second sentence follows the first."
        ),
        source="Devlin et al. 2019, BERT; google-research/bert for the data pipeline",
        masks=(Drawn("all but padding", "padding(lengths=[5])", _BERT, _BERT),),
        parts=("sightline.models.bert",),
        parity="transformers BertForPreTraining, random weights: logits and loss within 1e-5",
        tests=("tests/parity/test_bert.py", "tests/audit/test_systems_bert.py"),
        trained=(Trained("bert"), Trained("bert-overfit")),
    ),
    System(
        name="xlnet",
        title="XLNet, two streams in a permuted order",
        definition=(
            "Predicts tokens in an order drawn anew, each from those whose turn was before. The "
            "content stream sees its own token, the query stream, which predicts, does not."
        ),
        source="Yang et al. 2019, XLNet; zihangdai/xlnet",
        masks=(
            Drawn("content stream, order 2 0 3 1", "permutation([2, 0, 3, 1])", 4, 4),
            Drawn("query stream", "permutation([2, 0, 3, 1], stream='query')", 4, 4),
        ),
        parts=("sightline.models.xlnet", "sl.lower(mask, to='xlnet')"),
        parity="transformers XLNetLMHeadModel, random weights: within 1e-5",
        tests=("tests/parity/test_xlnet.py", "tests/audit/test_systems_xlnet.py"),
        trained=(Trained("xlnet"),),
    ),
    System(
        name="unilm",
        title="UniLM, one set of weights under four masks",
        definition=(
            "The same encoder guesses hidden words from both sides, from the left, from the right, "
            "or as a writer that reads a source: only the mask says which."
        ),
        source="Dong et al. 2019, Unified Language Model Pre-training",
        masks=(
            Drawn("both sides", "padding(lengths=[7])", _PAIR, _PAIR),
            Drawn("left to right", "causal()", _PAIR, _PAIR),
            Drawn("right to left", "causal().T", _PAIR, _PAIR),
            Drawn("source to target", "seq2seq([4])", _PAIR, _PAIR),
        ),
        parts=("sightline.models.unilm",),
        parity="transformers BERT under the same four masks, random weights: within 1e-5",
        tests=("tests/parity/test_unilm.py", "tests/audit/test_systems_unilm.py"),
        trained=(Trained("unilm"),),
    ),
    System(
        name="recommender",
        title="Click-list recommender (SASRec)",
        definition=(
            "Predicts the next item from the list of items a user chose, cut or padded on the left "
            "to a fixed length. Padding is kept out as key and as query; the future is not seen."
        ),
        source="Kang and McAuley 2018, Self-Attentive Sequential Recommendation",
        masks=(
            Drawn(
                "key, query and causal masks",
                "causal() & padding(lengths=[3], side='left') & queries([2, 3, 4])",
                _CLICKS,
                _CLICKS,
            ),
        ),
        parts=("sightline.models.sasrec",),
        parity="the published formula written out in numpy, float64: within 1e-10",
        tests=("tests/parity/test_sasrec.py", "tests/audit/test_systems_recommender.py"),
        trained=(Trained("recommender"),),
    ),
    System(
        name="tagger",
        title="Part-of-speech tagger",
        definition=(
            "An encoder names the word class of each word of a sentence from all of its words. "
            "Without positions the two words saw of one sentence get the same vector, provably."
        ),
        source="Universal Dependencies, English Web Treebank; the encoder of Vaswani et al. 2017",
        masks=(Drawn("every word of the sentence", "padding(lengths=[4])", _SAW, _SAW),),
        parts=("sightline.models.tagger",),
        parity="torch.nn.TransformerEncoder with the same weights: within 1e-5",
        tests=("tests/parity/test_tagger.py", "tests/audit/test_systems_tagger.py"),
        trained=(Trained("tagger"),),
    ),
    System(
        name="rnn",
        title="LSTM and GRU with masks",
        definition=(
            "At padding the state stays as it is and the output is 0; backwards, a sequence begins "
            "at its own last token. The encoders to beat in the tagger and the recommender."
        ),
        source="Hochreiter and Schmidhuber 1997; Cho et al. 2014",
        masks=(Drawn("steps that count", "padding(lengths=[3])", 1, 5),),
        parts=("sl.nn.MaskedLSTM", "sl.nn.MaskedGRU"),
        parity="torch's LSTM and GRU on packed sequences, both directions: within 1e-6",
        tests=("tests/unit/test_nn_recurrent.py", "tests/parity/test_click_rnn.py"),
        trained=(
            Trained("tagger", "tagger-lstm", ("encoder=lstm",)),
            Trained("tagger", "tagger-gru", ("encoder=gru",)),
            Trained("recommender", "recommender-lstm", ("encoder=lstm",)),
            Trained("recommender", "recommender-gru", ("encoder=gru",)),
        ),
    ),
)
