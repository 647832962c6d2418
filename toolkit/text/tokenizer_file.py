"""What a `tokenizer.json` may hold: the pieces of BERT's, RoBERTa's and XLM-R's, so that a review costs what it costs with those.

The library reads many other pieces. Some take a regular expression, which may take exponential time, or make a panic in
Rust; some write a text for each character, and again for each of that; a word without a limit takes quadratic time.
"""

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from toolkit.errors import BundleError
from toolkit.text.character_map import is_character_map

_LARGEST_FILE = 1 << 25  # bytes, 32 MiB; the multilingual DistilBERT's has 2 MB
_LONGEST_WORD = 100  # characters; as in every BERT
_LONGEST_NAME = 100  # characters of a prefix or of an added token
_MOST_ADDED = 10_000
_LONGEST_TEMPLATE = 8  # pieces around a review
_MOST_PIECES = 1 << 19  # of a vocabulary; XLM-R's has a quarter of a million
_MOST_STEPS = 8  # of a normalisation
_RUN_OF_SPACES = {"Regex": " {2,}"}  # the only expression there may be, as SentencePiece's tokenizers have it
_WORD_PIECE = {"type", "unk_token", "continuing_subword_prefix", "max_input_chars_per_word", "vocab"}
_BYTE_PAIRS = {"type", "unk_token", "fuse_unk", "vocab", "merges", "ignore_merges"}
_SENTENCE_PIECES = {"type", "unk_id", "vocab"}


def check_tokenizer_file(path: Path) -> None:
    """Look at a `tokenizer.json` before it is loaded.

    Raises:
        BundleError: it cannot be read, or is made of other pieces than those tokenizers.
    """
    try:
        size = path.stat().st_size
        content = json.loads(path.read_text(encoding="utf-8")) if size <= _LARGEST_FILE else None
    except (OSError, ValueError, RecursionError) as error:
        raise BundleError(f"{path} is not a readable tokenizer ({error}); save or export the model again") from error
    if content is None:
        raise BundleError(f"{path} has {size} bytes, expected {_LARGEST_FILE} at most; choose another model")
    kind = _kind_of(content)
    if wrong := [name for name, holds in kind.parts.items() if not _holds(holds, content)]:
        raise BundleError(
            f"{path} is not a tokenizer of {kind.of}'s: expected {kind.expected}, found another "
            f"{' and another '.join(wrong)}; choose another model"
        )


def _holds(holds: Any, content: Any) -> bool:  # noqa: ANN401
    try:
        return bool(holds(content))
    except (KeyError, TypeError, ValueError, AttributeError):  # of another form altogether
        return False


def _is_of(part: Mapping[str, Any] | None, *kinds: str | None) -> bool:
    return (part["type"] if part is not None else None) in kinds


def _is_id(value: object, limit: int = 1 << 20) -> bool:
    """The library keeps a place for each id up to the largest."""
    return type(value) is int and 0 <= value < limit


def _is_name(value: object) -> bool:
    return isinstance(value, str) and len(value) <= _LONGEST_NAME


def _is_word_piece(model: Mapping[str, Any]) -> bool:
    return (
        model.get("type", "WordPiece") == "WordPiece"  # old files leave it out
        and model.keys() <= _WORD_PIECE
        and _is_name(model["continuing_subword_prefix"])
        and model["unk_token"] in model["vocab"]
        and 0 < model["max_input_chars_per_word"] <= _LONGEST_WORD
        and all(_is_id(each, len(model["vocab"]) + _MOST_ADDED) for each in model["vocab"].values())
    )


def _is_byte_pairs(model: Mapping[str, Any]) -> bool:
    """A word is merged in time n log n, whatever its length."""
    merges = [each.split(" ") if isinstance(each, str) else each for each in model["merges"]]
    return (
        _is_of(model, "BPE")
        and _sets_only(model, _BYTE_PAIRS)
        and len(model["vocab"]) <= _MOST_PIECES
        and len(merges) <= _MOST_PIECES
        and all(
            _is_name(piece) and _is_id(number, len(model["vocab"]) + _MOST_ADDED)
            for piece, number in model["vocab"].items()
        )
        and all(len(each) == 2 and all(map(_is_name, each)) for each in merges)
    )


def _is_sentence_pieces(model: Mapping[str, Any]) -> bool:
    """From each character the pieces that begin there are looked at, which the longest piece limits."""
    return (
        _is_of(model, "Unigram")
        and _sets_only(model, _SENTENCE_PIECES)
        and 0 < len(model["vocab"]) <= _MOST_PIECES
        and _is_id(model["unk_id"], len(model["vocab"]))
        and all(piece and _is_name(piece) and math.isfinite(score) for piece, score in model["vocab"])
    )


def _sets_only(part: Mapping[str, Any], names: set[str]) -> bool:
    return not any(part[name] for name in part.keys() - names)


def _is_normalizer(part: Mapping[str, Any] | None) -> bool:
    """Of SentencePiece's: each step writes a character or a few for one."""
    if _is_of(part, "Sequence"):
        return len(part["normalizers"]) <= _MOST_STEPS and all(map(_is_step, part["normalizers"]))  # type: ignore[index]
    return part is None or _is_step(part)


def _is_step(part: Mapping[str, Any]) -> bool:
    if _is_of(part, "Replace"):
        return part["pattern"] == _RUN_OF_SPACES and part["content"] in (" ", "▁")
    if _is_of(part, "Precompiled"):
        return is_character_map(part["precompiled_charsmap"])
    return _is_of(part, "Strip", "Lowercase")


def _is_metaspace(part: Mapping[str, Any]) -> bool:
    if _is_of(part, "Sequence"):
        steps = part["pretokenizers"]
        return len(steps) == 2 and _is_of(steps[0], "WhitespaceSplit", "Punctuation") and _is_metaspace(steps[1])
    return _is_of(part, "Metaspace") and len(part["replacement"]) == 1


def _is_template(part: Mapping[str, Any]) -> bool:
    """One piece before the review and one after it, as truncation and the count of the tokens assume."""
    if _is_of(part, "BertProcessing"):
        return True
    if _is_of(part, "RobertaProcessing"):
        return all(_is_id(part[name][1]) for name in ("cls", "sep"))
    before, review, after = part["single"]
    names = {before["SpecialToken"]["id"], after["SpecialToken"]["id"]}
    ids = (part["special_tokens"][name]["ids"] for name in names)
    return (
        _is_of(part, "TemplateProcessing")
        and review["Sequence"]["id"] == "A"
        and len(part["pair"]) <= _LONGEST_TEMPLATE
        and all(len(each) == 1 and _is_id(each[0]) for each in ids)
    )


def _are_added(tokens: Any) -> bool:  # noqa: ANN401
    return len(tokens) <= _MOST_ADDED and all(_is_id(each["id"]) and _is_name(each["content"]) for each in tokens)


@dataclass(frozen=True)
class _Kind:
    """Pieces that belong together: those whose tokenizers they are, in words, and what each part of the file holds."""

    of: str
    expected: str
    parts: dict[str, Callable[[Any], bool]]


def _kind(
    of: str,
    expected: str,
    normalizer: Callable[[Any], bool],
    pre_tokenizer: Callable[[Any], bool],
    model: Callable[[Any], bool],
) -> _Kind:
    parts: dict[str, Callable[[Any], bool]] = {
        "normalizer": lambda content: normalizer(content["normalizer"]),
        "pre_tokenizer": lambda content: pre_tokenizer(content["pre_tokenizer"]),
        "model": lambda content: model(content["model"]),
        "post_processor": lambda content: _is_template(content["post_processor"]),
        "added_tokens": lambda content: _are_added(content.get("added_tokens", [])),
    }
    return _Kind(of, expected, parts)


_WORD_PIECES_KIND = _kind(
    "DistilBERT",
    "BertNormalizer, BertPreTokenizer and WordPiece as BERT has them",
    lambda part: _is_of(part, "BertNormalizer", None),
    lambda part: _is_of(part, "BertPreTokenizer"),
    _is_word_piece,
)
_BYTE_PAIRS_KIND = _kind(
    "RoBERTa",
    "ByteLevel and BPE as RoBERTa and ModernBERT have them",
    lambda part: _is_of(part, "NFC", None),
    lambda part: _is_of(part, "ByteLevel"),
    _is_byte_pairs,
)
_SENTENCE_PIECES_KIND = _kind(
    "XLM-R",
    "Metaspace and Unigram as XLM-R and DeBERTa have them, normalised by SentencePiece's means",
    _is_normalizer,
    _is_metaspace,
    _is_sentence_pieces,
)
_KINDS = {"ByteLevel": _BYTE_PAIRS_KIND, "Metaspace": _SENTENCE_PIECES_KIND, "Sequence": _SENTENCE_PIECES_KIND}


def _kind_of(content: Any) -> _Kind:  # noqa: ANN401
    """The kind of a tokenizer, by how it splits a text into words."""
    try:
        return _KINDS.get(content["pre_tokenizer"]["type"], _WORD_PIECES_KIND)
    except (KeyError, TypeError, IndexError):
        return _WORD_PIECES_KIND
