"""From a review to token ids: the only normalisation and the only tokenisation in the project."""

import copy
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
from tokenizers import Tokenizer

from toolkit.choices import Truncation, check_choice
from toolkit.errors import BundleError, EmptyReviewError
from toolkit.text.normalisation import TEXT_LIMIT, normalise
from toolkit.text.tokenizer_file import check_tokenizer_file
from toolkit.text.truncation import Spans, windows

_BATCH = 1024  # texts tokenised at a time


@dataclass(frozen=True, slots=True)
class Encoding:
    """One window of a review as the model reads it; most reviews have no other.

    Attributes:
        input_ids: The token ids, (T,) int64, with [CLS] and [SEP]; T is at most the tokenizer's `max_length`.
        tokens: The length of the whole review, counted the same way; more than T means that not all of it is read here.
            It is a lower bound for a text over `TEXT_LIMIT` characters, of which no more are counted.
        spans: Where the window's tokens stand in the review, see `toolkit.text.truncation.Spans`.
    """

    input_ids: np.ndarray
    tokens: int
    spans: Spans


def has_tokens(ids: np.ndarray) -> bool:
    """Whether there is anything to read in a text, given as `ReviewTokenizer.encode_whole` gives it."""
    return len(ids) > 2


def count_read(windows: Sequence[Encoding]) -> int:
    """The number of tokens of a review that were read in its windows, each once, with [CLS] and [SEP]."""
    end, count = 0, 2
    for start, stop in sorted(span for encoding in windows for span in encoding.spans):
        count += max(0, stop - max(start, end))
        end = max(end, stop)
    return count


class ReviewTokenizer:
    """The model's own tokenizer; it truncates reviews to `max_length` and counts what it left out.

    Args:
        tokenizer: A `tokenizers.Tokenizer`; padding and truncation stored in it are switched off on a copy.
        max_length: The number of tokens the model may see at a time, [CLS] and [SEP] included; 3 or more.
        truncation: What is read of a longer review.
    """

    def __init__(self, tokenizer: Tokenizer, max_length: int, truncation: Truncation = "head") -> None:
        self._begin(Tokenizer.from_str(tokenizer.to_str()), max_length, truncation)

    def _begin(self, tokenizer: Tokenizer, max_length: int, truncation: Truncation) -> None:
        """Begin with a tokenizer that is nobody else's: a copy takes as long as to read it."""
        _check_length(max_length)
        check_choice("truncation", truncation, Truncation)
        self._tokenizer = tokenizer
        self._tokenizer.no_padding()
        self._tokenizer.no_truncation()
        unknown = getattr(self._tokenizer.model, "unk_token", None)
        self._unknown = None if unknown is None else self._tokenizer.token_to_id(unknown)
        self._max_length = max_length
        self._truncation = truncation

    @property
    def max_length(self) -> int:
        """The number of tokens the model may see at a time, [CLS] and [SEP] included."""
        return self._max_length

    @property
    def truncation(self) -> Truncation:
        """What is read of a review with more tokens than that."""
        return self._truncation

    @classmethod
    def from_file(cls, path: Path, max_length: int, truncation: Truncation = "head") -> Self:
        """Read a `tokenizer.json`.

        Raises:
            BundleError: The file is missing or not a tokenizer of DistilBERT's.
        """
        check_tokenizer_file(path)
        try:
            tokenizer = Tokenizer.from_file(str(path))
        except Exception as error:  # the Rust side raises bare Exception
            raise BundleError(
                f"{path} is not a readable tokenizer ({error}); save or export the model again"
            ) from error
        reader = cls.__new__(cls)
        reader._begin(tokenizer, max_length, truncation)
        return reader

    @classmethod
    def wrap(
        cls,
        tokenizer: Any,  # noqa: ANN401 - any of three tokenizer classes
        max_length: int,
        truncation: Truncation | None = None,
    ) -> Self:
        """Accept a transformers fast tokenizer, a `tokenizers.Tokenizer` or a `ReviewTokenizer`.

        The last keeps its truncation unless another is named, and shares its vocabulary.
        """
        if isinstance(tokenizer, cls):
            return tokenizer.with_options(max_length, truncation)
        inner = getattr(tokenizer, "backend_tokenizer", None) or tokenizer
        if not isinstance(inner, Tokenizer):
            raise TypeError(
                f"expected a fast tokenizer (AutoTokenizer.from_pretrained gives one), found {type(tokenizer).__name__}"
            )
        return cls(inner, max_length, truncation or "head")

    def with_options(self, max_length: int | None = None, truncation: Truncation | None = None) -> Self:
        """The same tokenizer with another length or truncation; it shares the vocabulary, of which a copy takes 6 MB."""
        view = copy.copy(self)
        if max_length is not None:
            _check_length(max_length)
            view._max_length = max_length
        if truncation is not None:
            check_choice("truncation", truncation, Truncation)
            view._truncation = truncation
        return view

    def encode(self, texts: Sequence[str]) -> list[Encoding]:
        """The first window of each text that the model is to read; see `encode_windows`."""
        return [encodings[0] for encodings in self.encode_windows(texts)]

    def encode_windows(self, texts: Sequence[str]) -> list[list[Encoding]]:
        """For each text the windows that the model is to read, in the order of reading; one at least.

        Raises:
            EmptyReviewError: A text has no visible character, or none that the vocabulary knows; such a row must never
                reach a model.
        """
        sequences = self.encode_whole(texts)
        if not all(map(has_tokens, sequences)):
            raise EmptyReviewError
        return [self.windows(ids) for ids in sequences]

    def encode_whole(self, texts: Sequence[str]) -> list[np.ndarray]:
        """Normalise and tokenise the first `TEXT_LIMIT` characters of each text in batches, on every core.

        Returns:
            For each text all its token ids, (T,) int64, with [CLS] and [SEP]; more, it may be, than a model can read. Of a
            text without anything that the vocabulary knows no more than those two, see `has_tokens`.
        """
        sequences = [np.array(ids, np.int64) for ids in self._ids([normalise(text[:TEXT_LIMIT]) for text in texts])]
        return [ids[[0, -1]] if (ids[1:-1] == self._unknown).all() else ids for ids in sequences]

    def locate(self, text: str) -> tuple[np.ndarray, np.ndarray]:
        """Tokenise a normalised text of at most `TEXT_LIMIT` characters, and say where its tokens stand.

        Returns:
            The token ids as `encode_whole` gives them, (T,) int64, and for each token the first of its characters and the
            one after its last, (T, 2) int64.
        """
        encoding = self._tokenizer.encode(text)
        return np.array(encoding.ids, np.int64), np.array(encoding.offsets, np.int64).reshape(-1, 2)

    def _ids(self, cleaned: Sequence[str]) -> Iterator[list[int]]:
        for batch in _batches(cleaned):
            yield from (encoding.ids for encoding in self._tokenizer.encode_batch_fast(batch))

    def windows(self, ids: np.ndarray) -> list[Encoding]:
        """Cut a text, as `encode_whole` gives it, into the windows that the model is to read."""
        return [
            Encoding(
                np.concatenate([ids[:1], *(ids[1 + start : 1 + stop] for start, stop in spans), ids[-1:]]),
                len(ids),
                spans,
            )
            for spans in windows(self.truncation, len(ids) - 2, self.max_length - 2)  # [CLS] and [SEP] stay
        ]

    def save(self, path: Path) -> None:
        """Write `tokenizer.json`, without padding or truncation, which belong to the caller."""
        self._tokenizer.save(str(path))


def _tokenise_in_one_thread() -> None:
    """In a forked process: the threads that tokenizers had did not come along, and it would wait for them.

    It sees to that itself, but not where this variable says otherwise.
    """
    os.environ["TOKENIZERS_PARALLELISM"] = "false"


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_tokenise_in_one_thread)


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
