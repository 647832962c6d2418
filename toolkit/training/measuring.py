"""What a trained model says of whole splits, in a fraction of the time that torch takes on a CPU."""

import copy
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch

from export.comparison import spread
from export.convert import convert_to_onnx, float_graph
from export.parity import EXACT
from toolkit.datasets.splits import Review
from toolkit.models.adapter import merge_adapter
from toolkit.models.bundle import Manifest
from toolkit.models.workspaces import workspace
from toolkit.prediction import Predictor
from toolkit.prediction.onnx_backend import OnnxPredictor
from toolkit.prediction.torch_backend import TorchPredictor
from toolkit.progress import track
from toolkit.text.tokenisation import Encoding, ReviewTokenizer

_WORTH_CONVERTING = 1000  # reviews; torch reads fewer in the time that a conversion takes
_PROOF = 64  # reviews that both read
_CHUNK = 512  # reviews between two reports
_logger = logging.getLogger(__name__)


def whole_splits(
    model: torch.nn.Module,
    tokenizer: ReviewTokenizer,
    manifest: Manifest,
    splits: Mapping[str, Sequence[Review]],
    near: Path,
) -> dict[str, np.ndarray]:
    """The logits of every review, (n, k) by split, in float32, however the model was trained.

    On a CPU the graph that an export would compare everything with reads many reviews, several times as fast as torch; torch reads
    some of them too, of every length, and all of them where the two do not agree as the export's exact stages have to.

    Args:
        model: The model in evaluation mode, with its adapter beside or merged.
        tokenizer: The model's tokenizer, with the length and the truncation.
        manifest: What is known of the model.
        splits: The reviews.
        near: The path beside which the graph is written, and removed again.
    """
    predictor = TorchPredictor(model, tokenizer, manifest)
    encodings = {split: tokenizer.encode([review.text for review in reviews]) for split, reviews in splits.items()}
    if predictor.device == "CPU" and sum(map(len, encodings.values())) >= _WORTH_CONVERTING:
        merged = copy.deepcopy(model)
        merged = merge_adapter(merged) if hasattr(merged, "merge_and_unload") else merged
        with workspace(near) as room:
            graph = float_graph(convert_to_onnx(merged, room), room)
            with OnnxPredictor.of_graph(graph, tokenizer, manifest) as converted:
                if _agree(predictor, converted, [each for split in encodings.values() for each in split]):
                    return {split: _read(converted, each) for split, each in encodings.items()}
    return {split: _read(predictor, each) for split, each in encodings.items()}


def _agree(predictor: Predictor, converted: Predictor, encodings: Sequence[Encoding]) -> bool:
    chosen = [encodings[place] for place in spread([len(each.input_ids) for each in encodings], _PROOF).tolist()]
    expected = predictor.logits(chosen)
    difference = float(np.abs(converted.logits(chosen) - expected).max() / max(np.abs(expected).mean(), 1e-12))
    agree = EXACT.relative_difference is not None and difference <= EXACT.relative_difference
    if not agree:
        _logger.warning(
            "the converted model differs from torch's by %.1e of the mean |logit|; torch measures", difference
        )
    return agree


def _read(predictor: Predictor, encodings: Sequence[Encoding]) -> np.ndarray:
    parts = []
    with track("measuring", "reviews", len(encodings)) as progress:
        for start in range(0, len(encodings), _CHUNK):
            parts.append(predictor.logits(encodings[start : start + _CHUNK]))
            progress.advance(len(parts[-1]))
    return np.concatenate(parts)
