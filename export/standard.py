"""A folder for other tools: a graph of standard operators for batches of any size, and the files that they expect beside it."""

import shutil
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from export.cards import standard_card
from export.parity import Parity
from toolkit.compat import import_onnxruntime
from toolkit.models.adapter import load_tokenizer
from toolkit.models.bundle import MODEL_CARD, Manifest
from toolkit.models.completion import folder_with
from toolkit.models.files import write_text
from toolkit.models.publishing import refuse_other_files, replacing
from toolkit.prediction import Predictor
from toolkit.text.tokenisation import Encoding, ReviewTokenizer

FLOAT, INT8 = "standard", "standard-int8"  # stages
GRAPHS = {FLOAT: "model.onnx", INT8: "model_quantized.onnx"}  # as optimum and the Hub name them
_TOKENIZER_FILES = (
    "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "vocab.txt", "vocab.json", "merges.txt",
    "added_tokens.json", "spiece.model", "spm.model", "sentencepiece.bpe.model",
)  # fmt: skip
_FILES = {*GRAPHS.values(), "config.json", MODEL_CARD, *_TOKENIZER_FILES}
_BATCH = 8


class PaddedBatches(Predictor):
    """A standard graph, asked as other tools ask it: texts in the order in which they come, padded to the longest of a batch.

    Args:
        graph: The path of the graph, whose inputs are ids and mask.
        tokenizer: The model's tokenizer.
        manifest: What is known of the model.
        pad_id: The id that pads.
    """

    backend = "onnx"
    device = "CPU"
    chunk_size = _BATCH

    def __init__(self, graph: Path, tokenizer: ReviewTokenizer, manifest: Manifest, pad_id: int = 0) -> None:
        super().__init__(manifest, tokenizer)
        self._graph = graph
        self._pad_id = pad_id

    def logits(self, encodings: Sequence[Encoding]) -> np.ndarray:
        """Run padded batches; see `Predictor.logits`."""
        batches = [encodings[start : start + _BATCH] for start in range(0, len(encodings), _BATCH)]
        return np.concatenate([self._run(batch) for batch in batches])

    def _run(self, batch: Sequence[Encoding]) -> np.ndarray:
        longest = max(len(encoding.input_ids) for encoding in batch)
        ids = np.full((len(batch), longest), self._pad_id, np.int64)
        mask = np.zeros_like(ids)
        for row, encoding in enumerate(batch):
            ids[row, : len(encoding.input_ids)] = encoding.input_ids
            mask[row, : len(encoding.input_ids)] = 1
        logits: np.ndarray = self._session.run(["logits"], {"input_ids": ids, "attention_mask": mask})[0]
        return logits

    @cached_property
    def _session(self) -> Any:  # noqa: ANN401 - onnxruntime has no types
        return import_onnxruntime().InferenceSession(str(self._graph), providers=["CPUExecutionProvider"])


def refuse_standard_target(folder: Path) -> None:
    """Refuse a place that holds anything but an earlier folder of this kind.

    Raises:
        ToolkitError: It does.
    """
    refuse_other_files(folder, _FILES, "standard export")


def publish_standard(
    folder: Path,
    graphs: Mapping[str, Path],
    config: Path,
    adapter: Path,
    base_model: str | None,
    manifest: Manifest,
    stages: Sequence[Parity],
    parity_set: Path,
) -> None:
    """Write the folder, and let it take the place of an earlier one.

    Args:
        folder: The folder.
        graphs: The graphs by their stage, those that passed their gates.
        config: The `config.json` of the merged model.
        adapter: The adapter's folder, for the tokenizer.
        base_model: The base to use instead of the one that the adapter names.
        manifest: What is known of the model.
        stages: The scorecard: the adapter, and the stages of `graphs`.
        parity_set: The file of the reviews that they were compared on.
    """
    tokenizer = load_tokenizer(folder_with(("tokenizer.json", "vocab.txt"), adapter, base_model))
    tokenizer.model_max_length = manifest.max_length
    with replacing(folder, last=MODEL_CARD) as staging:
        for stage, graph in graphs.items():
            shutil.copyfile(graph, staging / GRAPHS[stage])
        shutil.copyfile(config, staging / "config.json")
        tokenizer.save_pretrained(staging)
        write_text(
            staging / MODEL_CARD,
            standard_card(manifest, stages, [GRAPHS[stage] for stage in graphs], folder, parity_set),
        )
