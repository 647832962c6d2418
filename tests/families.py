"""A random encoder of each family that can be trained, two layers of 32, with a tokenizer of the family's kind."""

import json
from collections import Counter
from pathlib import Path

from tokenizers import Tokenizer, decoders, normalizers, pre_tokenizers, processors
from tokenizers.models import BPE, Unigram, WordPiece
from tokenizers.trainers import BpeTrainer

BERT_MARKS = {
    "pad_token": "[PAD]",
    "unk_token": "[UNK]",
    "cls_token": "[CLS]",
    "sep_token": "[SEP]",
    "mask_token": "[MASK]",
}
ROBERTA_MARKS = {
    "cls_token": "<s>",
    "pad_token": "<pad>",
    "sep_token": "</s>",
    "unk_token": "<unk>",
    "mask_token": "<mask>",
}
SIZES = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "initializer_range": 0.2,
}
# By family: the kind of its tokenizer, its marks, and what its configuration has beside the sizes.
FAMILIES = {
    "bert": (WordPiece, BERT_MARKS, {}),
    "electra": (WordPiece, BERT_MARKS, {"embedding_size": 16}),
    "mpnet": (WordPiece, ROBERTA_MARKS, {"max_position_embeddings": 66}),
    "roberta": (BPE, ROBERTA_MARKS, {"max_position_embeddings": 66}),
    "xlm-roberta": (Unigram, ROBERTA_MARKS, {"max_position_embeddings": 66}),
    "deberta-v2": (
        Unigram,
        BERT_MARKS,
        {"relative_attention": True, "position_buckets": 16, "pos_att_type": ["p2c", "c2p"], "position_biased_input": False,
         "share_att_key": True, "norm_rel_ebd": "layer_norm", "max_position_embeddings": 64},
    ),
    "modernbert": (BPE, BERT_MARKS, {"max_position_embeddings": 64, "local_attention": 16}),
}  # fmt: skip


def family_base(family: str, folder: Path, texts: list[str]) -> Path:
    """Write a random base of a family, as `save_pretrained` leaves it, with a tokenizer made from some texts."""
    import torch
    from transformers import AutoConfig, AutoModel, PreTrainedTokenizerFast

    kind, marks, own = FAMILIES[family]
    tokenizer = _TOKENIZERS[kind](list(marks.values()), texts)
    first, last = marks["cls_token"], marks["sep_token"]
    ends = {first: tokenizer.token_to_id(first), last: tokenizer.token_to_id(last)}
    if family in ("mpnet", "roberta"):
        tokenizer.post_processor = processors.RobertaProcessing((last, ends[last]), (first, ends[first]))
    else:
        tokenizer.post_processor = processors.TemplateProcessing(
            f"{first} $A {last}", special_tokens=list(ends.items())
        )
    ids = {
        "pad_token_id": tokenizer.token_to_id(marks["pad_token"]),
        **({"cls_token_id": ends[first], "sep_token_id": ends[last]} if family == "modernbert" else {}),
    }
    config = AutoConfig.for_model(family, vocab_size=tokenizer.get_vocab_size(), **SIZES, **own, **ids)
    torch.manual_seed(0)
    AutoModel.from_config(config).save_pretrained(folder)
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, **marks).save_pretrained(folder)
    return folder


def said(folder: Path, **changed: object) -> None:
    """Let a base's configuration say something else."""
    file = folder / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | changed))


def _word_pieces(marks: list[str], texts: list[str]) -> Tokenizer:
    normalizer, split = normalizers.BertNormalizer(), pre_tokenizers.BertPreTokenizer()
    words = Counter(word for text in texts for word, _ in split.pre_tokenize_str(normalizer.normalize_str(text)))
    letters = sorted(set("".join(words)))
    common = sorted(words, key=lambda word: (-words[word], word))[:200]
    pieces = dict.fromkeys([*marks, *letters, *(f"##{letter}" for letter in letters), *common])
    unknown = next(mark for mark in marks if "unk" in mark.lower())
    tokenizer = Tokenizer(WordPiece({piece: number for number, piece in enumerate(pieces)}, unk_token=unknown))
    tokenizer.normalizer, tokenizer.pre_tokenizer = normalizer, split
    return tokenizer


def _byte_pairs(marks: list[str], texts: list[str]) -> Tokenizer:
    tokenizer = Tokenizer(BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = BpeTrainer(vocab_size=500, special_tokens=marks, initial_alphabet=alphabet, show_progress=False)
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


def _sentence_pieces(marks: list[str], texts: list[str]) -> Tokenizer:
    words = Counter(f"▁{word}" for text in texts for word in text.split())
    common = sorted(words, key=lambda word: (-words[word], word))[:200]
    letters = sorted(set("".join(words)) - set(common))
    pieces = [*((mark, 0.0) for mark in marks), *((word, -5.0) for word in common), *((each, -9.0) for each in letters)]
    unknown = next(number for number, mark in enumerate(marks) if "unk" in mark.lower())
    tokenizer = Tokenizer(Unigram(pieces, unk_id=unknown, byte_fallback=False))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Strip(), normalizers.Replace(_RUN, " ")])
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    return tokenizer


def _runs_of_spaces() -> object:
    from tokenizers import Regex

    return Regex(" {2,}")


_RUN = _runs_of_spaces()
_TOKENIZERS = {WordPiece: _word_pieces, BPE: _byte_pairs, Unigram: _sentence_pieces}
