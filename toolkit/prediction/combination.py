"""Two readers, one answer: how the n-grams' logits and the transformer's are summed, and when the former suffice."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np

from toolkit.choices import ReadBy
from toolkit.errors import BundleError
from toolkit.models.bundle import NGRAM_TABLE, Manifest
from toolkit.prediction.ngrams import NgramScores, NgramTable

NEVER = 2.0  # no probability is as high
_NOT_WRITTEN = "model_temperature"
_PER_TOKENS = 100  # the length at which `slope` is what it says


class Answers(NamedTuple):
    """What n texts are answered by each choice of readers.

    Attributes:
        ngrams: Calibrated logits of the n-grams alone, (n, k).
        both: Those of both readers, (n, k).
        auto: Those of the n-grams where they suffice, of both where they do not, (n, k).
        skipped: Whether the n-grams suffice, (n,).
    """

    ngrams: np.ndarray
    both: np.ndarray
    auto: np.ndarray
    skipped: np.ndarray


@dataclass(frozen=True, slots=True)
class Combination:
    """The rule by which two readers become one, fitted when the model was trained or exported.

    Attributes:
        slope: The factor that calibrates the n-grams' logits alone, for a text of 100 tokens.
        exponent: How that factor falls with length: it is multiplied by (tokens / 100) to the power of -`exponent`.
        temperature: The number by which the transformer's logits are divided in the sum of a text with all its evidence.
        weight: The factor of the n-grams' calibrated logits in the sum.
        evidence: The number of tokens from which on n-grams have their full weight; in a text with half as many, half of it.
        certain: The calibrated probability from which on n-grams decide alone; `NEVER` where they do not.
        fewest_tokens: The number of tokens that a text needs for that.
        least_familiar: The familiarity that it needs, see `NgramScores`.
        unfamiliar_below: The familiarity below which a text is unlike those that the model has learnt from.
        model_temperature: The number that calibrates the transformer alone, which is all that the sum is of a text without
            evidence. Not part of the JSON: a model's manifest has it once.
    """

    slope: float = 1.0
    exponent: float = 0.0
    temperature: float = 1.0
    weight: float = 1.0
    evidence: float = 60.0
    certain: float = NEVER
    fewest_tokens: int = 0
    least_familiar: float = 0.0
    unfamiliar_below: float = 0.0
    model_temperature: float = 1.0

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Self:
        """What `to_json` wrote.

        Raises:
            ValueError: It is something else.
        """
        names = [each.name for each in fields(cls) if each.name != _NOT_WRITTEN]
        if content.keys() != {*names}:
            raise ValueError(f"expected the fields {', '.join(names)}")
        if not all(type(number) in (int, float) and np.isfinite(number) for number in content.values()):
            raise ValueError("expected finite numbers")
        if min(content["slope"], content["temperature"], content["evidence"]) <= 0:
            raise ValueError("expected a slope, a temperature and an evidence over 0")
        return cls(**content)

    def rescaled(self, factor: float) -> Self:
        """The rule for a transformer whose logits are `factor` times as large."""
        return replace(self, temperature=self.temperature * factor, model_temperature=self.model_temperature * factor)

    def to_json(self) -> dict[str, Any]:
        """The rule as a manifest has it."""
        return {name: value for name, value in asdict(self).items() if name != _NOT_WRITTEN}

    def factors(self, tokens: np.ndarray, read_by: ReadBy) -> np.ndarray:
        """What the n-grams' logits are multiplied by in an answer, (n,): in one given by `ngrams`, or by `both` readers.

        Args:
            tokens: The number of tokens of each whole text, (n,).
            read_by: `ngrams` or `both`.
        """
        factors: np.ndarray = self.slope * (tokens / _PER_TOKENS) ** -self.exponent
        return factors if read_by == "ngrams" else factors * self.weight * self._share(tokens)

    def model_factors(self, tokens: np.ndarray) -> np.ndarray:
        """What the transformer's logits are multiplied by in the sum, (n,), as `factors` is for the n-grams'.

        The less evidence there is, the nearer is the sum to what the transformer says alone.
        """
        share = self._share(tokens)
        factors: np.ndarray = share / self.temperature + (1.0 - share) / self.model_temperature
        return factors

    def _share(self, tokens: np.ndarray) -> np.ndarray:
        """How much of the evidence that n-grams need for their full weight is there, (n,)."""
        share: np.ndarray = np.minimum(1.0, tokens / self.evidence)
        return share

    def alone(self, scores: NgramScores, tokens: np.ndarray) -> np.ndarray:
        """Calibrated logits of the n-grams alone, (n, k); `tokens` are those of each whole text, (n,)."""
        calibrated: np.ndarray = scores.logits * self.factors(tokens, "ngrams")[:, np.newaxis]
        return calibrated

    def together(self, scores: NgramScores, tokens: np.ndarray, logits: np.ndarray) -> np.ndarray:
        """Calibrated logits of both readers, (n, k), from those of the transformer as it gave them."""
        weighed = scores.logits * self.factors(tokens, "both")[:, np.newaxis]
        calibrated: np.ndarray = logits * self.model_factors(tokens)[:, np.newaxis] + weighed
        return calibrated

    def suffices(self, scores: NgramScores, tokens: np.ndarray) -> np.ndarray:
        """(n,) Whether the n-grams decide alone, so that nobody needs to ask the transformer."""
        probabilities = softmax(self.alone(scores, tokens)).max(axis=1)
        known = (tokens >= self.fewest_tokens) & (scores.familiarity >= self.least_familiar)
        sufficient: np.ndarray = (probabilities >= self.certain) & known
        return sufficient

    def answers(self, scores: NgramScores, tokens: np.ndarray, logits: np.ndarray) -> Answers:
        """Every choice of readers at once; arguments as those of `together`."""
        alone, both = self.alone(scores, tokens), self.together(scores, tokens, logits)
        skipped = self.suffices(scores, tokens)
        return Answers(alone, both, np.where(skipped[:, np.newaxis], alone, both), skipped)


class NgramReader:
    """A table and the rule for it, as a model's folder has them.

    Args:
        table: The weights.
        rule: How much they count.
    """

    def __init__(self, table: NgramTable, rule: Combination) -> None:
        self.table = table
        self.rule = rule

    @classmethod
    def load(cls, folder: Path, manifest: Manifest) -> Self | None:
        """The reader that stands beside a model in its folder; None where there is none.

        Raises:
            BundleError: The table or the rule is damaged, or made for other labels.
        """
        if manifest.ngrams is None:
            return None
        try:
            scales, rule = manifest.ngrams["scales"], Combination.from_json(manifest.ngrams["rule"])
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise BundleError(f"{folder} garbles the rule for n-grams ({error}); make the model again") from error
        table = NgramTable.load(folder / NGRAM_TABLE, scales)
        if table.labels != len(manifest.labels):
            raise BundleError(
                f"{folder / NGRAM_TABLE} knows {table.labels} labels, expected {len(manifest.labels)}; make the model again"
            )
        return cls(table, replace(rule, model_temperature=manifest.temperature))

    def describe(self) -> dict[str, Any]:
        """What a manifest says of it."""
        return {"scales": self.table.scales.tolist(), "rule": self.rule.to_json()}


def lengths(sequences: Sequence[np.ndarray]) -> np.ndarray:
    """The number of tokens of each text, (n,)."""
    return np.array([len(ids) for ids in sequences], np.float64)


def softmax(logits: np.ndarray) -> np.ndarray:
    """Probabilities of each row, (n, k) float64."""
    exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))
    probabilities: np.ndarray = exponentials / exponentials.sum(axis=1, keepdims=True)
    return probabilities
