"""Reviews as tensors for the Trainer."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
import torch
from torch.utils.data import Dataset

from toolkit.datasets.soft_labels import SoftLabel
from toolkit.datasets.splits import Review, read_reviews
from toolkit.text.tokenisation import ReviewTokenizer

NO_LABEL = -100  # what torch's cross-entropy passes over


class IMDBDataset(Dataset[dict[str, torch.Tensor]]):
    """A CSV of reviews (columns `text` and `label`, 0 negative, 1 positive), tokenised once when it is made.

    An item has `input_ids` (T,), `attention_mask` (T,) and `labels` (), all int64. T is the review's own length, so
    that a collator pads to the longest of a batch only; `padding="max_length"` pads every item to `max_length`.

    Args:
        csv_file: path of the CSV.
        tokenizer: a transformers fast tokenizer, a `tokenizers.Tokenizer` or a `ReviewTokenizer`.
        max_length: tokens kept of a review, [CLS] and [SEP] included.
        padding: False or `"max_length"`.

    Raises:
        DataError: lists every unusable row.
    """

    def __init__(
        self,
        csv_file: str | Path,
        tokenizer: Any,  # noqa: ANN401 - see ReviewTokenizer.wrap
        max_length: int = 512,
        padding: Literal[False, "max_length"] = False,
    ) -> None:
        self._fill(read_reviews(Path(csv_file), others=()), tokenizer, max_length, padding)

    @classmethod
    def from_reviews(cls, reviews: Sequence[Review], tokenizer: Any, max_length: int = 512) -> Self:  # noqa: ANN401
        """The same of reviews already in memory."""
        dataset = cls.__new__(cls)
        dataset._fill(reviews, tokenizer, max_length, False)
        return dataset

    def _fill(
        self,
        reviews: Sequence[Review],
        tokenizer: Any,  # noqa: ANN401
        max_length: int,
        padding: Literal[False, "max_length"],
    ) -> None:
        self._tokenise([review.text for review in reviews], tokenizer, max_length, padding)
        self._labels = torch.tensor([int(review.label) for review in reviews])  # (N,)

    def _tokenise(
        self,
        texts: Sequence[str],
        tokenizer: Any,  # noqa: ANN401
        max_length: int,
        padding: Literal[False, "max_length"],
    ) -> None:
        encodings = ReviewTokenizer.wrap(tokenizer, max_length).encode(texts)
        self._padded_length = max_length if padding == "max_length" else 0
        self._pad_token_id = getattr(tokenizer, "pad_token_id", None) or 0
        self._input_ids = [torch.from_numpy(encoding.input_ids) for encoding in encodings]

    def __len__(self) -> int:
        """Number of reviews."""
        return len(self._input_ids)

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        """The review at `index`; see the class."""
        input_ids = self._input_ids[index]
        attention_mask = torch.ones_like(input_ids)
        missing = self._padded_length - len(input_ids)
        if missing > 0:
            input_ids = torch.nn.functional.pad(input_ids, (0, missing), value=self._pad_token_id)
            attention_mask = torch.nn.functional.pad(attention_mask, (0, missing))
        return {"input_ids": input_ids, "attention_mask": attention_mask, "labels": self._labels[index]}


class DistillationDataset(IMDBDataset):
    """Labelled reviews beside texts of which a teacher has said its probabilities; a text that is both is one item.

    An item has, beside what `IMDBDataset` gives, `soft_labels` (k,) float32, all zero where the teacher said nothing; its
    `labels` are `NO_LABEL` where nobody else did.

    Args:
        reviews: The labelled reviews; none where their labels are not to be learnt.
        soft: The teacher's.
        tokenizer: As for `IMDBDataset`.
        max_length: Likewise.
    """

    def __init__(
        self,
        reviews: Sequence[Review],
        soft: Sequence[SoftLabel],
        tokenizer: Any,  # noqa: ANN401 - see ReviewTokenizer.wrap
        max_length: int = 512,
    ) -> None:
        said = {each.text: each.probabilities for each in soft}
        labels = {review.text: int(review.label) for review in reviews}
        texts = [*labels, *(text for text in said if text not in labels)]
        nothing = np.zeros_like(soft[0].probabilities)
        self._tokenise(texts, tokenizer, max_length, False)
        self._labels = torch.tensor([labels.get(text, NO_LABEL) for text in texts])  # (N,)
        self._soft_labels = torch.from_numpy(np.stack([said.get(text, nothing) for text in texts]))  # (N, k)

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        """The text at `index`; see the class."""
        return {**super().__getitem__(index), "soft_labels": self._soft_labels[index]}
