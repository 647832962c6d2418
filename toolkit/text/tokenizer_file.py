"""What a `tokenizer.json` may hold: DistilBERT's own pieces, so that a review costs what it costs with those.

The library reads many other pieces. Some take a regular expression, which may take exponential time, or make a panic in
Rust; some write a text for each character, and again for each of that; a word without a limit takes quadratic time.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from toolkit.errors import BundleError

_LARGEST_FILE = 1 << 25  # bytes, 32 MiB; the multilingual DistilBERT's has 2 MB
_LONGEST_WORD = 100  # characters; as in every BERT
_LONGEST_NAME = 100  # characters of a prefix or of an added token
_MOST_ADDED = 10_000
_LONGEST_TEMPLATE = 8  # pieces around a review
_WORD_PIECE = {"type", "unk_token", "continuing_subword_prefix", "max_input_chars_per_word", "vocab"}


def check_tokenizer_file(path: Path) -> None:
    """Look at a `tokenizer.json` before it is loaded.

    Raises:
        BundleError: it cannot be read, or is made of other pieces than DistilBERT's tokenizers.
    """
    try:
        size = path.stat().st_size
        content = json.loads(path.read_text(encoding="utf-8")) if size <= _LARGEST_FILE else None
    except (OSError, ValueError, RecursionError) as error:
        raise BundleError(f"{path} is not a readable tokenizer ({error}); save or export the model again") from error
    if content is None:
        raise BundleError(f"{path} has {size} bytes, expected {_LARGEST_FILE} at most; choose another model")
    if wrong := [name for name, holds in _PARTS.items() if not _holds(holds, content)]:
        raise BundleError(
            f"{path} is not a tokenizer of DistilBERT's: expected BertNormalizer, BertPreTokenizer and WordPiece as BERT "
            f"has them, found another {' and another '.join(wrong)}; choose another model"
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


def _is_template(part: Mapping[str, Any]) -> bool:
    """One piece before the review and one after it, as truncation and the count of the tokens assume."""
    if _is_of(part, "BertProcessing"):
        return True
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


_PARTS = {
    "normalizer": lambda content: _is_of(content["normalizer"], "BertNormalizer", None),
    "pre_tokenizer": lambda content: _is_of(content["pre_tokenizer"], "BertPreTokenizer"),
    "model": lambda content: _is_word_piece(content["model"]),
    "post_processor": lambda content: _is_template(content["post_processor"]),
    "added_tokens": lambda content: _are_added(content.get("added_tokens", [])),
}
