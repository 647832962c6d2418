"""The encoders that can be trained: of each family its classes, and what of it differs from DistilBERT; no library is loaded."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from toolkit.errors import BundleError
from toolkit.formats.limits import shown

_BERT_SIZES = (
    "hidden_act", "hidden_size", "initializer_range", "intermediate_size", "layer_norm_eps", "max_position_embeddings",
    "num_attention_heads", "num_hidden_layers", "pad_token_id", "vocab_size",
)  # fmt: skip
_BERT_DROPOUTS = {
    "dropout": "hidden_dropout_prob",
    "attention_dropout": "attention_probs_dropout_prob",
    "seq_classif_dropout": "classifier_dropout",
}
_BERT_TOKENIZERS = ("BertTokenizer", "BertTokenizerFast")
_ROBERTA_TOKENIZERS = ("RobertaTokenizer", "RobertaTokenizerFast")


@dataclass(frozen=True)
class Architecture:
    """A family of encoders, as transformers names its parts.

    Attributes:
        name: The family's `model_type`.
        classes: What the names of its classes begin with, as in `DistilBertConfig`.
        prefix: Where a classifier keeps the encoder, as in `distilbert.embeddings…`.
        fields: What its `config.json` may decide. transformers takes much more from there, some of it the name of
            code to fetch and run (CVE-2026-4372, which has no fix below transformers 5).
        dropouts: Its names for the settings `dropout`, `attention_dropout` and `seq_classif_dropout`.
        targets: The linear layers that get LoRA matrices by default: those that PEFT names, or else all of the encoder.
        head: The modules that are trained whole, because a base comes without them.
        head_weight: The head's last weight, (classes, n).
        tokenizers: The classes that may be named for its tokenizer.
        reserved_positions: Positions that no token gets: RoBERTa and its kin count from the one behind the padding's.
        embeddings: The weight with a row for each token.
        positions: The weight with a row for each position, where there always is one.
    """

    name: str
    classes: str
    prefix: str
    fields: tuple[str, ...] = _BERT_SIZES
    dropouts: Mapping[str, str] = field(default_factory=lambda: _BERT_DROPOUTS)
    targets: tuple[str, ...] = ("query", "value")
    head: tuple[str, ...] = ("classifier",)
    head_weight: str = "classifier.out_proj.weight"
    tokenizers: tuple[str, ...] = _BERT_TOKENIZERS
    reserved_positions: int = 0
    embeddings: str = "embeddings.word_embeddings.weight"
    positions: str | None = "embeddings.position_embeddings.weight"


DISTILBERT = Architecture(
    "distilbert", "DistilBert", "distilbert",
    fields=(
        "activation", "dim", "hidden_dim", "initializer_range", "max_position_embeddings", "n_heads", "n_layers", "pad_token_id",
        "sinusoidal_pos_embds", "tie_weights_", "vocab_size", "qa_dropout",
    ),
    dropouts={name: name for name in _BERT_DROPOUTS},
    targets=("q_lin", "v_lin"),
    head=("pre_classifier", "classifier"),
    head_weight="classifier.weight",
    tokenizers=("DistilBertTokenizer", "DistilBertTokenizerFast", *_BERT_TOKENIZERS),
)  # fmt: skip
_ROBERTA = Architecture(
    "roberta", "Roberta", "roberta",
    fields=(*_BERT_SIZES, "type_vocab_size"),
    tokenizers=_ROBERTA_TOKENIZERS,
    reserved_positions=2,
)  # fmt: skip
ARCHITECTURES = {
    each.name: each
    for each in (
        DISTILBERT,
        Architecture(
            "bert", "Bert", "bert",
            fields=(*_BERT_SIZES, "type_vocab_size"),
            head=("pooler", "classifier"),
            head_weight="classifier.weight",
        ),
        _ROBERTA,
        Architecture(
            "xlm-roberta", "XLMRoberta", "roberta",
            fields=_ROBERTA.fields,
            tokenizers=("XLMRobertaTokenizer", "XLMRobertaTokenizerFast"),
            reserved_positions=2,
        ),
        Architecture(
            "mpnet", "MPNet", "mpnet",
            fields=(*_BERT_SIZES, "relative_attention_num_buckets"),
            dropouts={name: _BERT_DROPOUTS[name] for name in ("dropout", "attention_dropout")},
            targets=("q", "k", "v", "o", "intermediate.dense", "output.dense"),
            tokenizers=("MPNetTokenizer", "MPNetTokenizerFast"),
            reserved_positions=2,
        ),
        Architecture(
            "electra", "Electra", "electra",
            fields=(*_BERT_SIZES, "embedding_size", "type_vocab_size"),
            tokenizers=("ElectraTokenizer", "ElectraTokenizerFast", *_BERT_TOKENIZERS),
        ),
        Architecture(
            "deberta-v2", "DebertaV2", "deberta",
            fields=(
                *_BERT_SIZES, "attention_head_size", "conv_act", "conv_kernel_size", "embedding_size", "max_relative_positions",
                "norm_rel_ebd", "pos_att_type", "position_biased_input", "position_buckets", "relative_attention",
                "share_att_key", "type_vocab_size",
            ),
            dropouts={**_BERT_DROPOUTS, "seq_classif_dropout": "cls_dropout"},
            targets=("query_proj", "value_proj"),
            head=("pooler", "classifier"),
            head_weight="classifier.weight",
            tokenizers=("DebertaV2Tokenizer", "DebertaV2TokenizerFast"),
            positions=None,
        ),
        Architecture(
            "modernbert", "ModernBert", "model",
            fields=(
                "attention_bias", "cls_token_id", "classifier_activation", "classifier_bias", "classifier_pooling",
                "global_attn_every_n_layers", "global_rope_theta", "hidden_activation", "hidden_size",
                "initializer_cutoff_factor", "initializer_range", "intermediate_size", "local_attention", "local_rope_theta",
                "max_position_embeddings", "mlp_bias", "norm_bias", "norm_eps", "num_attention_heads", "num_hidden_layers",
                "pad_token_id", "sep_token_id", "vocab_size",
            ),
            dropouts={
                "dropout": "mlp_dropout", "attention_dropout": "attention_dropout", "seq_classif_dropout": "classifier_dropout",
            },
            targets=("Wqkv", "Wo", "Wi"),
            head=("head", "classifier"),
            head_weight="classifier.weight",
            tokenizers=(),
            embeddings="embeddings.tok_embeddings.weight",
            positions=None,
        ),
    )
}  # fmt: skip


def architecture_of(config: Mapping[str, object], place: str) -> Architecture:
    """The family that a `config.json` names.

    Args:
        config: The content of the file.
        place: What it describes, for the error.

    Raises:
        BundleError: it is none of `ARCHITECTURES`.
    """
    name = config.get("model_type")
    architecture = ARCHITECTURES.get(name) if isinstance(name, str) else None
    if architecture is None:
        raise BundleError(
            f"{place} is a {shown(name)}, expected one of {', '.join(ARCHITECTURES)}; choose another --base-model"
        )
    return architecture
