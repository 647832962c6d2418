"""From a review to token ids: the only normalisation and the only tokenisation in the project."""

import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any, Self

import numpy as np
from tokenizers import Tokenizer

from toolkit.errors import BundleError, EmptyReviewError
from toolkit.text.normalisation import TEXT_LIMIT, normalise
from toolkit.text.truncation import Part, parts

_BATCH = 1024  # texts tokenised at a time


@dataclass(frozen=True, slots=True)
class Encoding:
    """One part of a review as the model reads it, for most policies the only one.

    Attributes:
        input_ids: (T,) int64, with [CLS] and [SEP]; T is at most the tokenizer's `max_length`.
        tokens: length of the whole review counted the same way; more than T means that not all of it is read here. A
            lower bound for a text over `TEXT_LIMIT` characters, of which no more are counted; exact for any other.
        part: where it stands in the review, see `toolkit.text.truncation.Part`.
    """

    input_ids: np.ndarray
    tokens: int
    part: Part


def count_read(parts: Sequence[Encoding]) -> int:
    """Tokens of a review that were read in `parts` of it, each once, and [CLS] and [SEP]."""
    end, count = 0, 2
    for start, stop in sorted(stretch for encoding in parts for stretch in encoding.part):
        count += max(0, stop - max(start, end))
        end = max(end, stop)
    return count


class ReviewTokenizer:
    """The model's own tokenizer, cutting reviews to `max_length` and counting what it cut.

    Args:
        tokenizer: a `tokenizers.Tokenizer`; padding and truncation stored in it are switched off on a copy.
        max_length: tokens the model may see at a time, [CLS] and [SEP] included; 3 to the model's positions.
        policy: what is read of a longer review, one of `toolkit.text.truncation.POLICIES`.
    """

    def __init__(self, tokenizer: Tokenizer, max_length: int, policy: str = "head") -> None:
        _check_length(max_length)
        self._tokenizer = Tokenizer.from_str(tokenizer.to_str())
        self._tokenizer.no_padding()
        self._tokenizer.no_truncation()
        self.max_length = max_length
        self.policy = policy

    @classmethod
    def from_file(cls, path: Path, max_length: int, policy: str = "head") -> Self:
        """Read a `tokenizer.json`.

        Raises:
            BundleError: the file is missing or not a tokenizer.
        """
        try:
            tokenizer = Tokenizer.from_file(str(path))
        except Exception as error:  # the Rust side raises bare Exception
            raise BundleError(
                f"{path} is not a readable tokenizer ({error}); save or export the model again"
            ) from error
        return cls(tokenizer, max_length, policy)

    @classmethod
    def wrap(cls, tokenizer: Any, max_length: int) -> Self:  # noqa: ANN401 - any of three tokenizer classes
        """Accept a transformers fast tokenizer, a `tokenizers.Tokenizer` or a `ReviewTokenizer`.

        The last keeps its way of reading and shares its vocabulary, of which a copy takes 6 MB.
        """
        if isinstance(tokenizer, cls):
            _check_length(max_length)
            view = copy.copy(tokenizer)
            view.max_length = max_length
            return view
        inner = getattr(tokenizer, "backend_tokenizer", None) or tokenizer
        if not isinstance(inner, Tokenizer):
            raise TypeError(
                f"expected a fast tokenizer (AutoTokenizer.from_pretrained gives one), found {type(tokenizer).__name__}"
            )
        return cls(inner, max_length)

    def encode(self, texts: Sequence[str]) -> list[Encoding]:
        """The first part of each text that the model is to read, for most policies the only one; see `encode_parts`."""
        return [encodings[0] for encodings in self.encode_parts(texts)]

    def encode_parts(self, texts: Sequence[str]) -> list[list[Encoding]]:
        """Normalise and tokenise the first `TEXT_LIMIT` characters of each text in batches, on every core.

        Returns:
            For each text the parts that the model is to read, in the order of reading; one at least.

        Raises:
            EmptyReviewError: a text has no visible character; such a row must never reach a model.
        """
        cleaned = [normalise(text[:TEXT_LIMIT]) for text in texts]
        if not all(cleaned):
            raise EmptyReviewError
        return [
            self._cut(encoding.ids)
            for batch in _batches(cleaned)
            for encoding in self._tokenizer.encode_batch_fast(batch)
        ]

    def _cut(self, ids: list[int]) -> list[Encoding]:
        return [
            Encoding(
                np.array(
                    [ids[0], *chain.from_iterable(ids[1 + start : 1 + stop] for start, stop in part), ids[-1]], np.int64
                ),
                len(ids),
                part,
            )
            for part in parts(self.policy, len(ids) - 2, self.max_length - 2)  # [CLS] and [SEP] stay
        ]

    def save(self, path: Path) -> None:
        """Write `tokenizer.json`, without padding or truncation, which belong to the caller."""
        self._tokenizer.save(str(path))


def _check_length(max_length: int) -> None:
    if max_length < 3:
        raise ValueError(
            f"max_length must leave room for one token beside [CLS] and [SEP]: 3 or more, not {max_length}"
        )


def _batches(texts: Sequence[str]) -> Iterator[list[str]]:
    """So few texts at a time that what the tokenizer holds of them stays within that of one text of `TEXT_LIMIT`."""
    batch: list[str] = []
    characters = 0
    for text in texts:
        if batch and (len(batch) == _BATCH or characters + len(text) > TEXT_LIMIT):
            yield batch
            batch, characters = [], 0
        batch.append(text)
        characters += len(text)
    if batch:
        yield batch
